//! What the demo says it did.

use std::path::PathBuf;

use serde::Serialize;
use stub::digest::Sha256;
use stub::progress::bytes;

/// What the demo did.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    /// Where the bundle lies.
    pub(super) bundle: PathBuf,
    /// Its digest.
    pub(super) sha256: Sha256,
    /// Its length in bytes.
    pub(super) size: u64,
    /// How many components it has.
    pub(super) components: usize,
    /// Bytes of its files once unpacked.
    pub(super) unpacked: u64,
    /// What was done, in order.
    pub(super) steps: Vec<Step>,
}

/// One thing the demo did.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    /// What.
    pub(super) name: String,
    /// How long it took, in seconds.
    pub(super) seconds: f64,
    /// What came of it.
    pub(super) outcome: String,
}

impl Report {
    /// As a person reads it.
    pub(super) fn table(&self) -> String {
        let mut text = format!("{:28} {:>8}  outcome\n", "step", "seconds");
        for step in &self.steps {
            text += format!("{:28} {:>8.1}  {}", step.name, step.seconds, step.outcome).trim_end();
            text.push('\n');
        }
        text += &format!(
            "\n{} components, {} unpacked, {} as a bundle\n{}\nsha256 {}\n",
            self.components,
            bytes(self.unpacked),
            bytes(self.size),
            self.bundle.display(),
            self.sha256
        );
        text
    }
}
