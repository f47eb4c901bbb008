//! Waiting until every layer works.

use std::thread;
use std::time::{Duration, Instant};

use super::{Layer, layers};
use crate::cluster::Current;
use crate::error::Result;
use crate::progress::Progress;

/// The time between two looks.
const INTERVAL: Duration = Duration::from_secs(1);

/// Looks at the layers until every one works, no longer than `limit`. Gives them as they were at last. The layer that does not
/// work yet is shown meanwhile.
pub fn wait(current: &Current, limit: Duration, progress: &Progress) -> Result<Vec<Layer>> {
    let shown = progress.wait("cluster");
    let began = Instant::now();
    loop {
        let seen = layers(current)?;
        let Some(layer) = seen.iter().find(|layer| !layer.works()) else {
            shown.finish("every layer works");
            return Ok(seen);
        };
        let rest = limit.saturating_sub(began.elapsed());
        if rest.is_zero() {
            shown.finish(&format!("{} does not work", layer.name));
            return Ok(seen);
        }
        shown.say(&format!(
            "{} {}: {}",
            layer.name,
            layer.state.as_str(),
            layer.detail
        ));
        thread::sleep(INTERVAL.min(rest));
    }
}
