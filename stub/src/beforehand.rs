//! `pki init`: the certificates of all machines of a cluster are made in one place, before any of them is installed.
//!
//! Each machine has a directory of its own, with what is in its configuration directory later: `config.toml`, and the files of
//! its identity. The one of the machine with the control plane has the authorities and their keys. The others have what a
//! machine has that has joined with a token, and no key of an authority. `install --pki` uses such a directory.

#[cfg(test)]
mod tests;

use std::fs::Permissions;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::str::FromStr;
use std::time::SystemTime;

use crate::cidr::Cidr;
use crate::cluster::pki_request;
use crate::config::{Cni, Config, DnsName, Setting};
use crate::error::{Error, Kind, Result};
use crate::files::{
    contents, private_directory, remove_if_there, remove_tree, replace, sync_parent, temporary,
};
use crate::host::Machine;
use crate::install::MachineFlags;
use crate::layout::{CONFIG_FILE, Credential};
use crate::nodes::Files;
use crate::pki::{self, Authority, Renew};

/// A machine of the cluster, as on the command line: `NAME=ADDRESS`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its name in the cluster.
    pub name: DnsName,
    /// The address at which the other machines reach it.
    pub address: Ipv4Addr,
}

impl FromStr for Member {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |what: String| {
            Error::new(Kind::Usage, what)
                .expected("NAME=ADDRESS, with the IPv4 address at which the others reach the machine, for example `b=192.168.1.11`")
        };
        let Some((name, address)) = text.split_once('=') else {
            return Err(wrong(format!("{text:?} has no address")));
        };
        let parsed = address.parse();
        Ok(Self {
            name: DnsName::new(name)?,
            address: parsed.map_err(|_| wrong(format!("bad address {address:?}")))?,
        })
    }
}

/// A cluster that is to be.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The machine with the control plane.
    pub master: Member,
    /// The workers.
    pub nodes: Vec<Member>,
    /// The network between each machine and the cluster; `None` for the usual one, as with the other two.
    pub cidr: Option<Cidr>,
    /// The network of services.
    pub services: Option<Cidr>,
    /// The network of pods.
    pub pods: Option<Cidr>,
    /// Ports and the size of packets. The address in it is not used.
    pub machines: MachineFlags,
}

impl Cluster {
    /// The configurations of the control plane and of the workers.
    fn configurations(&self) -> Result<(Config, Vec<Config>)> {
        self.refuse_same()?;
        let mut master = Config::new(self.master.name.clone(), Cni::Flannel);
        let network = &mut master.network;
        network.rootlesskit = self.cidr.unwrap_or(network.rootlesskit);
        network.services = self.services.unwrap_or(network.services);
        network.pods = self.pods.unwrap_or(network.pods);
        self.machines.apply(&mut master);
        master.machines.address = Some(self.master.address);
        let endpoint = SocketAddrV4::new(self.master.address, master.machines.api_port.get());
        let workers = self.nodes.iter().map(|node| {
            let mut worker = master.clone();
            worker.node_name.clone_from(&node.name);
            worker.machines.address = Some(node.address);
            worker.become_worker(vec![endpoint]);
            worker
        });
        let workers: Vec<_> = workers.collect();
        for config in iter::once(&master).chain(&workers) {
            config.check_as(Kind::Usage, |setting| name(setting, &config.node_name))?;
        }
        Ok((master, workers))
    }

    /// Fails if two machines have the same name or the same address.
    fn refuse_same(&self) -> Result<()> {
        let master = (&self.master, "--master");
        let mut seen = vec![master];
        for node in &self.nodes {
            let name = seen.iter().find(|(other, _)| other.name == node.name);
            if let Some((other, flag)) = name {
                return Err(Error::new(
                    Kind::Usage,
                    format!("two machines have the name `{}`", node.name),
                )
                .found(format!(
                    "`{flag} {0}={1}` and `--node {0}={2}`",
                    node.name, other.address, node.address
                ))
                .hint("give each machine its own name; the machine of `--master` runs pods, too, and needs no `--node`"));
            }
            let address = seen.iter().find(|(other, _)| other.address == node.address);
            if let Some((other, _)) = address {
                return Err(Error::new(
                    Kind::Usage,
                    format!("`{}` and `{}` have the same address", other.name, node.name),
                )
                .found(format!("`{}`", node.address))
                .hint("name the address of each machine at which the others reach it"));
            }
            seen.push((node, "--node"));
        }
        Ok(())
    }
}

/// A setting for the user: its option, or else its key in `config.toml`.
fn name(setting: Setting, node: &DnsName) -> String {
    let option = match setting {
        Setting::Address => return format!("the address of `{node}`"),
        Setting::Rootlesskit => "--cidr",
        Setting::Services => "--services",
        Setting::Pods => "--pods",
        Setting::Mtu => "--mtu",
        Setting::ApiPort => "--api-port",
        Setting::KubeletPort => "--kubelet-port",
        Setting::VxlanPort => "--vxlan-port",
        other => other.key(),
    };
    format!("`{option}`")
}

/// Makes the directories of all machines in the new directory `dir`. Afterwards they are on disk, and nobody but their owner
/// may read anything in them. If anything fails, there is no `dir`.
pub fn init(cluster: &Cluster, dir: &Path, now: SystemTime) -> Result<()> {
    let (master, workers) = cluster.configurations()?;
    check_new(dir)?;
    let new = temporary(dir);
    // An interrupted run may have left it behind.
    remove_tree(&new)?;
    let made = make(&master, &workers, &new, now).and_then(|()| Ok(fs_err::rename(&new, dir)?));
    if made.is_err() {
        let _ = remove_tree(&new);
    }
    made?;
    sync_parent(dir)
}

/// Fails unless the directory can be made.
fn check_new(dir: &Path) -> Result<()> {
    if dir.symlink_metadata().is_ok() || dir.file_name().is_none() {
        return Err(Error::new(Kind::Usage, format!("{}: exists already", dir.display()))
            .expected("a directory that does not exist yet")
            .hint("name another one; to make other certificates for the same machines, remove it first, with its keys"));
    }
    let parent = dir.parent().filter(|dir| !dir.as_os_str().is_empty());
    match parent {
        Some(parent) if !parent.is_dir() => Err(Error::new(
            Kind::Usage,
            format!("{}: no such directory", parent.display()),
        )
        .hint("make it first")),
        _ => Ok(()),
    }
}

fn make(master: &Config, workers: &[Config], dir: &Path, now: SystemTime) -> Result<()> {
    private_directory(dir)?;
    let founder = dir.join(master.node_name.as_str());
    // Only its addresses would be asked for, and this may be another machine; the configuration has no use for them.
    let request = pki_request(master, &Machine::this());
    pki::ensure(&founder, &request, Renew::Due, now)?;
    remove_if_there(&founder.join(pki::LOCK))?;
    write(master, &founder)?;
    let authority = Authority::of_file(&founder.join(Credential::NodeAuthority.certificate()))?;
    for worker in workers {
        let home = dir.join(worker.node_name.as_str());
        let files = Files::of(&home, worker);
        files.directories()?;
        files.authority(&authority.pem())?;
        let (node, address) = (&worker.node_name, IpAddr::V4(worker.address()));
        for issued in pki::issue_for_node(&founder, node, address, now)? {
            files.certificate(issued.credential, Some(&issued.key), &issued.certificate)?;
        }
        files.kubeconfig()?;
        write(worker, &home)?;
    }
    keep_private(dir)
}

fn write(config: &Config, home: &Path) -> Result<()> {
    replace(&home.join(CONFIG_FILE), config.to_text().as_bytes(), 0o600)
}

/// Lets nobody but the owner read any file below a directory. Somebody copies it, and the copy of the directory may be open.
fn keep_private(dir: &Path) -> Result<()> {
    for path in contents(dir)? {
        if path.is_dir() {
            keep_private(&path)?;
        } else {
            fs_err::set_permissions(&path, Permissions::from_mode(0o600))?;
        }
    }
    Ok(())
}
