//! A temporary home directory for tests, and commands that run in it.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use fs_err as fs;
use stub::bundle::Bundle;
use stub::progress::Progress;
use stub::store::{Damage, Depth, Generation, Installed, Store};
use tempfile::TempDir;

use crate::program::write_program;

/// Root ignores permissions. So if root runs the tests, commands are run as this user.
pub const NOBODY: u32 = 65534;

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// The program `usernetes` without a payload: cargo puts it beside this program, or one directory above a test.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let places = own.ancestors().skip(1).take(2);
    let mut found = places.map(|dir| dir.join("usernetes"));
    found
        .find(|path| path.is_file())
        .expect("`usernetes` is compiled beside this program")
}

/// The exit code and the output of a command.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub struct Home {
    dir: TempDir,
    as_nobody: bool,
}

impl Home {
    /// A home in which commands run as the user who runs the tests.
    pub fn new() -> Self {
        // It is in memory if possible, because every install syncs the whole file system to the disk.
        let in_memory = rustix::fs::statvfs("/dev/shm")
            .is_ok_and(|s| !s.f_flag.contains(rustix::fs::StatVfsMountFlags::NOEXEC));
        let dir = if in_memory {
            tempfile::tempdir_in("/dev/shm")
        } else {
            tempfile::tempdir()
        };
        Self {
            dir: dir.unwrap(),
            as_nobody: false,
        }
    }

    /// A home in which commands never run as root.
    pub fn of_mortal() -> Self {
        let mut home = Self::new();
        if is_root() {
            chown(home.path(), Some(NOBODY), Some(NOBODY)).unwrap();
            home.as_nobody = true;
        }
        home
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn data(&self) -> PathBuf {
        self.path().join(".local/share/usernetes")
    }

    pub fn store(&self) -> Store {
        Store::at(self.data())
    }

    /// Writes an executable file.
    pub fn program(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.path().join(name);
        write_program(&path, bytes);
        path
    }

    /// Makes a directory that belongs to the user of the commands.
    pub fn directory(&self, path: &Path) {
        fs::create_dir_all(path).unwrap();
        if self.as_nobody {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    /// Gives a file, or a directory with everything in it, to the user of the commands.
    pub fn give(&self, path: &Path) {
        if !self.as_nobody {
            return;
        }
        std::os::unix::fs::lchown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        if path.is_dir() && !path.is_symlink() {
            for entry in fs::read_dir(path).unwrap() {
                self.give(&entry.unwrap().path());
            }
        }
    }

    /// Writes a file that belongs to the user of the commands and that nobody else may read.
    pub fn secret(&self, path: &Path, text: &str) {
        fs::write(path, text).unwrap();
        fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
        if self.as_nobody {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }

    pub fn bundle(&self, bytes: &[u8]) -> Bundle {
        Bundle::open(&self.program("bundle", bytes)).unwrap()
    }

    /// Installs a bundle in the process of the test.
    pub fn install(&self, bytes: &[u8]) -> Installed {
        let bundle = self.bundle(bytes);
        self.store().install(&bundle, &Progress::silent()).unwrap()
    }

    pub fn current(&self) -> Generation {
        self.store().need_current().unwrap()
    }

    /// All damage of the current generation.
    pub fn damages(&self) -> Vec<Damage> {
        let store = self.store();
        store
            .check(&self.current(), Depth::Contents, |_| ())
            .unwrap()
    }

    /// Runs the command as it is after an installation: a stub without a payload.
    pub fn usernetes(&self, arguments: &[&str]) -> Said {
        self.run(&program(), arguments)
    }

    pub fn run(&self, program: &Path, arguments: &[&str]) -> Said {
        self.run_command(self.command(program).args(arguments))
    }

    /// A command with only PATH and HOME in its environment.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("HOME", self.path());
        command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        command.current_dir("/").stdin(Stdio::null());
        if self.as_nobody {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    pub fn run_command(&self, command: &mut Command) -> Said {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let Output {
            status,
            stdout,
            stderr,
        } = spawn(command).wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| {
            let text = String::from_utf8(bytes).unwrap();
            text.replace(self.path().to_str().unwrap(), "$HOME")
        };
        Said {
            code: status.code(),
            stdout: text(stdout),
            stderr: text(stderr),
        }
    }
}

/// Changes a path in the store although its directory is read-only. Afterwards, the path, if it still exists, and its
/// directory have the same permissions as before.
pub fn tamper(path: &Path, with: impl FnOnce(&Path)) {
    let directory = path.parent().unwrap();
    let modes = [directory, path].map(|p| {
        let permissions = fs::symlink_metadata(p).ok()?.permissions();
        fs::set_permissions(p, Permissions::from_mode(0o700)).unwrap();
        Some((p, permissions))
    });
    with(path);
    for (path, permissions) in modes.into_iter().rev().flatten() {
        if path.exists() {
            fs::set_permissions(path, permissions).unwrap();
        }
    }
}

/// Writes to a file in the store.
pub fn overwrite(path: &Path, bytes: &[u8]) {
    tamper(path, |path| fs::write(path, bytes).unwrap());
}

/// Changes one bit of a file in the store.
pub fn flip(path: &Path, at: usize) {
    let mut content = fs::read(path).unwrap();
    content[at] ^= 1;
    overwrite(path, &content);
}

/// Removes a file from the store.
pub fn remove(path: &Path) {
    tamper(path, |path| fs::remove_file(path).unwrap());
}

/// Starts a program, which may be one that this process has just unpacked into a store. If another test forks at that
/// moment, its child holds the file open for writing until it executes a program. Until then, the file cannot be run, so
/// this tries again. `Home::program` writes its files in a way that avoids this.
pub fn spawn(command: &mut Command) -> Child {
    loop {
        match command.spawn() {
            Err(e) if e.kind() == std::io::ErrorKind::ExecutableFileBusy => {
                std::thread::yield_now();
            }
            child => return child.unwrap(),
        }
    }
}

/// Makes all directories writable, because only root could remove what is in those of the store otherwise.
pub fn unlock(dir: &Path) {
    let _ = fs::set_permissions(dir, Permissions::from_mode(0o700));
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            unlock(&entry.path());
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        unlock(self.path());
    }
}
