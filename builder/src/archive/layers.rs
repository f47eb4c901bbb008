//! Files out of the layers of an OCI image, without unpacking the image.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use stub::error::{Context, Error, Kind, Result};
use stub::oci;

use super::codec::Codec;
use super::search::Search;
use super::tar::{self, Member, Names, Sort, quoted};
use super::{Each, MAX_TOTAL};

/// A layer of an image.
pub struct Layer<'a> {
    /// As the image's manifest has it; says how the layer is compressed.
    pub media_type: String,
    /// Opens the layer's blob. Not called for layers that cannot matter any more.
    pub open: Box<dyn Fn() -> Result<Box<dyn Read>> + 'a>,
}

/// A file whose name begins like this hides the file with the rest of the name in lower layers: "Whiteouts" in the OCI
/// image specification, layer.md.
const WHITEOUT: &str = ".wh.";

/// A file of this name hides all files that lower layers have in its directory.
const OPAQUE: &str = ".wh..wh..opq";

/// Hands over the wanted files of an image, given its layers from the bottom to the top, as a manifest lists them.
///
/// Of each file the topmost is taken, and none if a higher layer removed it or one of its directories. Layers are read
/// from the top, each at most once, and only as long as something is missing. Names are the image's, without leading
/// `/`. For the rest it is [`extract`](super::extract).
pub fn layers(layers: &[Layer<'_>], wanted: &BTreeSet<String>, each: &mut Each<'_>) -> Result<()> {
    let mut search = Search::new(wanted);
    let mut budget = MAX_TOTAL;
    // Wanted files that some layer hides in those below it, and which layer.
    let mut gone: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate().rev() {
        let number = index + 1;
        let open: BTreeSet<&str> = search
            .missing()
            .filter(|name| !gone.contains_key(name))
            .collect();
        if open.is_empty() {
            break;
        }
        let mut visit = |member: Member<'_>| {
            for name in open.iter().filter(|name| hides(&member, name)) {
                gone.insert(name, number);
            }
            let settled = wanted.contains(&member.name) && !open.contains(member.name.as_str());
            if settled || is_whiteout(&member.name) {
                return Ok(());
            }
            search.offer(member, each)
        };
        let mut read = || {
            let mut content = codec(&layer.media_type)?.decode((layer.open)()?)?;
            tar::walk(&mut *content, Names::Rooted, &mut budget, &mut visit)
        };
        read().about(|| format!("layer {number} of {}", layers.len()))?;
    }
    gone.retain(|name, _| search.missing().any(|missing| missing == *name));
    search.finish().map_err(|error| {
        let removed = |error: Error, (name, layer)| {
            error.detail("removed", format!("{} by layer {layer}", quoted(name)))
        };
        gone.into_iter().fold(error, removed)
    })
}

/// The tar archive of a layer, from its blob. It has at most 16 GiB: after that, it ends.
///
/// # Errors
/// The media type is none of a layer, or the blob is damaged; the latter shows only while it is read.
pub fn plain<'a>(media_type: &str, blob: impl Read + 'a) -> Result<impl Read + 'a> {
    Ok(codec(media_type)?.decode(blob)?.take(MAX_TOTAL))
}

/// Media types of the OCI image specification and of Docker's image manifest, version 2, schema 2.
fn codec(media_type: &str) -> Result<Codec> {
    match media_type {
        oci::LAYER
        | "application/vnd.docker.image.rootfs.diff.tar" => Ok(Codec::None),
        oci::LAYER_GZIP
        | "application/vnd.docker.image.rootfs.diff.tar.gzip" => Ok(Codec::Gzip),
        oci::LAYER_ZSTD
        | "application/vnd.docker.image.rootfs.diff.tar.zstd" => Ok(Codec::Zstd),
        other => Err(Error::new(Kind::Input, "the layer is of an unknown type")
            .expected("`application/vnd.oci.image.layer.v1.tar`, `…+gzip` or `…+zstd`, or Docker's name for one of these")
            .found(quoted(other))
            .hint("take the file from a download of another kind, if there is one")),
    }
}

fn is_whiteout(name: &str) -> bool {
    name.rsplit('/')
        .next()
        .is_some_and(|base| base.starts_with(WHITEOUT))
}

/// Whether this member hides a file in lower layers.
fn hides(member: &Member<'_>, name: &str) -> bool {
    let is_below = |directory: &str| {
        let rest = name.strip_prefix(directory);
        directory.is_empty() || rest.is_some_and(|rest| rest.starts_with('/'))
    };
    let (parent, base) = member.name.rsplit_once('/').unwrap_or(("", &member.name));
    if base == OPAQUE {
        return is_below(parent);
    }
    let Some(base) = base.strip_prefix(WHITEOUT) else {
        // Something else in the place of a directory.
        return member.sort != Sort::Directory && is_below(&member.name);
    };
    let gone = match parent {
        "" => base.to_owned(),
        parent => format!("{parent}/{base}"),
    };
    name == gone || is_below(&gone)
}

#[cfg(test)]
mod tests {
    use ::tar::EntryType;

    use super::super::samples::{collect, compress, special, tarball};
    use super::*;
    use crate::recipe::Format;

    const PLAIN: &str = "application/vnd.oci.image.layer.v1.tar";

    fn layer(media_type: &str, bytes: Vec<u8>) -> Layer<'static> {
        Layer {
            media_type: media_type.to_owned(),
            open: Box::new(move || Ok(Box::new(std::io::Cursor::new(bytes.clone())))),
        }
    }

    /// The content of `bin/flanneld` in an image of these layers, from the bottom to the top.
    fn take(image: Vec<Vec<u8>>) -> Result<String> {
        let image: Vec<Layer<'_>> = image.into_iter().map(|l| layer(PLAIN, l)).collect();
        let taken = collect(
            |wanted, each| layers(&image, wanted, each),
            &["bin/flanneld"],
        )?;
        Ok(String::from_utf8(taken["bin/flanneld"].clone()).unwrap())
    }

    fn files(files: &[(&str, &str)]) -> Vec<u8> {
        let files: Vec<_> = files.iter().map(|(n, c)| (*n, c.as_bytes())).collect();
        tarball(&files)
    }

    #[test]
    fn the_topmost_wins() {
        let low = || files(&[("bin/flanneld", "low")]);
        let high = || files(&[("/bin/flanneld", "high")]);
        let none = || files(&[("etc/x", "")]);
        assert_eq!(take(vec![low(), high(), none()]).unwrap(), "high");
        assert_eq!(take(vec![none(), low()]).unwrap(), "low");
        // In one layer, a whiteout is about the layers below.
        for marker in ["bin/.wh.flanneld", "bin/.wh..wh..opq", ".wh.bin"] {
            for both in [
                files(&[("bin/flanneld", "new"), (marker, "")]),
                files(&[(marker, ""), ("bin/flanneld", "new")]),
            ] {
                assert_eq!(take(vec![low(), both]).unwrap(), "new");
            }
        }
    }

    #[test]
    fn what_a_higher_layer_removed_is_gone() {
        let low = || files(&[("bin/flanneld", "low")]);
        let removals = [
            files(&[("bin/.wh.flanneld", "")]),
            files(&[("./bin/.wh..wh..opq", "")]),
            files(&[(".wh.bin", "")]),
            files(&[(".wh..wh..opq", "")]),
            special("bin", EntryType::Symlink, "usr/bin"),
            files(&[("bin", "")]),
        ];
        for removal in removals {
            let error = take(vec![low(), files(&[]), removal, files(&[("a", "")])]).unwrap_err();
            assert!(
                error.to_string().contains("`bin/flanneld` by layer 3"),
                "{error}"
            );
        }
        let error = take(vec![low(), files(&[("bin/.wh.flanneld", "")])]).unwrap_err();
        insta::assert_snapshot!(error, @r"
        the archive lacks files that the recipe takes
          missing  `bin/flanneld`
          removed  `bin/flanneld` by layer 2

        hint: correct `from` in the recipe, then run `builder lock --update` for the component
        ");
    }

    /// As `umoci insert` writes them: nothing after the last member's content.
    #[test]
    fn a_layer_may_end_where_a_member_does() {
        let whole = files(&[("a", "aa"), ("bin/flanneld", "low")]);
        let link = special("sh", EntryType::Symlink, "busybox");
        let content = 3 * 512 + 3;
        for cut in [content, content + 1, 4 * 512, 4 * 512 + 512] {
            assert_eq!(take(vec![whole[..cut].to_vec()]).unwrap(), "low", "{cut}");
        }
        let above = link[..512].to_vec();
        assert_eq!(take(vec![whole.clone(), above]).unwrap(), "low");
        for cut in [
            0,
            300,
            512,
            600,
            3 * 512,
            content - 1,
            4 * 512 + 1,
            5 * 512 - 1,
        ] {
            let error = take(vec![whole[..cut].to_vec()]).unwrap_err();
            let text = error.to_string();
            // Cut between two members, it is whole, and the other is missing.
            let expected = if (514..=1024).contains(&cut) {
                "the archive lacks files that the recipe takes"
            } else {
                "the archive is truncated"
            };
            assert!(text.contains(expected), "{cut}: {text}");
        }
    }

    #[test]
    fn what_hides_something_else_hides_nothing() {
        let others = files(&[
            ("bin/.wh.flannel", ""),
            ("bin/.wh.flanneld2", ""),
            ("sbin/.wh..wh..opq", ""),
            (".wh.bi", ""),
            ("bi", ""),
            ("bin/flanneld2", ""),
        ]);
        let directory = special("bin", EntryType::Directory, "");
        assert_eq!(
            take(vec![files(&[("bin/flanneld", "low")]), directory, others]).unwrap(),
            "low"
        );
    }

    #[test]
    fn a_link_on_top_is_refused_not_looked_through() {
        let low = files(&[("bin/flanneld", "low")]);
        let link = special("bin/flanneld", EntryType::Symlink, "/opt/flanneld");
        insta::assert_snapshot!(take(vec![low, link]).unwrap_err(), @r#"
        layer 2 of 2: `bin/flanneld` is a symlink to `/opt/flanneld`, not a regular file

        hint: take the file that it points to: write `from = "opt/flanneld"` in the recipe
        "#);
    }

    #[test]
    fn compression_is_told_by_the_media_type() {
        let tar = files(&[("bin/flanneld", "x")]);
        let types = [
            (PLAIN, Format::Tar),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Format::TarGz),
            (
                "application/vnd.oci.image.layer.v1.tar+zstd",
                Format::TarZst,
            ),
            (
                "application/vnd.docker.image.rootfs.diff.tar.gzip",
                Format::TarGz,
            ),
        ];
        let take = |layer| {
            collect(
                |wanted, each| layers(&[layer], wanted, each),
                &["bin/flanneld"],
            )
        };
        for (media_type, format) in types {
            assert!(
                take(layer(media_type, compress(format, &tar))).is_ok(),
                "{media_type}"
            );
        }
        let error = take(layer("application/vnd.in-toto+json", Vec::new())).unwrap_err();
        insta::assert_snapshot!(error, @r"
        layer 1 of 1: the layer is of an unknown type
          expected  `application/vnd.oci.image.layer.v1.tar`, `…+gzip` or `…+zstd`, or Docker's name for one of these
          found     `application/vnd.in-toto+json`

        hint: take the file from a download of another kind, if there is one
        ");
    }

    #[test]
    fn layers_below_the_last_that_matters_are_not_opened() {
        let unopenable = Layer {
            media_type: PLAIN.to_owned(),
            open: Box::new(|| Err(Error::new(Kind::Network, "not here"))),
        };
        let image = [unopenable, layer(PLAIN, files(&[("bin/flanneld", "top")]))];
        let take = |name| collect(|wanted, each| layers(&image, wanted, each), &[name]);
        assert!(take("bin/flanneld").is_ok());
        assert_eq!(take("bin/other").unwrap_err().kind(), Kind::Network);
    }
}
