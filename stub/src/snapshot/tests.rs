use super::*;

/// A layout with data in it, last used by a generation.
fn with_data(generation: u64, text: &str) -> (tempfile::TempDir, Layout) {
    let dir = tempfile::tempdir().unwrap();
    let [config, store] = ["config", "data"].map(|name| dir.path().join(name));
    let layout = Layout::new(config, store, "/r".into(), "/g".into()).unwrap();
    write(&layout, text);
    user(generation).write(&user_file(&layout)).unwrap();
    (dir, layout)
}

fn write(layout: &Layout, text: &str) {
    let wal = data(layout).join("member/wal");
    fs_err::create_dir_all(&wal).unwrap();
    fs_err::write(wal.join("0.wal"), text).unwrap();
}

fn read(layout: &Layout) -> String {
    fs_err::read_to_string(data(layout).join("member/wal/0.wal")).unwrap()
}

fn user(generation: u64) -> User {
    let versions = Versions {
        kubernetes: "1.36.0".to_owned(),
        etcd: format!("3.{generation}.0"),
    };
    User {
        generation,
        versions,
        taken: String::new(),
    }
}

#[test]
fn restoring_exchanges_the_data_and_keeps_both() {
    let (_dir, layout) = with_data(5, "before");
    take(&layout, user(5)).unwrap();
    write(&layout, "after");
    user(6).write(&user_file(&layout)).unwrap();
    let restored = restore(&layout, 5).unwrap();
    assert_eq!(
        (restored.generation, read(&layout)),
        (5, "before".to_owned())
    );
    assert!(!restored.taken.is_empty());
    assert_eq!(last_user(&layout).unwrap(), Some(user(5)));
    // And forward again.
    assert_eq!(restore(&layout, 6).unwrap().generation, 6);
    assert_eq!(read(&layout), "after");
    let left = crate::files::contents(&layout.data("")).unwrap();
    assert_eq!(left.len(), 3, "{left:?}");
}

#[test]
fn without_a_snapshot_nothing_is_changed() {
    let (_dir, layout) = with_data(6, "now");
    let error = restore(&layout, 5).unwrap_err();
    assert!(error.message().contains("from generation 5"), "{error}");
    assert_eq!(read(&layout), "now");
    // One that was never finished does not count.
    fs_err::create_dir_all(layout.data("snapshots/5.new/etcd/member")).unwrap();
    assert!(of_generation(&layout, 5).unwrap().is_none());
}

#[test]
fn the_oldest_snapshots_are_removed() {
    let (_dir, layout) = with_data(1, "x");
    for generation in 1..=5 {
        take(&layout, user(generation)).unwrap();
        // Times have seconds only.
        let file = place(&layout, generation).join("user.json");
        let mut user = User::read(&file).unwrap().unwrap();
        user.taken = format!("2026-11-26T00:00:0{generation}Z");
        user.write(&file).unwrap();
    }
    prune(&layout.data("snapshots")).unwrap();
    let kept: Vec<_> = (1..=5)
        .filter(|n| of_generation(&layout, *n).unwrap().is_some())
        .collect();
    assert_eq!(kept, [3, 4, 5]);
}

#[test]
fn data_of_earlier_releases_has_no_user_until_it_is_recorded() {
    let (_dir, layout) = with_data(1, "x");
    fs_err::remove_file(user_file(&layout)).unwrap();
    assert_eq!(last_user(&layout).unwrap(), None);
    fs_err::write(user_file(&layout), "{").unwrap();
    let error = last_user(&layout).unwrap_err().to_string();
    assert!(error.contains("etcd-user.json"), "{error}");
    assert!(error.contains("hint: remove it"), "{error}");
}
