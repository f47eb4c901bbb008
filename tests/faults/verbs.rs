//! The commands that are tried, each with the home that it begins in.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use support::images::save;
use support::stage::{Stage, pack};

/// A command of the program.
pub struct Verb {
    /// Its name here.
    pub name: &'static str,
    /// Makes the state in which it begins.
    pub prepare: fn(&Stage),
    /// The command.
    pub command: fn(&Stage) -> Command,
    /// Whether the programs need not be whole when it begins, or in the middle of it.
    pub breaks: bool,
    /// Whether two runs at once are not like one.
    pub alone: bool,
}

impl Verb {
    const fn new(name: &'static str, prepare: fn(&Stage), command: fn(&Stage) -> Command) -> Self {
        Self {
            name,
            prepare,
            command,
            breaks: false,
            alone: false,
        }
    }

    const fn alone(self) -> Self {
        Self {
            alone: true,
            ..self
        }
    }

    const fn breaking(self) -> Self {
        Self {
            breaks: true,
            ..self
        }
    }
}

/// All of them. `join` is not among them: it changes nothing before a control plane has answered.
pub static VERBS: [Verb; 21] = [
    Verb::new(
        "install",
        |_| (),
        |s| of_bundle(s, &["install", "--start="]),
    ),
    Verb::new(
        "install-start",
        |_| (),
        |s| of_bundle(s, &["install", "--force", "--start=u7s-etcd.target"]),
    ),
    Verb::new("install-over", newer, |s| {
        with(s.command(&next(s)), &["install", "--force"])
    }),
    Verb::new("install-pki", beforehand, |s| {
        let dir = at(s, "pki/a");
        of_bundle(s, &["install", "--force", "--start=", "--pki", &dir])
    }),
    Verb::new("repair", damaged, |s| {
        of_bundle(s, &["install", "--repair"])
    })
    .breaking(),
    Verb::new("reconfigure", installed, |s| {
        of_installed(s, &["install", "--cidr=10.0.77.0/24", "--memory=12GiB"])
    }),
    Verb::new("upgrade", newer, |s| {
        of_installed(s, &["upgrade", "--force", &at(s, "next")])
    }),
    Verb::new("rollback", upgraded, |s| {
        of_installed(s, &["rollback", "1"])
    }),
    Verb::new("gc", collectable, |s| of_installed(s, &["gc"])),
    Verb::new("uninstall", started, |s| of_bundle(s, &["uninstall"])),
    Verb::new("purge", merged, |s| of_bundle(s, &["uninstall", "--purge"])).breaking(),
    Verb::new("backup", with_data, |s| {
        of_installed(s, &["backup", &at(s, "cluster.backup")])
    }),
    Verb::new("restore", saved, |s| {
        of_bundle(s, &["restore", &at(s, "cluster.backup")])
    }),
    Verb::new("restore-over", replaceable, |s| {
        of_bundle(s, &["restore", "--force", &at(s, "cluster.backup")])
    })
    // The second one replaces what the first one has restored.
    .alone(),
    Verb::new("certs-renew", merged, |s| {
        of_installed(s, &["certs", "renew"])
    }),
    Verb::new("rotate", merged, |s| {
        of_installed(s, &["certs", "rotate-authorities"])
    }),
    Verb::new("rotate-finish", rotated, |s| {
        of_installed(s, &["certs", "rotate-authorities", "--finish", "--force"])
    }),
    Verb::new("merge", with_kubeconfig, |s| {
        of_installed(s, &["kubeconfig", "merge"])
    }),
    Verb::new("unmerge", merged, |s| {
        of_installed(s, &["kubeconfig", "unmerge"])
    }),
    Verb::new("image-load", with_image, |s| {
        of_installed(s, &["image", "load", &at(s, "tool.tar")])
    }),
    Verb::new(
        "pki-init",
        |_| (),
        |s| of_bundle(s, &pki_init(&at(s, "pki"))),
    )
    // There is no cluster yet that could be locked.
    .alone(),
];

/// The path of something in the home.
fn at(stage: &Stage, name: &str) -> String {
    let path = stage.home.path().join(name);
    path.to_str().unwrap().to_owned()
}

fn with(mut command: Command, words: &[&str]) -> Command {
    command.args(words);
    command
}

fn of_bundle(stage: &Stage, words: &[&str]) -> Command {
    with(stage.command(&stage.bundle), words)
}

fn of_installed(stage: &Stage, words: &[&str]) -> Command {
    let program = stage.home.data().join("current/bin/usernetes");
    // Its own path stays the same when another generation becomes current.
    let program = fs::canonicalize(&program).unwrap_or(program);
    with(stage.command(&program), words)
}

/// Runs a command that prepares something.
fn run(stage: &Stage, mut command: Command) {
    let said = stage.home.run_command(&mut command);
    assert_eq!(said.code, Some(0), "{command:?}: {said:?}");
}

fn installed(stage: &Stage) {
    let words = ["install", "--start=", "--node-name=first"];
    run(stage, of_bundle(stage, &words));
}

fn started(stage: &Stage) {
    let words = ["install", "--force", "--start=u7s-etcd.target"];
    run(stage, of_bundle(stage, &words));
}

/// The bundle of a later release.
fn next(stage: &Stage) -> PathBuf {
    stage.home.path().join("next")
}

fn newer(stage: &Stage) {
    with_data(stage);
    let bytes = pack("0.2.0", &["etcd", "kubelet", "containerd", "kube-proxy"]);
    stage.home.program("next", &bytes);
}

fn upgraded(stage: &Stage) {
    newer(stage);
    run(
        stage,
        with(stage.command(&next(stage)), &["install", "--force"]),
    );
}

/// Three generations, of which the first is not needed.
fn collectable(stage: &Stage) {
    upgraded(stage);
    let third = stage.home.program("third", &pack("0.3.0", &["etcd"]));
    run(stage, with(stage.command(&third), &["install", "--force"]));
}

fn damaged(stage: &Stage) {
    installed(stage);
    let etcd = stage.home.current().component_dir("etcd").unwrap();
    support::home::overwrite(&etcd.join("bin/etcd"), b"damaged");
}

fn beforehand(stage: &Stage) {
    run(stage, of_bundle(stage, &pki_init(&at(stage, "pki"))));
}

fn pki_init(dir: &str) -> [&str; 6] {
    [
        "pki",
        "init",
        "--master=a=192.0.2.10",
        "--node=b=192.0.2.11",
        "--node=c=192.0.2.12",
        dir,
    ]
}

/// Writes a file of the user's.
fn write(stage: &Stage, name: &str, text: &str) {
    let path = stage.home.path().join(name);
    stage.home.directory(path.parent().unwrap());
    stage.home.secret(&path, text);
}

/// A stopped cluster with data, a volume and an image.
fn with_data(stage: &Stage) {
    installed(stage);
    let data = Path::new(".local/share/usernetes");
    for (name, text) in [
        ("etcd/member/snap/db", "data of etcd"),
        ("etcd/member/wal/0.wal", "a log of etcd"),
        ("volumes/pvc-1_default_data/file", "data of a pod"),
        ("images/tool.tar", "an image"),
    ] {
        write(stage, data.join(name).to_str().unwrap(), text);
    }
    for name in ["etcd", "volumes", "images"] {
        let dir = stage.home.data().join(name);
        fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).unwrap();
        stage.home.give(&dir);
    }
}

/// A backup, and nothing else.
fn saved(stage: &Stage) {
    with_data(stage);
    let file = at(stage, "cluster.backup");
    run(stage, of_installed(stage, &["backup", &file]));
    run(stage, of_bundle(stage, &["uninstall", "--purge"]));
}

/// A backup, and a cluster that has changed since.
fn replaceable(stage: &Stage) {
    with_data(stage);
    let file = at(stage, "cluster.backup");
    run(stage, of_installed(stage, &["backup", &file]));
    write(
        stage,
        ".local/share/usernetes/etcd/member/snap/db",
        "newer data",
    );
    write(
        stage,
        ".local/share/usernetes/volumes/pvc-1_default_data/file",
        "newer data of a pod",
    );
}

fn with_kubeconfig(stage: &Stage) {
    installed(stage);
    write(
        stage,
        ".kube/config",
        "# mine\nclusters:\n- name: work\n  cluster: {server: 'https://work.example'}\ncontexts: []\ncurrent-context: work\nusers: []\n",
    );
}

fn merged(stage: &Stage) {
    with_kubeconfig(stage);
    run(stage, of_installed(stage, &["kubeconfig", "merge"]));
}

fn rotated(stage: &Stage) {
    merged(stage);
    run(stage, of_installed(stage, &["certs", "rotate-authorities"]));
}

fn with_image(stage: &Stage) {
    installed(stage);
    save(
        Path::new(&at(stage, "tool.tar")),
        "docker.io/library/tool:1",
        "a layer",
    );
}
