//! The versions that a recipe takes, and how they are read from an upstream's announcements.

use semver::VersionReq;
use stub::bundle::Version;

use super::VersionSource;

impl VersionSource {
    /// Which versions we take. A Debian suite has one of each package, which is the one we take.
    #[must_use]
    pub fn allow(&self) -> Option<&VersionReq> {
        match self {
            Self::Github { allow, .. }
            | Self::Text { allow, .. }
            | Self::Registry { allow, .. } => Some(allow),
            Self::Debian { .. } => None,
        }
    }

    /// The form of a tag, such as `v{version}`.
    #[must_use]
    pub fn tag(&self) -> Option<&str> {
        match self {
            Self::Github { tag, .. } | Self::Text { tag, .. } | Self::Registry { tag, .. } => {
                Some(tag)
            }
            Self::Debian { .. } => None,
        }
    }

    /// Whether the recipe takes a version. A version that cannot be compared is not taken.
    #[must_use]
    pub fn allows(&self, version: &Version) -> bool {
        self.allow()
            .is_none_or(|allow| comparable(version).is_some_and(|v| allow.matches(&v)))
    }

    /// The version an announced tag stands for, if the tag has the recipe's form. White space around it is ignored.
    #[must_use]
    pub fn version_of(&self, announced: &str) -> Option<Version> {
        let (before, after) = self.tag().unwrap_or("{version}").split_once("{version}")?;
        let version = announced.trim().strip_prefix(before)?.strip_suffix(after)?;
        Version::new(version).ok()
    }
}

/// A version in the form that versions are compared in: upstreams that write `1.28` mean `1.28.0`.
#[must_use]
pub fn comparable(version: &Version) -> Option<semver::Version> {
    let text = version.as_str();
    let core = text.find(['-', '+']).unwrap_or(text.len());
    let (core, rest) = text.split_at(core);
    let missing = 2usize.saturating_sub(core.matches('.').count());
    format!("{core}{}{rest}", ".0".repeat(missing)).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(tag: &str, allow: &str) -> VersionSource {
        VersionSource::Github {
            repository: "a/b".to_owned(),
            tag: tag.to_owned(),
            allow: allow.parse().unwrap(),
        }
    }

    #[test]
    fn versions_are_read_out_of_tags() {
        let seen = |tag: &str, announced: &str| {
            let version = source(tag, "*").version_of(announced);
            version.map_or("none".to_owned(), String::from)
        };
        assert_eq!(seen("v{version}", "v1.36.3\n"), "1.36.3");
        assert_eq!(seen("{version}", "1.28"), "1.28");
        assert_eq!(seen("release-{version}-final", "release-2-final"), "2");
        assert_eq!(seen("v{version}", "1.36.3"), "none");
        assert_eq!(seen("v{version}", "v"), "none");
        assert_eq!(seen("v{version}", "v../x"), "none");
    }

    #[test]
    fn only_versions_of_the_set_are_taken() {
        let takes = |allow: &str, version: &str| {
            source("{version}", allow).allows(&Version::new(version).unwrap())
        };
        assert!(takes("~1.36", "1.36.3"));
        assert!(!takes("~1.36", "1.37.0"));
        assert!(takes("^1.17", "1.17"));
        assert!(!takes("^1.17", "2.0"));
        assert!(!takes("~1.36", "1.36.4-rc.1"), "no release candidates");
        assert!(!takes("~1.36", "latest"));
    }

    #[test]
    fn short_versions_are_comparable() {
        let seen = |text: &str| comparable(&Version::new(text).unwrap()).map(|v| v.to_string());
        assert_eq!(seen("1").as_deref(), Some("1.0.0"));
        assert_eq!(seen("1.28-rc.1").as_deref(), Some("1.28.0-rc.1"));
        assert_eq!(seen("1.9.1-flannel3").as_deref(), Some("1.9.1-flannel3"));
        assert_eq!(seen("2026_06_11.a9c61ff"), None);
    }
}
