//! Tests of our context in the user's kubeconfig, from `merge` to the removal of the installation.

use std::path::PathBuf;

use fs_err as fs;

use support::home::Said;
use support::stage::Stage;

const WORK: &str = "# mine\nclusters:\n- name: work\n  cluster: {server: 'https://work.example'}\ncontexts: []\ncurrent-context: work\nusers: []\n";

/// An installation whose context was merged into an existing kubeconfig.
fn merged() -> (Stage, PathBuf) {
    let stage = Stage::new(&["etcd"]);
    assert_eq!(stage.install(&["--start="]).code, Some(0));
    let kube = stage.home.path().join(".kube");
    stage.home.directory(&kube);
    stage.home.secret(&kube.join("config"), WORK);
    let said = stage.usernetes(&["kubeconfig", "merge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(
        said.stderr,
        "$HOME/.kube/config now has the context `usernetes`\nkubectl uses the context `work` by default\n"
    );
    (stage, kube.join("config"))
}

fn bundle(stage: &Stage, arguments: &[&str]) -> Said {
    stage
        .home
        .run_command(stage.command(&stage.bundle).args(arguments))
}

#[test]
fn a_purge_takes_our_context_and_its_key_out_again() {
    let (stage, config) = merged();
    assert!(
        fs::read_to_string(&config)
            .unwrap()
            .contains("client-key-data")
    );
    let said = stage.usernetes(&["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr
            .contains("$HOME/.kube/config no longer has the context `usernetes`\n"),
        "{said:?}"
    );
    assert_eq!(fs::read_to_string(&config).unwrap(), WORK);
    assert_eq!(stage.names(".kube"), ["config"]);
    // Now there is nothing left to remove, with or without an installation.
    let said = bundle(&stage, &["kubeconfig", "unmerge", "--json"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    insta::assert_snapshot!(said.stdout, @r#"
    {
      "changed": false,
      "current_context": "work",
      "files": []
    }
    "#);
    assert_eq!(stage.names(".local/share"), Vec::<String>::new());
}

#[test]
fn uninstalling_keeps_the_context_as_it_keeps_the_keys_and_unmerge_still_works() {
    let (stage, config) = merged();
    let said = stage.usernetes(&["uninstall"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr.contains("$HOME/.kube/config keeps the context `usernetes`, because keys and data are kept; `usernetes kubeconfig unmerge` removes it\n"),
        "{said:?}"
    );
    assert!(
        fs::read_to_string(&config)
            .unwrap()
            .contains("client-key-data")
    );
    let said = bundle(&stage, &["kubeconfig", "unmerge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(fs::read_to_string(&config).unwrap(), WORK);
}

#[test]
fn a_home_that_was_copied_takes_out_its_own_context_only() {
    let (stage, config) = merged();
    let text = fs::read_to_string(&config).unwrap();
    let copy = stage.home.path().join("copy");
    let copied = stage.home.run_command(
        stage
            .command("/bin/sh".as_ref())
            .args(["-c", "mkdir copy && cp -a .config .kube .local copy"])
            .current_dir(stage.home.path()),
    );
    assert_eq!(copied.code, Some(0), "{copied:?}");
    let mut command = stage.command(&stage.bundle);
    command.env("HOME", &copy).args(["kubeconfig", "unmerge"]);
    let said = stage.home.run_command(&mut command);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(fs::read_to_string(copy.join(".kube/config")).unwrap(), WORK);
    assert_eq!(fs::read_to_string(&config).unwrap(), text);
}

#[test]
fn without_any_trace_of_an_installation_what_is_there_is_named_and_kept() {
    let (stage, config) = merged();
    let text = fs::read_to_string(&config).unwrap();
    stage.usernetes(&["uninstall", "--purge"]);
    // A purge by an earlier release leaves such a file behind.
    fs::write(&config, &text).unwrap();
    let said = bundle(&stage, &["kubeconfig", "unmerge"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    insta::assert_snapshot!(said.stderr, @"
    error: $HOME/.kube/config: the cluster `usernetes` is not the one that `usernetes kubeconfig merge` wrote
      expected  an entry that an installation has recorded; no record is left
      found     authority `CN=usernetes-ca`, server `https://127.0.0.1:6443`
      also      user in $HOME/.kube/config: client certificate issued by `CN=usernetes-ca`, `client-key-data`
      also      context in $HOME/.kube/config: cluster `usernetes`, user `usernetes`

    hint: nothing was changed; to remove entries that you no longer need, run `kubectl config --kubeconfig $HOME/.kube/config delete-cluster usernetes` and `kubectl config --kubeconfig $HOME/.kube/config delete-user usernetes` and `kubectl config --kubeconfig $HOME/.kube/config delete-context usernetes`
    ");
    assert_eq!(fs::read_to_string(&config).unwrap(), text);
}

#[test]
fn a_purge_goes_on_where_a_kubeconfig_cannot_be_changed() {
    let (stage, config) = merged();
    fs::write(&config, "users: {\n").unwrap();
    let said = stage.usernetes(&["uninstall", "--purge"]);
    // Everything else is removed. The file that stays is named with the reason.
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stderr.contains("left  $HOME/.kube/config: has the context `usernetes`: $HOME/.kube/config: this kubeconfig cannot be edited\n"),
        "{said:?}"
    );
    assert!(!stage.home.data().exists());
    assert_eq!(fs::read_to_string(&config).unwrap(), "users: {\n");
}
