//! What other programs print: systemd, etcdctl, ctr, crictl and flannel.

use stub::images::{is_given, of_crictl, of_ctr};
use stub::lifecycle::fuzz::etcd;
use stub::network::flannel;
use stub::systemd::fuzz::{units, words};

/// Answers of `systemctl show`: a block for each unit, or a list.
pub(crate) fn systemd(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let all = units(text);
    assert!(all.len() <= text.len());
    for unit in &all {
        // A unit that runs has not ended.
        assert!(!(unit.is_active() && unit.is_stopped()));
        assert!(!(unit.is_active() && unit.has_failed()));
        let state = unit.state();
        assert!(!state.is_empty() && state.len() <= text.len() + 100);
        if let Some(started) = unit.started() {
            assert!(started.len() <= text.len() + 2);
        }
        let _ = (unit.start_up(), unit.restarts(), unit.is_enabled());
    }
    for list in text.lines() {
        let found = words(list);
        let length: usize = found.iter().map(|word| word.len()).sum();
        assert!(length <= list.len());
        if !list.contains(['"', '\'', '\\']) {
            assert!(
                list.split_ascii_whitespace()
                    .eq(found.iter().filter_map(|w| w.to_str()))
            );
        }
    }
}

/// Answers of the programs in a bundle.
pub(crate) fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let _ = etcd(text);
    for (name, digest) in of_ctr(text)
        .iter()
        .chain(&of_crictl(text).unwrap_or_default())
    {
        assert!(name.len() + digest.len() <= text.len());
        let _ = is_given(name);
    }
    if let Ok(bridge) = flannel::bridge(text) {
        assert!(text.contains(&format!("/{}", bridge.subnet.prefix())));
    }
}
