//! How long the verbs of the installed program take that need no running cluster.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde::Serialize;
use stub::error::{Context as _, Error, Kind, Result};
use stub::progress::Progress;
use stub::{child, files};

use crate::machine::FewProcessors;
use crate::times::{Times, seconds, seconds_until};
use crate::unpack::in_home;

/// In each round, every verb is run so many times: they are short.
const REPEATED: usize = 5;

/// Stands in the arguments for a file or directory that does not exist yet.
const NEW: &str = "{new}";

/// The verbs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verbs {
    /// A static program that does nothing: what it costs here to start a process.
    pub(crate) empty_program: Times,
    /// Those that were run, `--version` first.
    pub(crate) run: Vec<Verb>,
    /// The others, and why.
    pub(crate) left_out: Vec<LeftOut>,
}

/// A verb that was run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Verb {
    /// It and its arguments.
    pub(crate) line: String,
    /// As measured.
    pub(crate) times: Times,
    /// The median without that of the empty program, in seconds.
    pub(crate) above_empty_seconds: f64,
}

/// A verb that was not run.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct LeftOut {
    pub(crate) verb: String,
    pub(crate) why: &'static str,
}

pub(crate) const VERSION: &str = "--version";
pub(crate) const STATUS: &str = "status";
pub(crate) const INSTALL: &str = "install --start=";

impl Verbs {
    /// The verb with exactly these arguments.
    pub(crate) fn verb(&self, line: &str) -> Option<&Verb> {
        self.run.iter().find(|verb| verb.line == line)
    }
}

/// How a verb is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Plan {
    /// With these arguments behind it, ending with one of these exit codes.
    Run(&'static [&'static str], &'static [i32]),
    /// Not at all, for this reason.
    LeftOut(&'static str),
}

const NEEDS_SERVER: Plan = Plan::LeftOut("it asks the API server");
const NEEDS_NAMESPACES: Plan = Plan::LeftOut("it enters the namespaces of a running cluster");
const OTHER_PROGRAM: Plan = Plan::LeftOut("it becomes another program, whose time it would be");
const MANAGER: Plan = Plan::LeftOut("it acts on the service manager of whoever measures");
const READS_ALL: Plan = Plan::LeftOut("it reads every byte: see unpacking");

/// The plan for a verb of a cluster that is installed and stopped. The verbs are those of the program's own help.
fn plan(verb: &str) -> Plan {
    let run = |arguments| Plan::Run(arguments, &[0]);
    match verb {
        "install" => run(&["--start="]),
        // 6 says that this machine cannot run a cluster.
        "doctor" => Plan::Run(&[], &[0, 6]),
        // 1 says that the cluster does not run.
        "status" => Plan::Run(&[], &[0, 1]),
        "kubeconfig" => run(&["print"]),
        "port" | "image" | "certs" => run(&["list"]),
        "pki" => run(&[
            "init",
            "--master",
            "a=192.0.2.1",
            "--node",
            "b=192.0.2.2",
            NEW,
        ]),
        "backup" | "support-bundle" => run(&[NEW]),
        "completion" => run(&["bash"]),
        "list" | "licenses" | "sbom" | "generations" | "gc" | "help" => run(&[]),
        "token" | "node" | "join" => NEEDS_SERVER,
        "ctr" | "crictl" | "etcdctl" | "nsenter" => NEEDS_NAMESPACES,
        "kubectl" | "rootlessctl" | "logs" => OTHER_PROGRAM,
        "start" | "stop" | "restart" | "uninstall" => MANAGER,
        "verify" | "upgrade" => READS_ALL,
        "run" => Plan::LeftOut("it is a running cluster"),
        "restore" => Plan::LeftOut("it replaces the cluster and starts it"),
        "rollback" => Plan::LeftOut("there is no earlier generation"),
        "show-cleanup-command" => Plan::LeftOut("it refuses while a cluster is installed"),
        _ => Plan::LeftOut("tests/bench/verbs.rs does not know it"),
    }
}

/// The verbs in the text of `--help`, in its order.
fn listed(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    lines
        .take_while(|line| !line.is_empty())
        // The rest of a description that was too long for its line has more blanks.
        .filter_map(|line| line.strip_prefix("  "))
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split(' ').next())
        .collect()
}

/// Runs the verbs of a bundle that is installed in a home, in turns.
pub(crate) fn measure(
    bundle: &Path,
    home: &Path,
    rounds: usize,
    work: &Path,
    progress: &Progress,
) -> Result<Verbs> {
    let installed = home.join(".local/share/usernetes/current/bin/usernetes");
    let mut help = in_home(&installed, home);
    let help = child::run(help.arg("--help").stdin(Stdio::null()))?.success()?;
    let mut measured = vec![Measured::new(bundle, vec![VERSION], &[0])];
    let mut left_out = Vec::new();
    let verbs = listed(&help);
    if verbs.is_empty() {
        let error = Error::new(Kind::Failed, "`usernetes --help` lists no commands");
        return Err(error.expected("a line `Commands:`"));
    }
    for verb in verbs {
        match plan(verb) {
            Plan::LeftOut(why) => left_out.push(LeftOut {
                verb: verb.to_owned(),
                why,
            }),
            Plan::Run(arguments, codes) => {
                let words = [verb].into_iter().chain(arguments.iter().copied());
                // The installed program has nothing to install.
                let program = if verb == "install" {
                    bundle
                } else {
                    &installed
                };
                measured.push(Measured::new(program, words.collect(), codes));
            }
        }
    }
    let empty = empty_program(work)?;
    let wait = progress.wait("start verbs");
    let _few = FewProcessors::begin()?;
    let mut nothing = Vec::new();
    for round in 1..=rounds {
        wait.say(&format!("round {round} of {rounds}"));
        for _ in 0..REPEATED {
            nothing.push(seconds(&mut Command::new(&empty))?);
            for verb in &mut measured {
                verb.once(home, &work.join("new"))?;
            }
        }
    }
    wait.finish(&format!("{} of them", measured.len()));
    let empty_program = Times::of(nothing);
    let run = measured.into_iter();
    Ok(Verbs {
        run: run
            .map(|verb| verb.finish(empty_program.median_seconds))
            .collect(),
        empty_program,
        left_out,
    })
}

/// A verb while it is measured.
struct Measured<'a> {
    program: PathBuf,
    words: Vec<&'a str>,
    codes: &'static [i32],
    seconds: Vec<f64>,
}

impl<'a> Measured<'a> {
    fn new(program: &Path, words: Vec<&'a str>, codes: &'static [i32]) -> Self {
        Self {
            program: program.to_owned(),
            words,
            codes,
            seconds: Vec::new(),
        }
    }

    fn once(&mut self, home: &Path, new: &Path) -> Result<()> {
        files::remove_tree(new)?;
        let mut command = in_home(&self.program, home);
        for word in &self.words {
            if *word == NEW {
                command.arg(new);
            } else {
                command.arg(word);
            }
        }
        let seconds = seconds_until(&mut command, self.codes).about(|| self.words.join(" "))?;
        self.seconds.push(seconds);
        Ok(())
    }

    fn finish(self, empty: f64) -> Verb {
        let times = Times::of(self.seconds);
        Verb {
            line: self.words.join(" "),
            above_empty_seconds: times.median_seconds - empty,
            times,
        }
    }
}

/// Compiles a static program that does nothing.
fn empty_program(work: &Path) -> Result<PathBuf> {
    let (source, program) = (work.join("empty.rs"), work.join("empty"));
    fs_err::write(&source, "fn main() {}\n")?;
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let mut rustc = Command::new("rustc");
    rustc
        .args([
            "-O",
            "-C",
            "target-feature=+crt-static",
            "--target",
            &triple,
            "-o",
        ])
        .arg(&program)
        .arg(&source);
    child::run(&mut rustc)?.success()?;
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "\
Rootless Kubernetes under $HOME

Usage: usernetes [OPTIONS] [COMMAND]

Commands:
  install               Install the bundle
  show-cleanup-command  Print the command that removes all data,
                        for `eval`
  dance                 Dance

Options:
  -V, --version  Print the release
";

    #[test]
    fn the_verbs_are_those_of_the_help() {
        assert_eq!(listed(HELP), ["install", "show-cleanup-command", "dance"]);
        assert!(listed("Usage: x\n").is_empty());
        let unknown = "tests/bench/verbs.rs does not know it";
        assert_eq!(plan("dance"), Plan::LeftOut(unknown));
    }

    #[test]
    fn a_verb_is_measured_with_its_arguments_and_may_fail_as_planned() {
        let directory = tempfile::tempdir().unwrap();
        let (home, new) = (directory.path(), directory.path().join("new"));
        let script = "mkdir \"$0\" || exit 1; exit 6";
        let words = vec!["-c", script, NEW];
        let mut verb = Measured::new(Path::new("/bin/sh"), words.clone(), &[0, 6]);
        // The second time, `mkdir` would fail if the directory were still there.
        verb.once(home, &new).unwrap();
        verb.once(home, &new).unwrap();
        assert!(new.is_dir());
        let verb = verb.finish(0.0);
        assert_eq!(verb.times.samples_seconds.len(), 2);
        assert!(verb.line.ends_with(NEW) && verb.above_empty_seconds > 0.0);
        let mut verb = Measured::new(Path::new("/bin/sh"), words, &[0]);
        assert!(verb.once(home, &new).is_err());
    }
}
