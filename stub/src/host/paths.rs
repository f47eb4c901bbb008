//! The paths that the cluster's files and sockets get: whether unit files, mounts and the kernel can hold them.

use std::path::Path;

use super::{CheckId, Finding, Level, Machine};
use crate::components;
use crate::layout::{GOOD_PATH, Layout, OTHER_PATHS, fault, socket_fault};
use crate::paths::{PROJECT, XDG_RUNTIME_DIR};

/// The longest path of a socket: `sun_path` of unix(7) has 108 bytes, the last of which is zero.
const LONGEST: usize = 107;

/// One finding for each directory whose path would cause a problem.
pub(super) fn characters(machine: &Machine, data_dir: &Path, config_dir: &Path) -> Vec<Finding> {
    let bad = |dir: &Path, fault: Option<String>, fix: &str| {
        let found = format!("{} has {}", dir.display(), fault?);
        let finding = Finding::new(CheckId::Paths, Level::Fatal, found);
        Some(finding.expected(GOOD_PATH).fix(fix))
    };
    let mut findings: Vec<_> = [data_dir, config_dir]
        .into_iter()
        .filter_map(|dir| bad(dir, fault(dir), OTHER_PATHS))
        .collect();
    if let Some(dir) = machine.session_dir() {
        let fix = format!(
            "set {XDG_RUNTIME_DIR} to the directory that your login made, such as {}",
            machine.usual_session_dir().display()
        );
        findings.extend(bad(&dir, socket_fault(&dir), &fix));
    }
    if findings.is_empty() {
        return vec![Finding::ok(
            CheckId::Paths,
            "unit files, mounts and `PATH` can hold the names of your directories",
        )];
    }
    findings
}

/// Whether the longest socket fits. Gives nothing without a runtime directory, which another check reports.
pub(super) fn sockets(machine: &Machine) -> Option<Finding> {
    let id = CheckId::Sockets;
    let dir = machine.session_dir()?;
    let root = || "/".into();
    let layout = Layout::new(root(), root(), dir.join(PROJECT), root()).ok()?;
    let sockets = components::sockets(&layout).into_iter();
    let longest = sockets.max_by_key(|path| path.as_os_str().len())?;
    let length = longest.as_os_str().len();
    if length <= LONGEST {
        return Some(Finding::ok(
            id,
            format!("the longest path of a socket has {length} bytes of at most {LONGEST}"),
        ));
    }
    let spare = LONGEST.saturating_sub(length - dir.as_os_str().len());
    Some(
        Finding::new(
            id,
            Level::Fatal,
            format!("{} would have {length} bytes", longest.display()),
        )
        .expected(format!(
            "at most {LONGEST} bytes, the kernel's limit for the path of a socket"
        ))
        .fix(format!(
            "set {XDG_RUNTIME_DIR} to a path of at most {spare} bytes, such as {}",
            machine.usual_session_dir().display()
        )),
    )
}
