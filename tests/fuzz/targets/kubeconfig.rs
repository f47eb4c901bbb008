//! The user's kubeconfig: a merge and an unmerge leave the same document, and no byte of others is lost.

use serde_json::Value;
use stub::user_kubeconfig::fuzz::round;

const LISTS: [&str; 3] = ["clusters", "contexts", "users"];
const CURRENT: &str = "current-context";
const NAME: &str = "usernetes";

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    let Some(round) = round(text) else {
        return;
    };
    let round = round.expect("what was merged can be removed");
    let mut merged = round.merged.clone();
    for list in LISTS {
        let items = merged[list].as_array_mut().expect("our entry is there");
        let ours = items.remove(0);
        assert_eq!(ours["name"], NAME);
        assert!(items.iter().all(|item| item["name"] != NAME));
    }
    let chosen = filled(&round.before[CURRENT]);
    if !chosen {
        assert_eq!(merged[CURRENT], NAME);
        merged[CURRENT] = Value::Null;
    }
    let before = with_head(&round.before);
    assert_eq!(plain(&merged), before);
    assert_eq!(plain(&round.after), before);
    assert!(
        is_in(&round.kept, &round.merged_text),
        "{}",
        round.merged_text
    );
    assert!(
        is_in(&round.kept, &round.after_text),
        "{}",
        round.after_text
    );
    if chosen && LISTS.iter().all(|list| filled(&round.before[list])) {
        assert_eq!(round.after_text, text);
    }
}

/// Whether there is anything in a value.
fn filled(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => true,
    }
}

/// The values without the lists and the default context that are empty.
fn plain(document: &Value) -> Value {
    let mut document = document.clone();
    for key in LISTS.iter().chain([&CURRENT]) {
        if !filled(&document[key])
            && let Some(map) = document.as_object_mut()
        {
            map.remove(*key);
        }
    }
    document
}

/// The same, with the lines that an empty text gets first. One with lists is not empty, even if nothing is in them.
fn with_head(document: &Value) -> Value {
    let empty = document.as_object().is_some_and(serde_json::Map::is_empty);
    let mut document = plain(document);
    if empty {
        document["apiVersion"] = "v1".into();
        document["kind"] = "Config".into();
    }
    document
}

/// Whether all characters of a text but the blanks are in another one, in their order.
fn is_in(part: &str, whole: &str) -> bool {
    let mut whole = whole.chars();
    let mut part = part.chars().filter(|c| !c.is_whitespace());
    part.all(|wanted| whole.any(|c| c == wanted))
}
