//! Subordinate ids and the programs that map them.

use crate::host::CheckId;
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
    insta::assert_snapshot!(text(ids::judge_program(CheckId::Newuidmap, "/usr/bin/newuidmap", false, false)), @r"
    fatal newuidmap: /usr/bin/newuidmap is not allowed to map ids
          expected  set-user-ID root, or file capabilities
          fix       ask an administrator to run the commands below
    sudo sh -ux <<'EOF'
    failed=0
    chmod u+s /usr/bin/newuidmap || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    chmod u-s /usr/bin/newuidmap || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    ");
    assert_eq!(
        ids::judge_program(CheckId::Newuidmap, "/n", false, true).level,
        Level::Ok
    );
}

#[test]
fn a_free_range_is_proposed_to_who_has_none() {
    let (_dir, m) = machine(&[
        ("/etc/passwd", "u:x:1001:1002::/home/u:/bin/sh\n"),
        ("/etc/subuid", "other:100000:65536\nmore:165536:10\n"),
        ("/etc/subgid", SUBIDS),
    ]);
    let [uids, gids] = ids::ranges(&m).try_into().unwrap();
    insta::assert_snapshot!(text(uids), @r"
    fatal subuid: /etc/subuid gives u no ids
          expected  at least 65536 ids
          fix       ask an administrator to run the commands below
    sudo sh -ux <<'EOF'
    failed=0
    grep -qsxF -e u:296608:65536 /etc/subuid || usermod --add-subuids 296608-362143 -- u || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    usermod --del-subuids 296608-362143 -- u || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    ");
    assert_eq!(gids.found, "65536 ids from /etc/subgid: 231072:65536");
}

/// Found while `tests/fuzz` was written: such numbers made a sum overflow, and a long file took seconds.
#[test]
fn ranges_that_no_ids_fit_into_are_left_out() {
    let max = u64::MAX;
    let (_dir, m) = machine(&[
        (
            "/etc/subuid",
            &format!("u:{max}:{max}\nu:1:{max}\n{SUBIDS}"),
        ),
        ("/etc/subgid", "u:4294901761:65536\nu:4294901760:65535\n"),
    ]);
    let [uids, gids] = ids::ranges(&m).try_into().unwrap();
    assert_eq!(uids.found, "65536 ids from /etc/subuid: 231072:65536");
    assert_eq!(
        gids.found,
        "/etc/subgid gives u only 65535 ids: 4294901760:65535"
    );
    let full = format!("{}x:0:4294967295\n", "x:1:1\n".repeat(10_000));
    let (_dir, m) = machine(&[("/etc/subuid", &full)]);
    let [uids, _] = ids::ranges(&m).try_into().unwrap();
    assert!(uids.fix.contains("already taken"), "{}", uids.fix);
}

/// As of a directory service: the machine's own list does not have them, and USER can say anything.
#[test]
fn users_who_are_not_local_are_named_by_number() {
    let (_dir, mut m) = machine(&[("/etc/passwd", "other:x:1000:1000::/home/other:/bin/sh\n")]);
    for name in [r"CORP\jdoe", "a b", "x;reboot", "$(reboot)", "it's"] {
        m.user = Some(name.to_owned());
        let [uids, gids] = ids::ranges(&m).try_into().unwrap();
        assert_eq!(uids.found, format!("/etc/subuid gives {name} no ids"));
        let block = admin::block(&[uids, gids]).unwrap();
        assert!(!block.contains(name), "{block}");
    }
    let (_dir, mut m) = machine(&[("/etc/subuid", "other:100000:65536")]);
    // In the middle of ranges that would be free but for them.
    (m.uid, m.gid) = (231_080, 165_600);
    let [uids, _] = ids::ranges(&m).try_into().unwrap();
    insta::assert_snapshot!(text(uids), @r"
    fatal subuid: /etc/subuid gives u no ids
          expected  at least 65536 ids
          fix       ask an administrator to run the commands below
    sudo sh -ux <<'EOF'
    failed=0
    grep -qsxF -e 231080:296608:65536 /etc/subuid || printf '\n%s\n' 231080:296608:65536 >>/etc/subuid || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    sed -i -e '/^231080:296608:65536$/d' /etc/subuid || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    ");
}

#[test]
fn where_all_ids_are_given_none_are_proposed() {
    let (_dir, m) = machine(&[("/etc/subuid", "full:65536:4294900000\n")]);
    let finding = ids::ranges(&m).remove(0);
    assert_eq!((finding.level, finding.admin), (Level::Fatal, None));
    assert!(finding.fix.ends_with("is already taken"), "{}", finding.fix);
}

/// A shell runs the commands of a finding, as root would, on files of the test: twice, with a first command that fails.
#[test]
fn the_block_goes_on_after_a_failure_and_may_be_run_twice() {
    let (dir, m) = machine(&[("/etc/subuid", "other:100000:65536")]);
    let mut uids = ids::ranges(&m).remove(0);
    let admin = uids.admin.as_mut().unwrap();
    admin.commands.insert(0, "false".to_owned());
    let file = dir.path().join("etc/subuid");
    let run = |block: Option<String>| {
        let script = block
            .unwrap()
            .replace("/etc/subuid", file.to_str().unwrap());
        let script = script.replacen("sudo ", "", 1);
        let mut shell = std::process::Command::new("/bin/sh");
        let output = shell.args(["-c", &script]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), said)
    };
    let text = || fs_err::read_to_string(&file).unwrap();
    for _ in 0..2 {
        let (code, said) = run(admin::block(std::slice::from_ref(&uids)));
        assert_eq!(code, Some(1), "{said}");
        assert!(
            said.contains("at least one of these commands failed"),
            "{said}"
        );
        assert_eq!(text(), "other:100000:65536\n1001:165536:65536\n");
    }
    assert_eq!(ids::ranges(&m)[0].level, Level::Ok);
    let (code, said) = run(admin::undo(&[uids]));
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(text(), "other:100000:65536\n");
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
        "/etc/subuid gives u no ids: it begins with a byte order mark"
    );
    assert_eq!(
        found("u\0:\0").1,
        "/etc/subuid gives u no ids: it is UTF-16, which the programs that use it cannot read"
    );
    let (level, text) = found("u:1000:65536\n");
    assert_eq!(
        (level, text.ends_with("which contains 1001, your own id")),
        (Level::Fatal, true)
    );
    let (level, text) = found("u:231072:65536\nv:290000:65536\n");
    assert_eq!(
        (level, text.as_str()),
        (
            Level::Warn,
            "/etc/subuid also gives ids of yours to v: 290000:65536"
        )
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
        found.ends_with("which contains 1002, your own group id"),
        "{found}"
    );
    // The user's id is no group.
    (m.uid, m.gid) = (1003, 1000);
    assert_eq!(ids::ranges(&m)[1].level, Level::Ok);
}
