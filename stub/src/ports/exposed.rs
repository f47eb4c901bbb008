//! Objects of the cluster that ask for ports of the node, and what is written into the status of services.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU16;

use serde_json::{Value, json};

use super::keeper::Wish;
use crate::config::{PortSpec, Proto};

/// The class of load balancers that are ours even if a service names it. Services without a class are ours, too.
const CLASS: &str = "usernetes/host";

/// A service or a pod that asks for ports of the node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exposed {
    /// Its kind and name, such as `service default/web`.
    owner: String,
    /// When it was created. Of two that ask for the same port, the older one has it.
    created: String,
    ports: Vec<Port>,
    /// Set for a service of the type `LoadBalancer`: the addresses in its status.
    ingress: Option<Value>,
}

/// A port of the node that leads to a port in the namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_field_names, reason = "they are those of `PortSpec`")]
struct Port {
    /// Whether only programs of this machine may use it.
    loopback: bool,
    port: NonZeroU16,
    child_ip: Option<Ipv4Addr>,
    child_port: NonZeroU16,
    proto: Proto,
}

impl Exposed {
    /// Reads a service; `None` if it asks for no port of the node.
    pub(crate) fn of_service(service: &Value) -> Option<Self> {
        let spec = &service["spec"];
        let balances = match spec["type"].as_str()? {
            "NodePort" => false,
            "LoadBalancer" => spec["loadBalancerClass"]
                .as_str()
                .is_none_or(|c| c == CLASS),
            _ => return None,
        };
        let cluster_ip = spec["clusterIP"].as_str().and_then(|ip| ip.parse().ok());
        let ports = spec["ports"].as_array()?.iter().filter_map(|port| {
            let (own, node) = (number(&port["port"])?, number(&port["nodePort"]));
            let (child_ip, child_port) = match node {
                Some(node) => (None, node),
                None => (Some(cluster_ip?), own),
            };
            Some(Port {
                loopback: false,
                port: if balances { own } else { node? },
                child_ip,
                child_port,
                proto: proto(port)?,
            })
        });
        let ingress = &service["status"]["loadBalancer"]["ingress"];
        Some(Self {
            owner: format!("service {}", name(service)),
            created: created(service),
            ports: ports.collect(),
            ingress: balances.then(|| ingress.clone()),
        })
    }

    /// Reads a pod; `None` if it asks for no port of the node, or has ended.
    pub(crate) fn of_pod(pod: &Value) -> Option<Self> {
        if matches!(
            pod["status"]["phase"].as_str(),
            Some("Succeeded" | "Failed")
        ) {
            return None;
        }
        let containers = pod["spec"]["containers"].as_array()?.iter();
        let ports = containers.flat_map(|c| c["ports"].as_array().into_iter().flatten());
        let ports = ports.filter_map(|port| {
            let number = number(&port["hostPort"])?;
            let ip: Option<Ipv4Addr> = port["hostIP"].as_str().and_then(|ip| ip.parse().ok());
            let loopback = ip.filter(Ipv4Addr::is_loopback);
            Some(Port {
                loopback: loopback.is_some(),
                port: number,
                child_ip: loopback,
                child_port: number,
                proto: proto(port)?,
            })
        });
        let ports: Vec<_> = ports.collect();
        (!ports.is_empty()).then(|| Self {
            owner: format!("pod {}", name(pod)),
            created: created(pod),
            ports,
            ingress: None,
        })
    }

    /// The order in which ports are given away.
    pub(crate) fn order(&self) -> (&str, &str) {
        (&self.created, &self.owner)
    }

    /// Its wishes, at an address of this machine.
    pub(crate) fn wishes(&self, ip: Ipv4Addr) -> impl Iterator<Item = Wish> {
        self.ports.iter().map(move |port| Wish {
            port: PortSpec {
                ip: IpAddr::V4(if port.loopback {
                    Ipv4Addr::LOCALHOST
                } else {
                    ip
                }),
                port: port.port,
                child_ip: port.child_ip,
                child_port: port.child_port,
                proto: port.proto,
            },
            owner: self.owner.clone(),
        })
    }

    /// The status that it should have; `None` if it has it, or if its status is not ours. `open` is whether one of its ports
    /// is open, `ours` whether the addresses that it has now were written by us.
    pub(crate) fn status(&self, open: bool, ours: bool, host: Ipv4Addr) -> Option<Status> {
        let present = self.ingress.as_ref()?;
        let addresses = match (open, host.is_loopback()) {
            (false, _) => Value::Null,
            // An address here would lead pods to themselves.
            (true, true) => json!([{ "hostname": "localhost" }]),
            (true, false) => json!([{ "ip": host }]),
        };
        let same = || {
            let first = |list: &Value| (list[0]["ip"].clone(), list[0]["hostname"].clone());
            let count = |list: &Value| list.as_array().map_or(0, Vec::len);
            count(present) == count(&addresses) && first(present) == first(&addresses)
        };
        let foreign = addresses.is_null() && !ours;
        (!foreign && !same()).then(|| Status {
            owner: self.owner.clone(),
            addresses,
        })
    }

    /// Its kind and name.
    pub(crate) fn owner(&self) -> &str {
        &self.owner
    }
}

/// The addresses that a service should have in its status.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Status {
    /// The service, such as `service default/web`.
    pub(crate) owner: String,
    /// The list of addresses; null for none.
    pub(crate) addresses: Value,
}

impl Status {
    /// No address any more.
    pub(crate) fn none(owner: &str) -> Self {
        Self {
            owner: owner.to_owned(),
            addresses: Value::Null,
        }
    }

    /// The path of the status, and the merge patch that sets it.
    pub(crate) fn patch(&self) -> Option<(String, String)> {
        let (namespace, name) = self.owner.strip_prefix("service ")?.split_once('/')?;
        let path = format!("/api/v1/namespaces/{namespace}/services/{name}/status");
        let patch = json!({ "status": { "loadBalancer": { "ingress": self.addresses } } });
        Some((path, patch.to_string()))
    }
}

fn number(value: &Value) -> Option<NonZeroU16> {
    u16::try_from(value.as_u64()?).ok()?.try_into().ok()
}

/// The protocol of a port; `None` if RootlessKit's port driver does not know it.
fn proto(port: &Value) -> Option<Proto> {
    match port["protocol"].as_str() {
        None | Some("TCP") => Some(Proto::Tcp),
        Some("UDP") => Some(Proto::Udp),
        Some(_) => None,
    }
}

fn name(object: &Value) -> String {
    let text = |name: &str| {
        object["metadata"][name]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    format!("{}/{}", text("namespace"), text("name"))
}

fn created(object: &Value) -> String {
    let time = object["metadata"]["creationTimestamp"].as_str();
    time.unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(kind: &str, more: &Value) -> Value {
        let mut service = json!({
            "metadata": { "namespace": "default", "name": "web", "creationTimestamp": "2026-11-27T00:00:00Z" },
            "spec": {
                "type": kind,
                "clusterIP": "10.0.0.7",
                "ports": [
                    { "port": 80, "nodePort": 30080, "protocol": "TCP" },
                    { "port": 53, "nodePort": 30053, "protocol": "UDP" },
                    { "port": 9, "nodePort": 30009, "protocol": "SCTP" },
                ],
            },
        });
        for (key, value) in more.as_object().unwrap() {
            service["spec"][key] = value.clone();
        }
        service
    }

    fn shown(exposed: Option<&Exposed>) -> String {
        let wishes = exposed
            .into_iter()
            .flat_map(|e| e.wishes([192, 0, 2, 7].into()));
        let lines = wishes.map(|w| format!("{} {}", w.port, w.owner));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn services_ask_for_ports_according_to_their_type() {
        let of =
            |kind: &str, more: Value| shown(Exposed::of_service(&service(kind, &more)).as_ref());
        assert_eq!(of("ClusterIP", json!({})), "");
        insta::assert_snapshot!(of("NodePort", json!({})), @r"
        192.0.2.7:30080:30080/tcp service default/web
        192.0.2.7:30053:30053/udp service default/web
        ");
        insta::assert_snapshot!(of("LoadBalancer", json!({})), @r"
        192.0.2.7:80:30080/tcp service default/web
        192.0.2.7:53:30053/udp service default/web
        ");
        let without = json!({ "ports": [{ "port": 80 }] });
        insta::assert_snapshot!(of("LoadBalancer", without), @"192.0.2.7:80:10.0.0.7:80/tcp service default/web");
        // That of another controller still has its node ports.
        let class = json!({ "loadBalancerClass": "example.org/lb" });
        let other = Exposed::of_service(&service("LoadBalancer", &class)).unwrap();
        assert!(shown(Some(&other)).starts_with("192.0.2.7:30080:"));
        assert_eq!(other.status(true, true, [192, 0, 2, 7].into()), None);
    }

    #[test]
    fn pods_ask_for_their_host_ports_while_they_live() {
        let mut pod = json!({
            "metadata": { "namespace": "a", "name": "p" },
            "spec": { "containers": [
                { "name": "x" },
                { "ports": [{ "containerPort": 80 }, { "containerPort": 80, "hostPort": 8080 }] },
                { "ports": [{ "containerPort": 53, "hostPort": 5353, "hostIP": "127.0.0.1", "protocol": "UDP" }] },
            ] },
            "status": { "phase": "Running" },
        });
        insta::assert_snapshot!(shown(Exposed::of_pod(&pod).as_ref()), @r"
        192.0.2.7:8080:8080/tcp pod a/p
        127.0.0.1:5353:127.0.0.1:5353/udp pod a/p
        ");
        pod["status"]["phase"] = "Succeeded".into();
        assert_eq!(Exposed::of_pod(&pod), None);
    }

    #[test]
    fn the_status_has_the_address_while_a_port_is_open() {
        let host = Ipv4Addr::new(192, 0, 2, 7);
        let mut object = service("LoadBalancer", &json!({}));
        let of = |object: &Value| Exposed::of_service(object).unwrap();
        let new = of(&object).status(true, false, host).unwrap();
        assert_eq!(
            new.patch().unwrap(),
            (
                "/api/v1/namespaces/default/services/web/status".to_owned(),
                r#"{"status":{"loadBalancer":{"ingress":[{"ip":"192.0.2.7"}]}}}"#.to_owned()
            )
        );
        assert_eq!(of(&object).status(false, true, host), None);
        // As the API server returns it.
        object["status"]["loadBalancer"]["ingress"] =
            json!([{ "ip": "192.0.2.7", "ipMode": "VIP" }]);
        assert_eq!(of(&object).status(true, true, host), None);
        let gone = of(&object).status(false, true, host).unwrap();
        assert!(gone.patch().unwrap().1.contains("null"));
        // Somebody else wrote it.
        assert_eq!(of(&object).status(false, false, host), None);
        let local = of(&object).status(true, true, Ipv4Addr::LOCALHOST).unwrap();
        assert_eq!(local.addresses, json!([{ "hostname": "localhost" }]));
        assert_eq!(
            of(&service("NodePort", &json!({}))).status(true, true, host),
            None
        );
    }
}
