use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use fs_err as fs;
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use tempfile::TempDir;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::*;
use crate::config::{Role, Target};
use crate::layout::{Kubeconfig, MASTER};

/// 2027-01-01T00:00:00Z
const NOW: u64 = 1_798_761_600;

fn at(day: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW + day * 24 * 60 * 60)
}

fn member(text: &str) -> Member {
    text.parse().unwrap()
}

fn cluster(nodes: &[&str]) -> Cluster {
    Cluster {
        master: member("a=192.0.2.10"),
        nodes: nodes.iter().map(|node| member(node)).collect(),
        cidr: None,
        services: None,
        pods: None,
        machines: MachineFlags::default(),
    }
}

/// The directories of a cluster of three machines.
fn made() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki");
    let three = cluster(&["b=192.0.2.11", "c=192.0.2.12"]);
    init(&three, &pki, at(0)).unwrap();
    (dir, pki)
}

/// All files and directories below a directory, by relative path, with their permissions.
fn tree(dir: &Path) -> BTreeMap<String, u32> {
    let mut all = BTreeMap::new();
    let mut open = vec![dir.to_owned()];
    while let Some(next) = open.pop() {
        let mode = fs::metadata(&next).unwrap().permissions().mode() & 0o777;
        let name = next.strip_prefix(dir).unwrap().display().to_string();
        all.insert(name, mode);
        if next.is_dir() {
            open.extend(contents(&next).unwrap());
        }
    }
    all
}

fn der(file: &Path) -> CertificateDer<'static> {
    let text = fs::read(file).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&text).unwrap();
    pem.contents.into()
}

/// Whether a strict verifier accepts a certificate of this authority for this usage, some days later.
fn accepted(file: &Path, authority: &Path, usage: KeyUsage, day: u64) -> bool {
    let (authority, certificate) = (der(authority), der(file));
    let certificate = EndEntityCert::try_from(&certificate).unwrap();
    let time = UnixTime::since_unix_epoch(Duration::from_secs(NOW + day * 24 * 60 * 60));
    let anchors = [anchor_from_trusted_cert(&authority).unwrap()];
    let all = webpki::ALL_VERIFICATION_ALGS;
    certificate
        .verify_for_usage(all, &anchors, &[], time, usage, None, None)
        .is_ok()
}

#[test]
fn each_machine_has_a_directory_that_only_its_owner_reads() {
    let (dir, pki) = made();
    let tree = tree(&pki);
    for (name, mode) in &tree {
        let expected = if pki.join(name).is_dir() {
            0o700
        } else {
            0o600
        };
        assert_eq!(*mode, expected, "{name}");
    }
    let workers = tree.keys().filter(|name| !name.starts_with("a/"));
    let workers = workers.fold(String::new(), |mut text, name| {
        writeln!(text, "{name}").unwrap();
        text
    });
    insta::assert_snapshot!(workers.trim(), @"
    a
    b
    b/config.toml
    b/node
    b/node/ca.pem
    b/node/node-client-key.pem
    b/node/node-client.pem
    b/node/node-key.pem
    b/node/node.kubeconfig
    b/node/node.pem
    c
    c/config.toml
    c/node
    c/node/ca.pem
    c/node/node-client-key.pem
    c/node/node-client.pem
    c/node/node-key.pem
    c/node/node.kubeconfig
    c/node/node.pem
    ");
    assert!(!tree.contains_key(&format!("a/{}", pki::LOCK)));
    assert_eq!(contents(dir.path()).unwrap(), [pki]);
}

/// Otherwise `install` would make certificates that others do not know.
#[test]
fn the_control_plane_has_everything_it_needs() {
    let (_dir, pki) = made();
    let config = Config::read(&pki.join("a/config.toml")).unwrap();
    assert_eq!(config.machines.role, Role::ControlPlane);
    assert_eq!(config.address(), Ipv4Addr::new(192, 0, 2, 10));
    let request = pki_request(&config, &Machine::this());
    let left = pki::check(&pki.join("a"), &request, at(0)).unwrap();
    assert_eq!(left.made, []);
    let listed = pki::list(&pki.join("a"), &request, at(0)).unwrap();
    assert!(listed.iter().all(|one| one.problem.is_none()), "{listed:?}");
    assert!(pki.join("a/master/node-approver.pem").exists());
}

#[test]
fn a_workers_certificates_verify_for_their_use_at_its_address_only() {
    let (_dir, pki) = made();
    for (node, address) in [("b", "192.0.2.11"), ("c", "192.0.2.12")] {
        let file = |name: &str| pki.join(node).join("node").join(name);
        let authority = pki.join("a/master/ca.pem");
        assert_eq!(
            fs::read(file("ca.pem")).unwrap(),
            fs::read(&authority).unwrap()
        );
        let (client, server) = (KeyUsage::client_auth, KeyUsage::server_auth);
        for day in [0, 364] {
            assert!(accepted(
                &file("node-client.pem"),
                &authority,
                client(),
                day
            ));
            assert!(accepted(&file("node.pem"), &authority, server(), day));
        }
        assert!(!accepted(&file("node-client.pem"), &authority, server(), 0));
        assert!(!accepted(&file("node.pem"), &authority, client(), 0));
        assert!(!accepted(&file("node.pem"), &authority, server(), 366));
        let other = pki.join("a/master/etcd-ca.pem");
        assert!(!accepted(&file("node-client.pem"), &other, client(), 0));

        let serving = der(&file("node.pem"));
        let serving = EndEntityCert::try_from(&serving).unwrap();
        let is_for = |name: &str| {
            let name = ServerName::try_from(name.to_owned()).unwrap();
            serving.verify_is_valid_for_subject_name(&name).is_ok()
        };
        assert!(is_for(node) && is_for(address));
        assert!(!is_for("a") && !is_for("192.0.2.10") && !is_for("127.0.0.1"));
    }
}

#[test]
fn a_worker_finds_nothing_due_until_a_month_before_the_end() {
    let (_dir, pki) = made();
    let config = Config::read(&pki.join("b/config.toml")).unwrap();
    let node = &config.node_name;
    pki::check_node(&pki.join("b"), node, at(0)).unwrap();
    let late = pki::check_node(&pki.join("b"), node, at(400)).unwrap_err();
    assert!(late.message().contains("this certificate expired on"));
    let wanted = Some((node, IpAddr::V4(config.address())));
    for (file, wanted) in [("node-client.pem", None), ("node.pem", wanted)] {
        let text = fs::read_to_string(pki.join("b/node").join(file)).unwrap();
        let fault = |day| pki::node_fault(Some(&text), wanted, at(day)).unwrap();
        assert_eq!(fault(0), None);
        assert_eq!(fault(330), None);
        assert!(fault(340).is_some());
        assert_eq!(pki::node_of(&text).unwrap(), *node);
    }
}

#[test]
fn a_worker_knows_the_cluster() {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki");
    let mut cluster = cluster(&["b=192.0.2.11"]);
    cluster.services = Some("10.7.0.0/24".parse().unwrap());
    cluster.pods = Some("10.8.0.0/16".parse().unwrap());
    cluster.machines.mtu = Some(1400);
    cluster.machines.api_port = "7443".parse().ok();
    cluster.machines.vxlan_port = "8473".parse().ok();
    init(&cluster, &pki, at(0)).unwrap();
    let read = |name: &str| Config::read(&pki.join(name).join(CONFIG_FILE)).unwrap();
    let (a, b) = (read("a"), read("b"));
    assert_eq!((a.network, a.cni), (b.network, Cni::Flannel));
    assert_eq!(b.network.pods.to_string(), "10.8.0.0/16");
    assert_eq!(b.machines.role, Role::Worker);
    assert_eq!(b.start, Target::Node);
    assert_eq!(b.publish, []);
    assert_eq!(b.machines.endpoints, ["192.0.2.10:7443".parse().unwrap()]);
    assert_eq!((b.machines.mtu, a.machines.mtu), (1400, 1400));
    assert_eq!(b.machines.vxlan_port.get(), 8473);
    // The API server of another machine is reached through a forwarder.
    let kubeconfig = pki.join("b").join(Kubeconfig::Kubelet.file());
    let kubeconfig = fs::read_to_string(kubeconfig).unwrap();
    assert!(kubeconfig.contains("\"https://127.0.0.1:7443\""));
}

#[test]
fn no_file_for_a_worker_contains_a_key_of_the_control_plane() {
    let (_dir, pki) = made();
    let all = tree(&pki);
    let files: Vec<_> = all.keys().filter(|name| pki.join(name).is_file()).collect();
    let text = |name: &str| fs::read_to_string(pki.join(name)).unwrap();
    let master = format!("a/{MASTER}/");
    let keys: Vec<_> = files
        .iter()
        .filter(|name| name.starts_with(&master) && name.ends_with("-key.pem"))
        .collect();
    assert_eq!(keys.len(), 17);
    for key in keys {
        let body: String = text(key).lines().filter(|l| !l.starts_with('-')).collect();
        for name in files.iter().filter(|name| !name.starts_with("a/")) {
            let joined: String = text(name).lines().collect();
            assert!(!joined.contains(&body), "{key} in {name}");
            assert!(
                !joined.contains(&BASE64.encode(text(key))),
                "{key} in {name}"
            );
        }
    }
}

#[test]
fn a_directory_that_exists_is_refused_and_stays() {
    let (dir, pki) = made();
    let before = tree(&pki);
    let one = cluster(&["b=192.0.2.11"]);
    let error = init(&one, &pki, at(0)).unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    let error = error
        .to_string()
        .replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(error, @"
    DIR/pki: exists already
      expected  a directory that does not exist yet

    hint: name another one; to make other certificates for the same machines, remove it first, with its keys
    ");
    assert_eq!(tree(&pki), before);
    let lost = dir.path().join("none/pki");
    let error = init(&one, &lost, at(0)).unwrap_err().to_string();
    assert!(error.contains("none: no such directory"), "{error}");
}

#[test]
fn nothing_is_left_of_a_directory_whose_making_failed() {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki");
    // The clock of a machine that was never set.
    let error = init(&cluster(&["b=192.0.2.11"]), &pki, UNIX_EPOCH).unwrap_err();
    assert_eq!(error.message(), "this machine's clock is wrong");
    assert_eq!(contents(dir.path()).unwrap(), Vec::<PathBuf>::new());
    // What a run that was killed has left is no obstacle.
    fs::create_dir_all(temporary(&pki).join("a/master")).unwrap();
    init(&cluster(&["b=192.0.2.11"]), &pki, at(0)).unwrap();
    assert_eq!(contents(dir.path()).unwrap(), [pki]);
}

#[test]
fn machines_that_do_not_go_together_are_refused() {
    let refused = |nodes: &[&str]| {
        let dir = tempfile::tempdir().unwrap();
        let error = init(&cluster(nodes), &dir.path().join("pki"), at(0)).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert_eq!(contents(dir.path()).unwrap(), Vec::<PathBuf>::new());
        error.to_string()
    };
    let errors = [
        refused(&["b=192.0.2.11", "b=192.0.2.12"]),
        refused(&["a=192.0.2.11"]),
        refused(&["b=192.0.2.11", "c=192.0.2.11"]),
        refused(&["b=10.5.0.1"]),
        refused(&["b=127.0.0.1"]),
    ];
    insta::assert_snapshot!(errors.join("\n\n"), @"
    two machines have the name `b`
      found  `--node b=192.0.2.11` and `--node b=192.0.2.12`

    hint: give each machine its own name; the machine of `--master` runs pods, too, and needs no `--node`

    two machines have the name `a`
      found  `--master a=192.0.2.10` and `--node a=192.0.2.11`

    hint: give each machine its own name; the machine of `--master` runs pods, too, and needs no `--node`

    `b` and `c` have the same address
      found  `192.0.2.11`

    hint: name the address of each machine at which the others reach it

    the address of `b` is inside `--pods`
      found  `10.5.0.1` and `10.5.0.0/16`

    hint: choose another network for `--pods`

    the address of `b` is not an address at which other machines reach this one
      expected  an IPv4 address of this machine in the network of the others
      found     `127.0.0.1`
    ");
}

#[test]
fn a_machine_is_a_name_and_an_address() {
    assert_eq!(
        member("node-1.example=192.0.2.1").name.as_str(),
        "node-1.example"
    );
    let refused = |text: &str| text.parse::<Member>().unwrap_err().to_string();
    insta::assert_snapshot!([refused("b"), refused("b=c"), refused("B=192.0.2.1"), refused("../b=192.0.2.1")].join("\n\n"), @r#"
    "b" has no address
      expected  NAME=ADDRESS, with the IPv4 address at which the others reach the machine, for example `b=192.168.1.11`

    bad address "c"
      expected  NAME=ADDRESS, with the IPv4 address at which the others reach the machine, for example `b=192.168.1.11`

    bad name "B"
      expected  at most 63 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit
      found     the capital letter `B`

    bad name "../b"
      expected  at most 63 lower-case letters, digits, `-` and `.`, beginning and ending with a letter or digit
      found     an empty label
    "#);
}
