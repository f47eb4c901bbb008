//! Certificates that servers send, and requests for certificates that machines send.

use std::time::{Duration, UNIX_EPOCH};

use pem::Pem;
use stub::config::DnsName;
use stub::nodes::fuzz::approved;
use stub::pki::{Authority, begins, node_fault, read_request};

/// The input is a text in PEM, or else a certificate and a request in DER.
pub(crate) fn check(input: &[u8]) {
    if let Ok(text) = str::from_utf8(input)
        && text.contains("-----")
    {
        texts(text);
    }
    if let Some(authority) = Authority::read(input) {
        assert_eq!(
            authority.der(),
            input.get(..authority.der().len()).unwrap_or_default()
        );
        same_again(&authority);
    }
    let _ = begins(input);
    request(&pem::encode(&Pem::new("CERTIFICATE REQUEST", input)));
}

fn texts(text: &str) {
    if let Ok(authority) = Authority::parse(text) {
        same_again(&authority);
        assert!(authority.shares(&authority));
    }
    let name = DnsName::new("node").expect("a name");
    let now = UNIX_EPOCH + Duration::from_hours(499_656);
    let wanted = Some((&name, [192, 0, 2, 7].into()));
    drop(node_fault(Some(text), wanted, now));
    request(text);
}

fn same_again(authority: &Authority) {
    let again = Authority::parse(&authority.pem()).expect("it was written by us");
    assert_eq!(again.key_digest(), authority.key_digest());
    assert_eq!(again.der(), authority.der());
    assert_eq!(again.is_several(), authority.is_several());
}

/// Nobody becomes a node whose name is not one.
fn request(pem: &str) {
    let _ = read_request(pem);
    for node in approved(pem) {
        assert!(DnsName::new(node.as_str()).is_ok(), "{node:?}");
    }
}
