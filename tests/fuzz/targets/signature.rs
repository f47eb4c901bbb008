//! Signatures. No fuzzer forges one: a good one says what its maker has said.

use stub::signature::verify;

use super::{Memory, check_error};

/// The key of `tests/support/signer.rs` with the number 7, and what it has signed.
const KEY: &str = "RWQHBwcHBwcHB+pKbGPinFIKvvVQexMuxfmVR3auvr57kkIe6mkURtIs";
const SIGNED: &[u8] = b"a bundle";
const COMMENT: &str = "trusted comment: usernetes file:bundle";

/// The input is a signature, or a line with another key and a signature.
pub(crate) fn check(input: &[u8]) {
    let file = Memory::of(&[SIGNED]);
    if let Ok(Ok(())) = verify(&file.path(), input, KEY) {
        let text = String::from_utf8_lossy(input);
        let line = text.lines().nth(2).unwrap_or_default();
        assert_eq!(line.trim_end(), COMMENT);
    }
    if let Ok(text) = str::from_utf8(input)
        && let Some((key, signature)) = text.split_once('\n')
        && key != KEY
        && let Err(error) = verify(&file.path(), signature.as_bytes(), key)
        && key.len() < 1000
        && !key.contains(char::is_control)
    {
        check_error(&error);
    }
}
