//! Tests with existing PKIs: made by the shell scripts, incomplete, or readable by other users.

use super::super::key::Key;
use super::*;

// These keys were made for the tests and are used nowhere else.

/// An authority like those that cfssl made for the shell scripts: RSA, PKCS#1, many attributes in its subject.
const CFSSL_CA: &str = include_str!("data/cfssl-ca.pem");
const CFSSL_CA_KEY: &str = include_str!("data/cfssl-ca-key.pem");
/// A key as `openssl ecparam -genkey` writes it: first the parameters, then the key in SEC 1.
const SEC1_KEY: &str = include_str!("data/sec1-key.pem");

fn put(dir: &Path, name: &str, text: &str) {
    let file = dir.join(name);
    fs_err::create_dir_all(file.parent().unwrap()).unwrap();
    fs_err::write(file, text).unwrap();
}

#[test]
fn an_authority_of_the_shell_scripts_issues_new_certificates() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    for (name, text) in [
        ("master/ca.pem", CFSSL_CA),
        ("master/ca-key.pem", CFSSL_CA_KEY),
        ("node/ca.pem", CFSSL_CA),
        ("node/kube-proxy-key.pem", SEC1_KEY),
        // The shell scripts used a certificate as the public key of service accounts.
        ("master/service-account.pem", CFSSL_CA),
        ("master/service-account-key.pem", CFSSL_CA_KEY),
    ] {
        put(dir, name, text);
    }
    let report = ensure(dir, &request(), Renew::Due, at(0)).unwrap();
    let kept: Vec<String> = report
        .kept
        .iter()
        .map(|p| p.display().to_string())
        .collect();
    insta::assert_snapshot!(kept.join("\n"), @"
    master/ca-key.pem
    master/ca.pem
    master/service-account-key.pem
    master/service-account.pem
    node/kube-proxy-key.pem
    node/ca.pem
    ");
    let after = contents(dir);
    assert_eq!(after["master/ca-key.pem"], CFSSL_CA_KEY.as_bytes());
    assert_eq!(after["node/kube-proxy-key.pem"], SEC1_KEY.as_bytes());
    assert!(accepted(
        dir,
        "master/kube-apiserver.pem",
        "master/ca.pem",
        KeyUsage::server_auth(),
        0
    ));
    assert!(accepted(
        dir,
        "node/kube-proxy.pem",
        "master/ca.pem",
        KeyUsage::client_auth(),
        0
    ));
    assert_eq!(
        made(&ensure(dir, &request(), Renew::Due, at(0)).unwrap()),
        ""
    );
}

#[test]
fn an_authority_needs_no_key_while_no_certificate_is_to_be_issued() {
    let dir = fresh();
    fs_err::remove_file(dir.path().join("master/ca-key.pem")).unwrap();
    assert_eq!(
        made(&ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap()),
        ""
    );
}

/// Keys get their names first, so after an interruption there may be only keys.
#[test]
fn certificates_are_made_for_existing_keys() {
    let dir = fresh();
    let before = contents(dir.path());
    for name in before.keys().filter(|f| !f.ends_with("-key.pem")) {
        fs_err::remove_file(dir.path().join(name)).unwrap();
    }
    put(dir.path(), "node/.node.pem.new", "left over");
    ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap();
    let after = contents(dir.path());
    assert_eq!(
        after.keys().collect::<Vec<_>>(),
        before.keys().collect::<Vec<_>>()
    );
    for name in before.keys().filter(|f| f.ends_with("-key.pem")) {
        assert_eq!(after[name], before[name], "{name}");
    }
    assert!(
        list(dir.path(), &request(), at(0))
            .unwrap()
            .iter()
            .all(|i| i.problem.is_none())
    );
}

#[test]
fn a_leaf_does_not_outlive_its_authority() {
    let dir = fresh();
    let ten_years = 3650;
    let day = ten_years - 100;
    ensure(dir.path(), &request(), Renew::Due, at(day)).unwrap();
    let longest = list(dir.path(), &request(), at(day))
        .unwrap()
        .iter()
        .map(|i| i.days_left)
        .max();
    assert_eq!(longest, Some(100));
}

#[test]
fn secrets_that_other_users_could_read_become_private() {
    let dir = fresh();
    let chmod = |name: &str, mode| {
        fs_err::set_permissions(dir.path().join(name), std::fs::Permissions::from_mode(mode))
            .unwrap();
    };
    chmod("master", 0o755);
    chmod("master/admin-localhost.kubeconfig", 0o664);
    chmod("node/node-key.pem", 0o640);
    let before = contents(dir.path());
    let report = ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap();
    let tightened: Vec<String> = report
        .tightened
        .iter()
        .map(|p| p.display().to_string())
        .collect();
    insta::assert_snapshot!(tightened.join("\n"), @"
    master
    node/node-key.pem
    master/admin-localhost.kubeconfig
    ");
    assert_eq!(contents(dir.path()), before);
    let report = ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap();
    assert_eq!(report.tightened, Vec::<PathBuf>::new());
}

#[test]
fn a_key_of_any_form_is_the_same_key() {
    let key = Key::generate().unwrap();
    let again = Key::parse(key.pem.clone()).unwrap();
    assert_eq!(again.public(), key.public());
    assert_eq!(again.pem, key.pem);
    assert!(Key::parse(SEC1_KEY.to_owned()).is_ok());
    assert!(Key::parse(CFSSL_CA_KEY.to_owned()).is_ok());
}

#[test]
fn problems_are_listed() {
    let dir = fresh();
    let file = |name: &str| dir.path().join("master").join(name);
    fs_err::copy(file("etcd-key.pem"), file("etcd-peer-key.pem")).unwrap();
    fs_err::remove_file(file("admin-key.pem")).unwrap();
    fs_err::write(file("kube-scheduler.pem"), "junk").unwrap();
    fs_err::write(file("etcd-client-key.pem"), "junk").unwrap();
    fs_err::remove_file(file("front-proxy-ca.pem")).unwrap();
    fs_err::remove_file(file("ca-key.pem")).unwrap();
    let mut text = String::new();
    for info in list(dir.path(), &request(), at(0)).unwrap() {
        if let Some(problem) = info.problem {
            writeln!(
                text,
                "{}: {}",
                info.file.display(),
                problem.replace(dir.path().to_str().unwrap(), "…")
            )
            .unwrap();
        }
    }
    insta::assert_snapshot!(text, @"
    master/admin.pem: has no key
    master/etcd-client.pem: its key: cannot use this private key
    master/etcd-peer.pem: does not belong to its key
    master/front-proxy-client.pem: was not issued by an authority in this directory
    master/kube-scheduler.pem: cannot read this certificate
    ");
    let info = list(dir.path(), &request(), at(366))
        .unwrap()
        .into_iter()
        .find(|i| i.file == Path::new("node/node.pem"))
        .unwrap();
    assert_eq!(info.days_left, -1);
    assert_eq!(
        info.problem.as_deref(),
        Some("expired on 2028-01-01T00:00:00Z")
    );
    assert_eq!(
        list(&dir.path().join("absent"), &request(), at(0)).unwrap(),
        Vec::new()
    );
}

#[test]
fn snapshot_of_the_purpose_of_each_certificate() {
    let dir = fresh();
    for foreign in ["master/kubelet.pem", "node/etcd-ca.pem"] {
        put(dir.path(), foreign, CFSSL_CA);
    }
    let mut text = String::new();
    for info in list(dir.path(), &request(), at(0)).unwrap() {
        let purpose = info.purpose.map_or("unknown", Purpose::as_str);
        writeln!(text, "{}: {purpose}", info.file.display()).unwrap();
    }
    insta::assert_snapshot!(text, @"
    master/admin.pem: client
    master/apiserver-kubelet-client.pem: client
    master/ca.pem: authority
    master/etcd-ca.pem: authority
    master/etcd-client.pem: client
    master/etcd-peer.pem: server and client
    master/etcd.pem: server and client
    master/front-proxy-ca.pem: authority
    master/front-proxy-client.pem: client
    master/kube-apiserver-etcd-client.pem: client
    master/kube-apiserver.pem: server
    master/kube-controller-manager.pem: client
    master/kube-scheduler.pem: client
    master/kubelet.pem: unknown
    master/metrics-server.pem: server
    master/ports.pem: client
    node/ca.pem: authority
    node/etcd-ca.pem: unknown
    node/flannel.pem: client
    node/kube-proxy.pem: client
    node/node-client.pem: client
    node/node.pem: server
    ");
}
