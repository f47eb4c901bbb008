//! Tests of the user who may change an installation, and of the record that must be readable before it is changed.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::Path;

use fs_err as fs;

use support::home::is_root;
use support::stage::Stage;

/// The id of a user other than the one of the commands.
const OTHER: u32 = 54321;

/// Gives everything in a directory to another user. It stays readable, because root can read everything.
fn give_away(path: &Path) {
    lchown(path, Some(OTHER), Some(OTHER)).unwrap();
    if !path.is_symlink() {
        fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
    }
    if path.is_dir() && !path.is_symlink() {
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}

/// Root runs commands with another user's `HOME`. Only root can prepare this test.
#[test]
fn no_command_changes_what_belongs_to_another_user() {
    if !is_root() {
        return;
    }
    for (given, named) in [
        (".local", "$HOME/.local/share/usernetes"),
        (".config", "$HOME/.config/usernetes"),
    ] {
        let stage = Stage::new(&["etcd", "kubectl"]);
        stage.install(&[]);
        stage.calls();
        let units = stage.names(".config/systemd/user");
        let given = stage.home.path().join(given);
        give_away(&given);
        for arguments in [
            &["uninstall", "--purge"][..],
            &["install"],
            &["start"],
            &["stop"],
            &["restart", "etcd"],
            &["kubeconfig", "merge"],
            &["kubeconfig", "unmerge"],
            &["port", "publish", "127.0.0.1:30080:30080/tcp"],
            &["certs", "renew"],
            &["rollback"],
            &["gc"],
        ] {
            let said = stage
                .home
                .run_command(stage.command(&stage.bundle).args(arguments));
            assert_eq!(said.code, Some(6), "{said:?}");
            // `install` names the first of those directories that it looks at.
            let expected = format!("error: the directory {named} belongs to another user\n");
            assert!(
                said.stderr.starts_with(&expected) || arguments == ["install"],
                "{said:?}"
            );
        }
        assert_eq!(
            (stage.calls(), stage.names(".config/systemd/user")),
            (String::new(), units)
        );
    }
}

#[test]
fn what_data_was_made_with_must_be_readable_where_there_is_data() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    let file = stage.home.data().join("installed.json");
    let text = fs::read_to_string(&file).unwrap();
    // This value is damaged, or one that only a later release knows.
    let text = text.replace(r#"cni = \"bridge\""#, r#"cni = \"overlay\""#);
    assert!(text.contains("overlay"), "{text}");
    fs::write(&file, &text).unwrap();
    stage.calls();
    assert_eq!(stage.install(&[]).code, Some(0));
    fs::write(&file, &text).unwrap();
    fs::create_dir_all(stage.home.data().join("etcd/member")).unwrap();
    stage.calls();
    let said = stage.install(&["--services=10.96.0.0/16"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(
        said.stderr.starts_with("error: the configuration of the last installation in installed.json: ")
            && said.stderr.contains("hint: the cluster's data was made with it, so put back $HOME/.local/share/usernetes/installed.json as it was"),
        "{said:?}"
    );
    assert_eq!(stage.calls(), "");
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn nothing_that_runs_is_older_than_the_boot() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    let file = stage.home.data().join("installed.json");
    let changed = |boot: &str| {
        let text = fs::read_to_string(&file).unwrap();
        let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
        // The receipt of an installation that was interrupted before it stopped the running services.
        json["stale"] = true.into();
        json["boot"] = boot.into();
        fs::write(&file, json.to_string()).unwrap();
        let said = stage.install(&[]);
        assert_eq!(said.code, Some(0), "{said:?}");
        !said.stderr.contains("nothing to do")
    };
    let this = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert!(changed(this.trim()));
    // Earlier releases did not record the boot.
    assert!(changed(""));
    assert!(!changed("another"));
}
