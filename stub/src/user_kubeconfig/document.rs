//! The text of a kubeconfig: its values, and the place of each value in the text.

use std::borrow::Cow;
use std::collections::BTreeSet;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_json::{Map, Value};

/// The largest number of nested levels that is read. A kubeconfig has about six.
const DEEPEST: usize = 64;

/// The text of a kubeconfig and its parsed values. A text that is empty or has only comments has no root.
#[derive(Debug, Clone)]
pub(super) struct Document {
    pub(super) text: String,
    pub(super) root: Option<Node>,
    /// The place after the last line of the root. A key can be added there.
    pub(super) end: usize,
}

/// A value, and the range of bytes in the text that it was read from.
#[derive(Debug, Clone)]
pub(super) struct Node {
    pub(super) content: Content,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A YAML value. Numbers and booleans are kept as texts, because they are compared but never changed.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// An absent value, `~`, or `null`.
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Node, Node)>),
    /// A reference to a value elsewhere in the text: `*name`.
    Alias(usize),
}

impl Document {
    /// Parses a text. The error is the reason why it cannot be edited as a kubeconfig.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut builder = Builder::new(text);
        for event in Parser::new_from_str(text) {
            let (event, span) = event.map_err(|e| e.to_string())?;
            builder.take(event, span)?;
        }
        let root = builder.root.filter(|n| !matches!(n.content, Content::Null));
        if let Some(root) = &root {
            let Content::Map(pairs) = &root.content else {
                return Err("it is not a mapping of keys to values".to_owned());
            };
            let mut known = BTreeSet::new();
            for (key, _) in pairs {
                if !known.insert(key.text()) {
                    return Err(format!(
                        "the key `{}` appears twice",
                        key.text().unwrap_or("?")
                    ));
                }
            }
        }
        Ok(Self {
            text: text.to_owned(),
            root,
            end: builder.end.unwrap_or(text.len()),
        })
    }

    /// Its values, without comments and style.
    pub(super) fn meaning(&self) -> Value {
        self.root
            .as_ref()
            .map_or(Value::Object(Map::new()), Node::meaning)
    }

    /// The keys of the root, with their values.
    pub(super) fn pairs(&self) -> &[(Node, Node)] {
        match self.root.as_ref().map(|root| &root.content) {
            Some(Content::Map(pairs)) => pairs,
            _ => &[],
        }
    }

    /// A key of the root, with its value.
    pub(super) fn pair(&self, key: &str) -> Option<&(Node, Node)> {
        self.pairs().iter().find(|(k, _)| k.text() == Some(key))
    }

    /// The value of a key of the root, if it is a text and not empty.
    pub(super) fn text_of(&self, key: &str) -> Option<&str> {
        self.pair(key)?.1.text().filter(|text| !text.is_empty())
    }

    /// The entries of the list `key`; none if there is no such list.
    pub(super) fn items(&self, key: &str) -> &[Node] {
        match self.pair(key).map(|(_, value)| &value.content) {
            Some(Content::List(items)) => items,
            _ => &[],
        }
    }
}

impl Node {
    /// The text, if it is one.
    pub(super) fn text(&self) -> Option<&str> {
        match &self.content {
            Content::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Its value, see [`Document::meaning`].
    pub(super) fn meaning(&self) -> Value {
        match &self.content {
            Content::Null => Value::Null,
            Content::Text(text) => Value::String(text.clone()),
            Content::List(items) => items.iter().map(Self::meaning).collect(),
            Content::Map(pairs) => {
                let key = |key: &Self| match key.meaning() {
                    Value::String(text) => text,
                    other => other.to_string(),
                };
                let pairs = pairs.iter().map(|(k, v)| (key(k), v.meaning()));
                Value::Object(pairs.collect())
            }
            Content::Alias(anchor) => Value::from(*anchor),
        }
    }
}

/// Builds a tree from the parser's events.
struct Builder<'a> {
    text: &'a str,
    /// The byte at which each character begins. They are needed because the parser counts characters.
    offsets: Vec<usize>,
    open: Vec<Open>,
    root: Option<Node>,
    end: Option<usize>,
    documents: usize,
}

/// A list or map that has begun. A map's keys and values alternate.
struct Open {
    start: usize,
    map: bool,
    nodes: Vec<Node>,
}

impl<'a> Builder<'a> {
    fn new(text: &'a str) -> Self {
        let offsets = text.char_indices().map(|(at, _)| at);
        Self {
            text,
            offsets: offsets.chain([text.len()]).collect(),
            open: Vec::new(),
            root: None,
            end: None,
            documents: 0,
        }
    }

    fn take(&mut self, event: Event, span: Span) -> Result<(), String> {
        let at = |index: usize| self.offsets.get(index).copied().unwrap_or(self.text.len());
        let (start, end) = (at(span.start.index()), at(span.end.index()));
        let content = match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd => return Ok(()),
            Event::DocumentStart(_) => {
                self.documents += 1;
                return match self.documents {
                    1 => Ok(()),
                    _ => Err("it contains several documents, separated by `---`".to_owned()),
                };
            }
            Event::DocumentEnd => {
                self.end = Some(start);
                return Ok(());
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if self.open.len() == DEEPEST {
                    return Err(format!(
                        "its lists are nested more than {DEEPEST} levels deep"
                    ));
                }
                let map = matches!(event, Event::MappingStart(..));
                let nodes = Vec::new();
                self.open.push(Open { start, map, nodes });
                return Ok(());
            }
            Event::SequenceEnd | Event::MappingEnd => return self.close(start),
            Event::Alias(anchor) => Content::Alias(anchor),
            Event::Scalar(text, style, ..) => scalar(text, style),
        };
        // For a text of several lines, the parser may report the beginning of the next value as the end.
        let end = start + self.text[start..end.max(start)].trim_end().len();
        self.put(Node {
            content,
            start,
            end,
        });
        Ok(())
    }

    fn put(&mut self, node: Node) {
        match self.open.last_mut() {
            Some(open) => open.nodes.push(node),
            None => self.root = Some(node),
        }
    }

    /// Ends the innermost list or map. `end` is the place of the closing bracket, if there is one.
    fn close(&mut self, end: usize) -> Result<(), String> {
        let open = self
            .open
            .pop()
            .ok_or("its lists are not closed correctly")?;
        let bracket = self.text[open.start..].starts_with(['[', '{']);
        let written = open.nodes.iter().filter(|n| n.start < n.end);
        let last = written.map(|n| n.end).max().unwrap_or_default();
        let content = if open.map {
            let mut nodes = open.nodes.into_iter();
            let mut pairs = Vec::new();
            while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
                pairs.push((key, value));
            }
            Content::Map(pairs)
        } else {
            Content::List(open.nodes)
        };
        self.put(Node {
            content,
            start: open.start,
            // Without brackets, it ends at the end of its last value, not where the next value begins.
            end: if bracket { end + 1 } else { last },
        });
        Ok(())
    }
}

fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> Content {
    if style == ScalarStyle::Plain && matches!(&*text, "" | "~" | "null" | "Null" | "NULL") {
        return Content::Null;
    }
    Content::Text(text.into_owned())
}
