//! One bad machine for each finding, made of files.

mod places;

use std::os::unix::fs::{PermissionsExt, symlink};

use rustix::process::getuid;
use tempfile::TempDir;

use super::*;
use crate::config::{Cni, DnsName};

/// A machine of the user `u`, 1001, with these files on it.
fn machine(files: &[(&str, &str)]) -> (TempDir, Machine) {
    let dir = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = dir.path().join(path.trim_start_matches('/'));
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(&path, text).unwrap();
        let mode = if text.starts_with("#!") { 0o755 } else { 0o644 };
        fs_err::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
    }
    let machine = Machine {
        root: dir.path().to_owned(),
        uid: 1001,
        user: Some("u".to_owned()),
        runtime_dir: None,
        path: "/bin".into(),
        program: None,
    };
    (dir, machine)
}

fn config() -> Config {
    Config::new(DnsName::new("n").unwrap(), Cni::Bridge)
}

fn text(finding: Finding) -> String {
    let findings = [finding];
    let mut text = report(&findings);
    for block in [admin::block(&findings), admin::undo(&findings)]
        .into_iter()
        .flatten()
    {
        text.push_str(&block);
    }
    text
}

const SUBIDS: &str = "other:100000:65536\nu:231072:65536\n";

#[test]
fn root_and_nobody() {
    let (_dir, mut machine) = machine(&[(
        "/etc/passwd",
        "root:x:0:0::/root:/bin/sh\nme:x:1001:1001::/home/me:/bin/sh\n",
    )]);
    assert_eq!(session::user(&machine).found, "me, user id 1001");
    machine.uid = 1002;
    assert_eq!(session::user(&machine).found, "u, user id 1002");
    machine.user = None;
    assert_eq!(session::user(&machine).level, Level::Warn);
    machine.uid = 0;
    insta::assert_snapshot!(text(session::user(&machine)), @r"
    fatal user: this is root
          expected  an ordinary user, whose cluster it will be
          fix       log in as that user, without `sudo`
    ");
}

#[test]
fn a_runtime_directory_is_found_where_it_must_be() {
    let (dir, mut machine) = machine(&[]);
    insta::assert_snapshot!(text(session::runtime_dir(&machine)), @r"
    fatal runtime-dir: XDG_RUNTIME_DIR is not set, and there is no /run/user/1001 of yours
          expected  a directory that belongs to you, made by the login
          fix       log in over ssh, on a console or with `machinectl shell $(id -un)@`; `su` and `sudo` start no session
    ");
    machine.uid = getuid().as_raw();
    fs_err::create_dir_all(machine.at(machine.usual_session_dir())).unwrap();
    let finding = session::runtime_dir(&machine);
    assert_eq!(finding.level, Level::Note, "{finding:?}");
    // The environment of the user one was before `su`.
    machine.runtime_dir = Some("/proc/1".into());
    if machine.uid != 0 {
        assert_eq!(session::runtime_dir(&machine).level, Level::Note);
    }
    machine.runtime_dir = Some(dir.path().to_owned());
    assert_eq!(session::runtime_dir(&machine).level, Level::Ok);
}

#[test]
fn service_managers() {
    let (_dir, m) = machine(&[]);
    insta::assert_snapshot!(text(session::manager(&m, &Manager::ask(&m))), @r#"
    fatal systemd-user: there is no `systemctl` in PATH
          expected  an answer from your own systemd (`systemctl --user`)
          fix       use a machine that runs systemd, or only unpack with `install --start ""`
    "#);
    let failing = "#!/bin/sh\necho 'Failed to connect to bus: No medium found' >&2\nexit 1\n";
    let (_dir, m) = machine(&[("/bin/systemctl", failing)]);
    assert_eq!(
        session::manager(&m, &Manager::ask(&m)).found,
        "this machine was not booted with systemd"
    );
    let (_dir, m) = machine(&[("/bin/systemctl", failing), ("/run/systemd/system/x", "")]);
    insta::assert_snapshot!(text(session::manager(&m, &Manager::ask(&m))), @r"
    fatal systemd-user: Failed to connect to bus: No medium found
          expected  an answer from your own systemd (`systemctl --user`)
          fix       log in over ssh, on a console or with `machinectl shell $(id -un)@`; `su` and `sudo` start no session; on Debian and Ubuntu the package `dbus-user-session` must be there
    ");
    let old = "#!/bin/sh\nprintf 'Version=247.3-7\\nSystemState=running\\nControlGroup=/a/b\\n'\n";
    let (_dir, m) = machine(&[("/bin/systemctl", old)]);
    let manager = Manager::ask(&m);
    assert_eq!(
        (manager.control_group(), manager.version()),
        (Some("/a/b"), Some(247))
    );
    insta::assert_snapshot!(text(session::manager(&m, &manager)), @r"
    warn  systemd-user: systemd 247.3-7, running
          expected  systemd 249 or later
          fix       units that fail for good will not come back by themselves: `usernetes restart` brings them back
    ");
}

#[test]
fn lingering() {
    let (_dir, m) = machine(&[]);
    insta::assert_snapshot!(text(session::linger(&m)), @r"
    warn  linger: the cluster stops when you log out
          expected  lingering for u
          fix       run `loginctl enable-linger`, which `install` tries by itself
    sudo sh -eux <<'EOF'
    loginctl enable-linger u
    EOF
    sudo sh -eux <<'EOF'
    loginctl disable-linger u
    EOF
    ");
    let (_dir, m) = machine(&[("/var/lib/systemd/linger/u", "")]);
    assert_eq!(session::linger(&m).level, Level::Ok);
}

#[test]
fn cgroups() {
    assert_eq!(cgroup::judge_version(Some(0x6367_7270)).level, Level::Ok);
    insta::assert_snapshot!(text(cgroup::judge_version(Some(0x0102_1994))), @r"
    fatal cgroup-v2: /sys/fs/cgroup is not cgroup v2, but version 1 or a mixture
          expected  the unified hierarchy, version 2
          fix       boot with the kernel parameter `systemd.unified_cgroup_hierarchy=1`, for example in GRUB_CMDLINE_LINUX of /etc/default/grub
    ");
}

#[test]
fn controllers_are_whole_words() {
    let file = "/sys/fs/cgroup/user.slice/user-1001.slice/user@1001.service/cgroup.controllers";
    let (_dir, m) = machine(&[(file, "cpuset io memory pids\n")]);
    insta::assert_snapshot!(text(cgroup::controllers(&m, None)), @r"
    fatal cgroup-controllers: your systemd was not given the controllers cpu
          expected  cpu memory pids in /sys/fs/cgroup/user.slice/user-1001.slice/user@1001.service/cgroup.controllers
          fix       have the block for the administrator run, then log out of all sessions and in again
    sudo sh -eux <<'EOF'
    mkdir -p /etc/systemd/system/user@.service.d
    printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >/etc/systemd/system/user@.service.d/usernetes-delegate.conf
    systemctl daemon-reload
    EOF
    sudo sh -eux <<'EOF'
    rm -f /etc/systemd/system/user@.service.d/usernetes-delegate.conf
    systemctl daemon-reload
    EOF
    ");
    let (_dir, m) = machine(&[
        (file, "memory pids\n"),
        (
            "/etc/systemd/system/user@.service.d/usernetes-delegate.conf",
            "",
        ),
    ]);
    assert!(
        cgroup::controllers(&m, None)
            .fix
            .ends_with("log out of all sessions and in again, or reboot")
    );
    let (_dir, m) = machine(&[(
        "/sys/fs/cgroup/here/cgroup.controllers",
        "cpu memory pids\n",
    )]);
    assert_eq!(cgroup::controllers(&m, Some("/here")).level, Level::Ok);
    assert_eq!(cgroup::controllers(&m, None).level, Level::Fatal);
}

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
fn what_forbids_namespaces() {
    let data = Path::new("/home/u/.local/share/usernetes");
    let (_dir, m) = machine(&[("/proc/sys/user/max_user_namespaces", "0\n")]);
    assert_eq!(
        namespaces::allowed(&m, data).found,
        "user.max_user_namespaces is 0, which forbids user namespaces"
    );
    let (_dir, m) = machine(&[("/proc/sys/kernel/unprivileged_userns_clone", "0\n")]);
    insta::assert_snapshot!(text(namespaces::allowed(&m, data)), @r"
    fatal user-namespaces: kernel.unprivileged_userns_clone is 0, which forbids user namespaces to all but root
          expected  kernel.unprivileged_userns_clone = 1 or more
          fix       have the block for the administrator run
    sudo sh -eux <<'EOF'
    echo kernel.unprivileged_userns_clone=1 >/etc/sysctl.d/99-usernetes-userns.conf
    sysctl -q -p /etc/sysctl.d/99-usernetes-userns.conf
    EOF
    sudo sh -eux <<'EOF'
    rm -f /etc/sysctl.d/99-usernetes-userns.conf
    sysctl -q -w kernel.unprivileged_userns_clone=0
    EOF
    ");
    let apparmor = (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1\n",
    );
    let (_dir, m) = machine(&[apparmor]);
    insta::assert_snapshot!(text(namespaces::allowed(&m, data)), @r#"
    fatal user-namespaces: AppArmor forbids user namespaces to programs without a profile
          expected  a profile for "/home/u/.local/share/usernetes/store/*-rootlesskit-*/**" in /etc/apparmor.d/usernetes
          fix       have the block for the administrator run
    sudo sh -eux <<'EOF'
    cat >/etc/apparmor.d/usernetes <<'PROFILE'
    abi <abi/4.0>,
    include <tunables/global>
    profile usernetes "/home/u/.local/share/usernetes/store/*-rootlesskit-*/**" flags=(unconfined) {
      userns,
    }
    PROFILE
    apparmor_parser --replace /etc/apparmor.d/usernetes
    EOF
    sudo sh -eux <<'EOF'
    apparmor_parser --remove /etc/apparmor.d/usernetes || true
    rm -f /etc/apparmor.d/usernetes
    EOF
    "#);
    let profile = (
        "/etc/apparmor.d/usernetes",
        "x /home/u/.local/share/usernetes/store/*-rootlesskit-*/** y",
    );
    let (_dir, m) = machine(&[apparmor, profile]);
    assert_eq!(namespaces::allowed(&m, data).level, Level::Note);
}

#[test]
fn a_probe_that_fails_says_why() {
    let (dir, mut m) = machine(&[(
        "/bin/probe",
        "#!/bin/sh\necho 'making a user namespace failed: EPERM'\n",
    )]);
    m.program = Some(dir.path().join("bin/probe"));
    let finding = namespaces::allowed(&m, dir.path());
    assert_eq!(
        (finding.level, finding.found.as_str()),
        (Level::Fatal, "making a user namespace failed: EPERM")
    );
    let works = "#!/bin/sh\necho unshared\nread word\necho mounted\n";
    let (dir, mut m) = machine(&[("/bin/probe", works)]);
    m.program = Some(dir.path().join("bin/probe"));
    assert_eq!(namespaces::allowed(&m, dir.path()).level, Level::Ok);
}

#[test]
fn missing_devices() {
    let (_dir, m) = machine(&[("/dev/fuse", "")]);
    insta::assert_snapshot!(text(devices::tun(&m)), @r"
    fatal tun: /dev/net/tun is missing
          expected  a device that you may open: slirp4netns connects the cluster with it
          fix       have the block for the administrator run
    sudo sh -eux <<'EOF'
    modprobe tun
    echo tun >/etc/modules-load.d/usernetes-tun.conf
    chmod 0666 /dev/net/tun
    EOF
    sudo sh -eux <<'EOF'
    rm -f /etc/modules-load.d/usernetes-tun.conf
    EOF
    ");
    assert_eq!(devices::fuse(&m).found, "/dev/fuse is not a device");
}

#[test]
fn inotify_instances_in_use_are_counted() {
    let limits = |instances| {
        [
            ("/proc/sys/fs/inotify/max_user_instances", instances),
            ("/proc/sys/fs/inotify/max_user_watches", "65536\n"),
        ]
    };
    let (dir, mut m) = machine(&limits("65\n"));
    m.uid = getuid().as_raw();
    fs_err::create_dir_all(dir.path().join("proc/7/fd")).unwrap();
    symlink("anon_inode:inotify", dir.path().join("proc/7/fd/3")).unwrap();
    assert_eq!(devices::inotify(&m).level, Level::Ok);
    symlink("anon_inode:inotify", dir.path().join("proc/7/fd/4")).unwrap();
    insta::assert_snapshot!(text(devices::inotify(&m)), @r#"
    warn  inotify: 65 instances, 2 of them in use, and 65536 watches
          expected  64 free instances and 8192 watches, or programs fail with "too many open files"
          fix       have the block for the administrator run
    sudo sh -eux <<'EOF'
    printf 'fs.inotify.max_user_instances=8192\nfs.inotify.max_user_watches=524288\n' >/etc/sysctl.d/99-usernetes-inotify.conf
    sysctl -q -p /etc/sysctl.d/99-usernetes-inotify.conf
    EOF
    sudo sh -eux <<'EOF'
    rm -f /etc/sysctl.d/99-usernetes-inotify.conf  # takes effect with the next boot
    EOF
    "#);
}

#[test]
fn all_that_is_fatal_is_one_error() {
    let (_dir, m) = machine(&[
        ("/etc/subuid", SUBIDS),
        ("/etc/subgid", SUBIDS),
        ("/bin/newuidmap", "#!/bin/sh\n"),
    ]);
    let all = check(
        &m,
        &config(),
        Path::new("/nowhere/data"),
        Path::new("/nowhere/config"),
    );
    let fatal: Vec<_> = all
        .into_iter()
        .filter(|f| f.level == Level::Fatal)
        .collect();
    let ids: Vec<_> = fatal.iter().map(|f| f.id).collect();
    assert_eq!(
        ids,
        [
            "runtime-dir",
            "systemd-user",
            "cgroup-v2",
            "cgroup-controllers",
            "newuidmap",
            "newgidmap",
            "tun"
        ]
    );
    insta::assert_snapshot!(refusal(&fatal[4..]), @r"
    3 things must be put right before a cluster can run here
      newuidmap  /bin/newuidmap may not map ids
                 expected: set-user-ID root, or file capabilities
                 fix: have the block for the administrator run
      newgidmap  there is no `newgidmap` in PATH
                 expected: the package `uidmap` (Debian, Ubuntu) or `shadow-utils` (Fedora, RHEL)
                 fix: install that package
      tun        /dev/net/tun is missing
                 expected: a device that you may open: slirp4netns connects the cluster with it
                 fix: have the block for the administrator run

    hint: nothing was changed; an administrator runs this, and then you try again:

    sudo sh -eux <<'EOF'
    chmod u+s /bin/newuidmap
    if command -v apt-get >/dev/null; then apt-get install -y uidmap; elif command -v dnf >/dev/null; then dnf install -y shadow-utils; fi
    modprobe tun
    echo tun >/etc/modules-load.d/usernetes-tun.conf
    chmod 0666 /dev/net/tun
    EOF
    ");
}
