//! Opens the editor of kubeconfigs to `tests/fuzz`. Only with the feature `fuzz`.

use std::path::PathBuf;

use serde_json::Value;

use super::chain::{Chain, Part, Source};
use super::change::{plan_merge, plan_unmerge};
use super::document::{Content, Document};
use super::edit::CURRENT;
use super::owned::Merges;
use crate::error::Result;
use crate::kubeconfig::entries;

/// A text before our entries were merged into it, with them, and after they were removed again.
#[derive(Debug)]
pub struct Round {
    /// The values of the text before.
    pub before: Value,
    /// The text before, without lists and a default context that are written but empty.
    pub kept: String,
    /// The values with our entries.
    pub merged: Value,
    /// The text with our entries.
    pub merged_text: String,
    /// The values without our entries again.
    pub after: Value,
    /// The text without our entries again.
    pub after_text: String,
}

/// Merges our entries into a text, and removes them again. `None` if the text cannot be edited, or has entries with our name.
/// An error if entries that were merged cannot be removed.
#[must_use]
pub fn round(text: &str) -> Option<Result<Round>> {
    let chain = chain(text).ok()?;
    if Part::ALL.iter().any(|part| chain.holder(*part).is_some()) {
        return None;
    }
    let before = &chain.0.first()?.document;
    let [cluster, user, context] = entries("https://127.0.0.1:6443", "ca", "certificate", "key");
    let wanted = [
        (Part::Cluster, cluster),
        (Part::Context, context),
        (Part::User, user),
    ];
    let merged = plan_merge(&chain, &wanted).ok()?.remove(&0)??;
    Some(removed(&merged).map(|after| Round {
        before: before.meaning(),
        kept: without_empty(before),
        merged: merged.meaning(),
        merged_text: merged.text.clone(),
        after: after.meaning(),
        after_text: after.text,
    }))
}

fn chain(text: &str) -> Result<Chain> {
    let file = PathBuf::from("/config");
    Ok(Chain(vec![Source::of(
        file.clone(),
        file,
        Some(text.to_owned()),
    )?]))
}

/// Removes our entries from a document, which is read again first.
fn removed(merged: &Document) -> Result<Document> {
    let mut change = plan_unmerge(&chain(&merged.text)?, &[], &Merges::default())?;
    let edited = change.remove(&0).flatten();
    Ok(edited.unwrap_or_else(|| merged.clone()))
}

/// The text without the values that an edit may replace, because nothing is in them.
fn without_empty(document: &Document) -> String {
    let keys = Part::ALL.iter().map(|part| part.list()).chain([CURRENT]);
    let mut empty: Vec<_> = keys
        .filter_map(|key| {
            let value = &document.pair(key)?.1;
            let nothing = match &value.content {
                Content::Null => true,
                Content::Text(text) => text.is_empty(),
                Content::List(items) => items.is_empty(),
                Content::Map(_) | Content::Alias(_) => false,
            };
            (nothing && value.start < value.end).then_some((value.start, value.end))
        })
        .collect();
    empty.sort_unstable();
    let mut text = document.text.clone();
    for (start, end) in empty.into_iter().rev() {
        text.replace_range(start..end, "");
    }
    text
}
