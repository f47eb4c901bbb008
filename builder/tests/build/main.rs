//! `builder build` and `builder verify` from end to end, on downloads made here and given as a mirror: no network.

// A test that cannot go on has failed: it panics.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub
)]

mod signed;
mod site;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use site::{Site, artifact, gzip, hello};
use stub::bundle::Bundle;
use stub::digest::Sha256;

#[test]
fn the_same_inputs_give_the_same_bytes_whatever_is_around_them() {
    let (one, other) = (Site::new(), Site::new());
    one.build(&[]).success();
    let mut command = other.build(&[]);
    command
        .environment(&[
            ("TZ", "Asia/Kathmandu"),
            ("LANG", "tr_TR.UTF-8"),
            ("HOME", "/nonexistent"),
        ])
        .umask("077");
    command.success();
    assert_eq!(
        fs::read(one.bundle()).unwrap(),
        fs::read(other.bundle()).unwrap()
    );
    for site in [&one, &other] {
        assert_eq!(
            fs::metadata(site.bundle()).unwrap().permissions().mode() & 0o7777,
            0o755
        );
    }
}

#[test]
fn a_build_does_not_depend_on_who_reads_its_messages() {
    let (one, other) = (Site::new(), Site::new());
    one.build(&[]).success();
    other.build(&[]).without_stderr().success();
    assert_eq!(
        fs::read(one.bundle()).unwrap(),
        fs::read(other.bundle()).unwrap()
    );
}

#[test]
fn a_limit_of_file_sizes_is_named_and_no_bundle_appears() {
    let site = Site::new();
    let error = site.build(&[]).small_files().failure(6);
    assert!(error.contains("set by `ulimit -f`"), "{error}");
    assert!(!site.bundle().exists());
}

#[test]
fn a_bundle_holds_what_the_lockfile_names() {
    let site = Site::new();
    let table = site.build(&[]).success();
    assert!(table.contains("tools"), "{table}");
    let bundle = Bundle::open(&site.bundle()).unwrap();
    let paths: Vec<String> = bundle
        .manifest()
        .components
        .iter()
        .flat_map(|c| {
            c.files
                .iter()
                .map(|f| f.path.to_string())
                .chain(c.links.iter().map(|l| format!("{} → {}", l.path, l.target)))
        })
        .collect();
    let mut expected = [
        "images/small/blobs/sha256/CONFIG",
        "images/small/blobs/sha256/LAYER",
        "images/small/blobs/sha256/MANIFEST",
        "images/small/index.json",
        "images/small/oci-layout",
        "bin/single",
        "bin/big",
        "bin/small",
        "bin/alias → big",
    ]
    .map(|p| site.named(p));
    // Where the blobs' digests put them.
    expected[..3].sort();
    assert_eq!(paths, expected);
    // The small one of the family is coded against the big one.
    assert_eq!(
        bundle
            .manifest()
            .frames
            .iter()
            .filter(|f| f.prefix.is_some())
            .count(),
        1
    );
    bundle.verify(|_| ()).unwrap();
}

/// The configuration says what each layer is as a tar archive, and it is what the pin covers.
#[test]
fn an_image_whose_layer_is_another_one_is_refused() {
    let mut site = Site::new();
    let (image, _) = site.image_of(&gzip(&hello()), Sha256::of(b"another layer"));
    site.lock("image", "1.2", &image);
    let error = site.build(&[]).failure(3);
    let expected = "layer 1 is not what its configuration says";
    assert!(error.contains(expected), "{error}");
    assert!(error.contains(&Sha256::of(&hello()).to_string()), "{error}");
}

#[test]
fn one_changed_component_is_the_only_one_that_is_compressed_again() {
    let mut site = Site::new();
    site.build(&[]).success();
    let frames = || fs::read_dir(site.cache().join("frames")).unwrap().count();
    let before = frames();
    site.build(&[]).success();
    assert_eq!(frames(), before);
    let changed = artifact(
        &site,
        "plain",
        b"another single program",
        "https://example.org/2.0/single",
        "2.0",
    );
    site.lock("single", "2.0", &changed);
    let frames = || fs::read_dir(site.cache().join("frames")).unwrap().count();
    site.build(&[]).success();
    assert_eq!(frames(), before + 1);
}

#[test]
fn a_damaged_frame_in_the_cache_is_made_again() {
    let site = Site::new();
    site.build(&[]).success();
    let good = fs::read(site.bundle()).unwrap();
    for entry in fs::read_dir(site.cache().join("frames")).unwrap() {
        let path = entry.unwrap().path();
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        fs::remove_file(&path).unwrap();
        fs::write(&path, bytes).unwrap();
    }
    site.build(&[]).success();
    assert_eq!(fs::read(site.bundle()).unwrap(), good);
}

#[test]
fn unpinned_downloads_are_all_named_and_refused() {
    let mut site = Site::new();
    for name in ["single", "tools"] {
        site.unpin(name);
    }
    insta::assert_snapshot!(site.build(&[]).failure(3), @r"
    error: lockfile.json has no digest for some downloads, so nothing can be built from them
      unpinned  single, tools

    hint: pin them with `builder lock --update single tools`
    ");
    assert!(!site.bundle().exists());
}

#[test]
fn an_unknown_component_is_named_with_those_there_are() {
    let site = Site::new();
    insta::assert_snapshot!(site.build(&["--components", "single,etcd"]).failure(2), @r"
    error: the lockfile has no component `etcd`
      expected  image, single, tools
    ");
    site.build(&["--components", "single"]).success();
    assert_eq!(
        Bundle::open(&site.bundle())
            .unwrap()
            .manifest()
            .components
            .len(),
        1
    );
}

#[test]
fn a_head_that_needs_a_dynamic_loader_is_refused() {
    let site = Site::new();
    let mut command = site.build(&[]);
    command.stub(env!("CARGO_BIN_EXE_builder").as_ref());
    let message = command.failure(3);
    assert!(
        message.contains("a program that needs a dynamic loader"),
        "{message}"
    );
    assert!(message.contains("hint: leave out `--stub`"), "{message}");
}

#[test]
fn a_download_that_is_no_archive_is_named_with_its_component() {
    let mut site = Site::new();
    let mut entry = artifact(
        &site,
        "plain",
        b"no archive at all",
        "https://example.org/3.0/tools.tar.gz",
        "3.0",
    );
    entry["format"] = "tar.gz".into();
    entry["files"] = serde_json::json!([{ "from": "tools/big", "to": "bin/big" }]);
    site.lock("tools", "3.0", &entry);
    let message = site.build(&[]).failure(4);
    assert!(
        message.contains("tools 3.0: https://example.org/3.0/tools.tar.gz"),
        "{message}"
    );
}

#[test]
fn the_classic_archive_is_reproducible_too() {
    let (one, other) = (Site::new(), Site::new());
    for site in [&one, &other] {
        site.build(&["--format", "tbz"]).success();
    }
    let bytes = fs::read(one.bundle()).unwrap();
    assert_eq!(bytes, fs::read(other.bundle()).unwrap());
    assert_eq!(&bytes[..3], b"BZh");
}

#[test]
fn verify_says_what_was_checked_and_what_was_not() {
    let site = Site::new();
    site.build(&[]).success();
    let text = site.verify(&[]).success();
    assert!(
        text.contains("every byte matches the manifest: 3 components"),
        "{text}"
    );
    assert!(
        text.contains("only integrity was checked, not origin"),
        "{text}"
    );

    let mut bytes = fs::read(site.bundle()).unwrap();
    let frame = Bundle::open(&site.bundle())
        .unwrap()
        .trailer()
        .payload_offset;
    bytes[usize::try_from(frame).unwrap() + 20] ^= 1;
    fs::write(site.bundle(), bytes).unwrap();
    let message = site.verify(&[]).failure(4);
    assert!(
        message.contains("is damaged") && message.contains("hint: "),
        "{message}"
    );
}

#[test]
fn a_rebuild_with_another_lockfile_is_refused_before_anything_is_compiled() {
    let mut site = Site::new();
    site.build(&[]).success();
    let changed = artifact(
        &site,
        "plain",
        b"something else",
        "https://example.org/2.0/single",
        "2.0",
    );
    site.lock("single", "2.0", &changed);
    let message = site.verify(&["--rebuild"]).failure(3);
    assert!(
        message.contains("it was built from another lockfile"),
        "{message}"
    );
    assert!(message.contains("hint: check out the commit"), "{message}");
}

#[test]
fn two_bundles_that_differ_are_told_apart_by_region() {
    let mut site = Site::new();
    site.build(&[]).success();
    let original = site.root().join("original");
    fs::rename(site.bundle(), &original).unwrap();
    let changed = artifact(
        &site,
        "plain",
        b"a single Program",
        "https://example.org/1.0/single",
        "1.0",
    );
    site.lock("single", "1.0", &changed);
    site.build(&[]).success();
    let error = builder::verify::same_bytes(
        &Bundle::open(&original).unwrap(),
        &Bundle::open(&site.bundle()).unwrap(),
    )
    .unwrap_err();
    assert!(
        error.to_string().contains("`bin/single` of single 1.0"),
        "{error}"
    );
}

#[test]
fn offline_without_the_downloads_names_them() {
    let site = Site::new();
    fs::remove_dir_all(site.mirror().join("sha256")).unwrap();
    fs::create_dir(site.mirror().join("sha256")).unwrap();
    let message = site.build(&[]).failure(5);
    assert!(
        message.contains("single 1.0") && message.contains("--mirror"),
        "{message}"
    );
}
