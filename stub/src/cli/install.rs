//! `install`, `uninstall`, `show-cleanup-command`

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::output::{print, print_json};
use crate::cidr::Cidr;
use crate::config::{Cni, Cri, DnsName, PortSpec};
use crate::error::Result;
use crate::host::{self, Level, Machine};
use crate::install::{self, Flags, Installed, Start};
use crate::progress::Progress;
use crate::signature::Verdict;

/// What `install` and `run` have in common.
#[derive(Debug, Args)]
pub(super) struct Settings {
    /// Container runtime: "containerd", "crio", or "" for a control plane that runs no pods
    #[arg(long, value_name = "RUNTIME")]
    cri: Option<Cri>,
    /// Pod network: "" or "bridge" on one machine, "flannel" across machines
    #[arg(long, value_name = "NETWORK", value_parser = cni)]
    cni: Option<Cni>,
    /// Name of this machine in the cluster [default: derived from its host name]; fixed once the cluster has data
    #[arg(long, value_name = "NAME")]
    node_name: Option<DnsName>,
    /// Network between this machine and the cluster, for example 10.0.42.0/24
    #[arg(long, value_name = "NETWORK")]
    cidr: Option<Cidr>,
    /// Network of services, for example 10.0.0.0/24; fixed once the cluster has data
    #[arg(long, value_name = "NETWORK")]
    services: Option<Cidr>,
    /// Network of pods, for example 10.88.0.0/16
    #[arg(long, value_name = "NETWORK")]
    pods: Option<Cidr>,
    /// Publish a port of this machine into the cluster; repeat it for more ports (the API server's is always published)
    #[arg(short, long, value_name = "IP:PORT:CHILDPORT/PROTO")]
    publish: Vec<PortSpec>,
    /// Start this unit now and, if it is a target, at every login; "" starts nothing
    #[arg(long, value_name = "UNIT")]
    start: Option<Start>,
    /// Read every installed file and unpack damaged components again, even if nothing seems to be wrong
    #[arg(long)]
    repair: bool,
    /// Start the cluster even if the checks find this machine unfit; the findings are shown
    #[arg(long)]
    force: bool,
}

#[derive(Debug, Args)]
pub(super) struct Install {
    #[command(flatten)]
    settings: Settings,
    /// The known origin of the bundle; for `upgrade`
    #[arg(long, hide = true, value_parser = origin)]
    origin: Option<Verdict>,
    /// The existing generation to install; for `rollback`
    #[arg(long, hide = true)]
    generation: Option<u64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn origin(text: &str) -> serde_json::Result<Verdict> {
    serde_json::from_str(text)
}

/// The shell-script Usernetes called the bridge "".
fn cni(text: &str) -> Result<Cni> {
    match text {
        "" => Ok(Cni::Bridge),
        text => text.parse(),
    }
}

impl Settings {
    /// As `install` takes them.
    pub(super) fn flags(&self) -> Flags {
        Flags {
            cri: self.cri,
            cni: self.cni,
            node_name: self.node_name.clone(),
            cidr: self.cidr,
            services: self.services,
            pods: self.pods,
            publish: Some(self.publish.clone()).filter(|ports| !ports.is_empty()),
            start: self.start.clone(),
            repair: self.repair,
            force: self.force,
            ..Flags::default()
        }
    }
}

impl Install {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let flags = Flags {
            origin: self.origin.clone(),
            generation: self.generation,
            ..self.settings.flags()
        };
        let installed = install::install(&flags, &Machine::this(), progress)?;
        if self.json {
            return print_json(&as_json(&installed));
        }
        for finding in worth_saying(&installed) {
            progress.line(finding);
        }
        progress.line(summary(&installed).trim_end());
        Ok(())
    }
}

/// The findings to show. If nothing was to be started, one line about the fatal ones is enough.
fn worth_saying(installed: &Installed) -> Vec<String> {
    if !installed.changed {
        return Vec::new();
    }
    let fatal = installed
        .findings
        .iter()
        .filter(|f| f.level == Level::Fatal)
        .count();
    if installed.started.is_empty() {
        let findings = match fatal {
            1 => "1 finding keeps".to_owned(),
            fatal => format!("{fatal} findings keep"),
        };
        let line = format!(
            "{findings} this machine from running a cluster: run `usernetes doctor` for the details"
        );
        return if fatal > 0 { vec![line] } else { Vec::new() };
    }
    let findings = installed.findings.iter().filter(|f| f.is_telling());
    findings
        .map(|f| format!("{} {}: {}", f.level.as_str(), f.id, f.found))
        .collect()
}

fn as_json(installed: &Installed) -> serde_json::Value {
    json!({
        "changed": installed.changed, "changes": installed.changes, "findings": installed.findings,
        "generation": installed.generation, "kubeconfig": installed.kubeconfig, "lingering": installed.lingering,
        "missing": installed.missing, "outcome": installed.outcome, "phases": installed.phases, "release": installed.release,
        "started": installed.started,
    })
}

/// The summary for the user.
fn summary(installed: &Installed) -> String {
    let (number, release, what) = (installed.generation, &installed.release, installed.outcome);
    let headline = format!("generation {number} (release {release}) {what}\n");
    if !installed.changed && installed.phases.is_empty() {
        return headline;
    }
    let mut text = String::new();
    for change in &installed.changes {
        let _ = writeln!(text, "changed  {change}");
    }
    for phase in &installed.phases {
        let _ = writeln!(text, "{:7.1} s  {}", phase.seconds, phase.name);
    }
    text.push_str(&headline);
    let _ = writeln!(
        text,
        "the command `usernetes` and all programs are in {}",
        installed.bin.display()
    );
    if !installed.missing.is_empty() {
        let _ = writeln!(text, "this bundle has no {}", installed.missing.join(", "));
    }
    match installed.started.as_str() {
        "" => text.push_str("nothing was started: to start a unit, run `usernetes start UNIT`\n"),
        unit => {
            let _ = writeln!(text, "{unit} is up");
            if !installed.lingering {
                text.push_str("to keep it running when you log out: `sudo loginctl enable-linger $(id -un)`\n");
            }
        }
    }
    if !installed.missing.contains(&"kube-apiserver") {
        let path = installed.kubeconfig.display();
        let _ = write!(
            text,
            "to use the cluster:\n  usernetes kubectl get pods --all-namespaces\nor with a kubectl of your own:\n  export KUBECONFIG={path}\nor, for good:\n  usernetes kubeconfig merge\n"
        );
    }
    text.push_str("to remove the cluster: `usernetes uninstall`\n");
    text
}

#[derive(Debug, Args)]
pub(super) struct Uninstall {
    /// Also remove programs, configuration, keys and all data of the cluster
    #[arg(long)]
    purge: bool,
}

impl Uninstall {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        install::uninstall(self.purge, &Machine::this(), progress)?;
        if !self.purge {
            // Where the command cannot work, the purge says why when it is asked for.
            progress.line(match install::cleanup_command(&Machine::this()) {
                Ok(command) => format!("to remove the data as well, run this:\n  {command}"),
                Err(_) => {
                    "to remove the data as well, run `usernetes uninstall --purge`".to_owned()
                }
            });
        }
        Ok(())
    }
}

/// `show-cleanup-command`
pub(super) fn show_cleanup_command() -> Result<()> {
    print(&format!(
        "{}\n",
        install::cleanup_command(&Machine::this())?
    ))
}

#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Doctor {
    /// Gives the exit code: 6 if a cluster cannot run on this machine.
    pub(super) fn run(&self) -> Result<u8> {
        let findings = install::examine(&Machine::this())?;
        let (block, undo) = (host::admin::block(&findings), host::admin::undo(&findings));
        if self.json {
            print_json(&json!({ "admin": block, "findings": findings, "undo": undo }))?;
        } else {
            let mut text = host::report(&findings);
            if let Some(block) = block {
                let _ = write!(text, "\nAn administrator can fix this with:\n\n{block}");
            }
            if let Some(undo) = undo {
                let _ = write!(text, "\nand undo it with:\n\n{undo}");
            }
            print(&text)?;
        }
        let fatal = findings.iter().any(|f| f.level == Level::Fatal);
        Ok(if fatal {
            crate::error::Kind::Host.exit_code()
        } else {
            0
        })
    }
}
