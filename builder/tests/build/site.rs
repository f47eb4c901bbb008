//! A place to build in: a lockfile, a mirror with its downloads, and a cache, all made for one test.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use serde_json::{Value, json};
use stub::bundle::Arch;
use stub::digest::Sha256;
use tempfile::TempDir;

pub struct Site {
    directory: TempDir,
    lockfile: Value,
    /// Digests by the names that tests call them.
    names: BTreeMap<&'static str, String>,
}

impl Site {
    /// Three components: one plain program; an archive with a big program, a small one like it and a link; an image.
    pub fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let lockfile = json!({ "schema": 1, "components": {} });
        let mut site = Self {
            directory,
            lockfile,
            names: BTreeMap::new(),
        };

        let single = artifact(
            &site,
            "plain",
            b"a single program",
            "https://example.org/1.0/single",
            "1.0",
        );
        site.lock("single", "1.0", &single);

        let big: Vec<u8> = (0..400_000u32)
            .map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()[2])
            .collect();
        let archive = gzip(&tar(&[
            ("tools/big", &big),
            ("tools/small", &big[100_000..300_000]),
        ]));
        let mut tools = artifact(
            &site,
            "tar.gz",
            &archive,
            "https://example.org/1.1/tools.tar.gz",
            "1.1",
        );
        tools["files"] = json!([{ "from": "tools/big", "to": "bin/big" }, { "from": "tools/small", "to": "bin/small" }]);
        tools["links"] = json!([{ "path": "bin/alias", "target": "big" }]);
        site.lock("tools", "1.1", &tools);

        let image = site.image();
        site.lock("image", "1.2", &image);
        site
    }

    pub fn root(&self) -> &Path {
        self.directory.path()
    }

    pub fn mirror(&self) -> PathBuf {
        self.root().join("mirror")
    }

    pub fn cache(&self) -> PathBuf {
        self.root().join("cache/usernetes")
    }

    pub fn bundle(&self) -> PathBuf {
        self.root().join("bundle")
    }

    /// A path with the digest's name replaced by the digest.
    pub fn named(&self, path: &str) -> String {
        self.names
            .iter()
            .fold(path.to_owned(), |path, (name, digest)| {
                path.replace(name, digest)
            })
    }

    /// Puts a component with one artifact into the lockfile.
    pub fn lock(&mut self, name: &str, version: &str, artifact: &Value) {
        let arch = Arch::host().unwrap().as_str();
        self.lockfile["components"][name] = json!({
            "artifacts": { arch: [artifact] },
            "family": name,
            "homepage": "https://example.org",
            "license": "MIT",
            "version": version,
        });
    }

    pub fn unpin(&mut self, name: &str) {
        let artifact =
            &mut self.lockfile["components"][name]["artifacts"][Arch::host().unwrap().as_str()][0];
        artifact.as_object_mut().unwrap().remove("digest");
    }

    /// `builder build` of this site, offline, with a small static program as the stub.
    pub fn build(&self, arguments: &[&str]) -> Run {
        let mut run = self.builder(&["build", "--level", "3"]);
        run.arguments.extend(arguments.iter().map(OsString::from));
        run.arguments
            .extend([OsString::from("--output"), self.bundle().into()]);
        run.stub(static_program());
        run
    }

    /// `builder verify` of the bundle.
    pub fn verify(&self, arguments: &[&str]) -> Run {
        let mut run = self.builder(&["verify"]);
        run.arguments.push(self.bundle().into());
        run.arguments.extend(arguments.iter().map(OsString::from));
        run
    }

    fn builder(&self, arguments: &[&str]) -> Run {
        let lockfile = self.root().join("lockfile.json");
        fs::write(
            &lockfile,
            serde_json::to_string_pretty(&self.lockfile).unwrap(),
        )
        .unwrap();
        let mut all: Vec<OsString> = vec![
            "--offline".into(),
            "--lockfile".into(),
            lockfile.into(),
            "--mirror".into(),
            self.mirror().into(),
        ];
        all.extend(arguments.iter().map(OsString::from));
        Run {
            arguments: all,
            stub: None,
            environment: vec![("XDG_CACHE_HOME".into(), self.root().join("cache").into())],
            umask: "022",
            before: "",
        }
    }

    /// An image of one layer in the mirror.
    fn image(&mut self) -> Value {
        let layer = hello();
        let packed = gzip(&layer);
        let (image, config) = self.image_of(&packed, Sha256::of(&layer));
        // In a bundle, the layer is not compressed, and so the manifest is another one.
        let descriptor = stub::oci::descriptor;
        let manifest = stub::oci::manifest(
            &descriptor(stub::oci::CONFIG, config.as_bytes()),
            &[descriptor(stub::oci::LAYER, &layer)],
        );
        for (name, bytes) in [
            ("LAYER", layer.as_slice()),
            ("CONFIG", config.as_bytes()),
            ("MANIFEST", manifest.as_bytes()),
        ] {
            self.names.insert(name, Sha256::of(bytes).to_string());
        }
        image
    }

    /// An image of one layer that gzip has compressed, and whose configuration says so of what it was. Gives the configuration,
    /// too.
    pub fn image_of(&self, packed: &[u8], layer: Sha256) -> (Value, String) {
        let architecture = Arch::host().unwrap().go_name();
        let config = json!({
            "architecture": architecture,
            "os": "linux",
            "rootfs": { "type": "layers", "diff_ids": [stub::digest::Digest::from(layer)] },
        })
        .to_string();
        let descriptor = stub::oci::descriptor;
        let manifest = stub::oci::manifest(
            &descriptor(stub::oci::CONFIG, config.as_bytes()),
            &[descriptor(stub::oci::LAYER_GZIP, packed)],
        );
        self.put(config.as_bytes());
        self.put(packed);
        let mut image = artifact(
            self,
            "oci-image",
            manifest.as_bytes(),
            "oci://example.org/small:1.2",
            "1.2",
        );
        image["files"] = json!([{ "to": "images/small" }]);
        (image, config)
    }

    /// Puts a download into the mirror.
    fn put(&self, bytes: &[u8]) -> String {
        let hex = Sha256::of(bytes).to_string();
        let directory = self.mirror().join("sha256").join(&hex[..2]);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(&hex), bytes).unwrap();
        format!("sha256:{hex}")
    }
}

/// A lockfile's entry for a download that the site's mirror holds.
pub fn artifact(site: &Site, format: &str, bytes: &[u8], url: &str, version: &str) -> Value {
    assert!(url.contains(version));
    let name = url.rsplit('/').next().unwrap();
    json!({ "digest": site.put(bytes), "size": bytes.len(), "files": [{ "to": format!("bin/{name}") }], "format": format, "urls": [url] })
}

/// The layer of the image, as a tar archive.
pub fn hello() -> Vec<u8> {
    tar(&[("hello", b"hello")])
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        header.set_cksum();
        tar.append_data(&mut header, name, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(bytes).unwrap();
    gzip.finish().unwrap()
}

/// A static program that does nothing, compiled once. The real stub takes a minute; `builder demo` packs that one.
pub fn static_program() -> &'static Path {
    static PROGRAM: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, program) = PROGRAM.get_or_init(|| {
        let directory = tempfile::tempdir().unwrap();
        let (source, program) = (
            directory.path().join("empty.rs"),
            directory.path().join("empty"),
        );
        fs::write(&source, "fn main() {}\n").unwrap();
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let mut command = Command::new(rustc);
        command
            .args([
                "-C",
                "target-feature=+crt-static",
                "-C",
                "strip=symbols",
                "--target",
                &triple,
                "-o",
            ])
            .arg(&program)
            .arg(&source);
        assert!(command.status().unwrap().success());
        (directory, program)
    });
    program
}

/// A run of `builder` that has not begun.
pub struct Run {
    arguments: Vec<OsString>,
    stub: Option<OsString>,
    environment: Vec<(OsString, OsString)>,
    umask: &'static str,
    /// What the shell does before it becomes `builder`.
    before: &'static str,
}

impl Run {
    pub fn environment(&mut self, variables: &[(&str, &str)]) -> &mut Self {
        self.environment
            .extend(variables.iter().map(|(n, v)| ((*n).into(), (*v).into())));
        self
    }

    pub fn umask(&mut self, umask: &'static str) -> &mut Self {
        self.umask = umask;
        self
    }

    /// Messages go to a disk that is full.
    pub fn without_stderr(&mut self) -> &mut Self {
        self.before = "exec 2>/dev/full";
        self
    }

    /// No file of it may become larger than 8 KiB.
    pub fn small_files(&mut self) -> &mut Self {
        self.before = "ulimit -f 16";
        self
    }

    pub fn stub(&mut self, program: &Path) -> &mut Self {
        self.stub = Some(program.into());
        self
    }

    /// What it prints on stdout.
    pub fn success(&mut self) -> String {
        let output = self.output();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    /// The error it ends with, without what it printed before.
    pub fn failure(&mut self, code: i32) -> String {
        let output = self.output();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{text}");
        let at = text
            .find("error: ")
            .unwrap_or_else(|| panic!("no error in {text}"));
        text[at..].to_owned()
    }

    fn output(&self) -> std::process::Output {
        let stub = self
            .stub
            .iter()
            .flat_map(|p| [OsStr::new("--stub"), p.as_os_str()]);
        let mut command = Command::new("/bin/sh");
        let script = format!("umask \"$0\"; {}\nexec \"$@\"", self.before);
        command.args(["-c", &script, self.umask, env!("CARGO_BIN_EXE_builder")]);
        command
            .args(&self.arguments)
            .args(stub)
            .envs(self.environment.iter().map(|(n, v)| (n, v)));
        command.output().unwrap()
    }
}
