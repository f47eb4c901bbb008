//! Servers that the demo runs for a while.

use std::ffi::OsStr;
use std::net::TcpListener;
use std::process::{Child, Command, ExitStatus, Stdio};

use stub::child;
use stub::error::{Error, Kind, Result};

/// Has the kernel end a program when the demo ends, even if that is killed.
pub(super) const LAUNCHER: &str = "setpriv";

/// Arguments of [`LAUNCHER`] before the program's name.
pub(super) const LAUNCH: [&str; 3] = ["--pdeathsig", "KILL", "--"];

/// A server that is ended with the step that started it, even if that fails.
pub(super) struct Server(Child);

impl Server {
    /// Starts a command of [`LAUNCHER`].
    pub(super) fn start(command: &mut Command) -> Result<Self> {
        let name = command.get_args().nth(LAUNCH.len());
        let name = name.unwrap_or_else(|| OsStr::new(LAUNCHER)).to_owned();
        child::announce(command);
        let child = command.stdin(Stdio::null()).spawn().map_err(|e| {
            let name = name.display();
            Error::new(
                Kind::Host,
                format!("cannot run {name} by way of {LAUNCHER}: {e}"),
            )
            .hint("install the package `util-linux`")
        })?;
        Ok(Self(child))
    }

    /// How it ended, if it did.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.0.try_wait()?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that was free a moment ago. If another program takes it meanwhile, the server reports that.
pub(super) fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
