//! Releases that do not work: copies of a bundle in which one program is another one.

use std::path::Path;

use stub::bundle::{Bundle, BundlePath, File, FrameEntry, frame, write};
use stub::digest::Sha256;

use crate::Result;

/// It ends at once with an error.
const ENDS: &[u8] = b"#!/bin/sh\necho \"broken on purpose\" >&2\nexit 1\n";

/// It runs and never does anything.
const HANGS: &[u8] = b"#!/bin/sh\nexec sleep infinity\n";

/// Writes such a copy of a bundle. The program's own content stays in it under another name, because others may be
/// compressed against it.
pub fn copy(original: &Path, program: &str, ends: bool, output: &Path) -> Result<()> {
    let attempt = || -> stub::error::Result<()> {
        let bundle = Bundle::open(original)?;
        let mut manifest = bundle.manifest().clone();
        let content = if ends { ENDS } else { HANGS };
        let packed = frame::compress(content, None, 3)?;
        let path = BundlePath::new(format!("bin/{program}"))?;
        for component in &mut manifest.components {
            let Some(file) = component.files.iter_mut().find(|f| f.path == path) else {
                continue;
            };
            let kept = File {
                path: BundlePath::new(format!("libexec/kept/{program}"))?,
                ..file.clone()
            };
            file.sha256 = Sha256::of(content);
            component.files.push(kept);
            component.files.sort_by(|a, b| a.path.cmp(&b.path));
        }
        manifest.frames.push(FrameEntry {
            length: packed.len() as u64,
            packed: Sha256::of(&packed),
            prefix: None,
            sha256: Sha256::of(content),
            size: content.len() as u64,
        });
        let last = manifest.frames.len() - 1;
        let stub = bundle.stub()?;
        let mut out = std::io::BufWriter::new(fs_err::File::create(output)?);
        write(&mut out, &stub[..], &manifest, |index| {
            if index == last {
                Ok(packed.clone())
            } else {
                bundle.packed(index)
            }
        })?;
        Ok(std::io::Write::flush(&mut out)?)
    };
    attempt().map_err(|e| format!("a bundle with a broken {program}: {e}"))
}
