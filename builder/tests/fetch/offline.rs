//! Without a network: one that is forbidden, and one that is not there.

use stub::error::Kind;

use super::images::TestImage;
use super::*;

#[test]
fn offline_lists_all_that_is_missing_and_asks_nobody() {
    let lab = Lab::new();
    let pin = |content: &[u8]| plain(&[lab.server.good("/1.2.3", content)], content);
    let here = lockfile([pin(b"here")]);
    lab.fetch(&here).unwrap();
    let asked = lab.server.requests().len();
    let pins = lockfile([pin(b"one"), pin(b"here"), pin(b"two")]);
    let error = lab
        .fetch_with(&pins, |options| options.offline = true)
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    insta::assert_snapshot!(lab.shown(&error), @r"
    these files are not in the cache, and `--offline` forbids fetching them
      tool-0 1.2.3  sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed
      tool-2 1.2.3  sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3

    hint: run `builder fetch` and `builder mirror export DIR` on a machine with a network, copy DIR to this machine, and add `--mirror DIR`
    ");
    assert_eq!(lab.server.requests().len(), asked);
    let summary = lab
        .fetch_with(&here, |options| options.offline = true)
        .unwrap();
    assert_eq!((summary.cached, summary.fetched), (1, 0));
}

#[test]
fn an_unreachable_network_is_an_error_at_once() {
    let lab = Lab::new();
    let nobody = lab.server.nobody();
    let pin = |n: u8| plain(&[format!("http://{nobody}/{n}/1.2.3")], &[n]);
    let error = lab.fetch(&lockfile((0..40).map(pin))).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    let shown = error
        .to_string()
        .replace(&nobody.port().to_string(), "PORT");
    let first: Vec<&str> = shown
        .lines()
        .filter(|line| !line.contains("also"))
        .collect();
    insta::assert_snapshot!(first.join("\n"), @r"
    tool-0 1.2.3: cannot be fetched
      url     http://127.0.0.2:PORT/0/1.2.3
      reason  cannot connect to 127.0.0.2:PORT: Connection refused (os error 111)

    hint: check the network and the proxy settings, or name a place that has the files with `--mirror DIR|URL`; once they are all in the cache, `--offline` needs no network
    ");
    let waits = lab.waits();
    assert!(
        (1..=4).contains(&waits.len()),
        "one short wait for each thread at most: {waits:?}"
    );
    assert!(
        waits.iter().all(|wait| *wait < Duration::from_secs(1)),
        "{waits:?}"
    );
}

#[test]
fn one_host_out_of_reach_does_not_keep_from_the_others() {
    let lab = Lab::new();
    let nobody = lab.server.nobody();
    let good = |n: u8| plain(&[lab.server.good(&format!("/{n}/1.2.3"), &[n])], &[n]);
    lab.fetch(&lockfile([good(0)])).unwrap();
    let bad = |n: u8| plain(&[format!("http://{nobody}/{n}/1.2.3")], &[n]);
    let pins = lockfile([bad(1), good(2), bad(3), good(4), good(5)]);
    let shown = lab.fetch(&pins).unwrap_err().to_string();
    assert!(shown.contains("tool-0 1.2.3: cannot be fetched"), "{shown}");
    assert!(
        shown.contains("also    tool-2 1.2.3: cannot be fetched"),
        "{shown}"
    );
    for n in [2, 4, 5] {
        assert!(lab.cache.contains(&digest_of(&[n])), "{n}");
    }
}

/// Overwrites a file in the cache, as a failing disk does.
fn damage(lab: &Lab, content: &[u8]) {
    let path = lab.cache.path(&digest_of(content));
    fs_err::remove_file(&path).unwrap();
    fs_err::write(path, "damaged").unwrap();
}

#[test]
fn offline_tells_what_was_damaged_from_what_was_never_there() {
    let lab = Lab::new();
    let pin = |content: &[u8]| plain(&[lab.server.good("/1.2.3", content)], content);
    lab.fetch(&lockfile([pin(b"here")])).unwrap();
    damage(&lab, b"here");
    let error = lab.fetch_with(&lockfile([pin(b"here"), pin(b"two")]), |options| {
        options.offline = true;
    });
    let error = error.unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    insta::assert_snapshot!(lab.shown(&error), @r"
    files in the cache were damaged and have been removed, and `--offline` forbids fetching them again
      tool-0 1.2.3  HOME/cache/sha256/fc/fcec91509759ad995c2cd14bcb26b2720993faf61c29d379b270d442d92290eb was damaged
      expected      sha256:fcec91509759ad995c2cd14bcb26b2720993faf61c29d379b270d442d92290eb
      found         sha256:41f0c27c00e8018f7715b5f50f67b5b54c229c1b843a014152785d9005f58fde
      tool-1 1.2.3  sha256:3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3

    hint: run the same command without `--offline`, or fetch them on a machine with a network: `builder fetch`, then `builder mirror export DIR`, copy DIR to this machine, and add `--mirror DIR`
    ");
    assert!(!lab.cache.contains(&digest_of(b"here")));
    // With a network it is fetched again.
    let pins = lockfile([plain(&[lab.server.good("/1.2.3", b"here")], b"here")]);
    assert_eq!(lab.fetch(&pins).unwrap().fetched, 1);
}

/// The manifest of an image is read to find out what else there is, before anybody asks for it.
#[test]
fn offline_tells_which_document_of_an_image_was_damaged() {
    let lab = Lab::new();
    let image = TestImage::new();
    image.publish(&lab.server, &lab.server);
    let pins = lockfile([image.pin(&lab.server)]);
    lab.fetch(&pins).unwrap();
    damage(&lab, &image.manifest);
    let error = lab.fetch_with(&pins, |options| options.offline = true);
    let error = error.unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    let shown = lab.shown(&error);
    assert!(shown.contains("manifest"), "{shown}");
    assert!(shown.contains(" was damaged"), "{shown}");
    assert!(
        shown.contains(&digest_of(b"damaged").to_string()),
        "{shown}"
    );
}
