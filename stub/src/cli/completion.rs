//! `completion`

use clap::{Args, Command, ValueEnum};
use clap_complete::aot::{Generator as _, Shell as Known};

use super::output::print;
use crate::error::{Context as _, Result};

/// The name of the installed command.
const NAME: &str = "usernetes";

#[derive(Debug, Args)]
pub(super) struct Completion {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// The shells whose users have asked.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

impl Completion {
    /// Prints the script for this command line.
    pub(super) fn run(&self, command: &Command) -> Result<()> {
        let shell = match self.shell {
            Shell::Bash => Known::Bash,
            Shell::Zsh => Known::Zsh,
            Shell::Fish => Known::Fish,
        };
        let mut text = Vec::new();
        let mut command = visible(command);
        command.build();
        shell
            .try_generate(&command, &mut text)
            .about(|| "the completions")?;
        print(&String::from_utf8_lossy(&text))
    }
}

/// The command line without the words that only programs say to each other.
fn visible(command: &Command) -> Command {
    let mut shown = Command::new(NAME);
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    let arguments = command
        .get_arguments()
        .filter(|argument| !argument.is_hide_set());
    let commands = command
        .get_subcommands()
        .filter(|command| !command.is_hide_set());
    shown
        .bin_name(NAME)
        .args(arguments.cloned().collect::<Vec<_>>())
        .subcommands(commands.cloned().collect::<Vec<_>>())
}
