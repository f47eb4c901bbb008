//! The demo's report.

use std::path::PathBuf;

use serde::Serialize;
use stub::digest::Sha256;
use stub::progress::bytes;
use stub::table::table;

use builder::wording::counted;

/// The demo's report.
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
    /// The steps, in order.
    pub(super) steps: Vec<Step>,
}

/// A step of the demo.
#[derive(Debug, Serialize)]
pub(super) struct Step {
    /// Its name.
    pub(super) name: String,
    /// How long it took, in seconds.
    pub(super) seconds: f64,
    /// The result.
    pub(super) outcome: String,
}

impl Report {
    /// As a person reads it.
    pub(super) fn table(&self) -> String {
        let mut rows = vec![["step", "seconds", "outcome"].map(str::to_owned)];
        rows.extend(self.steps.iter().map(|step| {
            let seconds = format!("{:.1}", step.seconds);
            [step.name.clone(), seconds, step.outcome.clone()]
        }));
        let mut text = table(&rows, &[1]);
        text += &format!(
            "\n{}, {} unpacked, {} as a bundle\n{}\nsha256 {}\n",
            counted(self.components, "component"),
            bytes(self.unpacked),
            bytes(self.size),
            self.bundle.display(),
            self.sha256
        );
        text
    }
}
