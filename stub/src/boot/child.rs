//! Our first process inside the namespaces, where it is root. RootlessKit's own process in the namespaces is their init
//! process, which reaps orphaned processes.

use std::os::unix::net::UnixStream;
use std::process::Child;
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::{Signal, getpid, kill_process};

use super::cri::{self, Watch};
use super::{NO_CGROUPS, Probe, loading, mounts, network, pods, rootlesskit, write_files};
use crate::components::containerd::{self, Snapshotter};
use crate::components::crio;
use crate::config::{Config, Cri, NetworkDriver};
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::remove_if_there;
use crate::host::netlink;
use crate::images::{Offer, Waiters, pause_name};
use crate::layout::Layout;
use crate::network::{self as pod_network, Bridge};
use crate::process::notify::notify;
use crate::process::supervise::Supervisor;
use crate::process::{command, crictl, link, say};

/// Prepares the namespaces and runs the container runtime to its end. Returns its exit code.
pub(super) fn run(layout: &Layout, config: &Config) -> Result<u8> {
    let started = Instant::now();
    mounts::prepare(layout, config)?;
    if let Some(address) = config.machines.address {
        netlink::add_address(address).about(|| format!("cannot take the address {address}"))?;
    }
    let cgroups = std::env::var_os(NO_CGROUPS).is_none();
    let probe = Probe::run(layout, cgroups)?;
    probe.notes.iter().for_each(say);
    let network = pod_network::at_start(config).map(Bridge::file);
    write_files(network.into_iter().collect())?;
    say(format!(
        "the namespaces are prepared after {:.1} s",
        started.elapsed().as_secs_f64()
    ));
    if !cgroups && config.runs_pods() {
        say("the cgroup of RootlessKit cannot be divided: containers run without limits");
    }
    let driver = config.network.driver;
    match config.cri {
        Cri::Containerd => run_containerd(layout, driver, &probe),
        Cri::Crio => run_crio(layout, driver, probe.snapshotter),
        Cri::None => {
            let mut supervisor = Supervisor::new()?;
            let watch = network::watch(driver)?;
            thread::spawn(move || {
                say(watch().message());
                // This ends the wait below.
                let _ = kill_process(getpid(), Signal::TERM);
            });
            ready(layout)?;
            supervisor.wait_for_end();
            Ok(0)
        }
    }
}

fn run_containerd(layout: &Layout, driver: NetworkDriver, probe: &Probe) -> Result<u8> {
    let snapshotter = probe.snapshotter;
    fs::create_dir_all(layout.runtime("containerd"))?;
    let pause = pause_name(layout)?;
    write_files(containerd::files(
        layout,
        snapshotter,
        &pause,
        probe.cgroups,
    ))?;
    if !probe.cgroups {
        link(layout, &containerd::oci_runtime(layout))?;
    }
    let mut watches = vec![network::watch(driver)?];
    if snapshotter == Snapshotter::FuseOverlayfs {
        watches.push(start_fuse_snapshotter(layout)?);
    }
    let (own, waiters) = (layout.clone(), Waiters::admit(layout)?);
    cri::run(
        || command(layout, containerd::args(layout)),
        watches,
        &layout.runtime("containerd/notify.sock"),
        move || {
            ready(&own)?;
            loading::load_into_containerd(&own, snapshotter)?;
            waiters.tell();
            Ok(())
        },
        || pods::stop_containers(layout, &containerd::socket(layout)),
    )
}

/// Tells the service manager that RootlessKit is ready. Services that need no images can start now. The kubelet's launcher
/// waits for the images.
fn ready(layout: &Layout) -> Result<()> {
    rootlesskit::wait_complete(layout)?;
    notify("READY=1")
}

/// Starts the FUSE snapshotter and waits until it answers, because containerd connects to it when it starts.
fn start_fuse_snapshotter(layout: &Layout) -> Result<Watch> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let socket = containerd::fuse_socket(layout);
    remove_if_there(&socket)?;
    let mut child: Child = command(layout, containerd::fuse_args(layout)).spawn()?;
    let started = Instant::now();
    while UnixStream::connect(&socket).is_err() {
        if let Some(status) = child.try_wait()? {
            return Err(Error::new(Kind::Failed, format!("the FUSE snapshotter ended: {status}"))
                .hint("you must be able to read and write `/dev/fuse`: ask an administrator to load the kernel module `fuse`"));
        }
        if started.elapsed() > PATIENCE {
            return Err(
                Error::new(Kind::Failed, "the FUSE snapshotter does not answer")
                    .detail("socket", socket.display())
                    .detail("waited", format!("{} s", PATIENCE.as_secs())),
            );
        }
        thread::sleep(Duration::from_millis(10));
    }
    Ok(Box::new(move || {
        let ended = child.wait();
        let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
        Error::new(Kind::Failed, format!("the FUSE snapshotter ended: {how}"))
    }))
}

fn run_crio(layout: &Layout, driver: NetworkDriver, snapshotter: Snapshotter) -> Result<u8> {
    let pause = pause_name(layout)?;
    let offer = Offer::open(layout)?;
    let images = crio::Images {
        pause: &pause,
        pinned: &offer.bundled,
        port: offer.port,
        repositories: offer.repositories.clone(),
    };
    write_files(crio::files(layout, snapshotter, &images))?;
    link(layout, &crio::oci_runtime(layout))?;
    let (own, waiters) = (layout.clone(), Waiters::admit(layout)?);
    cri::run(
        || {
            let mut crio_command = command(layout, crio::args(layout));
            crio_command.envs(crio::env(layout));
            crio_command
        },
        vec![network::watch(driver)?],
        &layout.runtime("crio/notify.sock"),
        move || {
            ready(&own)?;
            offer.pull(|| crictl(&own, &crio::socket(&own)))?;
            waiters.tell();
            Ok(())
        },
        || pods::stop_containers(layout, &crio::socket(layout)),
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::{UnixDatagram, UnixListener};
    use std::path::Path;
    use std::process::Command;

    use super::*;
    use crate::process::CHILD_PID;
    use crate::process::notify::NOTIFY_SOCKET;
    use crate::process::supervise::output;

    /// A cluster in a directory, with the places that the launcher expects.
    fn layout(dir: &Path) -> Layout {
        let dir = |name: &str| dir.join(name);
        for name in ["run/containerd", "run/rootlesskit", "gen/bin"] {
            fs::create_dir_all(dir(name)).unwrap();
        }
        Layout::new(dir("config"), dir("data"), dir("run"), dir("gen")).unwrap()
    }

    /// A cluster with a shell script as the FUSE snapshotter. A shell writes it: a file that this process has open for
    /// writing while another test forks cannot be run.
    fn with_snapshotter(dir: &Path, script: &str) -> Layout {
        let layout = layout(dir);
        let mut write = Command::new("/bin/sh");
        write.args([
            "-c",
            r#"printf '#!/bin/sh\n%s\n' "$1" >"$0" && chmod +x "$0""#,
        ]);
        write.arg(layout.program("containerd-fuse-overlayfs-grpc"));
        write.arg(script);
        output(write).unwrap();
        layout
    }

    #[test]
    fn containerd_can_start_once_the_snapshotter_answers_and_its_end_is_reported() {
        let dir = tempfile::tempdir().unwrap();
        let script = "echo \"$*\" >\"${1%/*}/args\"; until [ -e \"${1%/*}/stop\" ]; do sleep 0.01; done; exit 7";
        let layout = with_snapshotter(dir.path(), script);
        let starting = thread::spawn({
            let layout = layout.clone();
            move || start_fuse_snapshotter(&layout)
        });
        let socket = containerd::fuse_socket(&layout);
        let args = socket.with_file_name("args");
        while !args.exists() {
            thread::sleep(Duration::from_millis(5));
        }
        thread::sleep(Duration::from_millis(50));
        assert!(!starting.is_finished(), "the socket does not exist yet");
        let _listener = UnixListener::bind(&socket).unwrap();
        let watch = starting.join().unwrap().unwrap();
        let given = fs::read_to_string(args).unwrap();
        assert_eq!(given.trim(), containerd::fuse_args(&layout)[1..].join(" "));
        fs::write(socket.with_file_name("stop"), "").unwrap();
        assert_eq!(
            watch().message(),
            "the FUSE snapshotter ended: exit status: 7"
        );
    }

    #[test]
    fn a_snapshotter_that_ends_at_once_is_an_error_despite_an_old_socket() {
        let dir = tempfile::tempdir().unwrap();
        let layout = with_snapshotter(dir.path(), "exit 3");
        let _old = UnixListener::bind(containerd::fuse_socket(&layout)).unwrap();
        let error = start_fuse_snapshotter(&layout).err().unwrap();
        insta::assert_snapshot!(error, @r"
        the FUSE snapshotter ended: exit status: 3

        hint: you must be able to read and write `/dev/fuse`: ask an administrator to load the kernel module `fuse`
        ");
    }

    /// The next message on a socket; `None` if there is none in time. The signals of other tests may interrupt the wait.
    fn received(socket: &UnixDatagram, patience: Duration) -> Option<String> {
        let started = Instant::now();
        let mut message = [0; 64];
        socket.set_nonblocking(true).unwrap();
        while started.elapsed() < patience {
            if let Ok(length) = socket.recv(&mut message) {
                return Some(String::from_utf8_lossy(&message[..length]).into_owned());
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// The test runs itself again as the process inside the namespaces, because the service manager's socket is named in the
    /// environment.
    #[test]
    fn the_service_manager_is_told_only_when_rootlesskit_can_be_found() {
        const CHILD: &str = "USERNETES_TEST_CHILD";
        if let Some(dir) = std::env::var_os(CHILD) {
            ready(&layout(Path::new(&dir))).unwrap();
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "boot::child::tests::the_service_manager_is_told_only_when_rootlesskit_can_be_found",
            ])
            .env(CHILD, dir.path())
            .env(NOTIFY_SOCKET, dir.path().join("notify"))
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let patience = Duration::from_millis(300);
        assert_eq!(received(&manager, patience), None, "it was told too early");
        fs::write(layout.rootlesskit().join(CHILD_PID), "2\n").unwrap();
        let patience = Duration::from_mins(1);
        assert_eq!(received(&manager, patience).as_deref(), Some("READY=1"));
        assert!(child.wait().unwrap().success());
    }
}
