//! `certs rotate-authorities`: other authorities and another key for the tokens of service accounts, while the cluster runs.
//!
//! [`pki::next_step`] says what comes next, and one file says how far it is. Each step can be repeated, so a command that was
//! interrupted is simply run again:
//!
//! 1. Everybody on this machine trusts the old and the new authorities. All services restart once for that.
//! 2. The new ones issue certificates and sign tokens. The API server still shows its old certificates, because pods and other
//!    machines learn of the new authorities only now.
//! 3. With `--finish`, the API server shows new certificates, and nobody trusts the old authorities any more.
//!
//! [`remaining`] looks for those who would be locked out by the last step.

mod remaining;

use std::path::PathBuf;
use std::time::SystemTime;

use crate::api::{Client, read_object};
use crate::backup;
use crate::cluster::Current;
use crate::error::{Error, Kind, Result};
use crate::layout::Credential;
use crate::lifecycle::{
    self, publish_description, renew_pods_of_ours, restart_and_wait, wait_until,
};
use crate::nodes::known_members;
use crate::pki::{self, Authority, Goal, Rotation, Stage, Step};
use crate::progress::Progress;
use crate::services::Service;
use crate::store::Store;
use crate::text;

/// What [`rotate`] has come to.
#[derive(Debug)]
pub struct Rotated {
    /// The replacement that is under way; `None` if it is finished.
    pub rotation: Option<Rotation>,
    /// The backup that was made before anything was changed, if this call has made one.
    pub backup: Option<PathBuf>,
}

/// Replaces the authorities as far as the goal says. With `force`, those who still use the old ones do not matter.
/// Afterwards everything is on disk, and the running services have it.
pub fn rotate(goal: Goal, force: bool, progress: &Progress) -> Result<Rotated> {
    let current = Current::read()?;
    refuse_worker(&current)?;
    let config_dir = current.layout.config();
    let mut backup = None;
    let ending = goal == Goal::Finish && pki::end_was_interrupted(config_dir)?;
    match (pki::rotation(config_dir)?, goal) {
        (None, Goal::Begin) => {
            refuse_several(known_members(&current.layout, &current.config).len())?;
            backup = Some(keep_backup(&current, progress)?);
        }
        (None, Goal::Finish) if !ending => {
            return Err(
                Error::new(Kind::Usage, "the authorities are not being replaced")
                    .hint("begin with `usernetes certs rotate-authorities`"),
            );
        }
        _ => {}
    }
    let store = Store::open_default()?.locked()?;
    store.sign()?;
    if ending {
        pki::end_rotation(config_dir)?;
        return Ok(Rotated {
            rotation: None,
            backup,
        });
    }
    loop {
        let present = pki::rotation(config_dir)?;
        let now = SystemTime::now();
        match pki::next_step(present.as_ref(), goal) {
            Step::Prepare => {
                pki::begin_rotation(config_dir, now)?;
                progress.line("made new authorities");
            }
            Step::Settle(stage) => {
                settle(&current, stage, progress)?;
                pki::settle_stage(config_dir, SystemTime::now())?;
            }
            Step::Enter(stage) => {
                if let (Stage::Finish, false, Some(present)) = (stage, force, &present) {
                    remaining::refuse(&current, present, now)?;
                }
                pki::enter_stage(config_dir, stage, now)?;
            }
            Step::Forget => {
                pki::end_rotation(config_dir)?;
                return Ok(Rotated {
                    rotation: None,
                    backup,
                });
            }
            Step::Rest => {
                return Ok(Rotated {
                    rotation: present,
                    backup,
                });
            }
        }
    }
}

fn refuse_worker(current: &Current) -> Result<()> {
    if !current.config.machines.is_worker() {
        return Ok(());
    }
    Err(Error::new(Kind::Usage, "this machine is a worker and has no authority")
        .hint("run the command on the machine with the control plane; this machine follows by itself within a day, or at once with `usernetes certs renew --due`"))
}

/// The other control planes have the same authorities, and would go on with the old ones.
fn refuse_several(control_planes: usize) -> Result<()> {
    if control_planes < 2 {
        return Ok(());
    }
    Err(
        Error::new(Kind::Usage, "the authorities can be replaced on a single control plane only")
            .found(format!("{control_planes} control planes"))
            .hint("remove the others with `usernetes node remove NAME`, replace the authorities, and let them join again"),
    )
}

/// Keeps everything as it was: etcd's data and all keys. The data of volumes does not change.
fn keep_backup(current: &Current, progress: &Progress) -> Result<PathBuf> {
    let file = current.layout.data("before-new-authorities.backup");
    backup::create(&file, true, false, progress).map(|made| made.file)
}

/// Gives the files and the running services what a stage wants.
fn settle(current: &Current, stage: Stage, progress: &Progress) -> Result<()> {
    let due = lifecycle::renew_due(current, SystemTime::now(), progress)?;
    let wanted = |service: Service| {
        let row = service.row();
        let reads_authorities = service != Service::Rootlesskit && !row.own;
        match stage {
            Stage::Trust | Stage::Finish => reads_authorities,
            // All others load their new certificates by themselves. The first two sign with new keys. The kubelet asks for new
            // tokens for the pods of this machine.
            Stage::Issue => {
                due.contains(&service)
                    || matches!(
                        service,
                        Service::KubeApiserver | Service::KubeControllerManager | Service::Kubelet
                    )
            }
        }
    };
    let Some(client) = restart_and_wait(current, wanted, progress)? else {
        return Ok(());
    };
    publish_description(current, &client)?;
    wait_for_pods_to_trust(current, &client, progress)?;
    if stage == Stage::Issue {
        let name = authority(current)?.key_digest().short(16);
        renew_pods_of_ours(&client, &name, progress)?;
    }
    Ok(())
}

/// The authorities of the cluster; the first one issues certificates.
fn authority(current: &Current) -> Result<Authority> {
    Authority::of_file(&current.layout.certificate(Credential::ClusterAuthority))
}

/// Waits until the controller manager gives pods the authorities of now, if it runs.
fn wait_for_pods_to_trust(current: &Current, client: &Client, progress: &Progress) -> Result<()> {
    let wanted = text::read(&current.layout.certificate(Credential::ClusterAuthority))?;
    let path = "/api/v1/namespaces/kube-system/configmaps/kube-root-ca.crt";
    if client.get(path)?.status == 404 {
        // Nobody has made it yet: nothing runs that makes it.
        return Ok(());
    }
    wait_until(progress, "pods get the authorities", || {
        let answer = client.get(path)?;
        let map = read_object(&answer.body)?;
        let found = map["data"]["ca.crt"].as_str().unwrap_or_default();
        Ok(found.trim_end() == wanted.trim_end())
    })
}
