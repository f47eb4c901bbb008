//! Whether this machine can run a cluster: read-only checks, all of them at once.
//!
//! Every check is a function that looks at a [`Machine`] and gives [`Finding`]s. Nothing is changed and nothing is
//! asked of root; the commands for an administrator are collected in one block, and those that undo them in another
//! ([`admin`]).

mod addresses;
pub mod admin;
mod cgroup;
mod check_id;
mod devices;
mod disk;
mod ids;
mod kernel;
mod machine;
mod name;
mod namespaces;
pub(crate) mod netlink;
mod paths;
mod ports;
mod routes;
mod session;
#[cfg(test)]
mod tests;

use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

pub use addresses::{ELSEWHERE, address_towards};
pub use cgroup::delegated;
pub use check_id::CheckId;
pub use devices::network_driver;
pub use machine::Machine;
pub use namespaces::probe_child;
pub use session::Manager;

use crate::config::{Config, Network};
use crate::error::{Error, Kind};
use crate::file_system::resolved;

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Ok,
    /// Worth knowing.
    Note,
    /// Something will not work, or not well.
    Warn,
    /// The cluster cannot run.
    Fatal,
}

impl Level {
    /// Its word in reports.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warn => "warn",
            Self::Fatal => "fatal",
        }
    }
}

/// The result of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check that found it.
    pub id: CheckId,
    /// How bad it is.
    pub level: Level,
    /// The state of the machine.
    pub found: String,
    /// The state it should have. Empty if it has it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub expected: String,
    /// How to fix it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fix: String,
    /// Commands for an administrator that fix it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub admin: Option<Admin>,
}

/// Commands for root. Running them twice does no more than running them once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Admin {
    /// Lines of a shell script.
    pub commands: Vec<String>,
    /// Lines of the shell script that undoes it.
    pub undo: Vec<String>,
}

impl Finding {
    /// Everything is as it should be.
    fn ok(id: CheckId, found: impl Into<String>) -> Self {
        Self::new(id, Level::Ok, found)
    }

    fn new(id: CheckId, level: Level, found: impl Into<String>) -> Self {
        Self {
            id,
            level,
            found: found.into(),
            expected: String::new(),
            fix: String::new(),
            admin: None,
        }
    }

    fn expected(mut self, text: impl Into<String>) -> Self {
        self.expected = text.into();
        self
    }

    fn fix(mut self, text: impl Into<String>) -> Self {
        self.fix = text.into();
        self
    }

    fn admin<C: Into<String>, U: Into<String>>(
        mut self,
        commands: impl IntoIterator<Item = C>,
        undo: impl IntoIterator<Item = U>,
    ) -> Self {
        self.admin = Some(Admin {
            commands: commands.into_iter().map(Into::into).collect(),
            undo: undo.into_iter().map(Into::into).collect(),
        });
        self
    }

    /// Whether it is worth a line before a cluster starts: the user can still do something about it.
    #[must_use]
    pub(crate) fn is_telling(&self) -> bool {
        self.level >= Level::Warn && self.id != CheckId::Linger || self.id == CheckId::NodeName
    }

    /// Whether it rules out even unpacking programs and writing units. All other findings matter only once units start.
    #[must_use]
    pub fn prevents_installing(&self) -> bool {
        self.level == Level::Fatal
            && [CheckId::DataDir, CheckId::ConfigDir, CheckId::Paths].contains(&self.id)
    }
}

/// Looks at everything a cluster of this configuration needs of the machine, without changing anything.
/// `manager` is what the user's service manager said; `data_dir` and `config_dir` need not exist yet; `kept` are the networks
/// of the cluster that has data here, if there is one.
#[must_use]
pub fn check(
    machine: &Machine,
    manager: &Manager,
    config: &Config,
    data_dir: &Path,
    config_dir: &Path,
    kept: Option<&Network>,
) -> Vec<Finding> {
    // The kernel and AppArmor know programs by their real paths, with links resolved.
    let real_data_dir = resolved(data_dir);
    let supervised = !manager.is_needed();
    let mut findings = vec![session::user(machine)];
    findings.extend((!supervised).then(|| session::runtime_dir(machine)));
    findings.push(session::manager(machine, manager));
    findings.extend((!supervised).then(|| session::linger(machine)));
    findings.push(name::node_name(machine, config));
    findings.push(cgroup::version(machine));
    findings.push(if supervised {
        cgroup::own(machine, config)
    } else {
        cgroup::controllers(machine, manager.control_group())
    });
    findings.extend(ids::programs(machine));
    findings.extend(ids::ranges(machine));
    let probed = namespaces::probe(machine);
    findings.push(namespaces::allowed(
        machine,
        &real_data_dir,
        probed.as_ref(),
    ));
    let answers = probed.as_ref().and_then(|probed| probed.as_ref().ok());
    let answers = answers.map_or(&[][..], |probed| &probed.kernel);
    findings.push(kernel::network(config, answers));
    findings.push(devices::tun(machine, config.network.driver));
    findings.push(devices::fuse(machine));
    findings.push(devices::inotify(machine));
    findings.push(disk::data_dir(machine, data_dir));
    findings.push(disk::config_dir(config_dir));
    findings.extend(paths::characters(machine, data_dir, config_dir));
    findings.extend(paths::sockets(machine));
    findings.extend(ports::bound(machine, config, &real_data_dir));
    findings.extend(ports::privileged(machine, config));
    findings.extend(routes::collisions(machine, config, kept));
    findings
}

/// All findings as text, the worst last, where a terminal shows it. Those that are as they should be take one line.
#[must_use]
pub fn report(findings: &[Finding]) -> String {
    let mut sorted: Vec<_> = findings.iter().collect();
    sorted.sort_by_key(|f| f.level);
    let mut text = String::new();
    for finding in sorted {
        let _ = writeln!(
            text,
            "{:5} {}: {}",
            finding.level.as_str(),
            finding.id,
            finding.found
        );
        for (label, value) in [("expected", &finding.expected), ("fix", &finding.fix)] {
            if !value.is_empty() {
                let _ = writeln!(text, "      {label:8}  {value}");
            }
        }
    }
    text
}

/// One error for all findings that stop a command.
#[must_use]
pub fn refusal(fatal: &[Finding]) -> Error {
    let number = fatal.len();
    let problems = if number == 1 { "problem" } else { "problems" };
    let mut error = Error::new(
        Kind::Host,
        format!("{number} {problems} must be fixed before a cluster can run here"),
    );
    for finding in fatal {
        error = error.detail(finding.id.as_str(), &finding.found);
        if !finding.expected.is_empty() {
            error = error.detail("", format!("expected: {}", finding.expected));
        }
        if !finding.fix.is_empty() {
            error = error.detail("", format!("fix: {}", finding.fix));
        }
    }
    match admin::block(fatal) {
        Some(block) => error.hint(format!(
            "nothing was changed; ask an administrator to run these commands, then try again:\n\n{block}"
        )),
        None => error.hint("nothing was changed; fix this, then run the same command again"),
    }
}
