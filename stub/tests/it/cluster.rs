//! `install`, `uninstall` and what is between, with programs that only play the service manager.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;

use fs_err as fs;
use stub::bundle::Mode;

use crate::home::{Home, Said};
use crate::pack::{Pack, Recipe};

/// Writes down what it is told, and plays along: what is started is active, unless `failing` names it.
const SYSTEMCTL: &str = r#"#!/bin/sh
[ "$1" = --user ] && shift
state=$HOME/state
units=$HOME/.config/systemd/user
case $1 in
show)
    if [ "$2" = --property=Version,SystemState,ControlGroup ]; then
        printf 'Version=257.1\nSystemState=running\nControlGroup=/here\n'
        exit
    fi
    shift 3
    for unit; do
        load=not-found active=inactive
        [ -e "$units/$unit" ] && load=loaded
        [ -e "$state/$unit" ] && active=$(cat "$state/$unit")
        printf 'Id=%s\nLoadState=%s\nActiveState=%s\nSubState=%s\nNRestarts=0\n\n' "$unit" $load $active $active
    done
    exit
    ;;
esac
echo "$*" >>"$HOME/calls"
case $1 in
start)
    case $3 in
    u7s-etcd.target) started="$3 u7s-rootlesskit.service u7s-etcd.service" ;;
    *) started=$3 ;;
    esac
    for unit in $started; do echo active >"$state/$unit"; done
    for unit in $(cat "$HOME/failing" 2>/dev/null); do echo failed >"$state/$unit"; done
    ;;
stop) rm -f "$state"/* ;;
enable)
    shift
    mkdir -p "$units/default.target.wants"
    for unit; do ln -sf "$units/$unit" "$units/default.target.wants/$unit"; done
    ;;
disable)
    shift
    for unit; do rm -f "$units/default.target.wants/$unit"; done
    ;;
esac
"#;

const JOURNALCTL: &str =
    "#!/bin/sh\necho \"journalctl $*\" >>\"$HOME/calls\"\necho 'etcd: out of luck'\n";
const LOGINCTL: &str = "#!/bin/sh\necho \"loginctl $*\" >>\"$HOME/calls\"\n";
/// Plays RootlessKit for `rm`: what belongs to others does not belong to others here.
const ROOTLESSKIT: &str = "#!/bin/sh\necho \"rootlesskit $*\" >>\"$HOME/calls\"\nexec \"$@\"\n";

/// A home with a bundle and a service manager that is played.
struct Stage {
    home: Home,
    bundle: PathBuf,
}

impl Stage {
    /// The bundle has these programs besides RootlessKit.
    fn new(programs: &[&str]) -> Self {
        let home = Home::of_mortal();
        for dir in ["programs", "state"] {
            fs::create_dir_all(home.path().join(dir)).unwrap();
            fs::set_permissions(home.path().join(dir), Permissions::from_mode(0o777)).unwrap();
        }
        for (name, text) in [
            ("systemctl", SYSTEMCTL),
            ("journalctl", JOURNALCTL),
            ("loginctl", LOGINCTL),
        ] {
            home.program(&format!("programs/{name}"), text.as_bytes());
        }
        let bundle = home.program("usernetes-x86_64", &pack("0.1.0", programs));
        Self { home, bundle }
    }

    fn command(&self, program: &std::path::Path) -> Command {
        let mut command = self.home.command(program);
        let programs = self.home.path().join("programs");
        command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
        command.env("USER", "u");
        command
    }

    /// The bundle, on a machine whose fitness does not matter.
    fn install(&self, arguments: &[&str]) -> Said {
        let mut command = self.command(&self.bundle);
        self.home
            .run_command(command.args(["install", "--force"]).args(arguments))
    }

    fn usernetes(&self, arguments: &[&str]) -> Said {
        let program = self.home.data().join("current/bin/usernetes");
        self.home
            .run_command(self.command(&program).args(arguments))
    }

    /// What the played programs were told since the last time.
    fn calls(&self) -> String {
        let file = self.home.path().join("calls");
        let text = fs::read_to_string(&file).unwrap_or_default();
        let _ = fs::remove_file(file);
        text
    }

    fn units(&self) -> PathBuf {
        self.home.path().join(".config/systemd/user")
    }

    fn names(&self, directory: &str) -> Vec<String> {
        let entries = fs::read_dir(self.home.path().join(directory))
            .into_iter()
            .flatten();
        let mut names: Vec<_> = entries
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

fn pack(release: &'static str, programs: &[&str]) -> Vec<u8> {
    let recipe = Recipe::new(release, "3.6.0").runnable();
    let mut pack = Pack::default();
    let mut names = [programs, &["rootlesskit"]].concat();
    names.sort_unstable();
    for name in names {
        let text = match name {
            "rootlesskit" => ROOTLESSKIT.to_owned(),
            name => format!("#!/bin/sh\necho {name} {release}\n"),
        };
        let path = format!("bin/{name}");
        pack.component(name, release, "Apache-2.0").file(
            &path,
            Mode::Program,
            text.as_bytes(),
            None,
        );
    }
    pack.finish(&recipe)
}

const CONTROL_PLANE: [&str; 4] = [
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
];

#[test]
fn from_nothing_to_etcd_and_back() {
    let stage = Stage::new(&["etcd"]);
    let before = stage.names("");
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("u7s-etcd.target is up\n"), "{said:?}");
    assert!(said.stderr.contains("this bundle has no kube-apiserver, kube-controller-manager, kube-scheduler, kubelet, kube-proxy\n"), "{said:?}");
    insta::assert_snapshot!(stage.calls(), @r"
    daemon-reload
    enable u7s-etcd.target
    loginctl --no-ask-password enable-linger
    start --no-block u7s-etcd.target
    ");
    assert!(stage.units().join("u7s-rootlesskit.service").exists());
    assert!(
        stage
            .home
            .path()
            .join(".config/usernetes/master/admin-localhost.kubeconfig")
            .exists()
    );

    let again = stage.install(&[]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(
        again.stderr.contains("was current already, nothing to do"),
        "{again:?}"
    );
    assert_eq!(stage.calls(), "");

    let said = stage.usernetes(&["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    insta::assert_snapshot!(stage.calls(), @r"
    stop --no-block u7s.target u7s-rootlesskit.service
    disable u7s-etcd.target
    daemon-reload
    loginctl --no-ask-password disable-linger
    ");
    // What the played service manager keeps was there before.
    assert_eq!(stage.names(""), before);
}

#[test]
fn without_a_service_manager_everything_but_starting_is_done() {
    let stage = Stage::new(&["etcd"]);
    let said = stage.home.run(&stage.bundle, &["install", "--start="]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.stderr.contains("nothing was started"), "{said:?}");
    assert!(stage.units().join("u7s-etcd.service").exists());
    let said = stage
        .home
        .run(&stage.bundle, &["install", "--start=u7s-etcd.target"]);
    assert_eq!(said.code, Some(6), "{said:?}");
    assert!(
        said.stderr
            .contains("must be put right before a cluster can run here"),
        "{said:?}"
    );
    let said = stage.home.run(&stage.bundle, &["uninstall"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(stage.names(".config/systemd"), Vec::<String>::new());
}

#[test]
fn other_settings_are_named_and_applied() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    stage.calls();
    let said = stage.install(&["--cidr=10.0.99.0/24", "-p", "0.0.0.0:30080:30080/tcp"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let changes: Vec<_> = said
        .stderr
        .lines()
        .filter(|l| l.starts_with("changed"))
        .collect();
    assert_eq!(
        changes,
        [
            "changed  publish: 127.0.0.1:6443:6443/tcp → 127.0.0.1:6443:6443/tcp 0.0.0.0:30080:30080/tcp",
            "changed  network.rootlesskit: 10.0.42.0/24 → 10.0.99.0/24",
        ]
    );
    insta::assert_snapshot!(stage.calls(), @r"
    daemon-reload
    enable u7s-etcd.target
    stop --no-block u7s.target u7s-rootlesskit.service
    start --no-block u7s-etcd.target
    ");
    // The installed command applies what was edited.
    let file = stage.home.path().join(".config/usernetes/config.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("10.0.99.0/24", "10.0.98.0/24")).unwrap();
    let said = stage.usernetes(&["install", "--force"]);
    assert!(
        said.stderr
            .contains("changed  network.rootlesskit: 10.0.99.0/24 → 10.0.98.0/24\n"),
        "{said:?}"
    );
}

#[test]
fn what_data_was_made_with_stays() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    fs::create_dir_all(stage.home.data().join("etcd/member")).unwrap();
    let file = stage.home.path().join(".config/usernetes/config.toml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("10.0.0.0/24", "10.96.0.0/24")).unwrap();
    stage.calls();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(2), "{said:?}");
    insta::assert_snapshot!(said.stderr, @r"
    error: `network.services` of an existing cluster cannot be changed
      expected  `10.0.0.0/24`, which the cluster's data was made with
      found     `10.96.0.0/24`

    hint: set `network.services` back to `10.0.0.0/24`, or remove the cluster and all its data with `usernetes uninstall --purge` first
    ");
    assert_eq!(stage.calls(), "");
}

#[test]
fn a_unit_that_fails_is_named_with_its_log() {
    let stage = Stage::new(&["etcd"]);
    fs::write(stage.home.path().join("failing"), "u7s-etcd.service").unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(1), "{said:?}");
    let error = said.stderr.split_once("error: ").unwrap().1;
    insta::assert_snapshot!(error, @r"
    u7s-etcd.service does not start
      log    etcd: out of luck
      state  failed

    hint: `usernetes logs u7s-etcd.service` shows the whole log; what was installed stays, so `install` can be run again
    ");
    assert!(
        stage
            .calls()
            .contains("journalctl --user --no-pager --unit u7s-etcd.service")
    );
    fs::remove_file(stage.home.path().join("failing")).unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
}

#[test]
fn a_unit_of_somebody_else_is_refused_before_anything_is_changed() {
    let stage = Stage::new(&["etcd"]);
    fs::create_dir_all(stage.units()).unwrap();
    fs::write(
        stage.units().join("u7s-etcd.service"),
        "[Service]\nExecStart=/somewhere/etcd.sh\n",
    )
    .unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(3), "{said:?}");
    insta::assert_snapshot!(said.stderr, @r"
    error: $HOME/.config/systemd/user/u7s-etcd.service is there already, and was not written by `usernetes install`
      expected  no unit of this name

    hint: uninstall what it belongs to (the shell-script Usernetes has `uninstall.sh`), or move it away: `mv $HOME/.config/systemd/user/u7s-etcd.service $HOME/.config/systemd/user/u7s-etcd.service.old`
    ");
    assert!(!stage.home.data().exists());
    assert_eq!(stage.names(".config/systemd/user"), ["u7s-etcd.service"]);
}

#[test]
fn a_unit_that_was_edited_stays_and_is_named() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&[]);
    let file = stage.units().join("u7s-etcd.service");
    fs::write(&file, "[Service]\nExecStart=/mine\n").unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(
        said.stderr.contains("was changed since it was installed"),
        "{said:?}"
    );
    let said = stage.usernetes(&["uninstall"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(
        said.stderr
            .contains("  left  $HOME/.config/systemd/user/u7s-etcd.service\n"),
        "{said:?}"
    );
    assert_eq!(stage.names(".config/systemd/user"), ["u7s-etcd.service"]);
    fs::remove_file(file).unwrap();
    assert_eq!(stage.usernetes(&["uninstall"]).code, Some(0));
}

#[test]
fn bad_input_changes_nothing() {
    let stage = Stage::new(&["etcd"]);
    for (arguments, code, text) in [
        (
            &["--cri=docker"][..],
            2,
            "unknown container runtime \"docker\"",
        ),
        (&["--cni=calico"], 2, "unknown pod network \"calico\""),
        (&["--cidr=10.0.42.7/24"], 2, "bad network `10.0.42.7/24`"),
        (
            &["--cidr=10.0.42.0/30"],
            3,
            "`network.rootlesskit` is too small",
        ),
        (&["--cidr=10.88.1.0/24"], 3, "overlaps"),
        (&["--publish=6443"], 2, "bad published port `6443`"),
        (
            &["--start=docker.service"],
            2,
            "unknown unit \"docker.service\"",
        ),
        (&["--start=u7s.target"], 2, "u7s.target cannot be started"),
        (
            &["--start=u7s-flanneld.service"],
            2,
            "u7s-flanneld.service is not part of this configuration",
        ),
    ] {
        let said = stage.install(arguments);
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.stderr.contains(text), "{said:?}");
    }
    fs::create_dir_all(stage.home.path().join(".config/usernetes")).unwrap();
    fs::write(
        stage.home.path().join(".config/usernetes/config.toml"),
        "[other]\n",
    )
    .unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.stderr.contains("config.toml"), "{said:?}");
    assert!(!stage.home.data().exists() && !stage.units().exists());
    assert_eq!(stage.calls(), "");
}

#[test]
fn a_damaged_key_is_found_before_anything_is_changed() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    fs::write(
        stage
            .home
            .path()
            .join(".config/usernetes/master/ca-key.pem"),
        "nonsense",
    )
    .unwrap();
    let units = stage.names(".config/systemd/user");
    stage.calls();
    let said = stage.install(&["--cni=flannel"]);
    assert_eq!(said.code, Some(3), "{said:?}");
    assert!(said.stderr.contains("ca-key.pem"), "{said:?}");
    assert_eq!(
        (stage.names(".config/systemd/user"), stage.calls()),
        (units, String::new())
    );
}

#[test]
fn half_an_installation_is_completed_or_removed() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    // As if it had ended between the receipt and the units.
    fs::remove_file(stage.units().join("u7s-etcd.service")).unwrap();
    fs::remove_dir_all(stage.home.path().join(".config/usernetes/node")).unwrap();
    let said = stage.install(&[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(stage.units().join("u7s-etcd.service").exists());
    fs::remove_file(stage.units().join("u7s-etcd.service")).unwrap();
    fs::remove_file(stage.home.path().join(".config/usernetes/config.toml")).unwrap();
    let said = stage.usernetes(&["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = stage.home.run(&stage.bundle, &["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(
        said.stderr,
        "no units were installed\nremove data: done (0.0 s)\neverything was removed\n"
    );
}

#[test]
fn an_upgrade_restarts_and_keeps_settings() {
    let stage = Stage::new(&CONTROL_PLANE);
    stage.install(&["--start=u7s-etcd.target", "--cidr=10.0.77.0/24"]);
    stage.calls();
    let next = stage.home.program("next", &pack("0.2.0", &CONTROL_PLANE));
    let said = stage
        .home
        .run_command(stage.command(&next).args(["install", "--force"]));
    assert_eq!(said.code, Some(0), "{said:?}");
    insta::assert_snapshot!(stage.calls(), @r"
    daemon-reload
    enable u7s-etcd.target
    stop --no-block u7s.target u7s-rootlesskit.service
    start --no-block u7s-etcd.target
    ");
    let unit = fs::read_to_string(stage.units().join("u7s-etcd.service")).unwrap();
    assert!(unit.contains("generations/2/bin/usernetes"), "{unit}");
    let config =
        fs::read_to_string(stage.home.path().join(".config/usernetes/config.toml")).unwrap();
    assert!(config.contains("10.0.77.0/24"));
}

#[test]
fn start_stop_status_and_logs() {
    let stage = Stage::new(&["etcd"]);
    let said = stage.home.usernetes(&["status"]);
    assert!(said.stderr.contains("nothing is installed"), "{said:?}");
    stage.install(&[]);
    let said = stage.usernetes(&["status"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    insta::assert_snapshot!(said.stdout, @r"
    generation 1 (release 0.1.0)
    host         ok  your service manager answers
    RootlessKit  ok  u7s-rootlesskit.service active
    etcd         ok  u7s-etcd.service active
    ");
    stage.calls();
    assert_eq!(stage.usernetes(&["stop"]).code, Some(0));
    let said = stage.usernetes(&["status"]);
    assert_eq!(said.code, Some(1), "{said:?}");
    insta::assert_snapshot!(said.stdout, @r"
    generation 1 (release 0.1.0)
    host         ok       your service manager answers
    RootlessKit  stopped  u7s-rootlesskit.service inactive
    next: run `usernetes start`
    ");
    assert_eq!(stage.usernetes(&["start"]).code, Some(0));
    assert_eq!(stage.usernetes(&["restart", "etcd"]).code, Some(0));
    assert_eq!(
        stage.usernetes(&["logs", "etcd", "-n", "5"]).stdout,
        "etcd: out of luck\n"
    );
    insta::assert_snapshot!(stage.calls(), @r"
    stop --no-block u7s.target u7s-rootlesskit.service
    start --no-block u7s-etcd.target
    restart u7s-etcd.service
    journalctl --user --no-pager --unit u7s-etcd.service --lines 5
    ");
    let said = stage.usernetes(&["start", "kubernetes"]);
    assert!(
        said.stderr.contains("there is no unit \"kubernetes\""),
        "{said:?}"
    );
}

#[test]
fn ports_and_kubeconfig() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    assert_eq!(
        stage
            .usernetes(&["port", "publish", "0.0.0.0:30080:30080/tcp"])
            .code,
        Some(0)
    );
    let said = stage.usernetes(&["port", "list"]);
    assert_eq!(
        said.stdout,
        "127.0.0.1:6443:6443/tcp\n0.0.0.0:30080:30080/tcp\n"
    );
    // What was published by command is nothing that `install` would have to apply.
    let said = stage.install(&["--start="]);
    assert!(!said.stderr.contains("changed  publish"), "{said:?}");
    assert_eq!(
        stage
            .usernetes(&["port", "unpublish", "0.0.0.0:30080:30080/tcp"])
            .code,
        Some(0)
    );
    assert_eq!(
        stage.usernetes(&["port", "list"]).stdout,
        "127.0.0.1:6443:6443/tcp\n"
    );
    let said = stage.usernetes(&["kubeconfig", "print"]);
    assert!(said.stdout.contains("https://127.0.0.1:6443"), "{said:?}");
    let said = stage.usernetes(&["kubectl", "get", "pods"]);
    assert!(
        said.stderr.contains("generation 1 has no `kubectl`"),
        "{said:?}"
    );
    let said = stage.usernetes(&["nsenter", "true"]);
    assert!(
        said.stderr.contains("RootlessKit is not running"),
        "{said:?}"
    );
}

#[test]
fn the_cleanup_command_removes_all_data() {
    let stage = Stage::new(&["etcd"]);
    stage.install(&["--start="]);
    stage.usernetes(&["uninstall"]);
    let said = stage.usernetes(&["show-cleanup-command"]);
    assert_eq!(
        said.stdout,
        "$HOME/.local/share/usernetes/generations/1/bin/rootlesskit rm -rf -- $HOME/.local/share/usernetes $HOME/.config/usernetes\n"
    );
}

#[test]
fn doctor_shows_everything_at_once() {
    let stage = Stage::new(&["etcd"]);
    let said = stage
        .home
        .run_command(stage.command(&stage.bundle).args(["doctor", "--json"]));
    let json: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    let ids: Vec<_> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|f| f["id"].as_str().unwrap().to_owned())
        .collect();
    for id in [
        "user",
        "systemd-user",
        "cgroup-v2",
        "subuid",
        "user-namespaces",
        "tun",
        "data-dir",
        "ports",
        "networks",
    ] {
        assert!(ids.iter().any(|found| found == id), "{id}: {ids:?}");
    }
    let fatal = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .any(|f| f["level"] == "fatal");
    assert_eq!(said.code, Some(if fatal { 6 } else { 0 }));
    assert!(!stage.home.data().exists());
}
