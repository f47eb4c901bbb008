//! The terminal on which bars are drawn. It replaces the library's own one, which fails when the terminal is gone, though
//! the library does not expect that everywhere, and which waits as long as the terminal is stopped.

use std::fmt::Write as _;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use indicatif::{ProgressDrawTarget, TermLike};

use crate::output;

/// Pictures a second.
const RATE: u8 = 10;

/// Where to draw.
pub(super) fn target() -> ProgressDrawTarget {
    ProgressDrawTarget::term_like_with_hz(Box::<Terminal>::default(), RATE)
}

/// Collects a picture and shows it when it is complete.
#[derive(Debug, Default)]
struct Terminal {
    picture: Mutex<String>,
}

impl Terminal {
    fn picture(&self) -> MutexGuard<'_, String> {
        self.picture.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a control sequence of ECMA-48 with a number, unless that is 0, which would mean 1.
    fn control(&self, count: usize, function: char) {
        if count > 0 {
            let _ = write!(self.picture(), "\x1b[{count}{function}");
        }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        output::terminal_size().0
    }

    fn height(&self) -> u16 {
        output::terminal_size().1
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.control(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.control(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.control(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.control(n, 'D');
        Ok(())
    }

    fn write_line(&self, s: &str) -> io::Result<()> {
        let mut picture = self.picture();
        picture.push_str(s);
        picture.push('\n');
        Ok(())
    }

    fn write_str(&self, s: &str) -> io::Result<()> {
        self.picture().push_str(s);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.write_str("\r\x1b[2K")
    }

    fn flush(&self) -> io::Result<()> {
        output::picture(&std::mem::take(&mut *self.picture()));
        Ok(())
    }
}
