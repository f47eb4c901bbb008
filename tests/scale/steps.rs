//! The steps, one after the other, and removing what they made.

use std::time::{Duration, Instant};

use stub::error::{Error, Kind, Result};
use stub::progress::Progress;

use crate::api::Api;
use crate::calls::{self, Calls};
use crate::hollow::{self, Hollow};
use crate::machine::{Machine, Usage};
use crate::pods;
use crate::report::{Reached, Report, Step};
use crate::stop::Stop;

/// The time between two questions whether something has got there, and between two lines about it.
const QUESTION: Duration = Duration::from_secs(1);
const LINE: Duration = Duration::from_secs(15);
/// How long removing may take. The cluster may have been asked for more than it can do.
const REMOVAL: Duration = Duration::from_mins(10);

/// What to measure.
#[derive(Debug)]
pub(crate) struct Plan {
    /// The number of nodes in each step.
    pub(crate) nodes: Vec<u16>,
    /// The number of pods for each node.
    pub(crate) pods: u16,
    /// How long nodes and pods are waited for.
    pub(crate) limit: Duration,
    /// How long a step is measured.
    pub(crate) measure: Duration,
}

/// Everything that takes part.
#[derive(Debug)]
pub(crate) struct Scale<'a> {
    api: &'a Api,
    hollow: Hollow,
    machine: &'a Machine,
    stop: &'a Stop,
    progress: &'a Progress,
}

impl<'a> Scale<'a> {
    pub(crate) fn new(
        api: &'a Api,
        hollow: Hollow,
        machine: &'a Machine,
        stop: &'a Stop,
        progress: &'a Progress,
    ) -> Self {
        Self {
            api,
            hollow,
            machine,
            stop,
            progress,
        }
    }

    /// Takes the steps until nodes or pods of one do not get there.
    pub(crate) fn run(&mut self, plan: &Plan, report: &mut Report) -> Result<()> {
        if self.machine.begin()?.is_empty() {
            self.progress.line(
                "no service of a cluster runs on the machine: what they use is left out (see --on)",
            );
        }
        self.remove()?;
        let mut numbers = plan.nodes.clone();
        numbers.sort_unstable();
        numbers.dedup();
        for nodes in numbers {
            let step = self.step(plan, nodes)?;
            let enough = step.nodes.all() && step.pods.all();
            for why in step.shortcomings() {
                self.progress.line(format!(
                    "with {nodes} nodes, one machine is not enough: {why}"
                ));
            }
            report.steps.push(step);
            if !enough {
                break;
            }
        }
        Ok(())
    }

    fn step(&mut self, plan: &Plan, count: u16) -> Result<Step> {
        self.progress
            .line(format!("{count} nodes with {} pods each", plan.pods));
        self.hollow.grow(count, plan.pods)?;
        let nodes = self.reach("nodes ready", count.into(), plan.limit, hollow::ready)?;
        let began = Instant::now();
        self.patiently(plan.limit, |api| pods::ask_for(api, count, plan.pods))?;
        let wanted = usize::from(count) * usize::from(plan.pods);
        let rest = plan.limit.saturating_sub(began.elapsed());
        let mut pods = self.reach("pods running", wanted, rest, pods::running)?;
        pods.seconds = began.elapsed().as_secs_f64();
        self.progress
            .line(format!("measuring for {} s", plan.measure.as_secs()));
        let (begin, before, since) = (self.machine.begin()?, self.hollow.usage(), Instant::now());
        let calls = match calls::measure(self.api, plan.measure, self.stop) {
            Ok(calls) => calls,
            Err(error) => {
                self.stop.pause(Duration::ZERO)?;
                Calls {
                    failed: vec![error.message().to_owned()],
                    ..Calls::default()
                }
            }
        };
        let (after, seconds) = (self.hollow.usage(), since.elapsed().as_secs_f64());
        Ok(Step {
            nodes,
            pods,
            calls,
            load: self.machine.end(&begin)?,
            hollow: Usage {
                kib: after.kib,
                cpu: (after.cpu - before.cpu) / seconds,
            },
            ready_at_the_end: hollow::ready(self.api).unwrap_or(0),
            etcd_bytes: self.api.etcd_bytes().unwrap_or(0.0),
            ended: self.hollow.ended(),
        })
    }

    /// Waits until so many are there, at most for this long.
    fn reach(
        &self,
        what: &str,
        wanted: usize,
        limit: Duration,
        count: impl Fn(&Api) -> Result<usize>,
    ) -> Result<Reached> {
        let began = Instant::now();
        let (mut said, mut found) = (began, 0);
        loop {
            let asked = Instant::now();
            // A cluster that does not answer now may do so later.
            match count(self.api) {
                Ok(now) => found = now,
                Err(error) => self.progress.line(error.message()),
            }
            let seconds = began.elapsed().as_secs_f64();
            let over = found >= wanted || began.elapsed() >= limit;
            if over || said.elapsed() >= LINE {
                said = Instant::now();
                self.progress
                    .line(format!("{found} of {wanted} {what}, {seconds:.0} s"));
            }
            if over {
                return Ok(Reached {
                    wanted,
                    found,
                    seconds,
                });
            }
            // The questions are not to be a load.
            self.stop.pause(QUESTION.max(4 * asked.elapsed()))?;
        }
    }

    /// Does something that may fail while the cluster is slow, again and again for this long.
    fn patiently(&self, limit: Duration, deed: impl Fn(&Api) -> Result<()>) -> Result<()> {
        let began = Instant::now();
        loop {
            match deed(self.api) {
                Err(error) if error.kind() == Kind::Failed && began.elapsed() < limit => {
                    self.progress.line(error.message());
                }
                ended => return ended,
            }
            self.stop.pause(QUESTION)?;
        }
    }

    /// Removes what this or an earlier run has made. A signal does not end this; a second one ends the process.
    pub(crate) fn remove(&mut self) -> Result<()> {
        self.hollow.end();
        let began = Instant::now();
        loop {
            let gone = hollow::forget(self.api).and_then(|()| pods::remove(self.api));
            match gone {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(error) => self.progress.line(error.message()),
            }
            if began.elapsed() >= REMOVAL {
                return Err(Error::new(
                    Kind::Failed,
                    "not everything was removed from the cluster",
                )
                .expected("no node and no namespace with the label usernetes-scale=hollow")
                .hint("run the same command again, or remove them with `kubectl delete`"));
            }
            std::thread::sleep(QUESTION);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use fs_err as fs;
    use support::program::write_program;
    use support::server::{Behaviour, Server};

    use super::*;
    use crate::api::tests::played;

    /// Nodes that do nothing.
    fn hollow(dir: &Path) -> Hollow {
        fs::write(dir.join("kubeconfig"), "").unwrap();
        write_program(&dir.join("kubemark"), "#!/bin/sh\nexec sleep 600\n");
        Hollow::new(&dir.join("kubemark"), &dir.join("kubeconfig")).unwrap()
    }

    /// A cluster in which nodes are ready, and `pods` pods run.
    fn cluster(pods: usize) -> Server {
        let server = Server::start();
        let node = r#"{"status": {"conditions": [{"type": "Ready", "status": "True"}]}}"#;
        let nodes = format!(r#"{{"items": [{node}, {node}]}}"#);
        server.good("/api/v1/nodes", nodes.as_bytes());
        server.good("/api/v1/namespaces", br#"{"items": []}"#);
        let rows = vec!["{}"; pods].join(",");
        let all = format!(r#"{{"rows": [{rows}]}}"#);
        server.good("/api/v1/pods", all.as_bytes());
        let namespace = "namespaces/hollow-nodes-0";
        server.good(
            &format!("/apis/apps/v1/{namespace}/deployments/hollow"),
            b"{}",
        );
        let list = br#"{"items": [{"metadata": {"name": "p"}}]}"#;
        server.good(&format!("/api/v1/{namespace}/pods"), list);
        for path in ["pods/p", "configmaps", "configmaps/call"] {
            server.good(&format!("/api/v1/{namespace}/{path}"), b"{}");
        }
        server.good("/metrics", b"apiserver_storage_size_bytes{a=\"b\"} 5e+06\n");
        server
    }

    fn plan() -> Plan {
        let (limit, measure) = (Duration::ZERO, Duration::ZERO);
        Plan {
            nodes: vec![2, 1],
            pods: 3,
            limit,
            measure,
        }
    }

    #[test]
    fn steps_go_up_until_one_does_not_get_there() {
        let dir = tempfile::tempdir().unwrap();
        let server = cluster(3);
        let (api, machine) = (played(&server), Machine::new(None));
        let (stop, progress) = (Stop::default(), Progress::silent());
        let mut scale = Scale::new(&api, hollow(dir.path()), &machine, &stop, &progress);
        let mut report = Report::default();
        scale.run(&plan(), &mut report).unwrap();
        scale.remove().unwrap();
        let pods: Vec<_> = report
            .steps
            .iter()
            .map(|step| (step.pods.found, step.pods.wanted))
            .collect();
        assert_eq!(pods, [(3, 3), (3, 6)]);
        assert!(
            report.steps[0].shortcomings().is_empty(),
            "{:?}",
            report.steps[0]
        );
        assert_eq!(
            report.steps[1].shortcomings(),
            ["3 of 6 pods ran after 0 s"]
        );
        assert!((report.steps[1].etcd_bytes - 5e6).abs() < 1.0);
    }

    #[test]
    fn a_signal_ends_the_steps_and_what_was_made_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let server = cluster(0);
        let (api, machine) = (played(&server), Machine::new(None));
        let (stop, progress) = (Stop::default(), Progress::silent());
        let mut scale = Scale::new(&api, hollow(dir.path()), &machine, &stop, &progress);
        stop.now();
        let limit = Duration::from_mins(1);
        let mut report = Report::default();
        let error = scale
            .run(&Plan { limit, ..plan() }, &mut report)
            .unwrap_err();
        assert_eq!(error.message(), "a signal has ended the measurement");
        let removals = || {
            server
                .requests()
                .iter()
                .filter(|request| request.method == "DELETE")
                .count()
        };
        let before = removals();
        scale.remove().unwrap();
        assert!(removals() > before && scale.hollow.usage() == Usage::default());
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let server = cluster(0);
        let busy = Behaviour::status(429);
        server.route("/once", b"{}", [busy, Behaviour::Good]);
        let (api, machine) = (played(&server), Machine::new(None));
        let (stop, progress) = (Stop::default(), Progress::silent());
        let scale = Scale::new(&api, hollow(dir.path()), &machine, &stop, &progress);
        let limit = Duration::from_mins(1);
        scale
            .patiently(limit, |api| api.get("/once").map(drop))
            .unwrap();
        let wrong = |_: &Api| Err(Error::new(Kind::Usage, "wrong"));
        assert_eq!(
            scale.patiently(limit, wrong).unwrap_err().message(),
            "wrong"
        );
    }
}
