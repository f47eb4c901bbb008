//! Tests of the closed environment as a whole.

use super::*;
use crate::libraries;

fn workspace() -> Workspace {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    Workspace::find(Some(&root)).unwrap()
}

#[test]
fn a_new_home_is_as_good_as_an_old_one() {
    let (workspace, arch) = (workspace(), Arch::host().unwrap());
    let old = Closed::prepare(&workspace, arch, true).unwrap();
    // A home in which nothing was ever unpacked, without the crates that only the builder or tests need, and with
    // settings that no build of the stub could survive.
    let directory = tempfile::tempdir().unwrap();
    let home = directory.path().join("home");
    old.remaps().unwrap();
    for registry in old.home.crate_directories().unwrap() {
        let name = registry.file_name().unwrap();
        let cache = home_of_user().unwrap().join("registry/cache").join(name);
        let copy = home.join("registry/cache").join(name);
        fs_err::create_dir_all(&copy).unwrap();
        for unpacked in fs_err::read_dir(registry).unwrap() {
            let file = format!("{}.crate", unpacked.unwrap().file_name().display());
            assert!(!file.starts_with("insta-") && !file.starts_with("reqwest-"));
            if cache.join(&file).is_file() {
                fs_err::copy(cache.join(&file), copy.join(&file)).unwrap();
            }
        }
    }
    let index = home_of_user().unwrap().join("registry/index");
    std::os::unix::fs::symlink(index, home.join("registry/index")).unwrap();
    let hostile = "paths = [\"/nonexistent\"]\n[build]\nrustc = \"/nonexistent\"\n[profile.stub]\nlto = 7\n[unstable]\nbuild-std = [\"core\"]\n";
    fs_err::write(home.join("config.toml"), hostile).unwrap();

    let target = directory.path().join("target");
    let new = Closed::beside(&home, workspace.root(), target, arch).unwrap();
    let names = |closed: &Closed| {
        let remaps = closed.remaps().unwrap().into_iter();
        remaps.map(|(_, name)| name).collect::<BTreeSet<_>>()
    };
    assert_eq!(names(&new), names(&old));
    assert!(
        names(&new)
            .iter()
            .any(|name| name.starts_with("/cargo/zstd-sys-"))
    );
    assert_eq!(
        libraries::of_stub(&new).unwrap(),
        libraries::of_stub(&old).unwrap()
    );
    assert!(!home.join("registry/src").exists());
}

#[test]
fn what_compiles_sees_these_variables_and_no_others() {
    let closed = Closed::prepare(&workspace(), Arch::host().unwrap(), true).unwrap();
    let cargo = closed.cargo(&["build"]);
    let names: BTreeSet<_> = cargo
        .get_envs()
        .map(|(name, _)| name.to_str().unwrap())
        .collect();
    let triple = closed.triple.replace('-', "_");
    let ours = [
        "CARGO_ENCODED_RUSTFLAGS".to_owned(),
        "CARGO_HOME".to_owned(),
        "LC_ALL".to_owned(),
        "PATH".to_owned(),
        "RUSTC".to_owned(),
        format!("CARGO_TARGET_{}_LINKER", triple.to_uppercase()),
        format!("CC_{triple}"),
    ];
    let others: Vec<_> = names
        .iter()
        .filter(|n| !ours.iter().any(|o| o == *n))
        .collect();
    assert!(
        others.iter().all(|n| variables::is_harmless(n.as_ref())),
        "{others:?}"
    );
    assert!(ours.iter().all(|o| names.contains(o.as_str())), "{names:?}");
}

#[test]
fn a_program_that_names_a_directory_of_this_machine_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let program = directory.path().join("program");
    let remaps = [
        (PathBuf::from("/src"), "/usernetes".to_owned()),
        (
            PathBuf::from("/home/me/crates/serde"),
            "/cargo/serde-1.0.229".to_owned(),
        ),
    ];
    for (content, told) in [
        (
            "/cargo/serde-1.0.229/src/lib.rs /usernetes/stub/src/lib.rs",
            false,
        ),
        ("/home/me/crates/serde_json/src/lib.rs", false),
        ("…\0/home/me/crates/serde/src/de.rs\0…", true),
    ] {
        fs_err::write(&program, content).unwrap();
        let result = require_no_trace(&program, &remaps);
        assert_eq!(result.is_err(), told, "{content}");
        if let Err(error) = result {
            assert!(
                error.to_string().contains("/home/me/crates/serde\n"),
                "{error}"
            );
        }
    }
}

#[test]
fn a_program_without_tables_for_unwinding_says_why_it_panics() {
    let closed = Closed::prepare(&workspace(), Arch::host().unwrap(), true).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("program.rs");
    let main =
        "fn main() { std::thread::spawn(|| {}).join().unwrap(); panic!(\"something is wrong\") }";
    fs_err::write(&source, main).unwrap();
    let flags = rust_flags(&[]).into_string().unwrap();
    let compiled = |more: &[String]| {
        let program = directory.path().join("program");
        let mut rustc = enclosed(&closed.toolchain.rustc);
        rustc.args(flags.split('\x1f')).arg("-Cpanic=abort");
        rustc.args(more).args(["--target", &closed.triple, "-o"]);
        let ended = rustc.arg(&program).arg(&source).output().unwrap();
        assert!(ended.status.success(), "{ended:?}");
        program
    };
    let tables = |program: &Path| {
        let bytes = fs_err::read(program).unwrap();
        bytes.windows(10).any(|window| window == b".eh_frame\0")
    };
    assert!(tables(&compiled(&[])));
    let script = closed.linker_script().unwrap();
    let program = compiled(&[format!("-Clink-arg=-T{}", script.display())]);
    assert!(!tables(&program));
    let ended = Command::new(&program).output().unwrap();
    let said = String::from_utf8(ended.stderr).unwrap();
    assert!(said.contains("panicked at"), "{said}");
    assert!(said.contains("something is wrong"), "{said}");
    let signal = std::os::unix::process::ExitStatusExt::signal(&ended.status);
    assert_eq!(signal, Some(6), "{said}");
}
