//! Edits the text of a kubeconfig. All bytes outside the changed entry stay as they are.
//!
//! Each new text is parsed before it is used, and must have exactly the wanted values. So a style of YAML that this code
//! does not support results in an error, not in a damaged file.

use serde_json::{Map, Value};

use super::document::{Content, Document, Node};

/// The first lines of a new kubeconfig.
const HEAD: &str = "apiVersion: v1\nkind: Config\n";
/// Some editors write this character at the beginning of a file.
const BYTE_ORDER_MARK: char = '\u{feff}';
/// The key whose value is the name of the default context.
pub(super) const CURRENT: &str = "current-context";

impl Document {
    /// Inserts an entry at the beginning of the list `key`. The list is added if it does not exist.
    pub(super) fn with_entry(&self, key: &str, entry: &Value) -> Result<Self, String> {
        if self.root.is_none() {
            let text = format!("{}{HEAD}", ended(&self.text));
            return Self::parse(&text)?.with_entry(key, entry);
        }
        let mut meaning = self.meaning();
        match &mut meaning[key] {
            Value::Array(items) => items.insert(0, entry.clone()),
            list => *list = Value::Array(vec![entry.clone()]),
        }
        let text = self.text_with_entry(key, entry);
        Self::proved(text, &meaning)
    }

    fn text_with_entry(&self, key: &str, entry: &Value) -> Option<String> {
        let flow = self.flow();
        let Some((name, list)) = self.pair(key) else {
            return self.with_key(
                key,
                &if flow {
                    format!("[{entry}]")
                } else {
                    format!("\n{}", block(entry, self.indent()?))
                },
            );
        };
        match &list.content {
            Content::List(items) if !items.is_empty() && !self.starts_flow(list) => {
                // Directly below the key, so that a comment above the entry that was first stays with that entry.
                let indent = self.column(self.dash(items.first()?)?)?;
                let at = self.line_end(name.end);
                Some(self.spliced(at, at, &format!("\n{}", block(entry, indent))))
            }
            Content::List(items) if !items.is_empty() => {
                let at = list.start + 1;
                Some(self.spliced(at, at, &format!("{entry}, ")))
            }
            Content::List(_) | Content::Null if flow => {
                Some(self.spliced(list.start, list.end, &format!("[{entry}]")))
            }
            Content::List(_) | Content::Null => {
                // `[]` or `null` is removed, and a comment after it stays.
                let colon = self.colon(name)?;
                let end = end_of_value(colon, list);
                let line = self.line_end(end);
                let rest = self.text.get(end..line)?;
                let entry = block(entry, self.indent()?);
                Some(self.spliced(colon, line, &format!("{rest}\n{entry}")))
            }
            _ => None,
        }
    }

    /// Removes the entry at this position from the list `key`.
    pub(super) fn without_entry(&self, key: &str, number: usize) -> Result<Self, String> {
        let mut meaning = self.meaning();
        if let Value::Array(items) = &mut meaning[key]
            && number < items.len()
        {
            items.remove(number);
        }
        Self::proved(self.text_without_entry(key, number), &meaning)
    }

    fn text_without_entry(&self, key: &str, number: usize) -> Option<String> {
        let (name, list) = self.pair(key)?;
        let items = self.items(key);
        let item = items.get(number)?;
        let flow = self.starts_flow(list);
        if flow && items.len() == 1 {
            return Some(self.spliced(list.start, list.end, "[]"));
        }
        if flow {
            let (start, end) = match (items.get(number + 1), number.checked_sub(1)) {
                (Some(next), _) => (item.start, next.start),
                (None, before) => (items.get(before?)?.end, item.end),
            };
            return Some(self.spliced(start, end, ""));
        }
        let start = self.line_start(self.dash(item)?);
        let end = (self.line_end(item.end) + 1).min(self.text.len());
        if items.len() > 1 {
            return Some(self.spliced(start, end, ""));
        }
        let colon = self.colon(name)?;
        let between = self.text.get(colon..start)?;
        Some(self.spliced(colon, end, &format!(" []{between}")))
    }

    /// Sets the default context, or sets none.
    pub(super) fn with_current(&self, context: Option<&str>) -> Result<Self, String> {
        let context = context.unwrap_or_default();
        let mut meaning = self.meaning();
        meaning[CURRENT] = Value::from(context);
        let written = if self.flow() {
            Value::from(context).to_string()
        } else {
            scalar(context)
        };
        let text = match self.pair(CURRENT) {
            None => self.with_key(CURRENT, &format!(" {written}")),
            Some((name, value)) => self.colon(name).map(|colon| {
                let end = end_of_value(colon, value);
                self.spliced(colon, end, &format!(" {written}"))
            }),
        };
        Self::proved(text, &meaning)
    }

    /// Whether it contains nothing but the lines that a new kubeconfig begins with.
    pub(super) fn is_bare(&self) -> bool {
        self.pairs().iter().all(|(key, value)| {
            let empty = match &value.content {
                Content::Null => true,
                Content::Text(text) => text.is_empty(),
                Content::List(items) => items.is_empty(),
                Content::Map(pairs) => pairs.is_empty(),
                Content::Alias(_) => false,
            };
            empty || matches!(key.text(), Some("apiVersion" | "kind"))
        })
    }

    /// Parses a new text and checks that it has the wanted values.
    fn proved(text: Option<String>, meaning: &Value) -> Result<Self, String> {
        let unusual = || "it is written in a style that this program cannot edit".to_owned();
        let document = Self::parse(&text.ok_or_else(unusual)?).map_err(|_| unusual())?;
        if document.meaning() == *meaning {
            Ok(document)
        } else {
            Err(unusual())
        }
    }

    /// Adds a key after all others, or before them if the text is in braces. The value must begin with a blank or a new
    /// line.
    fn with_key(&self, key: &str, value: &str) -> Option<String> {
        let root = self.root.as_ref()?;
        if self.flow() {
            let at = root.start + 1;
            let comma = if self.pairs().is_empty() { "" } else { ", " };
            return Some(self.spliced(at, at, &format!("\"{key}\": {value}{comma}")));
        }
        let indent = " ".repeat(self.indent()?);
        let (before, after) = self.text.split_at_checked(self.end)?;
        Some(format!("{}{indent}{key}:{value}\n{after}", ended(before)))
    }

    /// Whether the whole text is in braces, as in JSON.
    fn flow(&self) -> bool {
        self.root.as_ref().is_some_and(|r| self.starts_flow(r))
    }

    fn starts_flow(&self, node: &Node) -> bool {
        let rest = self.text.get(node.start..);
        rest.is_some_and(|rest| rest.starts_with(['[', '{']))
    }

    /// The column of the root's keys.
    fn indent(&self) -> Option<usize> {
        self.column(self.pairs().first()?.0.start)
    }

    /// The number of blanks before a place; `None` if there is anything else before it in its line.
    fn column(&self, at: usize) -> Option<usize> {
        let before = self.text.get(self.line_start(at)..at)?;
        let before = before.trim_start_matches(BYTE_ORDER_MARK);
        before.chars().all(|c| c == ' ').then_some(before.len())
    }

    /// The place of the dash before an entry of a list.
    fn dash(&self, item: &Node) -> Option<usize> {
        let before = self.text.get(..item.start)?.trim_end();
        before.ends_with('-').then(|| before.len() - 1)
    }

    /// The place after the colon of a key.
    fn colon(&self, key: &Node) -> Option<usize> {
        let rest = self.text.get(key.end..)?;
        let blanks = rest.len() - rest.trim_start().len();
        let colon = key.end + blanks;
        self.text
            .get(colon..)?
            .starts_with(':')
            .then_some(colon + 1)
    }

    fn line_start(&self, at: usize) -> usize {
        let before = self.text.get(..at).unwrap_or_default();
        before.rfind('\n').map_or(0, |end| end + 1)
    }

    /// The end of the line that contains a place, before the line feed.
    fn line_end(&self, at: usize) -> usize {
        let rest = self.text.get(at..).unwrap_or_default();
        at + rest.find('\n').unwrap_or(rest.len())
    }

    fn spliced(&self, start: usize, end: usize, with: &str) -> String {
        let before = self.text.get(..start).unwrap_or_default();
        let after = self.text.get(end..).unwrap_or_default();
        format!("{before}{with}{after}")
    }
}

/// The end of the value after a colon. If there is no value, it is the colon, because the parser reports the place of the
/// next value instead.
fn end_of_value(colon: usize, value: &Node) -> usize {
    if value.start < value.end {
        value.end
    } else {
        colon
    }
}

/// The text, with a line feed at its end unless it is empty.
fn ended(text: &str) -> String {
    let end = if text.is_empty() || text.ends_with('\n') {
        ""
    } else {
        "\n"
    };
    format!("{text}{end}")
}

/// The lines of an entry of a list, without the last line feed. The entry consists of texts and of maps of texts.
fn block(entry: &Value, indent: usize) -> String {
    let nothing = Map::new();
    let mut lines = Vec::new();
    for (key, value) in entry.as_object().unwrap_or(&nothing) {
        let dash = if lines.is_empty() { "- " } else { "  " };
        match value {
            Value::Object(pairs) => {
                lines.push(format!("{dash}{key}:"));
                for (key, value) in pairs {
                    let value = value.as_str().map(scalar).unwrap_or_default();
                    lines.push(format!("    {key}: {value}"));
                }
            }
            value => {
                let value = value.as_str().map(scalar).unwrap_or_default();
                lines.push(format!("{dash}{key}: {value}"));
            }
        }
    }
    let indent = " ".repeat(indent);
    let lines: Vec<_> = lines.iter().map(|l| format!("{indent}{l}")).collect();
    lines.join("\n")
}

/// A text as a YAML value. It is quoted if any version of YAML might read it as something else.
fn scalar(text: &str) -> String {
    const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "+/=._:-[]".contains(c))
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        text.to_owned()
    } else {
        Value::from(text).to_string()
    }
}
