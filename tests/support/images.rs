//! Archives of images.

use std::path::Path;
use std::process::Command;

use fs_err as fs;
use stub::digest::Sha256;

/// Writes an archive with one image of this name and text.
pub fn save(path: &Path, name: &str, text: &str) {
    let hex = |text: &str| Sha256::of(text.as_bytes()).to_string();
    let config = format!("{{\"text\":\"{text}\"}}");
    let manifest = format!(
        r#"{{"config":{{"digest":"sha256:{}"}},"layers":[{{"digest":"sha256:{}"}}]}}"#,
        hex(&config),
        hex(text)
    );
    let index = format!(
        r#"{{"manifests":[{{"digest":"sha256:{}","annotations":{{"io.containerd.image.name":"{name}"}}}}]}}"#,
        hex(&manifest)
    );
    let dir = tempfile::tempdir().unwrap();
    let blobs = dir.path().join("blobs/sha256");
    fs::create_dir_all(&blobs).unwrap();
    for blob in [text, &config, &manifest] {
        fs::write(blobs.join(hex(blob)), blob).unwrap();
    }
    fs::write(dir.path().join("index.json"), index).unwrap();
    let mut tar = Command::new("tar");
    tar.arg("cf").arg(path).arg("-C").arg(dir.path());
    assert!(
        tar.args(["index.json", "blobs"])
            .status()
            .unwrap()
            .success()
    );
}
