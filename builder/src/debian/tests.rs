//! The whole chain against a small archive in memory (tests/debian/fixtures), with a gpgv that is the real one, and what
//! an archive or somebody between could do to it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use stub::bundle::{Arch, Name};
use stub::digest::Sha256;
use stub::error::{Error, Kind, Result};
use stub::progress::Progress;

use super::apt::Archive;
use super::archive_path;
use super::packages::Package;
use super::release::Release;
use super::resolve::{lock, resolve};
use crate::lockfile::{LockedComponent, Lockfile};
use crate::recipe::{self, Recipe};

const IN_RELEASE: &str = "http://archive.test/debian/dists/sid/InRelease";

const ETCD: &str = r#"
summary = "s"
homepage = "https://etcd.io"
license = "Apache-2.0"
[version]
from = "debian"
suite = "sid"
[[artifact]]
package = "etcd-server"
format = "deb"
file = [{ from = "usr/lib/{arch}-linux-gnu/{goarch}/etcd", to = "bin/etcd" }]
[[artifact]]
package = "etcd-client"
format = "deb"
file = [{ from = "usr/bin/etcdctl", to = "bin/etcdctl" }]
"#;

fn tests_directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/debian")
}

fn fixture(name: &str) -> Vec<u8> {
    fs_err::read(tests_directory().join("fixtures").join(name)).unwrap()
}

/// gpgv is part of Debian, where this channel works. Elsewhere there is nothing to test.
fn no_gpgv() -> bool {
    let missing = Command::new("gpgv").arg("--version").output().is_err();
    if missing {
        eprintln!("not tested: there is no gpgv on this machine");
    }
    missing
}

fn archive() -> Archive {
    Archive {
        base: "http://archive.test/debian".to_owned(),
        suite: Name::new("sid").unwrap(),
        keyring: tests_directory().join("fixtures/keyring.gpg"),
        // 6 May 2026, when the list was valid.
        valid_at: Some(SystemTime::UNIX_EPOCH + Duration::from_secs(1_778_050_000)),
    }
}

/// The files of the archive by URL, the index under the name its digest gives it.
fn files() -> BTreeMap<String, Vec<u8>> {
    let index = fixture("Packages.xz");
    let directory = "http://archive.test/debian/dists/sid/main/binary-amd64/by-hash/SHA256";
    BTreeMap::from([
        (IN_RELEASE.to_owned(), fixture("InRelease")),
        (format!("{directory}/{}", Sha256::of(&index)), index),
    ])
}

fn recipes(text: &str) -> BTreeMap<Name, Recipe> {
    BTreeMap::from([(Name::new("etcd").unwrap(), Recipe::parse(text).unwrap())])
}

fn run(
    archive: &Archive,
    files: &BTreeMap<String, Vec<u8>>,
    recipe: &str,
) -> Result<BTreeMap<Name, LockedComponent>> {
    let get = |url: &str, _cap: u64| Ok(files.get(url).cloned());
    let progress = Progress::silent();
    resolve(&recipes(recipe), Arch::X86_64, archive, &get, &progress)
}

/// Resolves with another `InRelease`, which must not do.
fn refused(change: impl Fn(Vec<u8>) -> Vec<u8>) -> Error {
    let mut files = files();
    let text = change(files[IN_RELEASE].clone());
    assert_ne!(text, files[IN_RELEASE]);
    files.insert(IN_RELEASE.to_owned(), text);
    let error = run(&archive(), &files, ETCD).unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    assert!(error.message().starts_with(IN_RELEASE), "{error}");
    error
}

#[test]
fn a_recipe_becomes_a_lockfile_entry() {
    if no_gpgv() {
        return;
    }
    let mut lockfile = Lockfile::new();
    lockfile.components = run(&archive(), &files(), ETCD).unwrap();
    let text = lockfile.to_text().unwrap();
    Lockfile::parse(&text).unwrap();
    insta::assert_snapshot!(text, @r#"
    {
      "components": {
        "etcd": {
          "artifacts": {
            "x86_64": [
              {
                "digest": "sha256:63e8a303cc2d1d0e030466d4c4149cd2f1dd288248d910c537c719a6aead734e",
                "evidence": [
                  {
                    "key": "ADAE37E58602C39C1D3178CD23C7DC61E2A321CB",
                    "kind": "in-release",
                    "suite": "sid"
                  }
                ],
                "files": [
                  {
                    "from": "usr/lib/x86_64-linux-gnu/amd64/etcd",
                    "to": "bin/etcd"
                  }
                ],
                "format": "deb",
                "size": 1000,
                "urls": [
                  "debian:pool/main/e/etcd/etcd-server_3.5.30-2_amd64.deb"
                ]
              },
              {
                "digest": "sha256:0df21dd4798e016dcb250bf810f680e79158d887bc906825645345418da96e7e",
                "evidence": [
                  {
                    "key": "ADAE37E58602C39C1D3178CD23C7DC61E2A321CB",
                    "kind": "in-release",
                    "suite": "sid"
                  }
                ],
                "files": [
                  {
                    "from": "usr/bin/etcdctl",
                    "to": "bin/etcdctl"
                  }
                ],
                "format": "deb",
                "size": 1000,
                "urls": [
                  "debian:pool/main/e/etcd/etcd-client_3.5.30-2_amd64.deb"
                ]
              }
            ]
          },
          "family": "etcd",
          "homepage": "https://etcd.io",
          "license": "Apache-2.0",
          "version": "3.5.30-2"
        }
      },
      "schema": 1
    }
    "#);
}

#[test]
fn a_suite_is_fetched_once_and_within_bounds() {
    if no_gpgv() {
        return;
    }
    let mut both = recipes(ETCD);
    let containerd = ETCD
        .replace("etcd-server", "containerd")
        .split("[[artifact]]\npackage = \"etcd-client\"")
        .next()
        .unwrap()
        // Without a suite it is the machine's own, which is the same one here.
        .replace("suite = \"sid\"", "");
    let containerd = Recipe::parse(&containerd).unwrap();
    both.insert(Name::new("containerd").unwrap(), containerd);
    let asked = RefCell::new(Vec::new());
    let get = |url: &str, cap: u64| {
        asked.borrow_mut().push(cap);
        Ok(files().remove(url))
    };
    let (archive, progress) = (archive(), Progress::silent());
    let locked = resolve(&both, Arch::X86_64, &archive, &get, &progress).unwrap();
    assert_eq!(locked.len(), 2);
    let asked = asked.take();
    assert_eq!(asked, [8 << 20, fixture("Packages.xz").len() as u64]);
    let missing = resolve(&both, Arch::Aarch64, &archive, &get, &progress).unwrap_err();
    assert!(missing.message().contains("binary-arm64"), "{missing}");
}

#[test]
fn a_package_the_suite_lacks_is_named_with_the_suite() {
    if no_gpgv() {
        return;
    }
    let recipe = ETCD.replace("etcd-client", "etcd-clients");
    insta::assert_snapshot!(run(&archive(), &files(), &recipe).unwrap_err(), @r"
    etcd: the suite sid has no package `etcd-clients` for amd64

    hint: correct `package`, or name a suite that has it as `suite` in the recipe's `[version]`
    ");
}

#[test]
fn packages_of_different_versions_are_named() {
    if no_gpgv() {
        return;
    }
    let recipe = ETCD.replace("etcd-client", "conntrack");
    insta::assert_snapshot!(run(&archive(), &files(), &recipe).unwrap_err(), @r"
    etcd: its packages have different versions, and a component has one
      etcd-server  3.5.30-2
      conntrack    1:1.4.9-1

    hint: make `conntrack` a component of its own, with its own recipe
    ");
}

#[test]
fn an_epoch_is_kept_and_is_in_no_file_name() {
    if no_gpgv() {
        return;
    }
    let recipe = ETCD.split("[[artifact]]\npackage = \"etcd-client\"");
    let recipe = recipe.take(1).collect::<String>();
    let recipe = recipe.replace("etcd-server", "conntrack");
    let locked = run(&archive(), &files(), &recipe).unwrap();
    let locked = &locked[&Name::new("etcd").unwrap()];
    assert_eq!(locked.version.as_str(), "1.4.9-1");
    assert_eq!(locked.full_version(), "1:1.4.9-1");
    let url = locked.artifacts[&Arch::X86_64][0].url();
    assert_eq!(
        url,
        "debian:pool/main/c/conntrack-tools/conntrack_1%3a1.4.9-1_amd64.deb"
    );
    assert_eq!(
        archive_path(url).unwrap(),
        "pool/main/c/conntrack-tools/conntrack_1.4.9-1_amd64.deb"
    );
}

#[test]
fn a_signature_by_an_unknown_key_is_refused() {
    if no_gpgv() {
        return;
    }
    let mut archive = archive();
    archive.keyring = tests_directory().join("fixtures/other.gpg");
    let error = run(&archive, &files(), ETCD).unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    let text = error.to_string();
    assert!(text.contains("the signature is not good"), "{text}");
    assert!(text.contains("other.gpg"), "{text}");
    assert!(text.contains("debian-archive-keyring"), "{text}");
}

#[test]
fn changed_text_is_refused() {
    if no_gpgv() {
        return;
    }
    let text = String::from_utf8(fixture("InRelease")).unwrap();
    let codename = text.find("Codename").unwrap();
    let digest = text.find("SHA256:\n ").unwrap() + "SHA256:\n ".len();
    for flipped in [codename, digest, digest + 70] {
        let error = refused(|mut bytes| {
            bytes[flipped] ^= 1;
            bytes
        });
        assert!(
            error.message().contains("the signature is not good"),
            "{error}"
        );
    }
}

#[test]
fn text_around_the_signed_text_is_refused() {
    let before = refused(|bytes| [b"Origin: Evil\n", &bytes[..]].concat());
    assert!(
        before.message().ends_with("it is not a signed message"),
        "{before}"
    );
    let after = refused(|bytes| [&bytes[..], b"Origin: Evil\n"].concat());
    assert!(
        after
            .message()
            .ends_with("it does not end with its signature"),
        "{after}"
    );
    let twice = refused(|bytes| [&bytes[..], &bytes[..]].concat());
    assert!(
        twice
            .message()
            .ends_with("it holds more than one signed message"),
        "{twice}"
    );
    let short = refused(|bytes| bytes[..bytes.len() / 2].to_vec());
    assert!(
        short
            .message()
            .ends_with("it does not end with its signature"),
        "{short}"
    );
}

#[test]
fn a_page_instead_of_the_list_is_refused() {
    let error = refused(|_| b"<!doctype html>\n<title>Please log in</title>\n".to_vec());
    insta::assert_snapshot!(error, @r#"
    http://archive.test/debian/dists/sid/InRelease: it is not a signed message
      expected  one message, from `-----BEGIN PGP SIGNED MESSAGE-----` to `-----END PGP SIGNATURE-----`
      found     "<!doctype html>"

    hint: a proxy may have answered in the archive's place, or the archive is being updated: open the URL in a browser, or try again in a few minutes
    "#);
    refused(|_| Vec::new());
}

#[test]
fn another_suites_list_is_refused() {
    if no_gpgv() {
        return;
    }
    let mut files = files();
    let url = IN_RELEASE.replace("sid", "trixie");
    files.insert(url, fixture("InRelease"));
    let error = run(&archive(), &files, &ETCD.replace("\"sid\"", "\"trixie\"")).unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    assert!(
        error.to_string().contains("found     sid (unstable)"),
        "{error}"
    );
    let bad = run(&archive(), &files, &ETCD.replace("\"sid\"", "\"../sid\"")).unwrap_err();
    assert!(bad.message().contains("etcd: `suite`"), "{bad}");
}

#[test]
fn a_list_out_of_date_is_refused_unless_apt_would_take_it() {
    if no_gpgv() {
        return;
    }
    let mut archive = archive();
    archive.valid_at = archive.valid_at.map(|t| t + Duration::from_hours(30 * 24));
    let error = run(&archive, &files(), ETCD).unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    assert!(error.message().contains("27 days ago"), "{error}");
    archive.valid_at = None;
    assert!(run(&archive, &files(), ETCD).is_ok());
}

#[test]
fn a_mirror_without_names_by_digest_will_do() {
    if no_gpgv() {
        return;
    }
    let mut files = files();
    files.retain(|url, _| url == IN_RELEASE);
    let error = run(&archive(), &files, ETCD).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    let plain = "http://archive.test/debian/dists/sid/main/binary-amd64/Packages.xz";
    assert!(error.to_string().contains(plain), "{error}");
    files.insert(plain.to_owned(), fixture("Packages.xz"));
    assert!(run(&archive(), &files, ETCD).is_ok());
}

#[test]
fn an_archive_may_have_its_list_and_the_signature_apart() {
    if no_gpgv() {
        return;
    }
    let mut files = files();
    files.remove(IN_RELEASE);
    let error = run(&archive(), &files, ETCD).unwrap_err();
    insta::assert_snapshot!(error, @r"
    http://archive.test/debian/dists/sid/Release: the archive has no `Release`
      also missing  http://archive.test/debian/dists/sid/InRelease

    hint: name the address of a Debian archive with `--debian-archive URL`, and one of its suites with `--debian-suite SUITE`
    ");
    let at = |name: &str| IN_RELEASE.replace("InRelease", name);
    let text = fixture("Release");
    files.insert(at("Release"), text.clone());
    files.insert(at("Release.gpg"), fixture("Release.gpg"));
    assert!(run(&archive(), &files, ETCD).is_ok());
    let text = [&text[..], b"Origin: Evil\n"].concat();
    files.insert(at("Release"), text);
    let error = run(&archive(), &files, ETCD).unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    assert!(
        error.message().contains("the signature is not good"),
        "{error}"
    );
}

#[test]
fn another_index_is_refused() {
    if no_gpgv() {
        return;
    }
    let same_length = |mut bytes: Vec<u8>| {
        bytes[100] ^= 1;
        bytes
    };
    let short = |bytes: Vec<u8>| bytes[..100].to_vec();
    let changes: [&dyn Fn(Vec<u8>) -> Vec<u8>; 2] = [&same_length, &short];
    for change in changes {
        let mut files = files();
        let index = files
            .values_mut()
            .find(|b| b.starts_with(b"\xfd7zXZ"))
            .unwrap();
        *index = change(index.clone());
        let error = run(&archive(), &files, ETCD).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        let text = error.to_string();
        assert!(text.contains("not the one that InRelease names"), "{text}");
        assert!(text.contains("hint: the mirror may be"), "{text}");
    }
}

/// Every recipe of the channel can be locked if the archive has its packages, and no two want one path.
#[test]
fn the_channels_recipes_go_together() {
    let recipes = recipe::read_all(&tests_directory().join("recipes")).unwrap();
    let signed = b"Origin: Debian\nSuite: unstable\nCodename: sid\n";
    let release = Release::parse(signed, &Name::new("sid").unwrap(), "K".to_owned()).unwrap();
    let mut lockfile = Lockfile::new();
    for (name, recipe) in &recipes {
        let packages = recipe.artifacts.iter().map(|artifact| {
            let package = artifact.package.clone().unwrap();
            let path = format!("pool/main/x/{package}_1.2-3_amd64.deb");
            let sha256 = Sha256::of(package.as_bytes());
            let version = "1:1.2-3".to_owned();
            (
                package,
                Package {
                    version,
                    path,
                    size: 1,
                    sha256,
                },
            )
        });
        let component = lock(name, recipe, Arch::X86_64, &release, &packages.collect()).unwrap();
        lockfile.components.insert(name.clone(), component);
    }
    lockfile.check().unwrap();
}
