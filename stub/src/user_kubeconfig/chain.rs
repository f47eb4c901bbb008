//! The user's kubeconfigs in the order in which kubectl reads them, with kubectl's rules for reading and writing several:
//! of each name the first entry counts, and the first `current-context`. An entry is changed in the file that has it;
//! new ones go into the first file that exists, or make the last of the list.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::document::Document;
use super::edit::CURRENT;
use super::place;
use crate::error::{Error, Kind, Result};
use crate::kubeconfig::NAME;

/// The lists of a kubeconfig, each of which may have an entry of ours.
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

    /// The key of what an entry has besides its name; also what people and kubectl call it.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Cluster => "cluster",
            Self::User => "user",
        }
    }
}

/// One of the files.
#[derive(Debug)]
pub(super) struct Source {
    /// The file itself, links followed.
    pub(super) file: PathBuf,
    /// Its name as the user gave it, beside which kubectl has its lock.
    named: PathBuf,
    /// `None` if there is no such file.
    text: Option<String>,
    pub(super) document: Document,
}

impl Source {
    fn read(named: &Path) -> Result<Self> {
        let file = place::resolve(named)?;
        let text = place::read(&file)?;
        let document = Document::parse(text.as_deref().unwrap_or_default()).map_err(|reason| {
            Error::new(
                Kind::Input,
                format!("{}: this kubeconfig cannot be edited", file.display()),
            )
            .expected("a kubeconfig in YAML or JSON, in lines as kubectl writes it")
            .found(reason)
            .hint(format!(
                "see what `kubectl config view --kubeconfig {0}` says; `kubectl config view --raw --kubeconfig {0}` prints it as kubectl writes it",
                file.display()
            ))
        })?;
        Ok(Self {
            file,
            named: std::path::absolute(named)?,
            text,
            document,
        })
    }

    pub(super) fn exists(&self) -> bool {
        self.text.is_some()
    }

    /// The files beside which the locks are that others may take for this one.
    pub(super) fn lockable(&self) -> Vec<PathBuf> {
        let dir = self.named.parent().and_then(|d| d.canonicalize().ok());
        let named = dir.and_then(|dir| Some(dir.join(self.named.file_name()?)));
        named.into_iter().chain([self.file.clone()]).collect()
    }

    /// The entries of our name in one of the lists, with their numbers.
    pub(super) fn entries(&self, part: Part) -> Vec<(usize, Value)> {
        let items = self.document.items(part.list()).iter().enumerate();
        let entries = items.map(|(number, item)| (number, item.meaning()));
        entries.filter(|(_, e)| e["name"] == NAME).collect()
    }

    /// The context that this file says is used by default.
    pub(super) fn current(&self) -> Option<&str> {
        self.document.text_of(CURRENT)
    }

    fn has_context(&self, name: &str) -> bool {
        let items = self.document.items(Part::Context.list());
        items.iter().any(|item| item.meaning()["name"] == name)
    }
}

/// All of the files.
#[derive(Debug)]
pub(super) struct Chain(pub(super) Vec<Source>);

impl Chain {
    /// Reads files, of which those that are one and the same count once.
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

    /// Is everything as it is in the other one?
    pub(super) fn same_as(&self, other: &Self) -> bool {
        let both = self.0.iter().zip(&other.0);
        self.0.len() == other.0.len()
            && both
                .into_iter()
                .all(|(a, b)| (&a.file, &a.text) == (&b.file, &b.text))
    }

    /// The number of the file that new entries go into.
    pub(super) fn default(&self) -> usize {
        let first = self.0.iter().position(Source::exists);
        first.unwrap_or(self.0.len().saturating_sub(1))
    }

    /// The number of the file whose entry of our name counts.
    pub(super) fn holder(&self, part: Part) -> Option<usize> {
        self.0.iter().position(|s| !s.entries(part).is_empty())
    }

    /// The context that is used by default.
    pub(super) fn current(&self) -> Option<&str> {
        self.0.iter().find_map(Source::current)
    }

    pub(super) fn has_context(&self, name: &str) -> bool {
        self.0.iter().any(|s| s.has_context(name))
    }
}
