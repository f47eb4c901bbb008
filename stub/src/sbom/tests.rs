use std::collections::BTreeSet;
use std::path::Path;

use super::*;
use crate::bundle::example;

fn text(format: Format) -> String {
    document(&example::manifest(), &Sha256::of(b"bundle"), format).unwrap()
}

fn value(format: Format) -> Value {
    serde_json::from_str(&text(format)).unwrap()
}

fn strings<'a>(values: &'a Value, key: &str) -> Vec<&'a str> {
    let values = values.as_array().unwrap().iter();
    values.filter_map(|v| v[key].as_str()).collect()
}

/// The documents of the example, valid against the published schemas. After a change on purpose, run the test with
/// `UPDATE_EXAMPLES` set, and validate them again.
#[test]
fn the_documents_are_the_ones_that_were_validated() {
    for (format, name) in [
        (Format::Spdx, "example.spdx.json"),
        (Format::Cyclonedx, "example.cdx.json"),
    ] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("src/sbom")
            .join(name);
        let text = text(format);
        if std::env::var_os("UPDATE_EXAMPLES").is_some() {
            fs_err::write(&path, &text).unwrap();
        }
        assert_eq!(text, fs_err::read_to_string(&path).unwrap(), "{name}");
    }
}

#[test]
fn every_spdx_relationship_is_between_elements_that_are_there() {
    let document = value(Format::Spdx);
    let ids = strings(&document["packages"], "SPDXID");
    let mut known: BTreeSet<&str> = ids.iter().copied().collect();
    assert_eq!(known.len(), ids.len(), "identifiers are unique");
    known.insert("SPDXRef-DOCUMENT");
    for end in ["spdxElementId", "relatedSpdxElement"] {
        for id in strings(&document["relationships"], end) {
            assert!(known.contains(id), "{id}");
        }
    }
    for id in known {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-.".contains(c);
        assert!(id.chars().all(allowed), "{id}");
    }
}

#[test]
fn every_cyclonedx_reference_is_there_once() {
    let document = value(Format::Cyclonedx);
    let mut refs = strings(&document["components"], "bom-ref");
    for component in document["components"].as_array().unwrap() {
        if component["components"].is_array() {
            refs.extend(strings(&component["components"], "bom-ref"));
        }
    }
    refs.push(
        document["metadata"]["component"]["bom-ref"]
            .as_str()
            .unwrap(),
    );
    let known: BTreeSet<&str> = refs.iter().copied().collect();
    assert_eq!(known.len(), refs.len());
    for dependency in document["dependencies"].as_array().unwrap() {
        assert!(known.contains(dependency["ref"].as_str().unwrap()));
        for on in dependency["dependsOn"].as_array().unwrap() {
            assert!(known.contains(on.as_str().unwrap()), "{on}");
        }
    }
}

#[test]
fn another_bundle_has_another_serial_number() {
    let manifest = example::manifest();
    let serial = |seed: &[u8]| {
        let text = document(&manifest, &Sha256::of(seed), Format::Cyclonedx).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        value["serialNumber"].as_str().unwrap().to_owned()
    };
    assert_ne!(serial(b"a"), serial(b"b"));
    insta::assert_snapshot!(serial(b"abc"), @"urn:uuid:ba7816bf-8f01-8fea-8141-40de5dae2223");
}

#[test]
fn unknown_libraries_are_not_said_to_be_none() {
    let mut manifest = example::manifest();
    manifest.stub.libraries.clear();
    let text = document(&manifest, &Sha256::of(b""), Format::Cyclonedx).unwrap();
    assert!(text.contains("\"aggregate\": \"unknown\""), "{text}");
}
