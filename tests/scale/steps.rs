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
mod tests;
