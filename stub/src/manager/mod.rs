//! Who runs the services: the user's systemd, or a `usernetes run` in the foreground where there is none.
//!
//! Both speak of the same units, in systemd's words, so that starting, stopping and `status` are written once.

mod direct;
pub mod logs;
mod session;
mod since;

pub use direct::{Direct, Reply, Request, socket};
pub(crate) use session::runs;
pub use session::{Claim, Session, base, is_claimed};
pub use since::Since;

use crate::error::Result;
use crate::services::UnitName;
use crate::systemd::{Systemd, Unit};

/// Someone who runs units.
pub trait Manager {
    /// The state of units, in the order of their names here.
    fn units(&self, names: &[UnitName]) -> Result<Vec<Unit>>;

    /// Lets units that have failed be as if they never had.
    fn reset_failed(&self, units: &[Unit]) -> Result<()>;

    /// Starts units, and does not wait until they are ready.
    fn start(&self, units: &[&str]) -> Result<()>;

    /// Stops units in the right order, and does not wait until they have ended.
    fn stop(&self, units: &[&str]) -> Result<()>;

    /// Stops a unit, and waits until it has ended.
    fn stop_and_wait(&self, unit: &str) -> Result<()>;

    /// Stops a target and lets its services run on.
    fn stop_target_only(&self, target: &str) -> Result<()>;

    /// Stops and starts units, and waits until they are ready.
    fn restart(&self, units: &[&str]) -> Result<()>;

    /// The last lines that a unit has written; empty if they cannot be read.
    fn log(&self, unit: &str, lines: u32) -> Vec<String>;

    /// The commands for a person that restart units.
    fn restart_by_hand(&self, units: &[&str]) -> String;

    /// The command for a person that kills units which do not end.
    fn kill_by_hand(&self, units: &[&str]) -> String;
}

impl Manager for Systemd {
    fn units(&self, names: &[UnitName]) -> Result<Vec<Unit>> {
        Systemd::units(self, names)
    }

    fn reset_failed(&self, units: &[Unit]) -> Result<()> {
        Systemd::reset_failed(self, units)
    }

    fn start(&self, units: &[&str]) -> Result<()> {
        self.run(["start", "--no-block"].iter().chain(units))
    }

    fn stop(&self, units: &[&str]) -> Result<()> {
        self.run(["stop", "--no-block"].iter().chain(units))
    }

    fn stop_and_wait(&self, unit: &str) -> Result<()> {
        self.run(["stop", unit])
    }

    fn stop_target_only(&self, target: &str) -> Result<()> {
        // Its services are `PartOf=` it and would stop with it; this leaves them alone (seen with systemd 252).
        self.run(["stop", "--job-mode=ignore-dependencies", target])
    }

    fn restart(&self, units: &[&str]) -> Result<()> {
        self.run(["restart"].iter().chain(units))
    }

    fn log(&self, unit: &str, lines: u32) -> Vec<String> {
        Systemd::log(self, unit, lines)
    }

    fn restart_by_hand(&self, units: &[&str]) -> String {
        by_systemctl("restart", units)
    }

    fn kill_by_hand(&self, units: &[&str]) -> String {
        by_systemctl("kill --signal=KILL", units)
    }
}

/// The command for a person that has the user's systemd do something with units.
pub(crate) fn by_systemctl(what: &str, units: &[&str]) -> String {
    format!("systemctl --user {what} {}", units.join(" "))
}
