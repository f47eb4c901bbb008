//! Tests of `uninstall` and `show-cleanup-command`: what they remove, what they keep, and when they refuse.

use std::path::Path;

use fs_err as fs;

use support::home::{Said, spawn};
use support::stage::Stage;

/// Runs a command in a shell.
fn sh(stage: &Stage, command: &str) -> Said {
    let mut shell = stage.command(Path::new("/bin/sh"));
    stage.home.run_command(shell.args(["-c", command]))
}

/// Runs the command that `show-cleanup-command` prints, and returns it.
fn clean_up(stage: &Stage) -> String {
    let bundle = stage.bundle.display();
    let said = sh(stage, &format!("{bundle} show-cleanup-command"));
    let done = sh(stage, &format!("eval \"$({bundle} show-cleanup-command)\""));
    assert_eq!(done.code, Some(0), "{done:?}");
    said.stdout
}

#[test]
fn the_cleanup_command_leaves_a_home_as_it_was() {
    let stage = Stage::new(&["etcd"]);
    let before = stage.names("");
    stage.install(&["--start="]);
    assert_eq!(stage.usernetes(&["uninstall"]).code, Some(0));
    assert_eq!(
        clean_up(&stage),
        "$HOME/.local/share/usernetes/generations/1/bin/rootlesskit rm -rf -- $HOME/.local/share/usernetes $HOME/.config/usernetes \
         && { rmdir -- $HOME/.local/share $HOME/.local $HOME/.config 2>/dev/null || :; }\n"
    );
    let _ = stage.calls();
    assert_eq!(stage.names(""), before);
}

#[test]
fn the_cleanup_command_leaves_what_others_use_by_now() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    stage.usernetes(&["uninstall"]);
    assert_eq!(sh(&stage, "touch ~/.config/other").code, Some(0));
    // The programs are missing, as if somebody had begun to remove the installation by hand.
    sh(&stage, "chmod -R u+w ~/.local; rm -r ~/.local");
    let command = clean_up(&stage);
    assert!(command.contains("rm -rf -- "), "{command}");
    assert_eq!(stage.names(".config"), ["other"]);
}

#[test]
fn what_data_was_made_with_is_known_after_uninstalling() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    sh(&stage, "mkdir -p ~/.local/share/usernetes/etcd/member");
    assert_eq!(stage.usernetes(&["uninstall"]).code, Some(0));
    assert_eq!(stage.names(".config/systemd"), Vec::<String>::new());
    let file = stage.home.path().join(".config/usernetes/config.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("10.0.0.0/24", "10.96.0.0/24")).unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.stderr
            .contains("`network.services` of an existing cluster cannot be changed"),
        "{said:?}"
    );
    fs::write(&file, text).unwrap();
    assert_eq!(stage.install(&[]).code, Some(0));
}

#[test]
fn data_stays_under_a_cluster_that_cannot_be_stopped() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    let mut running = spawn(stage.home.command(Path::new("/bin/sleep")).arg("1000"));
    let runtime = stage.home.path().join("run");
    let directory = runtime.join("usernetes/rootlesskit");
    let (shown, pid) = (directory.display(), running.id());
    sh(
        &stage,
        &format!(
            "mkdir -m 700 ~/run; mkdir -p {shown}; echo {pid} >{shown}/child_pid; touch ~/silent"
        ),
    );
    let uninstall = || {
        let program = stage.home.data().join("current/bin/usernetes");
        let mut command = stage.command(&program);
        command.env("XDG_RUNTIME_DIR", &runtime);
        stage
            .home
            .run_command(command.args(["uninstall", "--purge"]))
    };
    let said = uninstall();
    running.kill().unwrap();
    running.wait().unwrap();
    assert_eq!(said.code, Some(6), "{said:?}");
    let expected =
        format!("it is running, but your service manager does not answer\n  process  {pid}\n");
    assert!(said.stderr.contains(&expected), "{said:?}");
    assert!(stage.units().join("u7s-etcd.service").exists());
    let said = uninstall();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!stage.home.data().exists());
}

#[test]
fn a_second_change_at_the_same_time_is_refused() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    let lock = fs::File::open(stage.home.data().join("store/.lock")).unwrap();
    lock.file().lock().unwrap();
    for arguments in [
        &["install"][..],
        &["uninstall"],
        &["port", "publish", "0.0.0.0:30080:30080/tcp"],
        &["certs", "renew"],
        &["rollback"],
    ] {
        let said = stage.usernetes(arguments);
        // `rollback` fails earlier, because there is no generation before the first one.
        let code = if arguments == ["rollback"] { 2 } else { 7 };
        assert_eq!(said.code, Some(code), "{said:?}");
    }
    drop(lock);
    assert_eq!(stage.usernetes(&["uninstall"]).code, Some(0));
}
