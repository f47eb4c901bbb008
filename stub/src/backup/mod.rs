//! `backup` and `restore`: a whole cluster in one file.
//!
//! The file is a tar archive of ordinary files, so that other programs can look into it:
//!
//! ```text
//! config.toml              the configuration
//! master/…, node/…         keys, certificates and kubeconfigs
//! etcd/snapshot.db         etcd's data as `etcdctl snapshot save` writes it, if the cluster was running
//! etcd/member/…            etcd's data directory, if it was not
//! images/…                 the user's own images
//! volumes/00000000, …      the data of volumes: the parts, in this order, of a tar archive with owners
//! backup.json              [`Contents`], last: the digest of every file, and where the backup is from
//! ```
//!
//! It contains private keys. Programs are not in it: they come from the bundle.

mod create;
mod journal;
mod read;
mod restore;
mod scheduled;
#[cfg(test)]
mod tests;
mod volumes;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::cluster::Versions;
use crate::digest::Sha256;
use crate::error::{Error, Kind, Result};

pub use create::{Created, create};
pub use journal::settle;
pub use read::Backup;
pub use restore::{Wanted, restore};
pub(crate) use scheduled::hours;
pub use scheduled::{Kept, scheduled, scheduled_if_late};
pub use volumes::{pack as pack_volumes, unpack as unpack_volumes};

/// The version of the format that this release knows: 2 has the data of volumes.
const SCHEMA: u32 = 2;
/// The version of a backup without that.
const WITHOUT_VOLUMES: u32 = 1;
/// The name of the last entry.
const CONTENTS: &str = "backup.json";
/// The name of the configuration.
const CONFIG: &str = "config.toml";
/// The name of etcd's data from a running cluster.
const SNAPSHOT: &str = "etcd/snapshot.db";
/// The directory of etcd's data from a stopped cluster.
const MEMBER: &str = "etcd/member";
/// The directory of the user's images.
const IMAGES: &str = "images";

/// Everything that a backup says about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// The version of the format.
    pub schema: u32,
    /// When it was made, RFC 3339 in UTC.
    pub created: String,
    /// The release of Usernetes that made it.
    pub release: String,
    /// The versions of the programs that wrote etcd's data.
    pub versions: Versions,
    /// The name of the machine in the cluster.
    pub node_name: String,
    /// Whether volumes were left out although there were some.
    #[serde(default)]
    pub lacks_volumes: bool,
    /// Every other entry by its name.
    pub files: BTreeMap<String, File>,
}

impl Contents {
    /// Its text.
    fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec_pretty(self).map_err(|e| Error::new(Kind::Failed, e.to_string()))
    }
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// The digest of its bytes.
    pub sha256: Sha256,
    /// Its length in bytes.
    pub size: u64,
}
