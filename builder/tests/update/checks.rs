//! What is published to check a download by, and what happens when it is wrong, contradictory or gone.

use builder::lockfile::{Evidence, Lockfile};
use stub::bundle::Arch;
use stub::digest::Sha256;

use crate::world::{Release, World, sums};
use crate::{CHECKSUMS, GITHUB, REPOSITORY, pinned, release, world};
use support::server::Behaviour;

const PROGRAM: &[u8] = include_bytes!("fixtures/program");
const KEY: &str = include_str!("fixtures/minisign.pub");
/// Of nobody.
const OTHER_KEY: &str = "RWRzb21lYm9keaRoddkJ6F4R3thSmCwUbnDS4kGW6/RVyEewAfPZsi6h";
const SUMS: &str = "https://github.com/example/tool/releases/download/v1.2.3/SHA256SUMS";

/// Both architectures' files are the signed program, with its signatures beside them.
fn signed(checks: &[&str], program: &[u8]) -> World {
    let world = world(checks);
    let keyring = include_bytes!("fixtures/upstream.gpg");
    fs_err::write(world.home.path().join("upstream.gpg"), keyring).unwrap();
    let sums = sums(&[("tool-amd64", PROGRAM), ("tool-arm64", PROGRAM)]);
    let (pgp, mini) = (
        include_bytes!("fixtures/program.asc").as_slice(),
        include_bytes!("fixtures/program.minisig").as_slice(),
    );
    let files = [
        ("SHA256SUMS", sums.as_slice()),
        ("tool-amd64", program),
        ("tool-amd64.asc", pgp),
        ("tool-amd64.minisig", mini),
        ("tool-arm64", program),
        ("tool-arm64.asc", pgp),
        ("tool-arm64.minisig", mini),
    ];
    world.releases(REPOSITORY, &[Release::new("v1.2.3", &files)]);
    world
}

const OPENPGP: &str = r#"{ by = "openpgp", url = "{url}.asc", keyring = "upstream.gpg" }"#;

fn minisign() -> String {
    let key = KEY.trim();
    format!(r#"{{ by = "minisign", url = "{{url}}.minisig", key = "{key}" }}"#)
}

#[test]
fn signatures_are_checked_with_the_file_itself() {
    for with_sums in [true, false] {
        let minisign = minisign();
        let mut checks = vec![OPENPGP, &minisign];
        checks.extend(with_sums.then_some(CHECKSUMS));
        let world = signed(&checks, PROGRAM);
        let updated = world.update(&Lockfile::new()).unwrap();
        let (_, artifact) = pinned(&updated.lockfile, "tool", Arch::X86_64);
        assert_eq!(artifact.digest, Some(Sha256::of(PROGRAM).into()));
        let kinds = &artifact.evidence[usize::from(with_sums)..];
        let [
            Evidence::Minisign { key, .. },
            Evidence::Openpgp { key: finger, .. },
        ] = kinds
        else {
            panic!("{kinds:?}");
        };
        assert_eq!((key.as_str(), finger.len()), (KEY.trim(), 40));
        // It is where `builder fetch` will look for it; what is known to be there is not fetched again.
        assert!(world.cache.contains(&artifact.digest.unwrap()));
        let base = "https://github.com/example/tool/releases/download/v1.2.3/tool";
        let asked = ["amd64", "arm64"].map(|arch| world.asked(&format!("{base}-{arch}")));
        assert_eq!(asked.iter().sum::<usize>(), if with_sums { 1 } else { 2 });
    }
}

#[test]
fn a_file_that_was_not_signed_is_refused() {
    let world = signed(&[OPENPGP], b"another program\n");
    let error = world.refusal(&Lockfile::new());
    assert!(
        error.contains("tool-arm64.asc: the signature is not good"),
        "{error}"
    );
    assert!(error.contains("BAD signature"), "{error}");
    let minisign = minisign();
    let world = signed(&[&minisign], b"another program\n");
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    tool 1.2.3 (aarch64): https://github.com/example/tool/releases/download/v1.2.3/tool-arm64.minisig: the minisign signature is not good
      expected  a signature by the key RWR1c2VybmV0ZaRoddkJ6F4R3thSmCwUbnDS4kGW6/RVyEewAfPZsi6h
      found     its bytes are not the ones that were signed
      it says   `made up for a test`

    hint: the file or its signature was changed or damaged: try again from another network; if the result is the same, do not use the file, and tell upstream
    ");
    let by_another = minisign.replace(KEY.trim(), OTHER_KEY);
    let error = signed(&[&by_another], PROGRAM).refusal(&Lockfile::new());
    assert!(
        error.contains("found     the signature was made with another key"),
        "{error}"
    );
}

#[test]
fn bytes_that_are_not_what_upstream_says_of_them_are_refused() {
    let world = signed(&[CHECKSUMS, OPENPGP], b"another program\n");
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    tool 1.2.3 (aarch64): the download does not match the digest that upstream publishes
      url       https://github.com/example/tool/releases/download/v1.2.3/tool-arm64
      said by   https://github.com/example/tool/releases/download/v1.2.3/SHA256SUMS
      expected  sha256:46aa3f23ce0a4e898f98ed331c081d2e7c61ffa9093186ab6eaaaf376fd6bdf4
      found     sha256:4baa23638a331056c11cef8c2877e0b613aa421ea01f78727f7866b45b8eb9fe

    hint: try again from another network; if the result is the same, do not use the file, and tell upstream
    ");
}

#[test]
fn two_sources_that_disagree_stop_the_update() {
    let world = world(&[CHECKSUMS, GITHUB]);
    let mut bad = release("1.2.3");
    bad.files[0].1 = sums(&[("tool-amd64", b"evil"), ("tool-arm64", b"evil")]);
    world.releases(REPOSITORY, &[bad]);
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    tool 1.2.3 (aarch64): two sources disagree about this download
      url     https://github.com/example/tool/releases/download/v1.2.3/tool-arm64
      source  https://github.com/example/tool/releases/download/v1.2.3/SHA256SUMS
      says    sha256:b5c1fb2efc6d6b4674c2fdcc48ce01b43a3b7c03763c0c3355de0099ee0f8c73
      source  GitHub's API
      says    sha256:ec02e55f64ed4aa6faba936d32dcd6dd7eb7c832a5d1f12fb39b9e49f4f28a08

    hint: one of the two may have been tampered with: tell upstream, and do not use the file
    ");
}

#[test]
fn evidence_that_is_gone_is_missed() {
    let world = world(&[CHECKSUMS, GITHUB]);
    world.releases(REPOSITORY, &[release("1.2.3")]);
    let first = world.update(&Lockfile::new()).unwrap().lockfile;
    let mut poor = release("1.2.4");
    poor.files.remove(0);
    world.releases(REPOSITORY, &[poor, release("1.2.3")]);
    insta::assert_snapshot!(world.refusal(&first), @r"
    tool: the evidence for the new pin is weaker than for the old one
      for  aarch64
      url  https://github.com/example/tool/releases/download/v1.2.4/tool-arm64
      old  checksums, github-digest
      new  github-digest

    hint: find out why upstream publishes less than before; to take the new pin all the same, add `--allow-weaker-evidence`
    ");
    let updated = world.update_with(&first, |u| u.allow_weaker_evidence = true);
    let updated = updated.unwrap();
    let (version, artifact) = pinned(&updated.lockfile, "tool", Arch::X86_64);
    assert_eq!(version, "1.2.4");
    assert_eq!(artifact.evidence, [Evidence::GithubDigest]);
    insta::assert_snapshot!(updated.notes.join("\n"), @r"
    tool 1.2.4 (aarch64): there is no https://github.com/example/tool/releases/download/v1.2.4/SHA256SUMS
    tool 1.2.4 (x86_64): there is no https://github.com/example/tool/releases/download/v1.2.4/SHA256SUMS
    ");
}

#[test]
fn a_release_without_any_digest_stays_unpinned_unless_it_was_pinned() {
    let world = world(&[GITHUB]);
    world.releases(REPOSITORY, &[release("1.2.3")]);
    let first = world.update(&Lockfile::new()).unwrap().lockfile;
    let mut old = release("1.2.4");
    old.digests = false;
    world.releases(REPOSITORY, &[old]);
    let updated = world.update(&Lockfile::new()).unwrap();
    let (_, artifact) = pinned(&updated.lockfile, "tool", Arch::X86_64);
    assert_eq!((artifact.digest, artifact.evidence.len()), (None, 0));
    assert!(
        updated.notes[0].contains("GitHub's API has no digest of it"),
        "{:?}",
        updated.notes
    );
    let error = world.refusal(&first);
    assert!(
        error.contains("old  github-digest\n  new  unpinned"),
        "{error}"
    );
}

#[test]
fn a_release_that_lacks_a_file_is_locked_for_the_other_architecture() {
    let world = world(&[CHECKSUMS, GITHUB]);
    let mut partial = release("1.2.3");
    partial.files.pop();
    world.releases(REPOSITORY, &[partial]);
    let updated = world.update(&Lockfile::new()).unwrap();
    insta::assert_snapshot!(updated.notes.join("\n"), @"tool 1.2.3 (aarch64): the release v1.2.3 has no such file; locked for x86_64 only, not for aarch64");
    let locked = updated.lockfile;
    assert!(pinned(&locked, "tool", Arch::X86_64).1.digest.is_some());
    assert!(locked.select(Arch::X86_64, &[]).is_ok());
    insta::assert_snapshot!(locked.select(Arch::Aarch64, &[]).unwrap_err(), @r"
    tool 1.2.3 does not exist for aarch64
      expected  a download for aarch64
      found     one for x86_64 only

    hint: leave it out by naming the others with `--components`, or, once upstream has it for aarch64, run `builder lock --update tool`
    ");
    // The lockfile says so itself, so that nobody is asked to lock it again.
    let again = Lockfile::parse(&locked.to_text().unwrap()).unwrap();
    let report = builder::lock::check::check(world.recipes(), &again).unwrap();
    assert!(report.verdict().is_ok(), "{report}");
    assert!(
        report
            .to_string()
            .contains("note: tool does not exist for aarch64"),
        "{report}"
    );
    assert_eq!(world.update(&again).unwrap().lockfile, again);
}

#[test]
fn an_architecture_that_was_locked_is_only_given_up_by_name() {
    let world = world(&[CHECKSUMS, GITHUB]);
    world.releases(REPOSITORY, &[release("1.2.2")]);
    let old = world.update(&Lockfile::new()).unwrap().lockfile;
    let mut partial = release("1.2.3");
    partial.files.remove(1);
    world.releases(REPOSITORY, &[partial]);
    insta::assert_snapshot!(world.refusal(&old), @r"
    tool 1.2.3 (x86_64): the release v1.2.3 has no such file
      expected  tool-amd64
      found     SHA256SUMS, tool-arm64

    hint: if upstream is still uploading the release, try again later; if upstream has renamed its files, change `urls` in the recipe; if it no longer exists for x86_64, run `builder lock --update tool`
    ");
    let updated = world.update_only("tool", &old).unwrap();
    assert!(updated.lockfile.select(Arch::X86_64, &[]).is_err());
    assert_eq!(pinned(&updated.lockfile, "tool", Arch::Aarch64).0, "1.2.3");
}

#[test]
fn a_file_of_digests_that_is_a_login_page_is_no_evidence() {
    let world = world(&[CHECKSUMS]);
    world.releases(REPOSITORY, &[release("1.2.3")]);
    world.route(SUMS, b"", [Behaviour::Page]);
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r#"
    tool 1.2.3 (aarch64): https://github.com/example/tool/releases/download/v1.2.3/SHA256SUMS: there is no digest of `tool-arm64` in this file
      expected  lines `<sha256 or sha512>  <name>`
      found     a web page: "<!doctype html><title>Log in</title>"

    hint: open the address in a browser; if upstream has renamed its files, change the recipe
    "#);
}

#[test]
fn a_server_that_fails_is_not_evidence_that_there_is_none() {
    let world = world(&[CHECKSUMS]);
    world.releases(REPOSITORY, &[release("1.2.3")]);
    for status in [403, 500] {
        world.route(SUMS, b"", [Behaviour::status(status)]);
        let error = world.refusal(&Lockfile::new());
        assert!(
            error.contains(&status.to_string()) && error.contains("SHA256SUMS: cannot be fetched"),
            "{error}"
        );
    }
}

const PLAIN: &str = r#"
summary = "a tool"
homepage = "https://example.org"
license = "MIT"
version = { from = "text", url = "https://example.org/latest", tag = "v{version}", allow = "~1.2" }

[[artifact]]
urls = ["https://example.org/v{version}/tool"]
format = "plain"
checks = [CHECKS]
file = [{ to = "bin/tool" }]
"#;

fn plain(checks: &str) -> World {
    let mut world = World::new();
    world.recipe("tool", &PLAIN.replace("CHECKS", checks));
    world.put("https://example.org/latest", b"v1.2.3\n");
    world.put("https://example.org/v1.2.3/tool", PROGRAM);
    world
}

fn sha512(content: &[u8]) -> String {
    let any = stub::digest::Digest::Sha512([0; 64]);
    any.same_kind_of(content).hex()
}

#[test]
fn sha512_alone_is_enough_and_both_are_checked_against_the_file() {
    let long = r#"{ by = "sidecar", url = "{url}.sha512" }"#;
    let world = plain(long);
    let at = "https://example.org/v1.2.3/tool.sha512";
    world.put(at, sha512(PROGRAM).as_bytes());
    let updated = world.update(&Lockfile::new()).unwrap();
    let (_, artifact) = pinned(&updated.lockfile, "tool", Arch::X86_64);
    assert_eq!(artifact.digest.unwrap().hex(), sha512(PROGRAM));
    assert_eq!(artifact.size, Some(PROGRAM.len() as u64));
    let requests = world.server.requests_for("/example.org/v1.2.3/tool");
    assert!(requests.iter().all(|r| r.method == "HEAD"), "{requests:?}");

    let both = format!(r#"{long}, {{ by = "sidecar", url = "{{url}}.sha256" }}"#);
    let world = plain(&both);
    world.put(at, sha512(PROGRAM).as_bytes());
    let short = Sha256::of(PROGRAM).to_string();
    world.put("https://example.org/v1.2.3/tool.sha256", short.as_bytes());
    let updated = world.update(&Lockfile::new()).unwrap();
    assert_eq!(
        pinned(&updated.lockfile, "tool", Arch::X86_64)
            .1
            .evidence
            .len(),
        2
    );

    let world = plain(&both);
    world.put(at, sha512(PROGRAM).as_bytes());
    let wrong = Sha256::of(b"evil").to_string();
    world.put("https://example.org/v1.2.3/tool.sha256", wrong.as_bytes());
    let error = world.refusal(&Lockfile::new());
    assert!(
        error.contains("the download does not match the digest that upstream publishes"),
        "{error}"
    );
    assert!(error.contains(&wrong) && error.contains(&short), "{error}");
}

#[test]
fn a_version_whose_files_are_not_there_is_not_taken() {
    let world = plain(r#"{ by = "sidecar", url = "{url}.sha512" }"#);
    world.route(
        "https://example.org/v1.2.3/tool",
        b"",
        [Behaviour::status(404)],
    );
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    tool 1.2.3 (aarch64): upstream has announced this version, but there is no such file
      url    https://example.org/v1.2.3/tool
      found  404 Not Found

    hint: if upstream is still uploading the release, try again later; if upstream has renamed its files, change `urls` in the recipe
    ");
}

#[test]
fn a_file_whose_upload_is_unfinished_is_not_said_to_be_missing() {
    let world = world(&[GITHUB]);
    let mut stuck = release("1.2.3");
    stuck.unfinished = Some(("tool-amd64", "new"));
    world.releases(REPOSITORY, &[stuck]);
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r"
    tool 1.2.3 (x86_64): the upload of `tool-amd64` to the release v1.2.3 is unfinished
      expected  a file in the state `uploaded`
      found     the state `new`

    hint: try again later; if the state stays the same, ask upstream to upload the file again
    ");
}

#[test]
fn names_and_tags_are_matched_as_github_has_them_however_the_address_spells_them() {
    for (tag, path, file, spelled) in [
        ("cli/v1.2.3", "cli/v{version}", "tool+amd64", "tool%2Bamd64"),
        (
            "v1.2.3+k3s1",
            "v{version}%2Bk3s1",
            "tool~amd64",
            "tool~amd64",
        ),
        ("cli/v1.2.3", "cli%2Fv{version}", "a tool", "a%20tool"),
    ] {
        let mut world = World::new();
        let form = tag.replace("1.2.3", "{version}");
        let recipe = crate::TOOL
            .replace("CHECKS", GITHUB)
            .replace("tag = \"v{version}\"", &format!("tag = \"{form}\""))
            .replace("v{version}/tool-{goarch}", &format!("{path}/{spelled}"));
        world.recipe("tool", &recipe);
        world.releases(REPOSITORY, &[Release::new(tag, &[(file, PROGRAM)])]);
        let updated = world.update(&Lockfile::new()).unwrap();
        let (_, artifact) = pinned(&updated.lockfile, "tool", Arch::X86_64);
        assert_eq!(artifact.digest, Some(Sha256::of(PROGRAM).into()), "{tag}");
        assert_eq!(artifact.evidence, [Evidence::GithubDigest]);
        assert_eq!(updated.notes, [""; 0]);
    }
}

#[test]
fn github_is_not_said_to_lack_a_digest_of_a_release_it_does_not_have() {
    let mut world = World::new();
    let recipe = crate::TOOL.replace("CHECKS", GITHUB).replace(
        r#"from = "github", repository = "example/tool""#,
        r#"from = "text", url = "https://example.org/latest""#,
    );
    world.recipe("tool", &recipe);
    world.put("https://example.org/latest", b"v1.2.3\n");
    for arch in ["amd64", "arm64"] {
        let url = format!("https://github.com/example/tool/releases/download/v1.2.3/tool-{arch}");
        world.put(&url, PROGRAM);
    }
    let updated = world.update(&Lockfile::new()).unwrap();
    insta::assert_snapshot!(updated.notes[0], @"tool 1.2.3 (aarch64): GitHub's API knows no release that https://github.com/example/tool/releases/download/v1.2.3/tool-arm64 belongs to");
}

/// A keyring in the form in which projects publish their `KEYS`.
fn armoured(keyring: &[u8]) -> String {
    use base64::Engine as _;
    let data = base64::prelude::BASE64_STANDARD.encode(keyring);
    let lines: Vec<&str> = data
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "The keys of our releases.\n\n-----BEGIN PGP PUBLIC KEY BLOCK-----\r\nComment: of upstream\r\n\r\n{}\r\n=njUN\r\n-----END PGP PUBLIC KEY BLOCK-----\r\n",
        lines.join("\r\n")
    )
}

#[test]
fn a_keyring_may_be_in_ascii_armour() {
    let text = armoured(include_bytes!("fixtures/upstream.gpg"));
    let world = signed(&[OPENPGP], PROGRAM);
    let keyring = world.home.path().join("upstream.gpg");
    fs_err::write(&keyring, &text).unwrap();
    let updated = world.update(&Lockfile::new()).unwrap();
    let (_, artifact) = pinned(&updated.lockfile, "tool", Arch::X86_64);
    assert!(matches!(artifact.evidence[..], [Evidence::Openpgp { .. }]));
    // It is another file that is not signed, and not the keyring that is at fault.
    let world = signed(&[OPENPGP], b"another program\n");
    fs_err::write(world.home.path().join("upstream.gpg"), &text).unwrap();
    let error = world.refusal(&Lockfile::new());
    assert!(error.contains("BAD signature"), "{error}");
}

#[test]
fn a_minisign_signature_that_is_none_is_not_said_to_be_by_another_key() {
    let minisign = minisign();
    let world = signed(&[&minisign], PROGRAM);
    let at = "https://github.com/example/tool/releases/download/v1.2.3/tool-arm64.minisig";
    world.route(at, b"", [Behaviour::Page]);
    insta::assert_snapshot!(world.refusal(&Lockfile::new()), @r#"
    tool 1.2.3 (aarch64): https://github.com/example/tool/releases/download/v1.2.3/tool-arm64.minisig: this is no minisign signature
      expected  a signature by the key RWR1c2VybmV0ZaRoddkJ6F4R3thSmCwUbnDS4kGW6/RVyEewAfPZsi6h
      found     a web page: "<!doctype html><title>Log in</title>"

    hint: open the address in a browser; if upstream has renamed its signatures, change `url` of the check in the recipe
    "#);
}
