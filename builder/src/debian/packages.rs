//! `Packages`: the index of a suite's packages for one architecture.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};

use flate2::read::MultiGzDecoder;
use lzma_rust2::XzReader;
use stub::bundle::BundlePath;
use stub::digest::Sha256;
use stub::error::{Context, Error, Kind, Result};
use stub::progress::{Progress, bytes};

use super::apt::Archive;
use super::deb822::{self, Line};
use super::release::{Index, Packing, Release};
use super::{Get, version};

/// That of sid is 11 MB long, 65 MB when unpacked.
const MAX_BYTES: u64 = 128 << 20;
const MAX_UNPACKED_BYTES: u64 = 1 << 30;

/// A package, as the index describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Package {
    /// Debian's version, with its epoch.
    pub version: String,
    /// Its path in the archive, below `pool/`.
    pub path: String,
    /// Its length in bytes.
    pub size: u64,
    /// Its digest.
    pub sha256: Sha256,
}

/// Fetches the index of an architecture (Debian's name for it), checks it against the signed list, and gives the newest
/// version of each wanted package. Packages that are not there are not in the result. As apt does, it looks in every
/// place an archive may have the index at, and takes it in any form the list names.
pub fn fetch(
    archive: &Archive,
    release: &Release,
    architecture: &str,
    wanted: &BTreeSet<&str>,
    get: &Get,
    progress: &Progress,
) -> Result<BTreeMap<String, Package>> {
    let mut missing = Vec::new();
    for index in release.index(architecture)? {
        for path in &index.paths {
            let url = archive.url(path);
            check_bounds(&index).about(|| &url)?;
            let task = progress.task(format!("packages of {}", release.suite), index.size);
            let Some(packed) = get(&url, index.size)? else {
                task.clear();
                missing.push(url);
                continue;
            };
            let size = packed.len() as u64;
            task.set(size);
            let read = read(&index, &packed, architecture, wanted);
            let (packages, count) = read.about(|| &url)?;
            let found = packages.len();
            task.finish(format!("{found} of {count}, index of {}", bytes(size)));
            return Ok(packages);
        }
    }
    let error = Error::new(
        Kind::Network,
        format!(
            "the archive has none of the indexes of packages that its list for {} names",
            release.suite
        ),
    );
    let missing = missing.into_iter();
    Err(missing
        .fold(error, |error, url| error.detail("missing", url))
        .hint("the mirror is incomplete, or in the middle of an update: try again in a few minutes, or name another with `--debian-archive URL`"))
}

/// Refuses an index that would fill the memory.
fn check_bounds(index: &Index) -> Result<()> {
    let unpacked = index.unpacked_size.unwrap_or_default();
    if index.size <= MAX_BYTES && unpacked <= MAX_UNPACKED_BYTES {
        return Ok(());
    }
    Err(
        Error::new(Kind::Input, "the index is larger than any known index")
            .expected(format!("at most {}", bytes(MAX_BYTES)))
            .found(format!(
                "{}, {} unpacked",
                bytes(index.size),
                bytes(unpacked)
            )),
    )
}

/// Checks an index against the signed list and reads it.
fn read(
    index: &Index,
    packed: &[u8],
    architecture: &str,
    wanted: &BTreeSet<&str>,
) -> Result<(BTreeMap<String, Package>, u64)> {
    let (found, size) = (Sha256::of(packed), packed.len() as u64);
    if (found, size) != (index.sha256, index.size) {
        return Err(Error::new(Kind::Integrity, "the index is not the one that InRelease names")
            .expected(format!("sha256 {}, {} bytes", index.sha256, index.size))
            .found(format!("sha256 {found}, {size} bytes"))
            .hint("the mirror may be in the middle of an update: try again in a few minutes, or name another with `--debian-archive URL`"));
    }
    let unpacked: Box<dyn Read + '_> = match index.packing {
        Packing::Xz => Box::new(XzReader::new(packed, true)),
        Packing::Gzip => Box::new(MultiGzDecoder::new(packed)),
        Packing::Plain => Box::new(packed),
    };
    let most = index.unpacked_size.unwrap_or(MAX_UNPACKED_BYTES);
    let mut unpacked = BufReader::with_capacity(1 << 16, unpacked.take(most + 1));
    let packages = parse(&mut unpacked, architecture, wanted)?;
    let left = unpacked.get_ref().limit();
    if left == 0 || index.unpacked_size.is_some() && left != 1 {
        return Err(Error::new(
            Kind::Integrity,
            "the unpacked index has another length than InRelease says",
        )
        .expected(format!("{most} bytes")));
    }
    Ok(packages)
}

/// Reads an unpacked index. Gives the newest version of each wanted package for the architecture, and how many packages
/// the index describes.
pub(crate) fn parse(
    reader: impl BufRead,
    architecture: &str,
    wanted: &BTreeSet<&str>,
) -> Result<(BTreeMap<String, Package>, u64)> {
    let mut packages = BTreeMap::new();
    let mut count = 0;
    let mut stanza = Stanza::default();
    deb822::read(reader, |line| {
        match line {
            Line::Field(name, value) => {
                if let Some(field) = stanza.field(name) {
                    field.clear();
                    field.extend_from_slice(value);
                }
            }
            Line::More(_) => {}
            Line::End => {
                count += 1;
                stanza.take(architecture, wanted, &mut packages)?;
                stanza.clear();
            }
        }
        Ok(())
    })?;
    Ok((packages, count))
}

/// The fields we read of one package. Empty is absent.
#[derive(Default)]
struct Stanza {
    package: Vec<u8>,
    version: Vec<u8>,
    architecture: Vec<u8>,
    filename: Vec<u8>,
    size: Vec<u8>,
    sha256: Vec<u8>,
}

impl Stanza {
    fn field(&mut self, name: &[u8]) -> Option<&mut Vec<u8>> {
        Some(match name {
            b"Package" => &mut self.package,
            b"Version" => &mut self.version,
            b"Architecture" => &mut self.architecture,
            b"Filename" => &mut self.filename,
            b"Size" => &mut self.size,
            b"SHA256" => &mut self.sha256,
            _ => return None,
        })
    }

    fn clear(&mut self) {
        let Self {
            package,
            version,
            architecture,
            filename,
            size,
            sha256,
        } = self;
        for field in [package, version, architecture, filename, size, sha256] {
            field.clear();
        }
    }

    /// Adds the package if it is wanted, for this architecture, and newer than the version found so far.
    fn take(
        &self,
        architecture: &str,
        wanted: &BTreeSet<&str>,
        packages: &mut BTreeMap<String, Package>,
    ) -> Result<()> {
        let Some(name) = std::str::from_utf8(&self.package)
            .ok()
            .filter(|n| wanted.contains(n))
        else {
            return Ok(());
        };
        if self.architecture != architecture.as_bytes() && self.architecture != b"all" {
            return Ok(());
        }
        let package = self.read().about(|| format!("package `{name}`"))?;
        let newer = packages
            .get(name)
            .is_none_or(|old: &Package| version::compare(&package.version, &old.version).is_gt());
        if newer {
            packages.insert(name.to_owned(), package);
        }
        Ok(())
    }

    fn read(&self) -> Result<Package> {
        let text = |name: &str, value: &[u8]| {
            String::from_utf8(value.to_vec())
                .ok()
                .filter(|text| !text.is_empty())
                .ok_or_else(|| Error::new(Kind::Input, format!("the index has no `{name}`")))
        };
        let path = text("Filename", &self.filename)?;
        let plain = |c: u8| c.is_ascii_alphanumeric() || b"/.+~_-".contains(&c);
        let in_pool = path.starts_with("pool/") && path.bytes().all(plain);
        if !in_pool || BundlePath::new(&path).is_err() {
            return Err(Error::new(Kind::Input, format!("unsafe path {path:?}"))
                .expected("a relative path of plain names below `pool/`"));
        }
        let size = text("Size", &self.size)?;
        Ok(Package {
            version: text("Version", &self.version)?,
            path,
            size: size.parse().map_err(|_| {
                Error::new(Kind::Input, "`Size` is not a number of bytes")
                    .found(format!("{size:?}"))
            })?,
            sha256: text("SHA256", &self.sha256)?.parse()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    fn stanza(name: &str, version: &str, architecture: &str) -> String {
        format!(
            "Package: {name}\nVersion: {version}\nDescription: x\n Filename: no\n .\nArchitecture: {architecture}\n\
             Filename: pool/main/x/{name}_{version}.deb\nSize: 12\nSHA256: {DIGEST}\n\n"
        )
    }

    fn read(text: &str) -> Result<(BTreeMap<String, Package>, u64)> {
        parse(text.as_bytes(), "amd64", &BTreeSet::from(["a", "b"]))
    }

    #[test]
    fn the_newest_of_each_for_the_architecture() {
        let text = [
            stanza("a", "1.9", "amd64"),
            stanza("a", "1.10~rc1", "amd64"),
            stanza("a", "1.10", "all"),
            stanza("a", "1.8", "amd64"),
            stanza("a", "2", "arm64"),
            stanza("b", "1+b1", "amd64"),
            stanza("c", "1", "amd64"),
        ]
        .concat();
        let (packages, count) = read(text.trim_end()).unwrap();
        assert_eq!(count, 7);
        let versions: Vec<_> = packages
            .iter()
            .map(|(n, p)| format!("{n} {}", p.version))
            .collect();
        assert_eq!(versions, ["a 1.10", "b 1+b1"]);
        assert_eq!(packages["a"].path, "pool/main/x/a_1.10.deb");
        assert_eq!(
            (
                packages["a"].size,
                packages["a"].sha256.to_string().as_str()
            ),
            (12, DIGEST)
        );
    }

    #[test]
    fn bad_entries_are_named() {
        let good = stanza("a", "1", "amd64");
        for (from, to, message) in [
            (
                "pool/main/x/",
                "pool/../../etc/",
                "package `a`: unsafe path \"pool/../../etc/a_1.deb\"",
            ),
            (
                "pool/main/x/",
                "/pool/",
                "package `a`: unsafe path \"/pool/a_1.deb\"",
            ),
            (
                "pool/main/x/",
                "dists/",
                "package `a`: unsafe path \"dists/a_1.deb\"",
            ),
            (
                "pool/main/x/",
                "pool/x?y=",
                "package `a`: unsafe path \"pool/x?y=a_1.deb\"",
            ),
            (
                "Size: 12",
                "Size: -12",
                "package `a`: `Size` is not a number of bytes",
            ),
            ("Size: 12", "Size:", "package `a`: the index has no `Size`"),
            (
                "SHA256: ",
                "MD5sum: ",
                "package `a`: the index has no `SHA256`",
            ),
            (
                "Version",
                "Release",
                "package `a`: the index has no `Version`",
            ),
            (DIGEST, "abc", "package `a`: `abc` is not a SHA-256 digest"),
        ] {
            let error = read(&good.replace(from, to)).unwrap_err();
            assert_eq!(error.message(), message);
        }
        // Unwanted packages may be malformed.
        assert!(
            read(
                &good
                    .replace("pool/", "/")
                    .replace("Package: a", "Package: z")
            )
            .is_ok()
        );
    }

    /// An archive with these files, by the end of their names, and the requests it got.
    fn fetched(
        list: &str,
        files: &[(&str, &[u8])],
    ) -> (Result<BTreeMap<String, Package>>, Vec<String>) {
        let suite = stub::bundle::Name::new("sid").unwrap();
        let list = format!("Origin: Debian\nCodename: sid\n{list}");
        let release = Release::parse(list.as_bytes(), &suite, "K".to_owned()).unwrap();
        let archive = Archive {
            base: "http://archive.test".to_owned(),
            suite,
            keyring: std::path::PathBuf::new(),
            valid_at: None,
        };
        let asked = std::cell::RefCell::new(Vec::new());
        let get = |url: &str, _cap: u64| {
            let name = url.rsplit('/').next().unwrap().to_owned();
            let file = files.iter().find(|(n, _)| *n == name);
            asked.borrow_mut().push(name);
            Ok(file.map(|(_, content)| content.to_vec()))
        };
        let wanted = BTreeSet::from(["a"]);
        let progress = Progress::silent();
        let found = fetch(&archive, &release, "amd64", &wanted, &get, &progress);
        (found, asked.into_inner())
    }

    fn listed(name: &str, content: &[u8]) -> String {
        let (digest, size) = (Sha256::of(content), content.len());
        format!(" {digest} {size} main/binary-amd64/{name}\n")
    }

    #[test]
    fn every_form_and_place_of_an_index_is_tried() {
        let plain = stanza("a", "1", "amd64").into_bytes();
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        std::io::Write::write_all(&mut gz, &plain).unwrap();
        let gz = gz.finish().unwrap();
        let (xz, by_hash) = (b"not on the mirror", "Acquire-By-Hash: yes\nSHA256:\n");
        let all = [
            listed("Packages", &plain),
            listed("Packages.gz", &gz),
            listed("Packages.xz", xz),
        ]
        .concat();
        let digest = |content: &[u8]| Sha256::of(content).to_string();

        let list = format!("{by_hash}{all}");
        let (found, asked) = fetched(&list, &[("Packages.gz", &gz)]);
        assert_eq!(found.unwrap()["a"].version, "1");
        assert_eq!(
            asked,
            [&digest(xz), "Packages.xz", &digest(&gz), "Packages.gz"]
        );

        let (found, asked) = fetched(&format!("SHA256:\n{all}"), &[("Packages", &plain)]);
        assert_eq!(found.unwrap()["a"].version, "1");
        assert_eq!(asked, ["Packages.xz", "Packages.gz", "Packages"]);

        // A list that does not say how long it is when unpacked.
        let only_gz = format!("SHA256:\n{}", listed("Packages.gz", &gz));
        let (found, _) = fetched(&only_gz, &[("Packages.gz", &gz)]);
        assert_eq!(found.unwrap().len(), 1);

        let (error, _) = fetched(&only_gz, &[]);
        insta::assert_snapshot!(error.unwrap_err(), @r"
        the archive has none of the indexes of packages that its list for sid names
          missing  http://archive.test/dists/sid/main/binary-amd64/Packages.gz

        hint: the mirror is incomplete, or in the middle of an update: try again in a few minutes, or name another with `--debian-archive URL`
        ");
        // The index under a plain name is verified, too.
        let (error, _) = fetched(&list, &[("Packages.xz", &gz)]);
        assert_eq!(error.unwrap_err().kind(), Kind::Integrity);
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
            let _ = parse(&bytes[..], "amd64", &BTreeSet::from([""]));
        }

        #[test]
        fn arbitrary_stanzas_never_panic_nor_leave_the_pool(text in "((Package: a|Version: .{0,5}|Architecture: all|Filename: (pool/)?[a./~-]{0,9}|Size: [0-9]{0,3}|SHA256: ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad|)\n){0,20}") {
            if let Ok((packages, _)) = read(&text) {
                for package in packages.values() {
                    proptest::prop_assert!(package.path.starts_with("pool/"));
                    proptest::prop_assert!(package.path.split('/').all(|part| part != ".."));
                }
            }
        }
    }
}
