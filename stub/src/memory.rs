//! Allocates large blocks of memory. If memory is short, this returns an error, and the process does not abort.

use std::io::{Error as IoError, ErrorKind};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

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
