//! What the tests found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use builder::files::replace;
use fs_err as fs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use stub::error::{Context as _, Error, Kind, Result};
use stub::table::table;

/// What one test found. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The cluster does what the test wants.
    Passed { seconds: f64 },
    /// It does not.
    Failed { seconds: f64, why: String },
    /// The test itself says that it does not apply to this cluster.
    Skipped { why: String },
}

impl Outcome {
    /// For a test whose program ended before it said anything of it.
    pub(crate) fn unknown() -> Self {
        Self::Failed {
            seconds: 0.0,
            why: "the program ended before this test".to_owned(),
        }
    }
}

/// A report in ginkgo's JSON (its package `types`, type `Report`); only what is used here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    #[serde(default)]
    spec_reports: Vec<Spec>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    #[serde(default)]
    container_hierarchy_texts: Option<Vec<String>>,
    leaf_node_type: String,
    #[serde(default)]
    leaf_node_text: String,
    state: String,
    /// In nanoseconds.
    #[serde(default)]
    run_time: u64,
    #[serde(default)]
    failure: Failure,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Failure {
    message: String,
}

impl Spec {
    fn name(&self) -> String {
        let mut texts = self.container_hierarchy_texts.clone().unwrap_or_default();
        texts.push(self.leaf_node_text.clone());
        texts.join(" ")
    }

    fn outcome(&self) -> Outcome {
        let seconds = std::time::Duration::from_nanos(self.run_time).as_secs_f64();
        let why = first_line(&self.failure.message);
        match self.state.as_str() {
            "passed" => Outcome::Passed { seconds },
            "skipped" | "pending" => Outcome::Skipped { why },
            state => Outcome::Failed {
                seconds,
                why: if why.is_empty() {
                    state.to_owned()
                } else {
                    why
                },
            },
        }
    }
}

fn first_line(text: &str) -> String {
    text.trim().lines().next().unwrap_or_default().to_owned()
}

/// Reads the results of these tests from a report; of a rehearsal, where no test has run, those that would have.
pub(crate) fn read_report(
    file: &Path,
    wanted: Option<&BTreeSet<&str>>,
) -> Result<Vec<(String, Outcome)>> {
    let reports: Vec<Report> = read_json(file)?;
    let specs = reports.into_iter().flat_map(|report| report.spec_reports);
    let tests = specs.filter(|spec| spec.leaf_node_type == "It");
    let tests = tests.map(|spec| (spec.name(), spec));
    let wanted = |(name, spec): &(String, Spec)| match wanted {
        Some(names) => names.contains(name.as_str()),
        None => spec.state == "passed",
    };
    let tests = tests.filter(wanted);
    Ok(tests.map(|(name, spec)| (name, spec.outcome())).collect())
}

fn read_json<T: DeserializeOwned>(file: &Path) -> Result<T> {
    serde_json::from_slice(&fs::read(file)?)
        .map_err(std::io::Error::from)
        .about(|| file.display())
}

/// The results of all tests so far, in a file.
pub(crate) struct Results {
    file: PathBuf,
    all: BTreeMap<String, Outcome>,
}

/// How many tests of a group had which outcome.
#[derive(Default)]
struct Count {
    passed: usize,
    failed: usize,
    skipped: usize,
    seconds: f64,
}

impl Results {
    /// Reads the results in a file, which need not be there.
    pub(crate) fn open(file: &Path) -> Result<Self> {
        let all = if file.exists() {
            read_json(file).hint(|| "remove this file to run all tests again".to_owned())?
        } else {
            BTreeMap::new()
        };
        let file = file.to_owned();
        Ok(Self { file, all })
    }

    /// Adds results. Afterwards they are on disk.
    pub(crate) fn add(&mut self, found: Vec<(String, Outcome)>) -> Result<()> {
        self.all.extend(found);
        let text = serde_json::to_vec_pretty(&self.all).map_err(std::io::Error::from)?;
        replace(&self.file, &text)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    /// The results of these tests.
    fn of<'a>(&'a self, tests: &'a [String]) -> impl Iterator<Item = (&'a str, &'a Outcome)> {
        let found = tests.iter().filter_map(|name| self.all.get_key_value(name));
        found.map(|(name, outcome)| (name.as_str(), outcome))
    }

    /// Those of these tests that failed.
    fn failed<'a>(&'a self, tests: &'a [String]) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.of(tests).filter_map(|(name, outcome)| match outcome {
            Outcome::Failed { why, .. } => Some((name, why.as_str())),
            _ => None,
        })
    }

    /// As a person reads it, and as Markdown shows it: numbers by group, then every test that failed or was skipped.
    pub(crate) fn table(&self, tests: &[String]) -> String {
        let (mut groups, mut all) = (BTreeMap::<&str, Count>::new(), Count::default());
        for (name, outcome) in self.of(tests) {
            groups.entry(group(name)).or_default().add(outcome);
            all.add(outcome);
        }
        let mut rows = vec![["group", "passed", "failed", "skipped", "seconds"].map(str::to_owned)];
        rows.extend(groups.iter().map(|(name, count)| count.row(name)));
        rows.push(all.row("all"));
        let mut text = table(&rows, &[1, 2, 3, 4]);
        for (name, why) in self.failed(tests) {
            text += &format!("\nfailed: {name}\n    {why}\n");
        }
        for (name, outcome) in self.of(tests) {
            if let Outcome::Skipped { why } = outcome {
                text += &format!("\nskipped: {name}\n    {why}\n");
            }
        }
        text
    }

    /// The results of these tests, for other programs.
    pub(crate) fn json(&self, tests: &[String]) -> Result<String> {
        let all: BTreeMap<_, _> = self.of(tests).collect();
        let text = serde_json::to_string_pretty(&all).map_err(std::io::Error::from)?;
        Ok(text + "\n")
    }

    /// Fails if one of these tests failed.
    pub(crate) fn verdict(&self, tests: &[String]) -> Result<()> {
        let failed = self.failed(tests).count();
        if failed == 0 {
            return Ok(());
        }
        Err(
            Error::new(Kind::Failed, format!("{failed} of {} tests failed", tests.len()))
                .hint("the end of e2e.log beside the results says more; remove results.json to run all of them again"),
        )
    }
}

impl Count {
    fn add(&mut self, outcome: &Outcome) {
        match outcome {
            Outcome::Passed { seconds } => {
                self.passed += 1;
                self.seconds += seconds;
            }
            Outcome::Failed { seconds, .. } => {
                self.failed += 1;
                self.seconds += seconds;
            }
            Outcome::Skipped { .. } => self.skipped += 1,
        }
    }

    fn row(&self, name: &str) -> [String; 5] {
        let seconds = format!("{:.0}", self.seconds);
        let [passed, failed, skipped] =
            [self.passed, self.failed, self.skipped].map(|n| n.to_string());
        [name.to_owned(), passed, failed, skipped, seconds]
    }
}

/// The group of Kubernetes' developers that a test belongs to, which its name begins with.
fn group(name: &str) -> &str {
    let rest = name.strip_prefix('[');
    let group = rest.and_then(|rest| rest.split_once(']'));
    group.map_or("other", |(group, _)| group)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_and_explained() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("results.json");
        let why = |why: &str| why.to_owned();
        let found = [
            ("[sig-node] Pods a", Outcome::Passed { seconds: 2.25 }),
            ("[sig-node] Pods b", Outcome::unknown()),
            (
                "[sig-apps] Job c",
                Outcome::Skipped {
                    why: why("needs two nodes"),
                },
            ),
            (
                "not chosen",
                Outcome::Failed {
                    seconds: 1.0,
                    why: why("x"),
                },
            ),
        ];
        let found = found.map(|(name, outcome)| (name.to_owned(), outcome));
        let tests: Vec<_> = found[..3].iter().map(|(name, _)| name.clone()).collect();
        let mut results = Results::open(&file).unwrap();
        results.add(found.to_vec()).unwrap();
        let results = Results::open(&file).unwrap();
        insta::assert_snapshot!(results.table(&tests), @r"
        group     passed  failed  skipped  seconds
        sig-apps       0       0        1        0
        sig-node       1       1        0        2
        all            1       1        1        2

        failed: [sig-node] Pods b
            the program ended before this test

        skipped: [sig-apps] Job c
            needs two nodes
        ");
        let error = results.verdict(&tests).unwrap_err();
        assert_eq!(error.message(), "1 of 3 tests failed");
        results.verdict(&tests[..1]).unwrap();
        assert!(!results.json(&tests).unwrap().contains("not chosen"));
    }
}
