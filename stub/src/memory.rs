//! Allocates large blocks of memory. If memory is short, this returns an error, and the process does not abort.

use std::io::{Error as IoError, ErrorKind};
use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

use memmap2::{Advice, MmapMut};

use crate::error::{Error, Result};
use crate::progress::bytes;

/// Allocates `len` bytes, all zero.
///
/// # Errors
/// The system does not provide this much memory.
pub fn zeroed(len: u64) -> Result<Vec<u8>> {
    let size = usize::try_from(len).map_err(|_| lacking(len))?;
    let mut buffer = reserved(len)?;
    buffer.resize(size, 0);
    Ok(buffer)
}

/// Allocates an empty vector with room for `len` bytes. It has the same error as [`zeroed`].
pub fn reserved(len: u64) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let size = usize::try_from(len).map_err(|_| lacking(len))?;
    buffer.try_reserve_exact(size).map_err(|_| lacking(len))?;
    Ok(buffer)
}

/// The error for `len` bytes that cannot be allocated.
pub(crate) fn lacking(len: u64) -> Error {
    Error::from(IoError::from(ErrorKind::OutOfMemory))
        .expected(format!("{} of memory in one piece", bytes(len)))
}

/// Large buffers that are used again and again, from several threads: the kernel has to clear memory that is new.
///
/// There are never more of them than were in use at one time.
#[derive(Debug, Default)]
pub struct Pool {
    free: Mutex<Vec<MmapMut>>,
}

impl Pool {
    /// A buffer of `len` bytes. What is in it is left over from its last use.
    ///
    /// # Errors
    /// The system does not provide this much memory.
    pub fn take(&self, len: u64) -> Result<Buffer<'_>> {
        let size = usize::try_from(len).map_err(|_| lacking(len))?;
        let memory = match self.fitting(size) {
            Some(memory) => memory,
            None => new(size).ok_or_else(|| lacking(len))?,
        };
        Ok(Buffer {
            pool: self,
            memory: Some(memory),
            len: size,
        })
    }

    /// The smallest free one that is large enough. If none is, the largest makes room for a new one.
    fn fitting(&self, size: usize) -> Option<MmapMut> {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let at = free.partition_point(|memory| memory.len() < size);
        if at < free.len() {
            return Some(free.remove(at));
        }
        free.pop();
        None
    }

    fn give_back(&self, memory: MmapMut) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let at = free.partition_point(|other| other.len() < memory.len());
        free.insert(at, memory);
    }
}

fn new(size: usize) -> Option<MmapMut> {
    let memory = MmapMut::map_anon(size.max(1)).ok()?;
    // In pages of 2 MiB, the kernel has less work with it, and the processor finds the bytes of a prefix faster. Systems without
    // such pages say no.
    let _ = memory.advise(Advice::HugePage);
    Some(memory)
}

/// Memory from a [`Pool`]. It goes back there when this is dropped.
#[derive(Debug)]
pub struct Buffer<'p> {
    pool: &'p Pool,
    /// There until it is dropped.
    memory: Option<MmapMut>,
    len: usize,
}

impl Deref for Buffer<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.memory
            .as_ref()
            .map_or(&[], |memory| &memory[..self.len])
    }
}

impl DerefMut for Buffer<'_> {
    fn deref_mut(&mut self) -> &mut [u8] {
        let len = self.len;
        self.memory
            .as_mut()
            .map_or(&mut [], |memory| &mut memory[..len])
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        if let Some(memory) = self.memory.take() {
            self.pool.give_back(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn buffers_are_used_again_and_there_are_never_more_than_were_in_use() {
        let pool = Pool::default();
        let free = || -> Vec<usize> {
            let free = pool.free.lock().unwrap();
            free.iter().map(|memory| memory.len()).collect()
        };
        let (mut small, large) = (pool.take(3).unwrap(), pool.take(50).unwrap());
        small.copy_from_slice(b"abc");
        assert_eq!((&*small, large.len()), (&b"abc"[..], 50));
        drop((large, small));
        assert_eq!(free(), [3, 50]);
        // The smallest that is large enough, without new memory.
        let two = pool.take(2).unwrap();
        assert_eq!(*two, *b"ab");
        let four = pool.take(4).unwrap();
        assert_eq!((free().len(), four.len()), (0, 4));
        drop((two, four));
        assert_eq!(free(), [3, 50]);
        // A larger one takes the place of another.
        drop(pool.take(60).unwrap());
        assert_eq!(free(), [3, 60]);
        assert!(pool.take(0).unwrap().is_empty());
        let error = pool.take(1 << 60).unwrap_err();
        assert_eq!(error.kind(), Kind::Host);
        assert!(error.to_string().contains("in one piece"), "{error}");
    }

    #[test]
    fn too_little_memory_is_an_error_of_the_host() {
        assert_eq!(zeroed(5).unwrap(), [0; 5]);
        for len in [1 << 60, u64::MAX] {
            let error = zeroed(len).unwrap_err();
            assert_eq!(error.kind(), Kind::Host);
            assert!(error.to_string().contains("in one piece"), "{error}");
        }
    }
}
