//! Fills in a recipe at an exact version, before the downloads have been looked at.

use stub::bundle::{Arch, Name, Version};
use stub::error::{Context, Result};

use crate::lockfile::{Artifact, LockedComponent};
use crate::oci::{self, Reference};
use crate::recipe::{ArtifactRecipe, Fill, Recipe, Take};

/// The lockfile's entry for a recipe at a version, for these architectures, without digests, sizes and evidence.
///
/// Of Debian packages, `urls` is empty too: only the archive's index knows where they are. The artifacts stand in the
/// recipe's order, so that both lists can be read side by side.
pub fn locked(
    name: &Name,
    recipe: &Recipe,
    version: &Version,
    arches: &[Arch],
) -> Result<LockedComponent> {
    let artifacts = arches.iter().map(|arch| {
        let fill = Fill {
            version,
            arch: *arch,
        };
        let filled = recipe.artifacts.iter().map(|a| artifact(a, &fill));
        Ok((*arch, filled.collect::<Result<_>>()?))
    });
    Ok(LockedComponent {
        artifacts: artifacts.collect::<Result<_>>().about(|| name)?,
        family: recipe.family.clone().unwrap_or_else(|| name.clone()),
        homepage: recipe.homepage.clone(),
        license: recipe.license.clone(),
        version: version.clone(),
    })
}

fn artifact(recipe: &ArtifactRecipe, fill: &Fill<'_>) -> Result<Artifact> {
    let files = recipe.files.iter().map(|take| {
        Ok(Take {
            from: take.from.as_ref().map(|f| fill.apply(f)).transpose()?,
            to: take.to.clone(),
        })
    });
    Ok(Artifact {
        digest: None,
        evidence: Vec::new(),
        files: files.collect::<Result<_>>()?,
        format: recipe.format,
        links: recipe.links.clone(),
        size: None,
        urls: recipe
            .urls
            .iter()
            .map(|url| address(&fill.apply(url)?))
            .collect::<Result<_>>()?,
    })
}

/// An address as the lockfile has it: an image by its full name.
fn address(url: &str) -> Result<String> {
    if !url.starts_with(oci::SCHEME) {
        return Ok(url.to_owned());
    }
    Ok(format!("{}{}", oci::SCHEME, Reference::parse(url)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lockfile::Lockfile;

    #[test]
    fn a_recipe_is_filled_in_for_each_architecture() {
        let recipe = Recipe::parse(
            r#"
            summary = "an example"
            homepage = "https://example.org"
            license = "MIT"
            family = "tools"
            version = { from = "text", url = "https://example.org/latest", tag = "{version}", allow = "*" }
            [[artifact]]
            urls = ["https://example.org/{version}/tool-{goarch}.tgz"]
            format = "tar.gz"
            file = [{ from = "tool-{arch}", to = "bin/tool" }]
            link = [{ path = "bin/t", target = "tool" }]
            "#,
        )
        .unwrap();
        let name = Name::new("tool").unwrap();
        let version = Version::new("1.2.3").unwrap();
        let mut lockfile = Lockfile::new();
        let component = locked(&name, &recipe, &version, &Arch::ALL).unwrap();
        lockfile.components.insert(name, component);
        insta::assert_snapshot!(lockfile.to_text().unwrap(), @r#"
        {
          "components": {
            "tool": {
              "artifacts": {
                "aarch64": [
                  {
                    "files": [
                      {
                        "from": "tool-aarch64",
                        "to": "bin/tool"
                      }
                    ],
                    "format": "tar.gz",
                    "links": [
                      {
                        "path": "bin/t",
                        "target": "tool"
                      }
                    ],
                    "urls": [
                      "https://example.org/1.2.3/tool-arm64.tgz"
                    ]
                  }
                ],
                "x86_64": [
                  {
                    "files": [
                      {
                        "from": "tool-x86_64",
                        "to": "bin/tool"
                      }
                    ],
                    "format": "tar.gz",
                    "links": [
                      {
                        "path": "bin/t",
                        "target": "tool"
                      }
                    ],
                    "urls": [
                      "https://example.org/1.2.3/tool-amd64.tgz"
                    ]
                  }
                ]
              },
              "family": "tools",
              "homepage": "https://example.org",
              "license": "MIT",
              "version": "1.2.3"
            }
          },
          "schema": 1
        }
        "#);
        lockfile.check().unwrap();
    }
}
