//! `certs list|renew|rotate-authorities`

use std::time::SystemTime;

use clap::Subcommand;
use serde_json::json;

use super::output::{print, print_json, table};
use crate::authorities;
use crate::cluster::Current;
use crate::error::Result;
use crate::lifecycle;
use crate::lock::in_turn;
use crate::output::message;
use crate::pki::{self, Goal, Rotation, Stage};
use crate::progress::Progress;
use crate::status::{DaysLeft, LATE_AUTHORITY};

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
        /// Restart the services that use them at once, instead of letting them load the new ones; pods keep running
        #[arg(long)]
        restart: bool,
        /// Renew only certificates that expire within 30 days or lack an address of this machine; a timer does this every day
        #[arg(long, conflicts_with = "restart")]
        due: bool,
    },
    /// Replace the authorities and the key for tokens of service accounts while the cluster runs, in two parts
    ///
    /// The first part makes new authorities, which issue all new certificates. The old ones stay trusted, so nothing breaks.
    /// The second part, with `--finish`, ends the trust in the old ones. Run the same command again if it was interrupted.
    RotateAuthorities {
        /// End the trust in the old authorities; refused while they are known to be in use
        #[arg(long)]
        finish: bool,
        /// Finish although somebody still uses the old authorities
        #[arg(long, requires = "finish")]
        force: bool,
        /// Show how far the replacement is, and change nothing
        #[arg(long, conflicts_with_all = ["finish", "force"])]
        status: bool,
    },
}

impl Certs {
    /// Whether it changes anything.
    pub(super) fn changes(&self) -> bool {
        !matches!(
            self,
            Self::List { .. } | Self::RotateAuthorities { status: true, .. }
        )
    }

    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        match self {
            Self::List { json } => list(*json),
            Self::Renew { due: true, .. } => in_turn(|| lifecycle::renew_due_and_restart(progress)),
            Self::Renew { restart, .. } => lifecycle::renew(*restart, progress),
            Self::RotateAuthorities { status: true, .. } => status(),
            Self::RotateAuthorities { finish, force, .. } => rotate(*finish, *force, progress),
        }
    }
}

fn rotate(finish: bool, force: bool, progress: &Progress) -> Result<()> {
    let goal = if finish { Goal::Finish } else { Goal::Begin };
    let rotated = authorities::rotate(goal, force, progress)?;
    if let Some(file) = rotated.backup {
        progress.line(format!(
            "everything from before is in {}, with the old keys: remove it when you do not need it",
            file.display()
        ));
    }
    progress.line(match rotated.rotation {
        None => "the authorities are replaced",
        Some(_) => {
            "the new authorities issue certificates, and the old ones are still trusted\nnext: give copies of the kubeconfig away anew, restart pods of yours that read ca.crt only when they start, and run `usernetes certs rotate-authorities --finish`"
        }
    });
    Ok(())
}

fn status() -> Result<()> {
    let current = Current::read()?;
    let rotation = pki::rotation(current.layout.config())?;
    let text = rotation.as_ref().map_or(
        "the authorities are not being replaced".to_owned(),
        describe,
    );
    print(&format!("{text}\n"))
}

/// How far a replacement of the authorities is, and what comes next.
fn describe(rotation: &Rotation) -> String {
    let (since, next) = (rotation.since(), rotation.next_command());
    if !rotation.settled {
        return format!(
            "the authorities are being replaced since {since}; if no command does that now, it was interrupted: run `{next}`"
        );
    }
    match rotation.stage {
        Stage::Trust => format!(
            "the old and the new authorities are trusted since {since}; to go on, run `{next}`"
        ),
        Stage::Issue => format!(
            "the new authorities issue certificates since {since}, and the old ones are still trusted; to end that, run `{next}`"
        ),
        Stage::Finish => format!(
            "the old authorities are no longer trusted since {since}; to forget them, run `{next}`"
        ),
    }
}

fn list(json: bool) -> Result<()> {
    let current = Current::read()?;
    let (config, request) = (current.layout.config(), current.pki_request());
    let certificates = pki::list(config, &request, SystemTime::now())?;
    let rotation = pki::rotation(config)?;
    if json {
        return print_json(&json!({ "certificates": certificates, "rotation": rotation }));
    }
    let end = DaysLeft::among(&certificates).authorities;
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
    print(&table(&rows, &[4]))?;
    match (rotation, end) {
        (Some(rotation), _) => message(&describe(&rotation)),
        (None, Some(days)) if days < LATE_AUTHORITY => message(&format!(
            "an authority ends in {days} days: to replace the authorities, run `usernetes certs rotate-authorities`"
        )),
        _ => {}
    }
    Ok(())
}
