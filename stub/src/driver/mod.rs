//! The network driver that is not the usual one: pasta in the place of slirp4netns.
//!
//! RootlessKit can start pasta itself, but then it refuses to publish ports. pasta would publish them instead: every port on
//! which a program inside listens, at every address of this machine, and no node port, because nothing listens there
//! (RootlessKit, `cmd/rootlesskit/main.go` and `docs/port.md`, v2.0 to v3.1). So RootlessKit starts this program as its
//! slirp4netns, and this program starts pasta on the device that RootlessKit has made. Published ports, addresses, the name
//! server and the watch over the device are then the same with both.

mod probe;

use std::env;
use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use rustix::process::{Pid, Signal, kill_process};

use crate::child;
use crate::cidr::Cidr;
use crate::components::rootlesskit;
use crate::config::{Config, NetworkDriver};
use crate::error::{Error, Kind, Result};
use crate::files::remove_if_there;
use crate::layout::Layout;
use crate::output;
use crate::process::link;
use crate::protocol;

pub use probe::probe_child;
pub(crate) use probe::prove;

/// The text in which RootlessKit looks for what a slirp4netns can do (`pkg/network/slirp4netns/slirp4netns.go`).
const HELP: &str = "--netns-type --cidr --disable-host-loopback\n";

/// Makes what RootlessKit needs to start the driver of the configuration.
pub(crate) fn prepare(layout: &Layout, config: &Config) -> Result<()> {
    end(layout);
    let path = rootlesskit::pasta(layout);
    remove_if_there(&log(&path))?;
    remove_if_there(&started(&path))?;
    match config.network.driver {
        NetworkDriver::Slirp4netns => Ok(()),
        NetworkDriver::Pasta => link(layout, &path),
    }
}

/// Ends a pasta whose namespaces have ended. RootlessKit does not know it, and pasta before June 2023 does not notice by itself
/// (seen with 2023-03-09).
pub(crate) fn end(layout: &Layout) {
    let Ok(arguments) = fs::read(started(&rootlesskit::pasta(layout))) else {
        return;
    };
    for pid in running(Path::new("/proc"), &arguments) {
        // It has a PID namespace of its own, whose first process can ignore any other signal.
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// The processes with these arguments at their end. Among pasta's is the PID of one in the namespaces, so no other process has
/// the same.
fn running(proc: &Path, arguments: &[u8]) -> Vec<Pid> {
    let entries = fs::read_dir(proc).into_iter().flatten().flatten();
    let pid = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        Pid::from_raw(pid).filter(|_| !arguments.is_empty() && line.ends_with(arguments))
    };
    entries.filter_map(pid).collect()
}

/// The reason why pasta did not start; `None` if it did. RootlessKit hides what its slirp4netns says.
pub(crate) fn failure(layout: &Layout) -> Option<String> {
    let text = fs::read_to_string(log(&rootlesskit::pasta(layout))).ok()?;
    Some(text.trim_end().to_owned())
}

/// The file for the reason, beside the link.
fn log(link: &Path) -> PathBuf {
    link.with_extension("log")
}

/// The file with the arguments of the pasta that was started, as the kernel shows them (proc(5), `cmdline`).
fn started(link: &Path) -> PathBuf {
    link.with_extension("started")
}

/// Starts pasta if this process was started as RootlessKit's slirp4netns. Otherwise gives `None`. pasta goes on in the background
/// until the namespaces are gone; see [`end`].
#[must_use]
pub fn as_slirp4netns() -> Option<Result<()>> {
    let mut arguments = env::args_os();
    let link = PathBuf::from(arguments.next()?);
    if link.file_name().and_then(OsStr::to_str)? != protocol::PASTA_AS_SLIRP4NETNS {
        return None;
    }
    let arguments: Vec<_> = arguments
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    if arguments == ["--help"] {
        return Some(output::data(HELP));
    }
    let outcome = start("pasta", &link, &arguments);
    if let Err(error) = &outcome {
        let text = error.to_string();
        let reason = text.split("\n\nhint:").next().unwrap_or_default();
        // RootlessKit does not show it, so there is no better place for an error of writing it either.
        let _ = fs::write(log(&link), reason);
    }
    Some(outcome)
}

/// Starts this pasta as RootlessKit wants its slirp4netns, and tells RootlessKit when it is ready.
fn start(pasta: impl AsRef<OsStr>, link: &Path, arguments: &[String]) -> Result<()> {
    let wanted = Wanted::parse(arguments).ok_or_else(|| {
        Error::new(Kind::Input, "RootlessKit asks for an unknown network")
            .expected("the options of slirp4netns that RootlessKit 2.0 to 3.1 uses")
            .found(arguments.join(" "))
    })?;
    let arguments = wanted.pasta();
    fs::write(started(link), arguments.join("\0") + "\0")?;
    child::run(Command::new(pasta).args(arguments))?.success()?;
    Ok(fs::write(format!("/proc/self/fd/{}", wanted.ready), "1")?)
}

/// What RootlessKit wants of its slirp4netns.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Wanted {
    mtu: u32,
    network: Cidr,
    /// The open file for a byte when it is ready.
    ready: u32,
    /// A process in the namespaces.
    pid: u32,
    /// The device in the namespaces.
    device: String,
}

impl Wanted {
    /// Reads the command line of RootlessKit: `--mtu 65520 -r 3 --disable-host-loopback --cidr 10.0.42.0/24 PID tap0`.
    fn parse(arguments: &[String]) -> Option<Self> {
        let value = |name: &str| {
            let at = arguments.iter().position(|argument| argument == name)?;
            arguments.get(at + 1)
        };
        let [.., pid, device] = arguments else {
            return None;
        };
        arguments
            .iter()
            .any(|a| a == "--disable-host-loopback")
            .then_some(Self {
                mtu: value("--mtu")?.parse().ok()?,
                network: value("--cidr")?.parse().ok()?,
                ready: value("-r")?.parse().ok()?,
                pid: pid.parse().ok()?,
                device: device.clone(),
            })
    }

    /// The arguments of pasta for the same (passt(1)). pasta ends its first process when everything is ready.
    fn pasta(&self) -> Vec<String> {
        let address = |n| self.network.nth(n).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let option = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
        let mut arguments = vec![
            "--quiet".to_owned(),
            option("ns-ifname", &self.device),
            option("mtu", &self.mtu),
            option("address", &address(100)),
            option("netmask", &self.network.prefix()),
            option("gateway", &address(2)),
            option("dns-forward", &address(3)),
            // Programs that listen only on the host's loopback interface are not meant to be reached by pods.
            "--no-map-gw".to_owned(),
            "--ipv4-only".to_owned(),
        ];
        // RootlessKit publishes ports. Without the last two, the loopback interface inside would lead to the host's.
        let ports = ["tcp-ports", "udp-ports", "tcp-ns", "udp-ns"];
        arguments.extend(ports.map(|name| option(name, &"none")));
        arguments.push(self.pid.to_string());
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::tests::example;

    const ASKED: &str = "--mtu 9000 -r 3 --disable-host-loopback --cidr 10.0.42.0/24 4711 tap0";

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn pasta_gets_the_network_of_slirp4netns() {
        let wanted = Wanted::parse(&words(ASKED)).unwrap();
        insta::assert_snapshot!(wanted.pasta().join("\n"), @r"
        --quiet
        --ns-ifname=tap0
        --mtu=9000
        --address=10.0.42.100
        --netmask=24
        --gateway=10.0.42.2
        --dns-forward=10.0.42.3
        --no-map-gw
        --ipv4-only
        --tcp-ports=none
        --udp-ports=none
        --tcp-ns=none
        --udp-ns=none
        4711
        ");
    }

    #[test]
    fn another_command_line_is_refused_before_anything_starts() {
        for text in [
            "",
            "tap0",
            "--mtu 9000 -r 3 --disable-host-loopback 4711 tap0",
            "--mtu 9000 --disable-host-loopback --cidr 10.0.42.0/24 4711 tap0",
            // Without this option, pods were meant to reach the host's loopback interface.
            "--mtu 9000 -r 3 --cidr 10.0.42.0/24 4711 tap0",
            "--mtu 9000 -r 3 --disable-host-loopback --cidr 10.0.42.0/24 tap0 4711",
        ] {
            assert_eq!(Wanted::parse(&words(text)), None, "{text}");
        }
        let error = start(
            "/nonexistent",
            Path::new("/nonexistent/link"),
            &words("--api-socket x 1 tap0"),
        )
        .unwrap_err();
        insta::assert_snapshot!(error, @r"
        RootlessKit asks for an unknown network
          expected  the options of slirp4netns that RootlessKit 2.0 to 3.1 uses
          found     --api-socket x 1 tap0
        ");
    }

    #[test]
    fn rootlesskit_hears_of_a_pasta_that_is_ready_and_not_of_another() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let asked = ASKED.replace(
            "-r 3",
            &format!("-r {}", std::os::fd::AsRawFd::as_raw_fd(file.as_file())),
        );
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        let error = start("false", &link, &words(&asked)).unwrap_err();
        assert!(error.to_string().contains("false"), "{error}");
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "");
        start("true", &link, &words(&asked)).unwrap();
        assert_eq!(fs::read_to_string(file.path()).unwrap(), "1");
        // Of all processes, only that pasta is found.
        let arguments = fs::read(started(&link)).unwrap();
        assert!(arguments.starts_with(b"--quiet\0") && arguments.ends_with(b"\x004711\0"));
        let line = |program: &str| [program.as_bytes(), b"\0", &arguments].concat();
        for (pid, line) in [
            ("7", line("/usr/bin/pasta")),
            ("8", [line("pasta"), b"4712\0".to_vec()].concat()),
            ("9", Vec::new()),
            ("self", line("pasta")),
        ] {
            fs::create_dir(dir.path().join(pid)).unwrap();
            fs::write(dir.path().join(pid).join("cmdline"), line).unwrap();
        }
        assert_eq!(running(dir.path(), &arguments), [Pid::from_raw(7).unwrap()]);
        assert_eq!(running(dir.path(), b""), []);
    }

    #[test]
    fn an_old_reason_is_forgotten_and_only_pasta_gets_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let of = example();
        let layout = Layout::new(
            of.config().to_owned(),
            of.data_dir().to_owned(),
            dir.path().to_owned(),
            of.generation().to_owned(),
        )
        .unwrap();
        let mut config = Config::new("n".parse().unwrap(), crate::config::Cni::Bridge);
        let link = rootlesskit::pasta(&layout);
        for (driver, linked) in [
            (NetworkDriver::Slirp4netns, false),
            (NetworkDriver::Pasta, true),
            (NetworkDriver::Pasta, true),
        ] {
            config.network.driver = driver;
            fs::write(log(&link), "no such option\n").unwrap();
            assert_eq!(failure(&layout).as_deref(), Some("no such option"));
            prepare(&layout, &config).unwrap();
            assert_eq!(failure(&layout), None);
            assert_eq!(fs::read_link(&link).is_ok(), linked);
        }
        assert_eq!(
            fs::read_link(&link).unwrap(),
            layout.program("usernetes"),
            "{driver}",
            driver = config.network.driver
        );
    }
}
