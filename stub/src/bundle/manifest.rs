//! The manifest, which lists a bundle's content: the canonical JSON between the frames and the trailer.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::frame::MAX_SIZE;
use super::places::Places;
use super::{BundlePath, Library, MAX_CHAIN, Name, STUB_COMPONENT, Version};
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};

/// Everything a bundle says about itself. It holds no time, no owner and nothing of the machine it was built on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The processor the programs inside are for.
    pub arch: Arch,
    /// The components that the bundle installs, sorted by name.
    pub components: Vec<Component>,
    /// The payload's frames in the order they lie in the file, back to back.
    pub frames: Vec<FrameEntry>,
    /// The compression level of the frames, which is needed to make the same bytes again.
    pub level: i32,
    /// Digest of the lockfile the bundle was built from.
    pub lockfile: Sha256,
    /// Version of Usernetes itself.
    pub release: Version,
    /// The program at the file's start.
    pub stub: StubEntry,
}

/// The program at the file's start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StubEntry {
    /// The libraries linked into it, sorted. Empty if they are unknown, because the build did not compile it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub libraries: Vec<Library>,
    /// Digest of its bytes.
    pub sha256: Sha256,
    /// Length in bytes.
    pub size: u64,
}

/// What a recipe installs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its files, sorted by path.
    pub files: Vec<File>,
    /// The project's home page.
    pub homepage: String,
    /// SPDX licence expression.
    pub license: String,
    /// Its symbolic links, sorted by path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Link>,
    /// Its name, unique in the bundle.
    pub name: Name,
    /// The downloads its files were taken from.
    pub sources: Vec<Source>,
    /// Its version.
    pub version: Version,
}

/// A file of a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Whether it is a program.
    pub mode: Mode,
    /// Where it goes, below the component's directory in the store.
    pub path: BundlePath,
    /// Digest of its content; some frame holds it.
    pub sha256: Sha256,
}

/// A symbolic link of a component.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Where it goes, below the component's directory in the store.
    pub path: BundlePath,
    /// The path it points to, relative to the directory it lies in.
    pub target: BundlePath,
}

/// A download that files of a component were taken from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// Its digest, as `sha256:…` or `sha512:…`.
    pub digest: String,
    /// Where it is published.
    pub url: String,
}

/// A compressed file content in the payload. Its offset is the sum of the lengths before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FrameEntry {
    /// Length in the payload, in bytes.
    pub length: u64,
    /// Digest of those compressed bytes.
    pub packed: Sha256,
    /// Content digest of the earlier frame this one was coded against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<Sha256>,
    /// Digest of the content.
    pub sha256: Sha256,
    /// Length of the content in bytes.
    pub size: u64,
}

/// Permissions of a file in the store. There is no third kind: the store is immutable, and nobody else needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Mode {
    /// Readable.
    #[serde(rename = "0444")]
    Data,
    /// Readable and executable.
    #[serde(rename = "0555")]
    Program,
}

impl Mode {
    /// The mode of a file at a path: what lies below `bin/` or `libexec/` is a program.
    #[must_use]
    pub fn at(path: &BundlePath) -> Self {
        match path.segments().next() {
            Some("bin" | "libexec") => Self::Program,
            _ => Self::Data,
        }
    }

    /// The permission bits.
    #[must_use]
    pub fn bits(self) -> u32 {
        match self {
            Self::Data => 0o444,
            Self::Program => 0o555,
        }
    }
}

/// A processor architecture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Arch {
    /// 64-bit Arm, which Go and Debian call `arm64`.
    #[serde(rename = "aarch64")]
    Aarch64,
    /// 64-bit x86, which Go and Debian call `amd64`.
    #[serde(rename = "x86_64")]
    X86_64,
}

impl Arch {
    /// All architectures.
    pub const ALL: [Self; 2] = [Self::Aarch64, Self::X86_64];

    /// The architecture this program was compiled for, if it is one a bundle can be made for.
    #[must_use]
    pub fn host() -> Option<Self> {
        std::env::consts::ARCH.parse().ok()
    }

    /// The kernel's name for it, as `uname -m` prints it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aarch64 => "aarch64",
            Self::X86_64 => "x86_64",
        }
    }

    /// Go's and Debian's name for it.
    #[must_use]
    pub fn go_name(self) -> &'static str {
        match self {
            Self::Aarch64 => "arm64",
            Self::X86_64 => "amd64",
        }
    }
}

impl fmt::Display for Arch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Arch {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|a| a.as_str() == text)
            .ok_or_else(|| {
                Error::new(Kind::Usage, format!("unknown architecture `{text}`"))
                    .expected("`x86_64` or `aarch64`")
            })
    }
}

impl Component {
    /// The digest that names this component in the store: of its name, version, paths, modes and contents.
    ///
    /// Where it came from is not part of it: the same files from a mirror are the same component.
    #[must_use]
    pub fn digest(&self) -> Sha256 {
        let Self {
            files,
            links,
            name,
            version,
            homepage: _,
            license: _,
            sources: _,
        } = self;
        Sha256::of(&canonical_json(&(name, version, files, links)))
    }

    /// Name of the component's directory in the store: `<32 digits of its digest>-<name>-<version>`.
    #[must_use]
    pub fn store_name(&self) -> String {
        format!("{}-{}-{}", self.digest().short(32), self.name, self.version)
    }

    /// `name version`, for people.
    #[must_use]
    pub fn title(&self) -> String {
        format!("{} {}", self.name, self.version)
    }
}

impl Manifest {
    /// Reads and checks a manifest's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let wrong = |why: String| Error::new(Kind::Input, format!("bad bundle manifest: {why}"));
        let manifest: Self = serde_json::from_slice(bytes).map_err(|e| wrong(e.to_string()))?;
        if manifest.encode() != bytes {
            return Err(wrong("it is not in canonical form".to_owned()));
        }
        manifest.check()?;
        Ok(manifest)
    }

    /// The component that has a file or a link of this path.
    #[must_use]
    pub fn component_with(&self, path: &str) -> Option<&Component> {
        self.components.iter().find(|component| {
            let files = component.files.iter().map(|file| &file.path);
            let mut paths = files.chain(component.links.iter().map(|link| &link.path));
            paths.any(|p| p.as_str() == path)
        })
    }

    /// The bytes as they stand in the bundle: one line of JSON with sorted keys.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = canonical_json(self);
        bytes.push(b'\n');
        bytes
    }

    /// Checks everything about a manifest that its types do not already say.
    pub fn check(&self) -> Result<()> {
        self.check_frames()?;
        self.check_components()
    }

    /// The stub, as the component it is installed as.
    pub fn stub_component(&self) -> Result<Component> {
        Ok(Component {
            files: vec![File {
                mode: Mode::Program,
                path: BundlePath::new(format!("bin/{STUB_COMPONENT}"))?,
                sha256: self.stub.sha256,
            }],
            homepage: env!("CARGO_PKG_REPOSITORY").to_owned(),
            license: env!("CARGO_PKG_LICENSE").to_owned(),
            links: Vec::new(),
            name: Name::new(STUB_COMPONENT)?,
            sources: Vec::new(),
            version: self.release.clone(),
        })
    }

    /// The frame that holds a content.
    #[must_use]
    pub fn frame(&self, content: &Sha256) -> Option<(usize, &FrameEntry)> {
        self.frames
            .iter()
            .enumerate()
            .find(|(_, f)| f.sha256 == *content)
    }

    /// Everything that is installed, sorted by name: the components, and the stub among them.
    pub fn installed_components(&self) -> Result<Vec<Component>> {
        let mut components = self.components.clone();
        let stub = self.stub_component()?;
        let at = components.partition_point(|c| c.name < stub.name);
        components.insert(at, stub);
        Ok(components)
    }

    /// How many bytes each content has, by its digest; the stub's too.
    #[must_use]
    pub fn content_sizes(&self) -> BTreeMap<Sha256, u64> {
        let frames = self.frames.iter().map(|f| (f.sha256, f.size));
        frames.chain([(self.stub.sha256, self.stub.size)]).collect()
    }

    /// Bytes of all files of a component once unpacked.
    #[must_use]
    pub fn unpacked_size(&self, component: &Component) -> u64 {
        let sizes = self.content_sizes();
        component
            .files
            .iter()
            .filter_map(|f| sizes.get(&f.sha256))
            .sum()
    }

    fn check_frames(&self) -> Result<()> {
        let wrong = |why: String| {
            Err(Error::new(
                Kind::Input,
                format!("bad bundle manifest: {why}"),
            ))
        };
        // With each content, how many frames are decoded to get it.
        let mut seen: BTreeMap<Sha256, usize> = BTreeMap::new();
        let mut offset = 0u64;
        for frame in &self.frames {
            let Some(end) = offset.checked_add(frame.length) else {
                return wrong("the frames' lengths overflow".to_owned());
            };
            offset = end;
            if frame.size > MAX_SIZE {
                return wrong(format!(
                    "frame {} says its content is {} bytes long",
                    frame.sha256, frame.size
                ));
            }
            let before = match frame.prefix.map(|p| (p, seen.get(&p))) {
                None => 0,
                Some((_, Some(&before))) if before < MAX_CHAIN => before,
                Some((p, Some(before))) => {
                    return wrong(format!(
                        "frame {} is coded against {p}, for which {before} frames are decoded; at most {MAX_CHAIN} may be decoded for one file",
                        frame.sha256
                    ));
                }
                Some((p, None)) => {
                    return wrong(format!(
                        "frame {} is coded against {p}, which does not come before it",
                        frame.sha256
                    ));
                }
            };
            if seen.insert(frame.sha256, before + 1).is_some() {
                return wrong(format!("two frames hold {}", frame.sha256));
            }
        }
        let used: BTreeSet<_> = self
            .components
            .iter()
            .flat_map(|c| &c.files)
            .map(|f| f.sha256)
            .collect();
        if let Some(missing) = used.iter().find(|d| !seen.contains_key(d)) {
            return wrong(format!("no frame holds {missing}"));
        }
        if let Some(idle) = seen.keys().find(|d| !used.contains(d)) {
            return wrong(format!("no file needs the frame {idle}"));
        }
        Ok(())
    }

    fn check_components(&self) -> Result<()> {
        let wrong = |why: String| {
            Err(Error::new(
                Kind::Input,
                format!("bad bundle manifest: {why}"),
            ))
        };
        if let Some(pair) = self.components.windows(2).find(|p| p[0].name >= p[1].name) {
            return wrong(format!(
                "component `{}` stands before `{}`: names are unique and sorted",
                pair[0].name, pair[1].name
            ));
        }
        let mut places = Places::default();
        for component in &self.components {
            let Component { files, links, .. } = component;
            let sorted = files.is_sorted_by(|a, b| a.path < b.path)
                && links.is_sorted_by(|a, b| a.path < b.path);
            if !sorted {
                return wrong(format!("the paths of `{}` are not sorted", component.name));
            }
            let paths = files.iter().map(|f| &f.path);
            let paths = paths.chain(links.iter().map(|l| &l.path));
            places
                .claim_all(&component.name, paths)
                .about(|| "bad bundle manifest")?;
        }
        Ok(())
    }
}

/// JSON in one line with the keys of every object sorted.
#[expect(
    clippy::expect_used,
    reason = "fails only for maps with keys that are not text, and no type here has any"
)]
pub(crate) fn canonical_json(value: &impl Serialize) -> Vec<u8> {
    let value = serde_json::to_value(value).expect("plain data");
    serde_json::to_vec(&value).expect("plain data")
}
