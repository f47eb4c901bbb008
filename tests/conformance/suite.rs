//! `e2e.test`: which tests it has, and running them.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use fs_err as fs;
use stub::child;
use stub::error::{Context as _, Error, Kind, Result};
use stub::progress::{Progress, Wait};

use crate::results::{Outcome, Results, read_report};

/// How many tests one run of the program has. If it ends before it has written its report, so many are not known.
const GROUP: usize = 10;

/// How long a group may take, in Go's notation. The slowest test of the suite takes about 15 minutes.
const LIMIT: &str = "90m";

/// How often to look whether the program has ended.
const MOMENT: Duration = Duration::from_millis(500);

/// The tests that Kubernetes marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// What a certified cluster passes: those marked `[Conformance]`
    Conformance,
    /// What a node must do: those marked `[NodeConformance]`
    NodeConformance,
}

impl Suite {
    /// The mark in the names of its tests, as a regular expression.
    fn mark(self) -> &'static str {
        match self {
            Self::Conformance => r"\[Conformance\]",
            Self::NodeConformance => r"\[NodeConformance\]",
        }
    }
}

/// The program, and the cluster it tests.
pub(crate) struct Program {
    file: PathBuf,
    kubeconfig: PathBuf,
    directory: PathBuf,
}

impl Program {
    /// Looks whether the files are there. Everything the program leaves is below `directory`.
    pub(crate) fn new(file: &Path, kubeconfig: &Path, directory: &Path) -> Result<Self> {
        // It changes its working directory.
        let absolute = |path: &Path| fs::canonicalize(path);
        Ok(Self {
            file: absolute(file)?,
            kubeconfig: absolute(kubeconfig)?,
            directory: absolute(directory)?,
        })
    }

    /// The names of its tests in a suite, sorted.
    pub(crate) fn tests(&self, suite: Suite) -> Result<Vec<String>> {
        let report = self.directory.join("tests.json");
        let mut command = Command::new(&self.file);
        command
            .arg("--ginkgo.dry-run")
            .arg(format!("--ginkgo.focus={}", suite.mark()))
            .arg(format!("--ginkgo.json-report={}", report.display()));
        child::run(&mut command)?.success()?;
        let tests = read_report(&report, None)?;
        let names: BTreeSet<_> = tests.into_iter().map(|(name, _)| name).collect();
        Ok(names.into_iter().collect())
    }

    /// Runs those of the tests that have no result yet. Each result is on disk when its group ends.
    pub(crate) fn run(
        &self,
        tests: &[String],
        mut results: Results,
        progress: &Progress,
    ) -> Result<Results> {
        let began = Instant::now();
        let missing: Vec<_> = tests.iter().filter(|name| !results.has(name)).collect();
        let mut done = tests.len() - missing.len();
        if done > 0 {
            progress.line(format!("{done} results are there from before"));
        }
        for group in missing.chunks(GROUP) {
            let wait = progress.wait(format!("{} more of {} tests", group.len(), tests.len()));
            let found = self.run_group(group, &wait)?;
            drop(wait);
            done += group.len();
            for (name, outcome) in &found {
                if let Outcome::Failed { why, .. } = outcome {
                    progress.line(format!("failed: {name}: {why}"));
                }
            }
            results.add(found)?;
            progress.line(format!(
                "{done} of {} tests, {} s",
                tests.len(),
                began.elapsed().as_secs()
            ));
        }
        Ok(results)
    }

    /// Runs some tests, and shows the present one. The program's own words go into a file.
    fn run_group(&self, names: &[&String], wait: &Wait) -> Result<Vec<(String, Outcome)>> {
        let report = self.directory.join("group.json");
        if report.exists() {
            fs::remove_file(&report)?;
        }
        let path = self.directory.join("e2e.log");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)?;
        let mut words = BufReader::new(fs::File::open(&path)?);
        words.seek(SeekFrom::End(0))?;
        let (log, _) = log.into_parts();
        let mut command = Command::new(&self.file);
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .arg("--provider=skeleton")
            .arg("--ginkgo.v")
            .arg("--ginkgo.no-color")
            .arg(format!("--ginkgo.timeout={LIMIT}"))
            .arg(format!("--ginkgo.json-report={}", report.display()))
            .args(names.iter().map(|name| focus(name)))
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stderr(log.try_clone()?)
            .stdout(log);
        child::announce(&command);
        let mut program = command.spawn().about(|| self.file.display())?;
        let ended = loop {
            if let Some(ended) = program.try_wait()? {
                break ended;
            }
            if let Some(name) = present(&mut words, names)? {
                wait.say(name);
            }
            thread::sleep(MOMENT);
        };
        let wanted: BTreeSet<_> = names.iter().map(|name| name.as_str()).collect();
        if !report.exists() {
            return Err(Error::new(Kind::Failed, "e2e.test ended without a report")
                .found(ended)
                .hint(format!("see the end of {}", path.display())));
        }
        let mut found = read_report(&report, Some(&wanted))?;
        // A group whose time was over has no word about the rest.
        for name in wanted {
            if !found.iter().any(|(has, _)| has == name) {
                found.push((name.to_owned(), Outcome::unknown()));
            }
        }
        Ok(found)
    }
}

/// The test whose name is the last one in what was written since the last call.
fn present<'a>(words: &mut impl BufRead, names: &[&'a String]) -> Result<Option<&'a str>> {
    let (mut line, mut found) = (Vec::new(), None);
    while words.read_until(b'\n', &mut line)? > 0 {
        let is_head = |name: &&&String| line.starts_with(name.as_bytes());
        found = names
            .iter()
            .find(is_head)
            .map(|name| name.as_str())
            .or(found);
        line.clear();
    }
    Ok(found)
}

/// The tests whose names contain a text, and of these every `every`th.
pub(crate) fn chosen(tests: Vec<String>, only: Option<&str>, every: u16) -> Vec<String> {
    let contains = |name: &String| only.is_none_or(|text| name.contains(text));
    let tests = tests.into_iter().filter(contains);
    tests.step_by(every.into()).collect()
}

/// The flag that runs the test of this name. It takes a regular expression, and is matched against the end of the name, because
/// ginkgo puts the name of the whole suite before it.
fn focus(name: &str) -> String {
    let mut flag = "--ginkgo.focus=".to_owned();
    for letter in name.chars() {
        if r"\.+*?()|[]{}^$".contains(letter) {
            flag.push('\\');
        }
        flag.push(letter);
    }
    flag.push('$');
    flag
}

#[cfg(test)]
mod tests {
    use support::program::write_program;

    use super::*;

    #[test]
    fn a_name_is_no_pattern() {
        assert_eq!(
            focus("[sig-node] Pods (a|b) work. [Conformance]"),
            r"--ginkgo.focus=\[sig-node\] Pods \(a\|b\) work\. \[Conformance\]$"
        );
    }

    #[test]
    fn some_tests_are_chosen() {
        let all = || ["a1", "b1", "a2", "a3"].map(str::to_owned).to_vec();
        assert_eq!(chosen(all(), None, 1), all());
        assert_eq!(chosen(all(), Some("a"), 2), ["a1", "a3"]);
        assert!(chosen(all(), Some("c"), 1).is_empty());
    }

    /// A program that behaves as ginkgo's do.
    fn played(dir: &Path, script: &str) -> Program {
        let file = dir.join("e2e.test");
        write_program(&file, script);
        fs::write(dir.join("kubeconfig"), "").unwrap();
        Program::new(&file, &dir.join("kubeconfig"), dir).unwrap()
    }

    const SCRIPT: &str = r#"#!/bin/sh
for word; do
    case $word in
        --ginkgo.json-report=*) report=${word#*=} ;;
        --ginkgo.focus=*) echo "$word" >>"$0.focus" ;;
    esac
done
cat >"$report" <<'J'
[{ "SpecReports": [
    { "LeafNodeType": "BeforeSuite", "State": "passed" },
    { "LeafNodeType": "It", "ContainerHierarchyTexts": ["[sig-a] A"], "LeafNodeText": "one", "State": "passed", "RunTime": 1500000000 },
    { "LeafNodeType": "It", "ContainerHierarchyTexts": ["[sig-b] B", "part"], "LeafNodeText": "two", "State": "failed", "RunTime": 2, "Failure": { "Message": "no answer\nmore" } },
    { "LeafNodeType": "It", "ContainerHierarchyTexts": ["[sig-b] B"], "LeafNodeText": "other", "State": "skipped" } ] }]
J
"#;

    #[test]
    fn tests_run_once() {
        let dir = tempfile::tempdir().unwrap();
        let program = played(dir.path(), SCRIPT);
        let tests = vec!["[sig-a] A one".to_owned(), "[sig-b] B part two".to_owned()];
        let file = dir.path().join("results.json");
        for _ in 0..2 {
            let results = Results::open(&file).unwrap();
            let results = program.run(&tests, results, &Progress::silent()).unwrap();
            assert_eq!(results.verdict(&tests).unwrap_err().kind(), Kind::Failed);
        }
        let focused = fs::read_to_string(dir.path().join("e2e.test.focus")).unwrap();
        assert_eq!(focused.lines().count(), 2, "they ran again: {focused}");
    }

    #[test]
    fn the_present_test_is_the_last_that_has_begun() {
        let names = ["[sig-a] A one", "[sig-b] B two"].map(str::to_owned);
        let names: Vec<_> = names.iter().collect();
        let mut words: &[u8] = b"SSSS\n[sig-a] A one [Slow]\n  STEP: \xff\n";
        assert_eq!(present(&mut words, &names).unwrap(), Some("[sig-a] A one"));
        assert_eq!(present(&mut words, &names).unwrap(), None);
        let mut words: &[u8] = b"[sig-a] A one\n  STEP: a\n[sig-b] B two [Conformance]\n";
        assert_eq!(present(&mut words, &names).unwrap(), Some("[sig-b] B two"));
    }

    #[test]
    fn a_program_that_ends_without_a_report_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let program = played(dir.path(), "#!/bin/sh\nexit 3\n");
        let results = Results::open(&dir.path().join("results.json")).unwrap();
        let error = program.run(&["a".to_owned()], results, &Progress::silent());
        let error = error.err().unwrap();
        assert_eq!(error.message(), "e2e.test ended without a report");
    }
}
