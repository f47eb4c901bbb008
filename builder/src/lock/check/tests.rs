use stub::bundle::Version;

use super::*;
use crate::lockfile::Evidence;

const RECIPE: &str = r#"
summary = "an example"
homepage = "https://example.org"
license = "MIT"
version = { from = "github", repository = "example/tool", tag = "v{version}", allow = "~1.2" }

[[artifact]]
urls = ["https://example.org/v{version}/NAME-{arch}"]
format = "plain"
file = [{ to = "bin/NAME" }]
"#;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn recipe(component: &str) -> Recipe {
    Recipe::parse(&RECIPE.replace("NAME", component)).unwrap()
}

/// A recipe and its entry at 1.2.3, pinned in every respect.
fn example(component: &str) -> (BTreeMap<Name, Recipe>, Lockfile) {
    let (name, recipe) = (name(component), recipe(component));
    let version = Version::new("1.2.3").unwrap();
    let mut entry = locked(&name, &recipe, &version, &Arch::ALL).unwrap();
    for artifact in entry.artifacts.values_mut().flatten() {
        artifact.digest = Some(stub::digest::Sha256::of(b"tool").into());
        artifact.evidence = vec![Evidence::GithubDigest];
        artifact.size = Some(4);
    }
    let mut lockfile = Lockfile::new();
    lockfile.components.insert(name.clone(), entry);
    (BTreeMap::from([(name, recipe)]), lockfile)
}

/// The report after the entry of `tool` was changed.
fn report(change: impl FnOnce(&mut LockedComponent)) -> Comparison {
    let (recipes, mut lockfile) = example("tool");
    change(lockfile.components.get_mut(&name("tool")).unwrap());
    check(&recipes, &lockfile).unwrap()
}

#[test]
fn all_is_well() {
    let report = report(|_| {});
    insta::assert_snapshot!(report, @"1 component locked, as the recipes say");
    report.verdict().unwrap();
}

#[test]
fn what_is_unpinned_is_listed_with_the_command_that_pins_it() {
    let report = report(|entry| {
        for artifact in entry.artifacts.values_mut().flatten() {
            (artifact.digest, artifact.evidence, artifact.size) = (None, Vec::new(), None);
        }
    });
    insta::assert_snapshot!(report, @r"
    component  problem   detail
    tool       unpinned  aarch64 https://example.org/v1.2.3/tool-aarch64
    tool       unpinned  x86_64 https://example.org/v1.2.3/tool-x86_64

    next:
      builder lock --update tool

    note: the size is unknown for tool
    ");
    let error = report.verdict().unwrap_err();
    assert_eq!(error.kind(), Kind::Input);
    insta::assert_snapshot!(error, @r"
    the lockfile and the recipes have 2 problems

    hint: follow the steps listed under `next`
    ");
}

#[test]
fn for_programs_there_is_json() {
    let report = report(|entry| {
        entry.artifacts.get_mut(&Arch::X86_64).unwrap()[0]
            .evidence
            .clear();
        entry.artifacts.get_mut(&Arch::Aarch64).unwrap()[0].size = None;
    });
    insta::assert_snapshot!(serde_json::to_string_pretty(&report).unwrap(), @r#"
    {
      "components": 1,
      "problems": [
        {
          "component": "tool",
          "what": "no-evidence",
          "detail": "x86_64 https://example.org/v1.2.3/tool-x86_64",
          "next": "builder lock --update tool"
        }
      ],
      "notes": [
        {
          "component": "tool",
          "what": "no-size",
          "detail": "aarch64 https://example.org/v1.2.3/tool-aarch64",
          "next": "builder lock --update tool"
        }
      ]
    }
    "#);
}

#[test]
fn an_unknown_size_is_only_a_note() {
    let report = report(|entry| {
        entry.artifacts.get_mut(&Arch::X86_64).unwrap()[0].size = None;
    });
    insta::assert_snapshot!(report, @r"
    1 component locked, as the recipes say

    note: the size is unknown for tool
    ");
    report.verdict().unwrap();
}

#[test]
fn every_field_that_differs_is_shown_with_both_sides() {
    let report = report(|entry| {
        entry.family = name("tools");
        entry.homepage = "https://example.com".to_owned();
        entry.license = "ISC".to_owned();
        let x86_64 = &mut entry.artifacts.get_mut(&Arch::X86_64).unwrap()[0];
        x86_64.urls[0].push_str(".new");
        x86_64.format = crate::recipe::Format::Tar;
        x86_64.files[0].from = Some("tool".to_owned());
        x86_64.links.push(stub::bundle::Link {
            path: stub::bundle::BundlePath::new("bin/t").unwrap(),
            target: stub::bundle::BundlePath::new("tool").unwrap(),
        });
        let aarch64 = entry.artifacts.get_mut(&Arch::Aarch64).unwrap();
        aarch64.push(aarch64[0].clone());
    });
    insta::assert_snapshot!(report, @r#"
    component  problem  detail
    tool       differs  aarch64: 2 downloads are locked, the recipe has 1
    tool       differs  family: "tools" is locked, the recipe says "tool"
    tool       differs  homepage: "https://example.com" is locked, the recipe says "https://example.org"
    tool       differs  license: "ISC" is locked, the recipe says "MIT"
    tool       differs  x86_64 files: [{"from":"tool","to":"bin/tool"}] is locked, the recipe says [{"to":"bin/tool"}]
    tool       differs  x86_64 format: "tar" is locked, the recipe says "plain"
    tool       differs  x86_64 links: [{"path":"bin/t","target":"tool"}] is locked, the recipe says []
    tool       differs  x86_64 urls: ["https://example.org/v1.2.3/tool-x86_64.new"] is locked, the recipe says ["https://example.org/v1.2.3/tool-x86_64"]

    next:
      builder lock --update tool
    "#);
}

#[test]
fn recipes_and_entries_come_in_pairs() {
    let (_, mut lockfile) = example("tool");
    let recipes = BTreeMap::from([(name("other"), recipe("other"))]);
    insta::assert_snapshot!(check(&recipes, &lockfile).unwrap(), @r"
    component  problem     detail
    other      not locked  an example
    tool       no recipe   tool.toml

    next:
      builder lock --update other
      add `tool.toml` to the recipes, or take `tool` out of lockfile.json
    ");

    let (recipes, _) = example("tool");
    let entry = lockfile.components.get_mut(&name("tool")).unwrap();
    entry.artifacts.remove(&Arch::Aarch64);
    insta::assert_snapshot!(check(&recipes, &lockfile).unwrap(), @r"
    component  problem     detail
    tool       not locked  aarch64

    next:
      builder lock --update tool
    ");
}

#[test]
fn a_version_the_recipe_does_not_take() {
    let (recipes, mut lockfile) = example("tool");
    let version = Version::new("1.3.0").unwrap();
    let entry = locked(&name("tool"), &recipes[&name("tool")], &version, &Arch::ALL).unwrap();
    lockfile.components.insert(name("tool"), entry);
    let report = check(&recipes, &lockfile).unwrap();
    let finding = report
        .problems
        .iter()
        .find(|p| p.what == What::NotAllowed)
        .unwrap();
    insta::assert_snapshot!(finding.detail, @"1.3.0 is locked, the recipe allows ~1.2");
}

#[test]
fn what_is_released_together_has_one_version() {
    let (mut recipes, mut lockfile) = example("tool");
    let other = recipe("other");
    let version = Version::new("1.2.4").unwrap();
    let entry = locked(&name("other"), &other, &version, &Arch::ALL).unwrap();
    lockfile.components.insert(name("other"), entry);
    recipes.insert(name("other"), other);
    let report = check(&recipes, &lockfile).unwrap();
    let finding = report
        .problems
        .iter()
        .find(|p| p.what == What::Uneven)
        .unwrap();
    insta::assert_snapshot!(format!("{}: {}", finding.component, finding.detail), @"tool: 1.2.3 is locked, but other is at 1.2.4");
}

#[test]
fn a_package_is_where_the_archive_says() {
    let recipe = Recipe::parse(
        r#"
        summary = "an example"
        homepage = "https://example.org"
        license = "MIT"
        version = { from = "debian", suite = "sid" }
        [[artifact]]
        package = "tool"
        format = "deb"
        file = [{ from = "usr/bin/tool", to = "bin/tool" }]
        "#,
    )
    .unwrap();
    let version = Version::new("1.2.3-1+b2").unwrap();
    let mut entry = locked(&name("tool"), &recipe, &version, &[Arch::X86_64]).unwrap();
    let artifact = &mut entry.artifacts.get_mut(&Arch::X86_64).unwrap()[0];
    artifact.urls = vec!["debian:pool/main/t/tool/tool_1.2.3-1+b2_amd64.deb".to_owned()];
    artifact.digest = Some(stub::digest::Sha256::of(b"tool").into());
    artifact.evidence = vec![Evidence::InRelease {
        suite: "sid".to_owned(),
        key: "00".to_owned(),
    }];
    let mut lockfile = Lockfile::new();
    lockfile.components.insert(name("tool"), entry);
    let recipes = BTreeMap::from([(name("tool"), recipe)]);
    assert_eq!(check(&recipes, &lockfile).unwrap().problems, []);
}
