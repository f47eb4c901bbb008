//! Whether nobody else runs this cluster, and what the services get of the session's environment.

use std::ffi::OsString;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;

use crate::cluster::{first_process, layout, unit_dir};
use crate::error::{Error, Kind, Result};
use crate::host::Machine;
use crate::layout::Layout;
use crate::manager::base;
use crate::progress::Progress;
use crate::services::{UnitName, all_unit_names};
use crate::store::Store;
use crate::systemd::Systemd;

/// How long what a killed run has left may take to end. It was asked to when the run died.
const PATIENCE: Duration = Duration::from_secs(30);

/// Variables of the session that the services get. Any other could be a setting of theirs, such as `ETCD_NAME`.
const PASSED_ON: [&str; 17] = [
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "PATH",
    "LANG",
    "TZ",
    "TMPDIR",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    crate::paths::MACHINE_ROOT,
];

/// What the services get of an environment.
pub(super) fn environment(
    all: impl Iterator<Item = (OsString, OsString)>,
) -> impl Iterator<Item = (OsString, OsString)> {
    all.filter(|(name, _)| PASSED_ON.iter().any(|passed| name == passed))
}

/// Fails if systemd or anybody else runs the services of a data directory. Waits for the end of what a run that was
/// killed has left.
pub(super) fn check_idle(machine: &Machine, data: &Path, progress: &Progress) -> Result<()> {
    let store = Store::at(data);
    let generation = store.current().ok().flatten();
    let path = generation.map_or_else(|| store.current_link(), |g| g.path().to_owned());
    let of_systemd = layout(machine, path.clone())?;
    check_units(machine, &of_systemd)?;
    let mut own = machine.clone();
    own.private_dir = Some(base(machine, data));
    let own = layout(&own, path)?;
    let began = Instant::now();
    let wait = progress.wait("end of what an earlier run has left");
    loop {
        let layouts = [&own, &of_systemd];
        let process = layouts
            .iter()
            .find_map(|layout| first_process(layout, machine));
        let database = own.data("etcd/member/snap/db");
        let found = match process {
            Some(pid) => format!("process {pid} in the namespaces of RootlessKit"),
            None if is_locked(&database) => format!("a process that uses {}", database.display()),
            None => return Ok(()),
        };
        wait.say(&found);
        if began.elapsed() > PATIENCE {
            return Err(Error::new(Kind::Busy, "the services of this cluster are running already")
                .expected("nobody who uses its data")
                .found(found)
                .hint("stop them with whatever started them: `usernetes stop`, or `systemctl --user stop u7s.target`"));
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn check_units(machine: &Machine, layout: &Layout) -> Result<()> {
    let names: Vec<UnitName> = all_unit_names().into_iter().collect();
    let asked = Systemd::of(machine)
        .map(|systemd| systemd.for_units_in(unit_dir(layout)))
        .and_then(|systemd| systemd.units(&names));
    // One that does not answer, or has the units of another installation only, runs nothing of this one.
    let Some(unit) = asked
        .unwrap_or_default()
        .into_iter()
        .find(|u| !u.is_stopped())
    else {
        return Ok(());
    };
    Err(Error::new(Kind::Busy, "your systemd runs this cluster")
        .expected("all units stopped")
        .found(format!("{} {}", unit.name(), unit.state()))
        .hint("stop them first with `usernetes stop`; so that they do not start with the next login, run `usernetes uninstall`, which keeps all data"))
}

/// Whether somebody holds the lock of a file, as etcd that of its database.
fn is_locked(file: &Path) -> bool {
    let file = fs::OpenOptions::new().read(true).open(file);
    file.is_ok_and(|file| {
        let tried = file.file().try_lock_shared();
        matches!(tried, Err(std::fs::TryLockError::WouldBlock))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_of_the_session_do_not_reach_the_services() {
        let all = ["PATH", "ETCD_NAME", "KUBECONFIG", "LD_PRELOAD", "NO_PROXY"];
        let all = all.map(|name| (name.into(), "x".into()));
        let names: Vec<_> = environment(all.into_iter()).map(|(name, _)| name).collect();
        assert_eq!(names, ["PATH", "NO_PROXY"]);
    }

    #[test]
    fn a_database_in_use_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("db");
        assert!(!is_locked(&file));
        let open = fs::File::create(&file).unwrap();
        assert!(!is_locked(&file));
        open.file().lock().unwrap();
        assert!(is_locked(&file));
    }
}
