//! Tests of `install` on machines with exactly one fault, and with keys that cannot be used. It must refuse before it changes
//! anything, unless the fault concerns only a port that the cluster can do without.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};

use fs_err as fs;
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, date_time_ymd};

use support::home::is_root;
use support::machine::{Machine, user};
use support::stage::Stage;

/// Runs `install`, checks that it refuses and changes nothing, and returns the error.
fn refused(stage: &Stage, machine: &Machine, code: i32, arguments: &[&str]) -> String {
    let said = stage.install_on(machine, arguments);
    assert_eq!(said.code, Some(code), "{said:?}");
    assert!(!stage.home.data().exists() && !stage.units().exists());
    let runtime_dir = fs::read_dir(&machine.runtime_dir).unwrap();
    assert_eq!(runtime_dir.count(), 0);
    assert_eq!(stage.calls(), "");
    let (uid, _) = user();
    said.stderr
        .replace(&format!("/run/user/{uid}"), "/run/user/UID")
}

/// A stage with a machine without any fault, and a free port.
fn stage() -> Option<(Stage, Machine, String)> {
    let stage = Stage::new(&["etcd"]);
    let machine = Machine::fit(&stage.home)?;
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    Some((stage, machine, format!("-p=127.0.0.1:{port}:6443/tcp")))
}

/// Harms the machine, and returns the error for its only fault.
fn fault(harm: impl FnOnce(&mut Machine)) -> Option<String> {
    let (stage, mut machine, port) = stage()?;
    harm(&mut machine);
    let text = refused(&stage, &machine, 6, &[&port]);
    assert!(!stage.home.path().join(".config").exists());
    Some(text)
}

/// All other tests here rely on this.
#[test]
fn nothing_is_wrong_with_the_machine_itself() {
    let Some((stage, machine, port)) = stage() else {
        return;
    };
    let said = stage.install_on(&machine, &[&port]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("u7s-etcd.target is up\n"), "{said:?}");
}

#[test]
fn there_is_no_runtime_directory() {
    let Some(text) = fault(|machine| machine.session = None) else {
        return;
    };
    insta::assert_snapshot!(text, @r"
    error: 1 problem must be fixed before a cluster can run here
      runtime-dir  XDG_RUNTIME_DIR is not set, and you have no /run/user/UID
                   expected: a directory that belongs to you, made by the login
                   fix: log in over ssh, on a console or with `machinectl shell $(id -un)@`; `su` and `sudo` start no session

    hint: nothing was changed; fix this, then run the same command again
    ");
}

#[test]
fn the_path_of_a_socket_would_be_too_long() {
    let Some((stage, mut machine, port)) = stage() else {
        return;
    };
    let long = stage.home.path().join("r".repeat(70));
    stage.home.directory(&long);
    (machine.runtime_dir, machine.session) = (long.clone(), Some(long));
    let text = refused(&stage, &machine, 6, &[&port]);
    assert!(text.starts_with("error: 1 problem must"), "{text}");
    let name = "r".repeat(70);
    let socket =
        format!("  sockets  $HOME/{name}/usernetes/containerd/containerd.sock.ttrpc would have ");
    assert!(text.contains(&socket), "{text}");
    let fix = "fix: set XDG_RUNTIME_DIR to a path of at most 64 bytes, such as /run/user/UID\n";
    assert!(text.contains(fix), "{text}");
    assert!(!stage.home.path().join(".config").exists());
}

/// `su` leaves such an environment.
#[test]
fn the_runtime_directory_is_another_users() {
    let Some(text) = fault(|machine| machine.session = Some("/".into())) else {
        return;
    };
    let finding = "  runtime-dir  XDG_RUNTIME_DIR is `/`, and you have no /run/user/UID\n";
    assert!(text.contains(finding), "{text}");
    assert!(text.starts_with("error: 1 problem must"), "{text}");
}

#[test]
fn there_is_no_service_manager_of_the_user() {
    let Some(text) = fault(|machine| {
        let failing = "#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n";
        machine.program("bin/systemctl", failing);
        machine.file("run/systemd/system/x", "");
    }) else {
        return;
    };
    let finding = "  systemd-user        $HOME/run/bus is missing: Failed to connect to bus: No medium found\n";
    assert!(text.contains(finding), "{text}");
    // Only the service manager could name the controllers.
    assert!(text.contains("  cgroup-controllers  "), "{text}");
    assert!(text.starts_with("error: 2 problems must"), "{text}");
}

#[test]
fn control_groups_are_of_version_1() {
    let Some(text) = fault(|machine| {
        let elsewhere = machine.runtime_dir.clone();
        machine.link("sys/fs/cgroup", &elsewhere);
    }) else {
        return;
    };
    insta::assert_snapshot!(text, @r"
    error: 1 problem must be fixed before a cluster can run here
      cgroup-v2  /sys/fs/cgroup is not cgroup v2, but version 1 or a mixture of both
                 expected: the unified hierarchy, version 2
                 fix: boot with the kernel parameter `systemd.unified_cgroup_hierarchy=1`, for example in GRUB_CMDLINE_LINUX of /etc/default/grub

    hint: nothing was changed; fix this, then run the same command again
    ");
}

#[test]
fn there_are_no_subordinate_ids() {
    let Some(text) = fault(|machine| machine.file("etc/subuid", "other:100000:65536\n")) else {
        return;
    };
    insta::assert_snapshot!(text, @r"
    error: 1 problem must be fixed before a cluster can run here
      subuid  /etc/subuid gives u no ids
              expected: at least 65536 ids
              fix: ask an administrator to run the commands below

    hint: nothing was changed; ask an administrator to run these commands, then try again:

    sudo sh -ux <<'EOF'
    failed=0
    grep -qsxF -e u:165536:65536 /etc/subuid || usermod --add-subuids 165536-231071 -- u || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    ");
}

#[test]
fn a_network_is_the_machines_own_and_another_is_taken_instead() {
    let Some((stage, machine, port)) = stage() else {
        return;
    };
    let lan = "Iface\tDestination\neth0\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    machine.file("proc/net/route", lan);
    let text = refused(&stage, &machine, 6, &[&port]);
    insta::assert_snapshot!(text, @r"
    error: 1 problem must be fixed before a cluster can run here
      networks  `network.services` is 10.0.0.0/24, but this machine has a route to 10.0.0.0/24 by eth0
                expected: a network this machine has no route to: the cluster could not reach the machines there
                fix: choose another network with --services NETWORK, for example 10.64.0.0/24

    hint: nothing was changed; fix this, then run the same command again
    ");
    let said = stage.install_on(&machine, &[&port, "--services", "10.64.0.0/24"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let config = stage.home.path().join(".config/usernetes/config.toml");
    let config = fs::read_to_string(config).unwrap();
    assert!(config.contains("services = \"10.64.0.0/24\""), "{config}");
}

#[test]
fn a_taken_port_stops_install_and_its_process_is_named() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port();
    let Some((stage, machine, _)) = stage() else {
        return;
    };
    machine.link("proc/net/tcp", Path::new("/proc/net/tcp"));
    let process = format!("proc/{}", std::process::id());
    machine.link(&process, &Path::new("/").join(&process));
    let spec = format!("-p=127.0.0.1:{port}:6443/tcp");
    let text = refused(&stage, &machine, 6, &[&spec]);
    let owner = if is_root() {
        "a process of root".to_owned()
    } else {
        let program = std::env::current_exe().unwrap();
        format!("your process {}, {}", std::process::id(), program.display())
    };
    let finding = format!("  ports  127.0.0.1:{port}/tcp is taken by {owner}\n");
    assert!(text.contains(&finding), "{text}");
    assert!(text.starts_with("error: 1 problem must"), "{text}");
}

#[test]
fn an_address_is_another_machines() {
    let Some((stage, machine, port)) = stage() else {
        return;
    };
    // This address is reserved for documentation (RFC 5737).
    let arguments = [port.as_str(), "-p=192.0.2.7:6443:6443/tcp"];
    let said = stage.install_on(&machine, &arguments);
    // The address may come later, and etcd does not wait for it.
    assert_eq!(said.code, Some(0), "{said:?}");
    let warning = "warn ports: 192.0.2.7:6443/tcp is to be published, but this machine has no address 192.0.2.7";
    assert!(said.stderr.contains(warning), "{said:?}");
}

/// Writes the cluster authority and its key before anything is installed.
fn authority(stage: &Stage, end_of_validity: i32) -> PathBuf {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(end_of_validity, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let config = stage.home.path().join(".config");
    let master = config.join("usernetes/master");
    for dir in [&config, &config.join("usernetes"), &master] {
        stage.home.directory(dir);
    }
    fs::write(master.join("ca.pem"), certificate.pem()).unwrap();
    let file = master.join("ca-key.pem");
    stage.home.secret(&file, &key.serialize_pem());
    file
}

#[test]
fn the_authority_has_expired() {
    let Some((stage, machine, port)) = stage() else {
        return;
    };
    authority(&stage, 2024);
    let text = refused(&stage, &machine, 3, &[&port]);
    let message = "error: $HOME/.config/usernetes/master/ca.pem: the certificate of the cluster authority expired on 2024-01-01T00:00:00Z\n";
    assert!(text.starts_with(message), "{text}");
    assert!(
        text.contains("hint: renew it yourself with its key"),
        "{text}"
    );
    assert_eq!(
        stage.names(".config/usernetes/master"),
        ["ca-key.pem", "ca.pem"]
    );
}

#[test]
fn a_key_that_cannot_be_read_stops_install() {
    let Some((stage, machine, port)) = stage() else {
        return;
    };
    let key = authority(&stage, 2040);
    let unreadable = |why: &str| {
        let text = refused(&stage, &machine, 6, &[&port]);
        let message = "error: failed to open file `$HOME/.config/usernetes/master/ca-key.pem`: Permission denied";
        assert!(text.starts_with(message), "{why}: {text}");
        let hint = "hint: check the owner and the permissions of that path with `ls -ld`";
        assert!(text.contains(hint), "{why}: {text}");
    };
    fs::set_permissions(&key, PermissionsExt::from_mode(0o000)).unwrap();
    unreadable("mode 0000");
    if is_root() {
        fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).unwrap();
        chown(&key, Some(12345), Some(12345)).unwrap();
        unreadable("another owner");
    }
    assert_eq!(
        stage.names(".config/usernetes/master"),
        ["ca-key.pem", "ca.pem"]
    );
}
