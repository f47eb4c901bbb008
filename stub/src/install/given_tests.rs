//! Tests of certificates that were made beforehand, with directories such as `pki init` makes.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt as _;

use fs_err as fs;
use tempfile::TempDir;

use super::*;
use crate::cluster::pki_request;
use crate::config::{Cni, DnsName};
use crate::files::temporary;
use crate::host::Machine;
use crate::pki::{Renew, issue_for_node};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

/// The directories of the machine `a` with a control plane, and of the worker `b`.
fn machines() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let now = SystemTime::now();
    let mut config = Config::new(DnsName::new("a").unwrap(), Cni::Flannel);
    config.machines.address = Some(Ipv4Addr::new(192, 0, 2, 10));
    let founder = dir.path().join("a");
    let request = pki_request(&config, &Machine::this());
    pki::ensure(&founder, &request, Renew::Due, now).unwrap();
    fs::write(founder.join(CONFIG_FILE), config.to_text()).unwrap();
    let authority = fs::read_to_string(founder.join("node/ca.pem")).unwrap();

    config.node_name = DnsName::new("b").unwrap();
    config.machines.address = Some(ADDRESS);
    config.become_worker(vec!["192.0.2.10:6443".parse().unwrap()]);
    let home = dir.path().join("b");
    let files = Files::of(&home, &config);
    files.directories().unwrap();
    files.authority(&authority).unwrap();
    let issued = issue_for_node(&founder, &config.node_name, IpAddr::V4(ADDRESS), now).unwrap();
    for one in issued {
        files
            .certificate(one.credential, Some(&one.key), &one.certificate)
            .unwrap();
    }
    files.kubeconfig().unwrap();
    fs::write(home.join(CONFIG_FILE), config.to_text()).unwrap();
    dir
}

fn flags(dir: &Path) -> Flags {
    Flags {
        pki: Some(dir.to_owned()),
        ..Flags::default()
    }
}

fn read(dir: &Path, config_dir: &Path) -> Result<Given> {
    Given::read(&flags(dir), config_dir).map(Option::unwrap)
}

/// The error, with short paths.
fn refused(dir: &TempDir, given: &str, config_dir: &Path) -> String {
    let error = read(&dir.path().join(given), config_dir).unwrap_err();
    error
        .to_string()
        .replace(dir.path().to_str().unwrap(), "DIR")
        .replace(config_dir.to_str().unwrap(), "CONFIG")
}

fn listing(dir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for sub in [MASTER, NODE] {
        for path in contents(&dir.join(sub)).unwrap() {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o777;
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            all.push(format!("{mode:04o} {name}"));
        }
    }
    all.sort();
    all
}

#[test]
fn a_worker_takes_its_files_and_keeps_renewed_ones() {
    let (dir, home) = (machines(), tempfile::tempdir().unwrap());
    let (given, config) = (dir.path().join("b"), home.path().join("config"));
    let first = read(&given, &config).unwrap();
    assert!(!first.taken);
    assert_eq!(Given::source(Some(&first), &config), given);
    first.take(&config).unwrap();
    let expected = [
        "0600 node/node-client-key.pem",
        "0600 node/node-key.pem",
        "0600 node/node.kubeconfig",
        "0644 node/ca.pem",
        "0644 node/node-client.pem",
        "0644 node/node.pem",
    ];
    assert_eq!(listing(&config), expected);
    pki::check_node(&config, &first.config.node_name, SystemTime::now()).unwrap();
    check_worker(&config, &first.config).unwrap();

    fs::write(config.join("node/node.pem"), "renewed").unwrap();
    fs::remove_file(config.join("node/node.kubeconfig")).unwrap();
    let again = read(&given, &config).unwrap();
    assert!(again.taken);
    assert_eq!(Given::source(Some(&again), &config), config);
    again.take(&config).unwrap();
    assert_eq!(listing(&config), expected);
    let kept = fs::read_to_string(config.join("node/node.pem")).unwrap();
    assert_eq!(kept, "renewed");
}

/// Whatever was brought before the interruption, the rest comes with the next run.
#[test]
fn an_interrupted_run_is_completed() {
    let dir = machines();
    for name in ["a", "b"] {
        let given = dir.path().join(name);
        let all = read(&given, Path::new("/nowhere")).unwrap();
        let files = all.files().unwrap();
        assert_eq!(files[0], Path::new("node/ca.pem"));
        for done in 0..=files.len() {
            let home = tempfile::tempdir().unwrap();
            for file in &files[..done] {
                let text = fs::read(given.join(file)).unwrap();
                replace(&home.path().join(file), &text, mode(file)).unwrap();
            }
            // It was writing the next one.
            if let Some(file) = files.get(done) {
                let half = temporary(&home.path().join(file));
                private_directory(half.parent().unwrap()).unwrap();
                fs::write(half, "half").unwrap();
            }
            let next = read(&given, home.path()).unwrap();
            next.take(home.path()).unwrap();
            assert_eq!(listing(home.path()).len(), files.len(), "{name} {done}");
            pki::check_node(home.path(), &next.config.node_name, SystemTime::now()).unwrap();
        }
    }
}

#[test]
fn the_control_plane_takes_the_authorities_with_their_keys() {
    let (dir, home) = (machines(), tempfile::tempdir().unwrap());
    let given = read(&dir.path().join("a"), home.path()).unwrap();
    given.take(home.path()).unwrap();
    let request = pki_request(&given.config, &Machine::this());
    // Nothing is left to make.
    let made = pki::check(home.path(), &request, SystemTime::now()).unwrap();
    assert_eq!(made.made, []);
    for file in ["master/ca-key.pem", "master/ca.pem"] {
        let [one, two] = [dir.path().join("a"), home.path().to_owned()].map(|d| d.join(file));
        assert_eq!(fs::read(one).unwrap(), fs::read(two).unwrap());
    }
}

#[test]
fn directories_that_are_wrong_here_are_refused() {
    let (dir, other, home) = (machines(), machines(), tempfile::tempdir().unwrap());
    insta::assert_snapshot!(refused(&dir, "", home.path()), @"
    DIR/: this is not the directory of a machine
      expected  a directory that `usernetes pki init` has made, with `config.toml`

    hint: name that of this machine: `DIR/a` or `DIR/b`
    ");
    let wanted = Flags {
        node_name: Some(DnsName::new("c").unwrap()),
        ..flags(&dir.path().join("b"))
    };
    let error = Given::read(&wanted, home.path()).unwrap_err();
    let error = error
        .to_string()
        .replace(dir.path().to_str().unwrap(), "DIR");
    insta::assert_snapshot!(error, @"
    DIR/b: these certificates are of another node
      expected  `c`, as `--node-name` says
      found     `b`

    hint: name the directory of this machine, or leave `--node-name` out
    ");

    let given = read(&dir.path().join("b"), home.path()).unwrap();
    given.take(home.path()).unwrap();
    insta::assert_snapshot!(refused(&dir, "a", home.path()), @"
    DIR/a: this is the directory of another node
      expected  that of `b`, which this machine is already
      found     that of `a`

    hint: without `--pki`, `install` goes on with the certificates that are here
    ");
    let error = refused(&other, "b", home.path());
    let first = error
        .lines()
        .find(|line| line.contains("found"))
        .unwrap()
        .to_owned();
    let error = error.replace(&first, "  found     CONFIG/node/FILE");
    insta::assert_snapshot!(error, @"
    this machine has other certificates already
      expected  none, or those of DIR/b
      found     CONFIG/node/FILE

    hint: without `--pki`, `install` goes on with them; to remove the cluster here with all its data first, run `usernetes uninstall --purge`
    ");
}

#[test]
fn directories_that_are_not_whole_are_refused() {
    let (dir, home) = (machines(), tempfile::tempdir().unwrap());
    let at = |name: &str| dir.path().join(name);
    fs::remove_file(at("a/master/ca-key.pem")).unwrap();
    insta::assert_snapshot!(refused(&dir, "a", home.path()), @"
    DIR/a/master/ca-key.pem: no such file
      expected  the key of the authority, which the machine with the control plane needs

    hint: copy its directory here again, with everything in it
    ");
    let key = fs::read(at("b/node/node-key.pem")).unwrap();
    fs::copy(at("b/node/node-client-key.pem"), at("b/node/node-key.pem")).unwrap();
    insta::assert_snapshot!(refused(&dir, "b", home.path()), @"
    DIR/b/node/node.pem: this certificate does not belong to the key or to the authority beside it

    hint: copy the directory of `b` here again, with everything in it; if it is too old, let this machine join with a token instead: `usernetes join`
    ");
    fs::write(at("b/node/node-key.pem"), key).unwrap();
    read(&at("b"), home.path()).unwrap();
    fs::remove_file(at("b/node/node.pem")).unwrap();
    let error = refused(&dir, "b", home.path());
    assert!(
        error.starts_with("DIR/b/node/node.pem: no such file\n"),
        "{error}"
    );
}

#[test]
fn a_worker_with_certificates_of_another_node_says_so() {
    let dir = machines();
    let home = dir.path().join("b");
    let mut config = Config::read(&home.join(CONFIG_FILE)).unwrap();
    check_worker(&home, &config).unwrap();
    config.node_name = DnsName::new("c").unwrap();
    insta::assert_snapshot!(check_worker(&home, &config).unwrap_err(), @"
    this worker's certificates are of another node
      expected  `c`, as `config.toml` or `--node-name` says
      found     `b`

    hint: keep the name `b`, or let this machine join under another one: `usernetes join --name c`
    ");
    let error = check_worker(&dir.path().join("none"), &config).unwrap_err();
    let error = error.to_string();
    assert!(error.contains("node-client.pem: no such file"), "{error}");
}
