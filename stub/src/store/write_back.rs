//! Bringing files to the disk while others are still being unpacked, so that little is left for the end.

use std::path::Path;
use std::sync::mpsc;
use std::thread;

use fs_err::File;

/// The disk is given work when so many more bytes wait for it: large enough that it is not interrupted all the time, and small
/// enough that what waits at the end takes it only a moment.
const PORTION: u64 = 96 << 20;

/// Does work that reports the bytes it has written to a directory's file system, and meanwhile lets the disk write them.
///
/// Nothing is promised about what is on the disk afterwards, and errors of the disk are left to the sync that promises it: each
/// open directory learns of an error once, and this one opens its own.
pub(super) fn meanwhile<T>(directory: &Path, work: impl FnOnce(&(dyn Fn(u64) + Sync)) -> T) -> T {
    let (written, news) = mpsc::channel();
    thread::scope(|scope| {
        let write_back = move || {
            let Ok(directory) = File::open(directory) else {
                return;
            };
            let mut waiting = 0;
            while let Ok(bytes) = news.recv() {
                waiting += bytes + news.try_iter().sum::<u64>();
                if waiting >= PORTION {
                    let _ = rustix::fs::syncfs(directory.file());
                    waiting = 0;
                }
            }
        };
        // Without this thread, all is left for the end.
        let _ = thread::Builder::new().spawn_scoped(scope, write_back);
        let result = work(&|bytes| {
            let _ = written.send(bytes);
        });
        drop(written);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_result_of_the_work_is_given_whatever_is_written_and_wherever() {
        let directory = tempfile::tempdir().unwrap();
        for place in [directory.path(), &directory.path().join("missing")] {
            let result = meanwhile(place, |written| {
                for bytes in [0, PORTION - 1, 1, PORTION] {
                    written(bytes);
                }
                7
            });
            assert_eq!(result, 7);
        }
    }
}
