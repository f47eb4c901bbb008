//! Tests of the whole PKI, in a temporary directory and at a fixed time.

mod existing;
mod refusals;
mod renewal;
mod rotation;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use tempfile::TempDir;
use webpki::{EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::identity::{Authority, leaves};
use super::*;

/// 2027-01-01T00:00:00Z. The certificates in the test data are valid then.
const NOW: u64 = 1_798_761_600;

fn at(day: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW + day * 24 * 60 * 60)
}

fn request() -> Request {
    Request {
        node_name: "host".parse().unwrap(),
        cluster_domain: "cluster.local".parse().unwrap(),
        service_ip: Ipv4Addr::new(10, 0, 0, 1).into(),
        child_ip: Ipv4Addr::new(10, 0, 42, 100).into(),
        address: None,
        extra_sans: vec!["192.0.2.7".to_owned(), "k8s.example.org".to_owned()],
        api_port: 6443,
        component_server: ([10, 0, 42, 100], 6443).into(),
    }
}

/// Makes a PKI in a new directory.
fn fresh() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap();
    dir
}

/// The contents of every file in both directories of a PKI, by relative path.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for sub in [MASTER, NODE] {
        let Ok(entries) = fs_err::read_dir(dir.join(sub)) else {
            continue;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            files.insert(name, fs_err::read(&path).unwrap());
        }
    }
    files
}

/// The names of the files that were written, with the reasons.
fn made(report: &Ensured) -> String {
    report.made.iter().fold(String::new(), |mut text, m| {
        writeln!(text, "{}: {}", m.file.display(), m.reason).unwrap();
        text
    })
}

fn der(dir: &Path, file: &str) -> CertificateDer<'static> {
    let text = fs_err::read(dir.join(file)).unwrap();
    let (_, pem) = x509_parser::pem::parse_x509_pem(&text).unwrap();
    pem.contents.into()
}

/// Whether a strict verifier accepts this certificate of `authority` for `usage`, `day` days later.
fn accepted(dir: &Path, file: &str, authority: &str, usage: KeyUsage, day: u64) -> bool {
    let authority = der(dir, authority);
    let certificate = der(dir, file);
    EndEntityCert::try_from(&certificate)
        .unwrap()
        .verify_for_usage(
            webpki::ALL_VERIFICATION_ALGS,
            &[anchor_from_trusted_cert(&authority).unwrap()],
            &[],
            UnixTime::since_unix_epoch(Duration::from_secs(NOW + day * 24 * 60 * 60)),
            usage,
            None,
            None,
        )
        .is_ok()
}

#[test]
fn every_certificate_verifies_for_its_use_under_its_authority_only() {
    let dir = fresh();
    let dir = dir.path();
    for leaf in leaves(&request()).unwrap() {
        let file = leaf.credential.certificate().display().to_string();
        for authority in Authority::ALL {
            let issuer = authority.credential().certificate().display().to_string();
            let own = authority == leaf.authority;
            for (usage, meant) in [
                (KeyUsage::server_auth(), leaf.usage.server()),
                (KeyUsage::client_auth(), leaf.usage.client()),
            ] {
                assert_eq!(
                    accepted(dir, &file, &issuer, usage, 0),
                    own && meant,
                    "{file} {issuer}"
                );
                assert_eq!(
                    accepted(dir, &file, &issuer, usage, 364),
                    own && meant,
                    "{file} {issuer}"
                );
                assert!(
                    !accepted(dir, &file, &issuer, usage, 366),
                    "{file} {issuer}"
                );
            }
        }
    }
}

#[test]
fn snapshot_of_files_and_permissions() {
    let dir = fresh();
    let mode = |name: &str| {
        let meta = fs_err::metadata(dir.path().join(name)).unwrap();
        meta.permissions().mode() & 0o7777
    };
    let mut listing = String::new();
    for name in ["master", "node"]
        .map(str::to_owned)
        .into_iter()
        .chain(contents(dir.path()).into_keys())
    {
        writeln!(listing, "{:04o} {name}", mode(&name)).unwrap();
    }
    insta::assert_snapshot!(listing, @"
    0700 master
    0700 node
    0600 master/admin-key.pem
    0600 master/admin-localhost.kubeconfig
    0644 master/admin.pem
    0600 master/apiserver-kubelet-client-key.pem
    0644 master/apiserver-kubelet-client.pem
    0600 master/ca-key.pem
    0644 master/ca.pem
    0600 master/etcd-ca-key.pem
    0644 master/etcd-ca.pem
    0600 master/etcd-client-key.pem
    0644 master/etcd-client.pem
    0600 master/etcd-key.pem
    0600 master/etcd-peer-key.pem
    0644 master/etcd-peer.pem
    0644 master/etcd.pem
    0600 master/front-proxy-ca-key.pem
    0644 master/front-proxy-ca.pem
    0600 master/front-proxy-client-key.pem
    0644 master/front-proxy-client.pem
    0600 master/kube-apiserver-etcd-client-key.pem
    0644 master/kube-apiserver-etcd-client.pem
    0600 master/kube-apiserver-key.pem
    0644 master/kube-apiserver.pem
    0600 master/kube-controller-manager-key.pem
    0600 master/kube-controller-manager.kubeconfig
    0644 master/kube-controller-manager.pem
    0600 master/kube-scheduler-key.pem
    0600 master/kube-scheduler.kubeconfig
    0644 master/kube-scheduler.pem
    0600 master/metrics-server-key.pem
    0644 master/metrics-server.pem
    0600 master/ports-key.pem
    0600 master/ports.kubeconfig
    0644 master/ports.pem
    0600 master/service-account-key.pem
    0644 master/service-account.pem
    0644 node/ca.pem
    0600 node/flannel-key.pem
    0600 node/flannel.kubeconfig
    0644 node/flannel.pem
    0600 node/kube-proxy-key.pem
    0600 node/kube-proxy.kubeconfig
    0644 node/kube-proxy.pem
    0600 node/node-client-key.pem
    0644 node/node-client.pem
    0600 node/node-key.pem
    0600 node/node.kubeconfig
    0644 node/node.pem
    ");
}

#[test]
fn snapshot_of_subjects_issuers_and_names() {
    let dir = fresh();
    let mut text = String::new();
    for info in list(dir.path(), &request(), at(0)).unwrap() {
        assert_eq!(info.problem, None, "{}", info.file.display());
        let line = format!(
            "{} <- {}, {} days: {}",
            info.subject,
            info.issuer,
            info.days_left,
            info.sans.join(" ")
        );
        writeln!(text, "{}", line.trim_end()).unwrap();
    }
    insta::assert_snapshot!(text, @"
    O=system:masters, CN=kubernetes-admin <- CN=usernetes-ca, 365 days:
    CN=kube-apiserver-kubelet-client <- CN=usernetes-ca, 365 days:
    CN=usernetes-ca <- CN=usernetes-ca, 3650 days:
    CN=usernetes-etcd-ca <- CN=usernetes-etcd-ca, 3650 days:
    CN=etcd-client <- CN=usernetes-etcd-ca, 365 days:
    CN=etcd-peer <- CN=usernetes-etcd-ca, 365 days: host localhost 10.0.42.100 127.0.0.1 ::1
    CN=etcd <- CN=usernetes-etcd-ca, 365 days: host localhost 10.0.42.100 127.0.0.1 ::1
    CN=usernetes-front-proxy-ca <- CN=usernetes-front-proxy-ca, 3650 days:
    CN=front-proxy-client <- CN=usernetes-front-proxy-ca, 365 days:
    CN=kube-apiserver-etcd-client <- CN=usernetes-etcd-ca, 365 days:
    CN=kube-apiserver <- CN=usernetes-ca, 365 days: host k8s.example.org kubernetes kubernetes.default kubernetes.default.svc kubernetes.default.svc.cluster.local localhost 10.0.0.1 10.0.42.100 127.0.0.1 192.0.2.7 ::1
    CN=system:kube-controller-manager <- CN=usernetes-ca, 365 days:
    CN=system:kube-scheduler <- CN=usernetes-ca, 365 days:
    CN=metrics-server <- CN=usernetes-ca, 365 days: metrics-server.kube-system.svc metrics-server.kube-system.svc.cluster.local
    CN=usernetes:ports <- CN=usernetes-ca, 365 days:
    CN=usernetes-ca <- CN=usernetes-ca, 3650 days:
    CN=system:flannel <- CN=usernetes-ca, 365 days:
    CN=system:kube-proxy <- CN=usernetes-ca, 365 days:
    O=system:nodes, CN=system:node:host <- CN=usernetes-ca, 365 days:
    O=system:nodes, CN=system:node:host <- CN=usernetes-ca, 365 days: host localhost 10.0.42.100 127.0.0.1 ::1
    ");
}

#[test]
fn a_second_run_changes_nothing() {
    let dir = fresh();
    let before = contents(dir.path());
    let report = ensure(dir.path(), &request(), Renew::Due, at(300)).unwrap();
    assert_eq!(made(&report), "");
    assert_eq!(report.tightened, Vec::<PathBuf>::new());
    let kept: Vec<String> = report
        .kept
        .iter()
        .map(|p| p.display().to_string())
        .collect();
    assert_eq!(kept.len(), before.len());
    assert!(before.keys().all(|name| kept.contains(name)));
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn no_file_for_a_worker_contains_a_key_of_the_master() {
    let dir = fresh();
    let files = contents(dir.path());
    let text = |name: &str| String::from_utf8(files[name].clone()).unwrap();
    let encoded =
        |pem: &str| base64::Engine::encode(&base64::engine::general_purpose::STANDARD, pem);
    let keys: Vec<&String> = files
        .keys()
        .filter(|f| f.starts_with("master/") && f.ends_with("-key.pem"))
        .collect();
    assert_eq!(keys.len(), 16);
    for key in keys {
        let body: String = text(key).lines().filter(|l| !l.starts_with('-')).collect();
        for name in files.keys().filter(|f| f.starts_with("node/")) {
            let joined: String = text(name).lines().collect();
            assert!(!joined.contains(&body), "{key} in {name}");
            assert!(!joined.contains(&encoded(&text(key))), "{key} in {name}");
        }
    }
}

#[test]
fn serial_numbers_are_random_and_positive() {
    let dir = fresh();
    let mut serials = std::collections::BTreeSet::new();
    let files: Vec<PathBuf> = list(dir.path(), &request(), at(0))
        .unwrap()
        .into_iter()
        .map(|i| i.file)
        .collect();
    for file in &files {
        let der = der(dir.path(), file.to_str().unwrap());
        let (_, x509) = x509_parser::parse_x509_certificate(&der).unwrap();
        let serial = x509.raw_serial();
        assert!(
            serial[0] < 0x80 && (14..=17).contains(&serial.len()),
            "{serial:02x?}"
        );
        serials.insert(serial.to_vec());
    }
    // node/ca.pem is a copy.
    assert_eq!(serials.len(), files.len() - 1);
}
