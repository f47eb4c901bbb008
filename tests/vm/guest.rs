//! The running machine: QEMU in software emulation, reached by ssh on a loopback port, with no network beyond.

use std::io::Write as _;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::Result;
use crate::check;
use crate::image::{Image, USER};

/// How long the machine may take to answer. It needs 30 seconds on two free cores.
const BOOT_TIME: Duration = Duration::from_secs(240);

/// A machine of this many seconds' silence in one script is stuck.
const SCRIPT_TIME: &str = "1500";

#[derive(Debug)]
pub struct Guest {
    image: Image,
    disk: PathBuf,
    console: PathBuf,
    port: u16,
    qemu: Option<Child>,
}

impl Guest {
    /// Boots from a fresh copy of the disk. The emulated kernel panics at random about once in six boots, in code
    /// that patches itself: then once more.
    pub fn boot(image: &Image, work: &Path) -> Result<Self> {
        let disk = work.join("disk.img");
        check(
            Command::new("cp")
                .args(["--sparse=always", "--force"])
                .arg(&image.disk)
                .arg(&disk),
        )?;
        // Somebody else may take the port between here and QEMU's start; then QEMU says so.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .map_err(|e| format!("no free port: {e}"))?
            .port();
        let mut guest = Self {
            image: image.clone(),
            disk,
            console: work.join("console.log"),
            port,
            qemu: None,
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

    /// Sets the machine's clock, for example to `+400 days`.
    pub fn set_clock(&mut self, change: &str) -> Result<()> {
        check(&mut self.ssh("root", &format!("date --set='{change}'")))
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
        // Seen: with cmpxchg16b or 5-level paging emulated, the kernel panics.
        let qemu = Command::new("qemu-system-x86_64")
            .args([
                "-machine",
                "q35",
                "-accel",
                "tcg,thread=multi,tb-size=1024",
                "-cpu",
                "max,cx16=off,la57=off,pks=off,pku=off",
            ])
            .args([
                "-smp",
                "2",
                "-m",
                "6144",
                "-nographic",
                "-nodefaults",
                "-no-reboot",
            ])
            .arg("-kernel")
            .arg(&self.image.kernel)
            .arg("-initrd")
            .arg(&self.image.initrd)
            .args([
                "-append",
                "console=ttyS0 quiet mitigations=off nopti nokaslr panic=-1 audit=0",
            ])
            .args([
                "-drive",
                &format!(
                    "file={},if=virtio,format=raw,cache=unsafe,discard=unmap",
                    self.disk.display()
                ),
            ])
            .args([
                "-netdev",
                &format!(
                    "user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{}-:22",
                    self.port
                ),
            ])
            .args([
                "-device",
                "virtio-net-pci,netdev=n0",
                "-device",
                "virtio-rng-pci",
            ])
            .args(["-serial", &format!("file:{}", self.console.display())])
            .stdin(Stdio::null())
            .spawn()
            .map_err(|e| format!("cannot run qemu-system-x86_64: {e}"))?;
        self.qemu = Some(qemu);
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
        format!(
            "ssh -i {} -o StrictHostKeyChecking=no -p {} {USER}@127.0.0.1",
            self.image.key.display(),
            self.port
        )
    }

    pub fn leave_running(&mut self) {
        self.qemu = None;
    }

    fn ssh(&self, user: &str, command: &str) -> Command {
        let mut ssh = Command::new("ssh");
        ssh.arg("-i").arg(&self.image.key);
        for option in [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "LogLevel=ERROR",
            "ConnectTimeout=20",
            "ServerAliveInterval=30",
        ] {
            ssh.args(["-o", option]);
        }
        ssh.args([
            "-p",
            &self.port.to_string(),
            &format!("{user}@127.0.0.1"),
            command,
        ])
        .stdin(Stdio::null());
        ssh
    }

    /// Whether the machine is still there.
    pub fn running(&mut self) -> bool {
        self.qemu
            .as_mut()
            .is_some_and(|q| matches!(q.try_wait(), Ok(None)))
    }

    fn stop(&mut self) {
        if let Some(mut qemu) = self.qemu.take() {
            let _ = qemu.kill();
            let _ = qemu.wait();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.stop();
    }
}
