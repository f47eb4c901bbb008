//! Giving disk space that etcd does not use any more back.
//!
//! etcd's file never shrinks by itself: what compaction frees stays in it, and counts for the quota. Defragmenting writes the
//! file anew. etcd answers nobody meanwhile, so this is done only when it is worth it (etcd documentation, "Maintenance").

use serde_json::Value;

use crate::child;
use crate::cluster::Current;
use crate::components::etcd::QUOTA;
use crate::error::{Context as _, Error, Kind, Result};
use crate::progress::{Progress, bytes};
use crate::store::Store;

/// Less unused space than this is not worth it, in bytes.
const LEAST: u64 = 64 << 20;

/// The size of etcd's file, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Size {
    all: u64,
    used: u64,
}

impl Size {
    /// Reads the answer of `etcdctl endpoint status --write-out=json`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let answer: Value = serde_json::from_str(text).unwrap_or_default();
        let status = &answer[0]["Status"];
        let number = |name: &str| status[name].as_u64();
        match (number("dbSize"), number("dbSizeInUse")) {
            (Some(all), Some(used)) => Ok(Self { all, used }),
            _ => Err(
                Error::new(Kind::Failed, "etcd does not say how large its file is")
                    .found(text.lines().next().unwrap_or("nothing")),
            ),
        }
    }

    /// Whether defragmenting is worth it: at least half of the file is unused, or, if it is nearly as large as it may become,
    /// a tenth of it.
    pub(super) fn is_wasteful(self) -> bool {
        let unused = self.all.saturating_sub(self.used);
        let share = if self.all > QUOTA / 4 * 3 { 10 } else { 2 };
        unused >= LEAST && unused >= self.all / share
    }

    /// Whether etcd may accept changes again.
    pub(super) fn fits(self) -> bool {
        self.all < QUOTA / 10 * 9
    }
}

/// Defragments etcd's file if that is worth it. If etcd has stopped accepting changes because the file was too large, it
/// accepts them again afterwards. Does nothing, and says nothing, if etcd does not run.
pub fn defragment_if_worth_it(progress: &Progress) -> Result<()> {
    // Nothing may stop etcd, or make a copy of its data, meanwhile.
    let _store = Store::open_default()?.locked()?;
    let current = Current::read()?;
    if !current.is_running() || current.program("etcdctl").is_err() {
        return Ok(());
    }
    let ask = |words: &[&str]| {
        let words = [&["etcdctl", "--command-timeout=300s"], words].concat();
        child::run(&mut current.own_command(&words)).and_then(child::Ended::success)
    };
    let size = || Size::parse(&ask(&["endpoint", "status", "--write-out=json"])?);
    // A control plane that is starting, or has no etcd, answers nothing.
    let Ok(before) = size() else {
        return Ok(());
    };
    let full = ask(&["alarm", "list"])?.contains("alarm:NOSPACE");
    if !full && !before.is_wasteful() {
        return Ok(());
    }
    ask(&["defrag"]).about(|| "etcd's file cannot be defragmented")?;
    let after = size()?;
    progress.line(format!(
        "defragmented etcd's file: {} before, {} now",
        bytes(before.all),
        bytes(after.all)
    ));
    if full && after.fits() {
        ask(&["alarm", "disarm"])?;
        progress.line("etcd accepts changes again");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_defragmented_if_much_of_it_is_unused() {
        let mib = |all: u64, used: u64| Size {
            all: all << 20,
            used: used << 20,
        };
        for (size, worth) in [
            (mib(20, 2), false),
            (mib(200, 150), false),
            (mib(200, 90), true),
            (mib(3000, 1600), false),
            (mib(3000, 1400), true),
            // Nearly as large as it may become.
            (mib(3900, 3600), false),
            (mib(3900, 3400), true),
        ] {
            assert_eq!(size.is_wasteful(), worth, "{size:?}");
        }
        assert!(mib(3600, 0).fits() && !mib(3900, 0).fits());
    }

    #[test]
    fn etcds_answer_is_read() {
        let text = r#"[{"Endpoint":"https://127.0.0.1:2379","Status":{"header":{"revision":9},"version":"3.6.6","dbSize":20480,"leader":1,"dbSizeInUse":16384}}]"#;
        let size = Size {
            all: 20480,
            used: 16384,
        };
        assert_eq!(Size::parse(text).unwrap(), size);
        assert!(Size::parse("").is_err());
        assert!(Size::parse("[{}]").is_err());
    }
}
