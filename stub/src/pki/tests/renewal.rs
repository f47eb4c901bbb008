//! Tests of files that are made again, certificates that are issued again, and files that stay.

use super::*;
use crate::kubeconfig::entries;
use crate::layout::Kubeconfig;

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
        let names_files =
            name.ends_with(".kubeconfig") && name != "master/admin-localhost.kubeconfig";
        let stays = name.ends_with("-key.pem")
            || name.ends_with("ca.pem")
            || name.ends_with("service-account.pem")
            || names_files;
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
    master/ports.kubeconfig: did not contain the address of the API server
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
    ");
}

#[test]
fn kubeconfigs_of_an_earlier_release_are_converted() {
    let dir = fresh();
    let before = contents(dir.path());
    let file = Kubeconfig::KubeProxy.file();
    let pem = |file: PathBuf| fs_err::read_to_string(dir.path().join(file)).unwrap();
    let credential = Kubeconfig::KubeProxy.credential();
    let [cluster, user, context] = entries(
        "https://10.0.42.100:6443",
        &pem(Credential::NodeAuthority.certificate()),
        &pem(credential.certificate()),
        &pem(credential.key()),
    );
    let embedded = serde_json::json!({
        "clusters": [cluster], "users": [user], "contexts": [context], "current-context": "usernetes",
    });
    fs_err::write(dir.path().join(&file), embedded.to_string()).unwrap();
    let report = ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap();
    insta::assert_snapshot!(made(&report), @"node/kube-proxy.kubeconfig: did not contain the names of the certificate files");
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn the_report_tells_expired_certificates_from_those_that_were_renewed_in_time() {
    for (day, expired) in [(340, false), (366, true), (400, true)] {
        let dir = fresh();
        let report = ensure(dir.path(), &request(), Renew::Due, at(day)).unwrap();
        assert_eq!(report.certificates(), 16);
        for made in &report.made {
            let is_certificate = made.file.extension().is_some_and(|e| e == "pem");
            assert_eq!(made.expired, expired && is_certificate, "{day} {made:?}");
        }
        let file = Credential::KubeletClient.certificate();
        assert_eq!(report.replaces_expired(&file), expired);
        let file = Credential::ClusterAuthority.certificate();
        assert!(!report.replaces_expired(&file));
    }
}
