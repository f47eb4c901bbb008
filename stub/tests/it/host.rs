//! Tests on machines with a fault that prevents an installation.

use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use fs_err as fs;
use stub::output;

use support::home::{Home, Said, is_root, spawn};
use support::pack::Recipe;

fn runnable(home: &Home) -> PathBuf {
    let bytes = Recipe::new("0.1.0", "3.5.30").runnable().pack();
    home.program("usernetes-x86_64", &bytes)
}

#[test]
fn home_is_missing_or_relative() {
    let home = Home::new();
    let bundle = runnable(&home);
    let said = home.run_command(home.command(&bundle).arg("install").env_remove("HOME"));
    assert_eq!(said.code, Some(6));
    insta::assert_snapshot!(said.stderr, @r"
    error: the environment variable HOME does not name your home directory
      expected  an absolute path
      found     not set

    hint: set HOME, or XDG_DATA_HOME, for example `export HOME=/home/$(id -un)`
    ");
    let said = home.run_command(home.command(&bundle).arg("install").env("HOME", "relative"));
    assert_eq!(said.code, Some(6));
    assert!(
        said.stderr.contains("found     `relative`"),
        "{}",
        said.stderr
    );
    let said = home.run_command(
        home.command(&bundle)
            .arg("install")
            .env("HOME", "/dev/null"),
    );
    assert_eq!(said.code, Some(6));
    insta::assert_snapshot!(said.stderr, @r"
    error: /dev/null is not a directory
      wanted for  /dev/null/.local/share/usernetes

    hint: set HOME to your home directory, or XDG_DATA_HOME to another directory
    ");
}

#[test]
fn a_home_that_is_not_writable_is_refused() {
    let home = Home::of_mortal();
    let bundle = runnable(&home);
    fs::set_permissions(home.path(), PermissionsExt::from_mode(0o555)).unwrap();
    let said = home.run(&bundle, &["install"]);
    assert_eq!(said.code, Some(6));
    insta::assert_snapshot!(said.stderr, @r"
    error: $HOME is not writable
      wanted for  $HOME/.local/share/usernetes

    hint: run `chmod u+wx $HOME`, or set XDG_DATA_HOME to a directory of yours on another file system
    ");
}

#[test]
fn the_home_of_another_user_is_refused() {
    let home = Home::of_mortal();
    let bundle = runnable(&home);
    let said = home.run_command(
        home.command(&bundle)
            .arg("install")
            .env("XDG_DATA_HOME", "/usr/share"),
    );
    assert_eq!(said.code, Some(6));
    assert!(
        said.stderr
            .starts_with("error: the directory /usr/share belongs to another user\n"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr
            .contains("hint: run this without sudo, as the user who owns the cluster"),
        "{}",
        said.stderr
    );
    if is_root() {
        fs::create_dir_all(home.data()).unwrap();
        chown(home.data(), Some(12345), None).unwrap();
        let said = home.run(&bundle, &["install"]);
        assert_eq!(said.code, Some(6));
        let expected = "error: the store $HOME/.local/share/usernetes belongs to another user\n";
        assert!(said.stderr.starts_with(expected), "{}", said.stderr);
        assert!(
            said.stderr.contains("found     user id 12345\n"),
            "{}",
            said.stderr
        );
    }
}

#[test]
fn another_process_holds_the_lock() {
    let home = Home::new();
    let bundle = runnable(&home);
    home.install(&Recipe::new("0.1.0", "1").pack());
    let path = home.data().join("store/.lock");
    let lock = fs::File::options()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    lock.file().lock().unwrap();
    fs::write(&path, "4242\n").unwrap();
    for arguments in [&["install"][..], &["rollback"], &["gc"]] {
        let said = home.run(&bundle, arguments);
        assert_eq!(said.code, Some(7), "{}", said.stderr);
        insta::allow_duplicates! {
            insta::assert_snapshot!(said.stderr, @r"
            error: another `usernetes` is changing the store right now
              lock     $HOME/.local/share/usernetes/store/.lock
              process  4242

            hint: wait until it has ended, then run the same command again
            ");
        }
    }
    for arguments in [
        &["list"][..],
        &["verify"],
        &["generations"],
        &["gc", "--dry-run"],
    ] {
        assert_eq!(home.run(&bundle, arguments).code, Some(0));
    }
    drop(lock);
    assert_eq!(home.run(&bundle, &["install"]).code, Some(0));
}

#[test]
fn a_command_waits_while_a_timers_command_holds_the_lock() {
    let home = Home::new();
    let bundle = runnable(&home);
    home.install(&Recipe::new("0.1.0", "1").pack());
    let path = home.data().join("store/.lock");
    let lock = fs::File::options().write(true).open(&path).unwrap();
    lock.file().lock().unwrap();
    // A process with such a command line, which ends with this test's pipe.
    let mut timers = home.command(Path::new("/bin/sh"));
    timers.args(["-c", "read end", "usernetes", "certs", "renew", "--due"]);
    let mut timers = spawn(timers.stdin(Stdio::piped()));
    fs::write(&path, format!("{}\n", timers.id())).unwrap();
    let said = std::thread::scope(|scope| {
        let waiting = scope.spawn(|| home.run(&bundle, &["install"]));
        std::thread::sleep(Duration::from_secs(1));
        assert!(!waiting.is_finished());
        drop(lock);
        waiting.join().unwrap()
    });
    drop(timers.stdin.take());
    timers.wait().unwrap();
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let line = format!(
        "wait for process {}, which a timer has started, to end: it is changing the store\n",
        timers.id()
    );
    assert!(said.stderr.contains(&line), "{}", said.stderr);
}

/// Runs a shell script in which HOME is a separate file system, mounted with these options, and `$1` is the bundle. If the
/// machine does not let its users mount it, writes a note to stderr and returns `None`.
fn on_file_system(options: &str, script: &str) -> Option<Said> {
    let home = Home::new();
    let bundle = runnable(&home);
    let mount = home.path().join("mount");
    fs::create_dir(&mount).unwrap();
    let namespaces = [
        "--user",
        "--map-root-user",
        "--mount",
        "--propagation",
        "private",
    ];
    let able = Command::new("unshare")
        .args(namespaces)
        .args(["mount", "-t", "tmpfs", "none"])
        .arg(&mount)
        .output();
    if !able.as_ref().is_ok_and(|o| o.status.success()) {
        // The test harness would hide the output of `eprintln!`.
        output::message(&format!(
            "not tested: no mounts in a user namespace here ({able:?})"
        ));
        return None;
    }
    let script = format!(
        "mount -t tmpfs -o size=256m,mode=0700,{options} none \"$HOME\" || exit 97\n{script}"
    );
    let mut command = home.command(Path::new("unshare"));
    command.args(namespaces).args(["sh", "-c", &script, "sh"]);
    Some(home.run_command(command.arg(&bundle).env("HOME", &mount)))
}

#[test]
fn home_is_on_a_read_only_file_system() {
    let Some(said) = on_file_system("ro", "\"$1\" install") else {
        return;
    };
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    insta::assert_snapshot!(said.stderr, @r"
    error: $HOME/mount is on a read-only file system
      wanted for  $HOME/mount/.local/share/usernetes

    hint: set XDG_DATA_HOME to a directory of yours on another file system
    ");
}

#[test]
fn home_is_on_a_noexec_file_system() {
    let Some(said) = on_file_system("noexec", "\"$1\" install") else {
        return;
    };
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    insta::assert_snapshot!(said.stderr, @r"
    error: $HOME/mount is on a file system from which no programs may be run (noexec)
      wanted for  $HOME/mount/.local/share/usernetes

    hint: set XDG_DATA_HOME to a directory of yours on another file system, or ask an administrator to remove the mount option `noexec`
    ");
}

#[test]
fn the_file_system_is_too_small() {
    let Some(said) = on_file_system(
        "size=200k",
        "\"$1\" install; code=$?; ls -A \"$HOME/.local/share/usernetes/store\"; exit $code",
    ) else {
        return;
    };
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    assert_eq!(said.stdout, ".lock\n");
    let lines: Vec<_> = said.stderr.lines().collect();
    assert_eq!(
        lines[0],
        "error: $HOME/mount/.local/share/usernetes/store: not enough free space"
    );
    assert!(
        lines[1].starts_with("  needed  ") && lines[1].ends_with("MB"),
        "{lines:?}"
    );
    assert!(
        lines[2].starts_with("  free    ") && lines[2].ends_with("kB"),
        "{lines:?}"
    );
    assert!(lines[4].starts_with("hint: free some space"), "{lines:?}");
}

/// The check finds enough space, but then the file system runs out of inodes.
#[test]
fn the_file_system_becomes_full() {
    let script = "\"$1\" install; code=$?; ls -A \"$HOME/.local/share/usernetes/store\"\n\
        mount --options-mode ignore -o remount,nr_inodes=1000 \"$HOME\" || exit 96\n\
        \"$1\" install || exit 99\n\"$HOME/.local/share/usernetes/current/bin/usernetes\" verify || exit 98\nexit $code";
    let Some(said) = on_file_system("nr_inodes=24", script) else {
        return;
    };
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    assert!(
        said.stdout.starts_with(".lock\ngeneration 1 is whole"),
        "{}",
        said.stdout
    );
    assert!(
        said.stderr.starts_with("error: failed to "),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr
            .contains("No space left on device (os error 28)\n\nhint: free some space"),
        "{}",
        said.stderr
    );
}

/// Compares the findings about the kernel with those of `ip` and of the sysctl.
#[test]
fn the_probe_of_the_kernel_agrees_with_other_programs() {
    let home = Home::of_mortal();
    let bundle = runnable(&home);
    let run = |script: &str| {
        let mut command = home.command(Path::new("/bin/sh"));
        home.run_command(command.args(["-c", script, "sh"]).arg(&bundle))
    };
    let said = run("echo go | \"$1\" probe-namespaces");
    let inside = |words: &str| run(&format!("unshare -Urn {words}")).code == Some(0);
    if !inside("ip link") {
        output::message("not tested: no network namespaces, or no `ip` here");
        return;
    }
    assert!(said.stdout.starts_with("unshared\nmounted\n"), "{said:?}");
    for (name, works) in [
        ("bridge", inside("ip link add u0 type bridge")),
        ("veth", inside("ip link add u0 type veth")),
        (
            "br_netfilter",
            inside("test -e /proc/sys/net/bridge/bridge-nf-call-iptables"),
        ),
        (
            "vxlan",
            inside("ip link add u0 type vxlan id 1 dstport 8472"),
        ),
    ] {
        let ok = said.stdout.contains(&format!("\n{name} ok\n"));
        assert_eq!(ok, works, "{name}: {said:?}");
    }
    assert_eq!(said.stdout.matches("\nnat ").count(), 1, "{said:?}");
}
