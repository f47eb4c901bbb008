//! Plans changes to the user's kubeconfigs and carries them out.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use super::chain::{Chain, Part, Source};
use super::document::Document;
use super::lock::Locks;
use super::owned::{Foreign, Merges};
use super::place;
use crate::error::{Error, Kind, Result};
use crate::kubeconfig::NAME;

/// The new contents of files, by their positions in the chain; `None` for a file that is to be removed.
pub(super) type Change = BTreeMap<usize, Option<Document>>;

/// Plans the change for [`merge`](super::merge). All entries with our name must be ours.
pub(super) fn plan_merge(chain: &Chain, wanted: &[(Part, Value); 3]) -> Result<Change> {
    let mut change = Change::new();
    let mut edit = |number: usize, edit: &dyn Fn(&Document) -> Result<Document, String>| {
        edit_source(chain, &mut change, number, edit)
    };
    for (part, entry) in wanted {
        let holder = chain.holder(*part);
        let found = holder.and_then(|n| chain.0[n].entries(*part).into_iter().next());
        match (holder, found) {
            // An existing context stays as it is: everything else in it is the user's choice.
            (Some(_), Some(_)) if *part == Part::Context => {}
            (Some(_), Some((_, found))) if found == *entry => {}
            (Some(holder), Some((number, _))) => edit(holder, &|document| {
                let without = document.without_entry(part.list(), number)?;
                without.with_entry(part.list(), entry)
            })?,
            _ => edit(chain.default(), &|d| d.with_entry(part.list(), entry))?,
        }
    }
    if chain.current().is_none() {
        edit(chain.default(), &|d| d.with_current(Some(NAME)))?;
    }
    Ok(change)
}

/// Plans the removal of all entries with our name, except those that are not ours.
pub(super) fn plan_unmerge(chain: &Chain, foreign: &[Foreign], merges: &Merges) -> Result<Change> {
    let mut change = Change::new();
    for (number, source) in chain.0.iter().enumerate() {
        for part in Part::ALL {
            if foreign.iter().any(|f| f.is(part, &source.file)) {
                continue;
            }
            for (item, _) in source.entries(part) {
                edit_source(chain, &mut change, number, &|d| {
                    d.without_entry(part.list(), item)
                })?;
            }
        }
    }
    let context_stays = foreign.iter().any(Foreign::is_context);
    for (number, source) in chain.0.iter().enumerate() {
        if change.is_empty() || context_stays || source.current() != Some(NAME) {
            continue;
        }
        let before = merges.of(&source.file).and_then(|m| m.current.as_deref());
        let before = before.filter(|b| *b != NAME && chain.has_context(b));
        edit_source(chain, &mut change, number, &|d| d.with_current(before))?;
    }
    for (number, document) in &mut change {
        let merged = merges.of(&chain.0[*number].file);
        if merged.is_some_and(|m| m.made) && document.as_ref().is_some_and(Document::is_bare) {
            *document = None;
        }
    }
    Ok(change)
}

/// Adds an edit of one of the files to the edits that are already planned.
fn edit_source(
    chain: &Chain,
    change: &mut Change,
    number: usize,
    edit: &dyn Fn(&Document) -> Result<Document, String>,
) -> Result<()> {
    let Some(source) = chain.0.get(number) else {
        return Ok(());
    };
    let edited = change.get(&number).and_then(Option::as_ref);
    let document = edit(edited.unwrap_or(&source.document)).map_err(|reason| {
        let file = source.file.display();
        Error::new(Kind::Input, format!("{file}: this kubeconfig cannot be edited"))
            .expected("YAML in the style of kubectl, or JSON")
            .found(reason)
            .hint(format!("let kubectl rewrite it, without comments: `kubectl config view --raw --kubeconfig {file}` prints the new text"))
    })?;
    change.insert(number, Some(document));
    Ok(())
}

/// Plans a change to `files` and carries it out, holding the same locks as kubectl. If another program changes a file in
/// between, it starts again. `before` is called before anything is written. Returns the files as they were before.
pub(super) fn carry_out(
    files: &[PathBuf],
    mut plan: impl FnMut(&Chain) -> Result<Change>,
    mut before: impl FnMut(&Chain) -> Result<()>,
) -> Result<(Chain, Change)> {
    const ATTEMPTS: usize = 5;
    for _ in 0..ATTEMPTS {
        let chain = Chain::read(files)?;
        let change = plan(&chain)?;
        let changed = || change.keys().map(|n| &chain.0[*n]);
        for source in changed() {
            place::check_writable(&source.file)?;
        }
        before(&chain)?;
        if change.is_empty() {
            remove_dead_locks(&chain);
            return Ok((chain, change));
        }
        for source in changed() {
            place::make_directory(&source.file)?;
        }
        let lockable: Vec<_> = changed().flat_map(Source::lockable).collect();
        let locks = Locks::take(lockable.iter().map(PathBuf::as_path))?;
        if !Chain::read(files)?.same_as(&chain) {
            continue;
        }
        for (number, document) in &change {
            let file = &chain.0[*number].file;
            match document {
                Some(document) => place::write(file, &document.text)?,
                None => place::remove(file)?,
            }
        }
        locks.release()?;
        return Ok((chain, change));
    }
    let files: Vec<_> = files.iter().map(|f| f.display().to_string()).collect();
    Err(Error::new(
        Kind::Busy,
        format!(
            "{}: another program keeps changing the kubeconfig",
            files.join(", ")
        ),
    )
    .hint("stop that program, or wait until it has finished"))
}

/// Removes the locks that a process of ours has left beside these files when it was killed: kubectl would wait for them.
pub(super) fn remove_dead_locks(chain: &Chain) {
    for file in chain.0.iter().flat_map(Source::lockable) {
        Locks::remove_dead(&file);
    }
}

/// Removes the directories that were created for files which have just been removed. Must run after the locks in these
/// directories have been released.
pub(super) fn remove_directories(chain: &Chain, change: &Change, merges: &Merges) {
    for (number, document) in change {
        let file = &chain.0[*number].file;
        if let (None, Some(merged)) = (document, merges.of(file)) {
            place::remove_directories(file, merged.directories);
        }
    }
}
