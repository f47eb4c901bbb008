//! Debian versions: their order, as deb-version(7) defines it, and where a lockfile keeps their epoch.
//!
//! A version is `[epoch:]upstream[-revision]`. No name of a file has the epoch in it, so that neither a component's version
//! nor a path in the archive does. In a lockfile it stands in the package's address, the way apt writes it into the names
//! of the files it has downloaded: `debian:pool/main/c/conntrack-tools/conntrack_1%3a1.4.9-1_amd64.deb`.

use std::cmp::Ordering;

use super::SCHEME;

/// A colon in an address of a lockfile.
const COLON: &str = "%3a";

/// Compares two versions `[epoch:]upstream[-revision]`. Total: any two strings have an order, and versions that differ
/// only in leading zeros or in an absent epoch or revision of 0 are equal.
#[must_use]
pub fn compare(a: &str, b: &str) -> Ordering {
    let (a, b) = (split(a), split(b));
    compare_part(a.0, b.0)
        .then_with(|| compare_part(a.1, b.1))
        .then_with(|| compare_part(a.2, b.2))
}

/// The version without its epoch, which is the form that stands in file names.
#[must_use]
pub fn without_epoch(version: &str) -> &str {
    version.split_once(':').map_or(version, |(_, rest)| rest)
}

/// The address that a lockfile has of a package: its path in the archive, with the epoch of its version.
pub(crate) fn lockfile_url(path: &str, version: &str) -> String {
    let directory = path.rfind('/').map_or(0, |slash| slash + 1);
    let (directory, file) = path.split_at(directory);
    match (version.split_once(':'), file.split_once('_')) {
        (Some((epoch, _)), Some((name, rest))) => {
            format!("{SCHEME}{directory}{name}_{epoch}{COLON}{rest}")
        }
        _ => format!("{SCHEME}{path}"),
    }
}

/// The path in the archive that belongs to an address in a lockfile, if it is a package's address.
pub(crate) fn archive_path(url: &str) -> Option<String> {
    let path = url.strip_prefix(SCHEME)?;
    let plain = path.split_once(COLON).and_then(|(before, rest)| {
        let (before, epoch) = before.rsplit_once('_')?;
        let number = !epoch.is_empty() && epoch.bytes().all(|c| c.is_ascii_digit());
        number.then(|| format!("{before}_{rest}"))
    });
    Some(plain.unwrap_or_else(|| path.to_owned()))
}

fn split(version: &str) -> (&str, &str, &str) {
    let (epoch, rest) = version.split_once(':').unwrap_or(("", version));
    let (upstream, revision) = rest.rsplit_once('-').unwrap_or((rest, ""));
    (epoch, upstream, revision)
}

/// Compares alternating runs of text and digits: text by weight, digits by value.
fn compare_part(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while !(a.is_empty() && b.is_empty()) {
        let texts = (take(&mut a, false), take(&mut b, false));
        let numbers = (take(&mut a, true), take(&mut b, true));
        let order =
            compare_text(texts.0, texts.1).then_with(|| compare_digits(numbers.0, numbers.1));
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// Splits off the run of digits, or of anything but digits, that the bytes begin with.
fn take<'a>(bytes: &mut &'a [u8], digits: bool) -> &'a [u8] {
    let end = bytes
        .iter()
        .position(|c| c.is_ascii_digit() != digits)
        .unwrap_or(bytes.len());
    let (run, rest) = bytes.split_at(end);
    *bytes = rest;
    run
}

/// `~` sorts before the end, the end before letters, letters before everything else.
fn compare_text(a: &[u8], b: &[u8]) -> Ordering {
    let weight = |c: Option<&u8>| match c {
        Some(b'~') => -1,
        None => 0,
        Some(c) if c.is_ascii_alphabetic() => i32::from(*c),
        Some(c) => i32::from(*c) + 256,
    };
    (0..a.len().max(b.len()))
        .map(|i| weight(a.get(i)).cmp(&weight(b.get(i))))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

/// By value, however many digits there are.
fn compare_digits(a: &[u8], b: &[u8]) -> Ordering {
    let zeros = |run: &[u8]| run.iter().take_while(|c| **c == b'0').count();
    let (a, b) = (&a[zeros(a)..], &b[zeros(b)..]);
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_is_older_than_the_next() {
        for ascending in [
            &[
                "1.0~~",
                "1.0~~a",
                "1.0~",
                "1.0~rc1-1",
                "1.0~rc1+b1-1",
                "1.0",
                "1.0-1",
            ][..],
            &["1.0", "1.0a", "1.0b", "1.0+dfsg", "1.0.1"],
            &[
                "1.0-1",
                "1.0-1+b1",
                "1.0-1+b2",
                "1.0-1+b10",
                "1.0-1.1",
                "1.0-2",
            ],
            &[
                "1.6.20~ds1-1",
                "1.6.20~ds1-1+deb12u1",
                "1.6.20-1",
                "1.6.24~ds1-1",
            ],
            &["1.0-1~bpo12+1", "1.0-1~deb12u1", "1.0-1"],
            &["9.9", "10.0", "0:99", "1:0.1", "2:0", "10:0"],
            &["1.2.3", "1.2.10", "1.2.10a", "1.12"],
            &["1.5-rc1-1", "1.5.0-1"],
            &[
                "20230309.7c7625d",
                "20261002.cba3570",
                "99999999999999999999999999999",
            ],
            &["a", "a-a", "a+"],
        ] {
            for pair in ascending.windows(2) {
                assert_eq!(compare(pair[0], pair[1]), Ordering::Less, "{pair:?}");
            }
        }
    }

    #[test]
    fn equal_though_written_differently() {
        for (a, b) in [
            ("1.0", "0:1.0"),
            ("1.0", "1.0-0"),
            ("1.01", "1.1"),
            ("1.", "1.0"),
            ("a", "a-"),
            ("", "0"),
        ] {
            assert_eq!(compare(a, b), Ordering::Equal, "{a} {b}");
        }
    }

    #[test]
    fn the_epoch_is_cut_off() {
        assert_eq!(without_epoch("1:1.4.7-1+b2"), "1.4.7-1+b2");
        assert_eq!(without_epoch("1.4.7"), "1.4.7");
    }

    #[test]
    fn the_epoch_stands_in_the_address_only() {
        for (path, version, url) in [
            (
                "pool/main/a/a_1.2-3_amd64.deb",
                "1.2-3",
                "debian:pool/main/a/a_1.2-3_amd64.deb",
            ),
            (
                "pool/main/a/a_1.2-3_all.deb",
                "12:1.2-3",
                "debian:pool/main/a/a_12%3a1.2-3_all.deb",
            ),
            (
                "pool/x_y/a_1_amd64.deb",
                "1:1",
                "debian:pool/x_y/a_1%3a1_amd64.deb",
            ),
            ("pool/odd.deb", "1:1", "debian:pool/odd.deb"),
        ] {
            assert_eq!(lockfile_url(path, version), url);
            assert_eq!(archive_path(url).as_deref(), Some(path));
        }
        assert_eq!(archive_path("https://example.org/a_1%3a2.deb"), None);
    }

    proptest! {
        #[test]
        fn it_is_a_total_order(versions in proptest::collection::vec("[0-2a~+.:é-]{0,7}", 3)) {
            let [a, b, c] = [&versions[0], &versions[1], &versions[2]];
            prop_assert_eq!(compare(a, a), Ordering::Equal);
            prop_assert_eq!(compare(a, b), compare(b, a).reverse());
            if compare(a, b).is_le() && compare(b, c).is_le() {
                prop_assert!(compare(a, c).is_le());
            }
        }
    }
}
