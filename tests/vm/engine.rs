//! The program that runs the machine: QEMU, with the processor's own virtualization where that works, or a User Mode Linux
//! kernel, which needs neither virtualization nor emulation.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::check;
use crate::image::Image;

/// The guest's address and that of the host on the network between them. QEMU's user network has these by itself.
const GUEST: &str = "10.0.2.15";
const HOST: &str = "10.0.2.2/24";

/// How the machine runs, and how it is reached.
#[derive(Debug)]
pub enum Engine {
    /// QEMU, with ssh on a port of the loopback interface.
    Qemu {
        /// Whether the processor's virtualization is tried first.
        kvm: bool,
        port: u16,
    },
    /// A User Mode Linux kernel as an ordinary process, in a network namespace with nothing but a tap device in it.
    UserMode { kernel: PathBuf, namespace: String },
}

impl Engine {
    /// User Mode Linux if there is a kernel for it, otherwise QEMU.
    pub fn new(kernel: Option<&Path>) -> Result<Self> {
        let Some(kernel) = kernel else {
            // Somebody else may take the port between here and QEMU's start; then QEMU says so.
            let port = TcpListener::bind("127.0.0.1:0")
                .and_then(|l| l.local_addr())
                .map_err(|e| format!("no free port: {e}"))?
                .port();
            let kvm = std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/kvm")
                .is_ok();
            return Ok(Self::Qemu { kvm, port });
        };
        let kernel =
            std::path::absolute(kernel).map_err(|e| format!("{}: {e}", kernel.display()))?;
        let engine = Self::UserMode {
            kernel,
            namespace: format!("usernetes-vm-{}", std::process::id()),
        };
        engine.make_network()?;
        Ok(engine)
    }

    /// The command that runs the machine with this disk until it is switched off.
    pub fn command(&self, image: &Image, disk: &Path, console: &Path) -> Result<Command> {
        match self {
            Self::Qemu { kvm, port } => Ok(qemu(image, disk, console, *kvm, *port)),
            Self::UserMode { kernel, namespace } => user_mode(kernel, namespace, disk, console),
        }
    }

    /// After an attempt to start has failed: emulation works where a half-working `/dev/kvm` does not.
    pub fn fall_back(&mut self) {
        if let Self::Qemu { kvm, .. } = self {
            *kvm = false;
        }
    }

    /// The words of a command that logs in to the machine with this key; options and the command to run there follow.
    pub fn ssh(&self, key: &Path, user: &str) -> Vec<String> {
        let ssh = ["ssh", "-i", &key.display().to_string()].map(str::to_owned);
        match self {
            Self::Qemu { port, .. } => {
                let port = ["-p".to_owned(), port.to_string()];
                [&ssh[..], &port, &[format!("{user}@127.0.0.1")]].concat()
            }
            Self::UserMode { namespace, .. } => {
                let enter = ["ip", "netns", "exec", namespace].map(str::to_owned);
                [&enter[..], &ssh, &[format!("{user}@{GUEST}")]].concat()
            }
        }
    }

    fn make_network(&self) -> Result<()> {
        let Self::UserMode { namespace, .. } = self else {
            return Ok(());
        };
        let inside = |words: &[&str]| {
            check(
                Command::new("ip")
                    .args(["-n", namespace.as_str()])
                    .args(words),
            )
        };
        check(Command::new("ip").args(["netns", "add", namespace]))?;
        inside(&["link", "set", "lo", "up"])?;
        inside(&["tuntap", "add", "dev", "tap0", "mode", "tap"])?;
        inside(&["address", "add", HOST, "dev", "tap0"])?;
        inside(&["link", "set", "tap0", "up"])
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if let Self::UserMode { namespace, .. } = self {
            let _ = Command::new("ip")
                .args(["netns", "delete", namespace])
                .status();
        }
    }
}

fn qemu(image: &Image, disk: &Path, console: &Path, kvm: bool, port: u16) -> Command {
    // Seen in emulation: with cmpxchg16b or 5-level paging, the kernel panics.
    let (accelerator, processor) = if kvm {
        ("kvm", "max")
    } else {
        (
            "tcg,thread=multi,tb-size=1024",
            "max,cx16=off,la57=off,pks=off,pku=off",
        )
    };
    let mut qemu = Command::new("qemu-system-x86_64");
    qemu.args(["-machine", "q35", "-accel", accelerator, "-cpu", processor])
        .args(["-smp", "2", "-m", "6144"])
        .args(["-nographic", "-nodefaults", "-no-reboot"])
        .arg("-kernel")
        .arg(&image.kernel)
        .arg("-initrd")
        .arg(&image.initrd)
        .args([
            "-append",
            "console=ttyS0 quiet mitigations=off nopti nokaslr panic=-1 audit=0",
        ])
        .args([
            "-drive",
            &format!(
                "file={},if=virtio,format=raw,cache=unsafe,discard=unmap",
                disk.display()
            ),
        ])
        .args([
            "-netdev",
            &format!("user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22"),
        ])
        .args(["-device", "virtio-net-pci,netdev=n0"])
        .args(["-device", "virtio-rng-pci"])
        .args(["-serial", &format!("file:{}", console.display())]);
    qemu
}

fn user_mode(kernel: &Path, namespace: &str, disk: &Path, console: &Path) -> Result<Command> {
    let log = std::fs::File::create(console).map_err(|e| format!("{}: {e}", console.display()))?;
    let other = log.try_clone().map_err(|e| e.to_string())?;
    let state = console.with_extension("uml");
    std::fs::create_dir_all(&state).map_err(|e| format!("{}: {e}", state.display()))?;
    let mut machine = Command::new("ip");
    machine
        .args(["netns", "exec", namespace])
        .arg(kernel)
        .args(["mem=6G", "ncpus=2", "seccomp=on"])
        .arg(format!("ubd0={}", disk.display()))
        .args(["root=/dev/ubda", "rw", "quiet"])
        .arg("vec0:transport=tap,ifname=tap0,depth=64,gro=1")
        .args(["con=null", "con0=null,fd:2", "con1=fd:0,fd:1", "ssl=null"])
        .arg(format!("uml_dir={}", state.display()))
        // The guest's memory is a file here.
        .env("TMPDIR", "/dev/shm")
        .stdout(log)
        .stderr(other);
    Ok(machine)
}
