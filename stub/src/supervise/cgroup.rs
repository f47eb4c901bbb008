//! A cgroup for each service, where the cgroup that `usernetes run` was started in is the user's to divide. Then nothing
//! that a service has started escapes its end, and pods can have limits.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Context as _, Result};
use crate::files::contents;
use crate::services::Service;

/// Where this process goes, because a cgroup that is divided can hold none.
const OWN: &str = "u7s-run";
const PREFIX: &str = "u7s-";

/// How long the kernel may take to end killed processes, before their cgroup is left behind.
const PATIENCE: Duration = Duration::from_secs(2);

/// The cgroups of a run.
#[derive(Debug)]
pub(super) struct Tree {
    root: PathBuf,
    /// The controllers that were not given to children before.
    enabled: Vec<String>,
}

impl Tree {
    /// Divides a cgroup that may be. Every process in it, this one too, is in a child of it afterwards, as RootlessKit does it.
    pub(super) fn divide(root: PathBuf) -> Result<Self> {
        // Those of a run that was killed.
        for old in children(&root) {
            remove(&old)?;
        }
        let own = root.join(OWN);
        fs::create_dir_all(&own)?;
        let mut tree = Self {
            root,
            enabled: Vec::new(),
        };
        // Others may be started meanwhile.
        while move_all(&tree.root, &own)? > 0 {}
        let (file, root) = (tree.root.join("cgroup.subtree_control"), tree.root.clone());
        let before = fs::read_to_string(&file)?;
        let before: Vec<_> = before.split_whitespace().collect();
        let given = fs::read_to_string(root.join("cgroup.controllers"))?;
        for controller in given.split_whitespace().filter(|c| !before.contains(c)) {
            // The kubelet says which of them it cannot do without.
            if fs::write(&file, format!("+{controller}")).is_ok() {
                tree.enabled.push(controller.to_owned());
            }
        }
        Ok(tree)
    }

    /// The cgroup that was divided.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The cgroup of a service, which exists afterwards and has no process.
    pub(super) fn make(&self, service: Service) -> Result<PathBuf> {
        let dir = self.of(service);
        fs::create_dir_all(&dir)?;
        Ok(dir)
    }

    /// Kills everything of a service.
    pub(super) fn kill(&self, service: Service) -> Result<()> {
        kill(&self.of(service))
    }

    /// Kills what is left of a service and removes its cgroup.
    pub(super) fn clear(&self, service: Service) -> Result<()> {
        remove(&self.of(service))
    }

    /// Puts everything back as it was before [`divide`](Self::divide).
    pub(super) fn restore(self) -> Result<()> {
        for service in Service::all() {
            remove(&self.of(service))?;
        }
        let file = self.root.join("cgroup.subtree_control");
        for controller in &self.enabled {
            fs::write(&file, format!("-{controller}"))?;
        }
        let own = self.root.join(OWN);
        while move_all(&own, &self.root)? > 0 {}
        fs::remove_dir(own)?;
        Ok(())
    }

    fn of(&self, service: Service) -> PathBuf {
        self.root.join(format!("{PREFIX}{}", service.as_str()))
    }
}

/// Our cgroups below one, but not that of a run.
fn children(root: &Path) -> Vec<PathBuf> {
    let names = Service::all().map(|service| format!("{PREFIX}{}", service.as_str()));
    names
        .map(|name| root.join(name))
        .filter(|dir| dir.is_dir())
        .collect()
}

/// Moves the processes of a cgroup into another one. Gives how many there were.
fn move_all(from: &Path, to: &Path) -> Result<usize> {
    let pids = pids(from)?;
    for pid in &pids {
        let moved = fs::write(to.join("cgroup.procs"), pid);
        // It may have ended meanwhile.
        if moved.is_err() && Path::new("/proc").join(pid).exists() {
            moved.about(|| format!("moving process {pid} to {}", to.display()))?;
        }
    }
    Ok(pids.len())
}

fn pids(dir: &Path) -> Result<Vec<String>> {
    let text = fs::read_to_string(dir.join("cgroup.procs"))?;
    Ok(text.lines().map(str::to_owned).collect())
}

fn kill(dir: &Path) -> Result<()> {
    if !dir.exists() || fs::write(dir.join("cgroup.kill"), "1").is_ok() {
        return Ok(());
    }
    // Before Linux 5.14 one after the other.
    for pid in pids(dir)? {
        if let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    subgroups(dir)?.iter().try_for_each(|dir| kill(dir))
}

fn subgroups(dir: &Path) -> Result<Vec<PathBuf>> {
    let mut all = contents(dir)?;
    all.retain(|path| path.is_dir());
    Ok(all)
}

/// Kills everything in a cgroup, and removes it with those below it.
fn remove(dir: &Path) -> Result<()> {
    let began = Instant::now();
    while dir.exists() {
        kill(dir)?;
        match remove_empty(dir) {
            Err(error) if began.elapsed() > PATIENCE => return Err(error),
            Err(_) => thread::sleep(Duration::from_millis(10)),
            Ok(()) => {}
        }
    }
    Ok(())
}

fn remove_empty(dir: &Path) -> Result<()> {
    subgroups(dir)?
        .iter()
        .try_for_each(|dir| remove_empty(dir))?;
    Ok(fs::remove_dir(dir)?)
}
