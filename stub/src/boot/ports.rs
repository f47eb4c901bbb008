//! The service that keeps ports published.

use std::thread;
use std::time::Duration;

use crate::cluster;
use crate::config::Config;
use crate::error::Result;
use crate::layout::Layout;
use crate::ports::{Keeper, Wish};
use crate::process::say;

/// The time between two comparisons. A port that another program gives up is open after this time.
const INTERVAL: Duration = Duration::from_secs(5);

/// Keeps the ports of the configuration published, until this process is told to stop. `port publish` changes the
/// configuration while it runs.
pub(super) fn run(layout: &Layout, config: &Config) -> Result<u8> {
    let mut keeper = Keeper::new(layout);
    let mut config = config.clone();
    loop {
        match cluster::applied(layout) {
            Ok(applied) => config = applied,
            Err(error) => say(format!("the configuration stays as it was: {error}")),
        }
        keeper.compare(&Wish::of(&config), config.node_ip())?;
        thread::sleep(INTERVAL);
    }
}
