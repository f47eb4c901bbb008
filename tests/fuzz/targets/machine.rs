//! The files of a machine that the checks read: those of subordinate ids and users, and those of the kernel.
//!
//! An input has a section for each file: a line `## PATH`, then the file's text. Without one, it is `/etc/subuid`.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::path::Path;

use stub::config::{Cni, Config, DnsName};
use stub::host::{Machine, Manager, admin, check as examine, delegated, refusal, report};
use tempfile::TempDir;

/// The files that the checks read. All others are left out.
const FILES: [&str; 12] = [
    "/etc/passwd",
    "/etc/subgid",
    "/etc/subuid",
    "/proc/net/fib_trie",
    "/proc/net/if_inet6",
    "/proc/net/route",
    "/proc/self/cgroup",
    "/proc/self/mounts",
    "/proc/sys/fs/inotify/max_user_instances",
    "/proc/sys/fs/inotify/max_user_watches",
    "/proc/sys/kernel/hostname",
    "/proc/sys/net/ipv4/ip_unprivileged_port_start",
];

thread_local! {
    static ROOT: OnceCell<TempDir> = const { OnceCell::new() };
}

pub(crate) fn check(input: &[u8]) {
    let mut files: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let mut file = "/etc/subuid";
    for line in input.split_inclusive(|byte| *byte == b'\n') {
        let path = line.strip_prefix(b"## ").map(<[u8]>::trim_ascii);
        let known = path.and_then(|path| FILES.iter().find(|file| file.as_bytes() == path));
        match known {
            Some(known) => file = known,
            None => files.entry(file).or_default().extend(line),
        }
    }
    ROOT.with(|root| {
        let root = root.get_or_init(|| tempfile::tempdir().expect("a directory"));
        for (path, text) in &files {
            let path = root.path().join(path.trim_start_matches('/'));
            let parent = path.parent().expect("it has one");
            if !parent.exists() {
                fs_err::create_dir_all(parent).expect("a directory");
            }
            fs_err::write(path, text).expect("written");
        }
        look(root.path());
        for path in files.keys() {
            let path = root.path().join(path.trim_start_matches('/'));
            fs_err::remove_file(path).expect("removed");
        }
    });
}

fn look(root: &Path) {
    let machine = Machine {
        root: root.to_owned(),
        uid: 1001,
        gid: 1002,
        user: Some("u".to_owned()),
        runtime_dir: None,
        private_dir: None,
        path: "/nowhere".into(),
        program: None,
    };
    let mut config = Config::new(DnsName::new("n").expect("a name"), Cni::Bridge);
    // Nothing is to be bound here.
    config.publish.clear();
    for manager in [Manager::not_needed(), Manager::ask(&machine)] {
        let findings = examine(&machine, &manager, &config, root, root, None);
        let _ = (report(&findings), refusal(&findings).to_string());
        let _ = (admin::block(&findings), admin::undo(&findings));
        for admin in findings.iter().filter_map(|finding| finding.admin.as_ref()) {
            // Root runs these lines, so none of them may be made of two.
            let lines = admin.commands.iter().chain(&admin.undo);
            assert!(lines.into_iter().all(|line| !line.contains('\n')));
        }
    }
    let _ = (
        machine.addresses(),
        machine.host_name(),
        delegated(&machine).is_ok(),
    );
    let _ = DnsName::derive(&machine.host_name());
}
