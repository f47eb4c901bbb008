//! Explains the operating system's errors to users who do not know their numbers, and says what to do about them.

use std::io::{self, ErrorKind};

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use super::{Error, Kind};

/// Operating system errors: `fs_err` has already put the path into the message, this adds kind and next step.
impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        let text = error.to_string();
        let Some(errno) = number(&error, &text) else {
            return Self::new(Kind::Failed, text);
        };
        let told = Self::new(kind(errno), text);
        let told = match limit(errno) {
            Some((name, limit)) => told.found(format!("a limit of {limit}, set by `{name}`")),
            None => told,
        };
        let told = match hint(errno) {
            Some(hint) => told.hint(hint),
            None => told,
        };
        if belongs_to_the_place(errno) {
            told.of_place()
        } else {
            told
        }
    }
}

/// The number of an error. If a path was put into the error, only its text still has the number; if it never had a number,
/// it gets the one of its kind.
fn number(error: &io::Error, text: &str) -> Option<Errno> {
    let told = || {
        let (_, rest) = text.rsplit_once("(os error ")?;
        rest.split_once(')')?.0.parse().ok()
    };
    if let Some(number) = error.raw_os_error().or_else(told) {
        return Some(Errno::from_raw_os_error(number));
    }
    Some(match error.kind() {
        ErrorKind::StorageFull => Errno::NOSPC,
        ErrorKind::QuotaExceeded => Errno::DQUOT,
        ErrorKind::ReadOnlyFilesystem => Errno::ROFS,
        ErrorKind::PermissionDenied => Errno::ACCESS,
        ErrorKind::OutOfMemory => Errno::NOMEM,
        ErrorKind::FileTooLarge => Errno::FBIG,
        ErrorKind::IsADirectory => Errno::ISDIR,
        ErrorKind::NotADirectory => Errno::NOTDIR,
        _ => return None,
    })
}

fn kind(errno: Errno) -> Kind {
    match errno {
        Errno::ISDIR | Errno::NOTDIR => Kind::Failed,
        known if hint(known).is_some() => Kind::Host,
        _ => Kind::Failed,
    }
}

/// Whether the same would work in another place.
fn belongs_to_the_place(errno: Errno) -> bool {
    match errno {
        Errno::FBIG => limit(errno).is_none(),
        Errno::NOSPC | Errno::DQUOT | Errno::ROFS | Errno::IO | Errno::NOLCK => true,
        _ => false,
    }
}

fn hint(errno: Errno) -> Option<&'static str> {
    Some(match errno {
        Errno::NOSPC => {
            "free some space on that file system (`df -h` shows the space, `df -i` the number of files)"
        }
        Errno::DQUOT => "your disk quota is used up: free some space",
        Errno::ROFS => "the file system is read-only: mount it for writing",
        Errno::ACCESS | Errno::PERM => {
            "check the owner and the permissions of that path with `ls -ld`"
        }
        Errno::NOMEM if limit(errno).is_some() => {
            "raise the limit with `ulimit -v unlimited` and run the same command again"
        }
        Errno::NOMEM => "end other programs, or add memory or swap space",
        Errno::FBIG if limit(errno).is_some() => {
            "raise the limit with `ulimit -f unlimited` and run the same command again"
        }
        Errno::FBIG => "that file system cannot hold a file so large",
        Errno::MFILE => {
            "raise the limit, for example with `ulimit -n 4096`, and run the same command again"
        }
        Errno::NFILE => "the whole machine has too many files open: end other programs",
        Errno::IO => {
            "the disk or its driver reports a fault: look at `dmesg`, and save what is on that disk"
        }
        Errno::LOOP => "links on that path lead in a circle: `namei -l` shows them",
        Errno::NAMETOOLONG => "that path or a name in it is too long: choose a shorter directory",
        Errno::TXTBSY => "that program is running: end it, then run the same command again",
        Errno::BUSY => {
            "that path is in use, for example as a mount point: `findmnt` lists the mount points"
        }
        Errno::STALE => "the file server no longer knows that file: mount the file system again",
        Errno::NOLCK => "that file system does not support locks",
        Errno::NOEXEC => "that program is damaged, or made for another processor",
        Errno::ISDIR => "there is a directory where a file should be: move it away",
        Errno::NOTDIR => {
            "there is a file where a directory should be: `namei -l` with that path shows which; move it away"
        }
        _ => return None,
    })
}

/// The limit of this process that an error comes from, and its value.
fn limit(errno: Errno) -> Option<(&'static str, String)> {
    let (resource, name, unit) = match errno {
        Errno::NOMEM => (Resource::As, "ulimit -v", "bytes of memory"),
        Errno::FBIG => (Resource::Fsize, "ulimit -f", "bytes in a file"),
        Errno::MFILE => (Resource::Nofile, "ulimit -n", "open files"),
        _ => return None,
    };
    let value = getrlimit(resource).current?;
    Some((name, format!("{value} {unit}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(error: io::Error) -> String {
        Error::from(error).elsewhere("set XDG_X").to_string()
    }

    #[test]
    fn every_error_of_a_place_says_where_else_to_go() {
        for (errno, elsewhere) in [
            (Errno::NOSPC, true),
            (Errno::DQUOT, true),
            (Errno::ROFS, true),
            (Errno::IO, true),
            (Errno::ACCESS, false),
            (Errno::MFILE, false),
            (Errno::LOOP, false),
        ] {
            let text = told(io::Error::from(errno));
            assert_eq!(text.ends_with(", or set XDG_X"), elsewhere, "{text}");
            assert!(text.contains("\n\nhint: "), "{text}");
            assert_eq!(Error::from(io::Error::from(errno)).kind(), Kind::Host);
        }
        // Only the nearest place counts.
        let text = Error::from(io::Error::from(Errno::NOSPC)).elsewhere("set XDG_X");
        assert!(!text.elsewhere("set XDG_Y").to_string().contains("XDG_Y"));
    }

    #[test]
    fn the_number_is_found_through_what_names_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("link");
        fs_err::os::unix::fs::symlink("link", &link).unwrap();
        let text = told(fs_err::read(&link).unwrap_err());
        assert!(
            text.contains("link`") && text.contains("namei -l"),
            "{text}"
        );
        let long = dir.path().join("x".repeat(300));
        let text = told(fs_err::write(long, "").unwrap_err());
        assert!(text.contains("too long: choose a shorter"), "{text}");
        let text = told(fs_err::read(dir.path()).unwrap_err());
        assert!(text.contains("there is a directory where a file"), "{text}");
    }

    #[test]
    fn limits_of_the_process_are_named() {
        let text = told(Errno::MFILE.into());
        let limit = getrlimit(Resource::Nofile).current.unwrap();
        assert!(
            text.contains(&format!("{limit} open files, set by `ulimit -n`")),
            "{text}"
        );
    }
}
