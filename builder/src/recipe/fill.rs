//! The placeholders in a recipe's strings.

use stub::bundle::{Arch, Version};
use stub::error::{Error, Kind, Result};

use super::Check;

/// The values of the placeholders in a recipe's strings.
#[derive(Debug, Clone, Copy)]
pub struct Fill<'a> {
    /// The component's version.
    pub version: &'a Version,
    /// The processor.
    pub arch: Arch,
}

impl Fill<'_> {
    /// Replaces `{version}`, `{minor}`, `{arch}` and `{goarch}`. Anything else in braces is an error.
    pub fn apply(&self, template: &str) -> Result<String> {
        let version = self.version.as_str();
        let minor = version
            .match_indices('.')
            .nth(1)
            .map_or(version, |(at, _)| &version[..at]);
        let text = template
            .replace("{version}", version)
            .replace("{minor}", minor)
            .replace("{arch}", self.arch.as_str())
            .replace("{goarch}", self.arch.go_name());
        if text.contains(['{', '}']) {
            return Err(
                Error::new(Kind::Input, format!("unknown placeholder in `{template}`"))
                    .expected("`{version}`, `{minor}`, `{arch}` or `{goarch}`")
                    .hint("correct the word in braces; in the `url` of a check, `{url}` works too"),
            );
        }
        Ok(text)
    }
}

impl Check {
    /// The check with its address filled in. `url` is the download's own, for `{url}`.
    pub fn fill(&self, fill: &Fill<'_>, url: &str) -> Result<Self> {
        let mut filled = self.clone();
        match &mut filled {
            Self::GithubDigest => {}
            Self::Checksums { url: at }
            | Self::Sidecar { url: at }
            | Self::Minisign { url: at, .. }
            | Self::Openpgp { url: at, .. } => *at = fill.apply(&at.replace("{url}", url))?,
        }
        Ok(filled)
    }

    /// The address of the check, unless it asks GitHub's API.
    #[must_use]
    pub fn url(&self) -> Option<&str> {
        match self {
            Self::GithubDigest => None,
            Self::Checksums { url }
            | Self::Sidecar { url }
            | Self::Minisign { url, .. }
            | Self::Openpgp { url, .. } => Some(url),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in() {
        let version = Version::new("1.36.3").unwrap();
        let fill = Fill {
            version: &version,
            arch: Arch::Aarch64,
        };
        let filled = fill.apply("{minor}/v{version}/{arch}-{goarch}").unwrap();
        assert_eq!(filled, "1.36/v1.36.3/aarch64-arm64");

        let version = Version::new("1.28").unwrap();
        let fill = Fill {
            version: &version,
            arch: Arch::X86_64,
        };
        assert_eq!(fill.apply("{minor} {goarch}").unwrap(), "1.28 amd64");
    }

    #[test]
    fn an_unknown_placeholder_is_named() {
        let version = Version::new("1").unwrap();
        let fill = Fill {
            version: &version,
            arch: Arch::X86_64,
        };
        let error = fill.apply("https://example.org/{versoin}").unwrap_err();
        insta::assert_snapshot!(error.to_string(), @r"
        unknown placeholder in `https://example.org/{versoin}`
          expected  `{version}`, `{minor}`, `{arch}` or `{goarch}`

        hint: correct the word in braces; in the `url` of a check, `{url}` works too
        ");
        for bad in ["{", "}", "{}", "{url}", "{{version}}"] {
            assert!(fill.apply(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_check_stands_beside_the_download() {
        let version = Version::new("1.36.3").unwrap();
        let fill = Fill {
            version: &version,
            arch: Arch::X86_64,
        };
        let check = Check::Sidecar {
            url: "{url}.sha256".to_owned(),
        };
        let filled = check.fill(&fill, "https://example.org/kubelet").unwrap();
        assert_eq!(
            filled,
            Check::Sidecar {
                url: "https://example.org/kubelet.sha256".to_owned()
            }
        );
    }
}
