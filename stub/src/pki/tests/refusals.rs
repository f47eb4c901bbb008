//! Tests of errors: their texts, and that no file was changed.

use super::super::certificate::Certificate;
use super::super::key::Key;
use super::*;

/// Harms a fresh PKI, checks that `ensure` refuses it and changes nothing, and returns the message.
fn refused(day: u64, harm: impl FnOnce(&Path)) -> String {
    let dir = fresh();
    harm(&dir.path().join(MASTER));
    let before = contents(dir.path());
    let error = ensure(dir.path(), &request(), Renew::Due, at(day)).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert_eq!(contents(dir.path()), before);
    error.to_string().replace(dir.path().to_str().unwrap(), "…")
}

fn remove(file: PathBuf) {
    fs_err::remove_file(file).unwrap();
}

#[test]
fn an_authority_that_is_about_to_expire() {
    insta::assert_snapshot!(refused(3630, |_| ()), @"
    …/master/ca.pem: the certificate of the cluster authority expires on 2036-12-29T00:00:00Z
      expected  an authority that is valid now and for at least 30 more days
      found     not before 2026-12-31T23:00:00Z, not after 2036-12-29T00:00:00Z
      now       2036-12-09T00:00:00Z

    hint: replace it while the cluster runs: `usernetes certs rotate-authorities`
    ");
}

#[test]
fn an_authority_that_has_expired() {
    let text = refused(3651, |_| ());
    assert!(text.starts_with("…/master/ca.pem: the certificate of the cluster authority expired on 2036-12-29T00:00:00Z\n"), "{text}");
}

#[test]
fn an_authority_that_is_not_valid_yet() {
    let dir = tempfile::tempdir().unwrap();
    ensure(dir.path(), &request(), Renew::Due, at(10)).unwrap();
    let before = contents(dir.path());
    let error = ensure(dir.path(), &request(), Renew::Due, at(0))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("is not valid before 2027-01-10T23:00:00Z"),
        "{error}"
    );
    assert!(
        error.contains("sudo timedatectl set-ntp true") && error.contains("/master` and `"),
        "{error}"
    );
    assert_eq!(contents(dir.path()), before);
}

#[test]
fn a_leaf_in_place_of_an_authority() {
    let text = refused(0, |master| {
        fs_err::copy(master.join("etcd.pem"), master.join("etcd-ca.pem")).unwrap();
    });
    insta::assert_snapshot!(text, @"
    …/master/etcd-ca.pem: this certificate cannot be the etcd authority
      expected  a certificate that may sign certificates
      found     a certificate that may not, issued to `CN=etcd`

    hint: restore `…/master/etcd-ca.pem` and its key from a backup
    ");
}

#[test]
fn an_authority_with_the_key_of_another() {
    let text = refused(0, |master| {
        fs_err::copy(master.join("etcd-ca-key.pem"), master.join("ca-key.pem")).unwrap();
    });
    insta::assert_snapshot!(text, @"
    …/master/ca.pem: the certificate of the cluster authority does not belong to its key
      expected  the certificate of the key in `…/master/ca-key.pem`
      found     the certificate of another key

    hint: restore both files from the same backup
    ");
}

#[test]
fn an_authority_that_lacks_its_key_when_a_certificate_is_to_be_issued() {
    let text = refused(0, |master| {
        remove(master.join("etcd-ca-key.pem"));
        remove(master.join("etcd-client.pem"));
    });
    insta::assert_snapshot!(text, @"
    …/master/etcd-client.pem: cannot be issued without the key of the etcd authority
      expected  the key in `…/master/etcd-ca-key.pem`
      found     no such file
      needed    because the certificate was missing

    hint: restore `…/master/etcd-ca-key.pem` from a backup
    ");
}

#[test]
fn a_missing_authority_whose_certificates_exist() {
    let text = refused(0, |master| {
        remove(master.join("front-proxy-ca.pem"));
        remove(master.join("front-proxy-ca-key.pem"));
    });
    insta::assert_snapshot!(text, @"
    …: the certificates and keys in this directory do not belong together
      master/front-proxy-client.pem  was issued by `CN=usernetes-front-proxy-ca`, but `master/front-proxy-ca.pem` is missing

    hint: restore these files from a backup, or move each of them and its `-key.pem` away and run the same command again, which makes new ones
    ");
}

#[test]
fn damaged_files() {
    let certificate = refused(0, |master| {
        fs_err::write(master.join("ca.pem"), "junk").unwrap();
    });
    insta::assert_snapshot!(certificate, @"
    …/master/ca.pem: cannot read this certificate
      expected  an X.509 certificate in PEM form
      found     no `-----BEGIN CERTIFICATE-----`

    hint: restore the file from a backup, or move it away
    ");
    let binary = refused(0, |master| {
        fs_err::write(master.join("admin.pem"), [0xff; 99]).unwrap();
    });
    assert!(
        binary.starts_with("…/master/admin.pem: cannot read this certificate"),
        "{binary}"
    );
    let key = refused(0, |master| {
        let encrypted =
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
        fs_err::write(master.join("ca-key.pem"), encrypted).unwrap();
    });
    insta::assert_snapshot!(key, @"
    …/master/ca-key.pem: cannot use this private key
      expected  an unencrypted PEM private key: ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits
      found     `ENCRYPTED PRIVATE KEY`

    hint: restore the file from a backup, or move it away
    ");
}

#[test]
fn all_files_that_do_not_belong_together_are_named() {
    let text = refused(0, |master| {
        fs_err::copy(master.join("etcd-key.pem"), master.join("admin-key.pem")).unwrap();
        fs_err::copy(master.join("etcd.pem"), master.join("kube-apiserver.pem")).unwrap();
        fs_err::copy(
            master.join("etcd-key.pem"),
            master.join("kube-apiserver-key.pem"),
        )
        .unwrap();
        fs_err::copy(
            master.join("etcd-key.pem"),
            master.join("service-account-key.pem"),
        )
        .unwrap();
        fs_err::copy(master.join("etcd-ca.pem"), master.join("../node/ca.pem")).unwrap();
    });
    insta::assert_snapshot!(text, @"
    …: the certificates and keys in this directory do not belong together
      master/service-account.pem  does not contain the public half of its key
      master/kube-apiserver.pem   was issued by `CN=usernetes-etcd-ca`, not with the key of `master/ca.pem`
      master/admin.pem            does not belong to its key
      node/ca.pem                 is the certificate of another authority than `master/ca.pem`

    hint: restore these files from a backup, or move each of them and its `-key.pem` away and run the same command again, which makes new ones
    ");
}

#[test]
fn a_missing_key_of_service_accounts() {
    let text = refused(0, |master| remove(master.join("service-account-key.pem")));
    insta::assert_snapshot!(text, @"
    …/master/service-account.pem: the private half of this key is missing
      expected  the key in `…/master/service-account-key.pem`
      found     no such file

    hint: restore it from a backup, or move `…/master/service-account.pem` away and run the same command again, which makes a new pair and invalidates the tokens issued so far
    ");
}

#[test]
fn bad_requests() {
    let dir = tempfile::tempdir().unwrap();
    let config = dir.path().join("config");
    let mut text = String::new();
    for change in [
        (|r| r.extra_sans.push("10.0.0.300".to_owned())) as fn(&mut Request),
        |r| r.service_ip = Ipv4Addr::UNSPECIFIED.into(),
        |r| r.child_ip = Ipv4Addr::new(224, 0, 0, 1).into(),
    ] {
        let mut request = request();
        change(&mut request);
        let error = ensure(&config, &request, Renew::Due, at(0)).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.to_string().contains("hint: "));
        writeln!(text, "{}", error.message()).unwrap();
    }
    insta::assert_snapshot!(text, @"
    additional name of the API server: `10.0.0.300` is neither a host name nor an IP address
    service address of the API server: `0.0.0.0` cannot be in a certificate, because clients cannot connect to this address
    address in the RootlessKit network: `224.0.0.1` cannot be in a certificate, because clients cannot connect to this address
    ");
    let error = ensure(&config, &request(), Renew::Due, UNIX_EPOCH).unwrap_err();
    insta::assert_snapshot!(error.to_string(), @"
    this machine's clock is wrong
      expected  a time after 2025-01-01
      found     1970-01-01T00:00:00Z

    hint: set the clock, for example with `sudo timedatectl set-ntp true`
    ");
    assert!(!config.exists());
}

#[test]
fn a_second_process_is_refused_while_the_first_holds_the_lock() {
    let dir = fresh();
    let _lock = files::lock(dir.path()).unwrap();
    let error = ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
}

/// If the last file cannot be written, none of the files may appear.
#[test]
fn a_failed_write_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let obstacle = dir.path().join("node/.flannel.kubeconfig.new");
    fs_err::create_dir_all(&obstacle).unwrap();
    let error = ensure(dir.path(), &request(), Renew::Due, at(0)).unwrap_err();
    assert!(
        error.message().contains(".flannel.kubeconfig.new"),
        "{error}"
    );
    assert_eq!(
        fs_err::read_dir(dir.path().join(MASTER)).unwrap().count(),
        0
    );
    assert_eq!(fs_err::read_dir(dir.path().join(NODE)).unwrap().count(), 1);
}

/// Printable strings may contain a question mark, but the library that writes certificates panics at it.
#[test]
fn an_authority_with_a_question_mark_in_its_name_is_refused() {
    let mut der = der_of(include_str!("data/cfssl-ca.pem"));
    // A printable string: its tag, its length and its letters.
    let country = b"\x13\x02US";
    let is_country = |at: &usize| der[*at..].starts_with(country);
    let places: Vec<_> = (0..der.len()).filter(is_country).collect();
    assert_eq!(places.len(), 2);
    for at in places {
        der[at + 3] = b'?';
    }
    let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
    let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    let error = Certificate::parse(&pem).unwrap_err().to_string();
    assert!(error.contains("single, plain attributes"), "{error}");
}

proptest::proptest! {
    /// The stub aborts when it panics, so every damaged file must result in an error.
    #[test]
    fn damaged_bytes_never_panic(at in 0..4096_usize, bytes in proptest::collection::vec(proptest::num::u8::ANY, 1..4)) {
        let now = i64::try_from(NOW).unwrap();
        let leaf = leaves(&request()).unwrap().remove(0);
        let signer = Key::generate().unwrap();
        let authority = Certificate::authority("usernetes-ca", &signer, now).unwrap();
        let issued = Certificate::issue(&leaf, &signer, &authority, &signer, now).unwrap();
        for (label, pem) in [
            ("CERTIFICATE", include_str!("data/cfssl-ca.pem")),
            ("CERTIFICATE", &issued.pem),
            ("EC PRIVATE KEY", include_str!("data/sec1-key.pem")),
        ] {
            let mut der = der_of(pem);
            for (i, byte) in bytes.iter().enumerate() {
                let end = der.len();
                der[(at + i) % end] = *byte;
            }
            let body = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &der);
            let pem = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
            if let Ok(certificate) = Certificate::parse(&pem) {
                let _ = certificate.fault(&leaf, now);
                let _ = Certificate::issue(&leaf, &signer, &certificate, &signer, now);
            }
            let _ = Key::parse(pem);
        }
    }
}

fn der_of(pem: &str) -> Vec<u8> {
    x509_parser::pem::Pem::iter_from_buffer(pem.as_bytes())
        .last()
        .unwrap()
        .unwrap()
        .contents
}
