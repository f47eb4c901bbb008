//! What was measured, as a table and for other programs.

use std::collections::BTreeSet;

use serde::Serialize;
use stub::error::Result;

use crate::calls::{Call, Calls};
use crate::machine::{Load, Usage};

/// How many nodes or pods of a step got there, and how long that took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Reached {
    pub(crate) wanted: usize,
    pub(crate) found: usize,
    pub(crate) seconds: f64,
}

impl Reached {
    pub(crate) fn all(self) -> bool {
        self.found >= self.wanted
    }

    fn cell(self) -> String {
        let seconds = format!("{:.0}", self.seconds);
        if self.all() {
            return seconds;
        }
        format!("{} after {seconds}", self.found)
    }
}

/// One step.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Step {
    pub(crate) nodes: Reached,
    pub(crate) pods: Reached,
    /// How many nodes were ready after the measurement.
    pub(crate) ready_at_the_end: usize,
    pub(crate) calls: Calls,
    pub(crate) load: Load,
    /// What the hollow nodes themselves use.
    pub(crate) hollow: Usage,
    pub(crate) etcd_bytes: f64,
    /// Processes of hollow nodes that have ended by themselves.
    pub(crate) ended: Vec<String>,
}

impl Step {
    /// Why one machine was not enough; nothing if it was.
    pub(crate) fn shortcomings(&self) -> Vec<String> {
        let mut why = Vec::new();
        for (what, reached) in [("nodes were ready", self.nodes), ("pods ran", self.pods)] {
            if !reached.all() {
                let Reached {
                    found,
                    wanted,
                    seconds,
                } = reached;
                why.push(format!("{found} of {wanted} {what} after {seconds:.0} s"));
            }
        }
        if self.nodes.all() && self.ready_at_the_end < self.nodes.wanted {
            let (found, wanted) = (self.ready_at_the_end, self.nodes.wanted);
            why.push(format!(
                "{found} of {wanted} nodes were still ready at the end"
            ));
        }
        for (call, times) in &self.calls.times {
            if times.p99 > call.promise() {
                why.push(format!("{} took {:.0} ms", name(*call), times.p99));
            }
        }
        if let Some(first) = self.calls.failed.first() {
            why.push(format!(
                "calls failed: {}, the first: {first}",
                self.calls.failed.len()
            ));
        }
        if let Some(first) = self.ended.first() {
            why.push(format!(
                "hollow nodes ended: {}, the first: {first}",
                self.ended.len()
            ));
        }
        why
    }
}

/// All steps.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) steps: Vec<Step>,
}

fn name(call: Call) -> &'static str {
    match call {
        Call::Get => "GET a pod",
        Call::Write => "write",
        Call::ListNamespace => "LIST a namespace",
        Call::ListAll => "LIST all pods",
    }
}

fn megabytes(kib: f64) -> String {
    format!("{:.0}", kib * 1024.0 / 1e6)
}

fn usage(usage: Usage) -> String {
    format!("{} / {:.2}", megabytes(usage.kib), usage.cpu)
}

impl Report {
    /// Two tables with a row for each step, and where one machine was not enough.
    pub(crate) fn markdown(&self) -> String {
        let mut text = markdown(&self.whole());
        text += "\nMemory in MB / processors of each service:\n\n";
        text += &markdown(&self.by_service());
        for step in &self.steps {
            let why = step.shortcomings();
            if !why.is_empty() {
                let nodes = step.nodes.wanted;
                text += &format!(
                    "\nwith {nodes} nodes, one machine is not enough: {}\n",
                    why.join("; ")
                );
            }
        }
        text
    }

    fn whole(&self) -> Vec<Vec<String>> {
        let mut head: Vec<String> = ["nodes", "pods", "s until Ready", "s until running"]
            .map(str::to_owned)
            .into();
        head.extend(Call::ALL.iter().map(|call| format!("{}, ms", name(*call))));
        let more = [
            "etcd, MB",
            "cluster",
            "idle processors",
            "MB available",
            "hollow nodes",
        ];
        head.extend(more.map(str::to_owned));
        let mut rows = vec![head];
        for step in &self.steps {
            let mut row = vec![step.nodes.wanted.to_string(), step.pods.wanted.to_string()];
            row.extend([step.nodes.cell(), step.pods.cell()]);
            row.extend(Call::ALL.iter().map(|call| {
                let times = step.calls.times.get(call);
                times.map_or_else(
                    || "–".to_owned(),
                    |times| format!("{:.0} / {:.0}", times.p50, times.p99),
                )
            }));
            let services = step.load.services.values().copied();
            row.extend([
                format!("{:.0}", step.etcd_bytes / 1e6),
                usage(services.fold(Usage::default(), Usage::plus)),
                format!("{:.1}", step.load.idle),
                megabytes(step.load.available_kib),
                usage(step.hollow),
            ]);
            rows.push(row);
        }
        rows
    }

    fn by_service(&self) -> Vec<Vec<String>> {
        let names: BTreeSet<_> = self
            .steps
            .iter()
            .flat_map(|step| step.load.services.keys())
            .collect();
        let mut rows = vec![vec!["nodes".to_owned()]];
        rows[0].extend(names.iter().map(|name| (*name).clone()));
        for step in &self.steps {
            let mut row = vec![step.nodes.wanted.to_string()];
            let cell = |name: &&String| {
                step.load
                    .services
                    .get(*name)
                    .copied()
                    .map_or_else(String::new, usage)
            };
            row.extend(names.iter().map(cell));
            rows.push(row);
        }
        rows
    }

    /// For other programs.
    pub(crate) fn json(&self) -> Result<String> {
        let steps = self.steps.iter().map(|step| {
            let mut value = serde_json::to_value(step)?;
            value["shortcomings"] = step.shortcomings().into();
            Ok(value)
        });
        let steps: serde_json::Result<Vec<_>> = steps.collect();
        let text = steps.and_then(|steps| serde_json::to_string_pretty(&steps));
        Ok(text.map_err(std::io::Error::from)? + "\n")
    }
}

/// A table in Markdown. The first row is its head.
fn markdown(rows: &[Vec<String>]) -> String {
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        text += &format!("| {} |\n", row.join(" | "));
        if number == 0 {
            text += &format!("|{}\n", "---:|".repeat(row.len()));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calls::Times;

    /// A step in which everything got there.
    fn step(nodes: usize) -> Step {
        let reached = |wanted, seconds| Reached {
            wanted,
            found: wanted,
            seconds,
        };
        let times = |p50, p99| Times {
            count: 100,
            p50,
            p99,
        };
        let times = Call::ALL.map(|call| (call, times(4.2, 900.0)));
        let used = |kib, cpu| Usage { kib, cpu };
        let services = [
            ("etcd", used(50_000.0, 0.1)),
            ("kube-apiserver", used(300_000.0, 0.4)),
        ];
        Step {
            nodes: reached(nodes, 5.4),
            pods: reached(nodes * 30, 61.0),
            ready_at_the_end: nodes,
            calls: Calls {
                times: times.into(),
                failed: Vec::new(),
            },
            load: Load {
                services: services
                    .map(|(name, usage)| (name.to_owned(), usage))
                    .into(),
                idle: 1.25,
                available_kib: 3e6,
            },
            hollow: used(900_000.0, 0.3),
            etcd_bytes: 12e6,
            ended: Vec::new(),
        }
    }

    #[test]
    fn a_machine_that_is_enough_has_no_shortcomings() {
        assert!(step(10).shortcomings().is_empty());
    }

    #[test]
    fn snapshot_of_a_report() {
        let mut large = step(30);
        large.pods.found = 700;
        large.ready_at_the_end = 28;
        large.calls.times.remove(&Call::ListAll);
        large.calls.times.get_mut(&Call::Write).unwrap().p99 = 1234.0;
        large.calls.failed = vec!["GET /api/v1/pods: timed out".to_owned()];
        large.ended = vec!["exit status: 1: no memory".to_owned()];
        large.load.services.remove("etcd");
        let report = Report {
            steps: vec![step(10), large],
        };
        insta::assert_snapshot!(report.markdown(), @r"
        | nodes | pods | s until Ready | s until running | GET a pod, ms | write, ms | LIST a namespace, ms | LIST all pods, ms | etcd, MB | cluster | idle processors | MB available | hollow nodes |
        |---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|
        | 10 | 300 | 5 | 61 | 4 / 900 | 4 / 900 | 4 / 900 | 4 / 900 | 12 | 358 / 0.50 | 1.2 | 3072 | 922 / 0.30 |
        | 30 | 900 | 5 | 700 after 61 | 4 / 900 | 4 / 1234 | 4 / 900 | – | 12 | 307 / 0.40 | 1.2 | 3072 | 922 / 0.30 |

        Memory in MB / processors of each service:

        | nodes | etcd | kube-apiserver |
        |---:|---:|---:|
        | 10 | 51 / 0.10 | 307 / 0.40 |
        | 30 |  | 307 / 0.40 |

        with 30 nodes, one machine is not enough: 700 of 900 pods ran after 61 s; 28 of 30 nodes were still ready at the end; write took 1234 ms; calls failed: 1, the first: GET /api/v1/pods: timed out; hollow nodes ended: 1, the first: exit status: 1: no memory
        ");
        let json = report.json().unwrap();
        assert!(json.contains(r#""ready_at_the_end": 28"#) && json.contains("700 of 900 pods ran"));
    }
}
