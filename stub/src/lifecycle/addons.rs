//! The addons of a cluster: their objects, as far as the bundle brings their images.

use serde_json::Value;

use crate::api::apply;
use crate::cluster::Current;
use crate::components::{local_path, metrics_server};
use crate::config::{Addon, Config, Cri};
use crate::error::Result;
use crate::images;
use crate::layout::{Credential, Layout};
use crate::pki::Ensured;
use crate::progress::Progress;
use crate::text;

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
                Addon::Metrics => {
                    let objects = metrics_server::objects(&image, &tls(layout)?);
                    addons.apply.extend(objects);
                }
            }
        }
        Ok(addons)
    }
}

/// Gives metrics-server its new certificate, if it has one. If the API server does not answer, the next start does it.
pub(super) fn renewed(current: &Current, ensured: &Ensured, progress: &Progress) {
    let new = ensured.has(&Credential::MetricsServer.certificate());
    if !new || !current.is_running() {
        return;
    }
    let apply = || {
        let objects = Addons::of(current)?.apply;
        match current.api()? {
            Some(client) => apply(&client, &objects),
            None => Ok(None),
        }
    };
    let refused = apply().unwrap_or_else(|error| Some(error.message().to_owned()));
    if let Some(why) = refused {
        progress.line(format!(
            "metrics-server gets its new certificate at the next start: {why}"
        ));
    }
}

/// The certificate of metrics-server.
fn tls(layout: &Layout) -> Result<metrics_server::Tls> {
    let credential = Credential::MetricsServer;
    Ok(metrics_server::Tls {
        certificate: text::read(&layout.certificate(credential))?,
        key: text::read(&layout.key(credential))?,
        authority: text::read(&layout.certificate(Credential::ClusterAuthority))?,
    })
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
        Addon::Metrics => metrics_server::IMAGE,
    };
    images::name_if_bundled(layout, directory)
}
