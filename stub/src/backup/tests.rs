use fs_err as fs;

use super::journal::Journal;
use super::*;
use crate::error::{Error, Kind};
use crate::host::Machine;
use crate::layout::Layout;
use crate::progress::Progress;
use crate::store::Store;

/// An archive with these entries, without compression.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        // The name is written as it is, which `append_data` would refuse for some of them.
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

fn contents(files: &[(&str, &[u8])]) -> Contents {
    let file = |bytes: &[u8]| File {
        sha256: Sha256::of(bytes),
        size: bytes.len() as u64,
    };
    Contents {
        schema: SCHEMA,
        created: "2026-11-26T12:00:00Z".to_owned(),
        release: "0.1.0".to_owned(),
        versions: Versions::default(),
        node_name: "n".to_owned(),
        lacks_volumes: false,
        files: files
            .iter()
            .map(|(name, bytes)| ((*name).to_owned(), file(bytes)))
            .collect(),
    }
}

const FILES: [(&str, &[u8]); 3] = [
    ("config.toml", b"schema = 1\n"),
    ("etcd/member/snap/db", b"data"),
    ("master/ca-key.pem", b"secret"),
];

/// A backup of these files, with a list of contents after them.
fn backup(files: &[(&str, &[u8])], contents: &Contents) -> Vec<u8> {
    let text = serde_json::to_vec(contents).unwrap();
    archive(&[files, &[(CONTENTS, &text[..])]].concat())
}

fn open(bytes: &[u8]) -> Result<Backup, Error> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("backup");
    fs::write(&file, bytes).unwrap();
    let backup = Backup::open(&file)?;
    backup.verify(&Progress::stderr())?;
    backup.unpack(&dir.path().join("out"))?;
    for (name, bytes) in FILES {
        assert_eq!(fs::read(dir.path().join("out").join(name)).unwrap(), bytes);
    }
    Ok(backup)
}

#[test]
fn every_byte_counts() {
    let good = backup(&FILES, &contents(&FILES));
    let read = open(&good).unwrap();
    assert!(read.has_data() && !read.has_snapshot());
    for (name, bytes) in FILES {
        let start = good.windows(bytes.len()).position(|w| w == bytes).unwrap();
        let mut bad = good.clone();
        bad[start] ^= 1;
        let error = open(&bad).unwrap_err();
        assert_eq!(error.kind(), Kind::Integrity, "{error}");
        assert!(error.message().contains(name), "{error}");
    }
}

#[test]
fn an_incomplete_backup_is_refused() {
    let good = backup(&FILES, &contents(&FILES));
    for length in [0, 100, 600, 2000, good.len() - 2 * 512 - 700] {
        let error = open(&good[..length]).unwrap_err().to_string();
        assert!(
            error.contains("this is not a complete backup"),
            "{length}: {error}"
        );
        assert!(error.contains("nothing was changed"), "{length}: {error}");
    }
    let error = open(&backup(&FILES[..2], &contents(&FILES))).unwrap_err();
    assert!(
        error.to_string().contains("`master/ca-key.pem` is damaged"),
        "{error}"
    );
    let error = open(b"no archive at all").unwrap_err();
    assert_eq!(error.kind(), Kind::Input, "{error}");
}

#[test]
fn names_cannot_lead_out_of_the_directory() {
    for name in ["../escape", "/etc/passwd", "a/../../b", "master/./../../x"] {
        let files: [(&str, &[u8]); 1] = [(name, b"x")];
        let error = open(&backup(&files, &contents(&files))).unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
    }
}

#[test]
fn a_backup_of_a_later_format_names_the_release_that_made_it() {
    let mut contents = contents(&FILES);
    contents.schema = SCHEMA + 1;
    contents.release = "9.0.0".to_owned();
    let error = open(&backup(&FILES, &contents)).unwrap_err().to_string();
    assert!(error.contains("made by release 9.0.0"), "{error}");
}

/// All files below a directory but the lock of the store, with their texts.
fn files(root: &std::path::Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![root.to_owned()];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(crate::files::contents(&path).unwrap());
        } else if !path.ends_with(".lock") {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            found.insert(name, fs::read_to_string(path).unwrap());
        }
    }
    found
}

/// A cluster without a directory `node` and without volumes, and a backup that has both.
#[test]
fn a_restore_that_ends_anywhere_is_undone() {
    let machine = Machine::this();
    for steps in 0.. {
        let dir = tempfile::tempdir().unwrap();
        let [config, data, run, generation] =
            ["config", "data", "run", "gen"].map(|name| dir.path().join(name));
        let layout = Layout::new(config, data, run, generation).unwrap();
        for name in ["config/config.toml", "config/master/ca.pem", "data/etcd/db"] {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "old").unwrap();
        }
        let before = files(dir.path());
        let store = Store::at(layout.data_dir()).made().unwrap();
        let images = ["tool.tar".to_owned()].into_iter();
        let begun = Journal::begin(&layout, &store, true, images).unwrap();
        // Each place is taken and then written, as far as it comes.
        let mut left = steps;
        let mut step = |deed: &dyn Fn()| {
            if left > 0 {
                left -= 1;
                deed();
            }
        };
        let moves = begun.moves(&layout);
        for (was_there, place, kept) in &moves {
            step(&|| {
                fs::create_dir_all(kept.parent().unwrap()).unwrap();
                if *was_there {
                    fs::rename(place, kept).unwrap();
                }
            });
            step(&|| {
                fs::create_dir_all(place).unwrap();
                fs::write(place.join("new"), "new").unwrap();
            });
        }
        step(&|| {
            fs::create_dir_all(layout.data(IMAGES)).unwrap();
            fs::write(layout.data(IMAGES).join("tool.tar"), "new").unwrap();
        });
        // Another process finds it, and is interrupted, too: it has brought back the first place.
        let found = Journal::read(&layout).unwrap().unwrap();
        if let Some((_, place, kept)) = moves.first().filter(|(.., kept)| kept.exists()) {
            let _ = fs::remove_dir_all(place);
            fs::rename(kept, place).unwrap();
        }
        found.undo(&layout, &machine, &store).unwrap();
        assert_eq!(files(dir.path()), before, "{steps}");
        assert!(Journal::read(&layout).unwrap().is_none());
        if left > 0 {
            break;
        }
    }
}
