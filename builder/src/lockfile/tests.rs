use super::*;

const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

const GOOD: &str = r#"{
  "components": {
    "tool": {
      "artifacts": {
        "x86_64": [
          {
            "digest": "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "evidence": [
              {
                "from": [
                  "example/records@1:sums [tool]"
                ],
                "kind": "records",
                "tier": "A"
              }
            ],
            "files": [
              {
                "from": "tool",
                "to": "bin/tool"
              }
            ],
            "format": "tar.gz",
            "links": [
              {
                "path": "bin/t",
                "target": "tool"
              }
            ],
            "size": 3,
            "urls": [
              "https://example.org/v1.2.3/tool.tar.gz"
            ]
          }
        ]
      },
      "family": "tool",
      "homepage": "https://example.org",
      "license": "MIT",
      "version": "1.2.3"
    }
  },
  "schema": 1
}
"#;

/// The error for the good lockfile with one thing changed.
fn refused(old: &str, new: &str) -> String {
    let text = GOOD.replacen(old, new, 1);
    assert_ne!(text, GOOD, "`{old}` does not occur");
    let error = Lockfile::parse(&text).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    error.to_string()
}

/// The good component as JSON, to put it in a second time.
fn component() -> &'static str {
    let from = GOOD.find(r#""tool": {"#).unwrap();
    let to = GOOD.rfind("\n  },\n").unwrap();
    &GOOD[from..to]
}

#[test]
fn the_text_has_one_form() {
    let lockfile = Lockfile::parse(GOOD).unwrap();
    assert_eq!(lockfile.to_text().unwrap(), GOOD);
    assert_eq!(lockfile.digest().unwrap(), Sha256::of(GOOD.as_bytes()));
}

#[test]
fn writing_and_reading() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lockfile.json");
    let hide = |e: Error| {
        e.to_string()
            .replace(&directory.path().display().to_string(), "DIR")
    };
    insta::assert_snapshot!(hide(Lockfile::read(&path).unwrap_err()), @r"
    failed to open file `DIR/lockfile.json`: No such file or directory (os error 2)

    hint: name the lockfile with `--lockfile`, or create one with `builder lock --update`
    ");

    let lockfile = Lockfile::parse(GOOD).unwrap();
    lockfile.write(&path).unwrap();
    assert_eq!(Lockfile::read(&path).unwrap(), lockfile);
    fs_err::write(&path, "{").unwrap();
    insta::assert_snapshot!(hide(Lockfile::read(&path).unwrap_err()), @r"
    DIR/lockfile.json: bad lockfile: EOF while parsing an object at line 1 column 1

    hint: restore it from version control, or create it again with `builder lock --update`
    ");
}

#[test]
fn a_newer_schema_is_not_guessed_at() {
    insta::assert_snapshot!(refused(r#""schema": 1"#, r#""novelty": true, "schema": 2"#), @r"
    the lockfile has a schema this builder does not know
      expected  schema 1
      found     schema 2

    hint: use the builder of the commit that the lockfile belongs to
    ");
}

#[test]
fn a_digest_of_the_wrong_length_is_named() {
    insta::assert_snapshot!(refused(DIGEST, "sha256:ba7816bf"), @r"
    bad lockfile: `sha256:ba7816bf` is not a digest
      expected  `sha256:` and 64 or `sha512:` and 128 lower-case hexadecimal digits
      found     15 characters at line 7 column 39

    hint: restore it from version control, or create it again with `builder lock --update`
    ");
}

#[test]
fn a_version_is_in_its_addresses() {
    insta::assert_snapshot!(refused(r#""version": "1.2.3""#, r#""version": "1.2.4""#), @r"
    tool 1.2.4 (x86_64): the version does not occur in a URL
      version  1.2.4
      url      https://example.org/v1.2.3/tool.tar.gz

    hint: a digest belongs to one version: change both with `builder lock --update`
    ");
}

#[test]
fn only_the_first_package_has_the_components_version() {
    let deb = |url: &str| {
        GOOD.replace("tar.gz\",", "deb\",").replace(
            "https://example.org/v1.2.3/tool.tar.gz",
            &format!("debian:pool/main/t/tool/{url}"),
        )
    };
    let second = r#"}, {"files": [{"from": "lib", "to": "bin/lib"}], "format": "deb",
        "urls": ["debian:pool/main/l/lib/lib_9.deb"]} ] }, "family""#;
    let both = |url: &str| {
        let text = deb(url);
        let at = text
            .find("}\n        ]\n      },\n      \"family\"")
            .unwrap();
        let rest = text.find("\"family\"").unwrap() + "\"family\"".len();
        format!("{}{second}{}", &text[..at], &text[rest..])
    };
    Lockfile::parse(&both("tool_1.2.3-1_amd64.deb")).unwrap();
    let error = Lockfile::parse(&both("tool_1.2.2-1_amd64.deb")).unwrap_err();
    assert!(
        error.to_string().contains("tool_1.2.2-1_amd64.deb"),
        "{error}"
    );
}

#[test]
fn a_key_given_twice_is_named() {
    let twice = format!("{0},\n    {0}", component());
    insta::assert_snapshot!(refused(component(), &twice), @r"
    bad lockfile: `tool` occurs twice at line 42 column 10

    hint: restore it from version control, or create it again with `builder lock --update`
    ");
    insta::assert_snapshot!(refused(r#""x86_64": ["#, r#""x86_64": [], "x86_64": ["#), @r"
    bad lockfile: `x86_64` occurs twice at line 5 column 30

    hint: restore it from version control, or create it again with `builder lock --update`
    ");
    insta::assert_snapshot!(refused(r#""license": "MIT""#, r#""license": "MIT", "license": "ISC""#), @r"
    bad lockfile: duplicate field `license` at line 39 column 33

    hint: restore it from version control, or create it again with `builder lock --update`
    ");
    insta::assert_snapshot!(refused(r#""schema": 1"#, r#""schema": 1, "schema": 1"#), @r"
    bad lockfile: duplicate field `schema` at line 43 column 23

    hint: restore it from version control, or create it again with `builder lock --update`
    ");
}

#[test]
fn two_components_cannot_have_one_path() {
    let other = component().replacen("tool", "other", 1);
    let both = format!("{other},\n    {}", component());
    insta::assert_snapshot!(refused(component(), &both), @r"
    two components have the path `bin/tool`: other and tool

    hint: change `to` in the recipe
    ");
}

#[test]
fn unknown_keys_and_hostile_paths_are_named() {
    insta::assert_snapshot!(refused("license", "licence"), @r"
    bad lockfile: unknown field `licence`, expected one of `artifacts`, `family`, `homepage`, `license`, `version` at line 39 column 15

    hint: restore it from version control, or create it again with `builder lock --update`
    ");
    insta::assert_snapshot!(refused("bin/tool", "../.bashrc"), @r#"
    bad lockfile: unsafe path "../.bashrc": it contains `.` or `..`
      expected  a relative path of plain names, such as `bin/etcd` at line 21 column 15

    hint: restore it from version control, or create it again with `builder lock --update`
    "#);
    insta::assert_snapshot!(refused("bin/tool", "etc/passwd"), @r"
    tool: `etc/passwd` is not an allowed path in the installed tree
      expected  a path below bin/, images/, lib/, libexec/, share/

    hint: change `to` in the recipe
    ");
    insta::assert_snapshot!(refused("\"https://example.org/v1.2.3/tool.tar.gz\"", ""), @r"
    tool 1.2.3 (x86_64): an artifact has no URL

    hint: create the entry again with `builder lock --update`
    ");
}

#[test]
fn what_is_not_pinned_is_not_built() {
    let mut lockfile = Lockfile::parse(GOOD).unwrap();
    let name = Name::new("tool").unwrap();
    let component = lockfile.components.get_mut(&name).unwrap();
    let artifact = &mut component.artifacts.get_mut(&Arch::X86_64).unwrap()[0];
    assert_eq!(artifact.pinned(&name).unwrap().to_string(), DIGEST);
    artifact.digest = None;
    insta::assert_snapshot!(artifact.pinned(&name).unwrap_err(), @r"
    tool: this download is unpinned: lockfile.json has no digest for it
      url  https://example.org/v1.2.3/tool.tar.gz

    hint: pin it with `builder lock --update tool`
    ");
    assert!(!lockfile.to_text().unwrap().contains("digest"));
}

#[test]
fn selecting() {
    let lockfile = Lockfile::parse(GOOD).unwrap();
    let tool = [Name::new("tool").unwrap()];
    assert_eq!(lockfile.select(Arch::X86_64, &[]).unwrap().len(), 1);
    assert_eq!(lockfile.select(Arch::X86_64, &tool).unwrap().len(), 1);
    insta::assert_snapshot!(lockfile.select(Arch::Aarch64, &tool).unwrap_err(), @r"
    tool 1.2.3 is not locked for aarch64

    hint: pin it with `builder lock --update tool`
    ");
    let unknown = [Name::new("docker").unwrap()];
    insta::assert_snapshot!(lockfile.select(Arch::X86_64, &unknown).unwrap_err(), @r"
    the lockfile has no component `docker`
      expected  tool
    ");
}

proptest::proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in r"(?s).{0,200}") {
        let _ = Lockfile::parse(&text);
    }

    #[test]
    fn a_garbled_lockfile_never_panics(at in 0..GOOD.len(), length in 0usize..60, new in r#"[ -~\[\]{}":,\n]{0,8}|.{0,4}"#) {
        let mut text = GOOD.to_owned();
        text.replace_range(at..(at + length).min(GOOD.len()), &new);
        if let Ok(lockfile) = Lockfile::parse(&text) {
            let again = Lockfile::parse(&lockfile.to_text().unwrap()).unwrap();
            proptest::prop_assert_eq!(again, lockfile);
        }
    }
}

#[test]
fn a_file_saved_by_another_systems_editor() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lockfile.json");
    fs_err::write(&path, format!("\u{feff}{GOOD}")).unwrap();
    let lockfile = Lockfile::read(&path).unwrap();
    assert_eq!(lockfile.to_text().unwrap(), GOOD);
    let utf16: Vec<u8> = GOOD.encode_utf16().flat_map(u16::to_be_bytes).collect();
    fs_err::write(&path, utf16).unwrap();
    let error = Lockfile::read(&path).unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    assert!(error.to_string().contains("found     UTF-16"), "{error}");
}
