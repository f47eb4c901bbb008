//! A whole bundle. No fuzzer guesses a digest, so each input is opened twice: as it is, and as stub, payload and manifest
//! behind which the trailer is put that belongs there.
#![no_main]

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;
use std::path::Path;

use stub::bundle::Bundle;
use stub::bundle::trailer::Trailer;
use stub::digest::Sha256;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
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
    let padding = vec![0; trailer.payload_offset as usize - stub.len()];
    open(&[stub, &padding, payload, manifest, &trailer.encode()]);
});

fn open(parts: &[&[u8]]) {
    let file = rustix::fs::memfd_create("bundle", rustix::fs::MemfdFlags::CLOEXEC);
    let mut file = File::from(file.expect("a file in memory"));
    for part in parts {
        file.write_all(part).expect("written to memory");
    }
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    if let Ok(bundle) = Bundle::open(Path::new(&path)) {
        drop(bundle.verify(|_| ()));
    }
}
