//! Follows the objects of a list as they come, change and go (Kubernetes documentation, "Efficient detection of changes").

use std::time::Duration;

use serde_json::Value;

use super::Client;
use super::apply::complaint;
use super::objects::read_object;
use crate::error::{Error, Kind, Result};

/// How many objects are asked for at a time.
const PAGE: u32 = 500;
/// How long the server may go on with one watch, in seconds. After that, the list is read again, which mends whatever was
/// missed.
const LONGEST: u64 = 240;

/// What has become of objects.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum News {
    /// These are all objects.
    All(Vec<Value>),
    /// An object is new, or has changed.
    Set(Value),
    /// An object is gone.
    Gone(Value),
}

/// Reads a list and follows it for some minutes. `fields` is a selector as a part of the query, or empty; `reduce` leaves of
/// an object what is needed of it. Ends early if `tell` gives false.
pub(crate) fn watch(
    client: &Client,
    path: &str,
    fields: &str,
    reduce: impl Fn(Value) -> Value,
    mut tell: impl FnMut(News) -> bool,
) -> Result<()> {
    let (mut all, mut next) = (Vec::new(), String::new());
    let version = loop {
        let page = format!("{path}?limit={PAGE}&continue={next}&{fields}");
        let answer = client.get(&page)?;
        if answer.status != 200 {
            let complaint = complaint(answer.status, &answer.body);
            return Err(Error::new(Kind::Failed, format!("{path}: {complaint}")));
        }
        let list: Value = read_object(&answer.body)?;
        if let Some(Value::Array(items)) = list.get("items") {
            all.extend(items.iter().cloned().map(&reduce));
        }
        let metadata = &list["metadata"];
        match metadata["continue"]
            .as_str()
            .filter(|next| !next.is_empty())
        {
            Some(more) => more.clone_into(&mut next),
            None => {
                break metadata["resourceVersion"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned();
            }
        }
    };
    if !tell(News::All(all)) {
        return Ok(());
    }
    let follow =
        format!("{path}?watch=true&resourceVersion={version}&timeoutSeconds={LONGEST}&{fields}");
    client.lines(&follow, Duration::from_secs(LONGEST + 30), &mut |line| {
        Ok(match event(line)? {
            Some(News::Set(object)) => tell(News::Set(reduce(object))),
            Some(news) => tell(news),
            None => true,
        })
    })
}

/// One line of a watch. Gives nothing for an event that says nothing about an object.
pub(super) fn event(line: &str) -> Result<Option<News>> {
    let mut event: Value = read_object(line)?;
    let object = event.get_mut("object").map(Value::take);
    let object = object.unwrap_or_default();
    match event["type"].as_str() {
        Some("ADDED" | "MODIFIED") => Ok(Some(News::Set(object))),
        Some("DELETED") => Ok(Some(News::Gone(object))),
        Some("ERROR") => {
            let said = object["message"]
                .as_str()
                .unwrap_or("an error without a message");
            Err(Error::new(Kind::Failed, said))
        }
        _ => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read() {
        let news = |kind: &str| {
            event(&format!(
                "{{\"type\":\"{kind}\",\"object\":{{\"message\":\"too old\"}}}}\n"
            ))
        };
        let object = serde_json::json!({ "message": "too old" });
        assert_eq!(news("ADDED").unwrap(), Some(News::Set(object.clone())));
        assert_eq!(news("MODIFIED").unwrap(), Some(News::Set(object.clone())));
        assert_eq!(news("DELETED").unwrap(), Some(News::Gone(object)));
        assert_eq!(news("BOOKMARK").unwrap(), None);
        assert_eq!(news("ERROR").unwrap_err().message(), "too old");
        assert!(event("{\"type\":\"ADD").is_err());
        // Found by `tests/fuzz`.
        for other in ["7", "[]", "\"ADDED\"", "{}", "null"] {
            assert_eq!(event(other).unwrap(), None, "{other}");
        }
    }
}
