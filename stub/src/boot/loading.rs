//! Loads images into the container runtime: at its start, and later without a restart.

use std::process::Command;
use std::thread;
use std::time::Duration;

use fs_err as fs;

use super::{Probe, write_files};
use crate::components::containerd::{self, Snapshotter};
use crate::components::crio;
use crate::config::{Config, Cri};
use crate::error::{Error, Kind, Result};
use crate::files::remove_if_there;
use crate::images::{Loader, Offer};
use crate::layout::Layout;
use crate::process::{crictl, environment, namespaces, supervise};
use crate::services::Namespaces;

/// How long CRI-O may take to read its configuration again.
const RELOAD: Duration = Duration::from_secs(1);

/// Loads the user's images into the container runtime that runs.
pub(super) fn run(layout: &Layout, config: &Config) -> Result<()> {
    let snapshotter = Probe::read(layout)?.snapshotter;
    namespaces::join(layout, Namespaces::All)?;
    match config.cri {
        Cri::Containerd => load_into_containerd(layout, snapshotter),
        Cri::Crio => load_into_crio(layout),
        Cri::None => Ok(()),
    }
}

/// Loads all images that containerd lacks.
pub(super) fn load_into_containerd(layout: &Layout, snapshotter: Snapshotter) -> Result<()> {
    let ctr = || {
        let mut ctr = Command::new(layout.program("ctr"));
        ctr.envs(environment(layout));
        ctr.arg("--address").arg(containerd::socket(layout));
        ctr
    };
    let loader = Loader {
        ctr: &ctr,
        snapshotter: snapshotter.as_str(),
    };
    loader.load(layout)
}

/// Lets CRI-O pull the user's images from a registry in this process. The registry of the start does not have them. CRI-O
/// reads the places of registries again when it gets SIGHUP (crio(8)).
fn load_into_crio(layout: &Layout) -> Result<()> {
    let offer = Offer::open_own(layout)?;
    let (file, text) = crio::mirrors(layout, &offer.repositories, offer.port);
    write_files(vec![(file.clone(), text)])?;
    let pulled =
        reload_crio(layout).and_then(|()| offer.pull(|| crictl(layout, &crio::socket(layout))));
    // The registry ends with this process.
    remove_if_there(&file)?;
    let reloaded = reload_crio(layout);
    pulled.and(reloaded)
}

fn reload_crio(layout: &Layout) -> Result<()> {
    let pid = crio_pid(layout).ok_or_else(|| {
        Error::new(Kind::Failed, "CRI-O is not running")
            .hint("`usernetes status` shows the cluster's health")
    })?;
    // A process does not enter a namespace of PIDs, only its children do, and the PID is one of there.
    let mut kill = Command::new("/bin/sh");
    kill.args(["-c", r#"kill -HUP "$0""#, &pid]);
    supervise::output(kill)?;
    thread::sleep(RELOAD);
    Ok(())
}

/// The PID of CRI-O in the namespaces, whose `/proc` this process sees.
fn crio_pid(layout: &Layout) -> Option<String> {
    let program = fs::canonicalize(layout.program("crio")).ok()?;
    let processes = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = processes.filter_map(|entry| entry.file_name().into_string().ok());
    pids.find(|pid| {
        let is_number = pid.bytes().all(|b| b.is_ascii_digit());
        is_number && fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program)
    })
}
