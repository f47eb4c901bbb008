//! `kubectl`, `ctr`, `crictl`, `etcdctl`, `rootlessctl`, `nsenter`

use std::ffi::OsString;

use clap::Args;

use crate::cluster::Program;
use crate::error::Result;

#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct Arguments {
    /// Arguments of the program
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

impl Arguments {
    /// Becomes the program, or gives its exit code if it has to be a child process.
    pub(super) fn run(&self, program: Program) -> Result<u8> {
        program.run(&self.arguments)
    }
}
