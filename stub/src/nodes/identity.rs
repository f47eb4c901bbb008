//! The identity of a worker on disk: a client certificate, the kubelet's serving certificate, and the authority's certificate.
//! No key of an authority is among them.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::SystemTime;

use fs_err as fs;

use super::authorities::{learn, trusted};
use super::files::Files;
use super::{Wanted, request};
use crate::api::Client;
use crate::cluster::{Current, component_server};
use crate::config::Config;
use crate::error::{Context as _, Error, Kind, Result};
use crate::file_system::read_if_there;
use crate::layout::{Credential, Kubeconfig, Layout, NODE};
use crate::pki::{
    self, Authority, Ensured, Made, OTHER_ISSUER, Renew, TO_BE_RENEWED, node_fault, node_key,
    node_request,
};

/// The identity with which a machine joins.
pub(crate) struct Identity<'a> {
    layout: &'a Layout,
    config: &'a Config,
}

impl<'a> Identity<'a> {
    /// That of a machine with this layout and this configuration.
    pub(crate) fn of(layout: &'a Layout, config: &'a Config) -> Self {
        Self { layout, config }
    }

    /// Gets both certificates: the first one with a token's client, the second one with the first. Afterwards everything is on
    /// disk. If the cluster refuses the first, nothing was written; if it refuses the second, what was written is removed.
    pub(crate) fn obtain(&self, token: &Client, authority: &Authority) -> Result<()> {
        let (layout, node) = (self.layout, &self.config.node_name);
        let key = node_key(None)?;
        let pem = node_request(&key, node, None)?;
        let certificate = request(token, node.as_str(), Wanted::Client, &pem)?;
        check(&certificate, &key, authority)?;
        let there = layout.config().join(NODE).exists();
        let files = self.files();
        let done = files
            .directories()
            .and_then(|()| {
                files.certificate(Credential::KubeletClient, Some(key.as_str()), &certificate)
            })
            .and_then(|()| {
                files.authority(&authority.pem())?;
                files.kubeconfig()?;
                let client = Client::new(token.server(), layout, Kubeconfig::Kubelet)?;
                self.serving(&client, authority)
            });
        if done.is_err() && !there {
            let _ = fs::remove_dir_all(layout.config().join(NODE));
        }
        done
    }

    /// Gets a new serving certificate, with the key that is there.
    fn serving(&self, client: &Client, authority: &Authority) -> Result<()> {
        let node = &self.config.node_name;
        let key = read_if_there(&self.layout.key(Credential::Kubelet))?;
        let new = key.is_none();
        let key = node_key(key)?;
        let address = IpAddr::V4(self.config.address());
        let pem = node_request(&key, node, Some(address))?;
        let certificate = request(client, node.as_str(), Wanted::Serving, &pem)?;
        check(&certificate, &key, authority)?;
        let new = new.then_some(key.as_str());
        let files = self.files();
        files.certificate(Credential::Kubelet, new, &certificate)
    }

    /// Gets a new client certificate with the present one, and with the same key.
    fn client(&self, client: &Client, authority: &Authority) -> Result<()> {
        let node = &self.config.node_name;
        let key = fs::read_to_string(self.layout.key(Credential::KubeletClient))?;
        let pem = node_request(&key, node, None)?;
        let certificate = request(client, node.as_str(), Wanted::Client, &pem)?;
        check(&certificate, &key, authority)?;
        let files = self.files();
        files.certificate(Credential::KubeletClient, None, &certificate)
    }

    fn files(&self) -> Files<'a> {
        Files::of(self.layout.config(), self.config)
    }
}

/// Fails if the cluster has issued a certificate that its own authority, or our key, does not fit.
fn check(certificate: &str, key: &str, authority: &Authority) -> Result<()> {
    if pki::belongs(certificate, key, authority) {
        return Ok(());
    }
    Err(Error::new(
        Kind::Integrity,
        "the cluster has issued a certificate of another authority or for another key",
    )
    .hint("see `usernetes certs list` on the machine with the control plane"))
}

/// Renews those of a worker's certificates that are due, or all. Afterwards they are on disk. Needs the API server only if
/// something is to be renewed.
pub(crate) fn renew(current: &Current, renew: Renew, now: SystemTime) -> Result<Ensured> {
    let (layout, config) = (&current.layout, &current.config);
    let identity = Identity::of(layout, config);
    let mut ensured = Ensured::default();
    identity.write_kubeconfig_if_changed(&mut ensured)?;
    // If the cluster does not answer, this machine goes on with what it trusts.
    ensured.made.extend(learn(current).ok().flatten());
    let authority = trusted(current)?;
    let address = IpAddr::V4(config.address());
    for credential in [Credential::KubeletClient, Credential::Kubelet] {
        let text = read_if_there(&layout.certificate(credential))?;
        let serving = credential == Credential::Kubelet;
        let wanted = serving.then_some((&config.node_name, address));
        let relative: PathBuf = credential.certificate();
        let fault = node_fault(text.as_deref(), wanted, now).about(|| relative.display())?;
        let other = text.as_ref().filter(|text| !authority.issues(text));
        let fault = fault.or_else(|| {
            let replaced = other.map(|_| OTHER_ISSUER.to_owned());
            replaced.or_else(|| (renew == Renew::All).then(|| TO_BE_RENEWED.to_owned()))
        });
        let Some(reason) = fault else {
            ensured.kept.push(relative);
            continue;
        };
        let expired = match &text {
            Some(text) => pki::has_expired(text, now)?,
            None => false,
        };
        if expired && !serving {
            return Err(expired_client());
        }
        let client = current.node_api()?;
        if serving {
            identity.serving(&client, &authority)?;
        } else {
            identity.client(&client, &authority)?;
        }
        ensured.made.push(Made {
            file: relative,
            reason,
            expired,
        });
    }
    Ok(ensured)
}

/// What brings a worker back whose certificate has expired.
pub(crate) const JOIN_AGAIN: &str = "on the machine with the control plane, run `usernetes token create`, and here `usernetes join` with that token";

/// Fails if the certificate with which this worker asks for others has expired: nothing on it works any more.
pub(crate) fn check_not_expired(layout: &Layout, now: SystemTime) -> Result<()> {
    match read_if_there(&layout.certificate(Credential::KubeletClient))? {
        Some(text) if pki::has_expired(&text, now)? => Err(expired_client()),
        _ => Ok(()),
    }
}

fn expired_client() -> Error {
    let file = Credential::KubeletClient.certificate();
    let what = format!("{}: this machine's certificate has expired", file.display());
    Error::new(Kind::Host, what).hint(JOIN_AGAIN)
}

impl Identity<'_> {
    /// Another port of the API server changes the kubeconfig.
    fn write_kubeconfig_if_changed(&self, ensured: &mut Ensured) -> Result<()> {
        let file = self.layout.kubeconfig(Kubeconfig::Kubelet);
        let before = read_if_there(&file)?;
        let server = format!("https://{}", component_server(self.config));
        if before.is_some_and(|text| text.contains(&format!("\"{server}\""))) {
            return Ok(());
        }
        self.files().kubeconfig()?;
        ensured.made.push(Made {
            file: Kubeconfig::Kubelet.file(),
            reason: "did not contain the address of the API server".to_owned(),
            expired: false,
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_worker_whose_certificate_has_expired_is_told_to_join_again() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let layout = Layout::new(at("c"), at("d"), at("r"), at("g")).unwrap();
        let now = SystemTime::now();
        // One that is missing is another matter.
        check_not_expired(&layout, now).unwrap();
        let file = layout.certificate(Credential::KubeletClient);
        fs_err::create_dir_all(file.parent().unwrap()).unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.not_after = (now + Duration::from_hours(1)).into();
        let key = rcgen::KeyPair::generate().unwrap();
        fs_err::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        check_not_expired(&layout, now).unwrap();
        let error = check_not_expired(&layout, now + Duration::from_hours(2)).unwrap_err();
        insta::assert_snapshot!(error, @r"
        node/node-client.pem: this machine's certificate has expired

        hint: on the machine with the control plane, run `usernetes token create`, and here `usernetes join` with that token
        ");
    }
}
