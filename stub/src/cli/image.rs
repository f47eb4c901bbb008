//! `image load|list|rm`

use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use super::output::{print, print_json, table};
use crate::error::Result;
use crate::lifecycle::{self, Image as Found};
use crate::progress::Progress;

#[derive(Debug, Subcommand)]
pub(super) enum Image {
    /// Load images without a network and without a restart, now and at every start
    Load {
        /// Archives as `docker save` (25 or later), `skopeo copy … oci-archive:` and `ctr images export` write them, or
        /// image layouts
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// List the images: of the bundle, your own, and those that were pulled
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove images of your own, and pulled ones; containers that use them keep running
    Rm {
        /// Names, as `image list` shows them
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
}

impl Image {
    /// Whether it changes anything.
    pub(super) fn changes(&self) -> bool {
        !matches!(self, Self::List { .. })
    }

    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        match self {
            Self::Load { files, json } => show(&lifecycle::load_images(files, progress)?, *json),
            Self::List { json } => show(&lifecycle::list_images(progress)?, *json),
            Self::Rm { names } => lifecycle::remove_images(names, progress),
        }
    }
}

fn show(images: &[Found], json: bool) -> Result<()> {
    if json {
        return print_json(&json!({ "images": images }));
    }
    let heads = ["image", "from", "loaded", "digest"].map(str::to_owned);
    let mut rows = vec![heads.to_vec()];
    for image in images {
        let loaded = match image.loaded {
            Some(true) => "yes",
            Some(false) => "no",
            None => "stopped",
        };
        rows.push(vec![
            image.name.clone(),
            image.origin.as_str().to_owned(),
            loaded.to_owned(),
            image.digest.clone(),
        ]);
    }
    print(&table(&rows, &[]))
}
