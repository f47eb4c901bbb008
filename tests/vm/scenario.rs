//! Scenarios: shell files that run as the unprivileged user inside the machine.

use std::collections::BTreeSet;
use std::path::Path;

use crate::Result;
use crate::guest::Guest;

/// One scenario. Its name is the file's; they run in the order of their names and build on each other.
#[derive(Debug)]
pub struct Scenario {
    pub name: String,
    /// Components the bundle must have: the line `# needs: etcd containerd`.
    pub needs: Vec<String>,
    /// Components it must not have: the line `# lacks: kube-apiserver`.
    pub lacks: Vec<String>,
    script: String,
}

impl Scenario {
    pub fn read_all(directory: &Path) -> Result<Vec<Self>> {
        let about = |e: std::io::Error| format!("{}: {e}", directory.display());
        let mut scenarios = Vec::new();
        let mut library = String::new();
        for entry in std::fs::read_dir(directory).map_err(about)? {
            let path = entry.map_err(about)?.path();
            let name = path
                .file_stem()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            let script = std::fs::read_to_string(&path).map_err(about)?;
            if name == "lib" {
                library = script;
                continue;
            }
            let words = |prefix: &str| {
                let line = script.lines().find_map(|l| l.strip_prefix(prefix));
                let words = line.unwrap_or_default().split_whitespace();
                words.map(str::to_owned).collect()
            };
            let (needs, lacks) = (words("# needs:"), words("# lacks:"));
            scenarios.push(Self {
                name,
                needs,
                lacks,
                script,
            });
        }
        for scenario in &mut scenarios {
            scenario.script = format!("{library}\n{}", scenario.script);
        }
        scenarios.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(scenarios)
    }

    /// Why it cannot be run with a bundle of these components, if it cannot.
    pub fn unfit(&self, components: &BTreeSet<String>) -> Option<String> {
        let missing = self.needs.iter().find(|n| !components.contains(*n));
        let surplus = self.lacks.iter().find(|n| components.contains(*n));
        missing
            .map(|n| format!("the bundle has no {n}"))
            .or(surplus
                .map(|n| format!("the bundle has {n}, and other scenarios test more with it")))
    }

    /// Runs it. A line `# reboot` alone cuts the script: the machine is restarted there, and the rest goes on.
    pub fn run(&self, guest: &mut Guest) -> Result<()> {
        let library_end = self.script.find("# needs:").unwrap_or(0);
        let (library, body) = self.script.split_at(library_end);
        for (index, part) in body.split("\n# reboot\n").enumerate() {
            if index > 0 {
                guest.reboot()?;
            }
            guest.script(&format!("{library}\n{part}"))?;
        }
        Ok(())
    }
}
