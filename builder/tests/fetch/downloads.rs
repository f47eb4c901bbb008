//! Single files: every way in which a server can fail, and what comes of it.

use std::sync::Barrier;

use stub::error::Kind;

use super::*;
use support::server::Behaviour;
use support::server::Behaviour::{
    Endless, Good, Length, Meet, Page, Redirect, Stall, Status, Trickle,
};

const PATH: &str = "/v1.2.3/tool";
const TOOL: &[u8] = b"a program of forty bytes, more or less..";

#[test]
fn what_is_fetched_is_verified_and_not_fetched_again() {
    let lab = Lab::new();
    let pins = lockfile([plain(&[lab.server.good(PATH, TOOL)], TOOL)]);
    let summary = lab.fetch(&pins).unwrap();
    assert_eq!((summary.fetched, summary.cached, summary.bytes), (1, 0, 40));
    lab.cache.open_verified(&digest_of(TOOL)).unwrap();
    assert!(lab.unfinished().is_empty());
    let summary = lab.fetch(&pins).unwrap();
    assert_eq!((summary.fetched, summary.cached, summary.bytes), (0, 1, 0));
    assert_eq!(lab.server.requests().len(), 1);
}

#[test]
fn a_damaged_file_in_the_cache_is_fetched_again() {
    let lab = Lab::new();
    let pins = lockfile([plain(&[lab.server.good(PATH, TOOL)], TOOL)]);
    lab.fetch(&pins).unwrap();
    let path = lab.cache.path(&digest_of(TOOL));
    fs_err::remove_file(&path).unwrap();
    fs_err::write(&path, "damaged").unwrap();
    assert_eq!(lab.fetch(&pins).unwrap().fetched, 1);
    assert_eq!(fs_err::read(&path).unwrap(), TOOL);
}

#[test]
fn wrong_bytes_never_reach_the_cache() {
    let lab = Lab::new();
    let mut wrong = TOOL.to_vec();
    wrong[7] ^= 1;
    let url = lab.server.good(PATH, &wrong);
    let error = lab
        .fetch(&lockfile([plain(std::slice::from_ref(&url), TOOL)]))
        .unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    insta::assert_snapshot!(lab.shown(&error), @r"
    tool-0 1.2.3: the download does not match lockfile.json
      url       http://HOST/v1.2.3/tool
      expected  sha256:fc3110b3f2dbf002c278499bf6e399c7d80278187d4861c144e7a884018d4b79
      found     sha256:e7036917368dd7367519a8097016f89ab9ac264a56837f189013892739a40998

    hint: if upstream has replaced the files of this version on purpose, run `builder lock --update tool-0` and review the diff; otherwise something on the way changes the files: try `--mirror DIR|URL`
    ");
    assert!(!lab.cache.contains(&digest_of(TOOL)));
    assert!(lab.unfinished().is_empty());
    assert_eq!(
        lab.server.requests().len(),
        1,
        "the same bytes would come again"
    );

    let good = lab.server.good("/other/1.2.3", TOOL);
    assert_eq!(
        lab.fetch(&lockfile([plain(&[url, good], TOOL)]))
            .unwrap()
            .fetched,
        1
    );
}

#[test]
fn an_answer_without_end_is_cut_off() {
    let lab = Lab::new();
    let url = lab.server.route(PATH, TOOL, [Endless]);
    let error = lab.fetch(&lockfile([plain(&[url], TOOL)])).unwrap_err();
    assert_eq!(error.kind(), Kind::Integrity);
    let shown = lab.shown(&error);
    assert!(shown.contains("at most 40 bytes"), "{shown}");
    assert!(
        shown.contains("tool-0 1.2.3") && shown.contains("http://HOST/v1.2.3/tool"),
        "{shown}"
    );
    assert_eq!(lab.server.requests().len(), 1);
    assert!(lab.unfinished().is_empty());
}

#[test]
fn a_length_that_is_not_the_pinned_one_is_an_error_before_the_first_byte() {
    for length in [39, 41] {
        let lab = Lab::new();
        let url = lab.server.route(PATH, TOOL, [Length(length)]);
        let error = lab.fetch(&lockfile([plain(&[url], TOOL)])).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        let shown = lab.shown(&error);
        assert!(shown.contains("expected  40 bytes"), "{shown}");
        assert!(
            shown.contains(&format!("found     {length} bytes")),
            "{shown}"
        );
        assert_eq!(lab.server.requests().len(), 1);
    }
}

#[test]
fn a_web_page_instead_of_the_file_is_called_one() {
    let lab = Lab::new();
    let mut pin = plain(&[lab.server.route(PATH, TOOL, [Page])], TOOL);
    for size in [Value::Null, json!(40)] {
        pin["size"] = size;
        let error = lab.fetch(&lockfile([pin.clone()])).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity);
        let shown = lab.shown(&error);
        assert!(shown.contains(", a web page"), "{shown}");
    }
}

#[test]
fn what_is_not_at_one_url_is_taken_from_the_next_at_once() {
    for status in [403, 404, 410] {
        let lab = Lab::new();
        let gone = lab
            .server
            .route("/gone/1.2.3", b"", [Behaviour::status(status)]);
        let url = lab.server.good(PATH, TOOL);
        lab.fetch(&lockfile([plain(&[gone, url], TOOL)])).unwrap();
        assert_eq!(lab.server.requests().len(), 2);
        assert!(lab.waits().is_empty());
    }
}

#[test]
fn not_found_anywhere() {
    let lab = Lab::new();
    let urls = [lab.server.url("/a/1.2.3"), lab.server.url("/b/1.2.3")];
    let good = plain(&[lab.server.good(PATH, TOOL)], TOOL);
    let other = plain(&[lab.server.url("/c/1.2.3")], b"other");
    let pins = lockfile([plain(&urls, b"tool"), good, other]);
    let error = lab.fetch(&pins).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    insta::assert_snapshot!(lab.shown(&error), @r"
    tool-0 1.2.3: cannot be fetched
      url     http://HOST/a/1.2.3
      reason  404 Not Found
      url     http://HOST/b/1.2.3
      reason  404 Not Found
      also    tool-2 1.2.3: cannot be fetched

    hint: check the network and the proxy settings, or name a place that has the files with `--mirror DIR|URL`; once they are all in the cache, `--offline` needs no network
    ");
    assert!(
        lab.cache.contains(&digest_of(TOOL)),
        "the rest is fetched all the same"
    );
}

#[test]
fn a_server_that_wants_to_be_left_alone_is() {
    for (asked, waited) in [("7", 7), ("3600", 60)] {
        let lab = Lab::new();
        let busy = Status(429, Some(("Retry-After", asked.to_owned())));
        let url = lab.server.route(PATH, TOOL, [busy, Good]);
        lab.fetch(&lockfile([plain(&[url], TOOL)])).unwrap();
        assert_eq!(lab.waits(), [Duration::from_secs(waited)]);
    }
}

#[test]
fn a_server_in_trouble_is_asked_four_times_with_growing_waits() {
    for (status, troubles) in [(408, 1), (500, 2), (503, 3), (502, 4)] {
        let lab = Lab::new();
        let mut script = vec![Behaviour::status(status); troubles];
        script.push(Good);
        let url = lab.server.route(PATH, TOOL, script);
        let result = lab.fetch(&lockfile([plain(&[url], TOOL)]));
        let waits = lab.waits();
        assert_eq!(waits.len(), troubles.min(3));
        for (wait, least) in waits.iter().zip([1, 2, 4]) {
            let least = Duration::from_secs(least);
            assert!(*wait >= least && *wait < least * 2, "{waits:?}");
        }
        if troubles < 4 {
            result.unwrap();
        } else {
            let shown = lab.shown(&result.unwrap_err());
            assert!(shown.contains("502 Bad Gateway (4 tries)"), "{shown}");
        }
    }
}

#[test]
fn redirects_are_followed_but_not_in_circles() {
    let lab = Lab::new();
    let url = lab.server.good(PATH, TOOL);
    let moved = lab
        .server
        .route("/moved/1.2.3", b"", [Redirect(PATH.to_owned())]);
    lab.fetch(&lockfile([plain(&[moved], TOOL)])).unwrap();
    assert_eq!(lab.server.requests_for(PATH).len(), 1);
    drop(url);

    let here = lab
        .server
        .route("/here/1.2.3", b"", [Redirect("/there/1.2.3".to_owned())]);
    lab.server
        .route("/there/1.2.3", b"", [Redirect(here.clone())]);
    let error = lab.fetch(&lockfile([plain(&[here], b"loop")])).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    insta::assert_snapshot!(lab.shown(&error), @r"
    tool-0 1.2.3: cannot be fetched
      url     http://HOST/here/1.2.3
      reason  redirect loop: http://HOST/here/1.2.3 → http://HOST/there/1.2.3 → http://HOST/here/1.2.3

    hint: check the network and the proxy settings, or name a place that has the files with `--mirror DIR|URL`; once they are all in the cache, `--offline` needs no network
    ");
    assert_eq!(lab.server.requests_for("/here/1.2.3").len(), 1);
}

#[test]
fn a_server_that_falls_silent_is_given_up() {
    let lab = Lab::with_patience(Duration::from_millis(250));
    let url = lab.server.route(PATH, TOOL, [Stall(5)]);
    let error = lab.fetch(&lockfile([plain(&[url], TOOL)])).unwrap_err();
    assert_eq!(error.kind(), Kind::Network);
    let shown = lab.shown(&error);
    assert!(shown.contains(" for 250ms (4 tries)"), "{shown}");
}

#[test]
fn a_slow_server_is_not_in_trouble() {
    let lab = Lab::new();
    let url = lab.server.route(PATH, TOOL, [Trickle]);
    lab.fetch(&lockfile([plain(&[url], TOOL)])).unwrap();
    assert_eq!(lab.server.requests().len(), 1);
}

#[test]
fn four_at_once_and_each_digest_once() {
    let lab = Lab::new();
    let barrier = Arc::new(Barrier::new(4));
    let pin = |n: u8| {
        let meet = Meet(Arc::clone(&barrier));
        plain(
            &[lab.server.route(&format!("/{n}/1.2.3"), &[n], [meet])],
            &[n],
        )
    };
    let pins = lockfile((0..8).map(pin).chain([pin(0), pin(7)]));
    let summary = lab.fetch(&pins).unwrap();
    assert_eq!((summary.fetched, summary.bytes), (8, 8));
    assert_eq!(lab.server.requests().len(), 8);
    assert_eq!(lab.server.most_active(), 4);
}

#[test]
fn an_unpinned_download_is_refused() {
    let lab = Lab::new();
    let mut pin = plain(&[lab.server.good(PATH, TOOL)], TOOL);
    pin["digest"] = Value::Null;
    let error = lab.fetch(&lockfile([pin])).unwrap_err();
    let shown = lab.shown(&error);
    assert!(
        shown.contains("tool-0") && shown.contains("`builder lock --update tool-0`"),
        "{shown}"
    );
    assert!(lab.server.requests().is_empty());
}

#[test]
fn the_debian_archive_is_asked_for_once_and_only_if_needed() {
    let asked = Mutex::new(0);
    let lab = Lab::new();
    let base = lab.server.url("/debian/");
    let ask = || {
        *asked.lock().unwrap() += 1;
        Ok(base.clone())
    };
    let pin = |deb: &[u8]| {
        let path = format!("pool/main/t/tool/tool-{}_1.2.3_amd64.deb", deb.len());
        lab.server.good(&format!("/debian/{path}"), deb);
        artifact("deb", &[format!("debian:{path}")], deb)
    };
    let pins = lockfile([pin(TOOL), pin(b"another")]);
    for _ in 0..2 {
        lab.fetch_with(&pins, |options| options.debian_base = &ask)
            .unwrap();
    }
    assert_eq!(*asked.lock().unwrap(), 1);
    let error = lab.fetch_with(&lockfile([pin(b"third")]), |options| {
        options.debian_base = &|| Err(Error::new(Kind::Host, "no Debian archive is configured"));
    });
    let shown = error.unwrap_err().to_string();
    assert!(
        shown.contains("debian:pool/main") && shown.contains("no Debian archive"),
        "{shown}"
    );
}
