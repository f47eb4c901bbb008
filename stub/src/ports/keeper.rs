//! Compares the ports that are wanted with those that are open.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::record::{Entry, Record};
use crate::config::{Config, PortSpec};
use crate::error::Result;
use crate::layout::Layout;
use crate::process::say;
use crate::rootlesskit::{OpenPort, Rootlesskit};

/// A port that somebody wants to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wish {
    /// The port.
    pub(crate) port: PortSpec,
    /// The object that wants it, such as `service default/web`; empty for the configuration.
    pub(crate) owner: String,
}

impl Wish {
    /// The wishes of a configuration.
    pub(crate) fn of(config: &Config) -> Vec<Self> {
        let wish = |port: &PortSpec| Self {
            port: *port,
            owner: String::new(),
        };
        config.all_ports().iter().map(wish).collect()
    }
}

/// Keeps ports open, and remembers which of those that are open it looks after.
#[derive(Debug)]
pub(crate) struct Keeper {
    layout: Layout,
    rootlesskit: Rootlesskit,
    record: Record,
}

impl Keeper {
    /// The keeper of an installation. It goes on with the ports that an earlier one has left open.
    pub(crate) fn new(layout: &Layout) -> Self {
        Self {
            layout: layout.clone(),
            rootlesskit: Rootlesskit::of(layout),
            record: Record::read(layout),
        }
    }

    /// The record of the last comparison.
    pub(crate) fn record(&self) -> &Record {
        &self.record
    }

    /// The open ports of services and pods, as wishes: they stay until it is known which of these objects are still there.
    pub(crate) fn remembered(&self) -> Vec<Wish> {
        let of_objects = |entry: &&Entry| entry.open && !entry.owner.is_empty();
        let entries = self.record.ports.iter().filter(of_objects);
        let wish = |entry: &Entry| {
            Some(Wish {
                port: entry.spec()?,
                owner: entry.owner.clone(),
            })
        };
        entries.filter_map(wish).collect()
    }

    /// Remembers which services have an address of ours in their status, and the reason why services are not published.
    pub(crate) fn note(&mut self, addressed: BTreeSet<String>, trouble: String) -> Result<()> {
        let new = Record {
            ports: self.record.ports.clone(),
            addressed,
            trouble,
        };
        if self.record != new {
            if self.record.trouble != new.trouble && !new.trouble.is_empty() {
                say(format!("services are not published: {}", new.trouble));
            }
            self.record = new;
            self.record.write(&self.layout)?;
        }
        Ok(())
    }

    /// Opens the ports that are wanted and not open, closes those that nobody wants any more, and records the outcome.
    /// If two wishes need the same port of the host, the first has it. Ports that somebody else has opened stay.
    pub(crate) fn compare(&mut self, wishes: &[Wish], node_ip: Ipv4Addr) -> Result<()> {
        let ports = match self.rootlesskit.ports() {
            Ok(open) => self.adjust(wishes, open, node_ip),
            Err(error) => {
                let why = error.message().to_owned();
                let entry = |wish| entry(wish, Err(why.clone()));
                wishes.iter().map(entry).collect()
            }
        };
        self.tell(&ports);
        if self.record.ports != ports {
            self.record.ports = ports;
            self.record.write(&self.layout)?;
        }
        Ok(())
    }

    fn adjust(&self, wishes: &[Wish], open: Vec<OpenPort>, node_ip: Ipv4Addr) -> Vec<Entry> {
        let same = |a: &PortSpec, b: &PortSpec| a.is_same_way(b, node_ip);
        let is_ours = |port: &PortSpec| {
            let mut kept = self.record.ports.iter().filter(|entry| entry.open);
            kept.any(|entry| entry.spec().is_some_and(|ours| same(&ours, port)))
        };
        let (needless, open): (Vec<_>, Vec<_>) = open.into_iter().partition(|open| {
            is_ours(&open.port) && !wishes.iter().any(|wish| same(&wish.port, &open.port))
        });
        for OpenPort { id, port } in needless {
            // If this fails, the port is in the way of nothing but itself, and closes with RootlessKit.
            if let Err(error) = self.rootlesskit.remove(id) {
                say(format!("cannot close {port}: {}", error.message()));
            }
        }
        let outcome = |(index, wish): (usize, &Wish)| {
            let port = &wish.port;
            if let Some(first) = wishes[..index].iter().find(|w| w.port.collides_with(port)) {
                return Err(format!("{} has this port", first.name()));
            }
            if open.iter().any(|open| same(&open.port, port)) {
                return Ok(());
            }
            let added = self.rootlesskit.add_port(port, node_ip);
            added.map_err(|error| {
                error
                    .message()
                    .trim_start_matches("RootlessKit: ")
                    .to_owned()
            })
        };
        let wishes = wishes.iter().enumerate();
        wishes
            .map(|(index, wish)| entry(wish, outcome((index, wish))))
            .collect()
    }

    /// Writes what has changed to the journal.
    fn tell(&self, ports: &[Entry]) {
        let before = &self.record.ports;
        for entry in ports.iter().filter(|entry| !before.contains(entry)) {
            if entry.open {
                say(format!("{} is published", entry.shown()));
            } else {
                let why = &entry.why;
                say(format!("{} is not published yet: {why}", entry.shown()));
            }
        }
        let gone = |old: &&Entry| old.open && !ports.iter().any(|new| new.port == old.port);
        for entry in before.iter().filter(gone) {
            say(format!("{} is not published any more", entry.shown()));
        }
    }
}

impl Wish {
    /// Its name for people.
    fn name(&self) -> String {
        match self.owner.as_str() {
            "" => format!("`{}` of the configuration", self.port),
            owner => owner.to_owned(),
        }
    }
}

fn entry(wish: &Wish, outcome: std::result::Result<(), String>) -> Entry {
    Entry {
        port: wish.port.to_string(),
        owner: wish.owner.clone(),
        open: outcome.is_ok(),
        why: outcome.err().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rootlesskit::tests::{layout, play};

    const NODE_IP: Ipv4Addr = Ipv4Addr::new(10, 0, 42, 100);

    fn wish(port: &str, owner: &str) -> Wish {
        Wish {
            port: port.parse().unwrap(),
            owner: owner.to_owned(),
        }
    }

    fn shown(keeper: &Keeper) -> Vec<String> {
        let entries = Record::read(&keeper.layout).ports;
        assert_eq!(entries, keeper.record().ports);
        let line = |entry: &Entry| format!("{} {}", entry.shown(), entry.why).trim().to_owned();
        entries.iter().map(line).collect()
    }

    #[test]
    fn a_taken_port_is_published_when_it_becomes_free_and_holds_up_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let played = play(&layout);
        played.lock().unwrap().taken.push(8080);
        let mut keeper = Keeper::new(&layout);
        let wishes = [
            wish("127.0.0.1:8080:80/tcp", ""),
            wish("0.0.0.0:30080:30080/tcp", ""),
        ];
        for _ in 0..2 {
            keeper.compare(&wishes, NODE_IP).unwrap();
            assert_eq!(
                shown(&keeper),
                [
                    "127.0.0.1:8080:80/tcp listen tcp4 :8080: bind: address already in use",
                    "0.0.0.0:30080:30080/tcp"
                ]
            );
        }
        played.lock().unwrap().taken.clear();
        keeper.compare(&wishes, NODE_IP).unwrap();
        assert_eq!(
            shown(&keeper),
            ["127.0.0.1:8080:80/tcp", "0.0.0.0:30080:30080/tcp"]
        );
        let asked = played.lock().unwrap().asked.len();
        // What is open stays as it is.
        keeper.compare(&wishes, NODE_IP).unwrap();
        assert_eq!(played.lock().unwrap().asked.len(), asked + 1);
    }

    #[test]
    fn it_closes_what_it_has_opened_also_after_it_was_restarted_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let played = play(&layout);
        let theirs: PortSpec = "127.0.0.1:9000:9000/tcp".parse().unwrap();
        Rootlesskit::of(&layout).add_port(&theirs, NODE_IP).unwrap();
        let api = wish("127.0.0.1:6443:6443/tcp", "");
        let web = wish("0.0.0.0:80:10.0.0.7:80/tcp", "service default/web");
        Keeper::new(&layout)
            .compare(&[api.clone(), web], NODE_IP)
            .unwrap();
        assert_eq!(played.lock().unwrap().ports.len(), 3);
        let mut keeper = Keeper::new(&layout);
        keeper.compare(&[api], NODE_IP).unwrap();
        let left: Vec<_> = Rootlesskit::of(&layout)
            .ports()
            .unwrap()
            .iter()
            .map(|open| open.port.port.get())
            .collect();
        assert_eq!(left, [9000, 6443]);
        assert_eq!(shown(&keeper), ["127.0.0.1:6443:6443/tcp"]);
    }

    #[test]
    fn of_two_wishes_for_a_port_the_first_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        let played = play(&layout);
        let mut keeper = Keeper::new(&layout);
        let wishes = [
            wish("127.0.0.1:80:80/tcp", ""),
            wish("0.0.0.0:80:10.0.0.7:80/tcp", "service default/web"),
        ];
        keeper.compare(&wishes, NODE_IP).unwrap();
        assert_eq!(
            shown(&keeper),
            [
                "127.0.0.1:80:80/tcp",
                "0.0.0.0:80:10.0.0.7:80/tcp (service default/web) `127.0.0.1:80:80/tcp` of the configuration has this port"
            ]
        );
        assert_eq!(played.lock().unwrap().ports.len(), 1);
    }

    #[test]
    fn without_rootlesskit_nothing_is_open() {
        let dir = tempfile::tempdir().unwrap();
        let layout = layout(dir.path());
        fs_err::create_dir_all(layout.runtime_dir()).unwrap();
        let mut keeper = Keeper::new(&layout);
        keeper
            .compare(&[wish("127.0.0.1:80:80/tcp", "")], NODE_IP)
            .unwrap();
        assert_eq!(keeper.record().waiting().count(), 1);
    }
}
