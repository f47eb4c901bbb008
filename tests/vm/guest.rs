//! The running machine, reached by ssh, with no network beyond.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::check;
use crate::engine::Engine;
use crate::image::{Image, USER};

/// How long the machine may take to answer. It needs 30 seconds on two free cores.
const BOOT_TIME: Duration = Duration::from_secs(240);

/// A machine of this many seconds' silence in one script is stuck.
const SCRIPT_TIME: &str = "1500";

#[derive(Debug)]
pub struct Guest {
    image: Image,
    engine: Engine,
    disk: PathBuf,
    console: PathBuf,
    machine: Option<Child>,
}

impl Guest {
    /// Boots from a fresh copy of the disk. The emulated kernel panics at random about once in six boots, in code
    /// that patches itself: then once more.
    pub fn boot(image: &Image, engine: Engine, work: &Path) -> Result<Self> {
        let disk = work.join("disk.img");
        check(
            Command::new("cp")
                .args(["--sparse=always", "--force"])
                .arg(&image.disk)
                .arg(&disk),
        )?;
        let mut guest = Self {
            image: image.clone(),
            engine,
            disk,
            console: work.join("console.log"),
            machine: None,
        };
        guest.start()?;
        Ok(guest)
    }

    /// Restarts the machine from its disk as it is, as after a power cut that came after `sync`.
    pub fn reboot(&mut self) -> Result<()> {
        // The connection ends with the machine, so its status says nothing.
        let _ = self.ssh("root", "sync; systemctl poweroff").status();
        let started = Instant::now();
        while self.running() && started.elapsed() < Duration::from_secs(90) {
            thread::sleep(Duration::from_millis(200));
        }
        self.stop();
        self.start()
    }

    fn start(&mut self) -> Result<()> {
        for attempt in 1..=3 {
            match self.try_start() {
                Ok(seconds) => {
                    eprintln!("the machine is up after {seconds:.0} s");
                    return Ok(());
                }
                Err(why) => {
                    eprintln!("attempt {attempt}: {why}");
                    self.stop();
                    self.engine.fall_back();
                    // A kernel that panicked leaves a file system to repair.
                    let _ = Command::new("e2fsck")
                        .args(["-p", "-f"])
                        .arg(&self.disk)
                        .stdout(Stdio::null())
                        .status();
                }
            }
        }
        Err(format!(
            "the machine does not boot; its console is in {}",
            self.console.display()
        ))
    }

    fn try_start(&mut self) -> Result<f64> {
        let started = Instant::now();
        let mut command = self
            .engine
            .command(&self.image, &self.disk, &self.console)?;
        let machine = command
            .stdin(Stdio::null())
            // User Mode Linux is several processes, which end together only as a group.
            .process_group(0)
            .spawn()
            .map_err(|e| format!("cannot run {}: {e}", command.get_program().display()))?;
        self.machine = Some(machine);
        while started.elapsed() < BOOT_TIME {
            if !self.running() {
                return Err("the machine ended while booting".to_owned());
            }
            let mut probe = self.ssh(
                USER,
                "systemctl --user is-system-running --wait >/dev/null; true",
            );
            if probe
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|s| s.success())
            {
                return Ok(started.elapsed().as_secs_f64());
            }
            thread::sleep(Duration::from_secs(1));
        }
        Err(format!("no answer within {} s", BOOT_TIME.as_secs()))
    }

    /// Copies a file into the user's home and makes it executable.
    pub fn copy(&mut self, from: &Path, name: &str) -> Result<()> {
        let input = std::fs::File::open(from).map_err(|e| format!("{}: {e}", from.display()))?;
        check(
            self.ssh(USER, &format!("cat > {name} && chmod 755 {name}"))
                .stdin(input),
        )
    }

    /// Runs a script as the user. What it prints is seen as it comes. It runs from a file: one that bash reads from
    /// its input would end, without an error, where a program in it reads that input.
    pub fn script(&mut self, script: &str) -> Result<()> {
        let mut child = self
            .ssh(
                USER,
                &format!(
                    "cat > scenario.sh && exec timeout {SCRIPT_TIME} bash scenario.sh < /dev/null"
                ),
            )
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot run ssh: {e}"))?;
        if let Some(mut input) = child.stdin.take() {
            input
                .write_all(script.as_bytes())
                .map_err(|e| format!("cannot send the script: {e}"))?;
        }
        let status = child.wait().map_err(|e| e.to_string())?;
        if status.success() {
            return Ok(());
        }
        Err(if self.running() {
            format!("the script ended with {status}")
        } else {
            "the machine itself ended".to_owned()
        })
    }

    /// For a person who wants to look around.
    pub fn ssh_command(&self) -> String {
        let words = self.engine.ssh(&self.image.key, USER);
        format!("{} -o StrictHostKeyChecking=no", words.join(" "))
    }

    pub fn leave_running(self) {
        // Nothing is dropped, so nothing is stopped.
        std::mem::forget(self);
    }

    fn ssh(&self, user: &str, command: &str) -> Command {
        let words = self.engine.ssh(&self.image.key, user);
        let mut ssh = Command::new(&words[0]);
        ssh.args(&words[1..]);
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=20",
            "ServerAliveInterval=30",
        ] {
            ssh.args(["-o", option]);
        }
        ssh.arg(command).stdin(Stdio::null());
        ssh
    }

    /// Whether the machine is still there.
    pub fn running(&mut self) -> bool {
        self.machine
            .as_mut()
            .is_some_and(|m| matches!(m.try_wait(), Ok(None)))
    }

    fn stop(&mut self) {
        if let Some(mut machine) = self.machine.take() {
            let group = format!("-{}", machine.id());
            let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
            let _ = machine.wait();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.stop();
    }
}
