//! Calls of the system that change the disk, as `strace` shows them and disturbs them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

/// The calls that can change the disk.
const NAMES: [&str; 39] = [
    "chmod",
    "chown",
    "copy_file_range",
    "creat",
    "fallocate",
    "fchmod",
    "fchmodat",
    "fchown",
    "fchownat",
    "fdatasync",
    "fsync",
    "ftruncate",
    "lchown",
    "link",
    "linkat",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "open",
    "openat",
    "pwrite64",
    "pwritev",
    "rename",
    "renameat",
    "renameat2",
    "rmdir",
    "sendfile",
    "setxattr",
    "symlink",
    "symlinkat",
    "sync_file_range",
    "syncfs",
    "truncate",
    "unlink",
    "unlinkat",
    "utimensat",
    "write",
    "writev",
];

/// The value of strace's option `-e trace`. A `?` lets it know calls that another architecture lacks.
pub fn traced() -> String {
    format!("trace=?{}", NAMES.join(",?"))
}

/// The fault that a call meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The program is killed before the call is carried out.
    Kill,
    /// The disk is full.
    Full,
    /// The disk or its driver does not work.
    Broken,
    /// The user may not have more.
    Quota,
}

impl Fault {
    /// Those that are errors.
    pub const ERRORS: [Self; 3] = [Self::Full, Self::Broken, Self::Quota];

    /// Its name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Full => "ENOSPC",
            Self::Broken => "EIO",
            Self::Quota => "EDQUOT",
        }
    }

    /// The system's words for it, of which an error must have one; empty for a kill.
    pub fn reason(self) -> &'static str {
        match self {
            Self::Kill => "",
            Self::Full => "No space left on device",
            Self::Broken => "Input/output error",
            Self::Quota => "Disk quota exceeded",
        }
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Kill, Self::Full, Self::Broken, Self::Quota];
        let found = all.into_iter().find(|fault| fault.name() == text);
        found.ok_or_else(|| format!("one of {}", all.map(Self::name).join(", ")))
    }
}

/// A call of one run of a program: the first call of a name has the number 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// The name of the call.
    pub call: String,
    /// Its number among the calls of that name.
    pub number: usize,
}

impl Point {
    /// Whether it is a call that removes something.
    pub fn removes(&self) -> bool {
        ["unlink", "unlinkat", "rmdir"].contains(&self.call.as_str())
    }

    /// The value of strace's option `-e inject` for a fault at this call.
    pub fn injection(&self, fault: Fault) -> String {
        let how = match fault {
            Fault::Kill => "signal=KILL".to_owned(),
            error => format!("error={}", error.name()),
        };
        format!("inject={}:{how}:when={}", self.call, self.number)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.call, self.number)
    }
}

impl FromStr for Point {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(call, number)| {
            let call = NAMES.iter().find(|name| **name == call)?;
            Some(Self {
                call: (*call).to_owned(),
                number: number.parse().ok().filter(|n| *n > 0)?,
            })
        });
        parsed.ok_or_else(|| "expected a call and its number, such as `rename:3`".to_owned())
    }
}

/// The calls of a run that have changed something below a directory, from what strace has written with `-y`. Files that only
/// the played programs of a stage write do not count.
pub fn changes(log: &str, below: &Path) -> Vec<Point> {
    let mut numbers = BTreeMap::<&str, usize>::new();
    let mut found = Vec::new();
    for line in log.lines() {
        let Some((call, rest)) = line.split_once('(') else {
            continue;
        };
        let number = numbers.entry(call).or_default();
        *number += 1;
        if !NAMES.contains(&call) || rest.contains(") = -1 ") {
            continue;
        }
        let opens = ["open", "openat"].contains(&call);
        if opens && !rest.contains("O_CREAT") && !rest.contains("O_TRUNC") {
            continue;
        }
        if names(rest, below) {
            found.push(Point {
                call: call.to_owned(),
                number: *number,
            });
        }
    }
    found
}

/// Whether the arguments of a call name a path below a directory: as a text, or as that of an open file.
fn names(arguments: &str, below: &Path) -> bool {
    let below = below.display();
    ["\"", "<"].iter().any(|before| {
        let at = format!("{before}{below}/");
        arguments.contains(&at)
    })
}

/// The line about the call that a fault has met, for people; `None` if the run had no such call.
pub fn disturbed(log: &str, point: &Point, fault: Fault) -> Option<String> {
    let begin = format!("{}(", point.call);
    let mut of_name = log.lines().filter(|line| line.starts_with(&begin));
    let line = of_name.find(|line| match fault {
        // It was not carried out.
        Fault::Kill => line.ends_with("= ?"),
        _ => line.ends_with("(INJECTED)"),
    });
    Some(line?.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
openat(AT_FDCWD, \"/etc/ld.so.cache\", O_RDONLY|O_CLOEXEC) = 3</etc/ld.so.cache>
openat(AT_FDCWD, \"/home/u/a\", O_RDONLY|O_CLOEXEC) = 3</home/u/a>
unlink(\"/home/u/.a.new\") = -1 ENOENT (No such file or directory)
openat(AT_FDCWD, \"/home/u/.a.new\", O_WRONLY|O_CREAT|O_EXCL|O_CLOEXEC, 0600) = 3</home/u/.a.new>
write(2</dev/null>, \"\"..., 5) = 5
write(3</home/u/.a.new>, \"\"..., 5) = 5
rename(\"/home/u/.a.new\", \"/home/u/a\") = 0
rename(\"/home/user/a\", \"/home/user/b\") = 0
";

    #[test]
    fn calls_that_change_something_are_counted_among_all_of_their_name() {
        let found = changes(LOG, Path::new("/home/u"));
        let shown: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["openat:3", "write:2", "rename:1"]);
        for point in found {
            assert_eq!(point.to_string().parse::<Point>().unwrap(), point);
        }
        for bad in ["read:3", "rename", "rename:0", "rename:x"] {
            assert!(bad.parse::<Point>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_disturbed_call_is_found() {
        let point: Point = "write:2".parse().unwrap();
        assert_eq!(
            point.injection(Fault::Full),
            "inject=write:error=ENOSPC:when=2"
        );
        assert_eq!(
            point.injection(Fault::Kill),
            "inject=write:signal=KILL:when=2"
        );
        assert_eq!(disturbed(LOG, &point, Fault::Full), None);
        let failed =
            "write(3</home/u/a>, \"\"..., 5) = -1 ENOSPC (No space left on device) (INJECTED)";
        let log = format!("{LOG}{failed}\n");
        assert_eq!(
            disturbed(&log, &point, Fault::Full),
            Some(failed.to_owned())
        );
        assert_eq!(disturbed(&log, &point, Fault::Kill), None);
        let log =
            format!("{LOG}write(3</home/u/a>, \"\"..., 5)       = ?\n+++ killed by SIGKILL +++\n");
        assert!(disturbed(&log, &point, Fault::Kill).is_some());
    }
}
