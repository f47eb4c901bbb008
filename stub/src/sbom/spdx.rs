//! SPDX 2.3, as JSON: <https://spdx.github.io/spdx-spec/v2.3/>.
//!
//! The bundle, its components, their downloads, their files and the stub's libraries are all *packages*: SPDX's own
//! *files* need SHA-1 digests, which nobody should rely on and the manifest does not have.

use serde_json::{Value, json};

use super::{Subject, algorithm};
use crate::bundle::{Component, File, Library, Source};
use crate::purl;

/// SPDX requires a time. A real one would make a different document of the same bundle every time.
const NO_TIME: &str = "1970-01-01T00:00:00Z";

const BUNDLE: &str = "SPDXRef-bundle";

pub(super) fn document(subject: &Subject) -> Value {
    let manifest = subject.manifest;
    let mut parts = Parts::default();
    parts.relate("SPDXRef-DOCUMENT", "DESCRIBES", BUNDLE);
    parts.packages.push(json!({
        "SPDXID": BUNDLE,
        "comment": format!("bundle id sha256:{}, built from the lockfile sha256:{}", subject.id, manifest.lockfile),
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "homepage": env!("CARGO_PKG_REPOSITORY"),
        "name": subject.name(),
        "primaryPackagePurpose": "INSTALL",
        "versionInfo": manifest.release,
    }));
    for component in subject.components() {
        parts.component(component);
    }
    for library in &manifest.stub.libraries {
        parts.library(library, &component_id(&subject.stub));
    }
    json!({
        "SPDXID": "SPDXRef-DOCUMENT",
        "creationInfo": {
            "comment": "The time is not the one at which the document was made: its content depends on nothing but the bundle.",
            "created": NO_TIME,
            "creators": [format!("Tool: usernetes-{}", env!("CARGO_PKG_VERSION"))],
        },
        "dataLicense": "CC0-1.0",
        "documentNamespace": format!("{}/spdx/{}-{}", env!("CARGO_PKG_REPOSITORY"), subject.name(), subject.uuid()),
        "name": format!("{}-{}", subject.name(), manifest.release),
        "packages": parts.packages,
        "relationships": parts.relationships,
        "spdxVersion": "SPDX-2.3",
    })
}

/// Component names contain only characters that an SPDX identifier may have.
fn component_id(component: &Component) -> String {
    format!("SPDXRef-component-{}", component.name)
}

#[derive(Default)]
struct Parts {
    packages: Vec<Value>,
    relationships: Vec<Value>,
}

impl Parts {
    fn relate(&mut self, from: &str, how: &str, to: &str) {
        self.relationships.push(json!({
            "relatedSpdxElement": to, "relationshipType": how, "spdxElementId": from,
        }));
    }

    /// An identifier nothing else in the document has.
    fn fresh(&self, what: &str) -> String {
        format!("SPDXRef-{what}-{}", self.packages.len())
    }

    fn component(&mut self, component: &Component) {
        let id = component_id(component);
        self.relate(BUNDLE, "CONTAINS", &id);
        self.packages.push(json!({
            "SPDXID": id,
            "downloadLocation": match &component.sources[..] {
                [source] => location(source),
                _ => "NOASSERTION",
            },
            "externalRefs": [purl_reference(&purl::of_component(component))],
            "filesAnalyzed": false,
            "homepage": component.homepage,
            "licenseDeclared": component.license,
            "name": component.name,
            "primaryPackagePurpose": "APPLICATION",
            "versionInfo": purl::version_of_component(component),
        }));
        for source in &component.sources {
            self.source(component, source, &id);
        }
        for file in &component.files {
            self.file(file, &id);
        }
    }

    fn source(&mut self, component: &Component, source: &Source, owner: &str) {
        let id = self.fresh("source");
        self.relate(owner, "GENERATED_FROM", &id);
        let name = source.url.rsplit('/').next().unwrap_or(&source.url);
        self.packages.push(json!({
            "SPDXID": id,
            "checksums": checksums(&source.digest),
            "downloadLocation": location(source),
            "externalRefs": [purl_reference(&purl::of_source(component, source))],
            "filesAnalyzed": false,
            "name": name,
            "primaryPackagePurpose": "ARCHIVE",
            "versionInfo": purl::version_of_source(component, source),
        }));
    }

    fn file(&mut self, file: &File, owner: &str) {
        let id = self.fresh("file");
        self.relate(owner, "CONTAINS", &id);
        self.packages.push(json!({
            "SPDXID": id,
            "checksums": checksums(&format!("sha256:{}", file.sha256)),
            "downloadLocation": "NOASSERTION",
            "filesAnalyzed": false,
            "name": file.path,
            "packageFileName": file.path,
            "primaryPackagePurpose": "FILE",
        }));
    }

    fn library(&mut self, library: &Library, stub: &str) {
        let id = self.fresh("library");
        self.relate(stub, "STATIC_LINK", &id);
        let copyright = match &library.copyright[..] {
            [] => "NOASSERTION".to_owned(),
            lines => lines.join("\n"),
        };
        self.packages.push(json!({
            "SPDXID": id,
            "checksums": library.source.as_deref().map_or_else(|| json!([]), checksums),
            "copyrightText": copyright,
            "downloadLocation": "NOASSERTION",
            "externalRefs": [purl_reference(&library.purl)],
            "filesAnalyzed": false,
            "licenseDeclared": library.license,
            "name": library.name,
            "primaryPackagePurpose": "LIBRARY",
            "versionInfo": library.version,
        }));
    }
}

/// SPDX's tools know neither `oci://…` nor `debian:…`; the package URL says the same.
fn location(source: &Source) -> &str {
    let url = source.url.as_str();
    let known = url.starts_with("https://") || url.starts_with("http://");
    if known { url } else { "NOASSERTION" }
}

fn purl_reference(purl: &str) -> Value {
    json!({
        "referenceCategory": "PACKAGE-MANAGER", "referenceLocator": purl, "referenceType": "purl",
    })
}

/// SPDX writes `SHA256` where the manifest writes `sha256`.
fn checksums(digest: &str) -> Value {
    match algorithm(digest) {
        Some((algorithm, value)) => {
            json!([{ "algorithm": algorithm.to_uppercase(), "checksumValue": value }])
        }
        None => json!([]),
    }
}
