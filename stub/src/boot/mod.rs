//! The launcher that every unit runs: it starts one service in RootlessKit's namespaces.
//!
//! [`rootlesskit`] creates the namespaces. Its child, [`child`], prepares them from the inside and runs the container
//! runtime. All other services enter the existing namespaces ([`namespaces`]).

mod api_proxy;
mod apiserver;
mod capacity;
mod certificates;
mod child;
mod cri;
mod flannel;
mod loading;
mod mounts;
mod network;
mod oci_runtime;
mod pods;
mod ports;
mod probe;
mod resolver;
mod rootlesskit;

use std::env;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::cluster;
use crate::components;
use crate::components::etcd::Joining;
use crate::components::kube_apiserver;
use crate::components::kube_proxy::Mode;
use crate::components::kubelet::Capacity;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::files::write_atomically;
use crate::host::{Machine, delegated};
use crate::images;
use crate::layout::{Credential, Layout};
use crate::manager;
use crate::nodes;
use crate::paths::At as _;
use crate::pki::Authority;
use crate::process::{command, namespaces, say, supervised};
use crate::protocol;
use crate::render::ConfigFile;
use crate::services::{Namespaces, Service};
use crate::snapshot;
use crate::store::Store;

pub use oci_runtime::as_oci_runtime;
pub use probe::Probe;

/// Tells the program inside that RootlessKit's cgroup cannot be divided. Inside, nothing else would tell it.
const NO_CGROUPS: &str = "USERNETES_NO_CGROUPS";

/// Runs the service with this name. If its program must be a child of this process, returns its exit code; otherwise the
/// program replaces this process.
pub fn run(name: &str) -> Result<u8> {
    let layout = Layout::of_user(generation_of_this_program()?)?;
    let config = cluster::applied(&layout)?;
    if name == protocol::ROOTLESSKIT_CHILD {
        return child::run(&layout, &config);
    }
    if name == protocol::LOAD_IMAGES {
        return loading::run(&layout, &config).map(|()| 0);
    }
    let service = Service::named(name).ok_or_else(|| {
        let names: Vec<_> = Service::all().map(Service::as_str).collect();
        Error::new(Kind::Usage, format!("there is no service `{name}`")).expected(names.join(", "))
    })?;
    if !supervised::begin()? && manager::is_claimed(layout.data_dir()) {
        return Err(manager::runs(layout.data_dir()));
    }
    match service {
        Service::Rootlesskit => {
            certificates::renew_due(&layout, &config);
            rootlesskit::run(&layout, &config)
        }
        Service::Flanneld => flannel::run(&layout, &config),
        Service::Ports => ports::run(&layout, &config),
        Service::Etcd => {
            keep_snapshot(&layout)?;
            run_service(service, &layout, &config)
        }
        _ => run_service(service, &layout, &config),
    }
}

/// Runs a service according to its row in the table of services.
fn run_service(service: Service, layout: &Layout, config: &Config) -> Result<u8> {
    let row = service.row();
    let start = components::start(service, layout, config, &Here { layout, config })?;
    write_files(start.files)?;
    if row.after_images {
        images::wait_loaded(layout)?;
    }
    if service == Service::KubeApiserver {
        apiserver::wait_vote(layout)?;
    }
    let namespaces = row.namespaces.unwrap_or(Namespaces::All);
    namespaces::join(layout, namespaces)?;
    if namespaces == Namespaces::Network {
        resolver::use_own(layout, config);
    }
    // A node of the shell scripts has no API server of its own, and nothing that leads to another one.
    if let Some(identity) = service.kubeconfig(config)
        && (config.machines.is_worker() || layout.certificate(Credential::ApiServer).exists())
    {
        apiserver::wait_ready(layout, config, identity)?;
        if service == Service::KubeControllerManager && cluster::api_address(config).is_none() {
            apiserver::apply_roles(layout, config);
        }
    }
    match service {
        // Of our own services, a cluster of several machines has one of these two on each of them.
        Service::NodeApprover => {
            nodes::keep_published(layout, config);
            nodes::follow_members(layout, config);
            nodes::approve(layout, config)
        }
        Service::ApiProxy => {
            nodes::keep_published(layout, config);
            api_proxy::run(layout, config)
        }
        _ => {
            let mut program = command(layout, start.args);
            let (variable, value) = kube_apiserver::GARBAGE;
            // One that the user has set for the unit stays.
            if service == Service::KubeApiserver && env::var_os(variable).is_none() {
                program.env(variable, value);
            }
            namespaces::run_joined(namespaces, program)
        }
    }
}

/// Keeps a copy of etcd's data before another generation's etcd uses it.
fn keep_snapshot(layout: &Layout) -> Result<()> {
    let name = layout.generation().file_name().unwrap_or_default();
    let Ok(number) = name.to_string_lossy().parse() else {
        return Ok(());
    };
    let generation = Store::at(layout.data_dir()).generation(number)?;
    if let Some(snapshot) = snapshot::before_etcd(layout, &generation)? {
        say(format!(
            "kept a snapshot of the data as generation {} left it",
            snapshot.generation
        ));
    }
    Ok(())
}

/// The facts about this machine that some services need to start.
struct Here<'a> {
    layout: &'a Layout,
    config: &'a Config,
}

impl components::Found for Here<'_> {
    fn proxy_mode(&self) -> Result<Mode> {
        Ok(Probe::read(self.layout)?.proxy_mode)
    }

    fn divides_cgroup(&self) -> bool {
        delegated(&Machine::this()).is_ok()
    }

    fn pods_have_cgroups(&self) -> Result<bool> {
        Ok(Probe::read(self.layout)?.cgroups)
    }

    fn public_address(&self) -> Result<Ipv4Addr> {
        let configured = self.config.machines.address;
        Ok(configured.unwrap_or_else(|| flannel::outward_address(self.config.node_ip())))
    }

    fn signing_authority(&self) -> Result<String> {
        let file = self.layout.certificate(Credential::ClusterAuthority);
        Authority::of_file(&file).map(|authority| authority.first_pem())
    }

    fn etcd_member(&self) -> Result<Option<Joining>> {
        Ok(nodes::own_member(self.layout)?.map(|member| member.start))
    }

    fn capacity(&self) -> Result<Capacity> {
        capacity::capacity(self.layout)
    }
}

/// The generation that this program belongs to. A unit names the program by its absolute path in a generation, and the program
/// gets this path as its first argument.
fn generation_of_this_program() -> Result<PathBuf> {
    let program = env::args_os().next().map(PathBuf::from).unwrap_or_default();
    program
        .parent()
        .filter(|bin| program.is_absolute() && bin.ends_with("bin"))
        .and_then(Path::parent)
        .map(Path::to_owned)
        .ok_or_else(|| {
            Error::new(Kind::Usage, "`boot` was not started by a unit")
                .expected("the path of a generation's `bin/usernetes`")
                .found(format!("`{}`", program.display()))
                .hint("start the cluster with `usernetes start`")
        })
}

/// Writes configuration files and creates their directories. They are made from `config.toml` at every start, so they
/// always agree with it.
fn write_files(files: Vec<ConfigFile>) -> Result<()> {
    for (path, text) in files {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).at(directory)?;
        }
        write_atomically(&path, text.as_bytes())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_created_and_files_are_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        for text in ["one\n", "two\n"] {
            write_files(vec![(path.clone(), text.to_owned())]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1);
    }
}
