//! What the services need around them: cgroups, sockets, an environment, limits.

use std::collections::BTreeMap;
use std::env;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc::Sender;
use std::thread;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGCHLD, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::cgroup::Tree;
use super::children::Commands;
use super::output::Output;
use super::{Event, fit};
use crate::error::{Context as _, Result};
use crate::files::{private_directory, remove_if_there, remove_tree};
use crate::host::{Machine, delegated};
use crate::layout::Layout;
use crate::paths::XDG_RUNTIME_DIR;
use crate::progress::Progress;
use crate::services::{Service, Services};
use crate::units::{self, OPEN_FILES};

/// Divides the cgroup of this process if that can be, and says so if not.
pub(super) fn divide(machine: &Machine, output: &Output, progress: &Progress) -> Option<Tree> {
    // Others may be in the same cgroup whom we may not move.
    let tree = delegated(machine).and_then(|root| Tree::divide(root).map_err(|e| e.to_string()));
    let text = match &tree {
        Ok(tree) => format!("each service has a cgroup below {}", tree.root().display()),
        Err(reason) => format!(
            "without cgroups: {reason}; pods run without limits, and services are found by their process groups"
        ),
    };
    output.own(progress, &text);
    tree.ok()
}

/// The commands of the services: those of their units, with as little of this session's environment.
pub(super) fn commands(layout: &Layout, base: &Path) -> Commands {
    let (layout, base) = (layout.clone(), base.to_owned());
    Box::new(move |service| {
        let (program, args) = units::exec(service, &layout);
        let mut command = Command::new(program);
        command.args(args).env_clear();
        command.envs(fit::environment(env::vars_os()));
        command.envs(layout.xdg_bases());
        command.env(XDG_RUNTIME_DIR, &base);
        command
    })
}

/// A socket for each service, read by a thread.
pub(super) fn notify_sockets(
    layout: &Layout,
    services: &Services,
    events: &Sender<Event>,
) -> Result<BTreeMap<Service, PathBuf>> {
    let directory = layout.runtime("notify");
    private_directory(&directory)?;
    let mut sockets = BTreeMap::new();
    for service in services.iter() {
        let path = directory.join(service.as_str());
        remove_if_there(&path)?;
        let socket = UnixDatagram::bind(&path).about(|| path.display())?;
        let events = events.clone();
        thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if events.send(Event::Said(service, text)).is_err() {
                    return;
                }
            }
        });
        sockets.insert(service, path);
    }
    Ok(sockets)
}

pub(super) fn listen_to_signals(events: Sender<Event>) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGQUIT, SIGCHLD])?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}

/// As many open files as a unit has. Where that is not allowed, as many as are.
pub(super) fn raise_open_files() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(OPEN_FILES, |most| OPEN_FILES.min(most));
    if limit.current.is_some_and(|now| now < wanted) {
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                maximum: limit.maximum,
            },
        );
    }
}

/// Removes the sockets, and the files that are written anew at every start.
pub(super) fn clean(layout: &Layout, base: &Path) -> Result<()> {
    remove_tree(&layout.runtime(""))?;
    if base.starts_with(layout.data_dir()) {
        remove_tree(base)?;
    }
    Ok(())
}
