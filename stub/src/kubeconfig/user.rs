//! Our context in the user's own kubeconfig, put there and taken out with the bundled `kubectl config`.
//!
//! kubectl knows the file's format in all its variety and keeps what it does not know; but it overwrites in place. So
//! it works on a copy in the same directory (relative paths in the file keep their meaning), which then takes the
//! file's place at once, under the lock kubectl itself uses.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use serde_json::Value;

use super::{NAME, admin_file, print};
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::replace;
use crate::paths;
use crate::pki::MASTER;

/// Permissions of what contains a private key.
const SECRET: u32 = 0o600;

/// What [`merge`] or [`unmerge`] did.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Outcome {
    /// The user's kubeconfig, symlinks followed.
    pub file: PathBuf,
    /// Was it changed?
    pub changed: bool,
    /// Copy of the file as it was before the first [`merge`], if this one made it.
    pub backup: Option<PathBuf>,
    /// The context kubectl uses by default afterwards. [`merge`] makes it ours only if there was none.
    pub current_context: Option<String>,
}

/// Puts cluster, user and context `usernetes` into the kubeconfig `target`, with embedded certificates; makes the file
/// if there is none. Everything else in it stays, but kubectl drops comments. Durable when it returns.
///
/// Errors if `target` has a cluster `usernetes` that is another one, or if another process holds its lock.
pub fn merge(kubectl: &Path, config_dir: &Path, target: &Path) -> Result<Outcome> {
    print(config_dir)?;
    let admin = admin_file(config_dir);
    let ours = cluster(&view(kubectl, &admin, &admin)?);
    let master = config_dir.join(MASTER);
    let edit = Edit::begin(kubectl, target)?;
    let before = edit.view()?;
    if ours.is_another(&cluster(&before)) {
        return Err(Error::new(
            Kind::Input,
            format!(
                "{}: already has a cluster `{NAME}`, another one",
                edit.file.display()
            ),
        )
        .expected(format!("none, or the one at {}", ours.server))
        .found(cluster(&before).server)
        .hint(format!(
            "give that cluster another name in the file, or leave the file alone and use `kubectl --kubeconfig {}`",
            admin.display()
        )));
    }
    for arguments in merge_arguments(&ours.server, &master) {
        edit.kubectl(&arguments)?;
    }
    if current_context(&before).is_none() {
        edit.kubectl(&words(&["use-context", NAME]))?;
    }
    // Once our entries are in it, a copy is neither the user's own file any more nor free of our key.
    edit.finish(entry(&before, "clusters").is_none())
}

/// Takes cluster, user and context `usernetes` out of the kubeconfig `target` again, if they are those of this
/// cluster, and leaves no default context if it was ours. Does nothing if they are not there.
pub fn unmerge(kubectl: &Path, config_dir: &Path, target: &Path) -> Result<Outcome> {
    let admin = admin_file(config_dir);
    let ours = match print(config_dir) {
        Ok(_) => Some(cluster(&view(kubectl, &admin, &admin)?)),
        Err(_) => None,
    };
    let nothing = |current_context| Outcome {
        file: target.to_owned(),
        changed: false,
        backup: None,
        current_context,
    };
    if !target.exists() {
        return Ok(nothing(None));
    }
    let edit = Edit::begin(kubectl, target)?;
    let before = edit.view()?;
    if ours.is_some_and(|ours| ours.is_another(&cluster(&before))) {
        return Ok(nothing(current_context(&before)));
    }
    for (list, command) in [
        ("contexts", "delete-context"),
        ("clusters", "delete-cluster"),
        ("users", "delete-user"),
    ] {
        if entry(&before, list).is_some() {
            edit.kubectl(&words(&[command, NAME]))?;
        }
    }
    if current_context(&before).as_deref() == Some(NAME) {
        edit.kubectl(&words(&["unset", "current-context"]))?;
    }
    edit.finish(false)
}

/// What follows `kubectl config`. Files are named rather than contents given: arguments are visible to everybody.
fn merge_arguments(server: &str, master: &Path) -> [Vec<OsString>; 3] {
    let file = |option: &str, name: &str| {
        let mut argument = OsString::from(option);
        argument.push(master.join(name));
        argument
    };
    let mut cluster = words(&["set-cluster", NAME, "--embed-certs=true"]);
    cluster.push(format!("--server={server}").into());
    cluster.push(file("--certificate-authority=", "ca.pem"));
    let mut user = words(&["set-credentials", NAME, "--embed-certs=true"]);
    user.push(file("--client-certificate=", "admin.pem"));
    user.push(file("--client-key=", "admin-key.pem"));
    let context = words(&["set-context", NAME, "--cluster", NAME, "--user", NAME]);
    [cluster, user, context]
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(Into::into).collect()
}

/// A change of the user's kubeconfig: a locked file and the copy that is worked on. Dropped unfinished, it leaves the
/// file as it was.
struct Edit<'a> {
    kubectl: &'a Path,
    file: PathBuf,
    copy: PathBuf,
    lock: PathBuf,
    /// Content before, `None` if there was no file.
    before: Option<Vec<u8>>,
}

impl<'a> Edit<'a> {
    fn begin(kubectl: &'a Path, target: &Path) -> Result<Self> {
        // The file itself, not a symlink to it, is what a rename must replace.
        let file = match fs_err::canonicalize(target) {
            Ok(file) => file,
            // Its directory must have a name for what comes.
            Err(e) if e.kind() == io::ErrorKind::NotFound => std::path::absolute(target)?,
            Err(e) => return Err(e.into()),
        };
        if let Some(dir) = file.parent() {
            fs_err::create_dir_all(dir)?;
        }
        let lock = beside(&file, ".lock");
        fs_err::OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&lock)
            .map_err(|e| match e.kind() {
                io::ErrorKind::AlreadyExists => Error::new(
                    Kind::Busy,
                    format!("{}: another process is changing this file", file.display()),
                )
                .found(format!("its lock `{}`", lock.display()))
                .hint(format!(
                    "wait for it; if no kubectl is running, remove the lock with `rm {}`",
                    lock.display()
                )),
                _ => e.into(),
            })?;
        let mut edit = Self {
            kubectl,
            copy: beside(&file, ".usernetes-new"),
            file,
            lock,
            before: None,
        };
        edit.before = match fs_err::read(&edit.file) {
            Ok(content) => Some(content),
            Err(e) if e.kind() == io::ErrorKind::NotFound => None,
            Err(e) => return Err(e.into()),
        };
        replace(
            &edit.copy,
            edit.before.as_deref().unwrap_or_default(),
            SECRET,
        )?;
        Ok(edit)
    }

    fn kubectl(&self, arguments: &[OsString]) -> Result<()> {
        kubectl_config(self.kubectl, &self.copy, &self.file, arguments).map(drop)
    }

    fn view(&self) -> Result<Value> {
        view(self.kubectl, &self.copy, &self.file)
    }

    /// Puts the copy in the file's place, unless nothing changed, and keeps what was there if asked to.
    fn finish(self, backup: bool) -> Result<Outcome> {
        let after = fs_err::read(&self.copy)?;
        let current_context = current_context(&self.view()?);
        let changed = self.before.as_deref().unwrap_or_default() != after;
        let backup = match &self.before {
            Some(before) if changed && backup => {
                let backup = beside(&self.file, ".before-usernetes");
                replace(&backup, before, SECRET)?;
                Some(backup)
            }
            _ => None,
        };
        if changed {
            fs_err::File::open(&self.copy)?.sync_all()?;
            fs_err::rename(&self.copy, &self.file)?;
            if let Some(dir) = self.file.parent() {
                fs_err::File::open(dir)?.sync_all()?;
            }
        }
        Ok(Outcome {
            file: self.file.clone(),
            changed,
            backup,
            current_context,
        })
    }
}

impl Drop for Edit<'_> {
    fn drop(&mut self) {
        let _ = fs_err::remove_file(&self.copy);
        let _ = fs_err::remove_file(&self.lock);
    }
}

fn beside(file: &Path, suffix: &str) -> PathBuf {
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(suffix);
    file.with_file_name(name)
}

/// What a cluster is recognised by.
#[derive(Default)]
struct Cluster {
    server: String,
    authority: String,
}

impl Cluster {
    /// Same server: made anew since. Same authority: reached by another way. Neither: somebody else's.
    fn is_another(&self, found: &Self) -> bool {
        !found.server.is_empty() && self.server != found.server && self.authority != found.authority
    }
}

fn cluster(config: &Value) -> Cluster {
    let text = |key: &str| {
        entry(config, "clusters")
            .and_then(|c| c["cluster"][key].as_str())
            .unwrap_or_default()
            .to_owned()
    };
    Cluster {
        server: text("server"),
        authority: text("certificate-authority-data"),
    }
}

/// Our entry in one of the lists of a kubeconfig.
fn entry<'a>(config: &'a Value, list: &str) -> Option<&'a Value> {
    config[list].as_array()?.iter().find(|e| e["name"] == NAME)
}

fn current_context(config: &Value) -> Option<String> {
    config["current-context"]
        .as_str()
        .filter(|c| !c.is_empty())
        .map(str::to_owned)
}

/// A kubeconfig as JSON, whatever it is written in. Errors call it `name`.
fn view(kubectl: &Path, file: &Path, name: &Path) -> Result<Value> {
    let arguments = words(&["view", "--raw", "--output=json"]);
    let json = kubectl_config(kubectl, file, name, &arguments)?;
    serde_json::from_slice(&json).map_err(|e| {
        Error::new(
            Kind::Failed,
            format!(
                "{}: `kubectl config view` printed no JSON: {e}",
                name.display()
            ),
        )
        .hint(format!("check that `{}` is kubectl", kubectl.display()))
    })
}

/// Runs `kubectl config` on one file, which errors call `name`, and gives what it printed.
fn kubectl_config(
    kubectl: &Path,
    file: &Path,
    name: &Path,
    arguments: &[OsString],
) -> Result<Vec<u8>> {
    let output = Command::new(kubectl)
        .arg("config")
        .arg("--kubeconfig")
        .arg(file)
        .args(arguments)
        // The user's own defaults and aliases for kubectl must not change what these commands mean.
        .env("KUBERC", "off")
        .env_remove(paths::KUBECONFIG)
        .output()
        .about(|| format!("cannot run `{}`", kubectl.display()))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let (file, name) = (file.display().to_string(), name.display().to_string());
    let said = String::from_utf8_lossy(&output.stderr).replace(&file, &name);
    let command = arguments
        .first()
        .map(|c| c.display().to_string())
        .unwrap_or_default();
    Err(Error::new(
        Kind::Input,
        format!("{name}: `kubectl config {command}` failed"),
    )
    .expected("a kubeconfig that kubectl can read")
    .found(said.trim())
    .hint(format!(
        "see what `kubectl config view --kubeconfig {name}` says"
    )))
}

#[cfg(test)]
mod tests;
