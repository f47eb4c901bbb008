//! Tests of `install` and of the files that it writes.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use fs_err as fs;
use stub::progress::Progress;
use stub::store::Effect;

use support::home::{Home, flip, overwrite, remove, tamper};
use support::pack::Recipe;
use support::stage::Stage;

/// Lists everything below a directory with path, permissions and kind. Digests in names are cut to four digits.
fn listing(root: &Path) -> String {
    fn walk(root: &Path, dir: &Path, lines: &mut Vec<String>) {
        for entry in fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            let found = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().display();
            let mode = found.mode() & 0o7777;
            if found.is_symlink() {
                let target = fs::read_link(&path).unwrap();
                lines.push(format!("{name} -> {}", target.display()));
            } else {
                let slash = if found.is_dir() { "/" } else { "" };
                lines.push(format!("{name}{slash} {mode:04o}"));
            }
            if found.is_dir() {
                walk(root, &path, lines);
            }
        }
    }
    let mut lines = Vec::new();
    walk(root, root, &mut lines);
    lines.sort();
    let mut text = lines.join("\n");
    for name in fs::read_dir(root.join("store")).unwrap() {
        let name = name.unwrap().file_name().into_string().unwrap();
        if let Some((digest, rest)) = name.split_once('-') {
            text = text.replace(&name, &format!("{}-{rest}", &digest[..4.min(digest.len())]));
        }
    }
    text
}

fn inodes(root: &Path) -> BTreeMap<std::path::PathBuf, (u64, i64, i64)> {
    let mut inodes = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        let found = fs::symlink_metadata(&path).unwrap();
        if found.is_dir() {
            waiting.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        }
        inodes.insert(path, (found.ino(), found.mtime(), found.mtime_nsec()));
    }
    inodes
}

#[test]
fn lays_out_store_and_generation() {
    let home = Home::new();
    let installed = home.install(&Recipe::new("0.1.0", "3.5.30").pack());
    assert_eq!(installed.effect, Effect::New);
    assert_eq!(installed.unpacked.len(), 5);
    insta::assert_snapshot!(listing(&home.data()), @r"
    current -> generations/1
    generations/ 0700
    generations/1/ 0700
    generations/1/bin/ 0700
    generations/1/bin/etcd -> ../../../store/3e46-etcd-3.5.30/bin/etcd
    generations/1/bin/etcd-server -> ../../../store/3e46-etcd-3.5.30/bin/etcd-server
    generations/1/bin/kube-apiserver -> ../../../store/3b76-kube-apiserver-1.36.3/bin/kube-apiserver
    generations/1/bin/kube-scheduler -> ../../../store/d7aa-kube-scheduler-1.36.3/bin/kube-scheduler
    generations/1/bin/usernetes -> ../../../store/999c-usernetes-0.1.0/bin/usernetes
    generations/1/images/ 0700
    generations/1/images/pause.tar -> ../../../store/cb3e-runc-1.4.0/images/pause.tar
    generations/1/libexec/ 0700
    generations/1/libexec/cni/ 0700
    generations/1/libexec/cni/bridge -> ../../../../store/cb3e-runc-1.4.0/libexec/cni/bridge
    generations/1/manifest.json 0444
    generations/1/origin.json 0444
    generations/1/share/ 0700
    generations/1/share/doc/ 0700
    generations/1/share/doc/etcd/ 0700
    generations/1/share/doc/etcd/README -> ../../../../../store/3e46-etcd-3.5.30/share/doc/etcd/README
    generations/1/share/doc/runc/ 0700
    generations/1/share/doc/runc/README -> ../../../../../store/cb3e-runc-1.4.0/share/doc/runc/README
    store/ 0700
    store/.lock 0600
    store/3b76-kube-apiserver-1.36.3/ 0555
    store/3b76-kube-apiserver-1.36.3/bin/ 0555
    store/3b76-kube-apiserver-1.36.3/bin/kube-apiserver 0555
    store/3e46-etcd-3.5.30/ 0555
    store/3e46-etcd-3.5.30/bin/ 0555
    store/3e46-etcd-3.5.30/bin/etcd 0555
    store/3e46-etcd-3.5.30/bin/etcd-server -> etcd
    store/3e46-etcd-3.5.30/share/ 0555
    store/3e46-etcd-3.5.30/share/doc/ 0555
    store/3e46-etcd-3.5.30/share/doc/etcd/ 0555
    store/3e46-etcd-3.5.30/share/doc/etcd/README 0444
    store/999c-usernetes-0.1.0/ 0555
    store/999c-usernetes-0.1.0/bin/ 0555
    store/999c-usernetes-0.1.0/bin/usernetes 0555
    store/cb3e-runc-1.4.0/ 0555
    store/cb3e-runc-1.4.0/images/ 0555
    store/cb3e-runc-1.4.0/images/pause.tar 0444
    store/cb3e-runc-1.4.0/libexec/ 0555
    store/cb3e-runc-1.4.0/libexec/cni/ 0555
    store/cb3e-runc-1.4.0/libexec/cni/bridge 0555
    store/cb3e-runc-1.4.0/share/ 0555
    store/cb3e-runc-1.4.0/share/doc/ 0555
    store/cb3e-runc-1.4.0/share/doc/runc/ 0555
    store/cb3e-runc-1.4.0/share/doc/runc/README 0444
    store/d7aa-kube-scheduler-1.36.3/ 0555
    store/d7aa-kube-scheduler-1.36.3/bin/ 0555
    store/d7aa-kube-scheduler-1.36.3/bin/kube-scheduler 0555
    ");
    assert_eq!(home.damages(), []);
    let generation = home.current();
    assert_eq!(generation.bin_dir(), home.data().join("generations/1/bin"));
    let etcd = generation.component_dir("etcd").unwrap();
    assert!(etcd.join("bin/etcd").is_file());
    assert_eq!(generation.component_dir("crun"), None);
}

/// The bundle installs itself as a user who is not root, and the installed programs work.
#[test]
fn the_bundle_installs_itself() {
    let home = Home::of_mortal();
    let bundle = home.program(
        "usernetes-x86_64",
        &Recipe::new("0.1.0", "3.5.30").runnable().pack(),
    );
    let said = home.run(&bundle, &["install", "--start="]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert_eq!(said.stdout, "");
    assert!(
        said.stderr.contains(
            "generation 1 (release 0.1.0) is installed and is now the current one\n\
             the command `usernetes` and all programs are in $HOME/.local/share/usernetes/current/bin\n"
        ),
        "{}",
        said.stderr
    );
    assert!(said.stderr.starts_with("unpack: "), "{}", said.stderr);
    let bin = home.data().join("current/bin");
    assert_eq!(
        home.run(&bin.join("etcd-server"), &[]).stdout,
        "etcd 3.5.30\n"
    );

    // The installed command is the stub.
    let usernetes = bin.join("usernetes");
    assert_eq!(home.run(&usernetes, &["verify"]).code, Some(0));
    // It applies the configuration without a payload.
    let said = home.run(&usernetes, &["install"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);

    let before = inodes(&home.data());
    let said = home.run(&bundle, &["install", "--start="]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    insta::assert_snapshot!(said.stderr, @"generation 1 (release 0.1.0) is unchanged: there was nothing to do");
    assert_eq!(inodes(&home.data()), before);

    // A plain install, without root's privileges, repairs a file whose size has changed.
    let etcd = home.data().join("current/bin/etcd").canonicalize().unwrap();
    overwrite(&etcd, b"");
    let said = home.run(&bundle, &["install"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(
        said.stderr
            .contains("etcd 3.5.30 is damaged, unpacking it again: "),
        "{}",
        said.stderr
    );
    assert!(
        said.stderr
            .contains("generation 1 (release 0.1.0) was damaged and has been repaired\n"),
        "{}",
        said.stderr
    );
    assert_eq!(home.run(&usernetes, &["verify"]).code, Some(0));

    let next = home.program(
        "usernetes-next",
        &Recipe::new("0.2.0", "3.6.0").runnable().pack(),
    );
    for (program, arguments) in [
        (&next, &["install"][..]),
        (&usernetes, &["rollback"]),
        (&usernetes, &["rollback", "2"]),
    ] {
        let said = home.run(program, arguments);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
    }
    assert_eq!(home.run(&bin.join("etcd"), &[]).stdout, "etcd 3.6.0\n");
    let said = home.run(&usernetes, &["gc"]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
}

#[test]
fn the_installed_command_has_nothing_to_install_where_nothing_is() {
    let said = Home::new().usernetes(&["install", "--start="]);
    assert_eq!(said.code, Some(1));
    insta::assert_snapshot!(said.stderr, @r"
    error: nothing is installed
      looked at  $HOME/.local/share/usernetes/current

    hint: run a bundle's own `install`, for example `./usernetes-x86_64 install`
    ");
}

#[test]
fn upgrading_unpacks_only_what_changed() {
    let home = Home::new();
    home.install(&Recipe::new("0.1.0", "3.5.30").pack());
    let store = home.data().join("store");
    let before = inodes(&store);
    let installed = home.install(&Recipe::new("0.1.0", "3.6.0").pack());
    assert_eq!(installed.effect, Effect::New);
    assert_eq!(installed.unpacked, ["etcd 3.6.0"]);
    assert_eq!(installed.generation.number(), 2);
    let after = inodes(&store);
    let kept = |path: &Path| path != store && path.file_name().unwrap() != ".lock";
    for (path, inode) in before.iter().filter(|(path, _)| kept(path)) {
        assert_eq!(after.get(path), Some(inode), "{}", path.display());
    }
    assert_eq!(home.damages(), []);

    // Only the sibling must be unpacked again, because the hub is still in the store.
    let sibling = home.current().component_dir("kube-scheduler").unwrap();
    home.store().rollback(Some(1)).unwrap();
    tamper(&sibling, |sibling| {
        fs::rename(sibling, home.path().join("away")).unwrap();
    });
    let installed = home.install(&Recipe::new("0.1.0", "3.6.0").pack());
    assert_eq!(installed.effect, Effect::Reactivated);
    assert_eq!(installed.unpacked, ["kube-scheduler 1.36.3"]);
    assert_eq!(home.damages(), []);
}

#[test]
fn the_same_bundle_gets_the_same_generation_again() {
    let home = Home::new();
    let (old, new) = (
        Recipe::new("0.1.0", "3.5.30").pack(),
        Recipe::new("0.2.0", "3.6.0").pack(),
    );
    home.install(&old);
    home.install(&new);
    let again = home.install(&old);
    assert_eq!(
        (again.effect, again.generation.number()),
        (Effect::Reactivated, 1)
    );
    assert_eq!(again.unpacked, [""; 0]);
    assert_eq!(home.current().number(), 1);
    assert_eq!(home.store().generation_numbers().unwrap(), [1, 2]);
}

#[test]
fn repairs_what_it_can_see_and_on_request_what_it_cannot() {
    let home = Home::new();
    let bytes = Recipe::new("0.1.0", "3.5.30").pack();
    home.install(&bytes);
    let dir = |name: &str| home.current().component_dir(name).unwrap();
    let effect = || {
        let installed = home.install(&bytes);
        assert_eq!(installed.generation.number(), 1);
        assert_eq!(home.damages(), []);
        (installed.effect, installed.unpacked)
    };
    let repaired = |title: &str| (Effect::Repaired, vec![title.to_owned()]);

    overwrite(&dir("runc").join("images/pause.tar"), b"short");
    assert_eq!(effect(), repaired("runc 1.4.0"));
    remove(&dir("etcd").join("share/doc/etcd/README"));
    assert_eq!(effect(), repaired("etcd 3.5.30"));
    overwrite(&dir("etcd").join("bin/more"), b"");
    assert_eq!(effect(), repaired("etcd 3.5.30"));
    fs::set_permissions(
        dir("runc").join("libexec/cni/bridge"),
        PermissionsExt::from_mode(0o444),
    )
    .unwrap();
    assert_eq!(effect(), repaired("runc 1.4.0"));
    fs::remove_file(home.current().bin_dir().join("etcd")).unwrap();
    assert_eq!(effect(), (Effect::Repaired, Vec::new()));
    fs::write(home.current().bin_dir().join("more"), "").unwrap();
    assert_eq!(effect(), (Effect::Repaired, Vec::new()));

    // This damage keeps the size, so it is found only by reading the file.
    flip(&dir("kube-apiserver").join("bin/kube-apiserver"), 30_000);
    assert_eq!(home.install(&bytes).effect, Effect::Unchanged);
    assert_eq!(home.damages().len(), 1);
    let installed = home
        .store()
        .repair(&home.bundle(&bytes), &Progress::silent())
        .unwrap();
    assert_eq!(
        (installed.effect, installed.unpacked),
        repaired("kube-apiserver 1.36.3")
    );
    assert_eq!(home.damages(), []);
    let installed = home
        .store()
        .repair(&home.bundle(&bytes), &Progress::silent())
        .unwrap();
    assert_eq!(installed.effect, Effect::Unchanged);
}

#[test]
fn a_generation_that_lost_its_manifest_is_replaced() {
    let home = Home::new();
    let bytes = Recipe::new("0.1.0", "3.5.30").pack();
    home.install(&bytes);
    fs::remove_file(home.current().path().join("manifest.json")).unwrap();
    let said = home.usernetes(&["list"]);
    assert_eq!(said.code, Some(1));
    insta::assert_snapshot!(said.stderr, @r"
    error: failed to open file `$HOME/.local/share/usernetes/generations/1/manifest.json`: No such file or directory (os error 2)

    hint: run `install` again with the bundle it came from
    ");
    let installed = home.install(&bytes);
    assert_eq!(
        (installed.effect, installed.generation.number()),
        (Effect::New, 2)
    );
    assert_eq!(home.damages(), []);
}

/// An interrupted run has made the directories, and could not write down yet that it has.
#[test]
fn directories_of_an_interrupted_installation_are_removed_at_the_end() {
    let stage = Stage::new(&["etcd"]);
    let clean = stage.names("");
    for dir in [
        ".local/share/usernetes/store",
        ".local/share/usernetes/generations",
        ".config/usernetes/master",
        ".config/systemd/user",
    ] {
        let dir = stage.home.path().join(dir);
        stage.home.directory(&dir);
    }
    for dir in [".local", ".config"] {
        stage.home.give(&stage.home.path().join(dir));
    }
    let said = stage.install(&["--start="]);
    assert_eq!(said.code, Some(0), "{said:?}");
    let said = stage.usernetes_of_bundle(&["uninstall", "--purge"]);
    assert_eq!(said.code, Some(0), "{said:?}");
    stage.calls();
    assert_eq!(stage.names(""), clean);
}
