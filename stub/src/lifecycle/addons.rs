//! The addons of a cluster: their objects, as far as the bundle brings their images.

use serde_json::Value;

use crate::cluster::Current;
use crate::components::local_path;
use crate::config::{Addon, Config, Cri};
use crate::error::Result;
use crate::images;
use crate::layout::Layout;

/// What is to be in the cluster besides its own parts.
#[derive(Debug, Default)]
pub(super) struct Addons {
    /// Objects that are as we make them.
    pub(super) apply: Vec<Value>,
    /// Objects that are only made if they do not exist.
    pub(super) create: Vec<Value>,
    /// The addons that are wanted, and whose images the bundle lacks.
    pub(super) missing: Vec<Addon>,
}

impl Addons {
    /// Those of an installation.
    pub(super) fn of(current: &Current) -> Result<Self> {
        let (layout, config) = (&current.layout, &current.config);
        let mut addons = Self::default();
        for addon in wanted(config) {
            let Some(image) = image(layout, addon)? else {
                addons.missing.push(addon);
                continue;
            };
            match addon {
                Addon::Storage => {
                    addons.apply.extend(local_path::objects(&image));
                    addons.create.push(local_path::class());
                }
                Addon::Metrics => {}
            }
        }
        Ok(addons)
    }
}

/// The addons of a configuration. A machine without pods has none.
fn wanted(config: &Config) -> impl Iterator<Item = Addon> {
    let all = Addon::ALL.iter().copied();
    all.filter(|addon| config.cri != Cri::None && config.has(*addon))
}

/// The name of an addon's image; `None` if the generation does not bring it.
fn image(layout: &Layout, addon: Addon) -> Result<Option<String>> {
    let directory = match addon {
        Addon::Storage => local_path::IMAGE,
        Addon::Metrics => return Ok(None),
    };
    images::name_if_bundled(layout, directory)
}
