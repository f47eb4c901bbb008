//! Tests of `pki init`, and of `install --pki` with the directories that it makes.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fs_err as fs;

use support::home::Said;
use support::stage::Stage;

/// The programs of a worker.
const WORKER: [&str; 4] = ["containerd", "flanneld", "kube-proxy", "kubelet"];

/// Makes the directories of the machines `a` and `b`.
fn init(stage: &Stage) -> (Said, PathBuf) {
    let dir = stage.home.path().join("pki");
    let said = stage.usernetes_of_bundle(&[
        "pki",
        "init",
        "--master",
        "a=192.0.2.10",
        "--node=b=192.0.2.11",
        dir.to_str().unwrap(),
    ]);
    (said, dir)
}

fn config(stage: &Stage) -> PathBuf {
    stage.home.path().join(".config/usernetes")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Lets the worker ask an API server that is not there, and does not answer at once.
fn without_api_server(worker: &Path) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = listener.local_addr().unwrap().to_string();
    let file = worker.join("config.toml");
    let text = fs::read_to_string(&file).unwrap();
    let changed = text.replace("192.0.2.10:6443", &endpoint);
    assert_ne!(changed, text);
    fs::write(&file, changed).unwrap();
    endpoint
}

#[test]
fn a_worker_needs_no_token_and_no_network() {
    let stage = Stage::new(&WORKER);
    let (said, pki) = init(&stage);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr
            .contains("  on b: ./usernetes-x86_64 install --pki b\n"),
        "{said:?}"
    );
    assert!(!stage.home.data().exists(), "something was installed");
    assert_eq!(mode(&pki), 0o700);
    let worker = pki.join("b");
    let endpoint = without_api_server(&worker);
    let given = worker.to_str().unwrap();

    // Nothing else says so early that the machine has another name.
    let said = stage.install(&["--pki", given, "--node-name=c"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.stderr.contains("these certificates are of another node\n  expected  `c`, as `--node-name` says\n  found     `b`\n"),
        "{said:?}"
    );
    assert!(!config(&stage).exists(), "something is left behind");

    stage.calls();
    let said = stage.install(&["--start=u7s-node.target", "--pki", given]);
    // Everything is installed and started. Only then, the control plane is missed.
    assert_eq!(said.code, Some(5), "{said:?}");
    let missed = format!("error: no API server of this cluster answers at {endpoint}\n");
    assert!(said.stderr.contains(&missed), "{said:?}");
    assert!(
        said.stderr
            .contains("this machine is the node `b`, with the certificates of $HOME/pki/b\n"),
        "{said:?}"
    );
    assert!(stage.calls().contains("start --no-block u7s-node.target\n"));
    assert!(
        stage
            .units()
            .join("u7s-kubelet-containerd.service")
            .exists()
    );
    assert!(!stage.units().join("u7s-kube-apiserver.service").exists());
    for file in ["node/node.pem", "node/node-client-key.pem", "node/ca.pem"] {
        let [given, taken] =
            [&worker, &config(&stage)].map(|dir| fs::read(dir.join(file)).unwrap());
        assert_eq!(given, taken, "{file}");
    }
    assert_eq!(mode(&config(&stage).join("node/node-key.pem")), 0o600);
    assert!(!config(&stage).join("master").exists());
    let text = fs::read_to_string(config(&stage).join("config.toml")).unwrap();
    assert!(text.contains("\nrole = \"worker\"\n"), "{text}");

    let said = stage.usernetes(&["certs", "list"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    for file in ["node/ca.pem", "node/node-client.pem", "node/node.pem"] {
        assert!(said.stdout.contains(file), "{said:?}");
    }
    assert!(said.stdout.contains("CN=system:node:b"), "{said:?}");
    // No API server is needed as long as nothing is due.
    let said = stage.usernetes(&["certs", "renew", "--due"]);
    assert_eq!(said.code, Some(0), "{said:?}");

    // Later, it needs no option, and keeps its name.
    let said = stage.install(&["--start="]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = stage.install(&["--start=", "--node-name=c"]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.stderr
            .contains("this worker's certificates are of another node"),
        "{said:?}"
    );
    let said = stage.usernetes(&["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(!config(&stage).exists());
}

#[test]
fn the_control_plane_uses_the_authorities_that_were_made_beforehand() {
    let stage = Stage::new(&["etcd"]);
    let (said, pki) = init(&stage);
    assert_eq!(said.code, Some(0), "{said:?}");
    let (again, _) = init(&stage);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("pki: exists already"), "{again:?}");

    let given = pki.join("a");
    let said = stage.install(&["--start=u7s-etcd.target", "--pki", given.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let same = |file: &str| {
        let [given, taken] = [&given, &config(&stage)].map(|dir| fs::read(dir.join(file)).unwrap());
        assert_eq!(given, taken, "{file}");
    };
    for name in ["ca", "etcd-ca", "front-proxy-ca", "service-account", "etcd"] {
        same(&format!("master/{name}.pem"));
        same(&format!("master/{name}-key.pem"));
    }
    // A container starts with the same arguments every time.
    let said = stage.install(&["--start=u7s-etcd.target", "--pki", given.to_str().unwrap()]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr
            .contains("is unchanged: there was nothing to do"),
        "{said:?}"
    );
    // The directory of another machine is noticed.
    let said = stage.install(&["--start=", "--pki", pki.join("b").to_str().unwrap()]);
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(
        said.stderr
            .contains("this is the directory of another node"),
        "{said:?}"
    );
}

/// As the shell scripts had it: the directory is put where the configuration belongs, and `install` finds it there.
#[test]
fn a_directory_in_its_place_is_found() {
    let stage = Stage::new(&WORKER);
    let (said, pki) = init(&stage);
    assert_eq!(said.code, Some(0), "{said:?}");
    without_api_server(&pki.join("b"));
    stage.home.directory(&stage.home.path().join(".config"));
    fs::rename(pki.join("b"), config(&stage)).unwrap();
    let said = stage.install(&["--start="]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(stage.units().join("u7s-api-proxy.service").exists());
    assert!(!config(&stage).join("master").exists());
}
