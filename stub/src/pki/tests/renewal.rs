//! Tests of files that are made again, certificates that are issued again, and files that stay.

use super::*;

#[test]
fn a_missing_file_is_made_again_and_the_others_stay() {
    let dir = fresh();
    let before = contents(dir.path());
    // If one of these is missing, there is an error instead, see `refusals`.
    let irreplaceable = [
        "master/ca-key.pem",
        "master/etcd-ca-key.pem",
        "master/front-proxy-ca-key.pem",
        "master/service-account-key.pem",
    ];
    for lost in before
        .keys()
        .filter(|f| !irreplaceable.contains(&f.as_str()))
    {
        fs_err::remove_file(dir.path().join(lost)).unwrap();
        let state = contents(dir.path());
        let report = ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap();
        let after = contents(dir.path());
        assert_eq!(
            after.keys().collect::<Vec<_>>(),
            before.keys().collect::<Vec<_>>()
        );
        for (name, content) in &state {
            let written = report.made.iter().any(|m| m.file == Path::new(name));
            assert_eq!(
                after[name] != *content,
                written,
                "{name} after losing {lost}"
            );
        }
        let unhurt = report.made.iter().all(|m| {
            m.reason == "was missing"
                || m.reason.starts_with("did not contain")
                || m.reason == "had no key"
        });
        assert!(unhurt, "{lost}: {}", made(&report));
        assert!(
            list(dir.path(), &request(), at(0))
                .unwrap()
                .iter()
                .all(|i| i.problem.is_none()),
            "{lost}"
        );
        assert_eq!(
            made(&ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap()),
            "",
            "{lost}"
        );
    }
}

#[test]
fn a_missing_certificate_is_issued_for_its_key_and_its_kubeconfig_is_updated() {
    let dir = fresh();
    fs_err::remove_file(dir.path().join("master/admin.pem")).unwrap();
    let report = ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap();
    insta::assert_snapshot!(made(&report), @"
    master/admin.pem: was missing
    master/admin-localhost.kubeconfig: did not contain the current certificate
    ");
    fs_err::remove_file(dir.path().join("node/node-key.pem")).unwrap();
    let report = ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap();
    insta::assert_snapshot!(made(&report), @"
    node/node-key.pem: was missing
    node/node.pem: had no key
    ");
}

#[test]
fn renewed_certificates_keep_their_keys_and_are_valid_for_another_year() {
    let dir = fresh();
    let before = contents(dir.path());
    let report = ensure(dir.path(), &request(), Renew::Due, at(340)).unwrap();
    let after = contents(dir.path());
    assert!(
        made(&report).contains("master/etcd.pem: expires on 2028-01-01T00:00:00Z\n"),
        "{}",
        made(&report)
    );
    for (name, content) in &before {
        let stays = name.ends_with("-key.pem")
            || name.ends_with("ca.pem")
            || name.ends_with("service-account.pem");
        assert_eq!(after[name] == *content, stays, "{name}");
    }
    assert!(
        list(dir.path(), &request(), at(700))
            .unwrap()
            .iter()
            .all(|i| i.days_left > 0)
    );

    let report = ensure(dir.path(), &request(), Renew::All, at(340)).unwrap();
    assert!(made(&report).contains("master/etcd.pem: was to be renewed\n"));
    assert!(!made(&report).contains("ca.pem"));
    assert!(!made(&report).contains("-key.pem"));
}

#[test]
fn a_changed_request_renews_only_the_affected_files() {
    let dir = fresh();
    let mut other = request();
    other.extra_sans.push("192.0.2.8".to_owned());
    other.api_port = 7443;
    let report = ensure(dir.path(), &other, Renew::Due, at(0)).unwrap();
    insta::assert_snapshot!(made(&report), @"
    master/kube-apiserver.pem: lacks 192.0.2.8
    master/admin-localhost.kubeconfig: did not contain the address of the API server
    ");
    // The certificate may keep the earlier names: more names than needed do no harm.
    let mut fewer = other.clone();
    fewer.extra_sans.clear();
    assert_eq!(
        made(&ensure(dir.path(), &fewer, Renew::Due, at(0)).unwrap()),
        ""
    );

    other.node_name = "renamed".parse().unwrap();
    let report = ensure(dir.path(), &other, Renew::Due, at(0)).unwrap();
    insta::assert_snapshot!(made(&report), @"
    master/kube-apiserver.pem: lacks renamed
    master/etcd.pem: lacks renamed
    master/etcd-peer.pem: lacks renamed
    node/node.pem: was issued to `O=system:nodes, CN=system:node:host`
    node/node-client.pem: was issued to `O=system:nodes, CN=system:node:host`
    node/node.kubeconfig: did not contain the current certificate
    ");
}
