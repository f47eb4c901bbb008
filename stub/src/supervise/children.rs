//! The processes of the services.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{
    Pid, Signal, WaitOptions, getpid, kill_process, kill_process_group, set_child_subreaper, wait,
};

use super::cgroup::Tree;
use super::engine::End;
use super::output::Output;
use crate::error::{Context as _, Result};
use crate::process::notify::NOTIFY_SOCKET;
use crate::process::supervised::{CGROUP, SUPERVISOR};
use crate::services::Service;

/// How long killed processes may take to be gone.
const PATIENCE: Duration = Duration::from_secs(5);

/// Makes the command of a service.
pub(super) type Commands = Box<dyn Fn(Service) -> Command>;

/// The processes of the services, all children of this one. Orphans of theirs become children, too.
pub(super) struct Children {
    commands: Commands,
    /// Where the services say that they are ready.
    sockets: BTreeMap<Service, PathBuf>,
    cgroups: Option<Tree>,
    output: Output,
    /// By process id.
    running: BTreeMap<i32, Service>,
}

impl Children {
    pub(super) fn new(
        commands: Commands,
        sockets: BTreeMap<Service, PathBuf>,
        cgroups: Option<Tree>,
        output: Output,
    ) -> Result<Self> {
        set_child_subreaper(Some(getpid())).map_err(io::Error::from)?;
        Ok(Self {
            commands,
            sockets,
            cgroups,
            output,
            running: BTreeMap::new(),
        })
    }

    /// Starts the program of a service in a process group of its own: what a terminal sends to the run is not for it. Gives
    /// its process id.
    ///
    /// The thread that calls this must live as long as the run: the kernel takes the end of that thread for the end of the
    /// parent.
    pub(super) fn start(&mut self, service: Service) -> Result<u32> {
        let mut command = (self.commands)(service);
        let (reader, writer) = io::pipe()?;
        command
            .stdin(Stdio::null())
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .env(SUPERVISOR, getpid().to_string())
            .process_group(0);
        if let Some(socket) = self.sockets.get(&service) {
            command.env(NOTIFY_SOCKET, socket);
        }
        if let Some(tree) = &self.cgroups {
            command.env(CGROUP, tree.make(service)?);
        }
        let child = command
            .spawn()
            .about(|| format!("`{}`", command.get_program().display()))?;
        let pid = Pid::from_child(&child).as_raw_nonzero().get();
        self.running.insert(pid, service);
        self.output.follow(service, reader);
        Ok(child.id())
    }

    /// Asks the program of a service to end.
    pub(super) fn ask(&self, service: Service) {
        for pid in self.of(service) {
            // It may have ended already.
            let _ = kill_process(pid, Signal::TERM);
        }
    }

    /// Kills everything of a service.
    pub(super) fn kill(&self, service: Service) {
        for pid in self.of(service) {
            let _ = kill_process_group(pid, Signal::KILL);
            let _ = kill_process(pid, Signal::KILL);
        }
        if let Some(tree) = &self.cgroups {
            // The process itself was reached.
            let _ = tree.kill(service);
        }
    }

    /// The services whose programs have ended since the last call. What those have left is killed.
    pub(super) fn ended(&mut self) -> Vec<(Service, End)> {
        let mut all = Vec::new();
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            let Some(service) = self.running.remove(&pid.as_raw_nonzero().get()) else {
                continue;
            };
            let _ = kill_process_group(pid, Signal::KILL);
            if let Some(tree) = &self.cgroups {
                // A cgroup that is left is used again.
                let _ = tree.clear(service);
            }
            let code = status
                .exit_status()
                .and_then(|code| u8::try_from(code).ok());
            let signal = status.terminating_signal().unwrap_or_default();
            all.push((service, code.map_or(End::Signal(signal), End::Code)));
        }
        all
    }

    /// Kills whatever the services have left anywhere, and removes the cgroups. Gives how many processes there were.
    pub(super) fn clear(self) -> Result<usize> {
        let began = Instant::now();
        let mut killed = 0;
        // Until this process has no children.
        while let Ok(ended) = wait(WaitOptions::NOHANG) {
            if ended.is_some() {
                continue;
            }
            killed += kill_children();
            if began.elapsed() > PATIENCE {
                break;
            }
            thread::sleep(Duration::from_millis(50));
        }
        self.cgroups.map_or(Ok(()), Tree::restore)?;
        Ok(killed)
    }

    fn of(&self, service: Service) -> impl Iterator<Item = Pid> + '_ {
        let pids = self.running.iter().filter(move |(_, s)| **s == service);
        pids.filter_map(|(pid, _)| Pid::from_raw(*pid))
    }
}

/// Kills the children of this process. Gives how many there were.
fn kill_children() -> usize {
    let own = getpid().to_string();
    let processes = fs_err::read_dir("/proc").into_iter().flatten().flatten();
    let mut number = 0;
    for process in processes {
        let name = process.file_name();
        let pid = name
            .to_str()
            .and_then(|n| n.parse().ok())
            .and_then(Pid::from_raw);
        let stat = fs_err::read_to_string(process.path().join("stat"));
        // After the name, which may hold anything: state and parent (proc(5)).
        let parent = stat.ok().and_then(|stat| {
            let (_, rest) = stat.rsplit_once(')')?;
            rest.split_whitespace().nth(1).map(str::to_owned)
        });
        if let Some(pid) = pid.filter(|_| parent.as_deref() == Some(&own)) {
            number += usize::from(kill_process(pid, Signal::KILL).is_ok());
        }
    }
    number
}
