//! The machine of the cluster: what each service uses there. A service is a unit of systemd with its processes, and those of the
//! pods that it runs.

use std::collections::BTreeMap;
use std::process::Command;

use fs_err as fs;
use serde::Serialize;
use stub::child;
use stub::error::{Error, Kind, Result};

/// Reads it there, with nothing but a shell and awk.
const SCRIPT: &str = include_str!("machine.sh");
/// How many ticks of `/proc/PID/stat` are a second, on all architectures of the project.
const TICKS: f64 = 100.0;

/// What a service or process uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Usage {
    /// The memory in KiB. A page that several processes share counts for each with its part.
    pub(crate) kib: f64,
    /// The processor time in seconds: since the beginning, or of each second that was measured.
    pub(crate) cpu: f64,
}

impl Usage {
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            kib: self.kib + other.kib,
            cpu: self.cpu + other.cpu,
        }
    }

    /// Of a process of this machine; nothing if it has ended.
    pub(crate) fn of_process(id: u32) -> Self {
        let read =
            |file: &str| fs::read_to_string(format!("/proc/{id}/{file}")).unwrap_or_default();
        let memory = read("smaps_rollup");
        let part = memory.lines().find_map(|line| line.strip_prefix("Pss:"));
        let part = part.and_then(|rest| rest.split_whitespace().next()?.parse().ok());
        Self {
            kib: part.unwrap_or(0.0),
            cpu: ticks(&read("stat")).unwrap_or(0.0) / TICKS,
        }
    }
}

/// The processor time of a process. Its name, in brackets, may contain anything.
fn ticks(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest
        .split(' ')
        .skip(11)
        .map(|field| field.parse::<f64>().ok());
    Some(fields.next()?? + fields.next()??)
}

/// What the machine did between two moments.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Load {
    pub(crate) services: BTreeMap<String, Usage>,
    /// How many processors had nothing to do.
    pub(crate) idle: f64,
    /// How much memory is left, in KiB.
    pub(crate) available_kib: f64,
}

/// Processor times at a moment.
#[derive(Debug)]
pub(crate) struct Moment(Numbers);

impl Moment {
    /// Whether no service runs.
    pub(crate) fn is_empty(&self) -> bool {
        !self.0.keys().any(|(kind, _)| kind == "usec")
    }
}

/// The numbers of the script, by their first two words.
type Numbers = BTreeMap<(String, String), f64>;

/// How to read it there.
#[derive(Debug)]
pub(crate) struct Machine {
    on: Vec<String>,
}

impl Machine {
    /// This machine, or the one that this command reaches.
    pub(crate) fn new(on: Option<&str>) -> Self {
        let words = on.unwrap_or_default().split_whitespace();
        Self {
            on: words.map(str::to_owned).collect(),
        }
    }

    /// The beginning of a load.
    pub(crate) fn begin(&self) -> Result<Moment> {
        self.read("cpu").map(Moment)
    }

    /// The load since its beginning.
    pub(crate) fn end(&self, begin: &Moment) -> Result<Load> {
        let end = self.read("cpu")?;
        Ok(load(&begin.0, &end, &self.read("memory")?))
    }

    fn read(&self, what: &str) -> Result<Numbers> {
        let mut words = self.on.iter().map(String::as_str).chain(["sh", "-s", what]);
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words);
        let text = child::run_with(&mut command, SCRIPT)?.success()?;
        numbers(&text).ok_or_else(|| {
            Error::new(Kind::Failed, "what the services use cannot be read").found(text)
        })
    }
}

fn numbers(text: &str) -> Option<Numbers> {
    let number = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        let key = (words.next()?, words.next()?);
        Some((key, words.next()?.parse().ok()?))
    };
    text.lines().map(number).collect()
}

fn load(begin: &Numbers, end: &Numbers, memory: &Numbers) -> Load {
    let get = |numbers: &Numbers, kind: &str, name: &str| {
        let key = (kind.to_owned(), name.to_owned());
        numbers.get(&key).copied().unwrap_or(0.0)
    };
    let since = |kind: &str, name: &str| get(end, kind, name) - get(begin, kind, name);
    let seconds = since("machine", "clock").max(0.01);
    let services = memory.iter().filter(|((kind, _), _)| kind == "kib");
    let services = services.map(|((_, name), kib)| {
        let cpu = since("usec", name) / 1e6 / seconds;
        (name.clone(), Usage { kib: *kib, cpu })
    });
    Load {
        services: services.collect(),
        idle: since("machine", "idle") / seconds,
        available_kib: get(memory, "machine", "available"),
    }
}

#[cfg(test)]
mod tests {
    use support::program::write_program;

    use super::*;

    #[test]
    fn a_load_is_the_difference_of_two_moments() {
        let begin = numbers("usec etcd 1000000\nmachine idle 10\nmachine clock 100.0").unwrap();
        let end = numbers("usec etcd 6000000\nmachine idle 25\nmachine clock 110.0").unwrap();
        let memory = numbers("kib etcd 2048\nmachine available 4096").unwrap();
        let load = load(&begin, &end, &memory);
        assert_eq!(
            load.services["etcd"],
            Usage {
                kib: 2048.0,
                cpu: 0.5
            }
        );
        assert_eq!((load.idle, load.available_kib), (1.5, 4096.0));
    }

    #[test]
    fn this_machine_can_be_read() {
        let machine = Machine::new(None);
        let load = machine.end(&machine.begin().unwrap()).unwrap();
        assert!(load.available_kib > 0.0);
    }

    #[test]
    fn another_machine_is_read_by_a_command() {
        let dir = tempfile::tempdir().unwrap();
        let ssh = dir.path().join("ssh");
        let there = "#!/bin/sh\n[ \"$*\" = 'me@there sh -s cpu' ] && grep -q smaps_rollup && echo \"$WORDS\"";
        write_program(&ssh, there.replace("$WORDS", "usec etcd 5"));
        let machine = Machine::new(Some(&format!("{} me@there", ssh.display())));
        assert_eq!(machine.begin().unwrap().0.len(), 1);
        write_program(&ssh, there.replace("$WORDS", "Welcome!"));
        let error = machine.begin().unwrap_err();
        assert_eq!(error.message(), "what the services use cannot be read");
        write_program(&ssh, "#!/bin/sh\necho refused >&2\nexit 255\n");
        assert!(machine.begin().unwrap_err().to_string().contains("refused"));
    }

    #[test]
    fn a_process_uses_memory_and_time() {
        assert!(Usage::of_process(std::process::id()).kib > 0.0);
        assert_eq!(Usage::of_process(u32::MAX), Usage::default());
        assert_eq!(
            ticks("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 120 30 0"),
            Some(150.0)
        );
        assert_eq!(ticks("7"), None);
    }
}
