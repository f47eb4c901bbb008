//! What holds for every format, and what is refused.

use std::io::Read;

use ::tar::{Builder, EntryType, Header};
use proptest::prelude::*;
use stub::error::{Error, Kind};

use super::extract;
use super::samples::{FORMATS, compress, header, noise, pack, refusal, special, take, tarball};
use super::tar::{Names, walk};
use crate::recipe::Format;

#[test]
fn every_format_hands_over_the_wanted_members_and_nothing_else() {
    let noise = noise(3000);
    let tar = tarball(&[
        ("./bin/etcd", &noise),
        ("README.md", b"read me"),
        ("bin/etcdctl", b""),
    ]);
    for format in FORMATS {
        let taken = take(format, &pack(format, &tar), &["bin/etcd", "bin/etcdctl"]).unwrap();
        assert_eq!(taken["bin/etcd"], noise, "{format:?}");
        assert_eq!(taken["bin/etcdctl"], b"", "{format:?}");
    }
}

#[test]
fn long_names_are_read_in_both_dialects() {
    let long = format!("{}/file", "directory/".repeat(30).trim_end_matches('/'));
    let mut tar = Builder::new(Vec::new());
    let mut gnu = Header::new_gnu();
    gnu.set_size(3);
    tar.append_data(&mut gnu, format!("gnu/{long}"), &b"gnu"[..])
        .unwrap();
    let pax_name = format!("pax/{long}");
    tar.append_pax_extensions([("path", pax_name.as_bytes())])
        .unwrap();
    tar.append(&header("short", EntryType::Regular, 3), &b"pax"[..])
        .unwrap();
    let tar = tar.into_inner().unwrap();
    let taken = take(Format::Tar, &tar, &[&format!("gnu/{long}"), &pax_name]).unwrap();
    assert!(taken.values().eq(["gnu", "pax"].map(str::as_bytes)));
}

#[test]
fn hostile_names_are_refused_wanted_or_not() {
    let refusal = |name| refusal(&tarball(&[("etcd", b""), (name, b"")]), &["etcd"]).to_string();
    insta::assert_snapshot!(refusal("bin/../../.bashrc"), @r"
    the archive has a member with a name with `..`
      member  `bin/../../.bashrc`

    hint: no honest release holds such a member: do not use this download, and tell its publisher
    ");
    insta::assert_snapshot!(refusal("/etc/passwd"), @r"
    the archive has a member with an absolute name
      member  `/etc/passwd`

    hint: no honest release holds such a member: do not use this download, and tell its publisher
    ");
    for name in ["..", "../x", "./..", "a/.."] {
        assert!(refusal(name).contains(&format!("`{name}`")), "{name}");
    }
    // What a terminal would act upon is shown, not sent.
    assert!(refusal("../\x1b[2J").contains(r"`../\u{1b}[2J`"));
}

#[test]
fn what_is_no_regular_file_is_refused_and_links_are_resolved_for_the_hint() {
    let refusal = |sort, target| refusal(&special("bin/etcd", sort, target), &["bin/etcd"]);
    let symlink = refusal(EntryType::Symlink, "../lib/etcd-3.5").to_string();
    insta::assert_snapshot!(symlink, @r#"
    `bin/etcd` is a symlink to `../lib/etcd-3.5`, not a regular file

    hint: take the file that it points to: write `from = "lib/etcd-3.5"` in the recipe
    "#);
    let others = [
        (EntryType::Symlink, "/usr/bin/etcd"),
        (EntryType::Symlink, "../../../etc/passwd"),
        (EntryType::Link, "./bin/etcd-3.5"),
        (EntryType::Directory, ""),
        (EntryType::Char, ""),
        (EntryType::Block, ""),
        (EntryType::Fifo, ""),
        (EntryType::Continuous, ""),
    ];
    let others = others.map(|(sort, target)| refusal(sort, target).to_string());
    insta::assert_snapshot!(others.join("\n\n"), @r#"
    `bin/etcd` is a symlink to `/usr/bin/etcd`, not a regular file

    hint: take the file that it points to: write `from = "usr/bin/etcd"` in the recipe

    `bin/etcd` is a symlink to `../../../etc/passwd`, not a regular file

    hint: only regular files can be taken: correct `from` in the recipe

    `bin/etcd` is a hard link to `./bin/etcd-3.5`, not a regular file

    hint: take the file that it points to: write `from = "bin/etcd-3.5"` in the recipe

    `bin/etcd` is a directory, not a regular file

    hint: only regular files can be taken: correct `from` in the recipe

    `bin/etcd` is a character device, not a regular file

    hint: only regular files can be taken: correct `from` in the recipe

    `bin/etcd` is a block device, not a regular file

    hint: only regular files can be taken: correct `from` in the recipe

    `bin/etcd` is a FIFO, not a regular file

    hint: only regular files can be taken: correct `from` in the recipe

    `bin/etcd` is a member of the unknown type 0x37, not a regular file

    hint: only regular files can be taken: correct `from` in the recipe
    "#);
    // Unwanted, they do not matter.
    for sort in [EntryType::Symlink, EntryType::Char, EntryType::GNUSparse] {
        let mut tar = special("other", sort, "");
        tar.truncate(512);
        tar.extend(tarball(&[("bin/etcd", b"etcd")]));
        assert!(take(Format::Tar, &tar, &["bin/etcd"]).is_ok(), "{sort:?}");
    }
}

#[test]
fn sparse_files_are_refused_in_both_dialects() {
    let gnu = special("etcd", EntryType::GNUSparse, "");
    let mut pax = Builder::new(Vec::new());
    pax.append_pax_extensions([("GNU.sparse.size", &b"4096"[..])])
        .unwrap();
    pax.append(&header("etcd", EntryType::Regular, 1), &b"x"[..])
        .unwrap();
    for tar in [gnu, pax.into_inner().unwrap()] {
        let error = refusal(&tar, &["etcd"]);
        assert_eq!(
            error.message(),
            "`etcd` is a sparse file, not a regular file"
        );
    }
}

/// The tar library adds the blocks of the map to the end of the content without looking.
#[test]
fn a_sparse_file_at_the_end_of_all_numbers_is_an_error() {
    let mut header = header("etcd", EntryType::GNUSparse, 0);
    header.set_size(u64::MAX - 1023);
    let gnu = header.as_gnu_mut().unwrap();
    gnu.set_real_size(0);
    gnu.isextended = [1];
    header.set_cksum();
    let tar = [header.as_bytes(), &[0; 2048][..]].concat();
    assert_eq!(refusal(&tar, &["etcd"]).kind(), Kind::Integrity);
}

#[test]
fn duplicates_of_a_wanted_member_are_refused() {
    let tar = tarball(&[
        ("etcd", b"good"),
        ("a", b""),
        ("a", b""),
        ("./etcd", b"evil"),
    ]);
    insta::assert_snapshot!(refusal(&tar, &["etcd"]), @r"
    the archive has the member `etcd` more than once

    hint: it is not clear which one is meant: use another download of this release
    ");
    assert!(
        take(
            Format::Tar,
            &tarball(&[("etcd", b""), ("a", b""), ("a", b"")]),
            &["etcd"]
        )
        .is_ok()
    );
}

#[test]
fn missing_members_are_listed_all_at_once_with_what_may_be_meant() {
    let tar = tarball(&[
        ("etcd-v3.6/etcd", b""),
        ("etcd-v3.6/README.md", b""),
        ("etcd-v3.6/etcdutl", b""),
    ]);
    let error = refusal(
        &tar,
        &["etcd-v3.5/etcd", "etcd-v3.5/etcdctl", "etcd-v3.6/etcdutl"],
    );
    insta::assert_snapshot!(error, @r"
    the archive lacks files that the recipe takes
      missing  `etcd-v3.5/etcd`
      similar  `etcd-v3.6/etcd`
      missing  `etcd-v3.5/etcdctl`

    hint: correct `from` in the recipe, then run `builder lock --update` for the component
    ");
    insta::assert_snapshot!(refusal(&tar, &["kubelet"]), @r"
    the archive lacks files that the recipe takes
      missing   `kubelet`
      it holds  `etcd-v3.6/etcd`, `etcd-v3.6/README.md`, `etcd-v3.6/etcdutl`, …

    hint: correct `from` in the recipe, then run `builder lock --update` for the component
    ");
    insta::assert_snapshot!(refusal(&tarball(&[]), &["kubelet"]), @r"
    the archive lacks files that the recipe takes
      missing  `kubelet`

    hint: correct `from` in the recipe, then run `builder lock --update` for the component
    ");
}

#[test]
fn a_truncated_archive_is_an_error_wherever_it_was_cut() {
    let noise = noise(1500);
    let tar = tarball(&[("a", b"aa"), ("etcd", &noise)]);
    // Of the end marker, two blocks of zeros, one is enough.
    let needed = tar.len() - 512;
    insta::assert_snapshot!(refusal(&tar[..1800], &["etcd"]), @r"
    the archive is truncated
      expected  the end marker of a tar archive
      found     the end of the data after 1800 unpacked bytes

    hint: compare the size of the download with the publisher's, and fetch it again
    ");
    for format in FORMATS {
        let whole = pack(format, &tar);
        for cut in (0..whole.len()).step_by(7).chain([whole.len() - 1]) {
            if format == Format::Tar && cut >= needed {
                continue;
            }
            let error = take(format, &whole[..cut], &["etcd"])
                .expect_err(&format!("{format:?} cut to {cut}"));
            let text = error.to_string();
            // The second is the xz decoder's word for it, where another stream just began.
            assert!(
                text.contains("truncated") || text.contains("incomplete XZ magic"),
                "{format:?} cut to {cut}: {text}"
            );
            assert_eq!(error.kind(), Kind::Integrity);
        }
    }
}

#[test]
fn bytes_behind_the_end_of_the_tar_archive_are_ignored() {
    let tar = [tarball(&[("etcd", b"etcd")]), b"/etc/passwd".repeat(100)].concat();
    for format in FORMATS {
        assert!(
            take(format, &pack(format, &tar), &["etcd"]).is_ok(),
            "{format:?}"
        );
    }
}

#[test]
fn damage_and_the_wrong_format_are_told_apart_from_truncation() {
    let tar = tarball(&[("etcd", &noise(1500))]);
    let refusal = |bytes: &[u8]| {
        take(Format::TarGz, bytes, &["etcd"])
            .unwrap_err()
            .to_string()
    };
    insta::assert_snapshot!(refusal(&tar), @r"
    the archive cannot be unpacked: invalid gzip header
      found  damage after 0 unpacked bytes

    hint: check that `format` in the recipe fits the download
    ");
    let mut damaged = compress(Format::TarGz, &tar);
    let crc = damaged.len() - 6;
    damaged[crc] ^= 1;
    insta::assert_snapshot!(refusal(&damaged), @r"
    the archive cannot be unpacked: corrupt gzip stream does not have a matching checksum
      found  damage after 3072 unpacked bytes

    hint: check that `format` in the recipe fits the download
    ");
    let not_tar = compress(Format::TarGz, &b"no tar archive at all\n".repeat(100));
    insta::assert_snapshot!(refusal(&not_tar), @r"
    this is not a tar archive, or a damaged one
      found  numeric field was not a number: t all\nno when getting cksum …

    hint: check that `format` in the recipe fits the download
    ");
    assert!(take(Format::Plain, &tar, &["etcd"]).is_err());
}

#[test]
fn bombs_are_refused() {
    let error = refusal(&special_size("etcd", 5 << 30), &["etcd"]);
    insta::assert_snapshot!(error, @r"
    `etcd` is too large for a bundle
      expected  at most 4294967296 bytes
      found     5368709120 bytes

    hint: take another file, or a download of the same release without debugging symbols
    ");
    let mut pax = Builder::new(Vec::new());
    pax.append_pax_extensions([("comment", vec![b'x'; 1 << 20].as_slice())])
        .unwrap();
    insta::assert_snapshot!(refusal(&pax.into_inner().unwrap(), &["etcd"]), @r"
    the archive has more headers between two members than any release needs
      expected  at most 1048576 bytes

    hint: do not use this download, and tell its publisher
    ");
    let mut budget = 4096;
    let zeros = vec![0; 5000];
    let error = walk(&mut &zeros[..], Names::Relative, &mut budget, &mut |_| {
        Ok(())
    });
    insta::assert_snapshot!(error.unwrap_err(), @r"
    the archive unpacks to more than 4.1 kB

    hint: do not use this download: no release of a program is this large
    ");
    let mut budget = 4096;
    walk(
        &mut &zeros[..2000],
        Names::Relative,
        &mut budget,
        &mut |_| Ok(()),
    )
    .unwrap();
    assert_eq!(budget, 2096);
}

/// A member that claims to be so large.
fn special_size(name: &str, size: u64) -> Vec<u8> {
    let mut header = header(name, EntryType::Regular, 0);
    header.set_size(size);
    header.set_cksum();
    header.as_bytes().to_vec()
}

#[test]
fn the_callers_error_comes_through_and_unread_content_is_skipped() {
    let tar = tarball(&[("a", &noise(2000)), ("b", b"bb")]);
    let wanted = ["a", "b"].map(str::to_owned).into();
    let mut seen = Vec::new();
    extract(
        Format::Tar,
        &tar[..],
        &wanted,
        &mut |name, size, content| {
            content.read_exact(&mut [0; 1])?;
            seen.push((name.to_owned(), size));
            Ok(())
        },
    )
    .unwrap();
    assert_eq!(seen, [("a".to_owned(), 2000), ("b".to_owned(), 2)]);
    let failing = &mut |_: &str, _, _: &mut dyn Read| Err(Error::new(Kind::Host, "disk full"));
    let error = extract(Format::Tar, &tar[..], &wanted, failing).unwrap_err();
    assert_eq!(error.message(), "disk full");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
        for format in FORMATS {
            prop_assert!(take(format, &bytes, &["etcd"]).is_err());
        }
    }

    #[test]
    fn a_mutated_archive_never_panics(
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
        before_packing in any::<bool>(),
    ) {
        let mut tar = Builder::new(Vec::new());
        let mut gnu = Header::new_gnu();
        gnu.set_size(0);
        tar.append_data(&mut gnu, "long/".repeat(30), &b""[..]).unwrap();
        tar.append_pax_extensions([("path", &b"etcd"[..]), ("size", b"900")]).unwrap();
        tar.append(&header("short", EntryType::Regular, 900), &noise(900)[..]).unwrap();
        let tar = tar.into_inner().unwrap();
        let mutate = |mut bytes: Vec<u8>| {
            for (index, byte) in &changes {
                let at = index.index(bytes.len());
                bytes[at] = *byte;
            }
            bytes
        };
        for format in FORMATS {
            let bytes = if before_packing { pack(format, &mutate(tar.clone())) } else { mutate(pack(format, &tar)) };
            // Whether it is an error depends on what was hit; `take` checks that sizes are right if it is none.
            let _ = take(format, &bytes, &["etcd"]);
        }
    }
}
