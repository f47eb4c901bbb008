//! Restoring a backup.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use fs_err as fs;

use super::volumes;
use super::{Backup, CONFIG, IMAGES, MEMBER, SNAPSHOT};
use crate::bundle::Bundle;
use crate::child;
use crate::cluster::{self, Current, Receipt, Versions, present, units_of_others};
use crate::components::etcd;
use crate::components::local_path::VOLUMES_SOURCE;
use crate::config::{Config, DnsName};
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::{contents, private_directory, remove_tree, replace};
use crate::host::Machine;
use crate::install::{self, Flags, Report};
use crate::layout::{Layout, MASTER, NODE, has_etcd_data};
use crate::lifecycle::{end_run, stop};
use crate::nodes;
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
/// is stopped, and its configuration, keys and data are moved aside, where they stay.
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
    let store = Store::open_default()?.locked()?;
    let layout = present(&store, machine)?;
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
    if has_cluster {
        store.sign()?;
        stop_all(machine, &layout, progress)?;
    }
    let aside = Aside::new(&layout)?;
    aside.take(&layout)?;
    let done = bring_in(
        &backup,
        &config,
        &layout,
        &store,
        bundle.as_ref(),
        machine,
        progress,
    );
    if done.is_err() {
        aside.give_back(&layout, machine)?;
    }
    done?;
    if backup.contents.lacks_volumes {
        progress.line("the backup was made without the data of volumes: they are empty");
    }
    if has_cluster {
        progress.line(format!(
            "the cluster that was here is now in {} and {}; remove them when you do not need them",
            aside.config.display(),
            aside.data.display()
        ));
    } else {
        aside.remove()?;
    }
    let old_name = backup.contents.node_name.clone();
    // `install` takes the lock itself.
    drop(store);
    let report = install::install(&Flags::default(), machine, progress)?;
    if old_name != config.node_name.as_str() {
        forget_node(&old_name, progress);
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

/// The place of a cluster that is replaced.
struct Aside {
    config: PathBuf,
    data: PathBuf,
}

impl Aside {
    fn new(layout: &Layout) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let name = format!("replaced-{}", now.unwrap_or_default().as_secs());
        let aside = Self {
            config: layout.config().join(&name),
            data: layout.data(&name),
        };
        private_directory(layout.config())?;
        private_directory(layout.data_dir())?;
        private_directory(&aside.config)?;
        private_directory(&aside.data)?;
        Ok(aside)
    }

    /// What is moved: where it is, and where it goes.
    fn moves(&self, layout: &Layout) -> Vec<(PathBuf, PathBuf)> {
        let config =
            [CONFIG, MASTER, NODE].map(|name| (layout.config().join(name), self.config.join(name)));
        let data = ["etcd", "etcd-user.json", VOLUMES_SOURCE]
            .map(|name| (layout.data(name), self.data.join(name)));
        config.into_iter().chain(data).collect()
    }

    fn take(&self, layout: &Layout) -> Result<()> {
        for (from, to) in self.moves(layout) {
            if from.exists() {
                fs::rename(from, to)?;
            }
        }
        Ok(())
    }

    /// After a failure everything is as it was.
    fn give_back(&self, layout: &Layout, machine: &Machine) -> Result<()> {
        for (to, from) in self.moves(layout) {
            // Volumes have files of subordinate ids.
            if remove_tree(&to).is_err() {
                install::remove_in_namespace(layout, machine, &to)?;
            }
            if from.exists() {
                fs::rename(from, to)?;
            }
        }
        self.remove()
    }

    fn remove(&self) -> Result<()> {
        remove_tree(&self.config)?;
        remove_tree(&self.data)
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
        Some(bundle) => {
            store.preflight(bundle)?;
            store.install(bundle, progress)?.generation
        }
        None => store.need_current()?,
    };
    let scratch = layout.data(".restore");
    remove_tree(&scratch)?;
    backup.unpack(&scratch)?;
    for dir in [MASTER, NODE] {
        if scratch.join(dir).exists() {
            fs::rename(scratch.join(dir), layout.config().join(dir))?;
        }
    }
    nodes::forget_members(layout)?;
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
    let new = layout.data("etcd.new");
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
