//! Tests with unusual styles of writing a kubeconfig.

use super::*;

#[test]
fn kubeconfigs_that_cannot_be_edited_stay_as_they_are() {
    let texts = [
        "clusters: {\n",
        "- a list\n",
        "just text\n",
        "kind: Config\n---\nkind: Config\n",
        "clusters: text\n",
        "clusters: []\nclusters: []\n",
        "anchor: &a []\nclusters: *a\n",
        "kind: Config\n...\n# the end\n%\n",
    ];
    for text in texts {
        let mut desk = Desk::new();
        desk.write("config", text);
        let error = desk.merge(&["config"]).unwrap_err();
        assert_eq!(error.kind(), Kind::Input, "{error}");
        assert!(error.to_string().contains("found     "), "{error}");
        assert_eq!(desk.read("config"), text);
        assert_eq!(desk.names(), ["config"]);
    }
    let mut desk = Desk::new();
    fs_err::write(desk.path("config"), b"kind: \xff\xfe").unwrap();
    assert_eq!(desk.merge(&["config"]).unwrap_err().kind(), Kind::Input);
    desk.write("config", &"[".repeat(100_000));
    assert_eq!(desk.merge(&["config"]).unwrap_err().kind(), Kind::Input);
}

#[test]
fn kubeconfigs_of_many_styles_have_the_same_values_afterwards() {
    let json = serde_json::json!({
        "kind": "Config", "clusters": [{"name": "work", "cluster": {"server": "https://work.example"}}],
        "users": [], "contexts": null,
    });
    let texts = [
        json.to_string(),
        format!("{json:#}\n"),
        "{}".to_owned(),
        "clusters:\nusers:\ncontexts:\ncurrent-context:\n".to_owned(),
        "clusters: null # none\nusers: ~\ncontexts: [ ]\ncurrent-context: ''\n".to_owned(),
        "---\n  kind: Config\n  users:\n    - user:\n        token: |\n          one\n          two\n      name: me\n\n  # end".to_owned(),
        "users:\n-   name: me\n    user: {token: é, exec: {args: [a, ']']}} # ]\n...\n".to_owned(),
        "kind: Config\r\nusers:\r\n- name: me\r\n  user: {}\r\n".to_owned(),
        "\u{feff}kind: Config\n".to_owned(),
        String::new(),
        "# nothing".to_owned(),
    ];
    for text in texts {
        let mut desk = Desk::new();
        desk.write("config", &text);
        let before = Document::parse(&text).unwrap().meaning();
        desk.merge(&["config"])
            .unwrap_or_else(|e| panic!("{text}: {e}"));
        let merged = desk.read("config");
        let meaning = Document::parse(&merged).unwrap().meaning();
        assert_eq!(meaning["current-context"], NAME, "{merged}");
        for part in Part::ALL {
            assert_eq!(meaning[part.list()][0]["name"], NAME, "{merged}");
        }
        desk.unmerge(&["config"]).unwrap();
        let after = Document::parse(&desk.read("config")).unwrap().meaning();
        for part in Part::ALL {
            let list = |value: &Value| value[part.list()].as_array().cloned().unwrap_or_default();
            assert_eq!(list(&after), list(&before), "{text}\n{merged}");
        }
    }
}
