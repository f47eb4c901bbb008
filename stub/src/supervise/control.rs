//! The socket at which other commands ask the run.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use super::Event;
use crate::error::{Context as _, Result};
use crate::files::remove_if_there;
use crate::manager::{Reply, Request};

/// Longer than any request.
const LONGEST: u64 = 64 << 10;
/// How long somebody may take to ask.
const PATIENCE: Duration = Duration::from_secs(10);

/// Listens at a socket, replacing one that an earlier run has left, and passes on what is asked.
pub(super) fn listen(socket: &Path, events: Sender<Event>) -> Result<()> {
    remove_if_there(socket)?;
    let listener = UnixListener::bind(socket).about(|| socket.display())?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let events = events.clone();
            // Whoever goes away before the answer does not want it.
            thread::spawn(move || answer(stream, &events));
        }
    });
    Ok(())
}

fn answer(mut stream: UnixStream, events: &Sender<Event>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut line = String::new();
    BufReader::new((&stream).take(LONGEST)).read_line(&mut line)?;
    let reply = match serde_json::from_str::<Request>(&line) {
        Err(error) => Reply::Refused(error.to_string()),
        Ok(request) => {
            let (send, receive) = channel();
            let ended = || Reply::Refused("it is ending".to_owned());
            match events.send(Event::Asked(request, send)) {
                Ok(()) => receive.recv().unwrap_or_else(|_| ended()),
                Err(_) => ended(),
            }
        }
    };
    stream.write_all(format!("{}\n", serde_json::to_string(&reply)?).as_bytes())
}
