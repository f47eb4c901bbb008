//! The cluster's health, layer by layer, up to the first layer that does not work: those above it cannot work either.

mod facts;
mod report;
mod wait;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use serde::Serialize;

use crate::api::{Health, dns, network_policies, node};
use crate::child::{self, Ended};
use crate::cluster::{Current, WRITE_ANEW};
use crate::config::Cri;
use crate::error::Result;
use crate::host::{ELSEWHERE, Machine, address_towards};
use crate::layout::Layout;
use crate::nodes;
use crate::ports::Record;
use crate::services::{Service, Services, UnitName};
use crate::systemd::Unit;

pub use facts::{Backups, DaysLeft, Disk, Facts, LATE_AUTHORITY};
pub use report::Report;
pub use wait::wait;

/// How many lines of a log explain a layer that does not work.
const LOG_LINES: u32 = 10;

/// The health of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It works.
    Ok,
    /// It works, but not as somebody may expect.
    Warning,
    /// It is starting.
    Starting,
    /// It was not started, or it was stopped.
    Stopped,
    /// It does not work.
    Broken,
}

impl State {
    /// Its word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warning => "warning",
            Self::Starting => "starting",
            Self::Stopped => "stopped",
            Self::Broken => "broken",
        }
    }
}

/// One layer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Layer {
    /// Its name.
    pub name: &'static str,
    /// Its health.
    pub state: State,
    /// The observation behind it.
    pub detail: String,
    /// The next step for the user, if there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub next: String,
    /// The unit behind it, whose log may say more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<UnitName>,
}

/// The layer that does not work, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Broken {
    /// The lowest layer that does not work.
    #[serde(flatten)]
    pub layer: Layer,
    /// The last lines that its unit has written.
    pub log: Vec<String>,
}

impl Broken {
    /// The one of these layers that does not work, if there is one. A unit that was stopped has nothing to explain.
    #[must_use]
    pub fn among(layers: &[Layer], current: &Current) -> Option<Self> {
        let layer = layers.iter().find(|layer| !layer.works())?.clone();
        let unit = layer
            .unit
            .as_ref()
            .filter(|_| layer.state != State::Stopped);
        let log = unit.and_then(|unit| Some(current.manager().ok()?.log(unit.as_str(), LOG_LINES)));
        Some(Self {
            log: log.unwrap_or_default(),
            layer,
        })
    }
}

/// The layers from the bottom up; the last is the first that does not work, or the top. One with a warning works.
pub fn layers(current: &Current) -> Result<Vec<Layer>> {
    if let Some(old) = current.moved_from()? {
        return Ok(vec![Layer {
            name: "units",
            state: State::Broken,
            detail: format!("refer to {}: the home was moved or copied", old.display()),
            next: WRITE_ANEW.to_owned(),
            unit: None,
        }]);
    }
    let services = Services::of(&current.config);
    let names = services.all_units();
    let direct = current.direct()?;
    if direct.is_none() && !current.has_units()? {
        return Ok(vec![Layer {
            name: "units",
            state: State::Stopped,
            detail: "there are none, and `usernetes run` is not running".to_owned(),
            next: "run `usernetes run`, or `usernetes install` so that your systemd runs it"
                .to_owned(),
            unit: None,
        }]);
    }
    let asked = current.manager().and_then(|manager| manager.units(&names));
    let units = match asked {
        Ok(units) => units,
        Err(error) => {
            return Ok(vec![Layer {
                name: "host",
                state: State::Broken,
                detail: error.message().to_owned(),
                next: "run `usernetes doctor`".to_owned(),
                unit: None,
            }]);
        }
    };
    let mut layers = vec![match direct {
        Some(direct) => Layer::ok(
            "units",
            format!("supervised by `usernetes run`, process {}", direct.pid()),
        ),
        None => Layer::ok("host", "your service manager answers"),
    }];
    layers.extend(of_address(
        current.config.machines.address,
        &current.machine,
    ));
    let relevant = relevant(current, &services, &units);
    for service in &relevant {
        let wanted = services.unit(*service);
        let unit = units.iter().find(|u| wanted == *u.name());
        let layer = of_unit(
            service.row().layer,
            &wanted,
            &unit.cloned().unwrap_or_default(),
        );
        if service.row().beside {
            layers.push(of_ports(layer, &current.layout));
            continue;
        }
        let well = layer.state == State::Ok;
        let runs = layer.state != State::Stopped;
        layers.push(layer);
        // Without a quorum, it does not become ready, either.
        if *service == Service::Etcd
            && runs
            && let Some(layer) = of_members(current)
        {
            let works = layer.works();
            layers.push(layer);
            if !works {
                return Ok(layers);
            }
        }
        if !well {
            return Ok(layers);
        }
        if *service == Service::Etcd
            && let Some(layer) = alarms(current)
        {
            layers.push(layer);
            return Ok(layers);
        }
        if *service == Service::ApiProxy {
            let layer = of_api_servers(current);
            let well = layer.works();
            layers.push(layer);
            if !well {
                return Ok(layers);
            }
        }
        if *service == Service::KubeApiserver && !push_answers(current, &mut layers) {
            return Ok(layers);
        }
    }
    if relevant.contains(&Service::Kubelet) && relevant.contains(&Service::KubeApiserver) {
        push_objects(current, &mut layers);
    } else if current.config.machines.is_worker() && relevant.contains(&Service::Kubelet) {
        layers.push(of_worker(current));
    }
    Ok(layers)
}

/// A layer if this machine no longer has the address at which the others reach it.
fn of_address(address: Option<Ipv4Addr>, machine: &Machine) -> Option<Layer> {
    let address = address?;
    let own = machine.addresses();
    if own.contains(&IpAddr::V4(address)) {
        return None;
    }
    let routed = address_towards(ELSEWHERE).ok().map(IpAddr::V4);
    let now = routed.filter(|a| own.contains(a)).or_else(|| {
        let mut own = own.iter();
        own.find(|a| a.is_ipv4()).copied()
    });
    let next = match now {
        Some(now) => format!(
            "if this machine's address is {now} now, run `usernetes install --address {now}`"
        ),
        None => "connect this machine to a network, or run `usernetes install --address ADDRESS` with its new address".to_owned(),
    };
    Some(Layer {
        name: "address",
        state: State::Warning,
        detail: format!("this machine has no address {address}, at which the others reach it"),
        next,
        unit: None,
    })
}

/// The layer of the API servers that a worker knows.
fn of_api_servers(current: &Current) -> Layer {
    let name = "API";
    let asked = current
        .node_api()
        .and_then(|client| Ok((client.server(), client.get("/readyz")?.status)));
    let (detail, next) = match asked {
        Ok((server, 200)) => return Layer::ok(name, format!("ready at {server}")),
        Ok((server, status)) => (
            format!("{server} answers {status}"),
            "wait, or run `usernetes status` on that machine".to_owned(),
        ),
        Err(error) => (error.message().to_owned(), MOVED.to_owned()),
    };
    Layer {
        name,
        state: State::Broken,
        detail,
        next,
        unit: None,
    }
}

/// The next step on a worker that reaches no API server.
const MOVED: &str = "look at the machine with the control plane, and at the network between the machines; if that machine has another address now, run `usernetes join --endpoint ADDRESS:6443` here";

/// The services that should run: those that the start target starts, and all others that run.
fn relevant(current: &Current, services: &Services, units: &[Unit]) -> Vec<Service> {
    let started = services.started_by(current.config.start.as_str());
    let runs = |service: Service| {
        let name = services.unit(service);
        units.iter().any(|u| name == *u.name() && !u.is_stopped())
    };
    let mut relevant: Vec<_> = services
        .iter()
        .filter(|service| started.contains(service) || runs(*service))
        .collect();
    if relevant.is_empty() {
        relevant.push(Service::Rootlesskit);
    }
    relevant
}

impl Layer {
    /// Whether the layers above it can work.
    #[must_use]
    pub fn works(&self) -> bool {
        matches!(self.state, State::Ok | State::Warning)
    }

    fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self {
            name,
            state: State::Ok,
            detail: detail.into(),
            next: String::new(),
            unit: None,
        }
    }
}

fn of_unit(name: &'static str, unit_name: &UnitName, unit: &Unit) -> Layer {
    let detail = format!("{unit_name} {}", unit.state());
    let logs = format!("run `usernetes logs {unit_name}`");
    let (state, next) = if !unit.exists() {
        (
            State::Broken,
            "run `install` again: the unit's file is missing".to_owned(),
        )
    } else if unit.is_active() {
        (State::Ok, String::new())
    } else if unit.has_failed() || unit.restarts() > 0 {
        (State::Broken, logs)
    } else if unit.is_stopped() {
        (State::Stopped, "run `usernetes start`".to_owned())
    } else {
        (State::Starting, format!("wait, or {logs}"))
    };
    Layer {
        name,
        state,
        detail,
        next,
        unit: Some(unit_name.clone()),
    }
}

/// The layer of the published ports. The cluster works without them, so it is never worse than a warning. `unit` is the
/// layer of the service that keeps them open.
fn of_ports(unit: Layer, layout: &Layout) -> Layer {
    if unit.state != State::Ok {
        let state = match unit.state {
            State::Broken => State::Warning,
            other => other,
        };
        return Layer { state, ..unit };
    }
    of_record(unit.name, &Record::read(layout))
}

fn of_record(name: &'static str, record: &Record) -> Layer {
    let all = record.ports.len();
    let waiting: Vec<_> = record.waiting().collect();
    if !record.trouble.is_empty() {
        return Layer {
            name,
            state: State::Warning,
            detail: format!("services are not published: {}", record.trouble),
            next: "run `usernetes logs ports`".to_owned(),
            unit: None,
        };
    }
    let Some(first) = waiting.first() else {
        return Layer::ok(name, format!("{all} published"));
    };
    let more = match waiting.len() - 1 {
        0 => String::new(),
        more => format!("; {more} more"),
    };
    Layer {
        name,
        state: State::Warning,
        detail: format!(
            "{} of {all} published; not {}: {}{more}",
            all - waiting.len(),
            first.shown(),
            first.why
        ),
        next: "`usernetes port list` shows all ports, and `usernetes doctor` which process has one; a port is published as soon as it is free"
            .to_owned(),
        unit: None,
    }
}

/// A layer if etcd has raised an alarm; it accepts no changes then. Nothing if it has not, or if it does not answer: then the
/// API server does not, either.
fn alarms(current: &Current) -> Option<Layer> {
    current.program("etcdctl").ok()?;
    let mut ask = current.own_command(&["etcdctl", "--command-timeout=3s", "alarm", "list"]);
    let said = child::run(&mut ask).and_then(Ended::success).ok()?;
    of_alarms(&said)
}

/// The layer for a list of alarms, with one line such as `memberID:8 alarm:NOSPACE` for each.
fn of_alarms(list: &str) -> Option<Layer> {
    let alarms = list
        .lines()
        .filter_map(|line| Some(line.split_once("alarm:")?.1.trim()));
    let alarms: BTreeSet<_> = alarms.collect();
    let next = match alarms.first()? {
        &"NOSPACE" => {
            "the database is full: delete objects that nobody needs, then run `usernetes etcdctl defrag` and `usernetes etcdctl alarm disarm`"
        }
        _ => "run `usernetes logs u7s-etcd.service`",
    };
    let names: Vec<_> = alarms.into_iter().collect();
    Some(Layer {
        name: "etcd alarms",
        state: State::Broken,
        detail: format!("{}: etcd accepts no changes", names.join(", ")),
        next: next.to_owned(),
        // Its name does not depend on the container runtime.
        unit: Some(Service::Etcd.unit(Cri::None)),
    })
}

/// The layer of etcd's members, if there are several control planes.
fn of_members(current: &Current) -> Option<Layer> {
    current.config.machines.peer_address()?;
    let own = nodes::own_member(&current.layout).ok()?;
    if own.is_some_and(|own| !own.promoted) {
        return Some(Layer {
            name: "etcd members",
            state: State::Starting,
            detail: "this machine's etcd has no vote yet".to_owned(),
            next: "wait; if no `usernetes join` is running here, run it again".to_owned(),
            unit: Some(Service::Etcd.unit(Cri::None)),
        });
    }
    let known = nodes::known_members(&current.layout, &current.config);
    let answering = nodes::answering(&current.layout, &known).ok()?;
    Some(of_answers(&known, &answering))
}

/// The layer for members of etcd, of which some answer.
fn of_answers(known: &[Ipv4Addr], answering: &[Ipv4Addr]) -> Layer {
    let (all, needed) = (known.len(), nodes::quorum(known.len()));
    let silent = known.iter().filter(|member| !answering.contains(member));
    let silent: Vec<_> = silent.map(ToString::to_string).collect();
    let mut detail = format!("{} of {all} answer", answering.len());
    if !silent.is_empty() {
        detail = format!("{detail}; not {}", silent.join(", "));
    }
    let state = if answering.len() < needed {
        let are = if needed == 1 { "is" } else { "are" };
        detail = format!("{detail}; {needed} {are} needed, so nothing can be read or written");
        State::Broken
    } else if !silent.is_empty() || all == 2 {
        State::Warning
    } else {
        State::Ok
    };
    let next = match (silent.is_empty(), all) {
        (true, 2) => nodes::TWO,
        (true, _) => "",
        _ => {
            "start the machines that do not answer, and see `usernetes status` there; 2379/tcp and 2380/tcp must be open between the control planes"
        }
    };
    Layer {
        name: "etcd members",
        state,
        detail,
        next: next.to_owned(),
        unit: (state == State::Broken).then(|| Service::Etcd.unit(Cri::None)),
    }
}

/// Whether the API server answers, on the port it is published at. Gives whether to go on.
fn push_answers(current: &Current, layers: &mut Vec<Layer>) -> bool {
    let name = "API";
    let broken = |detail: String| Layer {
        name,
        state: State::Starting,
        detail,
        next: "wait, or run `usernetes logs kube-apiserver`".to_owned(),
        unit: Some(Service::KubeApiserver.unit(current.config.cri)),
    };
    let asked = current.api().and_then(|client| {
        let answer = client.map(|client| client.get("/readyz"));
        answer.transpose()
    });
    let layer = match asked {
        Ok(None) => Layer::ok(
            name,
            "not checked, because it is not published on this machine",
        ),
        Ok(Some(answer)) if answer.status == 200 => Layer::ok(name, "ready"),
        Ok(Some(answer)) => broken(format!("answers {}", answer.status)),
        Err(error) => broken(error.message().to_owned()),
    };
    let well = layer.state == State::Ok;
    layers.push(layer);
    well
}

/// Adds the layers of the node and CoreDNS, as the API server describes them.
fn push_objects(current: &Current, layers: &mut Vec<Layer>) {
    let Ok(Some(client)) = current.api() else {
        return;
    };
    let questions: [(_, _, &dyn Fn() -> Health); 2] = [
        ("node", "Ready", &|| node(&client, &current.config, None)),
        ("DNS", "Available", &|| dns(&client, None)),
    ];
    for (name, wanted, ask) in questions {
        let found = ask();
        let Err(said) = found else {
            layers.push(Layer::ok(name, wanted.to_lowercase()));
            continue;
        };
        let kubelet = Service::Kubelet.unit(current.config.cri);
        layers.push(Layer {
            name,
            state: State::Starting,
            detail: format!("not {}: {said}", wanted.to_lowercase()),
            next: format!(
                "run `usernetes kubectl get pods --all-namespaces`, or `usernetes logs {kubelet}`"
            ),
            unit: Some(kubelet),
        });
        return;
    }
    layers.extend(of_policies(network_policies(&client)));
}

/// The layer of a worker's node, as the API server describes it to the node itself.
fn of_worker(current: &Current) -> Layer {
    let (name, kubelet) = ("node", Service::Kubelet.unit(current.config.cri));
    let (detail, next, unit) = match current.node_api() {
        Err(error) => (error.message().to_owned(), MOVED.to_owned(), None),
        Ok(client) => match node(&client, &current.config, None) {
            Ok(()) => return Layer::ok(name, "ready"),
            Err(said) => (
                format!("not ready: {said}"),
                format!("run `usernetes logs {kubelet}`"),
                Some(kubelet),
            ),
        },
    };
    Layer {
        name,
        state: State::Starting,
        detail,
        next,
        unit,
    }
}

/// A layer if there are network policies: the pod networks that a bundle brings do not enforce them.
fn of_policies(there_are: Option<bool>) -> Option<Layer> {
    there_are?.then(|| Layer {
        name: "policies",
        state: State::Warning,
        detail: "there are NetworkPolicy objects, and nothing enforces them".to_owned(),
        next: "do not rely on network policies in this cluster: every pod reaches every other pod"
            .to_owned(),
        unit: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::Entry;

    #[test]
    fn an_alarm_of_etcd_is_a_layer() {
        assert_eq!(of_alarms(""), None);
        let layer = of_alarms("memberID:10276657743932975437 alarm:NOSPACE \n").unwrap();
        assert_eq!(layer.detail, "NOSPACE: etcd accepts no changes");
        assert!(layer.next.contains("alarm disarm"), "{}", layer.next);
        assert!(!layer.works());
        let layer = of_alarms("memberID:1 alarm:CORRUPT\nmemberID:1 alarm:NOSPACE\n").unwrap();
        assert_eq!(layer.detail, "CORRUPT, NOSPACE: etcd accepts no changes");
        assert!(layer.next.contains("logs"), "{}", layer.next);
    }

    #[test]
    fn members_of_etcd_that_do_not_answer_are_named() {
        let [a, b, c] = [1, 2, 3].map(|last| Ipv4Addr::new(192, 0, 2, last));
        let shown = |known: &[Ipv4Addr], answering: &[Ipv4Addr]| {
            let layer = of_answers(known, answering);
            format!("{}: {}", layer.state.as_str(), layer.detail)
        };
        assert_eq!(shown(&[a, b, c], &[a, b, c]), "ok: 3 of 3 answer");
        assert_eq!(
            shown(&[a, b, c], &[a, c]),
            "warning: 2 of 3 answer; not 192.0.2.2"
        );
        assert_eq!(
            shown(&[a, b, c], &[c]),
            "broken: 1 of 3 answer; not 192.0.2.1, 192.0.2.2; 2 are needed, so nothing can be read or written"
        );
        let two = of_answers(&[a, b], &[a, b]);
        assert_eq!(two.next, "two members tolerate no failure; add a third");
        assert!(two.works() && two.state == State::Warning);
    }

    #[test]
    fn an_address_that_is_gone_is_a_warning_with_the_command_that_follows_it() {
        let dir = tempfile::tempdir().unwrap();
        let proc = dir.path().join("proc/net");
        fs_err::create_dir_all(&proc).unwrap();
        let trie = "     |-- 192.0.2.11\n        /32 host LOCAL\n";
        fs_err::write(proc.join("fib_trie"), trie).unwrap();
        let mut machine = Machine::this();
        machine.root = dir.path().to_owned();
        assert_eq!(of_address(None, &machine), None);
        let own = Ipv4Addr::new(192, 0, 2, 11);
        assert_eq!(of_address(Some(own), &machine), None);
        let layer = of_address(Some(Ipv4Addr::new(192, 0, 2, 10)), &machine).unwrap();
        assert!(layer.works() && layer.state == State::Warning);
        assert_eq!(
            layer.detail,
            "this machine has no address 192.0.2.10, at which the others reach it"
        );
        assert_eq!(
            layer.next,
            "if this machine's address is 192.0.2.11 now, run `usernetes install --address 192.0.2.11`"
        );
    }

    #[test]
    fn ports_that_wait_are_a_warning_that_says_why() {
        let entry = |port: &str, why: &str| Entry {
            port: port.to_owned(),
            owner: String::new(),
            open: why.is_empty(),
            why: why.to_owned(),
        };
        let mut record = Record {
            ports: vec![entry("127.0.0.1:6443:6443/tcp", "")],
            ..Record::default()
        };
        assert_eq!(of_record("ports", &record).detail, "1 published");
        record.ports.push(entry("0.0.0.0:80:80/tcp", "in use"));
        record.ports.push(entry("0.0.0.0:81:81/tcp", "in use"));
        let layer = of_record("ports", &record);
        assert!(layer.works() && layer.state == State::Warning);
        assert_eq!(
            layer.detail,
            "1 of 3 published; not 0.0.0.0:80:80/tcp: in use; 1 more"
        );
    }

    #[test]
    fn a_broken_service_beside_the_others_hides_none_of_them() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let layout = Layout::new(at("c"), at("d"), at("r"), at("g")).unwrap();
        let unit = |state| Layer {
            name: "ports",
            state,
            detail: String::new(),
            next: String::new(),
            unit: None,
        };
        assert_eq!(of_ports(unit(State::Broken), &layout).state, State::Warning);
        assert_eq!(
            of_ports(unit(State::Stopped), &layout).state,
            State::Stopped
        );
        assert_eq!(of_ports(unit(State::Ok), &layout).detail, "0 published");
    }

    #[test]
    fn policies_that_nothing_enforces_are_a_warning() {
        assert_eq!(of_policies(None), None);
        assert_eq!(of_policies(Some(false)), None);
        let layer = of_policies(Some(true)).unwrap();
        assert!(layer.works() && layer.state == State::Warning);
    }
}
