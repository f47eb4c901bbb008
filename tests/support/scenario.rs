//! Scenarios of `tests/vm`: shell files that run as the unprivileged user inside virtual machines.
//!
//! The first lines say what a scenario needs:
//!
//! * `# needs: etcd containerd`: components that the bundle must have; `# lacks: kube-apiserver`: one that it must not have.
//! * `# takes: 2 hours`: it runs only if `--only` names it.
//! * `# guests: 2`: it runs on the machines `a` and `b`, in the state in which the scenario before has left them;
//!   `# guests: 2 empty`: on new ones. Without this line it runs on the machine that all other scenarios share.
//!
//! These lines cut the script. What follows one of them is a part of its own, which runs in a new login:
//!
//! * `# on b`: what follows runs on this machine. The lines before the first such line belong to every part.
//! * `# reboot`: restarts the machine. `# clock +400 days`: sets its clock. `# root COMMAND`: runs a command there as root.
//! * `# cut b`: takes this machine off the network; `# heal b`: puts it back.
//! * `# kill b`: cuts its power; `# start b`: boots it again from its disk.
//! * `# copy a:token b:token`: copies a file between homes.
//! * `# release broken-kubelet exits`: puts a release into the home, in a file of this name, whose kubelet `exits` at once, or
//!   `hangs`. `# release newer`: puts the newer release there that was given; only a scenario that needs `newer-release` may.

use std::collections::BTreeSet;
use std::path::Path;

use fs_err as fs;

/// The names of machines in scenarios for several.
pub const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// The scenario whose text is put before every part of the others.
const LIBRARY: &str = "lib";

/// One scenario. Its name is the file's; they run in the order of their names and build on each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scenario {
    pub name: String,
    /// Components the bundle must have.
    pub needs: Vec<String>,
    /// Components it must not have.
    pub lacks: Vec<String>,
    /// How long it takes, such as `2 hours`, if that is too long for a run of all scenarios; empty if not.
    pub takes: String,
    pub guests: Guests,
    pub steps: Vec<Step>,
}

/// The machines that a scenario runs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guests {
    /// The one that all scenarios for a single machine share.
    Shared,
    /// Several ones.
    Several {
        count: usize,
        /// Whether they must be new.
        empty: bool,
    },
}

/// A machine is a number in the list of the scenario's machines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Runs a script as the user.
    Script(usize, String),
    /// Runs a command as root.
    Root(usize, String),
    /// Restarts the machine.
    Reboot(usize),
    /// Takes it off the network.
    Cut(usize),
    /// Puts it back.
    Heal(usize),
    /// Cuts its power.
    Kill(usize),
    /// Boots it from its disk.
    Start(usize),
    /// Puts another release into the user's home.
    Release(usize, Release),
    /// Copies a file of a machine's user to another machine.
    Copy {
        from: (usize, String),
        to: (usize, String),
    },
}

/// A release other than the one that the machines have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Release {
    /// The newer one that was given.
    Newer,
    /// One in which this program does nothing: it ends with an error, or goes on for ever.
    Broken { program: String, ends: bool },
}

impl Release {
    /// What `needs` calls the newer one.
    pub const NEWER: &str = "newer-release";

    /// The name of its file in the home.
    #[must_use]
    pub fn file(&self) -> String {
        match self {
            Self::Newer => "newer".to_owned(),
            Self::Broken { program, .. } => format!("broken-{program}"),
        }
    }

    fn read(words: &[&str]) -> Result<Self, String> {
        let broken = |name: &str, ends| {
            name.strip_prefix("broken-").map(|program| Self::Broken {
                program: program.to_owned(),
                ends,
            })
        };
        let release = match words {
            ["newer"] => Some(Self::Newer),
            [name, "exits"] => broken(name, true),
            [name, "hangs"] => broken(name, false),
            _ => None,
        };
        release.ok_or_else(|| {
            "a release is `newer`, `broken-PROGRAM exits` or `broken-PROGRAM hangs`".to_owned()
        })
    }
}

impl Scenario {
    /// Reads all scenarios of a directory. The file `lib.sh` is put before every part.
    ///
    /// # Errors
    ///
    /// One sentence about a file that cannot be read, or about a line in it that makes no sense.
    pub fn read_all(directory: &Path) -> Result<Vec<Self>, String> {
        let read = |path: &Path| fs::read_to_string(path).map_err(|e| e.to_string());
        let library = read(&directory.join(LIBRARY).with_extension("sh"))?;
        let mut scenarios = Vec::new();
        for entry in fs::read_dir(directory).map_err(|e| e.to_string())? {
            let path = entry.map_err(|e| e.to_string())?.path();
            let name = path.file_stem().unwrap_or_default().to_string_lossy();
            if name != LIBRARY {
                let scenario = Self::parse(&name, &read(&path)?, &library);
                scenarios.push(scenario.map_err(|e| format!("{}: {e}", path.display()))?);
            }
        }
        scenarios.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(scenarios)
    }

    /// Reads one scenario.
    fn parse(name: &str, text: &str, library: &str) -> Result<Self, String> {
        let words = |prefix: &str| {
            let line = text.lines().find_map(|l| l.strip_prefix(prefix));
            let words = line.unwrap_or_default().split_whitespace();
            words.map(str::to_owned).collect::<Vec<_>>()
        };
        let guests = guests(&words("# guests:"))?;
        let mut script = Script::new(guests, library);
        for (number, line) in text.lines().enumerate() {
            let read = script.read(line);
            read.map_err(|why| format!("line {}, `{line}`: {why}", number + 1))?;
        }
        script.end_part();
        Ok(Self {
            name: name.to_owned(),
            needs: words("# needs:"),
            lacks: words("# lacks:"),
            takes: words("# takes:").join(" "),
            guests,
            steps: script.steps,
        })
    }

    /// Why it is left out of a run with a bundle of these components, if it is. `named` says whether it was asked for by name.
    pub fn unfit(&self, components: &BTreeSet<String>, named: bool) -> Option<String> {
        let missing = self.needs.iter().find(|n| !components.contains(*n));
        let surplus = self.lacks.iter().find(|n| components.contains(*n));
        missing
            .map(|n| format!("the bundle has no {n}"))
            .or(surplus
                .map(|n| format!("the bundle has {n}, and other scenarios test more with it")))
            .or_else(|| {
                let long = !self.takes.is_empty() && !named;
                long.then(|| format!("it takes {}: name it with `--only`", self.takes))
            })
    }
}

fn guests(words: &[String]) -> Result<Guests, String> {
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    let (count, empty) = match words[..] {
        [] => return Ok(Guests::Shared),
        [count] => (count, false),
        [count, "empty"] => (count, true),
        _ => return Err("`# guests:` needs a number, and `empty` or nothing".to_owned()),
    };
    let most = NAMES.len();
    match count.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(Guests::Several { count, empty }),
        _ => Err(format!("`# guests:` needs a number from 1 to {most}")),
    }
}

/// A script while it is read.
struct Script<'a> {
    library: &'a str,
    /// What the scenario's own parts have in common: the lines before the first `# on`.
    common: Option<String>,
    names: &'static [&'static str],
    on: usize,
    part: String,
    steps: Vec<Step>,
}

impl<'a> Script<'a> {
    fn new(guests: Guests, library: &'a str) -> Self {
        let names = match guests {
            Guests::Shared => &[][..],
            Guests::Several { count, .. } => &NAMES[..count],
        };
        Self {
            library,
            common: None,
            names,
            on: 0,
            part: String::new(),
            steps: Vec::new(),
        }
    }

    fn read(&mut self, line: &str) -> Result<(), String> {
        // Ordinary comments may begin with the same words, so what follows these must be exactly what they need.
        let comment = line.strip_prefix("# ").unwrap_or_default();
        let (verb, rest) = comment.split_once(' ').unwrap_or((comment, ""));
        let words: Vec<_> = rest.split(' ').collect();
        match (verb, &words[..]) {
            ("on", [name]) => {
                let guest = self.guest(name)?;
                if self.common.is_none() {
                    self.common = Some(std::mem::take(&mut self.part));
                }
                self.end_part();
                self.on = guest;
            }
            ("reboot", [""]) => self.step(Step::Reboot(self.on)),
            ("clock", [_, ..]) => self.step(Step::Root(self.on, format!("date --set='{rest}'"))),
            ("root", [_, ..]) => self.step(Step::Root(self.on, rest.to_owned())),
            ("release", words) => self.step(Step::Release(self.on, Release::read(words)?)),
            ("cut", [name]) => self.step(Step::Cut(self.guest(name)?)),
            ("heal", [name]) => self.step(Step::Heal(self.guest(name)?)),
            ("kill", [name]) => self.step(Step::Kill(self.guest(name)?)),
            ("start", [name]) => self.step(Step::Start(self.guest(name)?)),
            ("copy", [from, to]) => {
                let (from, to) = (self.file(from)?, self.file(to)?);
                self.step(Step::Copy { from, to });
            }
            _ => {
                self.part.push_str(line);
                self.part.push('\n');
            }
        }
        Ok(())
    }

    fn step(&mut self, step: Step) {
        self.end_part();
        self.steps.push(step);
    }

    /// A part without a command does nothing and is left out.
    fn end_part(&mut self) {
        let part = std::mem::take(&mut self.part);
        let is_command = |line: &str| !line.is_empty() && !line.starts_with('#');
        if part.lines().any(is_command) {
            let common = self.common.as_deref().unwrap_or_default();
            let script = format!("{}\n{common}{part}", self.library);
            self.steps.push(Step::Script(self.on, script));
        }
    }

    fn guest(&self, name: &str) -> Result<usize, String> {
        let found = self.names.iter().position(|n| *n == name);
        found.ok_or_else(|| match self.names {
            [] => "the scenario has no line `# guests:`".to_owned(),
            names => format!("the scenario has the machines {}", names.join(", ")),
        })
    }

    fn file(&self, place: &str) -> Result<(usize, String), String> {
        match place.split_once(':') {
            Some((name, file)) if !file.is_empty() => Ok((self.guest(name)?, file.to_owned())),
            _ => Err("a file is named like `a:token`".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: &str = "set -e";

    fn script(on: usize, text: &str) -> Step {
        Step::Script(on, format!("{LIB}\n{text}"))
    }

    fn complaint(text: &str) -> String {
        Scenario::parse("x", text, LIB).unwrap_err()
    }

    #[test]
    fn a_scenario_for_one_machine() {
        let text = "# needs: etcd crun\n# lacks: kubelet\n# on a slow machine, this takes long\ntrue\n# reboot\n\nfalse\n# clock +400 days\n";
        let scenario = Scenario::parse("10-x", text, LIB).unwrap();
        let comments =
            "# needs: etcd crun\n# lacks: kubelet\n# on a slow machine, this takes long\n";
        assert_eq!(
            scenario,
            Scenario {
                name: "10-x".to_owned(),
                needs: vec!["etcd".to_owned(), "crun".to_owned()],
                lacks: vec!["kubelet".to_owned()],
                takes: String::new(),
                guests: Guests::Shared,
                steps: vec![
                    script(0, &format!("{comments}true\n")),
                    Step::Reboot(0),
                    script(0, "\nfalse\n"),
                    Step::Root(0, "date --set='+400 days'".to_owned()),
                ],
            }
        );
        let components = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
        let fit = components(&["etcd", "crun"]);
        assert_eq!(scenario.unfit(&fit, false), None);
        for bad in [&["etcd"][..], &["etcd", "crun", "kubelet"]] {
            assert!(scenario.unfit(&components(bad), true).is_some(), "{bad:?}");
        }
        let long = Scenario::parse("96-x", "# takes: 2 hours\n", LIB).unwrap();
        let why = "it takes 2 hours: name it with `--only`".to_owned();
        assert_eq!(long.unfit(&fit, false), Some(why));
        assert_eq!(long.unfit(&fit, true), None);
    }

    #[test]
    fn a_scenario_for_several_machines() {
        let text = "# guests: 2 empty\nK=kubectl\n# on b\n$K b\n# cut b\n# on a\n$K a\n# root ip link\n# release broken-etcd hangs\n# copy a:token b:t/x\n# kill a\n# start a\n# heal b\n$K again\n";
        let scenario = Scenario::parse("82-x", text, LIB).unwrap();
        assert_eq!(
            scenario.guests,
            Guests::Several {
                count: 2,
                empty: true
            }
        );
        let common = "# guests: 2 empty\nK=kubectl\n";
        assert_eq!(
            scenario.steps,
            [
                script(1, &format!("{common}$K b\n")),
                Step::Cut(1),
                script(0, &format!("{common}$K a\n")),
                Step::Root(0, "ip link".to_owned()),
                Step::Release(
                    0,
                    Release::Broken {
                        program: "etcd".to_owned(),
                        ends: false,
                    },
                ),
                Step::Copy {
                    from: (0, "token".to_owned()),
                    to: (1, "t/x".to_owned()),
                },
                Step::Kill(0),
                Step::Start(0),
                Step::Heal(1),
                script(0, &format!("{common}$K again\n")),
            ]
        );
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        assert_eq!(
            complaint("# guests: 2\n# on c"),
            "line 2, `# on c`: the scenario has the machines a, b"
        );
        assert_eq!(
            complaint("# cut b"),
            "line 1, `# cut b`: the scenario has no line `# guests:`"
        );
        assert_eq!(
            complaint("# guests: 1\n# copy a:x y"),
            "line 2, `# copy a:x y`: a file is named like `a:token`"
        );
        assert_eq!(
            complaint("# release broken-etcd"),
            "line 1, `# release broken-etcd`: a release is `newer`, `broken-PROGRAM exits` or `broken-PROGRAM hangs`"
        );
        assert_eq!(
            complaint("# guests: 9"),
            "`# guests:` needs a number from 1 to 5"
        );
        assert_eq!(
            complaint("# guests: 2 full"),
            "`# guests:` needs a number, and `empty` or nothing"
        );
    }

    /// So that a mistake is found without a virtual machine.
    #[test]
    fn all_scenarios_can_be_read() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../vm/scenarios");
        let scenarios = Scenario::read_all(&directory).unwrap();
        for scenario in scenarios {
            let name = &scenario.name;
            assert!(!scenario.needs.is_empty(), "{name} needs no component");
            let is_script = |step: &Step| matches!(step, Step::Script(..));
            assert!(scenario.steps.iter().any(is_script), "{name}");
        }
    }
}
