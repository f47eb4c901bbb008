//! A small manifest for tests of what is said about bundles.

use super::*;
use crate::digest::Sha256;

/// One component from GitHub and one Debian package, in a stub with two libraries.
pub(crate) fn manifest() -> Manifest {
    let crun = component(
        "crun",
        "1.29.1",
        "GPL-2.0-or-later AND LGPL-2.1-or-later",
        "https://github.com/containers/crun/releases/download/1.29.1/crun-1.29.1-linux-amd64",
    );
    let mnl = component(
        "libmnl",
        "1.0.4-3",
        "LGPL-2.1-or-later",
        "debian:pool/main/libm/libmnl/libmnl0_1.0.4-3_amd64.deb",
    );
    let frame = |c: &Component| FrameEntry {
        length: 10,
        packed: Sha256::of(b"packed"),
        prefix: None,
        sha256: c.files[0].sha256,
        size: 4,
    };
    Manifest {
        arch: Arch::X86_64,
        frames: vec![frame(&crun), frame(&mnl)],
        components: vec![crun, mnl],
        level: 19,
        lockfile: Sha256::of(b"lockfile"),
        release: Version::new("0.1.0").unwrap(),
        stub: StubEntry {
            libraries: vec![
                library(
                    "console",
                    "0.16.6",
                    "MIT",
                    &["Copyright (c) 2017 Armin Ronacher"],
                ),
                library(
                    "rustix",
                    "1.1.6",
                    "Apache-2.0 WITH LLVM-exception OR MIT",
                    &[],
                ),
            ],
            sha256: Sha256::of(b"stub"),
            size: 4,
        },
    }
}

fn component(name: &str, version: &str, license: &str, url: &str) -> Component {
    Component {
        files: vec![File {
            mode: Mode::Program,
            path: BundlePath::new(format!("bin/{name}")).unwrap(),
            sha256: Sha256::of(name.as_bytes()),
        }],
        homepage: format!("https://{name}.example.org"),
        license: license.to_owned(),
        links: Vec::new(),
        name: Name::new(name).unwrap(),
        sources: vec![Source {
            digest: format!("sha256:{}", Sha256::of(url.as_bytes())),
            url: url.to_owned(),
        }],
        version: Version::new(version).unwrap(),
    }
}

fn library(name: &str, version: &str, license: &str, copyright: &[&str]) -> Library {
    Library {
        name: name.to_owned(),
        version: version.to_owned(),
        copyright: copyright.iter().map(|&line| line.to_owned()).collect(),
        license: license.to_owned(),
        purl: crate::purl::of_crate(name, version),
        source: Some(format!("sha256:{}", Sha256::of(name.as_bytes()))),
    }
}
