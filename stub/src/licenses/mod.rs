//! Licences: the licence of each part of a bundle, its text, and where to get source code.

mod expression;
mod source_code;
mod texts;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::bundle::{Component, Library, Manifest, STUB_COMPONENT};
use crate::error::{Error, Kind, Result};

pub use expression::identifiers;
use expression::wants_source;

/// The text of a licence or exception, by its SPDX identifier. For the LGPL 3, which extends the GPL 3, only the extension.
#[must_use]
pub fn text(id: &str) -> Option<&'static str> {
    texts::find(id).map(|text| text.words)
}

/// Every component of a bundle and every library of the stub, with licence and origin: a few lines each, no texts.
pub fn overview(manifest: &Manifest) -> Result<String> {
    let mut out = String::new();
    for component in all(manifest)? {
        entry(&mut out, &component);
        out.push('\n');
    }
    let _ = writeln!(out, "linked into {STUB_COMPONENT}:");
    if manifest.stub.libraries.is_empty() {
        out.push_str("  unknown: it was not compiled by the build that made this bundle\n");
    }
    for library in &manifest.stub.libraries {
        let _ = writeln!(
            out,
            "  {} {}: {}",
            library.name, library.version, library.license
        );
    }
    out.push_str("\nto read the texts: `usernetes licenses NAME`, or `usernetes licenses --all`\n");
    Ok(out)
}

/// All about one component, or one library of the stub, with the texts.
pub fn of(manifest: &Manifest, name: &str) -> Result<String> {
    let mut out = String::new();
    let mut words = Words::default();
    if let Some(component) = all(manifest)?.iter().find(|c| c.name.as_str() == name) {
        section(&mut out, &mut words, component);
        if name == STUB_COMPONENT {
            for library in &manifest.stub.libraries {
                library_section(&mut out, &mut words, library);
            }
        }
    } else {
        let mut same = manifest
            .stub
            .libraries
            .iter()
            .filter(|l| l.name == name)
            .peekable();
        if same.peek().is_none() {
            return Err(Error::new(
                Kind::Usage,
                format!("nothing in this bundle is named `{name}`"),
            )
            .hint("`usernetes licenses` without a name lists all components and libraries"));
        }
        for library in same {
            library_section(&mut out, &mut words, library);
        }
    }
    words.append_to(&mut out);
    Ok(out)
}

/// All about everything, with each text once.
pub fn complete(manifest: &Manifest) -> Result<String> {
    let mut out = String::new();
    let mut words = Words::default();
    for component in all(manifest)? {
        section(&mut out, &mut words, &component);
    }
    for library in &manifest.stub.libraries {
        library_section(&mut out, &mut words, library);
    }
    words.append_to(&mut out);
    Ok(out)
}

/// The stub first, then the components in their order.
fn all(manifest: &Manifest) -> Result<Vec<Component>> {
    let mut all = vec![manifest.stub_component()?];
    all.extend(manifest.components.iter().cloned());
    Ok(all)
}

fn entry(out: &mut String, component: &Component) {
    let _ = writeln!(
        out,
        "{}: {}\n  {}",
        component.title(),
        component.license,
        component.homepage
    );
    for source in &component.sources {
        let _ = writeln!(out, "  {}\n    {}", source.url, source.digest);
    }
}

fn section(out: &mut String, words: &mut Words, component: &Component) {
    words.want(&component.license);
    entry(out, component);
    out.push_str("  source code:\n");
    for place in source_code::places(component) {
        let _ = writeln!(out, "    {place}");
    }
    let documents = component.files.iter().map(|f| f.path.as_str());
    for path in documents.filter(|path| path.starts_with("share/doc/")) {
        let _ = writeln!(out, "  its authors' own notices, once installed: {path}");
    }
    if wants_source(&component.license) {
        let _ = writeln!(out, "  {}", source_code::OFFER);
    }
    out.push('\n');
}

fn library_section(out: &mut String, words: &mut Words, library: &Library) {
    words.want(&library.license);
    let _ = writeln!(
        out,
        "{} {}: {}\n  {}",
        library.name, library.version, library.license, library.purl
    );
    for line in &library.copyright {
        let _ = writeln!(out, "  {line}");
    }
    if wants_source(&library.license) {
        let _ = writeln!(out, "  {}", source_code::OFFER);
    }
    out.push('\n');
}

/// The texts that the output needs so far, by name; `None` for a licence whose text this program does not have.
#[derive(Default)]
struct Words(BTreeMap<String, Option<&'static str>>);

impl Words {
    /// Adds the texts that an expression needs.
    fn want(&mut self, license: &str) {
        for id in identifiers(license) {
            match texts::find(id) {
                Some(text) => self.0.insert(text.id.to_owned(), Some(text.words)),
                None => self.0.insert(id.to_owned(), None),
            };
        }
        // The LGPL 3 is a set of permissions on top of the GPL 3, and has to be passed on together with it.
        if self.0.contains_key("LGPL-3.0") {
            self.0.insert("GPL-3.0".to_owned(), text("GPL-3.0"));
        }
    }

    fn append_to(&self, out: &mut String) {
        for (id, words) in &self.0 {
            let missing = format!(
                "This program does not have the text: see https://spdx.org/licenses/{id}.html\n"
            );
            let words = words.unwrap_or(&missing);
            let _ = write!(out, "──── {id} ────\n\n{}\n\n", words.trim_end());
        }
    }
}

#[cfg(test)]
mod tests;
