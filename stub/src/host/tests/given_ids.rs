//! Subordinate ids and the programs that map them.

use std::os::unix::fs::symlink;

use super::super::{Level, admin, ids};
use super::{SUBIDS, machine, text};

#[test]
fn programs_that_map_ids() {
    let (_dir, m) = machine(&[]);
    let missing = ids::programs(&m);
    assert_eq!(missing[0].found, "there is no `newuidmap` in PATH");
    // Both have the same cure, once.
    assert_eq!(
        admin::block(&missing)
            .unwrap()
            .matches("apt-get install")
            .count(),
        1
    );
    insta::assert_snapshot!(text(ids::judge_program("newuidmap", "/usr/bin/newuidmap", false, false)), @r"
    fatal newuidmap: /usr/bin/newuidmap may not map ids
          expected  set-user-ID root, or file capabilities
          fix       have the block for the administrator run
    sudo sh -eux <<'EOF'
    chmod u+s /usr/bin/newuidmap
    EOF
    sudo sh -eux <<'EOF'
    chmod u-s /usr/bin/newuidmap
    EOF
    ");
    assert_eq!(
        ids::judge_program("newuidmap", "/n", false, true).level,
        Level::Ok
    );
}

#[test]
fn a_free_range_is_proposed_to_who_has_none() {
    let (_dir, m) = machine(&[
        ("/etc/subuid", "other:100000:65536\nmore:165536:10\n"),
        ("/etc/subgid", SUBIDS),
    ]);
    let [uids, gids] = ids::ranges(&m).try_into().unwrap();
    insta::assert_snapshot!(text(uids), @r"
    fatal subuid: /etc/subuid gives u no ids
          expected  at least 65536 ids
          fix       have the block for the administrator run
    sudo sh -eux <<'EOF'
    grep -q '^u:296608:' /etc/subuid 2>/dev/null || usermod --add-subuids 296608-362143 u
    EOF
    sudo sh -eux <<'EOF'
    usermod --del-subuids 296608-362143 u
    EOF
    ");
    assert_eq!(gids.found, "65536 ids from /etc/subgid: 231072:65536");
}

#[test]
fn ranges_that_do_not_do() {
    let found = |subuid: &str| {
        let (_dir, m) = machine(&[("/etc/subuid", subuid)]);
        let finding = ids::ranges(&m).remove(0);
        (finding.level, finding.found)
    };
    assert_eq!(found("1001:231072:65536\n").0, Level::Ok);
    assert_eq!(found("u:200000:40000\nu:300000:40000\n").0, Level::Ok);
    assert_eq!(
        found("u:231072:1000\n"),
        (
            Level::Fatal,
            "/etc/subuid gives u only 1000 ids: 231072:1000".to_owned()
        )
    );
    assert_eq!(
        found("u:x:65536\nu:231072\n:1:65536\nuu:231072:65536\n").1,
        "/etc/subuid gives u no ids"
    );
    assert_eq!(
        found("\u{feff}u:231072:65536\n").1,
        "/etc/subuid gives u no ids: a byte order mark stands before its first line"
    );
    assert_eq!(
        found("u\0:\0").1,
        "/etc/subuid gives u no ids: it is UTF-16, which nothing reads there"
    );
    let (level, text) = found("u:1000:65536\n");
    assert_eq!(
        (level, text.ends_with("which holds 1001, your own id")),
        (Level::Fatal, true)
    );
    let (level, text) = found("u:231072:65536\nv:290000:65536\n");
    assert_eq!(
        (level, text.as_str()),
        (Level::Warn, "/etc/subuid: v has ids of yours, 290000:65536")
    );
}

#[test]
fn ranges_of_a_directory_service_and_links() {
    let (_dir, m) = machine(&[("/bin/getsubids", "#!/bin/sh\necho \"0: u 500000 65536\"\n")]);
    assert_eq!(
        ids::ranges(&m)[0].found,
        "65536 ids from getsubids: 500000:65536"
    );
    let (dir, m) = machine(&[("/etc/elsewhere", SUBIDS)]);
    symlink("elsewhere", dir.path().join("etc/subuid")).unwrap();
    assert_eq!(ids::ranges(&m)[0].level, Level::Warn);
}

#[test]
fn the_own_group_is_what_ranges_of_groups_must_not_hold() {
    let ranges = [("/etc/subuid", SUBIDS), ("/etc/subgid", "u:1002:65536\n")];
    let (_dir, mut m) = machine(&ranges);
    let found = &ids::ranges(&m)[1].found;
    assert!(
        found.ends_with("which holds 1002, your own group id"),
        "{found}"
    );
    // The user's id is no group.
    (m.uid, m.gid) = (1003, 1000);
    assert_eq!(ids::ranges(&m)[1].level, Level::Ok);
}
