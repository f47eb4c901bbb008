//! Software bills of materials: the content of a bundle, for programs that look for vulnerabilities and licences.
//!
//! Both documents say only what the manifest says, so that the same bundle always gives the same bytes: no time of
//! day, no random number, nothing of the machine.

mod cyclonedx;
mod spdx;

use clap::ValueEnum;
use serde_json::Value;

use crate::bundle::{Component, Manifest, STUB_COMPONENT};
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};

/// The form of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// SPDX 2.3, as JSON
    #[default]
    Spdx,
    /// `CycloneDX` 1.6, as JSON
    Cyclonedx,
}

/// The document about a bundle, with a line feed at its end. The id is that of the bundle.
pub fn document(manifest: &Manifest, id: &Sha256, format: Format) -> Result<String> {
    let subject = Subject {
        manifest,
        id,
        stub: manifest.stub_component()?,
    };
    let value = match format {
        Format::Spdx => spdx::document(&subject),
        Format::Cyclonedx => cyclonedx::document(&subject),
    };
    pretty(&value)
}

fn pretty(value: &Value) -> Result<String> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| Error::new(Kind::Failed, format!("cannot write the document: {e}")))?;
    Ok(text + "\n")
}

/// The bundle that a document describes.
struct Subject<'a> {
    manifest: &'a Manifest,
    id: &'a Sha256,
    stub: Component,
}

impl Subject<'_> {
    /// The name of the bundle's file.
    fn name(&self) -> String {
        format!("{STUB_COMPONENT}-{}", self.manifest.arch)
    }

    /// All components, that of the stub first.
    fn components(&self) -> impl Iterator<Item = &Component> {
        std::iter::once(&self.stub).chain(&self.manifest.components)
    }

    /// A UUID that belongs to this bundle id alone: version 8 of RFC 9562, since version 5 would take SHA-1.
    fn uuid(&self) -> String {
        let mut bytes = *self.id.as_bytes();
        bytes[6] = bytes[6] & 0x0f | 0x80;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let digits = Sha256::from_bytes(bytes).to_string();
        [0..8, 8..12, 12..16, 16..20, 20..32]
            .map(|r| &digits[r])
            .join("-")
    }
}

/// The two halves of a digest such as `sha256:…`.
fn algorithm(digest: &str) -> Option<(&str, &str)> {
    digest.split_once(':')
}

#[cfg(test)]
mod tests;
