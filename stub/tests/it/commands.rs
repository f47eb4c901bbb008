//! Snapshots of the output of commands.

use std::io::Read;
use std::process::Stdio;

use support::home::{Home, flip, overwrite, program, remove, spawn};
use support::pack::Recipe;

/// A home with two generations, of which the second is current.
fn upgraded() -> Home {
    let home = Home::new();
    home.install(&Recipe::new("0.1.0", "3.5.30").pack());
    home.install(&Recipe::new("0.2.0", "3.6.0").pack());
    home
}

/// Replaces the parts of a text that depend on the processor: its name, and the ids of bundles.
fn portable(home: &Home, text: &str) -> String {
    let mut text = text.replace(std::env::consts::ARCH, "<arch>");
    for number in home.store().generation_numbers().unwrap() {
        let id = home.store().generation(number).unwrap().id();
        text = text.replace(&id.to_string(), &format!("<id {number}>"));
        text = text.replace(&id.short(12), &format!("<short id {number}>"));
    }
    text
}

#[test]
fn help_lists_commands_and_exit_codes() {
    let said = Home::new().usernetes(&["--help"]);
    assert_eq!(said.code, Some(0));
    insta::assert_snapshot!(said.stdout, @r#"
    Rootless Kubernetes under $HOME

    Usage: usernetes [OPTIONS] [COMMAND]

    Commands:
      install               Install the bundle and start a cluster; run it again to apply other settings
      run                   Run the cluster in the foreground, without systemd: in containers, in WSL, on batch nodes
      upgrade               Check another bundle and its signature, then install it with the same settings
      uninstall             Stop the cluster and remove its units
      show-cleanup-command  Print the command that removes all data, for `eval "$(usernetes show-cleanup-command)"`
      join                  Make this machine a worker of another machine's cluster, with a token from there
      token                 Make, list or delete tokens, with which other machines join this cluster
      node                  List the machines of the cluster, or remove one
      doctor                Check whether this machine can run a cluster, and show how to fix it if not
      status                Show the cluster's health, layer by layer
      start                 Start the cluster, or one unit
      stop                  Stop the cluster, or one unit
      restart               Stop and start the cluster, or one unit
      logs                  Show the logs of the cluster's components
      kubectl               Run kubectl as the cluster's administrator
      ctr                   Run containerd's ctr
      crictl                Run crictl
      etcdctl               Run etcdctl
      rootlessctl           Run rootlessctl
      nsenter               Run a program, or a shell, in the cluster's namespaces
      kubeconfig            Print the administrator's kubeconfig, or merge it into your own
      port                  Publish ports of this machine into the cluster, or list them
      image                 Load images of your own into the cluster, list all images, or remove some
      certs                 List or renew the cluster's certificates
      pki                   Make the certificates of all machines of a cluster beforehand, in one place
      backup                Write the whole cluster into one file: data, keys, configuration and your images
      restore               Restore a cluster from a file that `backup` has written, and start it
      list                  List the components with their versions, licences and sizes
      verify                Check every byte of a bundle, or of the installed generation
      licenses              Show the components' licences, the licence texts, and where to get source code
      sbom                  Print the software bill of materials
      generations           List the installed generations and mark the current one
      rollback              Make an earlier generation current again
      gc                    Remove unused generations and components; keep the current and the previous generation
      support-bundle        Collect what helps to find a fault into one archive, without secrets
      completion            Print the completions of this command for a shell
      help                  Print this message or the help of the given subcommand(s)

    Options:
      -V, --version  Print the release and, for a bundle, the beginning of its id
      -v, --verbose  Show each program that the command runs
      -h, --help     Print help

    Exit codes:
      0  done
      1  failed for a reason not listed below
      2  the command line is wrong
      3  a recipe, lockfile, manifest or configuration file is wrong
      4  bytes are damaged, truncated or not the pinned ones
      5  something could not be fetched
      6  this machine cannot do it as it is (space, permissions, architecture, a missing program)
      7  another process holds the lock
    "#);
}

#[test]
fn version_names_release_and_bundle() {
    let home = Home::new();
    let said = home.usernetes(&["--version"]);
    assert_eq!(
        said.stdout,
        concat!("usernetes ", env!("CARGO_PKG_VERSION"), "\n")
    );
    let bytes = Recipe::new("7.8.9", "3.5.30").runnable().pack();
    let id = home.bundle(&bytes).id().short(12);
    let said = home.run(&home.program("usernetes-x86_64", &bytes), &["-V"]);
    assert_eq!(said.stdout, format!("usernetes 7.8.9 (bundle {id})\n"));
}

#[test]
fn list_prints_versions_and_sizes() {
    let home = upgraded();
    insta::assert_snapshot!(portable(&home, &home.usernetes(&["list"]).stdout), @r"
    component       version  licence                       files     size
    etcd            3.6.0    Apache-2.0                        2     33 B
    kube-apiserver  1.36.3   Apache-2.0                        1  60.0 kB
    kube-scheduler  1.36.3   Apache-2.0                        1  60.5 kB
    runc            1.4.0    Apache-2.0 AND LGPL-2.1-only      3   3.0 kB
    usernetes       0.2.0    Apache-2.0                        1     24 B

    release 0.2.0 for <arch>, bundle <short id 2>: 5 components, 8 files, 123.6 kB unpacked
    ");
    let json: serde_json::Value =
        serde_json::from_str(&home.usernetes(&["list", "--json"]).stdout).unwrap();
    insta::assert_snapshot!(format!("{:#}", json["components"][0]), @r#"
    {
      "bytes": 33,
      "files": 2,
      "license": "Apache-2.0",
      "name": "etcd",
      "version": "3.6.0"
    }
    "#);
    assert_eq!(json["bundle"], home.current().id().to_string());
    assert_eq!(json["release"], "0.2.0");
}

#[test]
fn licenses_prints_those_of_every_component() {
    let home = upgraded();
    insta::assert_snapshot!(home.usernetes(&["licenses"]).stdout, @"
    usernetes 0.2.0: Apache-2.0
      https://github.com/rootless-containers/usernetes

    etcd 3.6.0: Apache-2.0
      https://etcd.example
      https://etcd.example/3.6.0.tar.gz
        sha256:2825c0070d83b0f42dfd83d39a0f96183cd72aed6f7342b23dde1f3c4133d48e

    kube-apiserver 1.36.3: Apache-2.0
      https://kube-apiserver.example
      https://kube-apiserver.example/1.36.3.tar.gz
        sha256:b47ad0b3d6e1e97b1e0ea4aee1bbf78c7f3eeeafbcf682798a86f8c75f2e834f

    kube-scheduler 1.36.3: Apache-2.0
      https://kube-scheduler.example
      https://kube-scheduler.example/1.36.3.tar.gz
        sha256:b47ad0b3d6e1e97b1e0ea4aee1bbf78c7f3eeeafbcf682798a86f8c75f2e834f

    runc 1.4.0: Apache-2.0 AND LGPL-2.1-only
      https://runc.example
      https://runc.example/1.4.0.tar.gz
        sha256:74b860b3270666137a4d543c3e3d1e4e473d54636f7593d1c17bf693e6540bbe

    linked into usernetes:
      unknown: it was not compiled by the build that made this bundle

    to read the texts: `usernetes licenses NAME`, or `usernetes licenses --all`
    ");
    let json: serde_json::Value =
        serde_json::from_str(&home.usernetes(&["licenses", "--json"]).stdout).unwrap();
    assert_eq!(
        json["components"][3]["license"],
        "Apache-2.0 AND LGPL-2.1-only"
    );
}

#[test]
fn rollback_makes_the_previous_generation_current() {
    let home = upgraded();
    insta::assert_snapshot!(portable(&home, &home.usernetes(&["generations"]).stdout), @r"
       generation  release  bundle
                1  0.1.0    <short id 1>
    *           2  0.2.0    <short id 2>
    ");
    let said = home.usernetes(&["rollback"]);
    insta::assert_snapshot!(said.stderr, @"generation 1 (release 0.1.0) is current now");
    insta::assert_snapshot!(portable(&home, &home.usernetes(&["generations", "--json"]).stdout), @r#"
    {
      "generations": [
        {
          "bundle": "<id 1>",
          "current": true,
          "number": 1,
          "release": "0.1.0"
        },
        {
          "bundle": "<id 2>",
          "current": false,
          "number": 2,
          "release": "0.2.0"
        }
      ]
    }
    "#);
    let said = home.usernetes(&["rollback"]);
    assert_eq!(said.code, Some(2));
    insta::assert_snapshot!(said.stderr, @r"
    error: there is no generation before the current one
      generations  1, 2

    hint: name the generation, as in `usernetes rollback 3`
    ");
    let said = home.usernetes(&["rollback", "7"]);
    assert_eq!(said.code, Some(2));
    insta::assert_snapshot!(said.stderr, @r"
    error: there is no generation 7
      generations  1, 2

    hint: name one of these generations, as in `usernetes rollback 3`
    ");

    let etcd = home
        .store()
        .generation(2)
        .unwrap()
        .component_dir("etcd")
        .unwrap();
    remove(&etcd.join("bin/etcd"));
    let said = home.usernetes(&["rollback", "2"]);
    assert_eq!(said.code, Some(4));
    insta::assert_snapshot!(said.stderr.replace(etcd.file_name().unwrap().to_str().unwrap(), "<etcd>"), @r"
    error: generation 2 is not complete
      first problem  $HOME/.local/share/usernetes/store/<etcd>/bin/etcd: missing

    hint: run `install` with the bundle of release 0.2.0 instead
    ");
    assert_eq!(home.current().number(), 1);
}

#[test]
fn commands_say_that_nothing_is_installed() {
    let home = Home::new();
    for command in ["list", "verify", "licenses"] {
        let said = home.usernetes(&[command]);
        assert_eq!((said.code, &*said.stdout), (Some(1), ""));
        insta::allow_duplicates! {
            insta::assert_snapshot!(said.stderr, @r"
            error: nothing is installed
              looked at  $HOME/.local/share/usernetes/current

            hint: run a bundle's own `install`, for example `./usernetes-x86_64 install`
            ");
        }
    }
    let said = home.usernetes(&["generations", "--json"]);
    assert_eq!(
        (said.code, &*said.stdout),
        (Some(0), "{\n  \"generations\": []\n}\n")
    );
    let said = home.usernetes(&["gc"]);
    assert_eq!((said.code, &*said.stderr), (Some(0), "nothing to remove\n"));
    assert!(
        !home.path().join(".local").exists(),
        "looking must not make anything"
    );
}

#[test]
fn verify_of_what_is_installed_lists_every_problem() {
    let home = upgraded();
    insta::assert_snapshot!(portable(&home, &home.usernetes(&["verify"]).stdout), @r"
    generation 2 is whole: all 8 files (123.6 kB) match bundle <id 2>
    when it was installed, there was no signature beside its bundle: compare the bundle id with the one its publisher names
    ");
    let dir = |name: &str| home.current().component_dir(name).unwrap();
    flip(&dir("kube-apiserver").join("bin/kube-apiserver"), 0);
    remove(&dir("runc").join("images/pause.tar"));
    overwrite(&dir("etcd").join("bin/more"), b"");
    let said = home.usernetes(&["verify"]);
    assert_eq!(said.code, Some(4));
    let lines: Vec<_> = said.stdout.lines().collect();
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert!(
        lines[0].ends_with("-etcd-3.6.0/bin/more: does not belong there"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("-kube-apiserver-1.36.3/bin/kube-apiserver: has sha256 "),
        "{lines:?}"
    );
    assert!(
        lines[2].ends_with("-runc-1.4.0/images/pause.tar: missing"),
        "{lines:?}"
    );
    insta::assert_snapshot!(portable(&home, &said.stderr), @r"
    error: generation 2 is damaged
      expected  8 files and the links to them, as in bundle <short id 2>
      found     3 of them missing, changed or added

    hint: run `install --repair` with the bundle of release 0.2.0
    ");
    let said = home.usernetes(&["verify", "--json"]);
    assert_eq!(said.code, Some(4));
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(json["integrity"], "damaged");
    assert_eq!(json["damages"].as_array().unwrap().len(), 3);
}

#[test]
fn verify_of_a_bundle_says_what_it_did_not_check() {
    let home = Home::new();
    let bytes = Recipe::new("0.1.0", "3.5.30").pack();
    home.install(&bytes);
    let file = home.path().join("bundle");
    let portable = |text: &str| portable(&home, text).replace(&bytes.len().to_string(), "<len>");
    let said = home.usernetes(&["verify", file.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    insta::assert_snapshot!(portable(&said.stdout), @"
    $HOME/bundle is whole: all <len> bytes match bundle <id 1>
    only integrity was checked, not origin: there is no signature beside the file
    ");
    let said = home.usernetes(&["verify", file.to_str().unwrap(), "--json"]);
    insta::assert_snapshot!(portable(&said.stdout), @r#"
    {
      "bundle": "<id 1>",
      "bytes": <len>,
      "file": "$HOME/bundle",
      "integrity": "whole",
      "signature": {
        "origin": "unsigned"
      }
    }
    "#);
    let said = home.usernetes(&["verify", "/nonexistent"]);
    assert_eq!(said.code, Some(1));
    assert!(said.stderr.contains("`/nonexistent`"), "{}", said.stderr);
}

/// The reader ends early, as in `usernetes list | head -0`.
#[test]
fn a_reader_that_goes_away_is_no_error() {
    let home = upgraded();
    let mut command = home.command(&program());
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    command
        .args(["list", "--json"])
        .stdout(writer)
        .stderr(Stdio::piped());
    let mut child = spawn(&mut command);
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert_eq!((child.wait().unwrap().code(), &*stderr), (Some(0), ""));
}
