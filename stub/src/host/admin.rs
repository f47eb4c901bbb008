//! The block of commands for the administrator, and the block that undoes it.

use super::{Admin, Finding};

/// The commands that root has to run for these findings, ready to be pasted into a shell; `None` if there are none.
#[must_use]
pub fn block(findings: &[Finding]) -> Option<String> {
    here_document(findings, |admin| &admin.commands)
}

/// The commands that undo [`block`], in the opposite order.
#[must_use]
pub fn undo(findings: &[Finding]) -> Option<String> {
    let reversed: Vec<_> = findings.iter().rev().cloned().collect();
    here_document(&reversed, |admin| &admin.undo)
}

fn here_document(findings: &[Finding], lines: fn(&Admin) -> &Vec<String>) -> Option<String> {
    let mut all: Vec<&str> = Vec::new();
    for line in findings
        .iter()
        .filter_map(|f| f.admin.as_ref())
        .flat_map(lines)
    {
        // Two findings may need the same command.
        if !all.contains(&line.as_str()) {
            all.push(line);
        }
    }
    if all.is_empty() {
        return None;
    }
    let lines: Vec<_> = all.into_iter().map(goes_on).collect();
    Some(format!(
        "sudo sh -ux <<'EOF'\nfailed=0\n{}\ntest $failed = 0 || {{ echo 'at least one of these commands failed: see above' >&2; exit 1; }}\nEOF\n",
        lines.join("\n")
    ))
}

/// Lets the block go on if this command fails. The first line of a longer command opens a here-document.
fn goes_on(command: &str) -> String {
    if command.starts_with('#') {
        return command.to_owned();
    }
    match command.split_once('\n') {
        Some((first, rest)) => format!("{first} || failed=1\n{rest}"),
        None => format!("{command} || failed=1"),
    }
}
