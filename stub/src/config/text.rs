//! The file's text, with a comment for every key.

use std::fmt::Write as _;

use super::{Backups, Config, Machines, Network, Resources};

impl Config {
    /// The file's text. Every value has been checked and contains no character that TOML would escape.
    #[must_use]
    pub fn to_text(&self) -> String {
        let Self {
            schema,
            cri,
            cni,
            node_name,
            cluster_domain,
            publish,
            publish_services,
            without,
            start,
            network,
            resources,
            machines,
            backup,
        } = self;
        let mut ports = String::new();
        for port in publish {
            let _ = writeln!(ports, "    \"{port}\",");
        }
        let without: Vec<_> = without.iter().map(|addon| format!("\"{addon}\"")).collect();
        let without = without.join(", ");
        let Resources {
            memory,
            cpus,
            cpu_weight,
            pod_pids,
        } = resources;
        let (network, machines) = (network.text(), machines.text());
        let Backups {
            schedule,
            keep,
            dir,
        } = backup;
        format!(
            r#"# Usernetes: the configuration of this cluster, written by `usernetes install` from its flags.
# After a change, run `usernetes install` without flags: it keeps these settings and updates dependent files.
# A key that is missing has its default.

# The version of this file's format.
schema = {schema}

# The container runtime: "containerd", "crio", or "" for a control plane that runs no pods.
cri = "{cri}"

# How pods are connected: "bridge" on one machine, "flannel" (VXLAN) across machines.
cni = "{cni}"

# The name of this machine in the cluster. Its certificates carry it.
node_name = "{node_name}"

# The domain of service names: `kubernetes.default.svc.<domain>`.
cluster_domain = "{cluster_domain}"

# Ports of this host that lead into the cluster, as HOST-IP:PORT:CHILD-PORT/PROTOCOL. 6443 is the API server.
# They lead to the cluster's own address (below, .100), or to CHILD-IP in HOST-IP:PORT:CHILD-IP:CHILD-PORT/PROTOCOL.
publish = [
{ports}]

# The address at which NodePort and LoadBalancer services and the host ports of pods reach this host by themselves, for
# example "0.0.0.0" for all its addresses; or "" for none.
publish_services = "{publish_services}"

# What the cluster does without: "storage" is the default storage class, "metrics" is for `kubectl top`.
without = [{without}]

# The target that starts when you log in, or at boot with lingering: "u7s.target", "u7s-master-with-etcd.target",
# "u7s-master.target", "u7s-etcd.target", "u7s-node.target", or "" for none.
start = "{start}"

{network}
# How much of this machine the whole cluster may use, the control plane and all pods together. Pods get what the control
# plane does not need. One that takes more is ended; the control plane goes on.
[resources]
# Memory: an amount, for example "12GiB"; a part of this machine's memory, for example "75%"; or "" for all of it.
memory = "{memory}"

# Processors: a number, for example "4" or "2.5"; or "" for all of them.
cpus = "{cpus}"

# The cluster's share of the processors while your other programs want them, too; those have 100. From 1 to 10000.
cpu_weight = {cpu_weight}

# How many processes and threads one pod may have.
pod_pids = {pod_pids}

# Backups that are made by themselves while the cluster runs. Each is read again before older ones are removed.
[backup]
# When: "hourly", "daily", "weekly", "monthly", a calendar event of systemd such as "Mon..Fri *-*-* 03:00", or "" for never.
schedule = "{schedule}"

# How many are kept.
keep = {keep}

# The directory, an absolute path, best on another disk; or "" for `backups` beside the cluster's data, where
# `uninstall --purge` removes them.
dir = "{dir}"
{machines}"#
        )
    }
}

impl Network {
    fn text(&self) -> String {
        let Network {
            rootlesskit,
            services,
            pods,
            dns,
            driver,
            mtu,
        } = self;
        format!(
            r#"# IPv4 networks. They must not overlap each other nor any network this machine has a route to.
[network]
# Between the host and the cluster: .2 is the host, .3 its name server, .100 the cluster. No smaller than /25.
rootlesskit = "{rootlesskit}"

# Service addresses: .1 is the API server. No smaller than /26.
services = "{services}"

# The address of the cluster's name server, as its number in `services`: 10 is 10.0.0.10 in 10.0.0.0/24. It is 53 if this
# key is missing, as in earlier releases. Pods remember it, so it is fixed once the cluster has data.
dns = {dns}

# Pod addresses. No smaller than /25 with the bridge, /22 with flannel.
pods = "{pods}"

# How the cluster reaches this machine's network: "slirp4netns", or "pasta", which this machine must have. `install` tries pasta
# before it is used.
driver = "{driver}"

# The largest packet, in bytes, between the host and the cluster. Large ones are fast, whatever the network outside carries.
# From `mtu` in `[machines]` to 65520.
mtu = {mtu}
"#
        )
    }
}

impl Machines {
    /// The file's table about this machine among others.
    fn text(&self) -> String {
        let Machines {
            role,
            address,
            endpoints,
            mtu,
            api_port,
            kubelet_port,
            vxlan_port,
            several_control_planes,
        } = self;
        let address = address.map_or_else(String::new, |address| address.to_string());
        let endpoints: Vec<_> = endpoints.iter().map(|e| format!("\"{e}\"")).collect();
        let endpoints = endpoints.join(", ");
        format!(
            r#"
# This machine among the machines of the cluster. See "Several machines" in the README.
[machines]
# "control-plane", or "worker" for a machine that `usernetes join` has made part of another machine's cluster.
role = "{role}"

# The address of this machine at which the others reach it, or "" for a cluster of one machine. With it, other machines can
# join: they need the three ports below at this address.
address = "{address}"

# For a worker: the API servers, as ADDRESS:PORT. When it runs, it learns of further ones by itself.
endpoints = [{endpoints}]

# The largest packet, in bytes, that the network between the machines carries whole.
mtu = {mtu}

# The ports of the API server (TCP), the kubelet (TCP) and the pod network (UDP). The last one is the same on all machines.
api_port = {api_port}
kubelet_port = {kubelet_port}
vxlan_port = {vxlan_port}

# Whether other control planes stand beside this one, or may do so. `usernetes token create --control-plane` sets it: etcd can
# be reached at 2379 and 2380 of the address then, with a certificate of its authority.
several_control_planes = {several_control_planes}
"#
        )
    }
}
