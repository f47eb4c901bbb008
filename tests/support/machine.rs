//! A fake machine on which a cluster can run. It consists of files that the checks read instead of the real machine's.

use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use rustix::process::{getgid, getuid};
use stub::output;

use crate::home::{Home, NOBODY, is_root};
use crate::program::write_program;
use crate::stage::SYSTEMCTL;

/// The fake machine. Its files are below the home of a stage.
pub struct Machine {
    root: PathBuf,
    pub runtime_dir: PathBuf,
    /// The value of `XDG_RUNTIME_DIR`.
    pub session: Option<PathBuf>,
}

impl Machine {
    /// A machine without any fault. If the real machine has no cgroup v2 to link to, writes a note to stderr and returns
    /// `None`.
    pub fn fit(home: &Home) -> Option<Self> {
        let Some(cgroup) = mounted("cgroup2") else {
            // The test harness would hide the output of `eprintln!`.
            output::message("not tested: no cgroup v2 is mounted here");
            return None;
        };
        let machine = Self {
            root: home.path().join("machine"),
            runtime_dir: home.path().join("run"),
            session: Some(home.path().join("run")),
        };
        for dir in [&machine.root, &machine.runtime_dir] {
            home.directory(dir);
        }
        let (uid, _) = user();
        machine.file("etc/passwd", &format!("u:x:{uid}:{uid}::/:/bin/sh\n"));
        for ids in ["etc/subuid", "etc/subgid"] {
            machine.file(ids, "u:231072:65536\n");
        }
        for mapper in ["newuidmap", "newgidmap"] {
            machine.link(&format!("bin/{mapper}"), &set_uid_program());
        }
        machine.file("proc/net/route", "Iface\tDestination\n");
        machine.link("dev/net/tun", Path::new("/dev/null"));
        machine.link("sys/fs/cgroup", &cgroup);
        machine.file("given/cgroup.controllers", "cpu memory pids\n");
        // The tests cannot choose the controllers of the real cgroup file system. So this path leads out of it, to the
        // file above.
        let way_out = "/..".repeat(16);
        let given = format!("{way_out}{}/given", machine.root.display());
        let systemctl = SYSTEMCTL.replace("ControlGroup=/here", &format!("ControlGroup={given}"));
        assert_ne!(systemctl, SYSTEMCTL);
        machine.program("bin/systemctl", &systemctl);
        Some(machine)
    }

    pub fn file(&self, path: &str, text: &str) {
        let path = self.cleared(path);
        fs::write(path, text).unwrap();
    }

    pub fn program(&self, path: &str, text: &str) {
        write_program(&self.cleared(path), text);
    }

    pub fn link(&self, path: &str, target: &Path) {
        symlink(target, self.cleared(path)).unwrap();
    }

    /// Removes a file if it exists, makes its directory, and returns the path.
    fn cleared(&self, path: &str) -> PathBuf {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let _ = fs::remove_file(&path);
        path
    }

    /// Makes a command use this machine instead of the real one.
    pub fn show_to(&self, command: &mut Command) {
        command.env("USERNETES_MACHINE_ROOT", &self.root);
        command.env("PATH", "/bin:/usr/bin");
        if let Some(dir) = &self.session {
            command.env("XDG_RUNTIME_DIR", dir);
        }
    }
}

/// The user id and group id of the commands.
pub fn user() -> (u32, u32) {
    if is_root() {
        (NOBODY, NOBODY)
    } else {
        (getuid().as_raw(), getgid().as_raw())
    }
}

/// A directory where a file system of this type is mounted.
fn mounted(kind: &str) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    mounts.lines().find_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let (place, found) = (fields.next()?, fields.next()?);
        (found == kind).then(|| place.into())
    })
}

/// A program of the real machine that is set-user-ID root, because only root could make one. It is examined, but not run.
fn set_uid_program() -> PathBuf {
    let names = ["newuidmap", "su", "mount", "passwd"];
    let places = names
        .into_iter()
        .flat_map(|name| ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(name)));
    let is_set =
        |path: &PathBuf| fs::metadata(path).is_ok_and(|m| m.uid() == 0 && m.mode() & 0o4000 != 0);
    places.into_iter().find(is_set).unwrap()
}
