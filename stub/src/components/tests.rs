//! Snapshots of every command line and every configuration file.

use std::net::Ipv4Addr;

use super::*;
use crate::config::{Cni, Config, Cri, DnsName, NetworkDriver};
use crate::layout::Credential;
use crate::layout::tests::example as layout;
use crate::network;
use crate::render::json;
use containerd::Snapshotter;

fn config(cni: Cni) -> Config {
    Config::new(DnsName::new("node-1").unwrap(), cni)
}

fn lines(args: &[String]) -> String {
    args.join("\n")
}

fn text(files: &[ConfigFile]) -> String {
    let file = |(path, text): &ConfigFile| format!("==> {}\n{text}", path.display());
    files.iter().map(file).collect::<Vec<_>>().join("\n")
}

/// A machine with 16 GiB of memory, a disk of 200 GiB and no limits above ours.
const MACHINE: kubelet::Capacity = kubelet::Capacity {
    memory: 16 << 30,
    memory_limit: None,
    cpus: 8,
    pids: 127_000,
    pids_limit: Some(42_000),
    disk: 200 << 30,
    inodes: 13_000_000,
};

const PAUSE: &str = "registry.k8s.io/pause:3.10.1";

#[test]
fn command_lines() {
    let (layout, config) = (layout(), config(Cni::Bridge));
    insta::assert_snapshot!("etcd-args", lines(&etcd::args(&layout, &config, None)));
    insta::assert_snapshot!(
        "kube-apiserver-args",
        lines(&kube_apiserver::args(&layout, &config))
    );
    insta::assert_snapshot!(
        "kube-controller-manager-args",
        lines(&kube_controller_manager::args(&layout, &config))
    );
    insta::assert_snapshot!(
        "kube-scheduler-args",
        lines(&kube_scheduler::args(&layout, &config))
    );
    insta::assert_snapshot!("kubelet-args", lines(&kubelet::args(&layout, &config)));
    insta::assert_snapshot!("kube-proxy-args", lines(&kube_proxy::args(&layout)));
    insta::assert_snapshot!(
        "rootlesskit-args",
        lines(&rootlesskit::args(&layout, &config, true))
    );
    insta::assert_snapshot!("containerd-args", lines(&containerd::args(&layout)));
    insta::assert_snapshot!(
        "containerd-fuse-args",
        lines(&containerd::fuse_args(&layout))
    );
    insta::assert_snapshot!("crio-args", lines(&crio::args(&layout)));
    let ip = Ipv4Addr::new(192, 0, 2, 7);
    insta::assert_snapshot!(
        "flanneld-args",
        lines(&flannel::args(&layout, ip, Kubeconfig::Flannel))
    );
}

/// RootlessKit gets the same network from pasta, which has its sandbox always.
#[test]
fn pasta_takes_the_place_of_slirp4netns() {
    let (layout, mut config) = (layout(), config(Cni::Bridge));
    let usual = rootlesskit::args(&layout, &config, true);
    config.network.driver = NetworkDriver::Pasta;
    config.network.mtu = 9000;
    let args = rootlesskit::args(&layout, &config, true);
    let only = |own: &[String], other: &[String]| {
        let own = own.iter().filter(|arg| !other.contains(arg));
        own.cloned().collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(only(&args, &usual), @r"
    --slirp4netns-binary=/run/user/1001/usernetes/pasta-as-slirp4netns
    --mtu=9000
    ");
    insta::assert_snapshot!(only(&usual, &args), @r"
    --slirp4netns-binary=/home/u/.local/share/usernetes/generations/1/bin/slirp4netns
    --slirp4netns-sandbox=true
    --slirp4netns-seccomp=true
    --mtu=65520
    ");
}

/// What changes on the command lines if there are several control planes.
#[test]
fn several_control_planes() {
    let (layout, one) = (layout(), config(Cni::Flannel));
    let mut several = one.clone();
    several.machines.address = Some(Ipv4Addr::new(192, 0, 2, 7));
    several.machines.several_control_planes = true;
    let joining = etcd::Joining {
        name: "u7s-b".to_owned(),
        initial_cluster: "u7s=https://192.0.2.1:2380,u7s-b=https://192.0.2.7:2380".to_owned(),
    };
    let pairs = [
        (
            etcd::args(&layout, &one, None),
            etcd::args(&layout, &several, None),
        ),
        (
            etcd::args(&layout, &several, None),
            etcd::args(&layout, &several, Some(&joining)),
        ),
        (
            kube_scheduler::args(&layout, &one),
            kube_scheduler::args(&layout, &several),
        ),
    ];
    let new = pairs.map(|(before, after)| {
        let new: Vec<_> = after.into_iter().filter(|a| !before.contains(a)).collect();
        lines(&new)
    });
    insta::assert_snapshot!(new.join("\n\n"), @r"
    --advertise-client-urls=https://192.0.2.7:2379
    --initial-advertise-peer-urls=https://192.0.2.7:2380
    --initial-cluster=u7s=https://192.0.2.7:2380
    --heartbeat-interval=300
    --election-timeout=3000

    --name=u7s-b
    --initial-cluster=u7s=https://192.0.2.1:2380,u7s-b=https://192.0.2.7:2380
    --initial-cluster-state=existing

    --leader-elect=true
    ");
    assert_eq!(
        Service::Flanneld.kubeconfig(&several),
        Some(Kubeconfig::Kubelet)
    );
}

/// Where no cgroup can be divided, nobody tries to.
#[test]
fn without_cgroups() {
    let (layout, config) = (layout(), config(Cni::Bridge));
    let args = rootlesskit::args(&layout, &config, false);
    assert!(!lines(&args).contains("cgroup2"), "{args:?}");
    let kubelet = text(&kubelet::files(&layout, &config, &MACHINE, false));
    assert!(kubelet.contains(r#""cgroupsPerQOS": false"#), "{kubelet}");
    let containerd = text(&containerd::files(
        &layout,
        Snapshotter::Overlayfs,
        PAUSE,
        false,
    ));
    assert!(containerd.contains("disable_cgroup = true"), "{containerd}");
    assert!(
        containerd.contains("usernetes/oci-runtime-without-cgroups"),
        "{containerd}"
    );
}

#[test]
fn the_controller_manager_assigns_pod_networks_only_with_flannel() {
    let args = kube_controller_manager::args(&layout(), &config(Cni::Flannel));
    let bridge = kube_controller_manager::args(&layout(), &config(Cni::Bridge));
    let more: Vec<_> = args.into_iter().filter(|a| !bridge.contains(a)).collect();
    insta::assert_snapshot!(lines(&more), @r"
    --allocate-node-cidrs=true
    --cluster-cidr=10.5.0.0/16
    --service-cluster-ip-range=10.0.0.0/24
    ");
}

#[test]
fn configuration_files() {
    let (layout, config) = (layout(), config(Cni::Bridge));
    let kernel = Snapshotter::Overlayfs;
    let fuse = Snapshotter::FuseOverlayfs;
    let images = crio::Images {
        pause: PAUSE,
        pinned: &[PAUSE.to_owned(), "registry.k8s.io/dns:1".to_owned()],
        port: 40000,
        repositories: ["registry.k8s.io/dns", "registry.k8s.io/pause"]
            .map(str::to_owned)
            .into(),
    };
    insta::assert_snapshot!(
        "containerd",
        text(&containerd::files(&layout, kernel, PAUSE, true))
    );
    insta::assert_snapshot!(
        "containerd-fuse",
        text(&containerd::files(&layout, fuse, PAUSE, true))
    );
    insta::assert_snapshot!("crio", text(&crio::files(&layout, kernel, &images)));
    insta::assert_snapshot!(
        "kubelet",
        text(&kubelet::files(&layout, &config, &MACHINE, true))
    );
    let iptables = kube_proxy::files(
        &layout,
        &config,
        kube_proxy::Mode::Iptables,
        Kubeconfig::KubeProxy,
    );
    insta::assert_snapshot!("kube-proxy", text(&iptables));
    insta::assert_snapshot!(
        "cni-bridge",
        text(&[network::at_start(&config).unwrap().file()])
    );
    insta::assert_snapshot!(
        "coredns",
        json(&coredns::objects(
            &config,
            "registry.k8s.io/coredns/coredns:v1.13.1"
        ))
    );
    let mut storage = local_path::objects("docker.io/rancher/local-path-provisioner:v0.0.36");
    storage.push(local_path::class());
    insta::assert_snapshot!("local-path", json(&storage));
    let tls = metrics_server::Tls {
        certificate: "certificate".to_owned(),
        key: "key".to_owned(),
        authority: "authority".to_owned(),
    };
    let image = "registry.k8s.io/metrics-server/metrics-server:v0.8.1";
    let metrics = json(&metrics_server::objects(image, &tls));
    assert!(!metrics.to_lowercase().contains("insecure"), "{metrics}");
    insta::assert_snapshot!("metrics-server", metrics);
    insta::assert_snapshot!("rbac-bridge", json(&rbac::objects(&config)));
}

#[test]
fn there_is_a_runtime_class_for_each_oci_runtime() {
    let mut config = config(Cni::Bridge);
    let mut names = |cri| {
        config.cri = cri;
        let objects = runtime_class::objects(&config);
        let handlers = objects
            .iter()
            .map(|object| object["handler"].as_str().unwrap().to_owned());
        handlers.collect::<Vec<_>>().join(" ")
    };
    let all = [Cri::Containerd, Cri::Crio, Cri::None].map(&mut names);
    assert_eq!(all, ["crun runc", "crun", ""]);
    // Both container runtimes know all of them by these names.
    let layout = layout();
    let (_, containerd) = containerd::files(&layout, Snapshotter::Overlayfs, PAUSE, true).remove(0);
    let (_, crio) =
        crio::files(&layout, Snapshotter::Overlayfs, &crio::Images::default()).remove(0);
    for (text, path, names) in [
        (
            containerd,
            "plugins/io.containerd.cri.v1.runtime/containerd/runtimes",
            "crun runc",
        ),
        (crio, "crio/runtime/runtimes", "crun"),
    ] {
        let table: ::toml::Value = ::toml::from_str(&text).unwrap();
        let runtimes = path.split('/').fold(&table, |table, key| &table[key]);
        let known: Vec<_> = runtimes
            .as_table()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        assert_eq!(known.join(" "), names);
    }
}

#[test]
fn configuration_files_with_flannel() {
    let (layout, config) = (layout(), config(Cni::Flannel));
    assert_eq!(network::at_start(&config), None);
    insta::assert_snapshot!("flannel", text(&flannel::files(&layout, &config)));
    insta::assert_snapshot!("rbac-flannel", json(&rbac::objects(&config)));
}

#[test]
fn configuration_files_follow_the_choices_of_runtime_and_modes() {
    let (layout, mut config) = (layout(), config(Cni::Bridge));
    let nftables = text(&kube_proxy::files(
        &layout,
        &config,
        kube_proxy::Mode::Nftables,
        Kubeconfig::KubeProxy,
    ));
    assert!(nftables.contains(r#""mode": "nftables""#), "{nftables}");
    let storage = text(&crio::files(
        &layout,
        Snapshotter::FuseOverlayfs,
        &crio::Images::default(),
    ));
    assert!(storage.contains("mount_program = "), "{storage}");
    config.cri = Cri::Crio;
    let kubelet = text(&kubelet::files(&layout, &config, &MACHINE, true));
    assert!(
        kubelet.contains("unix:///run/user/1001/usernetes/crio/crio.sock"),
        "{kubelet}"
    );
}

/// The kernel allows 107 bytes for the path of a socket.
#[test]
fn paths_of_sockets_stay_short_in_a_home_with_a_long_path() {
    let home = format!("/home/{}", "h".repeat(200));
    let long = Layout::new(
        format!("{home}/.config/usernetes").into(),
        format!("{home}/.local/share/usernetes").into(),
        "/run/user/4294967295/usernetes".into(),
        format!("{home}/.local/share/usernetes/generations/1").into(),
    )
    .unwrap();
    let root = kubelet::args(&long, &config(Cni::Bridge));
    assert!(root.contains(&"--root-dir=/var/lib/kubelet".to_owned()));
    for socket in sockets(&long) {
        assert!(socket.as_os_str().len() <= 107, "{}", socket.display());
    }
    let mut files = crio::files(&long, Snapshotter::Overlayfs, &crio::Images::default());
    files.extend(containerd::files(
        &long,
        Snapshotter::FuseOverlayfs,
        PAUSE,
        true,
    ));
    files.extend(kubelet::files(&long, &config(Cni::Bridge), &MACHINE, true));
    for (_, text) in files {
        let words = text.split(['"', '\'']);
        for socket in words.filter(|word| Path::new(word).extension() == Some("sock".as_ref())) {
            assert!(!socket.contains(&home), "{socket}");
        }
    }
}

/// A home with spaces, quotes and percent signs in its path must not break the configuration files.
#[test]
fn parsers_read_odd_paths_unchanged() {
    let odd = Layout::new(
        "/home/a b\"c%h$x/.config/usernetes".into(),
        "/home/a b\"c%h$x/.local/share/usernetes".into(),
        "/run/user/1001/usernetes".into(),
        "/home/a b\"c%h$x/.local/share/usernetes/generations/1".into(),
    )
    .unwrap();
    let (_, toml) = containerd::files(&odd, Snapshotter::Overlayfs, PAUSE, true).remove(0);
    let table: ::toml::Table = toml.parse().unwrap();
    assert_eq!(table["root"].as_str(), odd.data("containerd").to_str());
    let (_, json) = kubelet::files(&odd, &config(Cni::Bridge), &MACHINE, true).remove(0);
    let value: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(
        value["tlsCertFile"].as_str(),
        odd.certificate(Credential::Kubelet).to_str()
    );
}
