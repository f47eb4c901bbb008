//! Mirrors: directories, web servers, and what is made into one.

use builder::mirror::{Exported, Mirror, export};
use stub::error::Kind;

use super::images::TestImage;
use super::*;
use support::server::Behaviour::Endless;

/// A lockfile with a download of every kind under the URLs of real publishers, and all files it needs.
fn of_every_kind() -> (Lockfile, Vec<Vec<u8>>) {
    let image = TestImage::new();
    let contents: [&[u8]; 3] = [b"an ELF program", b"\x1f\x8b a tar.gz", b"!<arch>\n a deb"];
    let pins = lockfile([
        plain(&["https://dl.k8s.io/release/v1.2.3/bin/linux/amd64/kubelet".to_owned()], contents[0]),
        artifact("tar.gz", &["https://github.com/etcd-io/etcd/releases/download/v1.2.3/etcd-v1.2.3-linux-amd64.tar.gz".to_owned()], contents[1]),
        artifact("deb", &["debian:pool/main/c/crun/crun_1.2.3-1_amd64.deb".to_owned()], contents[2]),
        artifact("oci-image", &["oci://registry.k8s.io/coredns/coredns:v1.2.3".to_owned()], &image.index),
    ]);
    let mut files = image.parts();
    files.extend(contents.map(<[u8]>::to_vec));
    (pins, files)
}

/// The files below a directory, relative to it.
fn files_in(root: &std::path::Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs_err::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                found.push(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    found.sort();
    found
}

#[test]
fn a_web_server_has_every_kind_of_download() {
    let (pins, files) = of_every_kind();
    let lab = Lab::new();
    for file in &files {
        lab.server
            .good(&format!("/u7s/{}", Cache::key(&digest_of(file))), file);
    }
    let mirror = Mirror::parse(&lab.server.url("/u7s/")).unwrap();
    let summary = lab
        .fetch_with(&pins, |options| {
            options.mirror = Some(mirror);
        })
        .unwrap();
    assert_eq!((summary.fetched, summary.cached), (files.len(), 0));
    assert_eq!(lab.server.requests().len(), files.len());
    for file in &files {
        lab.cache.open_verified(&digest_of(file)).unwrap();
    }
}

#[test]
fn an_export_has_all_that_is_needed_and_nothing_else() {
    let (pins, files) = of_every_kind();
    let lab = Lab::new();
    for file in files.iter().map(Vec::as_slice).chain([&b"of no use"[..]]) {
        lab.cache.insert(&digest_of(file), file).unwrap();
    }
    let directory = lab.home.path().join("mirror");
    let bytes = files.iter().map(|f| f.len() as u64).sum();
    for _ in 0..2 {
        let exported = export(&pins, &[Arch::X86_64], &[], &lab.cache, &directory).unwrap();
        assert_eq!(
            exported,
            Exported {
                files: files.len(),
                bytes
            }
        );
    }
    let mut expected: Vec<_> = files.iter().map(|f| Cache::key(&digest_of(f))).collect();
    expected.sort();
    assert_eq!(files_in(&directory), expected);

    // Carried to another machine, it does without a network.
    let other = Lab::new();
    let mirror = Mirror::parse(directory.to_str().unwrap()).unwrap();
    let summary = other.fetch_with(&pins, |options| {
        options.offline = true;
        options.mirror = Some(mirror);
    });
    assert_eq!(summary.unwrap().fetched, files.len());
    // A copy of a cache is a mirror too.
    let third = Lab::new();
    let mirror = Mirror::parse(other.cache.root().to_str().unwrap()).unwrap();
    let summary = third.fetch_with(&pins, |options| {
        options.offline = true;
        options.mirror = Some(mirror);
    });
    assert_eq!(summary.unwrap().fetched, files.len());
}

#[test]
fn an_export_of_what_is_not_there_says_how_to_get_it() {
    let (pins, files) = of_every_kind();
    let lab = Lab::new();
    for file in &files {
        lab.cache.insert(&digest_of(file), file.as_slice()).unwrap();
    }
    for missing in &files {
        let digest = digest_of(missing);
        fs_err::remove_file(lab.cache.path(&digest)).unwrap();
        let directory = lab.home.path().join("mirror");
        let error = export(&pins, &[Arch::X86_64], &[], &lab.cache, &directory).unwrap_err();
        let shown = error.to_string();
        assert!(
            shown.contains(&digest.hex()) && shown.contains("`builder fetch`"),
            "{shown}"
        );
        lab.cache.insert(&digest, missing.as_slice()).unwrap();
        let _ = fs_err::remove_dir_all(directory);
    }
}

#[test]
fn a_bad_mirror_is_not_the_end() {
    let lab = Lab::new();
    let content = b"the right bytes";
    let url = lab.server.good("/1.2.3", content);
    let key = Cache::key(&digest_of(content));
    lab.server
        .good(&format!("/wrong/{key}"), b"the wrong bytes");
    lab.server.route(&format!("/endless/{key}"), b"", [Endless]);
    let bad = |path: &str| Some(Mirror::Url(lab.server.url(path)));
    let pins = lockfile([plain(&[url], content)]);
    for mirror in ["/wrong", "/endless", "/empty"] {
        lab.fetch_with(&pins, |o| {
            o.mirror = bad(mirror);
        })
        .unwrap();
        fs_err::remove_file(lab.cache.path(&digest_of(content))).unwrap();
    }
    let gone = plain(&[lab.server.url("/gone/1.2.3")], content);
    let error = lab
        .fetch_with(&lockfile([gone]), |o| o.mirror = bad("/wrong"))
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    insta::assert_snapshot!(lab.shown(&error), @r"
    tool-0 1.2.3: the download does not match lockfile.json
      url       http://HOST/wrong/sha256/a3/a3580425cdf75097ce23009719cdfc5122bb108be11c1eee8aeca7dc8a027204
      expected  sha256:a3580425cdf75097ce23009719cdfc5122bb108be11c1eee8aeca7dc8a027204
      found     sha256:fcab93c10d3322afe13870787296bd837e73e6f26d3701b2254f316dd6342091
      url       http://HOST/gone/1.2.3
      reason    404 Not Found

    hint: if upstream has replaced the files of this version on purpose, run `builder lock --update tool-0` and review the diff; otherwise something on the way changes the files: try `--mirror DIR|URL`
    ");
}

#[test]
fn a_damaged_directory_is_named_even_offline() {
    let lab = Lab::new();
    let content = b"the right bytes";
    let pins = lockfile([plain(&[lab.server.url("/1.2.3")], content)]);
    let directory = lab.home.path().join("mirror");
    let offline = || {
        lab.fetch_with(&pins, |options| {
            options.offline = true;
            options.mirror = Some(Mirror::Directory(directory.clone()));
        })
    };
    let error = offline().unwrap_err().to_string();
    assert!(
        error.contains("not in the cache") && error.contains(&digest_of(content).hex()),
        "{error}"
    );
    let file = directory.join(Cache::key(&digest_of(content)));
    fs_err::create_dir_all(file.parent().unwrap()).unwrap();
    for damaged in [
        "the wrong bytes",
        "the right byt",
        "the right bytes and more",
    ] {
        fs_err::write(&file, damaged).unwrap();
        let error = offline().unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        assert!(
            error.to_string().contains(file.to_str().unwrap()),
            "{error}"
        );
        assert!(!lab.cache.contains(&digest_of(content)));
    }
    assert!(lab.server.requests().is_empty());
}

#[test]
fn offline_and_a_web_server_do_not_go_together() {
    let lab = Lab::new();
    let error = lab.fetch_with(&lockfile([]), |options| {
        options.offline = true;
        options.mirror = Some(Mirror::Url("https://mirror.example".to_owned()));
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), Kind::Usage);
    assert!(
        error.to_string().contains("`--offline --mirror DIR`"),
        "{error}"
    );
}
