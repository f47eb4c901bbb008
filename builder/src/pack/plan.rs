//! Which contents are coded against which prefix, and in what order they are written.
//!
//! Each family has a *hub*, its largest file, and the bundle has one, its largest program. Go programs share their
//! runtime and many packages, so most of them become smaller when they are coded against a program of another project:
//! etcd becomes a third smaller against the API server, and `etcdctl` even smaller against etcd. Others do not. So it is
//! measured, at a quick level, and what makes the fewest bytes is taken. The measurements give the same numbers on every machine.

use std::collections::{BTreeMap, BTreeSet};

use stub::bundle::{Component, Mode, Name};
use stub::digest::Sha256;

/// A file smaller than this is compressed on its own: a prefix would not pay for its decoding.
pub const MIN_SIBLING: u64 = 64 << 10;

/// What is saved must be at least one part in so many. Less can turn into its opposite at another level.
const WORTH: u64 = 32;

/// A content to compress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Its digest.
    pub sha256: Sha256,
    /// Its size in bytes.
    pub size: u64,
    /// The content it is coded against.
    pub prefix: Option<Sha256>,
}

/// A content and a prefix that it might be coded against.
pub type Pair = (Sha256, Option<Sha256>);

/// The contents of a bundle in families, each with its hub in front. The order is that of names and paths, so that it depends
/// on nothing but the lockfile.
#[derive(Debug)]
pub struct Families {
    families: Vec<Vec<Content>>,
    /// The hub of the bundle.
    hub: Option<Sha256>,
}

#[derive(Debug, Clone, Copy)]
struct Content {
    sha256: Sha256,
    size: u64,
}

impl Families {
    /// Sorts contents of these sizes, in bytes, by the family of the first component that has them.
    #[must_use]
    pub fn of(
        components: &[Component],
        families: &BTreeMap<Name, Name>,
        sizes: &BTreeMap<Sha256, u64>,
    ) -> Self {
        let mut by_family: BTreeMap<&Name, Vec<Content>> = BTreeMap::new();
        let mut seen = BTreeSet::new();
        let mut hub: Option<Content> = None;
        for component in components {
            let family = families.get(&component.name).unwrap_or(&component.name);
            let members = by_family.entry(family).or_default();
            for file in &component.files {
                let sha256 = file.sha256;
                let size = sizes.get(&sha256).copied().unwrap_or_default();
                let content = Content { sha256, size };
                if seen.insert(sha256) {
                    members.push(content);
                }
                // Of equally large files the first, so that the choice is the same everywhere.
                if file.mode == Mode::Program && hub.is_none_or(|hub| size > hub.size) {
                    hub = Some(content);
                }
            }
        }
        let hub = hub.map(|hub| hub.sha256);
        let families = by_family.into_values().filter_map(|mut members| {
            let largest = members.iter().map(|content| content.size).max()?;
            // The bundle's hub is also that of its family. It need not be the largest file there, as not every file is a program.
            let place = |wanted: &dyn Fn(&Content) -> bool| members.iter().position(wanted);
            let at = place(&|c| Some(c.sha256) == hub).or_else(|| place(&|c| c.size == largest))?;
            members[..=at].rotate_right(1);
            Some(members)
        });
        let mut families: Vec<_> = families.collect();
        // It comes before all that may be coded against it.
        families.sort_by_key(|family| Some(family[0].sha256) != hub);
        Self { families, hub }
    }

    /// What must be measured before a [`plan`](Self::plan) can be made.
    #[must_use]
    pub fn to_measure(&self) -> Vec<Pair> {
        let Some(hub) = self.hub else {
            return Vec::new();
        };
        let others = self.families.iter().filter(|f| f[0].sha256 != hub);
        let pairs = others.flat_map(|family| {
            let own = family[0].sha256;
            let large = family.iter().filter(|content| content.is_large());
            large.flat_map(move |content| {
                let prefixes = [None, Some(hub), Some(own)].into_iter();
                prefixes
                    .filter(|prefix| *prefix != Some(content.sha256))
                    .map(|prefix| (content.sha256, prefix))
            })
        });
        pairs.collect()
    }

    /// The order of the contents, and the prefix of each. `measured` has the number of bytes that each pair of
    /// [`to_measure`](Self::to_measure) becomes.
    #[must_use]
    pub fn plan(&self, measured: &BTreeMap<Pair, u64>) -> Vec<Planned> {
        let mut plan = Vec::new();
        for family in &self.families {
            let own = family[0];
            plan.push(own.best(&[None, self.hub], measured));
            // In the family of the bundle's hub nothing is measured, and the first prefix is taken.
            let prefixes = [Some(own.sha256), None, self.hub];
            plan.extend(family[1..].iter().map(|c| c.best(&prefixes, measured)));
        }
        plan
    }
}

impl Content {
    fn is_large(&self) -> bool {
        self.size >= MIN_SIBLING
    }

    /// The prefix among these with which it becomes smallest. The first one counts as the usual one: another must save something
    /// that is worth it. A small content has none.
    fn best(&self, prefixes: &[Option<Sha256>], measured: &BTreeMap<Pair, u64>) -> Planned {
        let bytes = |prefix| measured.get(&(self.sha256, prefix)).copied();
        let mut best = (prefixes[0], bytes(prefixes[0]).unwrap_or_default());
        for &prefix in &prefixes[1..] {
            if let Some(bytes) = bytes(prefix).filter(|bytes| saves(*bytes, best.1)) {
                best = (prefix, bytes);
            }
        }
        Planned {
            sha256: self.sha256,
            size: self.size,
            prefix: best.0.filter(|_| self.is_large()),
        }
    }
}

/// Whether so many bytes are so much fewer that it is worth it.
fn saves(fewer: u64, bytes: u64) -> bool {
    fewer.saturating_add(bytes / WORTH) < bytes
}

#[cfg(test)]
mod tests {
    use stub::bundle::{BundlePath, File, Version};

    use super::*;

    fn component(name: &str, files: &[(&str, &str)]) -> Component {
        let file = |(path, text): &(&str, &str)| {
            let path = BundlePath::new(*path).unwrap();
            File {
                mode: Mode::at(&path),
                path,
                sha256: digest(text),
            }
        };
        Component {
            files: files.iter().map(file).collect(),
            homepage: String::new(),
            license: "MIT".to_owned(),
            links: Vec::new(),
            name: Name::new(name).unwrap(),
            sources: Vec::new(),
            version: Version::new("1").unwrap(),
        }
    }

    fn digest(text: &str) -> Sha256 {
        Sha256::of(text.as_bytes())
    }

    /// Plans these components, of which the first two are of one family. Contents have these sizes in MiB, and become so many
    /// bytes with the content named as their prefix.
    fn planned(
        components: &[Component],
        sizes: &[(&str, u64)],
        measured: &[(&str, &str, u64)],
    ) -> Vec<(Sha256, Option<Sha256>)> {
        let k8s = Name::new("k8s").unwrap();
        let stated = ["a", "b"].map(|n| (Name::new(n).unwrap(), k8s.clone()));
        let sizes = sizes.iter().map(|(text, size)| (digest(text), size << 20));
        let families = Families::of(components, &stated.into(), &sizes.collect());
        let prefix = |text: &str| (!text.is_empty()).then(|| digest(text));
        let measured: BTreeMap<Pair, u64> = measured
            .iter()
            .map(|(text, with, bytes)| ((digest(text), prefix(with)), *bytes))
            .collect();
        let pairs: BTreeSet<Pair> = families.to_measure().into_iter().collect();
        assert_eq!(pairs, measured.keys().copied().collect());
        let plan = families.plan(&measured);
        plan.into_iter().map(|p| (p.sha256, p.prefix)).collect()
    }

    #[test]
    fn siblings_follow_their_hub_and_equal_contents_are_planned_once() {
        let components = [
            component("a", &[("bin/small", "small"), ("bin/tiny", "tiny")]),
            component("b", &[("bin/hub", "hub")]),
            component("c", &[("bin/copy", "small"), ("bin/own", "own")]),
        ];
        let sizes = [("small", 1), ("tiny", 0), ("hub", 2), ("own", 0)];
        assert_eq!(
            planned(&components, &sizes, &[]),
            [
                (digest("hub"), None),
                (digest("small"), Some(digest("hub"))),
                (digest("tiny"), None),
                (digest("own"), None),
            ]
        );
    }

    #[test]
    fn a_program_of_another_family_is_coded_against_the_hub_of_the_bundle_if_that_saves_bytes() {
        let components = [
            component("b", &[("bin/hub", "hub")]),
            component("etcd", &[("bin/etcd", "etcd")]),
            component("tool", &[("bin/c", "c")]),
        ];
        // A layer of an image is no hub, however large it is.
        let layer = component("image", &[("images/i/layer", "layer")]);
        let components = [&components[..], &[layer]].concat();
        let sizes = [("hub", 9), ("etcd", 4), ("c", 3), ("layer", 20)];
        let measured = [
            ("etcd", "", 100),
            ("etcd", "hub", 60),
            ("c", "", 100),
            ("c", "hub", 98),
            ("layer", "", 100),
            ("layer", "hub", 50),
        ];
        let hub = Some(digest("hub"));
        assert_eq!(
            planned(&components, &sizes, &measured),
            [
                (digest("hub"), None),
                (digest("etcd"), hub),
                (digest("layer"), hub),
                (digest("c"), None),
            ]
        );
    }

    #[test]
    fn a_familys_hub_may_have_a_prefix_and_still_be_that_of_its_siblings() {
        let components = [
            component("b", &[("bin/hub", "hub")]),
            component("c", &[("bin/large", "large"), ("bin/small", "small")]),
        ];
        let sizes = [("hub", 9), ("large", 4), ("small", 3)];
        let measure = |small_with_hub| {
            [
                ("large", "", 100),
                ("large", "hub", 70),
                ("small", "", 90),
                ("small", "large", 30),
                ("small", "hub", small_with_hub),
            ]
        };
        let (hub, large, small) = (digest("hub"), digest("large"), digest("small"));
        assert_eq!(
            planned(&components, &sizes, &measure(80)),
            [(hub, None), (large, Some(hub)), (small, Some(large))]
        );
        assert_eq!(
            planned(&components, &sizes, &measure(20)),
            [(hub, None), (large, Some(hub)), (small, Some(hub))]
        );
    }
}
