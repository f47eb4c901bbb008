//! Steps against a played cluster, with nodes that do nothing.

use std::path::Path;

use fs_err as fs;
use support::program::write_program;
use support::server::{Behaviour, Server};

use super::*;
use crate::api::tests::played;

/// Nodes that do nothing.
fn hollow(dir: &Path) -> Hollow {
    fs::write(dir.join("kubeconfig"), "").unwrap();
    write_program(&dir.join("kubemark"), "#!/bin/sh\nexec sleep 600\n");
    Hollow::new(&dir.join("kubemark"), &dir.join("kubeconfig")).unwrap()
}

/// A cluster in which nodes are ready, and `pods` pods run.
fn cluster(pods: usize) -> Server {
    let server = Server::start();
    let node = r#"{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}"#;
    let nodes = format!(r#"{{"items": [{node}, {node}]}}"#);
    server.good("/api/v1/nodes", nodes.as_bytes());
    server.good("/api/v1/namespaces", br#"{"items": []}"#);
    let rows = vec!["{}"; pods].join(",");
    let all = format!(r#"{{"rows": [{rows}]}}"#);
    server.good("/api/v1/pods", all.as_bytes());
    let namespace = "namespaces/hollow-nodes-0";
    server.good(
        &format!("/apis/apps/v1/{namespace}/deployments/hollow"),
        b"{}",
    );
    let list = br#"{"items": [{"metadata": {"name": "p"}}]}"#;
    server.good(&format!("/api/v1/{namespace}/pods"), list);
    for path in ["pods/p", "configmaps", "configmaps/call"] {
        server.good(&format!("/api/v1/{namespace}/{path}"), b"{}");
    }
    server.good("/metrics", b"apiserver_storage_size_bytes{a=\"b\"} 5e+06\n");
    server
}

fn plan() -> Plan {
    let (limit, measure) = (Duration::ZERO, Duration::ZERO);
    Plan {
        nodes: vec![2, 1],
        pods: 3,
        limit,
        measure,
    }
}

#[test]
fn steps_go_up_until_one_does_not_get_there() {
    let dir = tempfile::tempdir().unwrap();
    let server = cluster(3);
    let (api, machine) = (played(&server), Machine::new(None));
    let (stop, progress) = (Stop::default(), Progress::silent());
    let mut scale = Scale::new(&api, hollow(dir.path()), &machine, &stop, &progress);
    let mut report = Report::default();
    scale.run(&plan(), &mut report).unwrap();
    scale.remove().unwrap();
    let pods: Vec<_> = report
        .steps
        .iter()
        .map(|step| (step.pods.found, step.pods.wanted))
        .collect();
    assert_eq!(pods, [(3, 3), (3, 6)]);
    assert!(
        report.steps[0].shortcomings().is_empty(),
        "{:?}",
        report.steps[0]
    );
    assert_eq!(
        report.steps[1].shortcomings(),
        ["3 of 6 pods ran after 0 s"]
    );
    assert!((report.steps[1].etcd_bytes - 5e6).abs() < 1.0);
}

#[test]
fn a_signal_ends_the_steps_and_what_was_made_is_removed() {
    let dir = tempfile::tempdir().unwrap();
    let server = cluster(0);
    let (api, machine) = (played(&server), Machine::new(None));
    let (stop, progress) = (Stop::default(), Progress::silent());
    let mut scale = Scale::new(&api, hollow(dir.path()), &machine, &stop, &progress);
    stop.now();
    let limit = Duration::from_mins(1);
    let mut report = Report::default();
    let error = scale
        .run(&Plan { limit, ..plan() }, &mut report)
        .unwrap_err();
    assert_eq!(error.message(), "a signal has ended the measurement");
    let removals = || {
        server
            .requests()
            .iter()
            .filter(|request| request.method == "DELETE")
            .count()
    };
    let before = removals();
    scale.remove().unwrap();
    assert!(removals() > before && scale.hollow.usage() == Usage::default());
}

#[test]
fn what_may_pass_is_tried_again() {
    let dir = tempfile::tempdir().unwrap();
    let server = cluster(0);
    let busy = Behaviour::status(429);
    server.route("/once", b"{}", [busy, Behaviour::Good]);
    let (api, machine) = (played(&server), Machine::new(None));
    let (stop, progress) = (Stop::default(), Progress::silent());
    let scale = Scale::new(&api, hollow(dir.path()), &machine, &stop, &progress);
    let limit = Duration::from_mins(1);
    scale
        .patiently(limit, |api| api.get("/once").map(drop))
        .unwrap();
    let wrong = |_: &Api| Err(Error::new(Kind::Usage, "wrong"));
    assert_eq!(
        scale.patiently(limit, wrong).unwrap_err().message(),
        "wrong"
    );
}
