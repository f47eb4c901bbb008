//! `CycloneDX` 1.6, as JSON: <https://cyclonedx.org/docs/1.6/json/>.

use serde_json::{Value, json};

use super::{Subject, algorithm};
use crate::bundle::{Component, File, Library};
use crate::purl;

const BUNDLE: &str = "bundle";

pub(super) fn document(subject: &Subject) -> Value {
    let manifest = subject.manifest;
    let libraries = &manifest.stub.libraries;
    let components = subject.components().map(component);
    let all: Vec<Value> = components.chain(libraries.iter().map(library)).collect();
    let stub = component_ref(&subject.stub);
    let everything: Vec<String> = subject.components().map(component_ref).collect();
    let linked: Vec<String> = libraries.iter().map(library_ref).collect();
    // The manifest has an empty list if the libraries are unknown.
    let known = if libraries.is_empty() {
        "unknown"
    } else {
        "complete"
    };
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "components": all,
        "compositions": [
            { "aggregate": "complete", "assemblies": [BUNDLE] },
            { "aggregate": known, "dependencies": [stub] },
        ],
        "dependencies": [
            { "dependsOn": everything, "ref": BUNDLE },
            { "dependsOn": linked, "ref": stub },
        ],
        "metadata": {
            "component": {
                "bom-ref": BUNDLE,
                "name": subject.name(),
                "properties": [
                    { "name": "usernetes:bundle-id", "value": format!("sha256:{}", subject.id) },
                    { "name": "usernetes:lockfile", "value": format!("sha256:{}", manifest.lockfile) },
                ],
                "type": "application",
                "version": manifest.release,
            },
            "tools": { "components": [
                { "name": "usernetes", "type": "application", "version": env!("CARGO_PKG_VERSION") },
            ] },
        },
        "serialNumber": format!("urn:uuid:{}", subject.uuid()),
        "specVersion": "1.6",
        "version": 1,
    })
}

fn component_ref(component: &Component) -> String {
    format!("component:{}", component.name)
}

fn library_ref(library: &Library) -> String {
    format!("library:{}@{}", library.name, library.version)
}

fn component(component: &Component) -> Value {
    let bom_ref = component_ref(component);
    let mut references = vec![json!({ "type": "website", "url": component.homepage })];
    references.extend(component.sources.iter().map(|source| {
        json!({ "hashes": hashes(&source.digest), "type": "distribution", "url": source.url })
    }));
    let files: Vec<Value> = component.files.iter().map(|f| file(f, &bom_ref)).collect();
    json!({
        "bom-ref": bom_ref,
        "components": files,
        "externalReferences": references,
        "licenses": [{ "expression": component.license }],
        "name": component.name,
        "purl": purl::of_component(component),
        "type": "application",
        "version": purl::version_of_component(component),
    })
}

fn file(file: &File, owner: &str) -> Value {
    json!({
        "bom-ref": format!("{owner}/{}", file.path),
        "hashes": hashes(&format!("sha256:{}", file.sha256)),
        "name": file.path,
        "type": "file",
    })
}

fn library(library: &Library) -> Value {
    let mut value = json!({
        "bom-ref": library_ref(library),
        "licenses": [{ "expression": library.license }],
        "name": library.name,
        "purl": library.purl,
        "type": "library",
        "version": library.version,
    });
    if !library.copyright.is_empty() {
        value["copyright"] = json!(library.copyright.join("\n"));
    }
    if let Some(source) = &library.source {
        value["hashes"] = hashes(source);
    }
    value
}

/// `CycloneDX` writes `SHA-256` where the manifest writes `sha256`.
fn hashes(digest: &str) -> Value {
    match algorithm(digest) {
        Some((algorithm, content)) => {
            json!([{ "alg": algorithm.to_uppercase().replace("SHA", "SHA-"), "content": content }])
        }
        None => json!([]),
    }
}
