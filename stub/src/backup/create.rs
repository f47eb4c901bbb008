//! Making a backup.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt as _;

use super::volumes;
use super::{
    Backup, CONFIG, CONTENTS, Contents, File, IMAGES, MEMBER, SCHEMA, SNAPSHOT, WITHOUT_VOLUMES,
};
use crate::child;
use crate::cluster::{Current, Versions};
use crate::digest::Sha256;
use crate::error::{Context as _, Error, Kind, Result};
use crate::files::{
    contents, or_remove, private_directory, remove_if_there, remove_tree, sync_parent, temporary,
};
use crate::layout::{Layout, MASTER, NODE};
use crate::pki::rfc3339;
use crate::progress::Progress;
use crate::store::Store;

/// A backup that was made and read again.
#[derive(Debug)]
pub struct Created {
    /// The file.
    pub file: PathBuf,
    /// Its contents.
    pub contents: Contents,
    /// The length of the file in bytes.
    pub size: u64,
    /// Whether etcd was running, and its data is a snapshot.
    pub running: bool,
}

/// Makes a backup of the installed cluster, whether it runs or not. The file appears only when it is complete, on the disk,
/// and has been read again; nobody else may read it. Nothing is stopped.
pub fn create(
    file: &Path,
    force: bool,
    with_volumes: bool,
    progress: &Progress,
) -> Result<Created> {
    if !force && file.symlink_metadata().is_ok() {
        return Err(
            Error::new(Kind::Usage, format!("{} exists already", file.display()))
                .expected("the name of a new file")
                .hint("choose another name, or replace the file with `--force`"),
        );
    }
    let store = Store::open_default()?.locked()?;
    store.sign()?;
    let current = Current::read()?;
    let scratch = Scratch::new(&current.layout)?;
    let running = current.is_running();
    let mut sources = files_of(&current.layout)?;
    if running {
        let snapshot = scratch.0.join("snapshot.db");
        save_snapshot(&current, &snapshot, progress)?;
        sources.insert(SNAPSHOT.to_owned(), snapshot);
    } else {
        add_tree(&mut sources, MEMBER, &current.layout.data("etcd/member"))?;
    }
    let has_volumes = volumes::are_there(&current.layout)?;
    let with_volumes = with_volumes && has_volumes;
    let contents = Contents {
        schema: if with_volumes {
            SCHEMA
        } else {
            WITHOUT_VOLUMES
        },
        lacks_volumes: has_volumes && !with_volumes,
        created: rfc3339(SystemTime::now()),
        release: current.generation.manifest().release.to_string(),
        versions: Versions::of(current.generation.manifest()),
        node_name: current.config.node_name.to_string(),
        files: BTreeMap::new(),
    };
    let new = temporary(file);
    let volumes = with_volumes.then_some(&current);
    let made = write(&new, &sources, volumes, contents, progress).and_then(|contents| {
        // What cannot be restored is no backup.
        let backup = Backup::open(&new)?;
        backup.verify(progress)?;
        // A run that is killed when the file has its name is not repeated.
        remove_tree(&scratch.0)?;
        fs::rename(&new, file)?;
        sync_parent(file)?;
        Ok(contents)
    });
    Ok(Created {
        file: file.to_owned(),
        contents: or_remove(&new, made)?,
        size: fs::metadata(file)?.len(),
        running,
    })
}

/// A directory that is removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(layout: &Layout) -> Result<Self> {
        let dir = layout.data(".backup");
        remove_tree(&dir)?;
        let scratch = Self(dir);
        private_directory(&scratch.0)?;
        Ok(scratch)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = remove_tree(&self.0);
    }
}

/// The files of the cluster besides etcd's data: names in the backup, and where they are.
fn files_of(layout: &Layout) -> Result<BTreeMap<String, PathBuf>> {
    let mut files = BTreeMap::from([(CONFIG.to_owned(), layout.config_file())]);
    for dir in [MASTER, NODE] {
        add_tree(&mut files, dir, &layout.config().join(dir))?;
    }
    add_tree(&mut files, IMAGES, &layout.data(IMAGES))?;
    Ok(files)
}

/// Adds the files of a directory. It may be a link, and need not exist.
fn add_tree(files: &mut BTreeMap<String, PathBuf>, name: &str, dir: &Path) -> Result<()> {
    for path in contents(&fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned()))? {
        let Some(last) = path.file_name().and_then(|last| last.to_str()) else {
            return Err(Error::new(
                Kind::Input,
                format!("{}: a name that is not UTF-8", path.display()),
            )
            .hint("rename the file"));
        };
        let name = format!("{name}/{last}");
        if path.is_dir() {
            add_tree(files, &name, &path)?;
        } else if path.is_file() {
            files.insert(name, path);
        }
    }
    Ok(())
}

/// Lets etcd write all its data into a file. It goes on working.
fn save_snapshot(current: &Current, file: &Path, progress: &Progress) -> Result<()> {
    let wait = progress.wait("etcd's snapshot");
    let mut command = current.own_command(&["etcdctl", "snapshot", "save"]);
    child::run(command.arg(file))?
        .success()
        .about(|| "etcd does not give a snapshot of its data")
        .hint(|| {
            "run `usernetes status`; a backup is also possible after `usernetes stop`".to_owned()
        })?;
    wait.finish("done");
    Ok(())
}

/// Writes the archive, and gives its contents with all digests. Afterwards it is on disk under this name.
fn write(
    file: &Path,
    sources: &BTreeMap<String, PathBuf>,
    volumes: Option<&Current>,
    contents: Contents,
    progress: &Progress,
) -> Result<Contents> {
    let mut contents = contents;
    let sizes = sources.values().map(fs::metadata);
    let total = sizes
        .map(|size| size.map(|m| m.len()))
        .sum::<io::Result<u64>>()?;
    let task = progress.task("back up", total);
    remove_if_there(file)?;
    let mut options = fs::OpenOptions::new();
    let options = options.write(true).create_new(true).mode(0o600);
    let output = options.open(file)?;
    let mut tar = tar::Builder::new(io::BufWriter::new(output));
    for (name, path) in sources {
        // A file that changes between these two is found when the archive is read again.
        let (sha256, size) = Sha256::of_reader(fs::File::open(path)?).about(|| path.display())?;
        append(&mut tar, name, size, &mut fs::File::open(path)?.take(size))?;
        contents.files.insert(name.clone(), File { sha256, size });
        task.advance(size);
    }
    task.clear();
    if let Some(current) = volumes {
        volumes::read(&current.layout, &current.machine, progress, |name, part| {
            let size = part.len() as u64;
            append(&mut tar, name, size, &mut &*part)?;
            let sha256 = Sha256::of(part);
            contents
                .files
                .insert(name.to_owned(), File { sha256, size });
            Ok(())
        })?;
    }
    let text = contents.to_json()?;
    append(&mut tar, CONTENTS, text.len() as u64, &mut &text[..])?;
    let mut output = tar.into_inner()?;
    output.flush()?;
    output.get_ref().sync_all()?;
    Ok(contents)
}

fn append(
    tar: &mut tar::Builder<impl Write>,
    name: &str,
    size: u64,
    from: &mut impl Read,
) -> Result<()> {
    let mut header = tar::Header::new_gnu();
    header.set_size(size);
    header.set_mode(0o600);
    tar.append_data(&mut header, name, from)
        .about(|| name.to_owned())
}
