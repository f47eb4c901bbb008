//! The user's kubeconfigs, in the order in which kubectl reads them, and kubectl's rules for several files. The first entry
//! with a name is used, and the first `current-context`. A changed entry is written to the file that contains it. A new
//! entry is written to the first file that exists. If none exists, the last file of the list is created.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::document::Document;
use super::edit::CURRENT;
use super::place;
use crate::error::{Error, Kind, Result};
use crate::kubeconfig::NAME;

/// One of the lists of a kubeconfig that can contain an entry of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Context,
    Cluster,
    User,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Context, Self::Cluster, Self::User];

    /// The key of the list.
    pub(super) fn list(self) -> &'static str {
        match self {
            Self::Context => "contexts",
            Self::Cluster => "clusters",
            Self::User => "users",
        }
    }

    /// The key of an entry's contents, besides its name. kubectl uses the same word for the entry.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Cluster => "cluster",
            Self::User => "user",
        }
    }
}

/// One of the kubeconfigs.
#[derive(Debug)]
pub(super) struct Source {
    /// The path of the file itself, after following links.
    pub(super) file: PathBuf,
    /// The path that the user gave. kubectl puts its lock beside this one.
    named: PathBuf,
    /// Its text; `None` if the file does not exist.
    text: Option<String>,
    pub(super) document: Document,
}

impl Source {
    fn read(named: &Path) -> Result<Self> {
        let file = place::resolve(named)?;
        let text = place::read(&file)?;
        Self::of(file, std::path::absolute(named)?, text)
    }

    /// The kubeconfig with this text.
    pub(super) fn of(file: PathBuf, named: PathBuf, text: Option<String>) -> Result<Self> {
        let document = Document::parse(text.as_deref().unwrap_or_default()).map_err(|reason| {
            Error::new(
                Kind::Input,
                format!("{}: this kubeconfig cannot be edited", file.display()),
            )
            .expected("a kubeconfig in YAML or JSON, written in the style of kubectl")
            .found(reason)
            .hint(format!(
                "run `kubectl config view --kubeconfig {0}` to see whether kubectl can read it; `kubectl config view --raw --kubeconfig {0}` prints it as kubectl would write it",
                file.display()
            ))
        })?;
        Ok(Self {
            file,
            named,
            text,
            document,
        })
    }

    pub(super) fn exists(&self) -> bool {
        self.text.is_some()
    }

    /// The paths beside which other programs may put their lock for this file.
    pub(super) fn lockable(&self) -> Vec<PathBuf> {
        let dir = self.named.parent().and_then(|d| d.canonicalize().ok());
        let named = dir.and_then(|dir| Some(dir.join(self.named.file_name()?)));
        named.into_iter().chain([self.file.clone()]).collect()
    }

    /// The entries with our name in one of the lists, with their positions.
    pub(super) fn entries(&self, part: Part) -> Vec<(usize, Value)> {
        let items = self.document.items(part.list()).iter().enumerate();
        let entries = items.map(|(number, item)| (number, item.meaning()));
        entries.filter(|(_, e)| e["name"] == NAME).collect()
    }

    /// The default context that this file names.
    pub(super) fn current(&self) -> Option<&str> {
        self.document.text_of(CURRENT)
    }

    fn has_context(&self, name: &str) -> bool {
        let items = self.document.items(Part::Context.list());
        items.iter().any(|item| item.meaning()["name"] == name)
    }
}

/// All kubeconfigs, in kubectl's order.
#[derive(Debug)]
pub(super) struct Chain(pub(super) Vec<Source>);

impl Chain {
    /// Reads the files. A file that is given twice is read once.
    pub(super) fn read(files: &[PathBuf]) -> Result<Self> {
        let mut sources: Vec<Source> = Vec::new();
        for file in files {
            let source = Source::read(file)?;
            if !sources.iter().any(|s| s.file == source.file) {
                sources.push(source);
            }
        }
        Ok(Self(sources))
    }

    /// Whether the files and their texts are the same in both.
    pub(super) fn same_as(&self, other: &Self) -> bool {
        let both = self.0.iter().zip(&other.0);
        self.0.len() == other.0.len()
            && both
                .into_iter()
                .all(|(a, b)| (&a.file, &a.text) == (&b.file, &b.text))
    }

    /// The position of the file that new entries are written to.
    pub(super) fn default(&self) -> usize {
        let first = self.0.iter().position(Source::exists);
        first.unwrap_or(self.0.len().saturating_sub(1))
    }

    /// The position of the first file with an entry of our name, which is the one that kubectl uses.
    pub(super) fn holder(&self, part: Part) -> Option<usize> {
        self.0.iter().position(|s| !s.entries(part).is_empty())
    }

    /// The context that kubectl uses by default.
    pub(super) fn current(&self) -> Option<&str> {
        self.0.iter().find_map(Source::current)
    }

    pub(super) fn has_context(&self, name: &str) -> bool {
        self.0.iter().any(|s| s.has_context(name))
    }
}
