//! Adds our context to the user's own kubeconfigs, and removes it.
//!
//! `$KUBECONFIG` may name several files; [`chain`] has kubectl's rules for them. [`owned`] distinguishes our entries from
//! others with the same name, which are never changed. [`edit`] changes entries in the text of a file and keeps the rest of
//! the text, with its comments. [`change`] plans the edits of all files and carries them out. [`place`] replaces a file
//! without changing its permissions, its owner and the links to it. [`lock`] makes sure that nothing is lost if another
//! program writes at the same time. kubectl itself is not needed.

mod chain;
mod change;
mod document;
mod edit;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod lock;
mod owned;
mod place;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::error::{Error, Kind, Result};
use crate::kubeconfig::{NAME, admin_file, entries, print};
use crate::layout::Credential;
use crate::paths;
use chain::{Chain, Part};
use change::{carry_out, plan_merge, plan_unmerge, remove_dead_locks, remove_directories};
use document::Document;
pub use owned::Merges;
use owned::{Foreign, Known, Merged};

/// The result of [`merge`] or [`unmerge`].
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Edited {
    /// The kubeconfigs that contain our entries after a merge, or contained them before an unmerge; links are followed.
    pub files: Vec<PathBuf>,
    /// Whether a file was changed.
    pub changed: bool,
    /// The context that kubectl uses by default afterwards. [`merge`] changes it only if there was none.
    pub current_context: Option<String>,
}

/// Adds the cluster, user and context `usernetes`, with embedded certificates, to the kubeconfigs `files`, which are given
/// in kubectl's order. Creates a file if none exists. Everything else in the files stays. The entries are recorded in
/// `merges`, which is passed to `save` before they are written. Durable when it returns.
///
/// Errors if there is an entry `usernetes` that is not ours, if a file is read-only, or if another process holds a lock.
pub fn merge(
    config_dir: &Path,
    files: &[PathBuf],
    merges: &mut Merges,
    mut save: impl FnMut(&Merges) -> Result<()>,
) -> Result<Edited> {
    let wanted = wanted(config_dir)?;
    let before = merges.clone();
    let known = Known::by(config_dir, &before);
    let plan = |chain: &Chain| {
        owned::check(&known.foreign(chain), owned::cannot_merge)?;
        plan_merge(chain, &wanted)
    };
    let (chain, change) = carry_out(files, plan, |chain| {
        remember(merges, chain, &wanted);
        if *merges == before {
            Ok(())
        } else {
            save(merges)
        }
    })?;
    let mut files: Vec<_> = Part::ALL
        .map(|part| chain.holder(part).unwrap_or(chain.default()))
        .to_vec();
    files.sort_unstable();
    files.dedup();
    let current = chain.current().unwrap_or(NAME);
    Ok(Edited {
        current_context: Some(current.to_owned()),
        files: files.iter().map(|n| chain.0[*n].file.clone()).collect(),
        changed: !change.is_empty(),
    })
}

/// Replaces our entries in the kubeconfigs recorded in `merges` after the certificate has changed, and returns the files that
/// were changed. Kubeconfigs that no longer have all our entries stay as they are. Durable when it returns.
///
/// Errors as [`merge`] does.
pub fn update(
    config_dir: &Path,
    merges: &mut Merges,
    save: impl FnMut(&Merges) -> Result<()>,
) -> Result<Vec<PathBuf>> {
    let chain = Chain::read(&merges.files())?;
    if outdated_in(&chain, config_dir)?.is_empty() {
        remove_dead_locks(&chain);
        return Ok(Vec::new());
    }
    let edited = merge(config_dir, &merges.files(), merges, save)?;
    Ok(if edited.changed {
        edited.files
    } else {
        Vec::new()
    })
}

/// The kubeconfigs recorded in `merges` that [`update`] would change.
pub fn outdated(config_dir: &Path, merges: &Merges) -> Result<Vec<PathBuf>> {
    outdated_in(&Chain::read(&merges.files())?, config_dir)
}

fn outdated_in(chain: &Chain, config_dir: &Path) -> Result<Vec<PathBuf>> {
    if !is_merged(chain) {
        return Ok(Vec::new());
    }
    let change = plan_merge(chain, &wanted(config_dir)?)?;
    Ok(change.keys().map(|n| chain.0[*n].file.clone()).collect())
}

/// Whether all our entries are there.
fn is_merged(chain: &Chain) -> bool {
    Part::ALL.iter().all(|part| chain.holder(*part).is_some())
}

/// Removes the cluster, user and context `usernetes` from the kubeconfigs `files`, and from those recorded in `merges`. If
/// the context is the default, the default before the merge is restored. Removes a file that [`merge`] created if nothing
/// else is in it. Works without an installation: our entries are recognised by `merges`, or by the authority in
/// `config_dir`. Durable when it returns.
///
/// Errors, and changes nothing, if an entry with this name is not ours.
pub fn unmerge(
    config_dir: &Path,
    files: &[PathBuf],
    merges: &mut Merges,
    mut save: impl FnMut(&Merges) -> Result<()>,
) -> Result<Edited> {
    let before = merges.clone();
    let known = Known::by(config_dir, &before);
    let plan = |chain: &Chain| {
        let foreign = known.foreign(chain);
        owned::check(&foreign, owned::cannot_unmerge)?;
        plan_unmerge(chain, &foreign, &before)
    };
    // $KUBECONFIG may have had another value when they were merged.
    let all = [files, &before.files()].concat();
    let (chain, change) = carry_out(&all, plan, |_| Ok(()))?;
    remove_directories(&chain, &change, &before);
    for source in &chain.0 {
        merges.forget(&source.file);
    }
    if *merges != before {
        save(merges)?;
    }
    Ok(Edited {
        files: change.keys().map(|n| chain.0[*n].file.clone()).collect(),
        changed: !change.is_empty(),
        current_context: Chain::read(files)?.current().map(str::to_owned),
    })
}

/// Removes merged entries when the cluster is uninstalled.
///
/// With `purge`, the key in them becomes worthless, so all our entries are removed from the user's kubeconfigs and from the
/// recorded ones. Without `purge`, they stay, because the next `install` brings the same cluster back. A kubeconfig that
/// cannot be changed does not stop the removal of the cluster.
#[must_use]
pub fn at_uninstall(config_dir: &Path, merges: &Merges, purge: bool) -> Undone {
    if purge {
        return undo(
            config_dir,
            &paths::user_kubeconfigs().unwrap_or_default(),
            merges,
        );
    }
    let files = merges.files();
    let line = |file: &PathBuf| {
        format!(
            "{} keeps the context `{NAME}`, because keys and data are kept; `usernetes kubeconfig unmerge` removes it",
            file.display()
        )
    };
    Undone {
        lines: files.iter().map(line).collect(),
        left: Vec::new(),
    }
}

/// The result of removing merged entries when the cluster was uninstalled.
#[derive(Debug, Default)]
pub struct Undone {
    /// Lines for the user about entries that were removed, and about those that stay and why.
    pub lines: Vec<String>,
    /// Kubeconfigs with entries of ours that could not be removed, and the reasons.
    pub left: Vec<(PathBuf, String)>,
}

fn undo(config_dir: &Path, files: &[PathBuf], merges: &Merges) -> Undone {
    let known = Known::by(config_dir, merges);
    let (mut lines, mut left) = (Vec::new(), Vec::new());
    let remembered = merges.files().into_iter().map(|file| (vec![file], true));
    for (files, merged) in [(files.to_vec(), false)].into_iter().chain(remembered) {
        let mut stays = Vec::new();
        let plan = |chain: &Chain| {
            let foreign = known.foreign(chain);
            stays = foreign.iter().map(Foreign::to_line).collect();
            plan_unmerge(chain, &foreign, merges)
        };
        match carry_out(&files, plan, |_| Ok(())) {
            Ok((chain, change)) => {
                remove_directories(&chain, &change, merges);
                for file in change.keys().map(|n| chain.0[*n].file.display()) {
                    lines.push(format!("{file} no longer has the context `{NAME}`"));
                }
            }
            Err(error) if merged => {
                let why = format!("has the context `{NAME}`: {}", error.message());
                left.extend(files.into_iter().map(|file| (file, why.clone())));
            }
            Err(error) => lines.push(format!(
                "the context `{NAME}` may still be in a kubeconfig: {error}"
            )),
        }
        lines.extend(stays);
    }
    // A file may be one of the user's and also be recorded.
    let mut seen = BTreeSet::new();
    lines.retain(|line| seen.insert(line.clone()));
    Undone { lines, left }
}

/// Our entries, as they should be.
fn wanted(config_dir: &Path) -> Result<[(Part, Value); 3]> {
    let admin = admin_file(config_dir);
    let document = Document::parse(&print(config_dir)?);
    let clusters = document.as_ref().map_or(&[][..], |d| d.items("clusters"));
    let clusters: Vec<_> = clusters.iter().map(document::Node::meaning).collect();
    let named = clusters.iter().find(|c| c["name"] == NAME);
    let cluster = named.or(clusters.first());
    let server = cluster.and_then(|c| c["cluster"]["server"].as_str());
    let server = server.ok_or_else(|| {
        Error::new(
            Kind::Input,
            format!(
                "{}: this kubeconfig does not name an API server",
                admin.display()
            ),
        )
        .expected("the administrator's kubeconfig, with the server of a cluster")
        .hint(format!(
            "run `rm {}`, then `usernetes install`, which writes it again",
            admin.display()
        ))
    })?;
    let pem = |file: PathBuf| fs_err::read_to_string(config_dir.join(file));
    let [cluster, user, context] = entries(
        server,
        &pem(Credential::ClusterAuthority.certificate())?,
        &pem(Credential::Admin.certificate())?,
        &pem(Credential::Admin.key())?,
    );
    Ok([
        (Part::Cluster, cluster),
        (Part::Context, context),
        (Part::User, user),
    ])
}

/// Records the entries that [`merge`] is about to write and, the first time, the state before.
fn remember(merges: &mut Merges, chain: &Chain, wanted: &[(Part, Value); 3]) {
    for (part, entry) in wanted {
        let holder = chain.holder(*part).unwrap_or(chain.default());
        let Some(source) = chain.0.get(holder) else {
            continue;
        };
        if merges.of(&source.file).is_none() {
            let merged = Merged {
                made: !source.exists(),
                directories: place::missing_directories(&source.file),
                current: chain.current().map(str::to_owned),
                ..Merged::default()
            };
            merges.insert(&source.file, merged);
        }
        if let Some(merged) = merges.of_mut(&source.file) {
            merged.entries.insert(owned::digest(entry));
        }
    }
}

#[cfg(test)]
mod tests;
