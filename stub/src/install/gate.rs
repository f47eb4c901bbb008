//! The gate of an upgrade: a new generation must work as well as the one before, or that one comes back by itself.

use std::process::Command;
use std::time::Duration;

use super::Source;
use super::apply::Applied;
use crate::api::{ReadyPods, Started};
use crate::child::{self, Ended};
use crate::cluster::{self, Current, Versions};
use crate::error::{Error, Kind, Result};
use crate::layout::Layout;
use crate::lifecycle::{PATIENCE, Phase, Waiter, stop};
use crate::manager::Manager;
use crate::progress::Progress;
use crate::protocol;
use crate::services::{Service, Services};
use crate::snapshot;
use crate::store::Generation;
use crate::systemd::Unit;

/// What a new generation is measured by, and the one to go back to.
pub(super) struct Gate {
    previous: Generation,
    next: Current,
    /// Pods that were ready before; `None` if the API server did not answer.
    ready: Option<ReadyPods>,
    patience: Duration,
}

impl Gate {
    /// The gate of an installation that replaces a running generation by the one of a bundle. `None` if there is nothing to
    /// go back to, nothing ran before, or the user wants the new one in any case. Nothing may have been stopped yet.
    pub(super) fn of(applied: &Applied<'_>, states: &[Unit]) -> Option<Self> {
        let plan = &applied.plan;
        let previous = plan.previous.clone()?;
        let ran = states.iter().any(|unit| !unit.is_stopped());
        if plan.force || !ran || !matches!(plan.source, Source::Bundle(_)) {
            return None;
        }
        let next = applied.current();
        // The running API server has the address of the last configuration.
        let last = Current {
            config: plan.last.clone().unwrap_or_else(|| next.config.clone()),
            ..next.clone()
        };
        let client = last.api().ok().flatten();
        Some(Self {
            previous,
            ready: client.and_then(|client| ReadyPods::now(&client)),
            next,
            patience: plan.timeout.unwrap_or(PATIENCE),
        })
    }

    /// Waits until the pods that were ready before are ready again.
    pub(super) fn wait(&self, manager: &dyn Manager, progress: &Progress) -> Result<Option<Phase>> {
        let (Some(ready), Some(client)) = (&self.ready, self.next.api()?) else {
            return Ok(None);
        };
        let services = Services::of(&self.next.config);
        let names = services.all_units();
        let units = manager.units(&names)?;
        let runtime = services.unit(Service::Rootlesskit);
        let since = units.iter().find(|u| runtime == *u.name());
        let since = since.and_then(Unit::started);
        let waiter = Waiter::new(manager, progress, names, units, self.patience);
        let started = Started::of(&self.next.config, since.as_deref());
        waiter.pods(&client, ready, started).map(Some)
    }

    /// Lets the previous generation run again, with the present data if its etcd can read that, otherwise with the data it
    /// had. Gives the error to end with.
    pub(super) fn go_back(self, manager: &dyn Manager, cause: Error, progress: &Progress) -> Error {
        let (number, release) = (self.previous.number(), &self.previous.manifest().release);
        let failed = &self.next.generation.manifest().release;
        let cause = cause.without_hint();
        progress.line(format!(
            "release {failed} does not work, so generation {number} (release {release}) comes back: {cause}"
        ));
        let cause = cause.message().to_owned();
        let back = stop(manager, &[], progress)
            .and_then(|()| return_data(&self.next.layout, &self.previous, progress))
            .and_then(|()| child::run(&mut reinstall(&self.previous)))
            .and_then(Ended::success);
        match back {
            Ok(_) => Error::new(
                Kind::Failed,
                format!("release {failed} does not work; generation {number} (release {release}) is running again"),
            )
            .detail("because", cause)
            .hint("see the logs of that time with `usernetes logs`; `--force` keeps a release that does not work"),
            Err(error) => Error::new(
                Kind::Failed,
                format!("release {failed} does not work, and generation {number} (release {release}) did not come back"),
            )
            .detail("because", cause)
            .detail("and then", error)
            .hint(format!("run `usernetes rollback {number}`")),
        }
    }
}

/// The last user of the data, if a generation's etcd cannot read what it has written.
pub(super) fn unreadable(layout: &Layout, to: &Generation) -> Result<Option<snapshot::User>> {
    let versions = Versions::of(to.manifest());
    let user = snapshot::last_user(layout)?;
    Ok(user.filter(|user| user.versions.etcd_is_newer_than(&versions)))
}

/// Gives back the data that a generation had, if its etcd cannot read the present data.
pub(super) fn return_data(layout: &Layout, to: &Generation, progress: &Progress) -> Result<()> {
    let Some(user) = unreadable(layout, to)? else {
        return Ok(());
    };
    // The other members have all changes since, and would not know this one any more.
    if cluster::applied(layout).is_ok_and(|config| config.machines.peer_address().is_some()) {
        return Err(Error::new(
            Kind::Failed,
            "the data of one control plane among several cannot be exchanged for older data",
        )
        .expected(format!("an etcd that can read data of etcd {}", user.versions.etcd))
        .found(Versions::of(to.manifest()).etcd)
        .hint("stay with the present generation; or remove this node on another control plane, and let it join again with the earlier release"));
    }
    let restored = snapshot::restore(layout, to.number())?;
    progress.line(format!(
        "etcd {} cannot read data of etcd {}, so the data of {} is restored; later changes are not in it, and are kept in {}",
        Versions::of(to.manifest()).etcd,
        user.versions.etcd,
        restored.taken,
        layout.data("snapshots").join(user.generation.to_string()).display()
    ));
    Ok(())
}

/// The `install` of a generation's own program, which alone knows its units.
pub(super) fn reinstall(generation: &Generation) -> Command {
    let mut command = Command::new(generation.bin_dir().join("usernetes"));
    let number = generation.number().to_string();
    command.args([protocol::INSTALL, protocol::GENERATION, &number]);
    command
}
