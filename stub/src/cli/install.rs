//! `install`

use clap::Args;

use crate::bundle::Bundle;
use crate::error::{Error, Kind, Result};
use crate::progress::Progress;
use crate::store::{Outcome, Store};

#[derive(Debug, Args)]
pub(super) struct Install {
    /// Unit to start afterwards; this release starts none, which is what "" says
    #[arg(
        long,
        value_name = "UNIT",
        default_value = "",
        hide_default_value = true
    )]
    start: String,
    /// Read every installed file and unpack again what is damaged, even if nothing seems to be wrong
    #[arg(long)]
    repair: bool,
}

impl Install {
    pub(super) fn run(&self, progress: &Progress) -> Result<()> {
        if !self.start.is_empty() {
            let unit = &self.start;
            return Err(
                Error::new(Kind::Usage, format!("unit `{unit}` cannot be started"))
                    .expected("`--start=`: this release unpacks its programs and starts no units")
                    .found(format!("`--start={unit}`"))
                    .hint("run `install --start=`"),
            );
        }
        let bundle = Bundle::of_this_process()?.ok_or_else(|| {
            Error::new(
                Kind::Usage,
                "this `usernetes` has no payload to install: it is the installed command",
            )
            .hint("run a bundle's own `install`, for example `./usernetes-x86_64 install`")
        })?;
        let store = Store::open_default()?;
        let installed = if self.repair {
            store.repair(&bundle, progress)?
        } else {
            store.install(&bundle, progress)?
        };
        let number = installed.generation.number();
        let release = &installed.generation.manifest().release;
        let what = match installed.outcome {
            Outcome::Unchanged => "was current already, nothing to do",
            Outcome::Repaired => "was current already and is whole again",
            Outcome::Reactivated => "was there already and is current now",
            Outcome::New => "is installed and current now",
        };
        progress.line(format!("generation {number} (release {release}) {what}"));
        if installed.outcome != Outcome::Unchanged {
            let bin = store.current_link().join("bin");
            progress.line(format!("its programs are in {}", bin.display()));
        }
        Ok(())
    }
}
