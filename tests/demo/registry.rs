//! Debian's registry server on a loopback port.

use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;
use stub::error::{Error, Kind, Result};

use super::server::{LAUNCH, LAUNCHER, Server, free_port};

/// How long the registry may take to listen. It needs half a second.
const PATIENCE: Duration = Duration::from_mins(1);

/// A registry that runs. It ends with this value.
pub(super) struct Registry {
    server: Server,
    /// Where it listens: `127.0.0.1:port`.
    pub(super) address: String,
    log: PathBuf,
}

impl Registry {
    /// Starts the program with an empty storage in a directory of its own.
    pub(super) fn start(program: &[u8], directory: &Path) -> Result<Self> {
        let path = directory.join("docker-registry");
        fs_err::write(&path, program)?;
        fs_err::set_permissions(&path, PermissionsExt::from_mode(0o755))?;
        let address = format!("127.0.0.1:{}", free_port()?);
        let settings = json!({
            "version": "0.1",
            "log": { "level": "warn" },
            "storage": { "filesystem": { "rootdirectory": directory.join("storage") } },
            "http": { "addr": address },
        });
        // It wants YAML, which JSON is.
        let config = directory.join("config.yml");
        fs_err::write(&config, settings.to_string())?;
        let log = directory.join("registry.log");
        let output = fs_err::File::create(&log)?.into_parts().0;

        let mut command = Command::new(LAUNCHER);
        command.args(LAUNCH).arg(path).arg("serve").arg(config);
        command
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .current_dir(directory)
            .stdout(output.try_clone()?)
            .stderr(output);
        let mut registry = Self {
            server: Server::start(&mut command)?,
            address,
            log,
        };
        registry.wait()?;
        Ok(registry)
    }

    /// Waits until it listens.
    fn wait(&mut self) -> Result<()> {
        let started = Instant::now();
        while TcpStream::connect(&self.address).is_err() {
            let ended = self.server.ended()?;
            if ended.is_some() || started.elapsed() > PATIENCE {
                let log = fs_err::read_to_string(&self.log).unwrap_or_default();
                let state = ended.map_or("still running".to_owned(), |s| s.to_string());
                return Err(Error::new(Kind::Failed, "the registry does not listen")
                    .detail("at", &self.address)
                    .detail("docker-registry", state)
                    .detail("it wrote", log.trim()));
            }
            thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}
