//! Tests of errors of the operating system: the message names the file, the cause and the next step, and nothing else is
//! changed.

use std::path::Path;

use fs_err as fs;
use stub::bundle::Mode;

use support::home::{Home, Said};
use support::pack::{Pack, Recipe};
use support::stage::Stage;

/// Runs a program under a limit that the shell's `ulimit` sets.
fn limited(home: &Home, limit: &str, program: &Path, arguments: &[&str]) -> Said {
    let mut command = home.command(Path::new("/bin/sh"));
    command.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]);
    home.run_command(command.arg(program).args(arguments))
}

/// Lists everything below a directory with name, kind, size and permissions.
fn listing(dir: &Path) -> String {
    let mut command = std::process::Command::new("find");
    let output = command
        .arg(dir)
        .args(["-printf", "%P %y %s %m\n"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

#[test]
fn a_limit_of_file_sizes_is_named_and_leaves_nothing_behind() {
    let home = Home::of_mortal();
    let bundle = home.program("bundle", &Recipe::new("0.1.0", "1").runnable().pack());
    let said = limited(
        &home,
        "-f 8",
        &bundle,
        &["install", "--force", "--start", ""],
    );
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    assert!(
        said.stderr.contains("bytes in a file, set by `ulimit -f`"),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr
            .contains("hint: raise the limit with `ulimit -f unlimited`"),
        "{}",
        said.stderr
    );
    assert!(home.store().current().unwrap().is_none());
    let left = listing(&home.data().join("store"));
    assert!(!left.contains(".tmp-"), "{left}");
}

#[test]
fn lack_of_memory_says_nothing_against_the_file() {
    let home = Home::of_mortal();
    let mut pack = Pack::default();
    pack.component("etcd", "3.6.0", "Apache-2.0").file(
        "bin/etcd",
        Mode::Program,
        &vec![0; 512 << 20],
        None,
    );
    let bundle = home.program(
        "bundle",
        &pack.finish(&Recipe::new("0.1.0", "1").runnable()),
    );
    let said = limited(&home, "-v 400000", &bundle, &["verify"]);
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    for part in [
        "`bin/etcd` of etcd 3.6.0",
        "536.9 MB of memory in one piece",
        "set by `ulimit -v`",
        "hint: raise the limit",
    ] {
        assert!(said.stderr.contains(part), "{part}: {}", said.stderr);
    }
    assert!(!said.stderr.contains("download"), "{}", said.stderr);
}

#[test]
fn too_few_open_files_are_named() {
    let home = Home::of_mortal();
    let bundle = home.program("bundle", &Recipe::new("0.1.0", "1").runnable().pack());
    let said = limited(
        &home,
        "-n 4",
        &bundle,
        &["verify", bundle.to_str().unwrap()],
    );
    assert_eq!(said.code, Some(6), "{}", said.stderr);
    assert!(
        said.stderr
            .contains("a limit of 4 open files, set by `ulimit -n`"),
        "{}",
        said.stderr
    );
}

#[test]
fn a_copy_that_made_directories_of_links_is_refused_and_the_hint_mends_it() {
    let stage = Stage::new(&["etcd"]);
    let arguments = ["install", "--force", "--start", ""];
    assert_eq!(stage.install(&["--start", ""]).code, Some(0));
    let data = stage.home.data();
    let copy = data.with_file_name("copy");
    let shell = |script: &str| {
        let mut command = stage.command(Path::new("/bin/sh"));
        stage.home.run_command(command.args(["-c", script]))
    };
    let said = shell(&format!(
        "cp -rL '{0}' '{1}' && mv '{0}' '{0}.old' && mv '{1}' '{0}'",
        data.display(),
        copy.display()
    ));
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let before = listing(&data);
    for command in [&arguments[..], &["rollback", "1"]] {
        let said = stage
            .home
            .run_command(stage.command(&stage.bundle).args(command));
        assert_eq!(said.code, Some(4), "{}", said.stderr);
        insta::allow_duplicates! { insta::assert_snapshot!(said.stderr, @r"
        error: $HOME/.local/share/usernetes/current: this is no longer a link
          expected  a link to a generation, such as `generations/1`
          found     a directory: some programs turn a link into this when they copy it

        hint: run `mv $HOME/.local/share/usernetes/current $HOME/.local/share/usernetes/current.copy`, then a bundle's own `install`; copy the directory with `cp -a` or `rsync -a`, which keep links
        "); }
    }
    assert_eq!(listing(&data), before);
    let current = data.join("current");
    shell(&format!("mv '{0}' '{0}.copy'", current.display()));
    let said = stage.install(&["--start", ""]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(stage.home.damages(), []);
    // A file instead of the link is refused, too.
    fs::remove_file(&current).unwrap();
    fs::write(&current, "generations/1").unwrap();
    let said = stage.install(&["--start", ""]);
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    assert!(
        said.stderr.contains("found     a file: some"),
        "{}",
        said.stderr
    );
    assert_eq!(fs::read_to_string(&current).unwrap(), "generations/1");
}
