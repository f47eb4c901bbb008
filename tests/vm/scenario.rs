//! Scenarios: shell files that run as the unprivileged user inside the machine.

use std::path::Path;

use crate::Result;
use crate::guest::Guest;

/// One scenario. Its name is the file's; they run in the order of their names and build on each other.
#[derive(Debug)]
pub struct Scenario {
    pub name: String,
    /// Components the bundle must have: the line `# needs: etcd containerd`.
    pub needs: Vec<String>,
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
            let needs = script
                .lines()
                .find_map(|l| l.strip_prefix("# needs:"))
                .unwrap_or_default();
            let needs = needs.split_whitespace().map(str::to_owned).collect();
            scenarios.push(Self {
                name,
                needs,
                script,
            });
        }
        for scenario in &mut scenarios {
            scenario.script = format!("{library}\n{}", scenario.script);
        }
        scenarios.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(scenarios)
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
