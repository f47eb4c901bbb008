//! Cargo's configuration files: the settings that apply in the closed environment.
//!
//! Cargo merges the `.cargo/config.toml` of the current directory and of all above it with the one in its home. Any key
//! in any of them may change the compiled bytes, except those in [`TABLES`].

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use stub::error::{Context, Error, Kind, Result};
use toml::{Table, Value};

use super::read_toml;

/// Tables that only say where crates come from and how they are downloaded.
const TABLES: [&str; 6] = [
    "credential-alias",
    "http",
    "net",
    "registries",
    "registry",
    "source",
];

/// Tables that have no part in a build, and may stand where cargo cannot be kept from reading them.
const UNRELATED: [&str; 6] = [
    "alias",
    "cache",
    "cargo-new",
    "future-incompat-report",
    "install",
    "term",
];

/// Keys that hold a path, below any of the tables. It is relative to the directory above the one with the file.
const PATHS: [&str; 4] = ["cainfo", "directory", "local-registry", "proxy-cainfo"];

/// Keys that hold a program with its arguments, whose path is relative in the same way.
const PROGRAMS: [&str; 1] = ["credential-provider"];

/// Files that include each other may not do so without end.
const INCLUDES: usize = 16;

/// The part of the user's configuration that applies.
pub(super) struct Settings(Table);

impl Settings {
    /// Merges the files that cargo would read for the checkout at `root`, the nearest first, then the one in `home`.
    pub(super) fn read(root: &Path, home: &Path) -> Result<Self> {
        let mut directories: Vec<PathBuf> = root.ancestors().map(|d| d.join(".cargo")).collect();
        directories.push(home.to_owned());
        let mut seen = BTreeSet::new();
        let mut settings = Table::new();
        for directory in directories {
            let Some(file) = file_in(&directory).filter(|f| seen.insert(f.clone())) else {
                continue;
            };
            let table = read(&file, INCLUDES)?;
            if directory == Path::new("/.cargo") {
                require_unrelated(&file, &table)?;
            }
            complete(&mut settings, table);
        }
        settings.retain(|name, _| TABLES.contains(&name));
        Ok(Self(settings))
    }

    /// As a configuration file. Only the user's own cargo throws away old downloads: this one does not know which of
    /// them the user still needs.
    pub(super) fn text(&self) -> Result<String> {
        let mut table = self.0.clone();
        let never = [("auto-clean-frequency".to_owned(), "never".into())];
        table.insert(
            "cache".to_owned(),
            Value::Table(never.into_iter().collect()),
        );
        toml::to_string(&table).map_err(|e| {
            Error::new(
                Kind::Failed,
                format!("cannot write cargo's configuration: {e}"),
            )
        })
    }

    /// Directories with the sources of crates, made by `cargo vendor`.
    pub(super) fn vendored(&self) -> Vec<PathBuf> {
        let sources = self.0.get("source").and_then(Value::as_table);
        let directories = sources.into_iter().flat_map(Table::values);
        directories
            .filter_map(|source| Some(source.get("directory")?.as_str()?.into()))
            .collect()
    }
}

/// The configuration file in a directory. Cargo prefers the old name.
fn file_in(directory: &Path) -> Option<PathBuf> {
    let mut files = ["config", "config.toml"]
        .map(|name| directory.join(name))
        .into_iter();
    files.find(|f| f.is_file())
}

/// A file with the files it includes.
fn read(file: &Path, depth: usize) -> Result<Table> {
    let mut table: Table =
        read_toml(file).hint(|| "correct cargo's configuration file".to_owned())?;
    absolute(&mut table, file);
    let Some(Value::Array(included)) = table.remove("include") else {
        return Ok(table);
    };
    // An including file takes precedence over the included ones, and of these the last one does.
    for entry in included.iter().rev() {
        let path = entry.as_str().or_else(|| entry.get("path")?.as_str());
        let optional = entry.get("optional").and_then(Value::as_bool) == Some(true);
        let path = path.map(|p| file.with_file_name(p));
        let Some(path) = path.filter(|p| p.exists() || !optional) else {
            continue;
        };
        if depth == 0 {
            let what = "cargo's configuration files include each other in a loop";
            return Err(Error::new(Kind::Input, what).detail("at", file.display()));
        }
        complete(&mut table, read(&path, depth - 1)?);
    }
    Ok(table)
}

/// Adds the keys that a table lacks.
fn complete(table: &mut Table, lower: Table) {
    for (key, value) in lower {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(table)), Value::Table(lower)) => complete(table, lower),
            (Some(_), _) => (),
            (None, value) => {
                table.insert(key, value);
            }
        }
    }
}

/// Makes paths absolute that are relative to the directory above that of the file.
fn absolute(table: &mut Table, file: &Path) {
    let base = file.ancestors().nth(2).unwrap_or(file);
    let join = |path: &str| base.join(path).to_string_lossy().into_owned();
    for (key, value) in table.iter_mut() {
        let program = PROGRAMS.contains(&key.as_str());
        match value {
            Value::Table(inner) => absolute(inner, file),
            Value::String(path) if PATHS.contains(&key.as_str()) => *path = join(path),
            Value::String(line) if program => {
                let (path, arguments) = line.split_once(' ').unwrap_or((line, ""));
                if is_path(path) {
                    *line = format!("{} {arguments}", join(path));
                }
            }
            Value::Array(words) if program => {
                if let Some(Value::String(path)) = words.first_mut()
                    && is_path(path)
                {
                    *path = join(path);
                }
            }
            _ => (),
        }
    }
}

/// Whether this is no program's mere name, nor one of cargo's own providers, such as `cargo:token`.
fn is_path(program: &str) -> bool {
    program.contains('/') && !program.starts_with("cargo:")
}

/// Refuses a file that cargo reads wherever it starts, if that file could change the compiled bytes.
fn require_unrelated(file: &Path, table: &Table) -> Result<()> {
    let mut keys = table.keys().map(String::as_str);
    let foreign = keys.find(|key| !TABLES.contains(key) && !UNRELATED.contains(key));
    let Some(foreign) = foreign else {
        return Ok(());
    };
    let what =
        "cargo reads this file in every build, and its settings could change the stub's bytes";
    Err(Error::new(Kind::Host, what)
        .about(file.display())
        .expected(format!(
            "nothing but {}",
            [&TABLES[..], &UNRELATED[..]].concat().join(", ")
        ))
        .found(format!("`{foreign}`"))
        .hint(
            "move the file to another directory, and name that in CARGO_HOME if it is cargo's home",
        ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Files below a new directory.
    fn files(files: &[(&str, &str)]) -> tempfile::TempDir {
        let top = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = top.path().join(path);
            fs_err::create_dir_all(path.parent().unwrap()).unwrap();
            fs_err::write(path, text).unwrap();
        }
        top
    }

    /// The settings that apply to a checkout in `a/b` with cargo's home in `home`, with `TOP` in place of the directory's name.
    fn settings(top: &Path) -> String {
        let settings = Settings::read(&top.join("a/b"), &top.join("home")).unwrap();
        let text = toml::to_string(&settings.0).unwrap();
        text.replace(top.to_str().unwrap(), "TOP")
    }

    #[test]
    fn what_could_change_the_bytes_does_not_hold() {
        let hostile = "paths = [\"/evil\"]\n[build]\nrustc = \"/evil\"\nrustflags = [\"-Copt-level=0\"]\n[env]\nCFLAGS = \"-O0\"\n\
            [host]\nlinker = \"/evil\"\n[patch.crates-io]\nserde = { path = \"/evil\" }\n[profile.stub]\nlto = false\n\
            [resolver]\nincompatible-rust-versions = \"allow\"\n[target.'cfg(all())']\nrunner = \"/evil\"\n[unstable]\nbuild-std = [\"std\"]\n";
        let top = files(&[
            ("a/b/.cargo/config.toml", hostile),
            ("a/.cargo/config", hostile),
            (
                "home/config.toml",
                &format!("include = [\"more.toml\"]\n{hostile}"),
            ),
            ("home/more.toml", hostile),
        ]);
        assert_eq!(settings(top.path()), "");
    }

    #[test]
    fn what_leads_to_a_registry_holds_and_the_nearest_wins() {
        let top = files(&[
            (
                "a/b/.cargo/config.toml",
                "[source.crates-io]\nreplace-with = \"vendored\"\n[source.vendored]\ndirectory = \"vendor\"\n",
            ),
            (
                "a/.cargo/config.toml",
                "[source.crates-io]\nreplace-with = \"company\"\n[http]\nproxy = \"near:1\"\ncainfo = \"ca.pem\"\n",
            ),
            (
                "home/config.toml",
                "include = [{ path = \"gone.toml\", optional = true }, \"first.toml\", \"last.toml\"]\n\
                 [http]\nproxy = \"far:2\"\ntimeout = 9\n[registries.company]\nindex = \"sparse+https://crates.example.org/\"\n",
            ),
            ("home/first.toml", "[net]\nretry = 1\noffline = true\n"),
            (
                "home/last.toml",
                "[net]\nretry = 2\n[registry]\ncredential-provider = [\"bin/login\", \"--now\"]\n[credential-alias]\nx = \"y\"\n",
            ),
        ]);
        insta::assert_snapshot!(settings(top.path()), @r#"
        [credential-alias]
        x = "y"

        [http]
        cainfo = "TOP/a/ca.pem"
        proxy = "near:1"
        timeout = 9

        [net]
        offline = true
        retry = 2

        [registries.company]
        index = "sparse+https://crates.example.org/"

        [registry]
        credential-provider = ["TOP/bin/login", "--now"]

        [source.crates-io]
        replace-with = "vendored"

        [source.vendored]
        directory = "TOP/a/b/vendor"
        "#);
        let read = Settings::read(&top.path().join("a/b"), &top.path().join("home")).unwrap();
        assert_eq!(read.vendored(), [top.path().join("a/b/vendor")]);
    }

    #[test]
    fn what_cargo_cannot_be_kept_from_reading_is_refused_by_name() {
        let file = Path::new("/.cargo/config.toml");
        let table = |text: &str| text.parse::<Table>().unwrap();
        require_unrelated(file, &table("[net]\nretry = 1\n[term]\nquiet = true\n")).unwrap();
        let error = require_unrelated(file, &table("[term]\nquiet = true\n[env]\nCC = \"x\"\n"));
        insta::assert_snapshot!(error.unwrap_err(), @"
        /.cargo/config.toml: cargo reads this file in every build, and its settings could change the stub's bytes
          expected  nothing but credential-alias, http, net, registries, registry, source, alias, cache, cargo-new, future-incompat-report, install, term
          found     `env`

        hint: move the file to another directory, and name that in CARGO_HOME if it is cargo's home
        ");
    }

    #[test]
    fn files_that_include_each_other_are_refused() {
        let top = files(&[
            ("home/config.toml", "include = [\"other.toml\"]\n"),
            ("home/other.toml", "include = [\"config.toml\"]\n"),
        ]);
        let error = Settings::read(&top.path().join("a/b"), &top.path().join("home"))
            .err()
            .unwrap();
        assert_eq!(error.kind(), Kind::Input);
        assert!(
            error.message().contains("include each other in a loop"),
            "{error}"
        );
    }

    #[test]
    fn a_file_that_is_no_configuration_is_named() {
        let top = files(&[("a/.cargo/config.toml", "[build\n")]);
        let error = Settings::read(&top.path().join("a/b"), &top.path().join("home"))
            .err()
            .unwrap();
        assert!(
            error.to_string().contains("a/.cargo/config.toml"),
            "{error}"
        );
    }
}
