//! Errors about a path say how to have what is there somewhere else.

use std::path::Path;

use super::elsewhere;
use crate::error::{Error, Result};

/// [`Self::at`] on results.
pub trait At<T> {
    /// Says by which variable another place can be chosen, if this path is the reason why something does not work.
    fn at(self, path: &Path) -> Result<T>;
}

impl<T, E: Into<Error>> At<T> for Result<T, E> {
    fn at(self, path: &Path) -> Result<T> {
        self.map_err(|error| {
            let error: Error = error.into();
            match elsewhere(path) {
                Some(how) => error.elsewhere(how),
                None => error,
            }
        })
    }
}
