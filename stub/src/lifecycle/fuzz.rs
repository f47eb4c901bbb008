//! Opens the reader of etcd's answers to `tests/fuzz`. Only with the feature `fuzz`.

use super::defragment::Size;

/// Whether etcd's file is worth defragmenting, and whether it fits, by the answer of `etcdctl endpoint status`.
#[must_use]
pub fn etcd(answer: &str) -> Option<(bool, bool)> {
    let size = Size::parse(answer).ok()?;
    Some((size.is_wasteful(), size.fits()))
}
