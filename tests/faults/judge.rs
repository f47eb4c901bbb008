//! What must hold after a fault.

use std::collections::BTreeSet;

use crate::arena::{Arena, Ended};
use crate::calls::Fault;
use crate::listing::Listing;

/// Files that may have another content in the middle of a change than before and after it: they say how far it is.
const RECORDS: [&str; 3] = ["installed.json", "stage.json", RESTORING];

/// The record of a restore whose files are in their places, and whose cluster could not be started. With it, the same command goes
/// on.
const RESTORING: &str = "restoring.json";

/// What a run says to do if it could not change the user's kubeconfig.
const MERGE: &str = "usernetes kubeconfig merge";

/// What has happened to a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happened {
    /// It was killed, by strace or by us.
    Killed,
    /// A call has failed. If it was to remove something, that stays until the next run.
    Failed(Fault, Removal),
}

/// Whether a call removes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal(pub bool);

/// Looks at what a disturbed run has left, and runs the verb again. Gives what is wrong, if anything is.
pub fn judge(arena: &Arena<'_>, ended: &Ended, happened: Happened) -> Option<String> {
    let found = arena.listing();
    let done = found.differences(&arena.new, &arena.any).is_empty();
    if let Happened::Failed(fault, _) = happened
        && !done
        && leaves_kubeconfig(ended, fault)
    {
        let merged = after_merge(arena);
        return (!merged).then(|| format!("`{MERGE}` does not help: {}", indent(&ended.shown())));
    }
    let said = of_message(ended, happened, done);
    said.or_else(|| of_state(arena, &found, happened))
        .or_else(|| {
            let whole = !arena.verb.breaks;
            whole.then(|| of_generation(arena, &found, "after the fault"))?
        })
        .or_else(|| again(arena, done))
        .map(|problem| match happened {
            Happened::Killed => problem,
            Happened::Failed(..) => format!("{problem}\n  it said {}", indent(&ended.shown())),
        })
}

/// Whether the exit code and the message are right. `done` is whether the new state is there.
fn of_message(ended: &Ended, happened: Happened, done: bool) -> Option<String> {
    if ended.stderr.contains("panicked at") {
        return Some("it panicked".to_owned());
    }
    let fault = match happened {
        Happened::Killed if ended.killed || done => return None,
        Happened::Killed => return Some("it was not killed, and is not done".to_owned()),
        Happened::Failed(fault, _) => fault,
    };
    match ended.code {
        Some(0) if done => None,
        Some(0) => Some("it says that it succeeded, and it has not".to_owned()),
        None => Some("a signal has ended it".to_owned()),
        Some(_) if !ended.stderr.contains(fault.reason()) => {
            Some(format!("its message does not say `{}`", fault.reason()))
        }
        Some(_) if !ended.stderr.contains("$HOME/") => {
            Some("its message does not say where".to_owned())
        }
        Some(_) => None,
    }
}

/// Whether every file is as before or as after, and, if the program could still do something about it, nothing is left over.
fn of_state(arena: &Arena<'_>, found: &Listing, happened: Happened) -> Option<String> {
    let strangers = found.strangers(&arena.old, &arena.new, &arena.any);
    let is_record = |line: &&String| {
        let path = line.split(": ").next().unwrap_or_default();
        RECORDS.iter().any(|record| path.ends_with(record))
    };
    // The read-only directories of the store become writable before they are removed.
    let in_removal = |line: &&String| arena.verb.breaks && line.contains(": a directory ");
    let changed = strangers.changed.iter().filter(|line| !is_record(line));
    let changed: Vec<_> = changed.filter(|line| !in_removal(line)).collect();
    if !changed.is_empty() {
        return Some(format!("neither old nor new: {changed:?}"));
    }
    let mut rests = strangers.rests;
    rests.retain(|path| !path.ends_with(RESTORING));
    if let Happened::Failed(_, Removal(false)) = happened
        && !rests.is_empty()
    {
        return Some(format!("left over after the error: {rests:?}"));
    }
    None
}

/// Whether the current generation is whole, if there must be one.
fn of_generation(arena: &Arena<'_>, found: &Listing, when: &str) -> Option<String> {
    let program = ".local/share/usernetes/current";
    if !found.has(program) {
        return None;
    }
    let ended = arena.usernetes(&["verify"]);
    (ended.code != Some(0)).then(|| {
        format!(
            "{when}, the current generation is not whole: {}",
            indent(&ended.shown())
        )
    })
}

/// Whether a run has done everything but change the user's kubeconfig, and has said why and what to do. The cluster's own change
/// does not depend on a file of the user's.
fn leaves_kubeconfig(ended: &Ended, fault: Fault) -> bool {
    let said = |text| ended.stderr.contains(text);
    ended.code == Some(0) && said(fault.reason()) && said(MERGE)
}

/// Whether the state is the new one after that command.
fn after_merge(arena: &Arena<'_>) -> bool {
    let ended = arena.usernetes(&["kubeconfig", "merge"]);
    let differences = arena.listing().differences(&arena.new, &arena.any);
    ended.code == Some(0) && differences.is_empty()
}

/// Whether the verb succeeds when it is run again, and the state is the new one then. If it is there already, the verb may say so.
fn again(arena: &Arena<'_>, done: bool) -> Option<String> {
    let ended = arena.run();
    let found = arena.listing();
    if done && arena.verb.alone && ended.code == Some(0) {
        // It has done it once more, which is not the same.
        return of_generation(arena, &found, "after the next run");
    }
    let differences = found.differences(&arena.new, &arena.any);
    if ended.code != Some(0) && !(done && differences.is_empty()) {
        return Some(format!("the next run failed: {}", indent(&ended.shown())));
    }
    if !differences.is_empty() {
        return Some(format!(
            "after the next run, the state is not the new one: {differences:?}"
        ));
    }
    of_generation(arena, &found, "after the next run")
}

/// What is wrong after two runs at once: at least one succeeds, and the others only say that they have to wait.
pub fn of_two(arena: &Arena<'_>, ended: &[Ended]) -> Option<String> {
    let shown = || ended.iter().map(Ended::shown).collect::<Vec<_>>();
    if ended.iter().any(|e| e.stderr.contains("panicked at")) {
        return Some(format!("one panicked: {:?}", shown()));
    }
    if ended.iter().all(|e| e.code != Some(0)) {
        return Some(format!("both failed: {:?}", shown()));
    }
    let found = arena.listing();
    let differences = found.differences(&arena.new, &arena.any);
    if !differences.is_empty() {
        return Some(format!(
            "the state is not the new one: {differences:?}; they said {:?}",
            shown()
        ));
    }
    of_generation(arena, &found, "after both").or_else(|| again(arena, true))
}

/// What is wrong after a run on a read-only file system: it must say so, and change nothing.
pub fn of_read_only(arena: &Arena<'_>, ended: &Ended) -> Option<String> {
    let said = ended.stderr.to_lowercase();
    let clear = said.contains("read-only") && said.contains("$home/");
    let found = arena.listing();
    let differences = found.differences(&arena.old, &BTreeSet::new());
    if ended.code.is_none_or(|code| code == 0) || !clear || said.contains("panicked at") {
        return Some(format!(
            "the message is not clear: {}",
            indent(&ended.shown())
        ));
    }
    (!differences.is_empty()).then(|| format!("it has changed {differences:?}"))
}

fn indent(text: &str) -> String {
    text.replace('\n', "\n    ")
}
