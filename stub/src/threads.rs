//! Shares work among all cores.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::error::Result;

/// The largest number of threads. With a single disk, more threads are not faster, and each may hold a whole file in memory.
const MOST: usize = 8;

/// Runs the same loop on as many threads as there are cores, at most eight. Returns the first error.
///
/// `work` must take its items from a shared place, and return when there are none left. If the machine refuses to start a
/// thread, the others do the work.
pub fn on_all_cores(work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    on_cores(MOST, work)
}

/// Does the work for each item, beginning with the first, on as many threads as there are cores. Gives the results in the order of
/// the items, whichever was finished first, or the first error.
pub fn map_on_all_cores<T: Sync, R: Send>(
    items: &[T],
    each: impl Fn(&T) -> Result<R> + Sync,
) -> Result<Vec<R>> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    on_cores(items.len(), || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else {
                return Ok(());
            };
            let result = each(item)?;
            done.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((index, result));
        }
    })?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_unstable_by_key(|(index, _)| *index);
    Ok(done.into_iter().map(|(_, result)| result).collect())
}

fn on_cores(most: usize, work: impl Fn() -> Result<()> + Sync) -> Result<()> {
    let helpers = thread::available_parallelism()
        .map_or(1, usize::from)
        .min(most)
        .saturating_sub(1);
    thread::scope(|scope| {
        let spawn = |_| thread::Builder::new().spawn_scoped(scope, &work).ok();
        let helpers: Vec<_> = (0..helpers).map_while(spawn).collect();
        let mut outcome = work();
        for helper in helpers {
            outcome = outcome.and(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
        }
        outcome
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Error, Kind};

    #[test]
    fn every_item_is_done_once_and_an_error_is_returned() {
        let next = AtomicUsize::new(0);
        let done = AtomicUsize::new(0);
        let work = |bad: usize| {
            next.store(0, Ordering::Relaxed);
            done.store(0, Ordering::Relaxed);
            on_all_cores(|| {
                loop {
                    match next.fetch_add(1, Ordering::Relaxed) {
                        100.. => return Ok(()),
                        item if item == bad => return Err(Error::new(Kind::Failed, "bad item")),
                        _ => done.fetch_add(1, Ordering::Relaxed),
                    };
                }
            })
        };
        work(usize::MAX).unwrap();
        assert_eq!(done.load(Ordering::Relaxed), 100);
        assert_eq!(work(57).unwrap_err().message(), "bad item");
    }

    #[test]
    fn the_results_of_all_items_are_given_in_their_order() {
        let items: Vec<u32> = (0..100).collect();
        let doubled = map_on_all_cores(&items, |item| Ok(item * 2)).unwrap();
        assert!(doubled.into_iter().eq((0..100).map(|item| item * 2)));
        let none: [u32; 0] = [];
        assert!(
            map_on_all_cores(&none, |item| Ok(*item))
                .unwrap()
                .is_empty()
        );
        let bad = |item: &u32| match item {
            57 => Err(Error::new(Kind::Failed, "bad item")),
            _ => Ok(()),
        };
        let error = map_on_all_cores(&items, bad).unwrap_err();
        assert_eq!(error.message(), "bad item");
    }
}
