//! Restoring a backup.

use std::path::Path;

use fs_err as fs;

use super::journal::{Journal, NEW_DATA, SCRATCH, settle_locked};
use super::volumes;
use super::{Backup, CONFIG, IMAGES, MEMBER, SNAPSHOT};
use crate::bundle::Bundle;
use crate::child;
use crate::cluster::{self, Current, Receipt, Versions, present, units_of_others};
use crate::components::etcd;
use crate::config::{Config, DnsName};
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::{contents, private_directory, remove_tree, replace};
use crate::host::Machine;
use crate::install::{self, Flags, Report};
use crate::layout::{Layout, MASTER, NODE, has_etcd_data};
use crate::lifecycle::{end_run, stop};
use crate::progress::Progress;
use crate::snapshot;
use crate::store::{Generation, Store};

/// How a backup is to be restored.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Another name for this machine in the cluster.
    pub node_name: Option<DnsName>,
    /// Whether an existing cluster is replaced.
    pub force: bool,
}

/// Restores a backup and starts the cluster. Everything is read and checked before anything is replaced. An existing cluster
/// is stopped, and its configuration, keys and data are moved aside, where they stay. After an error everything is as it was, but
/// stopped. If it is interrupted, the next command makes it so, and the same restore completes it if all files are in their places.
pub fn restore(
    file: &Path,
    wanted: &Wanted,
    machine: &Machine,
    progress: &Progress,
) -> Result<Report> {
    let backup = Backup::open(file)?;
    let text = backup.verify(progress)?;
    let mut config = Config::parse(&text).about(|| format!("{}: {CONFIG}", file.display()))?;
    if let Some(name) = &wanted.node_name {
        config.node_name.clone_from(name);
    }
    // Other control planes have data that is newer, or another's. They join again.
    config.machines.several_control_planes = false;
    let name = Sha256::of(&[backup.contents.to_json()?, config.to_text().into_bytes()].concat());
    let mut store = Store::open_default()?.locked()?;
    let layout = present(&store, machine)?;
    if let Some(journal) = Journal::read(&layout)? {
        // Since then, a cluster that runs may have written something.
        let runs = || Current::read().is_ok_and(|current| current.is_running());
        if journal.brought == Some(name) && !runs() {
            progress.line("the files of this backup are in their places already");
            return finish(
                &backup, &config, &journal, &layout, store, machine, progress,
            );
        }
        settle_locked(&journal, &layout, machine, &store, progress)?;
    }
    let has_cluster = layout.config_file().exists() || has_etcd_data(layout.data_dir());
    if has_cluster && !wanted.force {
        return Err(Error::new(Kind::Usage, "there is a cluster already")
            .expected("no configuration and no data")
            .found(layout.config().display())
            .hint("run `usernetes backup FILE` if you need it, then replace it with `--force`, which moves it aside"));
    }
    let bundle = Bundle::of_this_process()?;
    let programs = match &bundle {
        Some(bundle) => Versions::of(bundle.manifest()),
        None => Versions::of(store.need_current()?.manifest()),
    };
    backup.contents.versions.check_upgrade(&programs)?;
    if let Some(bundle) = &bundle {
        store.preflight(bundle)?;
    }
    store = store.made()?;
    if has_cluster {
        stop_all(machine, &layout, progress)?;
    }
    let mut journal = Journal::begin(&layout, &store, has_cluster, backup.images())?;
    let done = journal.take(&layout).and_then(|()| {
        bring_in(
            &backup,
            &config,
            &layout,
            &store,
            bundle.as_ref(),
            machine,
            progress,
        )
    });
    let done = done.and_then(|()| journal.bring(name, &layout));
    if let Err(error) = done {
        return Err(match journal.undo(&layout, machine, &store) {
            Ok(()) => error,
            Err(undone) => error.detail(
                "not undone",
                format!("{}: the next command tries it again", undone.message()),
            ),
        });
    }
    finish(
        &backup, &config, &journal, &layout, store, machine, progress,
    )
}

/// Starts the cluster from the files that are in their places now.
fn finish(
    backup: &Backup,
    config: &Config,
    journal: &Journal,
    layout: &Layout,
    store: Store,
    machine: &Machine,
    progress: &Progress,
) -> Result<Report> {
    if backup.contents.lacks_volumes {
        progress.line("the backup was made without the data of volumes: they are empty");
    }
    if let Some([config, data]) = journal.kept(layout) {
        progress.line(format!(
            "the cluster that was here is now in {} and {}; remove them when you do not need them",
            config.display(),
            data.display()
        ));
    }
    let old_name = &backup.contents.node_name;
    // `install` takes the lock itself.
    drop(store);
    let report = install::install(&Flags::default(), machine, progress)?;
    journal.end(layout)?;
    if old_name != config.node_name.as_str() {
        forget_node(old_name, progress);
    }
    Ok(report)
}

fn stop_all(machine: &Machine, layout: &Layout, progress: &Progress) -> Result<()> {
    if end_run(machine, layout.data_dir(), progress)? {
        return Ok(());
    }
    match Current::read() {
        Ok(current) if current.is_running() => {
            let others = units_of_others(current.layout.data_dir())?;
            stop(&current.systemd()?, &others, progress)
        }
        _ => Ok(()),
    }
}

/// Puts the backup's files into their places. The programs that restore etcd's data come first.
fn bring_in(
    backup: &Backup,
    config: &Config,
    layout: &Layout,
    store: &Store,
    bundle: Option<&Bundle>,
    machine: &Machine,
    progress: &Progress,
) -> Result<()> {
    let generation = match bundle {
        Some(bundle) => store.install(bundle, progress)?.generation,
        None => store.need_current()?,
    };
    let scratch = layout.data(SCRATCH);
    remove_tree(&scratch)?;
    backup.unpack(&scratch)?;
    for dir in [MASTER, NODE] {
        if scratch.join(dir).exists() {
            fs::rename(scratch.join(dir), layout.config().join(dir))?;
        }
    }
    replace(&layout.config_file(), config.to_text().as_bytes(), 0o600)?;
    let images = layout.data(IMAGES);
    for path in contents(&scratch.join(IMAGES))? {
        let target = images.join(path.file_name().unwrap_or_default());
        private_directory(&images)?;
        if !target.exists() {
            fs::rename(path, target)?;
        }
    }
    if backup.has_snapshot() {
        restore_snapshot(&scratch, layout, &generation, machine)?;
    } else if backup.has_data() {
        private_directory(&layout.etcd_data())?;
        fs::rename(scratch.join(MEMBER), layout.etcd_data().join("member"))?;
    }
    if backup.has_volumes() {
        let layout = cluster::layout(machine, generation.path().to_owned())?;
        let target = volumes::directory(&layout);
        volumes::restore(&layout, machine, &target, |pipe| backup.write_volumes(pipe))?;
        progress.line("the data of volumes is back");
    }
    snapshot::remember_user(layout, &generation)?;
    // What was installed here before was made with another configuration.
    if let Some(mut receipt) = Receipt::read(store.dir())? {
        receipt.config = config.to_text();
        receipt.set_stale(true, machine);
        receipt.write(store.dir())?;
    }
    remove_tree(&scratch)
}

/// Makes etcd's data of a snapshot. The revision jumps far ahead, so that no client takes the past for the present (etcd
/// documentation, "Disaster recovery").
fn restore_snapshot(
    scratch: &Path,
    layout: &Layout,
    generation: &Generation,
    machine: &Machine,
) -> Result<()> {
    let program = generation.bin_dir().join("etcdutl");
    let new = layout.data(NEW_DATA);
    remove_tree(&new)?;
    let mut command = machine.command(&program);
    command
        .args(["snapshot", "restore"])
        .arg(scratch.join(SNAPSHOT))
        .arg("--data-dir")
        .arg(&new)
        .args(etcd::membership())
        .args(["--bump-revision", "1000000000", "--mark-compacted"]);
    child::run(&mut command)?
        .success()
        .about(|| "etcd's data cannot be restored")?;
    fs::rename(new, layout.etcd_data())?;
    Ok(())
}

/// Removes the object of the node that the cluster had on the other machine. Its pods start again on this one.
fn forget_node(name: &str, progress: &Progress) {
    let forgotten = Current::read().and_then(|current| {
        let words = ["kubectl", "delete", "node", "--ignore-not-found", name];
        child::run(&mut current.own_command(&words))?.success()
    });
    progress.line(match forgotten {
        Ok(_) => format!("removed the node {name}, whose place this machine has taken"),
        Err(error) => format!(
            "the node {name} is still listed ({}): remove it with `usernetes kubectl delete node {name}`",
            error.message()
        ),
    });
}
