//! What the units run: each brings one component up in RootlessKit's namespaces and then is that component.
//!
//! [`rootlesskit`] makes the namespaces; its child, [`child`], prepares their inside and runs the container runtime.
//! Everything else enters the namespaces that are there ([`namespaces`]).

mod apiserver;
mod child;
mod cri;
mod flannel;
mod mounts;
mod network;
mod oci_runtime;
mod pods;
mod probe;
mod rootlesskit;

use std::env;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use fs_err as fs;

use crate::cluster;
use crate::components;
use crate::components::kube_proxy::Mode;
use crate::config::Config;
use crate::error::{Error, Kind, Result};
use crate::files::write_atomically;
use crate::host::{Machine, delegated};
use crate::images;
use crate::layout::Layout;
use crate::manager;
use crate::paths::At as _;
use crate::process::{command, namespaces, supervised};
use crate::render::ConfigFile;
use crate::services::{Namespaces, Service};

pub use oci_runtime::as_oci_runtime;
pub use probe::Probe;

/// What RootlessKit runs inside the namespaces, as an argument of `boot`.
const CHILD: &str = "rootlesskit-child";

/// Tells that program that the cgroup RootlessKit was started in cannot be divided. Inside, nothing would tell it.
const NO_CGROUPS: &str = "USERNETES_NO_CGROUPS";

/// Becomes the component of this name. Returns its exit code if it had to be a child of this process.
pub fn run(component: &str) -> Result<u8> {
    let layout = Layout::of_user(generation_of_this_program()?)?;
    let config = cluster::applied(&layout)?;
    if component == CHILD {
        return child::run(&layout, &config);
    }
    let service = Service::named(component).ok_or_else(|| {
        let names: Vec<_> = Service::all().map(Service::as_str).collect();
        Error::new(Kind::Usage, format!("there is no component `{component}`"))
            .expected(names.join(", "))
    })?;
    if !supervised::begin()? && manager::is_claimed(&layout.data("")) {
        return Err(manager::runs(&layout.data("")));
    }
    match service {
        Service::Rootlesskit => rootlesskit::run(&layout, &config),
        Service::Flanneld => flannel::run(&layout, &config),
        _ => run_service(service, &layout, &config),
    }
}

/// Runs a service as its row in the table of services says.
fn run_service(service: Service, layout: &Layout, config: &Config) -> Result<u8> {
    let row = service.row();
    let start = components::start(service, layout, config, &Here(layout))?;
    write_files(start.files)?;
    if row.after_images {
        images::wait_loaded(layout)?;
    }
    let namespaces = row.namespaces.unwrap_or(Namespaces::All);
    namespaces::join(layout, namespaces)?;
    // A worker has no API server of its own.
    if let Some(certificate) = row.after_api
        && layout.master("kube-apiserver.pem").exists()
    {
        apiserver::wait_ready(layout, &layout.config().join(certificate))?;
    }
    namespaces::run_joined(namespaces, command(layout, start.args))
}

/// What the services' command lines depend on, found out on this machine.
struct Here<'a>(&'a Layout);

impl components::Found for Here<'_> {
    fn proxy_mode(&self) -> Result<Mode> {
        Ok(Probe::read(self.0)?.proxy_mode)
    }

    fn divides_cgroup(&self) -> bool {
        delegated(&Machine::this()).is_ok()
    }

    fn pods_have_cgroups(&self) -> Result<bool> {
        Ok(Probe::read(self.0)?.cgroups)
    }

    fn public_address(&self) -> Result<Ipv4Addr> {
        flannel::outward_address()
    }
}

/// A unit names the program of its own generation, absolutely, which is the first thing a program is told.
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

/// Writes configuration files, making their directories. They come from `config.toml` at every start, so they never
/// differ from it.
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
    fn files_are_replaced_with_their_directories() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/file");
        for text in ["one\n", "two\n"] {
            write_files(vec![(path.clone(), text.to_owned())]).unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        assert_eq!(fs::read_dir(dir.path().join("a/b")).unwrap().count(), 1);
    }
}
