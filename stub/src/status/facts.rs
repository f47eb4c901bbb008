//! Facts beside the layers: days that certificates have left, free disk space, scheduled backups. The cluster works without
//! them for now, so they are warnings at most.

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use rustix::fs::statvfs;
use serde::Serialize;

use super::{Layer, State};
use crate::backup::{Kept, hours};
use crate::cluster::Current;
use crate::components::kubelet;
use crate::error::Result;
use crate::lifecycle;
use crate::nodes;
use crate::pki::{self, CertInfo, Purpose, Rotation, Stage};
use crate::ports::Entry;
use crate::progress::bytes;

/// With fewer days left, certificates should have been renewed.
const LATE: i64 = 30;
/// With fewer days left than this, it is time to replace the authorities.
pub const LATE_AUTHORITY: i64 = 180;

/// What else is worth knowing of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The days until certificates end.
    pub days: DaysLeft,
    /// Whether this is a worker whose certificate has expired: it cannot ask for others any more.
    pub shut_out: bool,
    /// The replacement of the authorities, if one is under way.
    pub rotation: Option<Rotation>,
    /// The ports of the configuration and of services, and whether they are published.
    pub ports: Vec<Entry>,
    /// The disk with the data; `None` if it cannot be asked.
    pub disk: Option<Disk>,
    /// The scheduled backups; `None` if there is no schedule.
    pub backups: Option<Backups>,
}

/// The backups that the schedule has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Backups {
    /// The directory they are in.
    pub dir: PathBuf,
    /// How many there are.
    pub count: usize,
    /// Whole seconds since the last one; `None` if there is none.
    pub age_seconds: Option<u64>,
    /// Whether there should be a newer one.
    pub late: bool,
}

/// The file system with the cluster's data. Sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Disk {
    /// Its size.
    pub size: u64,
    /// What the user may still write.
    pub free: u64,
    /// With less than this, the kubelet evicts pods.
    pub evicts_below: u64,
}

impl Facts {
    /// Looks at the certificates, the ports, the disk and the backups.
    pub fn of(current: &Current) -> Result<Self> {
        Ok(Self {
            days: DaysLeft::of(current)?,
            shut_out: current.config.machines.is_worker()
                && nodes::check_not_expired(&current.layout, SystemTime::now()).is_err(),
            rotation: pki::rotation(current.layout.config())?,
            ports: lifecycle::ports(current),
            disk: Disk::of(current),
            backups: Backups::of(current),
        })
    }

    /// A row for each, in the form of layers, but for ports, which are a layer. None of them is worse than a warning.
    #[must_use]
    pub fn rows(&self) -> Vec<Layer> {
        let renewal = if self.shut_out {
            nodes::JOIN_AGAIN
        } else {
            "to renew the certificates now, run `usernetes certs renew --due`"
        };
        let mut rows = self.days.rows(renewal);
        rows.extend(self.rotation.as_ref().map(of_rotation));
        rows.extend(self.disk.map(Disk::row));
        rows.extend(self.backups.as_ref().map(Backups::row));
        rows
    }
}

fn row(name: &'static str, detail: String, next: Option<&str>) -> Layer {
    Layer {
        name,
        state: if next.is_some() {
            State::Warning
        } else {
            State::Ok
        },
        detail,
        next: next.unwrap_or_default().to_owned(),
        unit: None,
    }
}

/// The row of a replacement of the authorities. The cluster works, but the replacement is to come to an end.
fn of_rotation(rotation: &Rotation) -> Layer {
    let since = rotation.since();
    let idle = "if no command does that now";
    let (detail, when) = match (rotation.stage, rotation.settled) {
        (Stage::Issue, true) => (
            format!("both the old and the new ones are trusted since {since}"),
            "to end the trust in the old ones",
        ),
        (Stage::Finish, _) => (
            format!("the old ones are being removed since {since}"),
            idle,
        ),
        _ => (format!("being replaced since {since}"), idle),
    };
    let next = format!("{when}, run `{}`", rotation.next_command());
    row("new authorities", detail, Some(&next))
}

impl Backups {
    fn of(current: &Current) -> Option<Self> {
        let kept = Kept::of(current)?;
        let interval = current.config.backup.schedule.interval();
        // It may be unknown how old one may be. None at all is always too few.
        let late = match (kept.age, interval) {
            (Some(age), Some(interval)) => age > interval * 2,
            (age, _) => age.is_none(),
        };
        Some(Self {
            dir: kept.dir,
            count: kept.count,
            age_seconds: kept.age.map(|age| age.as_secs()),
            late,
        })
    }

    fn row(&self) -> Layer {
        let dir = self.dir.display();
        let detail = match self.age_seconds {
            Some(age) => {
                let age = hours(Duration::from_secs(age));
                format!("the last is {age} old; {} in {dir}", self.count)
            }
            None => format!("none in {dir} yet"),
        };
        let next = "the timer makes a backup that is due; to make one now, run `usernetes backup --scheduled`";
        row("backups", detail, Some(next).filter(|_| self.late))
    }
}

impl Disk {
    fn of(current: &Current) -> Option<Self> {
        let found = statvfs(current.layout.data_dir()).ok()?;
        let size = found.f_blocks.saturating_mul(found.f_frsize);
        Some(Self {
            size,
            free: found.f_bavail.saturating_mul(found.f_frsize),
            evicts_below: kubelet::full_below(size),
        })
    }

    fn row(self) -> Layer {
        let detail = format!("{} of {} free", bytes(self.free), bytes(self.size));
        if self.free >= self.evicts_below {
            return row("disk", detail, None);
        }
        row(
            "disk",
            format!(
                "{detail}; with less than {}, pods are evicted",
                bytes(self.evicts_below)
            ),
            Some(
                "free some space; `usernetes gc` removes old releases, and `usernetes image list` shows images",
            ),
        )
    }
}

/// Whole days until the first of the cluster's own certificates ends; negative once one has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DaysLeft {
    /// For the certificates that are renewed.
    pub certificates: Option<i64>,
    /// For those of the authorities, which are not renewed.
    pub authorities: Option<i64>,
}

impl DaysLeft {
    /// Reads the certificates. Files of others beside them, and files that cannot be read, do not count.
    pub fn of(current: &Current) -> Result<Self> {
        let (config, request) = (current.layout.config(), current.pki_request());
        Ok(Self::among(&pki::list(
            config,
            &request,
            SystemTime::now(),
        )?))
    }

    /// The same of certificates that were read already.
    #[must_use]
    pub fn among(certificates: &[CertInfo]) -> Self {
        let least = |wanted: &dyn Fn(Purpose) -> bool| {
            let known = certificates
                .iter()
                .filter(|c| c.purpose.is_some_and(wanted));
            let readable = known.filter(|c| !c.not_after.is_empty());
            readable.map(|c| c.days_left).min()
        };
        Self {
            certificates: least(&|purpose| purpose != Purpose::Authority),
            authorities: least(&|purpose| purpose == Purpose::Authority),
        }
    }

    /// The rows, and what renews certificates that should have been renewed.
    fn rows(self, renewal: &str) -> Vec<Layer> {
        let row = |name, days: Option<i64>, limit, next| {
            let days = days?;
            let detail = match days {
                1 => "1 day left".to_owned(),
                0.. => format!("{days} days left"),
                ..0 => "have expired".to_owned(),
            };
            Some(row(name, detail, Some(next).filter(|_| days < limit)))
        };
        let rows = [
            row("certificates", self.certificates, LATE, renewal),
            row(
                "authorities",
                self.authorities,
                LATE_AUTHORITY,
                "to replace the authorities while the cluster runs, run `usernetes certs rotate-authorities`",
            ),
        ];
        rows.into_iter().flatten().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(rows: &[Layer]) -> Vec<String> {
        let row = |r: &Layer| format!("{} {}: {}", r.name, r.state.as_str(), r.detail);
        rows.iter().map(row).collect()
    }

    #[test]
    fn little_time_a_full_disk_and_no_backup_are_warnings() {
        let mut facts = Facts {
            days: DaysLeft {
                certificates: Some(364),
                authorities: Some(3649),
            },
            shut_out: false,
            rotation: None,
            ports: Vec::new(),
            disk: Some(Disk {
                size: 100_000_000_000,
                free: 5_000_000_000,
                evicts_below: 2_000_000_000,
            }),
            backups: Some(Backups {
                dir: "/b".into(),
                count: 3,
                age_seconds: Some(7200),
                late: false,
            }),
        };
        assert!(facts.rows().iter().all(|row| row.state == State::Ok));
        assert_eq!(
            shown(&facts.rows()),
            [
                "certificates ok: 364 days left",
                "authorities ok: 3649 days left",
                "disk ok: 5.0 GB of 100.0 GB free",
                "backups ok: the last is 2 h old; 3 in /b",
            ]
        );
        facts.days = DaysLeft {
            certificates: Some(-1),
            authorities: Some(1),
        };
        facts.backups = facts.backups.map(|backups| Backups {
            age_seconds: None,
            late: true,
            ..backups
        });
        facts.disk = facts.disk.map(|disk| Disk {
            free: 1_000_000_000,
            ..disk
        });
        assert!(
            facts
                .rows()
                .iter()
                .all(|r| r.state == State::Warning && !r.next.is_empty())
        );
        assert_eq!(
            shown(&facts.rows()),
            [
                "certificates warning: have expired",
                "authorities warning: 1 day left",
                "disk warning: 1.0 GB of 100.0 GB free; with less than 2.0 GB, pods are evicted",
                "backups warning: none in /b yet",
            ]
        );
        assert!(
            facts.rows()[0]
                .next
                .ends_with("`usernetes certs renew --due`")
        );
        facts.shut_out = true;
        assert!(facts.rows()[0].next.contains("`usernetes join`"));
    }

    #[test]
    fn a_replacement_of_the_authorities_names_the_next_command() {
        for (stage, settled, next) in [
            (Stage::Trust, false, "`usernetes certs rotate-authorities`"),
            (Stage::Issue, false, "`usernetes certs rotate-authorities`"),
            (
                Stage::Issue,
                true,
                "`usernetes certs rotate-authorities --finish`",
            ),
            (
                Stage::Finish,
                false,
                "`usernetes certs rotate-authorities --finish`",
            ),
        ] {
            let row = of_rotation(&Rotation {
                stage,
                settled,
                since: 1_798_761_600,
            });
            assert_eq!(row.state, State::Warning);
            assert!(row.next.ends_with(next), "{}", row.next);
            assert!(
                row.detail.ends_with("since 2027-01-01T00:00:00Z"),
                "{}",
                row.detail
            );
        }
    }

    #[test]
    fn only_what_can_be_read_of_ours_counts_as_expiring() {
        let certificate = |purpose, not_after: &str, days_left| CertInfo {
            file: "a.pem".into(),
            purpose,
            subject: String::new(),
            issuer: String::new(),
            not_after: not_after.to_owned(),
            days_left,
            sans: Vec::new(),
            problem: None,
        };
        let some = "2027-01-01T00:00:00Z";
        let all = [
            certificate(Some(Purpose::Client), some, 300),
            certificate(Some(Purpose::Server), some, 200),
            certificate(Some(Purpose::Server), "", 0),
            certificate(Some(Purpose::Authority), some, 100),
            certificate(None, some, -7),
        ];
        let expected = DaysLeft {
            certificates: Some(200),
            authorities: Some(100),
        };
        assert_eq!(DaysLeft::among(&all), expected);
    }
}
