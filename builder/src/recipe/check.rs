//! Rules for a recipe that its types do not express. Each error names the field and the next step.

use std::collections::BTreeSet;

use stub::bundle::{Arch, BundlePath, Link, Version};
use stub::error::{Context, Error, Kind, Result};

use super::places::in_tree;
use super::{ArtifactRecipe, Check, Fill, Format, Recipe, Take, VersionSource};
use crate::license;

fn wrong<T>(why: impl Into<String>) -> Result<T> {
    Err(Error::new(Kind::Input, why))
}

impl Recipe {
    pub(super) fn check(&self) -> Result<()> {
        if self.summary.trim().is_empty() {
            return wrong("`summary` is empty");
        }
        check_web(&self.homepage).about(|| "homepage")?;
        license::check(&self.license).about(|| "license")?;
        check_source(&self.version)?;
        if self.artifacts.is_empty() {
            return wrong("it has no `[[artifact]]`");
        }
        let debian = matches!(self.version, VersionSource::Debian { .. });
        for (index, artifact) in self.artifacts.iter().enumerate() {
            let name = artifact.package.as_ref().or(artifact.urls.first());
            let name = name.map_or_else(|| format!("artifact {}", index + 1), |n| format!("`{n}`"));
            for url in &artifact.urls {
                artifact.check_url(url).about(|| format!("`{url}`"))?;
            }
            artifact.check(debian).about(|| name)?;
        }
        self.paths().try_for_each(in_tree)?;
        self.check_links()
    }

    fn check_links(&self) -> Result<()> {
        let paths: BTreeSet<_> = self.paths().map(BundlePath::as_str).collect();
        for Link { path, target } in self.artifacts.iter().flat_map(|a| &a.links) {
            let full = match path.parent() {
                Some(parent) => format!("{parent}/{target}"),
                None => target.to_string(),
            };
            if !paths.contains(full.as_str()) {
                return wrong(format!(
                    "the link `{path}` points to `{full}`, which is not a file of this recipe"
                ));
            }
        }
        Ok(())
    }
}

impl ArtifactRecipe {
    fn check(&self, debian: bool) -> Result<()> {
        if self.package.is_some() != debian || self.urls.is_empty() != debian {
            return wrong(
                "a recipe `from = \"debian\"` has a `package` in each artifact, every other one has `urls`",
            );
        }
        if debian != (self.format == Format::Deb) {
            return wrong("the format `deb` goes with `from = \"debian\"`, and only with it");
        }
        if self.files.is_empty() {
            return wrong("it has no `[[artifact.file]]`");
        }
        let whole = matches!(self.format, Format::Plain | Format::OciImage);
        if whole && (self.files.len() != 1 || self.files[0].from.is_some()) {
            return wrong(
                "this format takes the whole download, as one `[[artifact.file]]` without `from`",
            );
        }
        if !whole && self.files.iter().any(|f| f.from.is_none()) {
            return wrong("every file of an archive needs `from`");
        }
        for file in &self.files {
            check_file(file)?;
        }
        if !self.checks.is_empty() && (debian || self.format.is_oci()) {
            return wrong("`checks` are for files behind `https://` addresses");
        }
        self.check_templates()
    }

    fn check_url(&self, url: &str) -> Result<()> {
        if url.starts_with("oci://") != self.format.is_oci() {
            return wrong(
                "`oci://` addresses go with the formats `oci-files` and `oci-image`, and only with them",
            );
        }
        if !self.format.is_oci() {
            check_web(url)?;
        }
        if !url.contains("{version}") {
            return wrong("the version does not occur in the URL")
                .hint(|| "write `{version}` where the version stands".to_owned());
        }
        if self.checks.contains(&Check::GithubDigest) && !url.starts_with("https://github.com/") {
            return wrong("`github-digest` is for files of releases on GitHub");
        }
        Ok(())
    }

    /// Fills in every placeholder once, so that a typing error shows now and not at the next update.
    fn check_templates(&self) -> Result<()> {
        let version = Version::new("0")?;
        let fill = Fill {
            version: &version,
            arch: Arch::X86_64,
        };
        let froms = self.files.iter().filter_map(|f| f.from.as_ref());
        for template in self.urls.iter().chain(froms) {
            fill.apply(template)?;
        }
        for check in &self.checks {
            if let Some(url) = check.fill(&fill, "https://example.org")?.url() {
                check_web(url).about(|| format!("`{url}`"))?;
            }
        }
        Ok(())
    }
}

/// A file that is fetched without a known digest needs a connection that nobody can tamper with. A server on
/// this machine is allowed for tests.
fn check_web(url: &str) -> Result<()> {
    let safe = ["https://", "http://127.0.0.1:", "http://[::1]:"];
    if safe.iter().any(|s| url.starts_with(s)) {
        return Ok(());
    }
    wrong("this is not an `https://` address")
        .map_err(|e: Error| e.expected("`https://…`").found(format!("`{url}`")))
}

fn check_file(Take { from, to }: &Take) -> Result<()> {
    if to.as_str().contains(['{', '}']) {
        return wrong(format!(
            "`to = \"{to}\"`: placeholders are not allowed here"
        ));
    }
    let plain = |from: &String| from.split('/').all(|s| !matches!(s, "" | "." | ".."));
    match from {
        Some(from) if !plain(from) => {
            wrong(format!("`from = \"{from}\"` is no path in an archive"))
                .hint(|| "write it without `/` or `./` before it, and without `..`".to_owned())
        }
        _ => Ok(()),
    }
}

fn check_source(source: &VersionSource) -> Result<()> {
    if let Some(tag) = source.tag()
        && tag.matches("{version}").count() != 1
    {
        return wrong(format!(
            "`tag = \"{tag}\"` does not say where in a tag the version stands"
        ))
        .hint(|| "write `{version}` once, for example `v{version}`".to_owned());
    }
    match source {
        VersionSource::Github { repository, .. } if repository.matches('/').count() != 1 => wrong(
            format!("`repository = \"{repository}\"` is not of the form `owner/name`"),
        ),
        VersionSource::Text { url, .. } => check_web(url).about(|| "version"),
        VersionSource::Registry { image, .. } if image.contains("://") || !image.contains('/') => {
            wrong(format!(
                "`image = \"{image}\"` is not of the form `registry/name`"
            ))
        }
        _ => Ok(()),
    }
}
