//! What a machine that joins asks the cluster.

use std::net::{SocketAddrV4, TcpStream};
use std::num::NonZeroU16;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::api::{Answer, Client, Pinned, complaint, pin};
use crate::bundle::Manifest;
use crate::cidr::Cidr;
use crate::cluster::Versions;
use crate::components::joining::{AUTHORITIES, CLUSTER, NAMESPACE, SCHEMA};
use crate::config::{API_PORT, Addon, Cni, DnsName};
use crate::error::{Error, Kind, Result};
use crate::nodes::{Token, UNKNOWN_TOKEN, taken};
use crate::pki::Authority;

/// How long an API server may take to accept a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// An API server of the cluster, which has proved that it is one.
pub(super) struct Cluster {
    pub(super) endpoint: SocketAddrV4,
    pub(super) endpoints: Vec<SocketAddrV4>,
    client: Client,
    pinned: Arc<Pinned>,
}

/// The cluster as it describes itself.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) services: Cidr,
    pub(super) pods: Cidr,
    pub(super) dns: u32,
    pub(super) cluster_domain: DnsName,
    pub(super) cni: Cni,
    pub(super) mtu: u32,
    pub(super) vxlan_port: NonZeroU16,
    /// The certificates, as PEM, of the authorities that its machines trust; empty if it does not say.
    authorities: String,
    /// The addons that the cluster does without.
    pub(super) without: Vec<Addon>,
    /// The version of the API server.
    kubernetes: String,
    /// The cluster's time, in the form of HTTP.
    pub(super) date: String,
}

/// Connects to the first API server of a token that answers.
pub(super) fn connect(token: &Token) -> Result<Cluster> {
    let answers = |endpoint: &&SocketAddrV4| {
        TcpStream::connect_timeout(&(**endpoint).into(), PATIENCE).is_ok()
    };
    let Some(endpoint) = token.endpoints.iter().find(answers) else {
        let list: Vec<_> = token.endpoints.iter().map(ToString::to_string).collect();
        let message = match list.as_slice() {
            [one] => format!("{one} does not answer"),
            _ => "no API server of this cluster answers".to_owned(),
        };
        return Err(Error::new(Kind::Network, message)
            .detail("tried", list.join(", "))
            .hint("on that machine, `usernetes status` shows whether the cluster runs, and `usernetes install --address ADDRESS` makes it reachable; a firewall must let 6443/tcp, 10250/tcp and 8472/udp through between the machines"));
    };
    let pinned = pin(token.authority);
    let client = Client::pinned((*endpoint).into(), &pinned, Some(token.bearer()))?;
    Ok(Cluster {
        endpoint: *endpoint,
        endpoints: token.endpoints.clone(),
        client,
        pinned,
    })
}

impl Cluster {
    /// The port of the API server. This machine's own programs reach it at the same one.
    pub(super) fn api_port(&self) -> NonZeroU16 {
        NonZeroU16::new(self.endpoint.port()).unwrap_or(API_PORT)
    }

    /// The client with the token.
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// The cluster's authority.
    pub(super) fn authority(&self) -> Result<&Authority> {
        self.pinned
            .authority()
            .ok_or_else(|| Error::new(Kind::Failed, "the API server has not shown its authority"))
    }

    /// The cluster as it describes itself.
    pub(super) fn found(&self) -> Result<Found> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/configmaps/{CLUSTER}");
        let answer = self.ask(&path)?;
        match answer.status {
            200 => Found::read(&answer),
            404 => Err(Error::new(
                Kind::Failed,
                "the cluster does not say how to join it",
            )
            .expected(format!("the configuration map {CLUSTER}"))
            .hint("on the machine with the control plane, run `usernetes install --address ADDRESS`")),
            status => Err(Error::new(
                Kind::Failed,
                format!("the cluster refuses the token: {}", complaint(status, &answer.body)),
            )),
        }
    }

    /// Fails if a node of this name is ready already.
    pub(super) fn check_name(&self, name: &str) -> Result<()> {
        let answer = self.ask(&format!("/api/v1/nodes/{name}"))?;
        let node: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let conditions = node["status"]["conditions"].as_array();
        let mut conditions = conditions.into_iter().flatten();
        let ready = conditions.any(|c| c["type"] == "Ready" && c["status"] == "True");
        if answer.status == 200 && ready {
            return Err(Self::explained(Error::new(Kind::Failed, taken(name))));
        }
        Ok(())
    }

    /// Asks with the token.
    fn ask(&self, path: &str) -> Result<Answer> {
        let answer = self.client.get(path).map_err(|error| self.another(error))?;
        if answer.status == 401 {
            return Err(Self::explained(Error::new(Kind::Failed, UNKNOWN_TOKEN)));
        }
        Ok(answer)
    }

    /// The error if a server is not of the cluster. Another error stays as it is.
    fn another(&self, error: Error) -> Error {
        if self.pinned.authority().is_some() || !error.message().contains("certificate") {
            return error;
        }
        if self.pinned.is_out_of_time() {
            return self.clock_fault().err().unwrap_or(error);
        }
        let other = self.pinned.other();
        let found = other.map_or_else(
            || "a certificate without that of its authority".to_owned(),
            |digest| format!("the authority with the key {}", digest.short(16)),
        );
        Error::new(
            Kind::Integrity,
            format!(
                "the server at {} is not the cluster of this token",
                self.endpoint
            ),
        )
        .expected(format!(
            "the authority with the key {}",
            self.pinned.wanted().short(16)
        ))
        .found(found)
        .hint("make a token on the machine that has this address, with `usernetes token create`; a token of before the cluster replaced its authorities is worthless")
    }

    /// Fails if this machine's clock is what makes the server's certificate seem not to be valid. The server says what time it is
    /// even to somebody whom it does not know.
    fn clock_fault(&self) -> Result<()> {
        let client = Client::pinned(self.endpoint.into(), &self.pinned.timeless(), None)?;
        super::clock::check(&client.get("/version")?.date)
    }

    /// An error with the next step, where the cluster only gives a reason.
    pub(super) fn explained(error: Error) -> Error {
        let hint = if error
            .message()
            .ends_with(" is Ready in this cluster already")
        {
            "choose another name with `--name NAME`, or remove that node on the machine with the control plane: `usernetes node remove NAME`"
        } else if error.message().contains("the token ") {
            "a token lasts an hour and serves one machine unless it was made otherwise; make another one there with `usernetes token create`"
        } else {
            return error;
        };
        error.hint(hint)
    }
}

impl Found {
    pub(super) fn read(answer: &Answer) -> Result<Self> {
        let map: Value = serde_json::from_str(&answer.body).unwrap_or_default();
        let text = |key: &str| map["data"][key].as_str().unwrap_or_default();
        let schema: u32 = text("schema").parse().unwrap_or_default();
        if schema != SCHEMA {
            return Err(Error::new(
                Kind::Input,
                "the cluster describes itself in a form that this release does not know",
            )
            .expected(format!("`schema = {SCHEMA}`"))
            .found(format!("`schema = {}`", text("schema")))
            .hint(format!(
                "use the release of the control plane, {}",
                text("release")
            )));
        }
        Ok(Self {
            services: value(&map, "services")?,
            pods: value(&map, "pods")?,
            dns: value(&map, "dns")?,
            cluster_domain: value(&map, "cluster_domain")?,
            cni: value(&map, "cni")?,
            mtu: value(&map, "mtu")?,
            vxlan_port: value(&map, "vxlan_port")?,
            authorities: text(AUTHORITIES).to_owned(),
            without: text("without")
                .split(',')
                .filter_map(|word| word.parse().ok())
                .collect(),
            kubernetes: text("kubernetes").to_owned(),
            date: answer.date.clone(),
        })
    }

    /// What this machine is to trust: the authority that the server has proved to have, and others that the cluster names
    /// while it replaces that one.
    pub(super) fn trusted(&self, proved: &Authority) -> Result<Authority> {
        if self.authorities.is_empty() {
            return Ok(proved.clone());
        }
        Authority::parse(&self.authorities)
    }

    /// Fails if this bundle's kubelet does not fit the API server: it must not be newer, and at most three minor versions older
    /// (Kubernetes documentation, "Version Skew Policy"). Versions that are not known are not compared.
    pub(super) fn check_versions(&self, manifest: &Manifest) -> Result<()> {
        let kubelet = manifest.component_with("bin/kubelet");
        let kubelet = kubelet.map_or_else(String::new, |c| c.version.to_string());
        skew(&kubelet, &self.kubernetes)
    }

    /// Fails if this bundle's control plane does not fit the present one: both must have the same minor version.
    pub(super) fn check_same_version(&self, manifest: &Manifest) -> Result<()> {
        let own = Versions::of(manifest).kubernetes;
        match (minor(&own), minor(&self.kubernetes)) {
            (Some(own), Some(theirs)) if own != theirs => {}
            _ => return Ok(()),
        }
        Err(Error::new(
            Kind::Usage,
            "this bundle's control plane does not fit the cluster's",
        )
        .expected(format!("Kubernetes {}", self.kubernetes))
        .found(own)
        .hint("use the release of the first control plane here; all of them are upgraded one after the other"))
    }
}

/// The major and the minor version of Kubernetes.
fn minor(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.trim_start_matches('v').split('.');
    let major = parts.next()?.parse().ok()?;
    Some((major, parts.next()?.parse().ok()?))
}

fn skew(kubelet: &str, api: &str) -> Result<()> {
    let (Some((major, own)), Some((of_api, theirs))) = (minor(kubelet), minor(api)) else {
        return Ok(());
    };
    if major == of_api && own <= theirs && own + 3 >= theirs {
        return Ok(());
    }
    let hint = if own > theirs {
        "upgrade the machine with the control plane first, or use its release here"
    } else {
        "use the release of the control plane here"
    };
    Err(Error::new(
        Kind::Usage,
        "this bundle's kubelet does not fit the cluster's API server",
    )
    .expected(format!(
        "Kubernetes {of_api}.{theirs}, or up to three minor versions older"
    ))
    .found(format!("kubelet {kubelet}"))
    .hint(hint))
}

/// One value of the description.
fn value<T: std::str::FromStr>(map: &Value, key: &str) -> Result<T> {
    let text = map["data"][key].as_str().unwrap_or_default();
    text.parse().map_err(|_| {
        Error::new(
            Kind::Input,
            format!("the cluster's description has a bad `{key}`"),
        )
        .found(format!("`{text}`"))
        .hint(format!(
            "on the machine with the control plane, run `usernetes install`, which writes the configuration map {CLUSTER} anew"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::components::joining::description;
    use crate::config::Config;

    fn answer(map: &Value) -> Answer {
        Answer {
            status: 200,
            body: map.to_string(),
            date: "now".to_owned(),
        }
    }

    #[test]
    fn the_description_is_read_as_it_is_written() {
        let mut config = Config::new(DnsName::new("a").unwrap(), Cni::Flannel);
        config.machines.mtu = 1400;
        let map = description(&config, "1.36.2", "0.2.0", "");
        let found = Found::read(&answer(&map)).unwrap();
        let network = config.network;
        assert_eq!(
            (found.services, found.pods, found.dns),
            (network.services, network.pods, network.dns)
        );
        assert_eq!((found.mtu, found.cni), (1400, Cni::Flannel));
        assert_eq!(found.kubernetes, "1.36.2");
        let mut later = map.clone();
        later["data"]["schema"] = "2".into();
        let error = Found::read(&answer(&later)).unwrap_err();
        insta::assert_snapshot!(error, @r"
        the cluster describes itself in a form that this release does not know
          expected  `schema = 1`
          found     `schema = 2`

        hint: use the release of the control plane, 0.2.0
        ");
        let mut bad = map;
        bad["data"]["pods"] = "everything".into();
        let error = Found::read(&answer(&bad)).unwrap_err().to_string();
        assert!(error.contains("has a bad `pods`"), "{error}");
    }

    #[test]
    fn a_kubelet_is_not_newer_than_the_api_server() {
        for kubelet in ["1.36.2", "v1.33.0", ""] {
            skew(kubelet, "1.36.1").unwrap();
        }
        for kubelet in ["1.37.0", "1.32.9", "2.0.0"] {
            assert!(skew(kubelet, "1.36.1").is_err(), "{kubelet}");
        }
    }
}
