//! Tests with directories of an installation that are links to other disks, and of the cleanup command.

use std::path::Path;

use fs_err as fs;

use support::home::{Said, is_root};
use support::stage::Stage;

fn sh(stage: &Stage, command: &str) {
    let said = said_by_sh(stage, command);
    assert_eq!(said.code, Some(0), "{said:?}");
}

fn said_by_sh(stage: &Stage, command: &str) -> Said {
    let mut shell = stage.command(Path::new("/bin/sh"));
    stage
        .home
        .run_command(shell.args(["-c", &format!("cd && {command}")]))
}

/// The number of names in a directory of the home.
fn count(stage: &Stage, directory: &str) -> usize {
    stage.names(directory).len()
}

/// A stage whose data and configuration directories are links to another disk.
fn with_linked_roots() -> Stage {
    let stage = Stage::new(&["etcd"]);
    sh(
        &stage,
        "mkdir -p .local/share .config disk/data disk/keys && ln -s ../../disk/data .local/share/usernetes && ln -s ../disk/keys .config/usernetes",
    );
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(count(&stage, "disk/data") > 3 && count(&stage, "disk/keys") > 2);
    sh(
        &stage,
        "mkdir -p disk/data/etcd/member && echo secret >disk/data/etcd/member/db",
    );
    stage
}

#[test]
fn purging_empties_what_links_lead_to() {
    let stage = with_linked_roots();
    let said = stage.usernetes(&["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr
            .contains("the directory $HOME/disk/data is empty now, and stays\n"),
        "{said:?}"
    );
    assert_eq!(
        (count(&stage, "disk/data"), count(&stage, "disk/keys")),
        (0, 0)
    );
    assert_eq!(
        (count(&stage, ".local/share"), count(&stage, ".config")),
        (0, 0)
    );
}

#[test]
fn the_cleanup_command_empties_what_links_lead_to() {
    for able in [true, false] {
        let stage = with_linked_roots();
        assert_eq!(stage.usernetes(&["uninstall"]).code, Some(0));
        if !able {
            fs::remove_file(stage.home.path().join("programs/newuidmap")).unwrap();
        }
        let bundle = stage.bundle.display();
        // With this PATH, the `newuidmap` of the real machine is not found.
        sh(
            &stage,
            &format!(
                "command=$(PATH=~/programs {bundle} show-cleanup-command) && eval \"$command\""
            ),
        );
        assert_eq!(
            (count(&stage, "disk/data"), count(&stage, "disk/keys")),
            (0, 0)
        );
        assert_eq!(
            (count(&stage, ".local/share"), count(&stage, ".config")),
            (0, 0)
        );
    }
}

#[test]
fn what_links_inside_lead_to_is_named_and_stays() {
    let stage = Stage::new(&["etcd"]);
    sh(
        &stage,
        "mkdir -p vault fast pictures .config .local/share/usernetes && ln -s ~/pictures .local/share/usernetes/images && ln -s ~/fast .local/share/usernetes/etcd",
    );
    stage.install(&[]);
    sh(
        &stage,
        "mv .config/usernetes/master/ca-key.pem vault && ln -s ~/vault/ca-key.pem .config/usernetes/master/",
    );
    let said = stage.usernetes(&["uninstall", "--purge"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let error = said.stderr.split_once("error: ").unwrap().1;
    insta::assert_snapshot!(error, @r"
    not everything could be removed
      left  $HOME/fast: $HOME/.local/share/usernetes/etcd was a link to it
      left  $HOME/vault/ca-key.pem: $HOME/.config/usernetes/master/ca-key.pem was a link to it

    hint: look at each of them, and remove what you do not need
    ");
    assert!(!stage.home.data().exists());
    assert_eq!(stage.names("vault"), ["ca-key.pem"]);
    // The user's own images are not leftovers.
    assert!(stage.home.path().join("pictures").exists());
}

#[test]
fn generations_cannot_be_a_link() {
    let stage = Stage::new(&["etcd"]);
    sh(
        &stage,
        "mkdir -p disk/generations .local/share/usernetes && ln -s ~/disk/generations .local/share/usernetes/generations",
    );
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(6), "{said:?}");
    insta::assert_snapshot!(said.stderr, @r"
    error: $HOME/.local/share/usernetes/generations is a link
      expected  a directory: the links in it lead to the store beside it
      found     a link to $HOME/disk/generations

    hint: put the directory back (`rm $HOME/.local/share/usernetes/generations && mv $HOME/disk/generations $HOME/.local/share/usernetes/generations`); to have everything on another disk, make $HOME/.local/share/usernetes a link, or set XDG_DATA_HOME
    ");
    assert_eq!(stage.names(".local/share/usernetes"), ["generations"]);
}

#[test]
fn a_disk_that_is_not_there_is_not_an_empty_one() {
    let stage = with_linked_roots();
    sh(&stage, "mv disk/data disk/away");
    stage.calls();
    for arguments in [&["uninstall", "--purge"][..], &["install"], &["stop"]] {
        let said = stage
            .home
            .run_command(stage.command(&stage.bundle).args(arguments));
        assert_eq!(said.code, Some(6), "{said:?}");
        assert!(
            said.stderr.starts_with(
                "error: $HOME/.local/share/usernetes is a link to a place that does not exist\n"
            ),
            "{said:?}"
        );
    }
    assert_eq!(stage.calls(), "");
    assert!(stage.units().join("u7s-etcd.service").exists());
}

#[test]
fn the_cleanup_command_does_not_remove_data_under_a_cluster() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    let said = stage.usernetes(&["show-cleanup-command"]);
    assert_eq!((said.code, &*said.stdout), (Some(1), ""), "{said:?}");
    assert!(
        said.stderr
            .contains("hint: run `usernetes uninstall` first"),
        "{said:?}"
    );
}

#[test]
fn the_cleanup_command_says_what_it_lacks() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    assert_eq!(stage.usernetes(&["uninstall"]).code, Some(0));
    // RootlessKit and the programs that map ids exist, but RootlessKit does not work.
    let rootlesskit = stage.home.current().bin_dir().join("rootlesskit");
    support::home::overwrite(
        &fs::canonicalize(rootlesskit).unwrap(),
        b"#!/bin/sh\necho 'no namespaces here' >&2; exit 1\n",
    );
    let said = stage.usernetes(&["show-cleanup-command"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stdout.starts_with("chmod -R u+w -- "), "{said:?}");
    if !is_root() {
        return;
    }
    // Root runs this test, so the directory does not belong to the user of the commands.
    let others = stage.home.data().join("containerd/a");
    fs::create_dir_all(&others).unwrap();
    let said = stage.usernetes(&["show-cleanup-command"]);
    assert_eq!((said.code, &*said.stdout), (Some(6), ""), "{said:?}");
    insta::assert_snapshot!(said.stderr, @r"
    error: $HOME/.local/share/usernetes/containerd was written by a container, and only RootlessKit or root can remove it
      because  RootlessKit does not work here: no namespaces here

    hint: run `usernetes doctor`, which shows what is missing and how to fix it; or ask an administrator to run `rm -rf -- $HOME/.local/share/usernetes $HOME/.config/usernetes`
    ");
    assert!(others.exists());
}
