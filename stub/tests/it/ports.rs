//! Tests of published ports, and of the API server's certificate, which contains their addresses.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::thread;

use base64::Engine as _;
use fs_err as fs;

use support::home::Said;
use support::machine::Machine;
use support::stage::Stage;

fn certificate(stage: &Stage) -> String {
    let file = stage
        .home
        .path()
        .join(".config/usernetes/master/kube-apiserver.pem");
    fs::read_to_string(file).unwrap()
}

/// Whether a certificate contains an address: the tag and the length of an `iPAddress`, then its four bytes.
fn names(pem: &str, address: [u8; 4]) -> bool {
    let lines = pem.lines().filter(|line| !line.starts_with("-----"));
    let text: String = lines.collect();
    let der = base64::prelude::BASE64_STANDARD.decode(text).unwrap();
    let name = [&[0x87, 4][..], &address].concat();
    der.windows(6).any(|bytes| bytes == name)
}

/// A RootlessKit that answers on its API socket, and lists a port of the API server. Gives the requests.
fn play(listener: UnixListener) -> Arc<Mutex<Vec<String>>> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut head, mut length) = (String::new(), 0);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap() == 0 || line == "\r\n" {
                    break;
                }
                if let Some(text) = line.strip_prefix("Content-Length: ") {
                    length = text.trim().parse().unwrap();
                }
                head.push_str(&line);
            }
            let mut body = vec![0; length];
            reader.read_exact(&mut body).unwrap();
            // One that only looks whether somebody listens sends nothing.
            let Some((request, _)) = head.split_once(" HTTP/1.0") else {
                continue;
            };
            let body = String::from_utf8(body).unwrap();
            log.lock()
                .unwrap()
                .push(format!("{request} {body}").trim().to_owned());
            let (status, answer) = match request.split_once(' ').unwrap().0 {
                "GET" => (
                    200,
                    r#"[{"id":7,"spec":{"proto":"tcp4","parentIP":"127.0.0.5","parentPort":7443,"childIP":"10.0.42.100","childPort":6443}}]"#,
                ),
                "POST" => (201, "{}"),
                _ => (200, ""),
            };
            write!(reader.get_mut(), "HTTP/1.0 {status} X\r\n\r\n{answer}").unwrap();
        }
    });
    asked
}

#[test]
fn a_port_of_the_api_gets_a_certificate_and_stops_nothing() {
    let stage = Stage::new(&["etcd"]);
    assert_eq!(stage.install(&[]).code, Some(0));
    let rootlesskit = stage.home.path().join("run/usernetes/rootlesskit");
    fs::create_dir_all(&rootlesskit).unwrap();
    let asked = play(UnixListener::bind(rootlesskit.join("api.sock")).unwrap());
    let asked = || std::mem::take(&mut *asked.lock().unwrap()).join("\n");
    for dir in ["run", "run/usernetes", "run/usernetes/rootlesskit"] {
        stage.home.directory(&stage.home.path().join(dir));
    }
    let socket = rootlesskit.join("api.sock");
    fs::set_permissions(&socket, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let port = |arguments: &[&str]| -> Said {
        let program: PathBuf = stage.home.data().join("current/bin/usernetes");
        let mut command = stage.command(&program);
        command.env("XDG_RUNTIME_DIR", stage.home.path().join("run"));
        let said = stage.home.run_command(command.arg("port").args(arguments));
        assert_eq!(said.code, Some(0), "{said:?}");
        said
    };
    let before = certificate(&stage);
    assert!(!names(&before, [127, 0, 0, 5]));
    stage.calls();
    let said = port(&["publish", "127.0.0.5:7443:6443/tcp"]);
    assert!(
        said.stderr.contains("new certificate with this address"),
        "{said:?}"
    );
    // Nothing is restarted, because the API server reads the new certificate by itself.
    assert_eq!(stage.calls(), "");
    insta::assert_snapshot!(asked(), @r#"POST /v1/ports {"childIP":"10.0.42.100","childPort":6443,"parentIP":"127.0.0.5","parentPort":7443,"proto":"tcp4"}"#);
    let with_it = certificate(&stage);
    assert!(names(&with_it, [127, 0, 0, 5]));
    // The same port, as RootlessKit lists it.
    let said = port(&["publish", "127.0.0.5:7443:10.0.42.100:6443/tcp4"]);
    assert!(said.stderr.contains("is already published"), "{said:?}");
    // A port of another program needs no certificate.
    let said = port(&["publish", "127.0.0.6:8080:8080/udp"]);
    assert_eq!(said.stderr, "");
    insta::assert_snapshot!(asked(), @r#"POST /v1/ports {"childIP":"10.0.42.100","childPort":8080,"parentIP":"127.0.0.6","parentPort":8080,"proto":"udp4"}"#);
    assert_eq!(certificate(&stage), with_it);
    let said = port(&["list"]);
    let list = "127.0.0.1:6443:6443/tcp\n127.0.0.5:7443:6443/tcp\n127.0.0.6:8080:8080/udp\n";
    assert_eq!(said.stdout, list);
    port(&["unpublish", "127.0.0.5:7443:10.0.42.100:6443/tcp"]);
    assert_eq!(
        (stage.calls(), asked()),
        (
            String::new(),
            "GET /v1/ports\nDELETE /v1/ports/7".to_owned()
        )
    );
    assert!(!port(&["list"]).stdout.contains("7443"));
    let said = stage.install(&[]);
    assert!(said.stderr.ends_with("nothing to do\n"), "{said:?}");
}

/// Writes the files in which the kernel lists a machine's addresses, each with the interface of its network.
fn addresses(machine: &Machine, all: &[(&str, [u8; 4])]) {
    let mut trie = String::new();
    let mut routes = "Iface\tDestination\n".to_owned();
    for (interface, [a, b, c, d]) in all {
        trie.push_str(&format!(
            "     |-- {a}.{b}.{c}.{d}\n        /32 host LOCAL\n"
        ));
        let hex = |a: [u8; 4]| format!("{:08X}", u32::from_ne_bytes(a));
        let (network, mask) = (hex([*a, *b, *c, 0]), hex([255, 255, 255, 0]));
        routes.push_str(&format!(
            "{interface}\t{network}\t00000000\t0001\t0\t0\t0\t{mask}\t0\t0\t0\n"
        ));
    }
    machine.file("proc/net/fib_trie", &trie);
    machine.file("proc/net/route", &routes);
}

#[test]
fn what_others_do_to_the_machine_stops_no_cluster() {
    let stage = Stage::new(&["etcd"]);
    let Some(machine) = Machine::fit(&stage.home) else {
        return;
    };
    let free = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let lan = ("eth0", [192, 0, 2, 7]);
    addresses(&machine, &[lan]);
    let said = stage.install_on(&machine, &[&format!("-p=0.0.0.0:{port}:6443/tcp")]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let first = certificate(&stage);
    assert!(names(&first, [192, 0, 2, 7]));
    stage.calls();

    let others = [
        ("docker0", [172, 17, 0, 1]),
        ("br-0a1b2c3d4e5f", [172, 18, 0, 1]),
        ("tap9", [172, 19, 0, 1]),
    ];
    addresses(&machine, &[&[lan], &others[..]].concat());
    let said = stage.install_on(&machine, &[]);
    assert!(said.stderr.ends_with("nothing to do\n"), "{said:?}");
    assert_eq!((stage.calls(), certificate(&stage)), (String::new(), first));

    // A new address of the machine needs a new certificate, but still nothing stops.
    addresses(&machine, &[lan, ("wlan0", [198, 51, 100, 4])]);
    let said = stage.install_on(&machine, &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr.contains("its certificates have been renewed"),
        "{said:?}"
    );
    assert!(names(&certificate(&stage), [198, 51, 100, 4]));
    assert_eq!(stage.calls(), "");

    // The kubelet, too, reads a new certificate by itself.
    let kubelet = "u7s-kubelet-containerd.service";
    fs::write(stage.home.path().join("state").join(kubelet), "active\n").unwrap();
    fs::remove_file(stage.home.path().join(".config/usernetes/node/node.pem")).unwrap();
    let said = stage.install_on(&machine, &[]);
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(
        said.stderr.contains("its certificates have been renewed"),
        "{said:?}"
    );
    assert_eq!(stage.calls(), "");
}
