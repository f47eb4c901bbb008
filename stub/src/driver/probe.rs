//! Whether a network driver connects a cluster, found out by trying.
//!
//! RootlessKit makes namespaces with the driver for a moment, in a directory of its own. A process inside, which is this program
//! again, does what a cluster does: it connects to this machine's address as to another machine's, and sends packets as large as
//! those of the pod network to a published port, from which they must come in again. This side connects to a published port.
//! Services' addresses need no driver: the kernel translates them inside.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU16;
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use serde::{Deserialize, Serialize};

use super::{end, failure, prepare};
use crate::child;
use crate::components::rootlesskit;
use crate::config::{Config, NetworkDriver, PortSpec, Proto};
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::remove_tree;
use crate::host::{ELSEWHERE, address_towards};
use crate::layout::Layout;
use crate::output;
use crate::process::command;
use crate::protocol;

/// How long each attempt may take. What is lost is tried again.
const PATIENCE: Duration = Duration::from_secs(8);
/// How long everything may take.
const LONGEST: Duration = Duration::from_secs(40);
/// How often an attempt is repeated, and how often somebody looks whether it is time to end.
const STEP: Duration = Duration::from_millis(50);
/// How long the loopback interface of this machine has to answer, which it must not do.
const SHORT: Duration = Duration::from_millis(500);
/// What everybody answers who is asked.
const ANSWER: &[u8] = b"here\n";
/// What the process inside says when the published port can be asked.
const LISTENING: &str = "listening";
/// The headers of IPv4 and UDP.
const HEADERS: u32 = 28;

/// What the process inside tries.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Targets {
    /// Its own address.
    own: Ipv4Addr,
    /// A port of this machine's address.
    machine: SocketAddrV4,
    /// A published UDP port, at this machine's address. Inside, it has the same number.
    udp: SocketAddrV4,
    /// The size of what is sent there, in bytes.
    size: u32,
    /// A published TCP port.
    tcp: u16,
    /// Where the loopback interface of this machine must not answer.
    closed: Vec<SocketAddrV4>,
}

/// Fails if the driver of the configuration does not connect a cluster on this machine. Leaves nothing behind.
pub(crate) fn prove(layout: &Layout, config: &Config) -> Result<()> {
    let dir = layout.runtime("probe");
    remove_tree(&dir)?;
    fs::create_dir_all(&dir)?;
    let layout = Layout::new(
        layout.config().to_owned(),
        layout.data_dir().to_owned(),
        dir.clone(),
        layout.generation().to_owned(),
    )?;
    let tried = attempt(&layout, config);
    let why = failure(&layout);
    end(&layout);
    remove_tree(&dir)?;
    let driver = config.network.driver;
    match (tried, why) {
        (_, Some(why)) => judge(driver, &[why]),
        (Ok(faults), None) => judge(driver, &faults),
        (Err(error), None) => judge(driver, &[error.to_string()]),
    }
}

fn judge(driver: NetworkDriver, faults: &[String]) -> Result<()> {
    if faults.is_empty() {
        return Ok(());
    }
    let mut error = Error::new(
        Kind::Host,
        format!("{driver} does not connect a cluster on this machine"),
    );
    for fault in faults {
        error = error.found(fault);
    }
    Err(error.hint(format!(
        "the configuration was not changed; stay with `--network-driver {}`, install another version of {driver}, or go on in spite of this with `--force`",
        NetworkDriver::Slirp4netns
    )))
}

/// Tries everything. Gives what does not work.
fn attempt(layout: &Layout, config: &Config) -> Result<Vec<String>> {
    let address = match config.machines.address {
        Some(address) => address,
        None => address_towards(ELSEWHERE)
            .map_err(Error::from)
            .about(|| "this machine has no address that others could reach")?,
    };
    let machine = TcpListener::bind((address, 0))?;
    let loopback = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    // Both sockets are closed again here, and RootlessKit opens the same ports.
    let udp = UdpSocket::bind((address, 0))?.local_addr()?.port();
    let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
        .local_addr()?
        .port();
    let hidden = loopback.local_addr()?.port();
    let targets = Targets {
        own: config.node_ip(),
        machine: SocketAddrV4::new(address, machine.local_addr()?.port()),
        udp: SocketAddrV4::new(address, udp),
        size: config.machines.mtu - HEADERS,
        tcp,
        closed: [config.gateway(), Ipv4Addr::LOCALHOST]
            .map(|address| SocketAddrV4::new(address, hidden))
            .into(),
    };
    let child = start(layout, config, &targets)?;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for listener in [&machine, &loopback] {
            scope.spawn(|| answer(listener, &AtomicBool::new(false), &done));
        }
        let outcome = converse(child, tcp);
        done.store(true, Ordering::Relaxed);
        outcome
    })
}

/// Starts RootlessKit with this program inside.
fn start(layout: &Layout, config: &Config, targets: &Targets) -> Result<Child> {
    prepare(layout, config)?;
    let mut config = config.clone();
    config.publish.clear();
    let mut args = rootlesskit::args(layout, &config, false);
    for (ip, port, proto) in [
        (*targets.udp.ip(), targets.udp.port(), Proto::Udp),
        (Ipv4Addr::LOCALHOST, targets.tcp, Proto::Tcp),
    ] {
        let port = NonZeroU16::new(port)
            .ok_or_else(|| Error::new(Kind::Failed, "the kernel gave the port 0"))?;
        let port = PortSpec {
            ip: IpAddr::V4(ip),
            port,
            child_ip: None,
            child_port: port,
            proto,
        };
        args.push(format!(
            "--publish={}",
            port.for_rootlesskit(config.node_ip())
        ));
    }
    args.extend([
        layout.program("usernetes").display().to_string(),
        protocol::PROBE_NETWORK.to_owned(),
        serde_json::to_string(targets).map_err(std::io::Error::from)?,
    ]);
    let mut command = command(layout, args);
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    child::announce(&command);
    command.spawn().about(|| "cannot run RootlessKit")
}

/// Asks the published port when the process inside is ready, and gives what this side and the other one have found.
fn converse(mut child: Child, tcp: u16) -> Result<Vec<String>> {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let ended = AtomicBool::new(false);
    let (said, published, complaint) = thread::scope(|scope| {
        let complaint = scope.spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.map(|mut stderr| stderr.read_to_end(&mut text));
            String::from_utf8_lossy(&text).into_owned()
        });
        scope.spawn(|| {
            let started = Instant::now();
            while !ended.load(Ordering::Relaxed) && started.elapsed() < LONGEST {
                thread::sleep(STEP);
            }
            // RootlessKit's end is that of everything inside, and of what the others here wait for.
            let _ = child.kill();
        });
        let mut lines = stdout.map(|stdout| BufReader::new(stdout).lines());
        let mut next = || lines.as_mut()?.next()?.ok();
        let published = (next().as_deref() == Some(LISTENING))
            .then(|| ask(SocketAddrV4::new(Ipv4Addr::LOCALHOST, tcp), PATIENCE));
        let said = next();
        ended.store(true, Ordering::Relaxed);
        (said, published, complaint.join().unwrap_or_default())
    });
    child.wait()?;
    let inside: Option<Vec<String>> = said.and_then(|said| serde_json::from_str(&said).ok());
    let (Some(mut faults), Some(published)) = (inside, published) else {
        let last = complaint.lines().last().unwrap_or("it said nothing");
        return Err(Error::new(
            Kind::Host,
            format!("RootlessKit does not start with it: {last}"),
        ));
    };
    if let Err(error) = published {
        faults.push(format!("a published TCP port does not answer: {error}"));
    }
    Ok(faults)
}

/// The side inside the namespaces: tries everything and prints what does not work, as JSON in one line.
///
/// # Errors
/// A port inside cannot be opened.
pub fn probe_child(targets: &str) -> Result<()> {
    let targets: Targets = serde_json::from_str(targets).map_err(std::io::Error::from)?;
    let published = TcpListener::bind((targets.own, targets.tcp))?;
    let echo = UdpSocket::bind((targets.own, targets.udp.port()))?;
    output::data(&format!("{LISTENING}\n"))?;
    let (asked, done) = (AtomicBool::new(false), AtomicBool::new(false));
    let faults = thread::scope(|scope| {
        scope.spawn(|| answer(&published, &asked, &done));
        scope.spawn(|| send_back(&echo, &done));
        let faults = faults(&targets, PATIENCE);
        // The other side asks meanwhile.
        let started = Instant::now();
        while !asked.load(Ordering::Relaxed) && started.elapsed() < PATIENCE {
            thread::sleep(STEP);
        }
        done.store(true, Ordering::Relaxed);
        faults
    });
    let text = serde_json::to_string(&faults).map_err(std::io::Error::from)?;
    output::data(&format!("{text}\n"))
}

/// What does not work from here.
fn faults(targets: &Targets, patience: Duration) -> Vec<String> {
    let mut faults = Vec::new();
    if let Err(error) = ask(targets.machine, patience) {
        faults.push(format!("TCP does not reach another machine: {error}"));
    }
    if let Err(error) = exchange(targets, patience) {
        faults.push(format!(
            "UDP packets of {} bytes do not go out and come in again at a published port: {error}",
            targets.size + HEADERS
        ));
    }
    for target in &targets.closed {
        if ask(*target, SHORT).is_ok() {
            faults.push(format!(
                "the host's loopback interface is open to pods, at {}",
                target.ip()
            ));
        }
    }
    faults
}

/// Connects until somebody answers.
fn ask(target: SocketAddrV4, patience: Duration) -> std::io::Result<()> {
    let once = || {
        let mut stream = TcpStream::connect_timeout(&target.into(), patience)?;
        stream.set_read_timeout(Some(patience))?;
        stream.read_exact(&mut [0; ANSWER.len()])
    };
    let started = Instant::now();
    loop {
        match once() {
            Err(_) if started.elapsed() < patience => thread::sleep(STEP),
            result => return result,
        }
    }
}

/// Sends packets until one comes back.
fn exchange(targets: &Targets, patience: Duration) -> std::io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.set_read_timeout(Some(STEP))?;
    let size = usize::try_from(targets.size).unwrap_or(usize::MAX);
    let (sent, mut received) = (vec![b'x'; size], vec![0; 1 << 16]);
    let started = Instant::now();
    loop {
        let outcome = socket
            .send_to(&sent, targets.udp)
            .and_then(|_| socket.recv_from(&mut received));
        match outcome {
            Ok((count, _)) if count == size => return Ok(()),
            Err(error) if started.elapsed() >= patience => {
                return Err(match error.kind() {
                    ErrorKind::WouldBlock => std::io::Error::other("nothing comes back"),
                    _ => error,
                });
            }
            Ok(_) if started.elapsed() >= patience => {
                return Err(std::io::Error::other("they come back in another size"));
            }
            _ => {}
        }
    }
}

/// Answers everybody who connects, until `done`. `asked` says whether somebody has.
fn answer(listener: &TcpListener, asked: &AtomicBool, done: &AtomicBool) {
    let _ = listener.set_nonblocking(true);
    while !done.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((mut stream, _)) => {
                // Whoever asks notices if there is no answer.
                let _ = stream.write_all(ANSWER);
                let _ = stream.shutdown(Shutdown::Write);
                asked.store(true, Ordering::Relaxed);
            }
            Err(_) => thread::sleep(STEP),
        }
    }
}

/// Sends every packet back, until `done`.
fn send_back(socket: &UdpSocket, done: &AtomicBool) {
    let mut packet = vec![0; 1 << 16];
    let _ = socket.set_read_timeout(Some(STEP));
    while !done.load(Ordering::Relaxed) {
        if let Ok((count, from)) = socket.recv_from(&mut packet) {
            let _ = socket.send_to(&packet[..count], from);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOCAL: Ipv4Addr = Ipv4Addr::LOCALHOST;

    fn at(port: u16) -> SocketAddrV4 {
        SocketAddrV4::new(LOCAL, port)
    }

    /// A port at which nobody listens.
    fn silent() -> u16 {
        let listener = TcpListener::bind((LOCAL, 0)).unwrap();
        listener.local_addr().unwrap().port()
    }

    #[test]
    fn everything_that_works_is_no_fault() {
        let machine = TcpListener::bind((LOCAL, 0)).unwrap();
        let echo = UdpSocket::bind((LOCAL, 0)).unwrap();
        let targets = Targets {
            own: LOCAL,
            machine: at(machine.local_addr().unwrap().port()),
            udp: at(echo.local_addr().unwrap().port()),
            size: 1472,
            tcp: 0,
            closed: vec![at(silent())],
        };
        let (asked, done) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| answer(&machine, &asked, &done));
            scope.spawn(|| send_back(&echo, &done));
            let faults = faults(&targets, PATIENCE);
            done.store(true, Ordering::Relaxed);
            assert_eq!(faults, [] as [&str; 0]);
        });
        assert!(asked.load(Ordering::Relaxed));
    }

    #[test]
    fn everything_that_does_not_work_is_named() {
        let open = TcpListener::bind((LOCAL, 0)).unwrap();
        let targets = Targets {
            own: LOCAL,
            machine: at(silent()),
            // Nobody sends anything back.
            udp: at(open.local_addr().unwrap().port()),
            size: 1472,
            tcp: 0,
            closed: vec![at(open.local_addr().unwrap().port())],
        };
        let (asked, done) = (AtomicBool::new(false), AtomicBool::new(false));
        let found = thread::scope(|scope| {
            scope.spawn(|| answer(&open, &asked, &done));
            let found = faults(&targets, STEP);
            done.store(true, Ordering::Relaxed);
            found
        });
        let error = judge(NetworkDriver::Pasta, &found).unwrap_err();
        assert_eq!(error.kind(), Kind::Host);
        insta::assert_snapshot!(error, @r"
        pasta does not connect a cluster on this machine
          found  TCP does not reach another machine: Connection refused (os error 111)
          found  UDP packets of 1500 bytes do not go out and come in again at a published port: nothing comes back
          found  the host's loopback interface is open to pods, at 127.0.0.1

        hint: the configuration was not changed; stay with `--network-driver slirp4netns`, install another version of pasta, or go on in spite of this with `--force`
        ");
        judge(NetworkDriver::Pasta, &[]).unwrap();
    }

    #[test]
    fn what_one_side_writes_the_other_one_reads() {
        let targets = Targets {
            own: Ipv4Addr::new(10, 0, 42, 100),
            machine: "192.0.2.7:40000".parse().unwrap(),
            udp: "192.0.2.7:40001".parse().unwrap(),
            size: 1472,
            tcp: 40002,
            closed: vec!["10.0.42.2:40003".parse().unwrap()],
        };
        let text = serde_json::to_string(&targets).unwrap();
        insta::assert_snapshot!(text, @r#"{"own":"10.0.42.100","machine":"192.0.2.7:40000","udp":"192.0.2.7:40001","size":1472,"tcp":40002,"closed":["10.0.42.2:40003"]}"#);
        let read: Targets = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), text);
        assert!(probe_child("{}").is_err());
    }

    /// Runs a shell script in the place of RootlessKit.
    fn conversation(script: &str) -> Result<Vec<String>> {
        let mut command = std::process::Command::new("/bin/sh");
        command.args(["-c", script]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let listener = TcpListener::bind((LOCAL, 0)).unwrap();
        let (asked, done) = (AtomicBool::new(false), AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| answer(&listener, &asked, &done));
            let said = converse(
                command.spawn().unwrap(),
                listener.local_addr().unwrap().port(),
            );
            done.store(true, Ordering::Relaxed);
            said
        })
    }

    #[test]
    fn the_answer_is_that_of_both_sides() {
        let works = conversation("echo listening; echo '[]'; exec sleep 1000").unwrap();
        assert_eq!(works, [] as [&str; 0]);
        let fault = conversation("echo listening; echo '[\"no UDP\"]'").unwrap();
        assert_eq!(fault, ["no UDP"]);
        for (script, why) in [
            ("echo first >&2; echo last >&2; exit 1", "last"),
            ("exit 1", "it said nothing"),
            ("echo listening; echo x", "it said nothing"),
            ("echo something else; echo '[]'", "it said nothing"),
        ] {
            let error = conversation(script).unwrap_err();
            let expected = format!("RootlessKit does not start with it: {why}");
            assert_eq!(error.message(), expected, "{script}");
        }
    }
}
