//! The login, its service manager and its control groups.

use rustix::process::getuid;

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;

use super::super::{Level, Manager, cgroup, session};
use super::{machine, text};

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
          expected  an ordinary user, who will own the cluster
          fix       log in as that user, without `sudo`
    ");
}

#[test]
fn a_runtime_directory_is_found_where_it_must_be() {
    let (dir, mut machine) = machine(&[]);
    insta::assert_snapshot!(text(session::runtime_dir(&machine)), @r"
    fatal runtime-dir: XDG_RUNTIME_DIR is not set, and you have no /run/user/1001
          expected  a directory that belongs to you, made by the login
          fix       log in over ssh, on a console or with `machinectl shell $(id -un)@`; `su` and `sudo` start no session
    ");
    machine.uid = getuid().as_raw();
    let usual = machine.at(machine.usual_session_dir());
    fs_err::create_dir_all(&usual).unwrap();
    fs_err::set_permissions(&usual, Permissions::from_mode(0o700)).unwrap();
    let finding = session::runtime_dir(&machine);
    assert_eq!(finding.level, Level::Note, "{finding:?}");
    // The environment of the user one was before `su`.
    machine.runtime_dir = Some("/proc/1".into());
    if machine.uid != 0 {
        assert_eq!(session::runtime_dir(&machine).level, Level::Note);
    }
    machine.runtime_dir = Some(dir.path().to_owned());
    fs_err::set_permissions(dir.path(), Permissions::from_mode(0o700)).unwrap();
    assert_eq!(session::runtime_dir(&machine).level, Level::Ok);
    fs_err::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let shown = text(session::runtime_dir(&machine));
    insta::assert_snapshot!(shown.replace(dir.path().to_str().unwrap(), "DIR"), @r"
    warn  runtime-dir: DIR has the mode 0755, so other users can look into it
          expected  the mode 0700: the sockets of the cluster are in it
          fix       run `chmod 700 DIR`
    ");
}

#[test]
fn service_managers() {
    let (_dir, m) = machine(&[]);
    insta::assert_snapshot!(text(session::manager(&m, &Manager::ask(&m))), @r#"
    fatal systemd-user: there is no `systemctl` in PATH
          expected  an answer from your own systemd (`systemctl --user`)
          fix       use `usernetes run`, which needs no systemd, or only unpack with `install --start ""`
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
          fix       log in over ssh, on a console or with `machinectl shell $(id -un)@`; `su` and `sudo` start no session; on Debian and Ubuntu the package `dbus-user-session` must be installed
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
          fix       units that fail for good do not start again automatically: run `usernetes restart` if that happens
    ");
}

#[test]
fn lingering() {
    let (_dir, m) = machine(&[]);
    insta::assert_snapshot!(text(session::linger(&m)), @r"
    warn  linger: the cluster stops when you log out
          expected  lingering for u
          fix       run `loginctl enable-linger` (`install` tries this automatically)
    sudo sh -ux <<'EOF'
    failed=0
    loginctl enable-linger -- 1001 || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    loginctl disable-linger -- 1001 || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    ");
    let (_dir, m) = machine(&[("/var/lib/systemd/linger/u", "")]);
    assert_eq!(session::linger(&m).level, Level::Ok);
    // systemd-logind's own spelling.
    let (_dir, mut m) = machine(&[
        ("/etc/passwd", "CORP\\jdoe:x:1001:1001::/:/bin/sh\n"),
        ("/var/lib/systemd/linger/u", ""),
    ]);
    m.user = Some("u".to_owned());
    let commands = session::linger(&m).admin.unwrap().commands;
    assert_eq!(commands, [r"loginctl enable-linger -- 'CORP\jdoe'"]);
    let file = m.at(r"/var/lib/systemd/linger/CORP\\jdoe");
    fs_err::write(file, "").unwrap();
    assert_eq!(session::linger(&m).level, Level::Ok);
}

#[test]
fn cgroups() {
    assert_eq!(cgroup::judge_version(Some(0x6367_7270)).level, Level::Ok);
    insta::assert_snapshot!(text(cgroup::judge_version(Some(0x0102_1994))), @r"
    fatal cgroup-v2: /sys/fs/cgroup is not cgroup v2, but version 1 or a mixture of both
          expected  the unified hierarchy, version 2
          fix       boot with the kernel parameter `systemd.unified_cgroup_hierarchy=1`, for example in GRUB_CMDLINE_LINUX of /etc/default/grub
    ");
}

#[test]
fn a_cgroup_is_ours_to_divide_if_it_can_be_written_and_has_the_controllers() {
    let files = |controllers| {
        machine(&[
            ("/proc/self/cgroup", "1:name=x:/other\n0::/a/b\n"),
            ("/sys/fs/cgroup/a/b/cgroup.procs", ""),
            ("/sys/fs/cgroup/a/b/cgroup.subtree_control", ""),
            ("/sys/fs/cgroup/a/b/cgroup.controllers", controllers),
        ])
    };
    let (dir, m) = files("cpuset cpu memory pids\n");
    let own = dir.path().join("sys/fs/cgroup/a/b");
    assert_eq!(cgroup::delegated(&m), Ok(own.clone()));
    let (_dir, m) = files("cpuset memory pids\n");
    assert!(cgroup::delegated(&m).unwrap_err().ends_with(" lacks cpu"));
    let (dir, m) = files("cpu memory pids\n");
    fs_err::remove_file(dir.path().join("sys/fs/cgroup/a/b/cgroup.subtree_control")).unwrap();
    let reason = cgroup::delegated(&m).unwrap_err();
    assert!(
        reason.contains("cgroup.subtree_control cannot be written"),
        "{reason}"
    );
    let (_dir, m) = machine(&[("/proc/self/cgroup", "4:memory:/old\n")]);
    assert_eq!(
        cgroup::delegated(&m).unwrap_err(),
        "this process is in no cgroup of version 2"
    );
}

#[test]
fn controllers_are_whole_words() {
    let file = "/sys/fs/cgroup/user.slice/user-1001.slice/user@1001.service/cgroup.controllers";
    let (_dir, m) = machine(&[(file, "cpuset io memory pids\n")]);
    insta::assert_snapshot!(text(cgroup::controllers(&m, None)), @r"
    fatal cgroup-controllers: these controllers are not delegated to your systemd: cpu
          expected  cpu memory pids in /sys/fs/cgroup/user.slice/user-1001.slice/user@1001.service/cgroup.controllers
          fix       ask an administrator to run the commands below, then log out of all sessions and in again
    sudo sh -ux <<'EOF'
    failed=0
    mkdir -p /etc/systemd/system/user@.service.d || failed=1
    printf '[Service]\nDelegate=cpu cpuset io memory pids\n' >/etc/systemd/system/user@.service.d/usernetes-delegate.conf || failed=1
    systemctl daemon-reload || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
    EOF
    sudo sh -ux <<'EOF'
    failed=0
    rm -f /etc/systemd/system/user@.service.d/usernetes-delegate.conf || failed=1
    systemctl daemon-reload || failed=1
    test $failed = 0 || { echo 'at least one of these commands failed: see above' >&2; exit 1; }
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
