use super::*;

const GOOD: &str = r#"
summary = "an example"
homepage = "https://example.org"
license = "Apache-2.0 AND (MPL-2.0 OR LGPL-3.0-or-later)"
version = { from = "github", repository = "example/tool", tag = "v{version}", allow = "^1.2" }

[[artifact]]
urls = ["https://example.org/v{version}/tool-{arch}.tar.gz"]
format = "tar.gz"
checks = [{ by = "sidecar", url = "{url}.sha256" }]
file = [{ from = "tool-{version}/tool", to = "bin/tool" }]
link = [{ path = "bin/t", target = "tool" }]
"#;

/// The error for the good recipe with one thing changed.
fn refused(old: &str, new: &str) -> String {
    let text = GOOD.replacen(old, new, 1);
    assert_ne!(text, GOOD, "`{old}` does not occur");
    Recipe::parse(&text).unwrap_err().to_string()
}

#[test]
fn a_good_recipe() {
    let recipe = Recipe::parse(GOOD).unwrap();
    assert_eq!(recipe.artifacts[0].format, Format::TarGz);
    assert_eq!(recipe.paths().count(), 2);
}

#[test]
fn an_unknown_key_is_named_with_its_line() {
    insta::assert_snapshot!(refused("license =", "licence ="), @r#"
    bad recipe
    TOML parse error at line 4, column 1
      |
    4 | licence = "Apache-2.0 AND (MPL-2.0 OR LGPL-3.0-or-later)"
      | ^^^^^^^
    unknown field `licence`, expected one of `summary`, `homepage`, `license`, `family`, `version`, `artifact`

    hint: see `recipes/etcd.toml`, a commented example of everything that a recipe can say
    "#);
}

#[test]
fn a_key_given_twice_is_named() {
    insta::assert_snapshot!(refused("license =", "summary ="), @r#"
    bad recipe
    TOML parse error at line 4, column 1
      |
    4 | summary = "Apache-2.0 AND (MPL-2.0 OR LGPL-3.0-or-later)"
      | ^^^^^^^
    duplicate key

    hint: see `recipes/etcd.toml`, a commented example of everything that a recipe can say
    "#);
}

#[test]
fn a_version_is_in_the_address() {
    insta::assert_snapshot!(refused("/v{version}/", "/v1.2.3/"), @r"
    bad recipe: `https://example.org/v1.2.3/tool-{arch}.tar.gz`: the version does not occur in the URL

    hint: write `{version}` where the version stands
    ");
}

#[test]
fn an_unknown_placeholder_is_named() {
    insta::assert_snapshot!(refused("{arch}", "{cpu}"), @r"
    bad recipe: `https://example.org/v{version}/tool-{cpu}.tar.gz`: unknown placeholder in `https://example.org/v{version}/tool-{cpu}.tar.gz`
      expected  `{version}`, `{minor}`, `{arch}` or `{goarch}`

    hint: correct the word in braces; in the `url` of a check, `{url}` works too
    ");
    insta::assert_snapshot!(refused("{url}.sha256", "{file}.sha256"), @r"
    bad recipe: `https://example.org/v{version}/tool-{arch}.tar.gz`: unknown placeholder in `{file}.sha256`
      expected  `{version}`, `{minor}`, `{arch}` or `{goarch}`

    hint: correct the word in braces; in the `url` of a check, `{url}` works too
    ");
}

#[test]
fn a_licence_is_an_expression() {
    let license = "Apache-2.0 AND (MPL-2.0 OR LGPL-3.0-or-later)";
    insta::assert_snapshot!(refused(license, ""), @r#"
    bad recipe: license: `` is no SPDX licence expression
      found  empty expression

    hint: write it like `Apache-2.0` or `GPL-2.0-or-later AND MIT`: https://spdx.org/licenses
    "#);
    for bad in [
        " ",
        "AND",
        "MIT AND",
        "MIT Apache-2.0",
        "(MIT",
        "Apache-2.0 (build recipe)",
        "see LICENSE",
        "GPL/MIT",
    ] {
        let error = refused(license, bad);
        assert!(error.contains(&format!("license: `{bad}`")), "{error}");
    }
}

#[test]
fn hostile_paths_are_refused() {
    insta::assert_snapshot!(refused("bin/tool", "../../.bashrc"), @r#"
    bad recipe
    TOML parse error at line 11, column 46
       |
    11 | file = [{ from = "tool-{version}/tool", to = "../../.bashrc" }]
       |                                              ^^^^^^^^^^^^^^^
    unsafe path "../../.bashrc": it contains `.` or `..`
      expected  a relative path of plain names, such as `bin/etcd`

    hint: see `recipes/etcd.toml`, a commented example of everything that a recipe can say
    "#);
    insta::assert_snapshot!(refused("bin/tool", "etc/cron.d/tool"), @r"
    bad recipe: `etc/cron.d/tool` is not an allowed path in the installed tree
      expected  a path below bin/, images/, lib/, libexec/, share/

    hint: change `to` in the recipe
    ");
    for bad in [
        "/bin/tool",
        "bin//tool",
        "bin/./tool",
        "-rf",
        "bin/a\\\\b",
        "bin/{arch}",
    ] {
        let error = refused("bin/tool", bad);
        assert!(error.contains("hint: "), "{error}");
        assert!(error.contains(bad), "{error}");
    }
}

#[test]
fn members_are_plain_paths() {
    insta::assert_snapshot!(refused("tool-{version}/tool", "./tool"), @r#"
    bad recipe: `https://example.org/v{version}/tool-{arch}.tar.gz`: `from = "./tool"` is no path in an archive

    hint: write it without `/` or `./` before it, and without `..`
    "#);
    for bad in ["/tool", "a/../tool", "tool/", ""] {
        let error = refused("tool-{version}/tool", bad);
        assert!(error.contains(&format!("`from = \"{bad}\"`")), "{error}");
    }
}

#[test]
fn links_point_to_what_is_there() {
    insta::assert_snapshot!(refused(r#"target = "tool""#, r#"target = "toll""#), @r"
    bad recipe: the link `bin/t` points to `bin/toll`, which is not a file of this recipe

    hint: see `recipes/etcd.toml`, a commented example of everything that a recipe can say
    ");
}

#[test]
fn a_constraint_is_one() {
    insta::assert_snapshot!(refused("^1.2", "one"), @r#"
    bad recipe
    TOML parse error at line 5, column 11
      |
    5 | version = { from = "github", repository = "example/tool", tag = "v{version}", allow = "one" }
      |           ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    unexpected character 'o' while parsing major version number

    hint: see `recipes/etcd.toml`, a commented example of everything that a recipe can say
    "#);
}

#[test]
fn what_does_not_go_together() {
    let checks = r#"checks = [{ by = "sidecar", url = "{url}.sha256" }]"#;
    let cases = [
        ("tar.gz\"\n", "plain\"\n"),
        ("tar.gz\"\n", "oci-image\"\n"),
        ("tar.gz\"\n", "deb\"\n"),
        ("https://example.org/v", "ftp://example.org/v"),
        ("https://example.org/v", "http://example.org/v"),
        ("https://example.org/v", "oci://example.org/v"),
        ("{url}.sha256", "http://example.org/tool.sha256"),
        (r#"from = "tool-{version}/tool", "#, ""),
        (checks, r#"checks = [{ by = "github-digest" }]"#),
        ("urls = [", "package = \"tool\"\nurls = ["),
        ("tag = \"v{version}\"", "tag = \"v1\""),
        ("example/tool", "tool"),
        ("https://example.org\"", "example.org\""),
        ("an example", ""),
    ];
    let errors: Vec<_> = cases
        .iter()
        .map(|(old, new)| refused(old, new))
        .inspect(|e| assert!(e.contains("\nhint: "), "{e}"))
        .map(|e| e.lines().next().unwrap().to_owned())
        .collect();
    insta::assert_snapshot!(errors.join("\n"), @r#"
    bad recipe: `https://example.org/v{version}/tool-{arch}.tar.gz`: this format takes the whole download, as one `[[artifact.file]]` without `from`
    bad recipe: `https://example.org/v{version}/tool-{arch}.tar.gz`: `oci://` addresses go with the formats `oci-files` and `oci-image`, and only with them
    bad recipe: `https://example.org/v{version}/tool-{arch}.tar.gz`: the format `deb` goes with `from = "debian"`, and only with it
    bad recipe: `ftp://example.org/v{version}/tool-{arch}.tar.gz`: this is not an `https://` address
    bad recipe: `http://example.org/v{version}/tool-{arch}.tar.gz`: this is not an `https://` address
    bad recipe: `oci://example.org/v{version}/tool-{arch}.tar.gz`: `oci://` addresses go with the formats `oci-files` and `oci-image`, and only with them
    bad recipe: `https://example.org/v{version}/tool-{arch}.tar.gz`: `http://example.org/tool.sha256`: this is not an `https://` address
    bad recipe: `https://example.org/v{version}/tool-{arch}.tar.gz`: every file of an archive needs `from`
    bad recipe: `https://example.org/v{version}/tool-{arch}.tar.gz`: `github-digest` is for files of releases on GitHub
    bad recipe: `tool`: a recipe `from = "debian"` has a `package` in each artifact, every other one has `urls`
    bad recipe: `tag = "v1"` does not say where in a tag the version stands
    bad recipe: `repository = "tool"` is not of the form `owner/name`
    bad recipe: homepage: this is not an `https://` address
    bad recipe: `summary` is empty
    "#);
}

#[test]
fn a_directory_of_recipes() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let hide = |e: Error| {
        e.to_string()
            .replace(&directory.path().display().to_string(), "DIR")
    };

    insta::assert_snapshot!(hide(read_all(directory.path()).unwrap_err()), @r"
    DIR: there are no recipes here
      expected  files named `<component>.toml`

    hint: name the directory of recipes with `--recipes`
    ");
    fs_err::write(path("notes.txt"), "not a recipe").unwrap();
    fs_err::write(path("tool.toml"), GOOD).unwrap();
    let recipes = read_all(directory.path()).unwrap();
    assert_eq!(
        recipes.keys().map(Name::as_str).collect::<Vec<_>>(),
        ["tool"]
    );

    fs_err::write(path("other.toml"), GOOD).unwrap();
    insta::assert_snapshot!(hide(read_all(directory.path()).unwrap_err()), @r"
    two components have the path `bin/tool`: other and tool

    hint: change `to` in the recipe
    ");

    fs_err::write(path("other.toml"), "summary = 1").unwrap();
    insta::assert_snapshot!(hide(read_all(directory.path()).unwrap_err()), @r"
    DIR/other.toml: bad recipe
    TOML parse error at line 1, column 11
      |
    1 | summary = 1
      |           ^
    invalid type: integer `1`, expected a string

    hint: see `recipes/etcd.toml`, a commented example of everything that a recipe can say
    ");

    fs_err::rename(path("other.toml"), path("Other.toml")).unwrap();
    insta::assert_snapshot!(hide(read_all(directory.path()).unwrap_err()), @r#"
    DIR/Other.toml: bad component name "Other"
      expected  at most 64 lower-case letters, digits, `-` and `.`, beginning with a letter or digit

    hint: the file's name is the component's name and `.toml`
    "#);
}

proptest::proptest! {
    #[test]
    fn arbitrary_text_never_panics(text in r"(?s).{0,200}") {
        let _ = Recipe::parse(&text);
    }

    #[test]
    fn a_garbled_recipe_never_panics(at in 0..GOOD.len(), length in 0usize..40, new in r#"(?s)[ -~\[\]{}"=.\n]{0,8}|.{0,4}"#) {
        let mut text = GOOD.to_owned();
        text.replace_range(at..(at + length).min(GOOD.len()), &new);
        let _ = Recipe::parse(&text);
    }
}
