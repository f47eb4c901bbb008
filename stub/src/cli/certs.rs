//! `certs list|renew`

use std::time::SystemTime;

use clap::Subcommand;
use serde_json::json;

use super::output::{print, print_json, table};
use crate::cluster::Current;
use crate::error::Result;
use crate::lifecycle;
use crate::pki;
use crate::progress::Progress;

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
            Self::Renew { restart } => lifecycle::renew(*restart, progress),
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
