//! The program that runs a machine: QEMU, with the processor's own virtualization where that works, or a User Mode Linux
//! kernel, which needs neither virtualization nor emulation.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use crate::Result;
use crate::image::Image;
use crate::network::{Network, Place};

/// How machines run.
#[derive(Debug, Clone)]
pub enum Engine {
    /// QEMU.
    Qemu {
        /// Whether the processor's virtualization is tried first.
        kvm: bool,
    },
    /// A User Mode Linux kernel as an ordinary process.
    UserMode { kernel: PathBuf },
}

/// How a machine is reached.
#[derive(Debug, Clone)]
pub enum Link {
    /// With ssh at a port of the loopback interface, and not at all beyond that. Only QEMU has this; it needs no permission.
    Port(u16),
    /// On the network of several machines.
    Bridge(Arc<Network>),
}

/// What one machine is made of.
#[derive(Debug)]
pub struct Hardware<'a> {
    pub disk: &'a Path,
    pub console: &'a Path,
    /// Bytes of memory, in MiB.
    pub memory: u32,
    pub processors: usize,
    pub place: Place,
    pub link: &'a Link,
    /// What the kernel is told besides: the machine's name.
    pub arguments: &'a str,
}

impl Engine {
    /// User Mode Linux if there is a kernel for it, otherwise QEMU.
    pub fn new(kernel: Option<&Path>) -> Result<Self> {
        if let Some(kernel) = kernel {
            let kernel =
                std::path::absolute(kernel).map_err(|e| format!("{}: {e}", kernel.display()))?;
            return Ok(Self::UserMode { kernel });
        }
        let mut device = std::fs::File::options();
        let kvm = device.read(true).write(true).open("/dev/kvm").is_ok();
        Ok(Self::Qemu { kvm })
    }

    /// How a machine is reached that has no others beside it, if that takes no network.
    pub fn alone(&self) -> Result<Option<Link>> {
        if matches!(self, Self::UserMode { .. }) {
            return Ok(None);
        }
        // Somebody else may take the port between here and QEMU's start; then QEMU says so.
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|l| l.local_addr())
            .map_err(|e| format!("no free port: {e}"))?
            .port();
        Ok(Some(Link::Port(port)))
    }

    /// The command that runs a machine until it is switched off.
    pub fn command(&self, image: &Image, hardware: &Hardware<'_>) -> Result<Command> {
        let mut words = Vec::new();
        if let Link::Bridge(network) = hardware.link {
            network.add(hardware.place)?;
            words.extend(network.enter());
        }
        match self {
            Self::Qemu { kvm } => {
                words.push("qemu-system-x86_64".to_owned());
                Ok(qemu(command(&words), image, hardware, *kvm))
            }
            Self::UserMode { kernel } => {
                words.push(kernel.display().to_string());
                user_mode(command(&words), hardware)
            }
        }
    }

    /// After an attempt to start has failed: emulation works where a half-working `/dev/kvm` does not.
    pub fn fall_back(&mut self) {
        if let Self::Qemu { kvm } = self {
            *kvm = false;
        }
    }
}

impl Link {
    /// The words of a command that logs in to the machine with this key; options and the command to run there follow.
    pub fn ssh(&self, place: Place, key: &Path, user: &str) -> Vec<String> {
        let ssh = ["ssh", "-i", &key.display().to_string()].map(str::to_owned);
        match self {
            Self::Port(port) => {
                let port = ["-p".to_owned(), port.to_string()];
                [&ssh[..], &port, &[format!("{user}@127.0.0.1")]].concat()
            }
            Self::Bridge(network) => {
                let address = format!("{user}@{}", place.address());
                [&network.enter()[..], &ssh, &[address]].concat()
            }
        }
    }
}

fn command(words: &[String]) -> Command {
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

fn qemu(mut qemu: Command, image: &Image, hardware: &Hardware<'_>, kvm: bool) -> Command {
    // Seen in emulation: with cmpxchg16b or 5-level paging, the kernel panics.
    let (accelerator, processor) = if kvm {
        ("kvm", "max")
    } else {
        (
            "tcg,thread=multi,tb-size=1024",
            "max,cx16=off,la57=off,pks=off,pku=off",
        )
    };
    let place = hardware.place;
    let network = match hardware.link {
        Link::Port(port) => format!("user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        Link::Bridge(_) => {
            let tap = place.tap();
            format!("tap,id=n0,ifname={tap},script=no,downscript=no")
        }
    };
    qemu.args(["-machine", "q35", "-accel", accelerator, "-cpu", processor])
        .args(["-smp", &hardware.processors.to_string()])
        .args(["-m", &hardware.memory.to_string()])
        .args(["-nographic", "-nodefaults", "-no-reboot"])
        .arg("-kernel")
        .arg(&image.kernel)
        .arg("-initrd")
        .arg(&image.initrd)
        .args([
            "-append",
            &format!(
                "console=ttyS0 quiet mitigations=off nopti nokaslr panic=-1 audit=0 {}",
                hardware.arguments
            ),
        ])
        .args([
            "-drive",
            &format!(
                "file={},if=virtio,format=raw,cache=unsafe,discard=unmap",
                hardware.disk.display()
            ),
        ])
        .args(["-netdev", &network])
        .args([
            "-device",
            &format!("virtio-net-pci,netdev=n0,mac={}", place.hardware()),
        ])
        .args(["-device", "virtio-rng-pci"])
        .args(["-serial", &format!("file:{}", hardware.console.display())]);
    qemu
}

fn user_mode(mut machine: Command, hardware: &Hardware<'_>) -> Result<Command> {
    let console = hardware.console;
    let log = std::fs::File::create(console).map_err(|e| format!("{}: {e}", console.display()))?;
    let other = log.try_clone().map_err(|e| e.to_string())?;
    let state = console.with_extension("uml");
    std::fs::create_dir_all(&state).map_err(|e| format!("{}: {e}", state.display()))?;
    let place = hardware.place;
    machine
        .arg(format!("mem={}M", hardware.memory))
        .arg(format!("ncpus={}", hardware.processors))
        .arg("seccomp=on")
        .arg(format!("ubd0={}", hardware.disk.display()))
        .args(["root=/dev/ubda", "rw", "quiet"])
        .arg(format!(
            "vec0:transport=tap,ifname={},mac={},depth=64,gro=1",
            place.tap(),
            place.hardware()
        ))
        .args(["con=null", "con0=null,fd:2", "con1=fd:0,fd:1", "ssl=null"])
        .arg(format!("uml_dir={}", state.display()))
        .args(hardware.arguments.split_whitespace())
        // The guest's memory is a file here.
        .env("TMPDIR", "/dev/shm")
        .stdout(log)
        .stderr(other);
    Ok(machine)
}
