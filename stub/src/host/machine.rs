//! The machine that the checks examine: this one, or in tests one made of files.

use std::env;
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{getgid, getuid};

use crate::paths;
use crate::text;

/// A machine as one of its users sees it.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Where its file system begins: `/`.
    pub root: PathBuf,
    /// The user.
    pub uid: u32,
    /// The user's group.
    pub gid: u32,
    /// `$USER`.
    pub user: Option<String>,
    /// `$XDG_RUNTIME_DIR`.
    pub runtime_dir: Option<PathBuf>,
    /// The directory in the place of it for a `usernetes run` whose session has none that lasts. It need not exist yet.
    pub private_dir: Option<PathBuf>,
    /// `$PATH`.
    pub path: OsString,
    /// This program, which the check of namespaces runs once more; without it that check only reads.
    pub program: Option<PathBuf>,
}

impl Machine {
    /// The machine and the user this process runs on and as; its files are below [`paths::MACHINE_ROOT`] if that is set.
    #[must_use]
    pub fn this() -> Self {
        let root = env::var_os(paths::MACHINE_ROOT).map_or_else(|| "/".into(), PathBuf::from);
        Self {
            uid: getuid().as_raw(),
            gid: getgid().as_raw(),
            user: env::var("USER").ok().filter(|u| !u.is_empty()),
            runtime_dir: env::var_os(paths::XDG_RUNTIME_DIR).map(PathBuf::from),
            private_dir: None,
            path: env::var_os("PATH").unwrap_or_default(),
            program: Some(root.join("proc/self/exe")).filter(|program| program.exists()),
            root,
        }
    }

    /// A path of the machine.
    pub(super) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        self.root.join(path.strip_prefix("/").unwrap_or(path))
    }

    /// A text file of the machine; `None` if it cannot be read.
    pub(crate) fn read(&self, path: impl AsRef<Path>) -> Option<String> {
        fs_err::read_to_string(self.at(path)).ok()
    }

    /// Why other programs would misread a text file of the machine, if they would.
    pub(super) fn not_plain_text(&self, path: &str) -> Option<&'static str> {
        let bytes = fs_err::read(self.at(path)).ok()?;
        text::defect(&bytes)
    }

    /// A number in a file of the machine.
    pub(super) fn number(&self, path: &str) -> Option<u64> {
        self.read(path)?.trim().parse().ok()
    }

    /// A program in `$PATH`.
    pub(crate) fn find(&self, name: &str) -> Option<PathBuf> {
        let executable = |path: &PathBuf| {
            fs_err::metadata(path).is_ok_and(|m| m.is_file() && m.mode() & 0o111 != 0)
        };
        env::split_paths(&self.path)
            .filter(|dir| dir.is_absolute())
            .map(|dir| self.at(dir).join(name))
            .find(executable)
    }

    /// A path that [`find`](Self::find) gave, as the machine's user knows it.
    pub(super) fn shown(&self, path: &Path) -> String {
        let shown = path.strip_prefix(&self.root).unwrap_or(path);
        Path::new("/").join(shown).display().to_string()
    }

    /// A command with the environment systemd's programs need to find the user's manager.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env("PATH", &self.path);
        if let Some(dir) = self.session_dir() {
            command.env(paths::XDG_RUNTIME_DIR, dir);
        }
        command
    }

    /// The user's name, by the machine's own list of users, then by `$USER`; the C library, which could ask a
    /// directory service, is not available in a static program.
    #[must_use]
    pub fn user_name(&self) -> Option<String> {
        self.listed_name().or_else(|| self.user.clone())
    }

    /// The user's name by the machine's own list of users. It lacks the users of a directory service, and programs
    /// such as usermod(8) change only users that are in it.
    pub(super) fn listed_name(&self) -> Option<String> {
        let by_uid = |line: &str| {
            let mut fields = line.split(':');
            let (name, uid) = (fields.next()?, fields.nth(1)?);
            (uid.parse() == Ok(self.uid)).then(|| name.to_owned())
        };
        let users = self.read("/etc/passwd")?;
        users.lines().find_map(by_uid)
    }

    /// Its host name as the kernel has it, which need not be valid in the domain name system.
    #[must_use]
    pub fn host_name(&self) -> String {
        let name = self.read("/proc/sys/kernel/hostname");
        let name = name.map(|name| name.trim_end_matches('\n').to_owned());
        name.unwrap_or_else(|| {
            let uname = rustix::system::uname();
            uname.nodename().to_string_lossy().into_owned()
        })
    }

    /// Where the login keeps the user's sockets: `$XDG_RUNTIME_DIR`, or the place where it is known to be.
    #[must_use]
    pub fn session_dir(&self) -> Option<PathBuf> {
        if let Some(dir) = &self.private_dir {
            return Some(dir.clone());
        }
        let usual = self.at(self.usual_session_dir());
        paths::session_dir(self.runtime_dir.as_deref(), &usual, self.uid)
    }

    /// The user's processes: their ids and their directories in `/proc`.
    fn own_processes(&self) -> impl Iterator<Item = (u32, PathBuf)> {
        let entries = fs_err::read_dir(self.at("/proc"))
            .into_iter()
            .flatten()
            .flatten();
        entries.filter_map(|entry| {
            let pid = entry.file_name().to_str()?.parse().ok()?;
            let owner = entry.metadata().ok()?.uid();
            (owner == self.uid).then(|| (pid, entry.path()))
        })
    }

    /// The user's processes that have a file open whose link in `/proc/<pid>/fd` satisfies a condition, once for each
    /// such file. The files of other users cannot be seen.
    pub(super) fn own_files(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> impl Iterator<Item = (u32, PathBuf)> {
        self.own_processes().flat_map(move |(pid, dir)| {
            let files = fs_err::read_dir(dir.join("fd"))
                .into_iter()
                .flatten()
                .flatten();
            let links = files.filter_map(|file| fs_err::read_link(file.path()).ok());
            let number = links
                .filter(|link| link.to_str().is_some_and(&wanted))
                .count();
            std::iter::repeat_n((pid, dir), number)
        })
    }

    /// The kernel's id of the present boot; empty if it does not say.
    pub(crate) fn boot_id(&self) -> String {
        let id = self.read("/proc/sys/kernel/random/boot_id");
        id.unwrap_or_default().trim().to_owned()
    }

    /// Where systemd-logind makes the directory of a user.
    #[must_use]
    pub fn usual_session_dir(&self) -> PathBuf {
        PathBuf::from(format!("/run/user/{}", self.uid))
    }
}
