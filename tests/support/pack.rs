//! Makes tiny bundles.

use fs_err as fs;
use stub::bundle::{
    Arch, BundlePath, Component, File, FrameEntry, Link, Manifest, Mode, Name, Source, StubEntry,
    Version, frame, write,
};
use stub::digest::Sha256;

use crate::home::program;

/// The head of bundles that are not run, instead of the stub.
pub const HEAD: &[u8] = b"#!/bin/sh\necho the stub\n";

/// The recipe for a bundle. `etcd` is the version of one component and part of its contents, so that bundles differ.
pub struct Recipe {
    pub arch: Arch,
    pub etcd: &'static str,
    pub head: Vec<u8>,
    pub release: &'static str,
}

impl Recipe {
    pub fn new(release: &'static str, etcd: &'static str) -> Self {
        Self {
            arch: Arch::host().unwrap(),
            etcd,
            head: HEAD.to_vec(),
            release,
        }
    }

    /// Puts the real stub at the head.
    #[must_use]
    pub fn runnable(mut self) -> Self {
        self.head = fs::read(program()).unwrap();
        self
    }

    /// Makes the bundle. It has a family with a hub and a sibling, two files with the same contents, links, programs and
    /// data.
    pub fn pack(&self) -> Vec<u8> {
        let hub = noise(60_000, 1);
        let mut sibling = hub.clone();
        sibling.splice(20_000..20_010, noise(500, 2));
        let mut pack = Pack::default();
        let script = format!("#!/bin/sh\necho etcd {}\n", self.etcd);
        pack.component("etcd", self.etcd, "Apache-2.0")
            .file("bin/etcd", Mode::Program, script.as_bytes(), None)
            .file("share/doc/etcd/README", Mode::Data, b"shared\n", None)
            .link("bin/etcd-server", "etcd");
        pack.component("kube-apiserver", "1.36.3", "Apache-2.0")
            .file("bin/kube-apiserver", Mode::Program, &hub, None);
        pack.component("kube-scheduler", "1.36.3", "Apache-2.0")
            .file("bin/kube-scheduler", Mode::Program, &sibling, Some(&hub));
        pack.component("runc", "1.4.0", "Apache-2.0 AND LGPL-2.1-only")
            .file("images/pause.tar", Mode::Data, &noise(3000, 3), None)
            .file("libexec/cni/bridge", Mode::Program, b"#!/bin/sh\n", None)
            .file("share/doc/runc/README", Mode::Data, b"shared\n", None);
        pack.finish(self)
    }
}

/// Bytes that compress little and are the same every time.
pub fn noise(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 & 0x7f
    };
    (0..len).map(step).collect()
}

/// Builds a bundle. Components, and the files in them, must be added in the order of their names.
#[derive(Default)]
pub struct Pack {
    components: Vec<Component>,
    frames: Vec<(FrameEntry, Vec<u8>)>,
}

impl Pack {
    pub fn component(&mut self, name: &str, version: &str, license: &str) -> &mut Self {
        self.components.push(Component {
            files: Vec::new(),
            homepage: format!("https://{name}.example"),
            license: license.to_owned(),
            links: Vec::new(),
            name: Name::new(name).unwrap(),
            sources: vec![Source {
                digest: format!("sha256:{}", Sha256::of(version.as_bytes())),
                url: format!("https://{name}.example/{version}.tar.gz"),
            }],
            version: Version::new(version).unwrap(),
        });
        self
    }

    pub fn file(
        &mut self,
        path: &str,
        mode: Mode,
        content: &[u8],
        hub: Option<&[u8]>,
    ) -> &mut Self {
        let sha256 = Sha256::of(content);
        let path = BundlePath::new(path).unwrap();
        let component = self.components.last_mut().unwrap();
        component.files.push(File { mode, path, sha256 });
        if self.frames.iter().all(|(f, _)| f.sha256 != sha256) {
            let bytes = frame::compress(content, hub, 3).unwrap();
            let entry = FrameEntry {
                length: bytes.len() as u64,
                packed: Sha256::of(&bytes),
                prefix: hub.map(Sha256::of),
                sha256,
                size: content.len() as u64,
            };
            self.frames.push((entry, bytes));
        }
        self
    }

    pub fn link(&mut self, path: &str, target: &str) -> &mut Self {
        let path = BundlePath::new(path).unwrap();
        let target = BundlePath::new(target).unwrap();
        let component = self.components.last_mut().unwrap();
        component.links.push(Link { path, target });
        self
    }

    pub fn finish(self, recipe: &Recipe) -> Vec<u8> {
        let manifest = Manifest {
            arch: recipe.arch,
            components: self.components,
            frames: self.frames.iter().map(|(entry, _)| entry.clone()).collect(),
            level: 3,
            lockfile: Sha256::of(b"lockfile"),
            release: Version::new(recipe.release).unwrap(),
            stub: StubEntry {
                libraries: Vec::new(),
                sha256: Sha256::of(&recipe.head),
                size: recipe.head.len() as u64,
            },
        };
        let mut bytes = Vec::new();
        let frame = |index: usize| Ok(self.frames[index].1.clone());
        write(&mut bytes, &recipe.head[..], &manifest, frame).unwrap();
        bytes
    }
}
