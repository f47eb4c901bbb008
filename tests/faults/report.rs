//! What was tried and found, for people and for programs.

use serde::Serialize;
use stub::error::{Error, Kind, Result};
use stub::table::table;

/// A trial after which something is wrong.
#[derive(Debug, Serialize)]
pub struct Failure {
    /// The fault, and where.
    pub what: String,
    /// What is wrong.
    pub problem: String,
    /// The command that tries just this again.
    pub again: String,
}

/// What was tried with a verb.
#[derive(Debug, Default, Serialize)]
pub struct Row {
    /// Its name.
    pub verb: String,
    /// How many of its calls change the disk.
    pub calls: usize,
    /// How often it was killed at a call.
    pub kills: u64,
    /// How often a call has failed.
    pub errors: u64,
    /// How often a run had no such call.
    pub missed: u64,
    /// How often it was killed at a random instant.
    pub random: u64,
    /// How often it was started twice at once.
    pub twice: u64,
    /// How often it was tried on a read-only file system.
    pub read_only: u64,
    /// What is wrong.
    pub failures: Vec<Failure>,
}

impl Row {
    /// The row of a verb with which nothing was tried yet.
    pub fn new(verb: &str) -> Self {
        Self {
            verb: verb.to_owned(),
            ..Self::default()
        }
    }

    fn cells(&self) -> [String; 9] {
        [
            self.verb.clone(),
            self.calls.to_string(),
            self.kills.to_string(),
            self.errors.to_string(),
            self.missed.to_string(),
            self.random.to_string(),
            self.twice.to_string(),
            self.read_only.to_string(),
            self.failures.len().to_string(),
        ]
    }

    /// The row in one line, for those who wait.
    pub fn line(&self) -> String {
        format!(
            "{}: {} trials, {} failures",
            self.verb,
            self.kills + self.errors + self.random + self.twice + self.read_only,
            self.failures.len()
        )
    }
}

/// All rows.
#[derive(Debug, Serialize)]
pub struct Report {
    verbs: Vec<Row>,
}

impl Report {
    /// The report of these rows, in the order of their names.
    pub fn new(mut rows: Vec<Row>) -> Self {
        rows.sort_by(|a, b| a.verb.cmp(&b.verb));
        Self { verbs: rows }
    }

    /// Whether nothing is wrong.
    pub fn is_clean(&self) -> bool {
        self.verbs.iter().all(|row| row.failures.is_empty())
    }

    /// The table, and below it every failure with the command that tries it again.
    pub fn text(&self) -> String {
        let header = [
            "verb",
            "calls",
            "kills",
            "errors",
            "missed",
            "random",
            "twice",
            "read-only",
            "failures",
        ];
        let mut rows = vec![header.map(str::to_owned)];
        rows.extend(self.verbs.iter().map(Row::cells));
        let mut text = table(&rows, &[1, 2, 3, 4, 5, 6, 7, 8]);
        for row in &self.verbs {
            for failure in &row.failures {
                text.push_str(&format!(
                    "\n{}: {}\n  {}\n  again: {}\n",
                    row.verb, failure.what, failure.problem, failure.again
                ));
            }
        }
        text
    }

    /// The same as JSON.
    pub fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self)
            .map_err(|error| Error::new(Kind::Failed, error.to_string()))?;
        Ok(text + "\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_stand_below_the_table() {
        let mut bad = Row::new("install");
        bad.calls = 200;
        bad.failures.push(Failure {
            what: "kill at rename".to_owned(),
            problem: "left over".to_owned(),
            again: "faults install --at rename:3".to_owned(),
        });
        let report = Report::new(vec![bad, Row::new("gc")]);
        assert!(!report.is_clean());
        assert_eq!(
            report.text(),
            "verb     calls  kills  errors  missed  random  twice  read-only  failures\n\
             gc           0      0       0       0       0      0          0         0\n\
             install    200      0       0       0       0      0          0         1\n\
             \n\
             install: kill at rename\n  left over\n  again: faults install --at rename:3\n"
        );
        assert!(report.json().unwrap().contains("\"calls\": 200"));
    }
}
