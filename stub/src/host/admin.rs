//! The one block of commands for the administrator, and the one that takes it back.

use super::{Admin, Finding};

/// What has to be done as root for these findings, ready to be pasted into a shell; `None` if nothing.
#[must_use]
pub fn block(findings: &[Finding]) -> Option<String> {
    here_document(findings, |admin| &admin.commands)
}

/// What takes [`block`] back, in the opposite order.
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
        // Two findings may have the same cure.
        if !all.contains(&line.as_str()) {
            all.push(line);
        }
    }
    if all.is_empty() {
        return None;
    }
    Some(format!("sudo sh -eux <<'EOF'\n{}\nEOF\n", all.join("\n")))
}
