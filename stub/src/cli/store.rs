//! `generations`, `rollback`, `gc`

use clap::Args;
use serde_json::json;

use super::output::{print, print_json, table};
use crate::cluster::Receipt;
use crate::error::Result;
use crate::install;
use crate::manager::Session;
use crate::paths;
use crate::progress::{Progress, bytes};
use crate::store::Store;

/// How many digits of a bundle id are shown to people.
pub(super) const SHORT: usize = 12;

#[derive(Debug, Args)]
pub(super) struct Generations {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Generations {
    pub(super) fn run(&self) -> Result<()> {
        let store = Store::open_default()?;
        // A damaged one must not keep the others from being listed.
        let current = store.current().ok().flatten().map(|g| g.number());
        let heads = ["", "generation", "release", "bundle"].map(str::to_owned);
        let mut rows = vec![heads.to_vec()];
        let mut objects = Vec::new();
        for number in store.generation_numbers()? {
            let is_current = current == Some(number);
            let mark = if is_current { "*" } else { "" };
            let mut row = vec![mark.to_owned(), number.to_string()];
            match store.generation(number) {
                Ok(generation) => {
                    let (release, id) = (&generation.manifest().release, generation.id());
                    row.extend([release.to_string(), id.short(SHORT)]);
                    objects.push(json!({
                        "bundle": id, "current": is_current, "number": number, "release": release,
                    }));
                }
                Err(error) => {
                    row.extend(["damaged".to_owned(), error.message().to_owned()]);
                    objects.push(json!({
                        "current": is_current, "damaged": error.message(), "number": number,
                    }));
                }
            }
            rows.push(row);
        }
        if self.json {
            return print_json(&json!({ "generations": objects }));
        }
        print(&table(&rows, &[1]))
    }
}

#[derive(Debug, Args)]
pub(super) struct Rollback {
    /// Number of the generation [default: the one before the current one]
    #[arg(value_name = "N")]
    generation: Option<u64>,
}

impl Rollback {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        install::rollback(self.generation, progress)
    }
}

#[derive(Debug, Args)]
pub(super) struct Gc {
    /// Only print what would be removed
    #[arg(long)]
    dry_run: bool,
}

impl Gc {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        let store = Store::open_default()?;
        let mut containerd = vec![store.dir().join("containerd")];
        let run = Session::of(store.dir())?.map(|run| run.runtime());
        let runtime = [run, paths::runtime_dir().ok()].into_iter().flatten();
        containerd.extend(runtime.map(|dir| dir.join("containerd")));
        // The units run another generation than the current one until `install` has applied the current one.
        let units = Receipt::read(store.dir())?.map(|r| r.generation);
        let wait = progress.wait("look for unused generations and components");
        let garbage = store.gc(units, &containerd, self.dry_run)?;
        drop(wait);
        let mut rows = Vec::new();
        for number in &garbage.generations {
            rows.push(vec!["generation".to_owned(), number.to_string()]);
        }
        for component in &garbage.components {
            let name = component.store_name.clone();
            rows.push(vec!["component".to_owned(), name, bytes(component.bytes)]);
        }
        print(&table(&rows, &[2]))?;
        let total = bytes(garbage.components.iter().map(|c| c.bytes).sum());
        progress.line(match (self.dry_run, rows.is_empty()) {
            (_, true) => "nothing to remove".to_owned(),
            (true, _) => format!("would free {total}"),
            (false, _) => format!("freed {total}"),
        });
        Ok(())
    }
}
