//! Command lines.

use std::fmt::Display;
use std::path::Path;

use crate::layout::Layout;

/// Builds a command line.
#[derive(Default)]
pub(crate) struct Args(pub(crate) Vec<String>);

impl Args {
    /// Begins with the path of a program of the generation.
    pub(crate) fn of(layout: &Layout, program: &str) -> Self {
        Self(vec![layout.program(program).display().to_string()])
    }

    /// Adds `--name=value` as one argument, so that no value is mistaken for a flag.
    pub(crate) fn flag(mut self, name: &str, value: impl Display) -> Self {
        self.0.push(format!("--{name}={value}"));
        self
    }

    /// Adds `--name=path`.
    pub(crate) fn path(self, name: &str, path: impl AsRef<Path>) -> Self {
        self.flag(name, path.as_ref().display())
    }
}
