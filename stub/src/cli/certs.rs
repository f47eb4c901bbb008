//! `certs list|renew`

use std::time::SystemTime;

use clap::Subcommand;
use serde_json::json;

use super::output::{print, print_json, table};
use crate::cluster::Current;
use crate::error::Result;
use crate::pki;
use crate::progress::Progress;
use crate::services::{Service, Services, UnitName};
use crate::store::Store;
use crate::systemd::Unit;

#[derive(Debug, Subcommand)]
pub(super) enum Certs {
    /// List the cluster's certificates with their purpose, subject and expiry date
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Renew all certificates except those of the authorities, for another year and with the same keys
    Renew {
        /// Restart the services that use them; pods keep running
        #[arg(long)]
        restart: bool,
    },
}

impl Certs {
    /// Whether it changes anything.
    pub(super) fn changes(&self) -> bool {
        !matches!(self, Self::List { .. })
    }

    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        match self {
            Self::List { json } => list(*json),
            Self::Renew { restart } => renew(*restart, progress),
        }
    }
}

fn list(json: bool) -> Result<()> {
    let current = Current::read()?;
    let (config, request) = (current.layout.config(), current.pki_request());
    let certificates = pki::list(config, &request, SystemTime::now())?;
    if json {
        return print_json(&json!({ "certificates": certificates }));
    }
    let heads = ["file", "for", "subject", "ends", "days left", ""].map(str::to_owned);
    let mut rows = vec![heads.to_vec()];
    for certificate in certificates {
        let (ends, days) = if certificate.not_after.is_empty() {
            ("unknown".to_owned(), String::new())
        } else {
            (certificate.not_after, certificate.days_left.to_string())
        };
        rows.push(vec![
            certificate.file.display().to_string(),
            certificate
                .purpose
                .map_or("unknown", pki::Purpose::as_str)
                .to_owned(),
            certificate.subject,
            ends,
            days,
            certificate.problem.unwrap_or_default(),
        ]);
    }
    print(&table(&rows, &[4]))
}

fn renew(restart: bool, progress: &Progress) -> Result<()> {
    let store = Store::open_default()?.locked()?;
    store.sign()?;
    let current = Current::read()?;
    let report = pki::ensure(
        current.layout.config(),
        &current.pki_request(),
        pki::Renew::All,
        SystemTime::now(),
    )?;
    let is_certificate = |made: &&pki::Made| made.file.extension().is_some_and(|e| e == "pem");
    let number = report.made.iter().filter(is_certificate).count();
    progress.line(format!(
        "renewed {number} certificates; if you ran `usernetes kubeconfig merge`, run it again to update your kubeconfig"
    ));
    let names = users(&current);
    // If systemd does not answer, any of them may be running.
    let asked = current.manager().and_then(|m| Ok((m.units(&names)?, m)));
    let (running, manager) = match asked {
        Ok((units, manager)) => {
            let running = units.iter().filter(|u| !u.is_stopped()).map(Unit::name);
            (
                running.map(str::to_owned).collect::<Vec<_>>(),
                Some(manager),
            )
        }
        Err(error) if restart => return Err(error),
        Err(_) => (names.iter().map(ToString::to_string).collect(), None),
    };
    match manager.filter(|_| restart) {
        _ if running.is_empty() => progress.line("no service that uses certificates is running; they use the new ones when they start"),
        Some(manager) => {
            let names: Vec<_> = running.iter().map(String::as_str).collect();
            manager.restart(&names)?;
            progress.line(format!("restarted {}", running.join(" ")));
        }
        None => progress.line(format!(
            "running services keep using the old certificates; to restart them without stopping pods:\n  systemctl --user restart {}",
            running.join(" ")
        )),
    }
    Ok(())
}

/// The units of the services that read certificates when they start: all but RootlessKit's.
fn users(current: &Current) -> Vec<UnitName> {
    let services = Services::of(&current.config);
    let users = services.iter().filter(|s| *s != Service::Rootlesskit);
    users.map(|s| services.unit(s)).collect()
}
