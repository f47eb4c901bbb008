//! Tests of the name of the node.

use std::net::{Ipv4Addr, TcpListener};

use fs_err as fs;

use support::home::Said;
use support::machine::Machine;
use support::stage::Stage;

/// A machine with this host name and without any fault, and a free port.
fn stage(host_name: &str) -> Option<(Stage, Machine, String)> {
    let stage = Stage::new(&["etcd"]);
    let machine = Machine::fit(&stage.home)?;
    machine.file("proc/sys/kernel/hostname", &format!("{host_name}\n"));
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = free.local_addr().unwrap().port();
    Some((stage, machine, format!("-p=127.0.0.1:{port}:6443/tcp")))
}

fn node_name(stage: &Stage) -> String {
    let file = stage.home.path().join(".config/usernetes/config.toml");
    let text = fs::read_to_string(file).unwrap();
    let line = text.lines().find_map(|l| l.strip_prefix("node_name = "));
    line.unwrap().trim_matches('"').to_owned()
}

fn doctor(stage: &Stage, machine: &Machine) -> Said {
    let mut command = stage.command(&stage.bundle);
    machine.show_to(&mut command);
    stage.home.run_command(command.arg("doctor"))
}

#[test]
fn whatever_the_machine_is_called_it_gets_one() {
    let long = "x".repeat(64);
    for (host_name, name) in [
        ("Anna's_Mac.local.", "anna-s-mac.local"),
        (&long, &"x".repeat(63)),
        ("(none)", "node"),
    ] {
        let Some((stage, machine, port)) = stage(host_name) else {
            return;
        };
        let said = doctor(&stage, &machine);
        let note = format!(
            "note  node-name: this machine is called `{}`, its node `{name}`\n",
            host_name.escape_debug()
        );
        assert!(said.stdout.contains(&note), "{said:?}");
        assert!(said.stdout.contains("install --node-name NAME"), "{said:?}");
        assert!(!said.stdout.contains("hostnamectl"), "{said:?}");
        // The other checks were made, too.
        assert!(said.stdout.contains(" networks: "), "{said:?}");
        let said = stage.install_on(&machine, &[&port]);
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(
            said.stderr.contains(note.trim_start_matches("note  ")),
            "{said:?}"
        );
        assert_eq!(node_name(&stage), name);
    }
}

#[test]
fn a_cluster_keeps_the_name_it_has() {
    let Some((stage, machine, port)) = stage("before") else {
        return;
    };
    let said = stage.install_on(&machine, &[&port, "--node-name=Upper"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.stderr.contains("bad name \"Upper\""), "{said:?}");
    assert!(!stage.home.data().exists());
    let said = stage.install_on(&machine, &[&port, "--node-name=chosen"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!said.stderr.contains("node-name"), "{said:?}");
    machine.file("proc/sys/kernel/hostname", "after_wards\n");
    fs::create_dir_all(stage.home.data().join("etcd/member")).unwrap();
    stage.calls();
    let said = stage.install_on(&machine, &[]);
    assert!(said.stderr.ends_with("nothing to do\n"), "{said:?}");
    let said = stage.install_on(&machine, &["--node-name=other"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    let message = "error: `node_name` of an existing cluster cannot be changed\n";
    assert!(said.stderr.starts_with(message), "{said:?}");
    assert_eq!(
        (node_name(&stage).as_str(), stage.calls().as_str()),
        ("chosen", "")
    );
}
