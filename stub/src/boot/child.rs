//! The first program of ours inside the namespaces. It is their root, and RootlessKit, which is their first process,
//! reaps what others leave.

use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

use fs_err as fs;
use rustix::process::{Signal, getpid, kill_process};

use super::cri::{self, Watch};
use super::{NO_CGROUPS, Probe, mounts, network, oci_runtime, pods, rootlesskit, write_files};
use crate::components::containerd::{self, Snapshotter};
use crate::components::crio;
use crate::config::{Config, Cri};
use crate::error::{Error, Kind, Result};
use crate::files::remove_if_there;
use crate::images::{Loader, Offer, Waiters, pause_name};
use crate::layout::Layout;
use crate::network::{self as pod_network, Bridge};
use crate::process::notify::notify;
use crate::process::supervise::Supervisor;
use crate::process::{command, crictl, say};

/// Prepares the namespaces and runs the container runtime to its end. Gives its exit code.
pub(super) fn run(layout: &Layout, config: &Config) -> Result<u8> {
    let started = Instant::now();
    mounts::prepare(layout, config)?;
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
    match config.cri {
        Cri::Containerd => run_containerd(layout, &probe),
        Cri::Crio => run_crio(layout, probe.snapshotter),
        Cri::None => {
            let mut supervisor = Supervisor::new()?;
            let watch = network::watch()?;
            thread::spawn(move || {
                say(watch().message());
                // Which ends the wait below.
                let _ = kill_process(getpid(), Signal::TERM);
            });
            ready(layout)?;
            supervisor.wait_for_end();
            Ok(0)
        }
    }
}

fn run_containerd(layout: &Layout, probe: &Probe) -> Result<u8> {
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
        oci_runtime::link(layout, &containerd::oci_runtime(layout))?;
    }
    let mut watches = vec![network::watch()?];
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
            let ctr = || {
                let mut ctr = Command::new(own.program("ctr"));
                ctr.arg("--address").arg(containerd::socket(&own));
                ctr
            };
            let snapshotter = snapshotter.as_str();
            Loader {
                ctr: &ctr,
                snapshotter,
            }
            .load(&own)?;
            waiters.tell();
            Ok(())
        },
        || pods::stop_containers(layout, &containerd::socket(layout)),
    )
}

/// Tells the service manager. Whatever needs no images can start now; the kubelet waits for them itself.
fn ready(layout: &Layout) -> Result<()> {
    rootlesskit::wait_complete(layout)?;
    notify("READY=1")
}

/// containerd asks its snapshotter when it starts, so that one must answer first.
fn start_fuse_snapshotter(layout: &Layout) -> Result<Watch> {
    const PATIENCE: Duration = Duration::from_secs(30);
    let socket = containerd::fuse_socket(layout);
    remove_if_there(&socket)?;
    let mut child: Child = command(layout, containerd::fuse_args(layout)).spawn()?;
    let started = Instant::now();
    while UnixStream::connect(&socket).is_err() {
        if let Some(status) = child.try_wait()? {
            return Err(Error::new(Kind::Failed, format!("the FUSE snapshotter ended: {status}"))
                .hint("`/dev/fuse` must be readable and writable for you: ask the administrator to load the module `fuse`"));
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

fn run_crio(layout: &Layout, snapshotter: Snapshotter) -> Result<u8> {
    let pause = pause_name(layout)?;
    let offer = Offer::open(layout)?;
    let images = crio::Images {
        pause: &pause,
        pinned: &offer.bundled,
        port: offer.port,
        repositories: offer.repositories.clone(),
    };
    write_files(crio::files(layout, snapshotter, &images))?;
    oci_runtime::link(layout, &crio::oci_runtime(layout))?;
    let (own, waiters) = (layout.clone(), Waiters::admit(layout)?);
    cri::run(
        || {
            let mut crio_command = command(layout, crio::args(layout));
            crio_command.envs(crio::env(layout));
            crio_command
        },
        vec![network::watch()?],
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
