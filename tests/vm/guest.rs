//! A running machine, reached by ssh, with no network beyond.

use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::engine::{Engine, Hardware, Link};
use crate::image::{Image, USER};
use crate::network::Place;
use crate::{Result, check};

/// How long the machine may take to answer. It needs 30 seconds on two free cores.
const BOOT_TIME: Duration = Duration::from_mins(4);

/// For how many seconds a part of a scenario may run, and one of a scenario that takes long.
const SCRIPT_TIME: [u32; 2] = [1500, 4 * 3600];

/// Memory of the machine that scenarios share, and of one of several, in MiB.
const MEMORY: [u32; 2] = [6144, 3072];

/// How many processors a machine has. One of several has only one unless the host has plenty: a processor that has to wait for one
/// of the host's holds locks for which the machine's other one spins meanwhile.
fn processors(several: bool) -> usize {
    let plenty = thread::available_parallelism().is_ok_and(|host| host.get() >= 6);
    if several && !plenty { 1 } else { 2 }
}

#[derive(Debug)]
pub struct Guest {
    pub name: String,
    image: Image,
    engine: Engine,
    link: Link,
    place: Place,
    disk: PathBuf,
    console: PathBuf,
    /// Bytes of memory, in MiB.
    memory: u32,
    processors: usize,
    /// What the kernel is told besides.
    arguments: String,
    machine: Option<Child>,
}

impl Guest {
    /// A machine that is off, with a fresh copy of the disk and a bundle in the user's home: the one that scenarios share, or
    /// one of several, which gets a name of its own.
    pub fn new(
        image: &Image,
        (engine, link): (Engine, Link),
        several: Option<(usize, &str)>,
        bundle: &Path,
        work: &Path,
    ) -> Result<Self> {
        let (place, name) = match several {
            Some((number, name)) => (Place::of(number), name),
            None => (Place::SHARED, "machine"),
        };
        let disk = work.join(format!("{name}.img"));
        image.copy(&disk, bundle)?;
        let mut arguments = String::new();
        if several.is_some() {
            arguments = format!("systemd.hostname={name} vm.guest={name}");
            // Their power may be cut.
            check(
                Command::new("tune2fs")
                    .args(["-j"])
                    .arg(&disk)
                    .stdout(Stdio::null()),
            )?;
        }
        Ok(Self {
            name: name.to_owned(),
            image: image.clone(),
            engine,
            link,
            place,
            console: work.join(format!("{name}.log")),
            disk,
            memory: MEMORY[usize::from(several.is_some())],
            processors: processors(several.is_some()),
            arguments,
            machine: None,
        })
    }

    /// Restarts the machine from its disk as it is, as after a power cut that came after `sync`.
    pub fn reboot(&mut self) -> Result<()> {
        self.power_off();
        self.start()
    }

    /// Switches the machine off in order.
    pub fn power_off(&mut self) {
        // The connection ends with the machine, so its status says nothing.
        let _ = self.ssh("root", "sync; systemctl poweroff").status();
        let started = Instant::now();
        while self.running() && started.elapsed() < Duration::from_secs(90) {
            thread::sleep(Duration::from_millis(200));
        }
        self.stop();
    }

    /// Runs a command as root.
    pub fn root(&self, command: &str) -> Result<()> {
        check(&mut self.ssh("root", command))
    }

    /// Takes the machine off the network, or puts it back.
    pub fn connect(&self, on: bool) -> Result<()> {
        match &self.link {
            Link::Bridge(network) if on => network.connect(self.place),
            Link::Bridge(network) => network.cut(self.place),
            Link::Port(_) => Err(format!("{} is on no network", self.name)),
        }
    }

    /// Boots the machine. The emulated kernel panics at random about once in six boots, in code that patches itself: then once
    /// more.
    pub fn start(&mut self) -> Result<()> {
        for attempt in 1..=3 {
            match self.try_start() {
                Ok(seconds) => {
                    eprintln!("{} is up after {seconds:.0} s", self.name);
                    return Ok(());
                }
                Err(why) => {
                    eprintln!("{}, attempt {attempt}: {why}", self.name);
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
            "{} does not boot; its console is in {}",
            self.name,
            self.console.display()
        ))
    }

    fn try_start(&mut self) -> Result<f64> {
        let started = Instant::now();
        let hardware = Hardware {
            disk: &self.disk,
            console: &self.console,
            memory: self.memory,
            processors: self.processors,
            place: self.place,
            link: &self.link,
            arguments: &self.arguments,
        };
        let mut command = self.engine.command(&self.image, &hardware)?;
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

    /// The content of a file of the user.
    pub fn read(&self, file: &str) -> Result<Vec<u8>> {
        let output = self
            .ssh(USER, &format!("cat {file}"))
            .stderr(Stdio::inherit())
            .output()
            .map_err(|e| format!("cannot run ssh: {e}"))?;
        if output.status.success() {
            return Ok(output.stdout);
        }
        Err(format!("cannot read {file} on {}", self.name))
    }

    /// Writes a file of the user.
    pub fn write(&self, file: &str, content: &[u8]) -> Result<()> {
        self.feed(&format!("umask 077; cat > {file}"), content)?
            .then_some(())
            .ok_or_else(|| format!("cannot write {file} on {}", self.name))
    }

    /// Runs a script as the user. What it prints is seen as it comes. It runs from a file: one that bash reads from
    /// its input would end, without an error, where a program in it reads that input. `long` says that it may take hours.
    pub fn script(&mut self, script: &str, long: bool) -> Result<()> {
        let limit = SCRIPT_TIME[usize::from(long)];
        let run = format!("cat > scenario.sh && exec timeout {limit} bash scenario.sh < /dev/null");
        if self.feed(&run, script.as_bytes())? {
            return Ok(());
        }
        Err(if self.ended() {
            format!("{} itself ended", self.name)
        } else {
            format!("the script on {} failed", self.name)
        })
    }

    /// Runs a command as the user with this input. Gives whether it succeeded.
    fn feed(&self, command: &str, input: &[u8]) -> Result<bool> {
        let mut child = self
            .ssh(USER, command)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|e| format!("cannot run ssh: {e}"))?;
        if let Some(mut pipe) = child.stdin.take() {
            pipe.write_all(input)
                .map_err(|e| format!("cannot write to {}: {e}", self.name))?;
        }
        let status = child.wait().map_err(|e| e.to_string())?;
        Ok(status.success())
    }

    /// For a person who wants to look around.
    pub fn ssh_command(&self) -> String {
        let words = self.link.ssh(self.place, &self.image.key, USER);
        format!("{} -o StrictHostKeyChecking=no", words.join(" "))
    }

    fn ssh(&self, user: &str, command: &str) -> Command {
        let words = self.link.ssh(self.place, &self.image.key, user);
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

    /// Whether the machine was started and is not there any more, although nobody stopped it.
    pub fn ended(&mut self) -> bool {
        self.machine.is_some() && !self.running()
    }

    /// Whether the machine is on.
    pub fn running(&mut self) -> bool {
        self.machine
            .as_mut()
            .is_some_and(|m| matches!(m.try_wait(), Ok(None)))
    }

    /// Cuts the power.
    pub fn stop(&mut self) {
        if let Some(mut machine) = self.machine.take() {
            let group = format!("-{}", machine.id());
            let _ = Command::new("kill")
                .args(["-KILL", "--", &group])
                .stderr(Stdio::null())
                .status();
            let _ = machine.wait();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.stop();
        // Several of them would fill the disk of this machine.
        let _ = std::fs::remove_file(&self.disk);
    }
}
