//! Tests that a file keeps its identity, and that nothing is lost which another program writes.

use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt, symlink};
use std::process::{Command, Stdio};

use super::*;
use rustix::process::{Pid, Signal, kill_process};

use crate::user_kubeconfig::lock::Locks;

#[test]
fn a_file_keeps_its_links_permissions_and_owner() {
    let mut desk = Desk::new();
    fs_err::create_dir(desk.path("dotfiles")).unwrap();
    // A link, by way of a linked directory, to a file that does not exist yet.
    symlink("dotfiles", desk.path("dots")).unwrap();
    symlink("dots/config", desk.path("dangling")).unwrap();
    desk.merge(&["dangling"]).unwrap();
    assert!(desk.path("dangling").is_symlink());
    assert!(desk.read("dotfiles/config").contains(NAME));
    desk.unmerge(&["dangling"]).unwrap();
    assert!(desk.path("dangling").is_symlink() && !desk.path("dotfiles/config").exists());
    // Permissions and other names of the file stay.
    let file = desk.write("config", WORK);
    fs_err::set_permissions(&file, PermissionsExt::from_mode(0o640)).unwrap();
    desk.merge(&["config"]).unwrap();
    assert_eq!(fs_err::metadata(&file).unwrap().mode() & 0o7777, 0o640);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::chown(&file, Some(65534), Some(65534)).unwrap();
    }
    fs_err::hard_link(&file, desk.path("other")).unwrap();
    let before = fs_err::metadata(&file).unwrap();
    desk.unmerge(&["config"]).unwrap();
    let after = fs_err::metadata(&file).unwrap();
    assert_eq!(
        (before.uid(), before.gid(), before.ino()),
        (after.uid(), after.gid(), after.ino())
    );
    assert_eq!(desk.read("other"), WORK);
    fs_err::remove_file(desk.path("other")).unwrap();
    desk.merge(&["config"]).unwrap();
    let after = fs_err::metadata(&file).unwrap();
    assert_eq!((before.uid(), before.gid()), (after.uid(), after.gid()));
    // A file that is given by two names is changed once.
    symlink("config", desk.path("link")).unwrap();
    let outcome = desk.unmerge(&["link", "config"]).unwrap();
    assert_eq!(outcome.files, [file]);
    assert_eq!(desk.read("config"), WORK);
}

#[test]
fn files_that_must_not_be_changed_are_refused_by_name() {
    let mut desk = Desk::new();
    let file = desk.write("config", WORK);
    fs_err::set_permissions(&file, PermissionsExt::from_mode(0o440)).unwrap();
    let error = desk.merge(&["config"]).unwrap_err();
    let uid = format!("user {}", rustix::process::geteuid().as_raw());
    insta::assert_snapshot!(desk.error(&error).replace(&uid, "user ID"), @"
    …/config: this file is read-only
      expected  a file that you may write
      found     mode 0440, user ID

    hint: if you may change this file, run `chmod u+w …/config`; `usernetes kubectl` works without your kubeconfig
    ");
    assert_eq!(desk.read("config"), WORK);
    // A file that need not be changed may be read-only.
    desk.write("own", "");
    assert_eq!(
        desk.merge(&["own", "config"])
            .unwrap()
            .current_context
            .as_deref(),
        Some("work")
    );
    symlink("/dev/null", desk.path("null")).unwrap();
    let error = desk.merge(&["null"]).unwrap_err();
    assert!(
        error
            .message()
            .starts_with("/dev/null: this is not a regular file"),
        "{error}"
    );
    fs_err::create_dir(desk.path("directory")).unwrap();
    assert!(desk.merge(&["directory"]).is_err());
    symlink("loop", desk.path("loop")).unwrap();
    assert!(desk.merge(&["loop"]).is_err());
}

#[test]
fn a_lock_is_respected_and_a_lock_that_was_left_behind_is_explained() {
    let mut desk = Desk::new();
    desk.write("config", WORK);
    symlink("config", desk.path("link")).unwrap();
    // The lock that kubectl creates beside the path it was given.
    desk.write("link.lock", "");
    let error = desk.merge(&["link"]).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    let age = |text: &str| {
        text.split_inclusive('\n')
            .filter(|l| !l.starts_with("  made     "))
            .collect::<String>()
    };
    insta::assert_snapshot!(age(&desk.error(&error)), @"
    …/link: another process is changing this file
      found    its lock `…/link.lock`
      made by  a program that did not write its name into it, such as kubectl

    hint: wait until that program has finished; if it is no longer running, remove the lock with `rm …/link.lock`
    ");
    fs_err::remove_file(desk.path("link.lock")).unwrap();
    let mut child = Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    desk.write("config.lock", &format!("usernetes {}\n", child.id()));
    let error = desk.merge(&["link"]).unwrap_err();
    let text = desk.error(&error).replace(&child.id().to_string(), "PID");
    insta::assert_snapshot!(age(&text), @"
    …/config: another process is changing this file
      found    its lock `…/config.lock`
      made by  process PID, which ran `usernetes` and has ended

    hint: that process left the lock behind; remove it with `rm …/config.lock`
    ");
    assert_eq!(desk.read("config"), WORK);
    assert_eq!(desk.names(), ["config", "config.lock", "link"]);
}

#[test]
fn a_lock_whose_holder_was_killed_does_not_stay() {
    let mut desk = Desk::new();
    desk.write("config", WORK);
    let lock = desk.path("config.lock");
    // What a killed process leaves behind.
    let holder = Locks::take([desk.path("config").as_path()]).unwrap();
    let text = desk.read("config.lock");
    let pid = std::process::id();
    assert_eq!(text, format!("usernetes {pid} holds it\n"));
    // While it is held, nobody takes it.
    let copy = fs_err::File::open(&lock).unwrap();
    assert!(copy.try_lock().is_err());
    drop(copy);
    drop(holder);
    assert_eq!(desk.names(), ["config"]);
    desk.write("config.lock", &text);
    desk.merge(&["config"]).unwrap();
    assert_eq!(desk.names(), ["config"]);
    assert!(desk.read("config").contains("name: usernetes"));
    // While somebody holds such a file, it is no dead one.
    desk.write("config", WORK);
    desk.write("config.lock", &text);
    let held = fs_err::File::open(&lock).unwrap();
    held.lock().unwrap();
    let error = desk.merge(&["config"]).unwrap_err();
    assert_eq!(error.kind(), Kind::Busy);
    assert_eq!(desk.read("config"), WORK);
}

/// With this variable, the test below runs itself again as a process that receives signals.
const LOCKED: &str = "USERNETES_TEST_LOCKED";

#[test]
fn no_signal_leaves_a_lock_behind() {
    if let Some(file) = std::env::var_os(LOCKED) {
        let file = PathBuf::from(file);
        let locks = Locks::take([file.as_path()]).unwrap();
        fs_err::write(file.with_extension("ready"), "").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        drop(locks);
        std::thread::sleep(Duration::from_mins(1));
        return;
    }
    for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
        let desk = Desk::new();
        let file = desk.path("config");
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "user_kubeconfig::tests::files::no_signal_leaves_a_lock_behind",
            ])
            .env(LOCKED, &file)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        while !file.with_extension("ready").exists() {
            std::thread::sleep(Duration::from_millis(5));
        }
        // Not with the program `kill`, which a minimal system lacks.
        kill_process(Pid::from_child(&child), signal).unwrap();
        child
            .stdout
            .take()
            .unwrap()
            .read_to_end(&mut Vec::new())
            .unwrap();
        let status = child.wait().unwrap();
        assert!(
            !status.success() && status.code().is_none(),
            "{signal:?}: {status}"
        );
        assert_eq!(desk.names(), ["config.ready"], "{signal:?}");
    }
}

#[test]
fn changes_that_another_program_makes_in_between_are_not_lost() {
    let desk = Desk::new();
    let file = desk.write("config", WORK);
    let later = WORK.replace("# mine", "# mine, changed");
    let wanted = wanted(&desk.path("pki")).unwrap();
    let mut times = 0;
    let (chain, _) = carry_out(
        std::slice::from_ref(&file),
        |chain| plan_merge(chain, &wanted),
        |_| {
            times += 1;
            if times == 1 {
                fs_err::write(&file, &later).unwrap();
            }
            Ok(())
        },
    )
    .unwrap();
    assert_eq!((times, chain.0.len()), (2, 1));
    assert!(desk.read("config").starts_with("# mine, changed\n"));
    assert!(desk.read("config").contains("name: usernetes"));
}
