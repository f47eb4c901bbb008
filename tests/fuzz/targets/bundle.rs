//! A whole bundle. No fuzzer guesses a digest, so each input is opened twice: as it is, and as stub, payload and manifest
//! behind which the trailer is put that belongs there.

use stub::bundle::Bundle;
use stub::bundle::trailer::Trailer;
use stub::digest::Sha256;

use super::Memory;

pub(crate) fn check(input: &[u8]) {
    open(&[input]);
    let Some(([stub, payload], rest)) = input.split_first_chunk() else {
        return;
    };
    let Some((stub, rest)) = rest.split_at_checked(usize::from(*stub)) else {
        return;
    };
    let Some((payload, manifest)) = rest.split_at_checked(usize::from(*payload)) else {
        return;
    };
    let trailer = Trailer::new(
        stub.len() as u64,
        payload.len() as u64,
        manifest.len() as u64,
        Sha256::of(manifest),
    );
    let offset = usize::try_from(trailer.payload_offset).expect("it is small");
    let padding = vec![0; offset - stub.len()];
    open(&[stub, &padding, payload, manifest, &trailer.encode()]);
}

fn open(parts: &[&[u8]]) {
    let file = Memory::of(parts);
    if let Ok(bundle) = Bundle::open(&file.path()) {
        drop(bundle.verify(|_| ()));
    }
}
