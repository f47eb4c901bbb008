//! Tests of bringing merged kubeconfigs up to date.

use super::*;

#[test]
fn merged_entries_get_the_renewed_certificate() {
    let mut desk = Desk::new();
    let file = desk.write("config", WORK);
    desk.merge(&["config"]).unwrap();
    let before = desk.read("config");
    let pki = desk.path("pki");
    assert!(outdated(&pki, &desk.merges).unwrap().is_empty());

    desk.make_pki("pki");
    assert_eq!(
        outdated(&pki, &desk.merges).unwrap(),
        std::slice::from_ref(&file)
    );
    assert_eq!(desk.read("config"), before);
    let mut saved = 0;
    let mut save = |_: &Merges| {
        saved += 1;
        Ok(())
    };
    let changed = update(&pki, &mut desk.merges, &mut save).unwrap();
    assert_eq!((changed, saved), (vec![file], 1));
    assert!(outdated(&pki, &desk.merges).unwrap().is_empty());
    let after = desk.read("config");
    let differs = |(a, b): (&str, &str)| a != b;
    let changed = before.lines().zip(after.lines()).filter(|l| differs(*l));
    assert_eq!(changed.count(), 1, "{after}");
    // What is recorded is recognised as ours.
    desk.unmerge(&["config"]).unwrap();
    assert_eq!(desk.read("config"), WORK);
}

#[test]
fn entries_that_somebody_removed_or_changed_do_not_come_back() {
    let mut desk = Desk::new();
    desk.write("config", WORK);
    desk.merge(&["config"]).unwrap();
    let merged = desk.read("config");
    desk.make_pki("pki");
    let pki = desk.path("pki");

    desk.write("config", WORK);
    assert!(outdated(&pki, &desk.merges).unwrap().is_empty());
    let changed = update(&pki, &mut desk.merges, |_| Ok(())).unwrap();
    assert!(changed.is_empty());
    assert_eq!(desk.read("config"), WORK);

    let others = merged.replace("client-key-data:", "token: mine\n    client-key-data:");
    desk.write("config", &others);
    assert!(update(&pki, &mut desk.merges, |_| Ok(())).is_err());
    assert_eq!(desk.read("config"), others);

    fs_err::remove_file(desk.path("config")).unwrap();
    let changed = update(&pki, &mut desk.merges, |_| Ok(())).unwrap();
    assert!(changed.is_empty() && !desk.path("config").exists());
}
