//! systemd's readiness protocol, `sd_notify(3)`: a service sends text datagrams to the socket that `NOTIFY_SOCKET` names.

use std::env;
use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::say;
use crate::error::{Context, Result};
use crate::files::remove_if_there;

/// The environment variable that names the socket.
pub(crate) const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// Sends a message to the service manager, for example `READY=1`. Does nothing if there is no service manager.
pub(crate) fn notify(message: &str) -> Result<()> {
    let Some(socket) = env::var_os(NOTIFY_SOCKET) else {
        return Ok(());
    };
    send(Path::new(&socket), message).about(|| {
        format!(
            "cannot notify the service manager at `{}`",
            socket.display()
        )
    })
}

fn send(socket: &Path, message: &str) -> io::Result<()> {
    UnixDatagram::unbound()?.send_to(message.as_bytes(), socket)?;
    Ok(())
}

/// By how much the service manager is asked to extend the time to become ready, and how often it is asked.
const PATIENCE: (Duration, Duration) = (Duration::from_mins(2), Duration::from_secs(30));

/// A wait without a limit. It keeps asking the service manager for more time, and writes the reason to the journal.
#[derive(Debug)]
pub(crate) struct Wait {
    what: &'static str,
    began: Instant,
    asked: Option<Instant>,
    state: Option<String>,
}

impl Wait {
    /// Begins to wait. Writes nothing if the wait ends at once.
    pub(crate) fn begin(what: &'static str) -> Self {
        Self {
            what,
            began: Instant::now(),
            asked: None,
            state: None,
        }
    }

    /// Continues the wait. Writes `state` to the journal when it has changed.
    pub(crate) fn goes_on(&mut self, state: &str) -> Result<()> {
        if self.asked.is_none_or(|asked| asked.elapsed() >= PATIENCE.1) {
            notify(&format!(
                "STATUS=waiting for {}\nEXTEND_TIMEOUT_USEC={}",
                self.what,
                PATIENCE.0.as_micros()
            ))?;
            self.asked = Some(Instant::now());
        }
        if self.state.as_deref() != Some(state) {
            say(format!("waiting for {}: {state}", self.what));
            self.state = Some(state.to_owned());
        }
        Ok(())
    }

    /// Ends the wait, and writes its duration to the journal.
    pub(crate) fn end(self) -> Result<()> {
        if self.asked.is_some() {
            notify("STATUS=")?;
            say(format!(
                "waited {:.1} s for {}",
                self.began.elapsed().as_secs_f64(),
                self.what
            ));
        }
        Ok(())
    }
}

/// A socket on which a child of this process reports that it is ready.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: UnixDatagram,
    path: PathBuf,
}

impl Listener {
    /// Creates the socket. Replaces one that an earlier run has left behind.
    pub(crate) fn bind(path: PathBuf) -> Result<Self> {
        remove_if_there(&path)?;
        let socket = UnixDatagram::bind(&path).about(|| format!("`{}`", path.display()))?;
        Ok(Self { socket, path })
    }

    /// The value for the child's `NOTIFY_SOCKET`.
    #[must_use]
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits until the child reports that it is ready.
    pub(crate) fn wait_ready(&self) -> Result<()> {
        let mut buffer = [0; 4096];
        loop {
            let length = self.socket.recv(&mut buffer)?;
            if buffer[..length]
                .split(|&b| b == b'\n')
                .any(|line| line == b"READY=1")
            {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readiness_is_found_among_other_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        fs_err::write(&path, "left over").unwrap();
        let listener = Listener::bind(path).unwrap();
        send(listener.path(), "STATUS=loading READY=1 soon").unwrap();
        send(listener.path(), "STATUS=up\nREADY=1\n").unwrap();
        listener.wait_ready().unwrap();
        send(listener.path(), "one more").unwrap();
        let mut rest = [0; 16];
        assert_eq!(listener.socket.recv(&mut rest).unwrap(), 8);
    }
}
