//! Tests of merging and unmerging, with the files and the PKI of a real cluster.

mod files;
mod styles;
mod update;

use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;
use crate::pki;

/// A directory with the PKI of a cluster in `pki`, and the record of entries merged from it.
struct Desk {
    dir: TempDir,
    merges: Merges,
}

impl Desk {
    fn new() -> Self {
        let desk = Self {
            dir: tempfile::tempdir().unwrap(),
            merges: Merges::default(),
        };
        desk.make_pki("pki");
        desk
    }

    fn make_pki(&self, name: &str) {
        let request = pki::Request {
            node_name: "host".parse().unwrap(),
            cluster_domain: "cluster.local".parse().unwrap(),
            service_ip: [10, 0, 0, 1].into(),
            child_ip: [10, 0, 42, 100].into(),
            address: None,
            extra_sans: Vec::new(),
            api_port: 6443,
            component_server: ([127, 0, 0, 1], 6443).into(),
        };
        let now = UNIX_EPOCH + Duration::from_hours(499_656);
        pki::ensure(&self.path(name), &request, pki::Renew::All, now).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs_err::write(self.path(name), text).unwrap();
        self.path(name)
    }

    fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap()
    }

    /// The text of a file, with `…` in place of embedded values.
    fn shown(&self, name: &str) -> String {
        let text = self.read(name);
        let short = |line: &str| match line.split_once("-data: ") {
            Some((key, _)) => format!("{key}-data: …\n"),
            None => format!("{line}\n"),
        };
        text.lines().map(short).collect()
    }

    fn files(&self, names: &[&str]) -> Vec<PathBuf> {
        names.iter().map(|name| self.path(name)).collect()
    }

    fn merge(&mut self, names: &[&str]) -> Result<Edited> {
        let files = self.files(names);
        merge(&self.path("pki"), &files, &mut self.merges, |_| Ok(()))
    }

    fn unmerge(&mut self, names: &[&str]) -> Result<Edited> {
        let files = self.files(names);
        unmerge(&self.path("pki"), &files, &mut self.merges, |_| Ok(()))
    }

    /// An error without the name of the directory.
    fn error(&self, error: &Error) -> String {
        error
            .to_string()
            .replace(self.path("").to_str().unwrap(), "…/")
    }

    /// The names of the files in the directory, without the PKI.
    fn names(&self) -> Vec<String> {
        let entries = fs_err::read_dir(self.dir.path()).unwrap();
        let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| !name.starts_with("pki")).collect();
        names.sort();
        names
    }
}

/// A kubeconfig that people edit, in more than one style.
const WORK: &str = "\
# mine
apiVersion: v1
kind: Config
clusters:   # where
# the office
- name: work
  cluster: {server: 'https://work.example', certificate-authority: certs/ca.pem}
contexts:
  - context:
      cluster: work
      user: me
    name: work
current-context: work
preferences: {}
users: []   # none yet
";

#[test]
fn merging_and_unmerging_restores_a_kubeconfig_byte_for_byte() {
    let mut desk = Desk::new();
    desk.write("config", WORK);
    let outcome = desk.merge(&["config"]).unwrap();
    assert_eq!(outcome.files, desk.files(&["config"]));
    assert_eq!(outcome.current_context.as_deref(), Some("work"));
    insta::assert_snapshot!(desk.shown("config"), @"
    # mine
    apiVersion: v1
    kind: Config
    clusters:   # where
    - cluster:
        certificate-authority-data: …
        server: https://127.0.0.1:6443
      name: usernetes
    # the office
    - name: work
      cluster: {server: 'https://work.example', certificate-authority: certs/ca.pem}
    contexts:
      - context:
          cluster: usernetes
          user: usernetes
        name: usernetes
      - context:
          cluster: work
          user: me
        name: work
    current-context: work
    preferences: {}
    users:   # none yet
    - name: usernetes
      user:
        client-certificate-data: …
        client-key-data: …
    ");
    assert!(!desk.merge(&["config"]).unwrap().changed);
    assert!(!desk.merges.is_empty());

    let outcome = desk.unmerge(&["config"]).unwrap();
    assert!(outcome.changed);
    assert_eq!(outcome.current_context.as_deref(), Some("work"));
    assert_eq!(desk.read("config"), WORK);
    assert!(desk.merges.is_empty());
    assert!(!desk.unmerge(&["config"]).unwrap().changed);
    assert_eq!(desk.names(), ["config"]);
}

#[test]
fn a_new_kubeconfig_has_our_context_as_default_and_is_removed_with_its_directories() {
    let mut desk = Desk::new();
    let outcome = desk.merge(&["new/kube/config"]).unwrap();
    assert_eq!(outcome.current_context.as_deref(), Some(NAME));
    insta::assert_snapshot!(desk.shown("new/kube/config"), @"
    apiVersion: v1
    kind: Config
    clusters:
    - cluster:
        certificate-authority-data: …
        server: https://127.0.0.1:6443
      name: usernetes
    contexts:
    - context:
        cluster: usernetes
        user: usernetes
      name: usernetes
    users:
    - name: usernetes
      user:
        client-certificate-data: …
        client-key-data: …
    current-context: usernetes
    ");
    let mode = |name: &str| fs_err::metadata(desk.path(name)).unwrap().mode() & 0o777;
    assert_eq!((mode("new/kube"), mode("new/kube/config")), (0o700, 0o600));
    let outcome = desk.unmerge(&["new/kube/config"]).unwrap();
    assert_eq!(outcome.current_context, None);
    assert_eq!(desk.names(), Vec::<String>::new());
    // A file that existed before stays, even if it is empty.
    desk.write("config", "# later\n");
    desk.merge(&["config"]).unwrap();
    desk.unmerge(&["config"]).unwrap();
    assert!(desk.read("config").starts_with("# later\napiVersion: v1\n"));
}

#[test]
fn an_entry_with_our_name_that_is_not_ours_is_never_changed() {
    let (context, cluster) = (
        "contexts: [{name: usernetes, context: {cluster: work, user: usernetes}}]\n",
        "clusters: [{name: usernetes, cluster: {server: 'https://127.0.0.1:6443'}}]\n",
    );
    let user = "users:\n- name: usernetes\n  user:\n    token: hidden\n";
    for text in [context, cluster, user, &[context, user].concat()] {
        let mut desk = Desk::new();
        desk.write("config", text);
        for error in [desk.merge(&["config"]), desk.unmerge(&["config"])] {
            let error = error.unwrap_err();
            assert_eq!(error.kind(), Kind::Input);
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
        assert_eq!(desk.read("config"), text);
        assert_eq!(desk.names(), ["config"]);
        assert!(desk.merges.is_empty());
    }
    let mut desk = Desk::new();
    desk.write("config", &[context, user].concat());
    let error = desk.merge(&["config"]).unwrap_err();
    insta::assert_snapshot!(desk.error(&error), @"
    …/config: the user `usernetes` is not the one that `usernetes kubeconfig merge` wrote
      expected  a certificate of this cluster's authority with its key, and nothing else
      found     `token`
      also      context in …/config: cluster `work`, user `usernetes`

    hint: rename that entry in the file, or leave the file out of $KUBECONFIG; `usernetes kubectl` works without your kubeconfig
    ");
    let error = desk.unmerge(&["config"]).unwrap_err();
    insta::assert_snapshot!(desk.error(&error), @"
    …/config: the user `usernetes` is not the one that `usernetes kubeconfig merge` wrote
      expected  a certificate of this cluster's authority with its key, and nothing else
      found     `token`
      also      context in …/config: cluster `work`, user `usernetes`

    hint: nothing was changed; to remove entries that you no longer need, run `kubectl config --kubeconfig …/config delete-user usernetes` and `kubectl config --kubeconfig …/config delete-context usernetes`
    ");
}

#[test]
fn our_entry_is_no_longer_ours_once_somebody_adds_a_field() {
    let mut desk = Desk::new();
    desk.merge(&["config"]).unwrap();
    let ours = desk.read("config");
    let text = ours.replace("  user:\n", "  user:\n    token: hidden\n");
    assert_ne!(text, ours);
    desk.write("config", &text);
    let error = desk.unmerge(&["config"]).unwrap_err();
    insta::assert_snapshot!(desk.error(&error), @"
    …/config: the user `usernetes` is not the one that `usernetes kubeconfig merge` wrote
      expected  a certificate of this cluster's authority with its key, and nothing else
      found     client certificate issued by `CN=usernetes-ca`, `client-key-data`, `token`

    hint: nothing was changed; to remove entries that you no longer need, run `kubectl config --kubeconfig …/config delete-user usernetes`
    ");
    assert_eq!(desk.read("config"), text);
    // Setting a namespace is common, so a context with one is still ours.
    let text = ours.replace(
        "    cluster: usernetes\n",
        "    cluster: usernetes\n    namespace: shop\n",
    );
    desk.write("config", &text);
    assert!(!desk.merge(&["config"]).unwrap().changed);
    desk.unmerge(&["config"]).unwrap();
    assert_eq!(desk.names(), Vec::<String>::new());
}

#[test]
fn entries_of_an_earlier_release_are_recognised_by_the_authority_and_renewed() {
    let mut desk = Desk::new();
    desk.merge(&["config"]).unwrap();
    let old = desk
        .read("config")
        .replace("127.0.0.1:6443", "127.0.0.1:7443");
    desk.write("config", &old);
    desk.merges = Merges::default();
    // The certificates have been renewed since.
    desk.make_pki("pki");
    assert!(desk.merge(&["config"]).unwrap().changed);
    let new = desk.read("config");
    assert_ne!(new, old);
    assert!(new.contains("https://127.0.0.1:6443"), "{new}");
    desk.merges = Merges::default();
    desk.unmerge(&["config"]).unwrap();
    insta::assert_snapshot!(desk.read("config"), @r#"
    apiVersion: v1
    kind: Config
    clusters: []
    contexts: []
    users: []
    current-context: ""
    "#);
}

#[test]
fn without_an_installation_only_recorded_entries_are_removed() {
    let mut desk = Desk::new();
    desk.write("config", WORK);
    desk.merge(&["config"]).unwrap();
    let merged = desk.read("config");
    fs_err::remove_dir_all(desk.path("pki")).unwrap();
    let merges = std::mem::take(&mut desk.merges);
    let error = desk.unmerge(&["config"]).unwrap_err();
    insta::assert_snapshot!(desk.error(&error), @"
    …/config: the cluster `usernetes` is not the one that `usernetes kubeconfig merge` wrote
      expected  an entry that an installation has recorded; no record is left
      found     authority `CN=usernetes-ca`, server `https://127.0.0.1:6443`
      also      user in …/config: client certificate issued by `CN=usernetes-ca`, `client-key-data`
      also      context in …/config: cluster `usernetes`, user `usernetes`

    hint: nothing was changed; to remove entries that you no longer need, run `kubectl config --kubeconfig …/config delete-cluster usernetes` and `kubectl config --kubeconfig …/config delete-user usernetes` and `kubectl config --kubeconfig …/config delete-context usernetes`
    ");
    assert_eq!(desk.read("config"), merged);
    desk.merges = merges;
    assert!(desk.unmerge(&["config"]).unwrap().changed);
    assert_eq!(desk.read("config"), WORK);
    // A new cluster at the same address does not own the entries of the old one.
    desk.make_pki("pki");
    desk.write("config", &merged);
    assert_eq!(desk.merge(&["config"]).unwrap_err().kind(), Kind::Input);
    assert_eq!(desk.read("config"), merged);
}

#[test]
fn uninstalling_removes_our_entries_and_names_those_that_stay() {
    let mut desk = Desk::new();
    desk.merge(&["a"]).unwrap();
    desk.write("b", WORK);
    desk.merge(&["b"]).unwrap();
    let text = desk
        .read("b")
        .replace("    user: usernetes\n", "    user: other\n");
    desk.write("b", &text);
    let lines = undo(&desk.path("pki"), &desk.files(&["b"]), &desk.merges).lines;
    let lines = lines
        .join("\n")
        .replace(desk.path("").to_str().unwrap(), "…/");
    insta::assert_snapshot!(lines, @"
    …/b no longer has the context `usernetes`
    …/b keeps the context `usernetes`, which is not the one that `usernetes kubeconfig merge` wrote: it has cluster `usernetes`, user `other`
    …/a no longer has the context `usernetes`
    ");
    assert_eq!(desk.names(), ["b"]);
    assert!(!desk.read("b").contains("client-key-data"));
    assert!(desk.read("b").contains("user: other"));
}

#[test]
fn uninstalling_keeps_the_entries_of_another_usernetes_cluster() {
    let mut desk = Desk::new();
    desk.merge(&["config"]).unwrap();
    let strangers = desk.read("config");
    // The kubeconfig comes from another person's Usernetes cluster.
    fs_err::remove_dir_all(desk.path("pki")).unwrap();
    desk.make_pki("pki");
    desk.merges = Merges::default();
    desk.write("config", &strangers);
    let lines = undo(&desk.path("pki"), &desk.files(&["config"]), &desk.merges).lines;
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(desk.read("config"), strangers);
}

#[test]
fn several_files_are_read_and_written_as_kubectl_does() {
    let mut desk = Desk::new();
    // None exists, so the last is created.
    desk.merge(&["a", "b"]).unwrap();
    assert_eq!(desk.names(), ["b"]);
    desk.unmerge(&["a", "b"]).unwrap();
    // New entries go into the first file that exists. The default context of another file is respected.
    desk.write("b", WORK);
    desk.write("c", "kind: Config\n");
    let outcome = desk.merge(&["a", "c", "b"]).unwrap();
    assert_eq!(outcome.files, desk.files(&["c"]));
    assert_eq!(outcome.current_context.as_deref(), Some("work"));
    assert!(!desk.read("c").contains("current-context"));
    assert_eq!(desk.read("b"), WORK);
    // An entry is changed in the file that contains it, and removed from that file.
    let (c, files) = (desk.read("c"), ["a", "b", "c"]);
    desk.write("c", &c.replace("127.0.0.1:6443", "127.0.0.1:7443"));
    assert_eq!(desk.merge(&files).unwrap().files, desk.files(&["c"]));
    assert!(desk.read("c").contains("127.0.0.1:6443"));
    let outcome = desk.unmerge(&files).unwrap();
    assert_eq!(outcome.files, desk.files(&["c"]));
    assert!(!desk.read("c").contains(NAME), "{}", desk.read("c"));
    assert_eq!(desk.names(), ["b", "c"]);
}

#[test]
fn entries_are_removed_from_recorded_files_that_are_not_named() {
    let mut desk = Desk::new();
    desk.merge(&["elsewhere"]).unwrap();
    desk.write("config", WORK);
    let outcome = desk.unmerge(&["config"]).unwrap();
    assert_eq!(outcome.files, desk.files(&["elsewhere"]));
    assert_eq!(outcome.current_context.as_deref(), Some("work"));
    assert_eq!(desk.names(), ["config"]);
    assert_eq!(desk.read("config"), WORK);
}

#[test]
fn unmerging_restores_the_earlier_default_context() {
    let mut desk = Desk::new();
    desk.write("a", WORK);
    desk.merge(&["a"]).unwrap();
    let merged = desk.read("a");
    desk.write(
        "a",
        &merged.replace("current-context: work", "current-context: usernetes"),
    );
    let outcome = desk.unmerge(&["a"]).unwrap();
    assert_eq!(outcome.current_context.as_deref(), Some("work"));
    assert_eq!(desk.read("a"), WORK);
}
