//! The words that programs of different releases say to each other stay as they are. They are written here once more, so
//! that a change of the constants fails.

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use fs_err as fs;

use support::home::{Home, Said};
use support::pack::Recipe;

/// A home with one generation, made current by the words that `upgrade` says.
fn installed_by_upgrade(origin: &str) -> (Home, Said) {
    let home = Home::of_mortal();
    let bundle = Recipe::new("0.1.0", "3.5.30").runnable().pack();
    let program = home.program("usernetes-x86_64", &bundle);
    let words = ["install", "--start=", "--origin", origin, "--json"];
    let said = home.run(&program, &words);
    (home, said)
}

#[test]
fn what_upgrade_says_to_a_later_release() {
    for origin in [
        r#"{"origin":"signed","key":"0123456789ABCDEF","comment":"release 1"}"#,
        r#"{"origin":"unsigned"}"#,
        r#"{"origin":"unchecked"}"#,
    ] {
        let (home, said) = installed_by_upgrade(origin);
        assert_eq!(said.code, Some(0), "{said:?}");
        let report: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!(report["outcome"], "new");
        let recorded = home.current().origin().unwrap();
        assert_eq!(serde_json::to_string(&recorded).unwrap(), origin);
    }
    let (_home, said) = installed_by_upgrade(r#"{"origin":"rumour"}"#);
    assert_eq!(said.code, Some(2), "{said:?}");
}

#[test]
fn what_rollback_says_to_an_earlier_release() {
    let (home, _) = installed_by_upgrade(r#"{"origin":"unsigned"}"#);
    let said = home.usernetes(&["install", "--start=", "--generation", "1"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = home.usernetes(&["install", "--start=", "--generation", "7"]);
    assert_ne!(said.code, Some(0), "{said:?}");
    assert_eq!(home.current().number(), 1);
}

#[test]
fn the_words_of_units_are_understood() {
    let (home, _) = installed_by_upgrade(r#"{"origin":"unsigned"}"#);
    let program = home.current().bin_dir().join("usernetes");
    let unit = |words: &[&str]| {
        let mut command = home.command(&program);
        home.run_command(command.args(words).env("XDG_RUNTIME_DIR", home.path()))
    };
    let said = unit(&["boot", "no-such-service"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    // Names that were once in units stay names of services.
    let known = [
        "rootlesskit",
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "flanneld",
        "ports",
    ];
    for service in known {
        assert!(said.stderr.contains(service), "{service}: {said:?}");
    }
    // It runs inside RootlessKit only, and says so. It is not an unknown name.
    let said = unit(&["boot", "rootlesskit-child"]);
    assert!(!said.stderr.contains("there is no service"), "{said:?}");
    let said = unit(&["certs", "renew", "--due"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = unit(&["defragment"]);
    assert_eq!((said.code, said.stderr.as_str()), (Some(0), ""), "{said:?}");
    for verb in ["pack-volumes", "unpack-volumes"] {
        let said = unit(&[verb, home.path().join("volumes").to_str().unwrap()]);
        assert_ne!(said.code, Some(2), "{said:?}");
    }
    // There is no schedule. The words are known.
    let said = unit(&["backup", "--scheduled"]);
    assert!(said.stderr.contains("no schedule for backups"), "{said:?}");
    let said = unit(&["boot", "load-images"]);
    assert!(!said.stderr.contains("there is no service"), "{said:?}");
    // Nothing runs here whose namespaces it could enter.
    let said = unit(&["probe-peers", "192.0.2.1:10250"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    // It opens ports of the namespaces that RootlessKit has made for it. There are no targets for the other.
    let said = unit(&["probe-network", "{}"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    // This one waits for a line of its parent, which never comes.
    let said = unit(&["probe-namespaces"]);
    assert_ne!(said.code, Some(2), "{said:?}");
}

/// RootlessKit looks in the help for what its slirp4netns can do, and then starts it with these options.
#[test]
fn rootlesskit_can_use_pasta_as_its_slirp4netns() {
    let (home, _) = installed_by_upgrade(r#"{"origin":"unsigned"}"#);
    let link = home.path().join("pasta-as-slirp4netns");
    fs::os::unix::fs::symlink(home.current().bin_dir().join("usernetes"), &link).unwrap();
    let output = Command::new(&link).arg("--help").output().unwrap();
    assert!(output.status.success());
    let help = String::from_utf8_lossy(&output.stdout);
    for option in ["--netns-type", "--cidr", "--disable-host-loopback"] {
        assert!(help.contains(option), "{help}");
    }
    let words = "--mtu 65520 -r 3 --disable-host-loopback --cidr 10.0.42.0/24 1 tap0";
    let mut command = Command::new(&link);
    command.args(words.split(' ')).env("PATH", home.path());
    let output = command.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(stderr.contains("cannot run `pasta`"), "{stderr}");
    // RootlessKit does not show that, so it is kept.
    let kept = fs::read_to_string(link.with_extension("log")).unwrap();
    assert!(kept.contains("cannot run `pasta`"), "{kept}");
}

#[test]
fn what_container_runtimes_call() {
    let (home, _) = installed_by_upgrade(r#"{"origin":"unsigned"}"#);
    let bin = home.current().bin_dir();
    // CRI-O's name, and containerd's where no cgroup can be made.
    for name in ["oci-runtime", "oci-runtime-without-cgroups"] {
        let link = home.path().join(name);
        fs::os::unix::fs::symlink(bin.join("usernetes"), &link).unwrap();
        let output = Command::new(&link).arg("--version").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        // The bundle has no crun: the program that it would become is named.
        assert!(!output.status.success());
        assert!(
            stderr.contains(bin.join("crun").to_str().unwrap()),
            "{stderr}"
        );
        // By any other name it is `usernetes`.
        let output = Command::new(&link).arg0("other").arg("--version").output();
        assert!(output.unwrap().status.success());
    }
}
