//! With a stand-in for kubectl, which knows a much simpler kubeconfig.

use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;
use crate::pki;

fn kubectl() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kubeconfig/user/fake-kubectl")
}

/// A directory with a PKI in `pki`, and the path `config` in it.
fn setup() -> (TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let pki = dir.path().join("pki");
    let request = pki::Request {
        node_name: "host".parse().unwrap(),
        cluster_domain: "cluster.local".parse().unwrap(),
        service_ip: [10, 0, 0, 1].into(),
        child_ip: [10, 0, 42, 100].into(),
        extra_sans: Vec::new(),
        api_port: 6443,
        component_server: ([127, 0, 0, 1], 6443).into(),
    };
    let now = UNIX_EPOCH + Duration::from_hours(499_656);
    pki::ensure(&pki, &request, pki::Renew::Due, now).unwrap();
    let config = dir.path().join("config");
    (dir, pki, config)
}

/// What is in the directory besides the PKI.
fn files(dir: &TempDir) -> Vec<String> {
    let mut names: Vec<String> = fs_err::read_dir(dir.path())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "pki")
        .collect();
    names.sort();
    names
}

#[test]
fn into_a_kubeconfig_and_out_of_it() {
    let (dir, pki, config) = setup();
    let own = "# a comment\ncluster work https://work.example\ncurrent work\n";
    fs_err::write(&config, own).unwrap();
    let link = dir.path().join("link");
    std::os::unix::fs::symlink("config", &link).unwrap();

    let outcome = merge(&kubectl(), &pki, &link).unwrap();
    let backup = dir.path().join("config.before-usernetes");
    assert_eq!(outcome.current_context.as_deref(), Some("work"));
    assert_eq!(outcome.backup.as_deref(), Some(backup.as_path()));
    insta::assert_snapshot!(fs_err::read_to_string(&config).unwrap(), @"
    # a comment
    cluster work https://work.example
    current work
    cluster usernetes https://127.0.0.1:6443
    user usernetes
    context usernetes
    ");
    assert_eq!(fs_err::read_to_string(&backup).unwrap(), own);
    for file in [&config, &backup] {
        let mode = fs_err::metadata(file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    assert!(fs_err::symlink_metadata(&link).unwrap().is_symlink());

    let again = merge(&kubectl(), &pki, &config).unwrap();
    assert_eq!((again.changed, again.backup), (false, None));

    let outcome = unmerge(&kubectl(), &pki, &config).unwrap();
    assert_eq!((outcome.changed, outcome.backup), (true, None));
    assert_eq!(fs_err::read_to_string(&config).unwrap(), own);
    assert!(!unmerge(&kubectl(), &pki, &config).unwrap().changed);
    assert_eq!(files(&dir), ["config", "config.before-usernetes", "link"]);
}

#[test]
fn without_a_kubeconfig_ours_becomes_the_default() {
    let (dir, pki, _) = setup();
    let config = dir.path().join("kube/config");
    assert!(!unmerge(&kubectl(), &pki, &config).unwrap().changed);
    let outcome = merge(&kubectl(), &pki, &config).unwrap();
    assert_eq!(outcome.current_context.as_deref(), Some(NAME));
    assert_eq!((outcome.changed, outcome.backup), (true, None));
    let outcome = unmerge(&kubectl(), &pki, &config).unwrap();
    assert_eq!(outcome.current_context, None);
    assert_eq!(fs_err::read_to_string(&config).unwrap(), "");
}

#[test]
fn another_cluster_of_our_name_stays() {
    let (dir, pki, config) = setup();
    let other = "cluster usernetes https://other.example\n";
    fs_err::write(&config, other).unwrap();
    let error = merge(&kubectl(), &pki, &config).unwrap_err().to_string();
    insta::assert_snapshot!(error.replace(dir.path().to_str().unwrap(), "…"), @"
    …/config: already has a cluster `usernetes`, another one
      expected  none, or the one at https://127.0.0.1:6443
      found     https://other.example

    hint: give that cluster another name in the file, or leave the file alone and use `kubectl --kubeconfig …/pki/master/admin-localhost.kubeconfig`
    ");
    assert!(!unmerge(&kubectl(), &pki, &config).unwrap().changed);
    assert_eq!(fs_err::read_to_string(&config).unwrap(), other);
    assert_eq!(files(&dir), ["config"]);
}

#[test]
fn what_kubectl_cannot_read_or_another_has_locked_stays() {
    let (dir, pki, config) = setup();
    fs_err::write(&config, "broken").unwrap();
    let error = merge(&kubectl(), &pki, &config).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    insta::assert_snapshot!(error.to_string().replace(dir.path().to_str().unwrap(), "…"), @"
    …/config: `kubectl config view` failed
      expected  a kubeconfig that kubectl can read
      found     cannot load …/config

    hint: see what `kubectl config view --kubeconfig …/config` says
    ");
    let lock = dir.path().join("config.lock");
    fs_err::write(&lock, "").unwrap();
    let error = merge(&kubectl(), &pki, &config).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    insta::assert_snapshot!(error.to_string().replace(dir.path().to_str().unwrap(), "…"), @"
    …/config: another process is changing this file
      found  its lock `…/config.lock`

    hint: wait for it; if no kubectl is running, remove the lock with `rm …/config.lock`
    ");
    assert_eq!(fs_err::read_to_string(&config).unwrap(), "broken");
    assert_eq!(files(&dir), ["config", "config.lock"]);
}

#[test]
fn a_missing_kubectl_is_named() {
    let (_dir, pki, config) = setup();
    let error = merge(Path::new("/nonexistent/kubectl"), &pki, &config).unwrap_err();
    assert!(
        error
            .message()
            .contains("cannot run `/nonexistent/kubectl`"),
        "{error}"
    );
}
