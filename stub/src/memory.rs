//! Large pieces of memory, whose lack is an error and not the end of the process.

use std::io::{Error as IoError, ErrorKind};

use crate::error::{Error, Result};
use crate::progress::bytes;

/// So many bytes, all zero.
///
/// # Errors
/// The system does not give so much memory.
pub fn zeroed(len: u64) -> Result<Vec<u8>> {
    let size = usize::try_from(len).map_err(|_| lacking(len))?;
    let mut buffer = reserved(len)?;
    buffer.resize(size, 0);
    Ok(buffer)
}

/// No bytes, with room for so many. Errors as [`zeroed`].
pub fn reserved(len: u64) -> Result<Vec<u8>> {
    let mut buffer = Vec::new();
    let size = usize::try_from(len).map_err(|_| lacking(len))?;
    buffer.try_reserve_exact(size).map_err(|_| lacking(len))?;
    Ok(buffer)
}

/// The error that so much memory is not to be had.
pub(crate) fn lacking(len: u64) -> Error {
    Error::from(IoError::from(ErrorKind::OutOfMemory))
        .expected(format!("{} in one piece", bytes(len)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    #[test]
    fn memory_that_is_not_there_is_an_error_of_the_machine() {
        assert_eq!(zeroed(5).unwrap(), [0; 5]);
        for len in [1 << 60, u64::MAX] {
            let error = zeroed(len).unwrap_err();
            assert_eq!(error.kind(), Kind::Host);
            assert!(error.to_string().contains("in one piece"), "{error}");
        }
    }
}
