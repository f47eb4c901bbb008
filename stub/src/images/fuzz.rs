//! Opens the reader of archives of images to `tests/fuzz`. Only with the feature `fuzz`.

use std::path::Path;

use super::contents::Contents;
use super::own::closure;
use crate::error::Result;

/// The images of an archive whose parts are all there and right: their names, and the number of bytes of their parts.
pub fn complete(archive: &Path) -> Result<Vec<(String, u64)>> {
    let contents = Contents::of(archive)?;
    let whole = contents.images.iter().filter_map(|image| {
        let parts = closure(image, &contents.blobs).ok()?;
        let size = parts.values().map(|blob| blob.size).sum();
        Some((image.name.clone(), size))
    });
    Ok(whole.collect())
}
