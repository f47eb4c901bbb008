//! One bad machine for each finding, made of files.

mod given_ids;
mod places;
mod sessions;
mod user_namespaces;

use std::os::unix::fs::symlink;

use rustix::process::getuid;
use support::program::write_program;
use tempfile::TempDir;

use super::*;
use crate::config::{Cni, DnsName, NetworkDriver};

/// A machine of the user `u`, 1001, with these files on it.
pub(super) fn machine(files: &[(&str, &str)]) -> (TempDir, Machine) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path.trim_start_matches('/'));
        if text.starts_with("#!") {
            write_program(&path, text);
        } else {
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(&path, text).unwrap();
        }
    }
    let machine = Machine {
        root: dir.path().to_owned(),
        uid: 1001,
        gid: 1002,
        user: Some("u".to_owned()),
        runtime_dir: None,
        private_dir: None,
        path: "/bin".into(),
        program: None,
    };
    (dir, machine)
}

fn config() -> Config {
    Config::new(DnsName::new("n").unwrap(), Cni::Bridge)
}

fn text(finding: Finding) -> String {
    let findings = [finding];
    let mut text = report(&findings);
    for block in [admin::block(&findings), admin::undo(&findings)]
        .into_iter()
        .flatten()
    {
        text.push_str(&block);
    }
    text
}

const SUBIDS: &str = "other:100000:65536\nu:231072:65536\n";

#[test]
fn another_network_driver_is_found_or_its_package_is_named() {
    let (_dir, m) = machine(&[]);
    let mut config = config();
    assert_eq!(network_driver(&m, &config, false), None);
    config.network.driver = NetworkDriver::Pasta;
    let finding = |bundled| network_driver(&m, &config, bundled).unwrap();
    insta::assert_snapshot!(text(finding(false)), @r"
    fatal network-driver: there is no `pasta` in PATH
          expected  the package `passt`
          fix       install that package, or choose `--network-driver slirp4netns`
    sudo sh -ux <<'EOF'
    failed=0
    if command -v apt-get >/dev/null; then apt-get install -y passt; elif command -v dnf >/dev/null; then dnf install -y passt; fi || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    # the package passt may stay: other programs use it too
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    ");
    assert_eq!(finding(true).level, Level::Ok);
    let tun = devices::tun(&m, config.network.driver);
    assert!(tun.expected.contains("pasta needs it"), "{}", tun.expected);
    let (_dir, m) = machine(&[("/bin/pasta", "#!")]);
    let finding = network_driver(&m, &config, false).unwrap();
    insta::assert_snapshot!(text(finding), @"ok    network-driver: /bin/pasta");
}

#[test]
fn missing_devices() {
    let (_dir, m) = machine(&[("/dev/fuse", "")]);
    insta::assert_snapshot!(text(devices::tun(&m, NetworkDriver::Slirp4netns)), @r"
    fatal tun: /dev/net/tun is missing
          expected  a device that you may open: slirp4netns needs it to connect the cluster
          fix       ask an administrator to run the commands below
    sudo sh -ux <<'EOF'
    failed=0
    modprobe tun || failed=1
    echo tun >/etc/modules-load.d/usernetes-tun.conf || failed=1
    chmod 0666 /dev/net/tun || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    rm -f /etc/modules-load.d/usernetes-tun.conf || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    ");
    assert_eq!(devices::fuse(&m).found, "/dev/fuse is not a device");
}

#[test]
fn inotify_instances_in_use_are_counted() {
    let limits = |instances| {
        [
            ("/proc/sys/fs/inotify/max_user_instances", instances),
            ("/proc/sys/fs/inotify/max_user_watches", "65536\n"),
        ]
    };
    let (dir, mut m) = machine(&limits("65\n"));
    m.uid = getuid().as_raw();
    fs_err::create_dir_all(dir.path().join("proc/7/fd")).unwrap();
    symlink("anon_inode:inotify", dir.path().join("proc/7/fd/3")).unwrap();
    assert_eq!(devices::inotify(&m).level, Level::Ok);
    symlink("anon_inode:inotify", dir.path().join("proc/7/fd/4")).unwrap();
    insta::assert_snapshot!(text(devices::inotify(&m)), @r#"
    warn  inotify: 65 instances, 2 of them in use, and 65536 watches
          expected  64 free instances and 8192 watches, or programs fail with "too many open files"
          fix       ask an administrator to run the commands below
    sudo sh -ux <<'EOF'
    failed=0
    printf 'fs.inotify.max_user_instances=8192\nfs.inotify.max_user_watches=524288\n' >/etc/sysctl.d/99-usernetes-inotify.conf || failed=1
    sysctl -q -p /etc/sysctl.d/99-usernetes-inotify.conf || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    rm -f /etc/sysctl.d/99-usernetes-inotify.conf || failed=1
    # the old limits return at the next boot
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    "#);
}

#[test]
fn all_that_is_fatal_is_one_error() {
    let (_dir, m) = machine(&[
        ("/etc/subuid", SUBIDS),
        ("/etc/subgid", SUBIDS),
        ("/bin/newuidmap", "#!/bin/sh\n"),
    ]);
    let all = check(
        &m,
        &Manager::ask(&m),
        &config(),
        Path::new("/nowhere/data"),
        Path::new("/nowhere/config"),
        None,
    );
    let fatal: Vec<_> = all
        .into_iter()
        .filter(|f| f.level == Level::Fatal)
        .collect();
    let ids: Vec<_> = fatal.iter().map(|f| f.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "runtime-dir",
            "systemd-user",
            "cgroup-v2",
            "cgroup-controllers",
            "newuidmap",
            "newgidmap",
            "tun"
        ]
    );
    insta::assert_snapshot!(refusal(&fatal[4..]), @r"
    3 problems must be fixed before a cluster can run here
      newuidmap  /bin/newuidmap is not allowed to map ids
                 expected: set-user-ID root, or file capabilities
                 fix: ask an administrator to run the commands below
      newgidmap  there is no `newgidmap` in PATH
                 expected: the package `uidmap` (Debian, Ubuntu) or `shadow-utils` (Fedora, RHEL)
                 fix: install that package
      tun        /dev/net/tun is missing
                 expected: a device that you may open: slirp4netns needs it to connect the cluster
                 fix: ask an administrator to run the commands below

    hint: nothing was changed; ask an administrator to run these commands, then try again:

    sudo sh -ux <<'EOF'
    failed=0
    chmod u+s /bin/newuidmap || failed=1
    if command -v apt-get >/dev/null; then apt-get install -y uidmap; elif command -v dnf >/dev/null; then dnf install -y shadow-utils; fi || failed=1
    modprobe tun || failed=1
    echo tun >/etc/modules-load.d/usernetes-tun.conf || failed=1
    chmod 0666 /dev/net/tun || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    ");
}
