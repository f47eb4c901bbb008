//! The user's subordinate user and group ids, and the programs that map them.

use std::os::unix::fs::MetadataExt;

use super::{Admin, CheckId, Finding, Level, Machine};
use crate::child;
use crate::shell;

/// As many ids as images may use: user `nobody` is 65534.
const NEEDED: u64 = 65536;
/// Where the first range begins by the defaults of the package shadow (`SUB_UID_MIN` in login.defs(5)).
const FIRST: u64 = 100_000;
/// Ranges that are proposed begin at a multiple of this from there on, as shadow itself places them.
const STEP: u64 = 65536;

pub(super) fn programs(machine: &Machine) -> Vec<Finding> {
    [CheckId::Newuidmap, CheckId::Newgidmap]
        .map(|id| program(machine, id))
        .into()
}

fn program(machine: &Machine, id: CheckId) -> Finding {
    let Some(path) = machine.find(id.as_str()) else {
        return Finding::new(id, Level::Fatal, format!("there is no `{id}` in PATH"))
            .expected("the package `uidmap` (Debian, Ubuntu) or `shadow-utils` (Fedora, RHEL)")
            .fix("install that package")
            .admin(
                ["if command -v apt-get >/dev/null; then apt-get install -y uidmap; elif command -v dnf >/dev/null; then dnf install -y shadow-utils; fi"],
                ["# the package uidmap may stay: other programs use it too"],
            );
    };
    let shown = machine.shown(&path);
    let (mode, owner) = fs_err::metadata(&path)
        .map(|m| (m.mode(), m.uid()))
        .unwrap_or_default();
    let capable = rustix::fs::getxattr(&path, "security.capability", &mut [0; 64][..]).is_ok();
    judge_program(id, &shown, mode & 0o4000 != 0 && owner == 0, capable)
}

pub(super) fn judge_program(id: CheckId, path: &str, set_uid_root: bool, capable: bool) -> Finding {
    match (set_uid_root, capable) {
        (true, _) => Finding::ok(id, format!("{path}, set-user-ID root")),
        (_, true) => Finding::ok(id, format!("{path}, with file capabilities")),
        _ => Finding::new(
            id,
            Level::Fatal,
            format!("{path} is not allowed to map ids"),
        )
        .expected("set-user-ID root, or file capabilities")
        .fix("ask an administrator to run the commands below")
        .admin(
            [format!("chmod u+s {}", shell::word(path))],
            [format!("chmod u-s {}", shell::word(path))],
        ),
    }
}

/// A range of subordinate ids.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Range {
    /// Name or user id.
    owner: String,
    first: u64,
    count: u64,
}

impl Range {
    /// A line of subuid(5): `name:first:count`.
    fn parse(line: &str) -> Option<Self> {
        let mut fields = line.trim().split(':');
        let (owner, first, count) = (fields.next()?, fields.next()?, fields.next()?);
        let range = Self {
            owner: owner.to_owned(),
            first: first.parse().ok()?,
            count: count.parse().ok()?,
        };
        (fields.next().is_none() && !owner.is_empty() && range.fits()).then_some(range)
    }

    /// A line of getsubids(1): `0: name first count`.
    fn parse_getsubids(line: &str) -> Option<Self> {
        let mut words = line.split_whitespace().skip(1);
        let (owner, first, count) = (words.next()?, words.next()?, words.next()?);
        let range = Self {
            owner: owner.to_owned(),
            first: first.parse().ok()?,
            count: count.parse().ok()?,
        };
        range.fits().then_some(range)
    }

    /// Whether all of it are ids, which have 32 bits. The last one means "no id".
    fn fits(&self) -> bool {
        let end = self.first.checked_add(self.count);
        end.is_some_and(|end| u32::try_from(end).is_ok())
    }

    fn end(&self) -> u64 {
        self.first + self.count
    }
}

/// The ranges a file gives to anybody.
fn read(machine: &Machine, file: &str) -> Vec<Range> {
    machine
        .read(file)
        .unwrap_or_default()
        .lines()
        .filter_map(Range::parse)
        .collect()
}

/// The subordinate ids of the user.
pub(super) struct Given {
    /// First id and number of ids of each range.
    pub(super) ranges: Vec<(u64, u64)>,
    /// The file or program that lists them.
    source: &'static str,
}

/// The user's ranges of user or of group ids, as the file gives them by number or by name, or else a directory service.
pub(super) fn given(machine: &Machine, group: bool) -> Given {
    let (name, uid) = (
        machine.user_name().unwrap_or_default(),
        machine.uid.to_string(),
    );
    let file = file(group);
    let own = read(machine, file).into_iter();
    let ranges: Vec<_> = own
        .filter(|r| r.owner == name || r.owner == uid)
        .map(|r| (r.first, r.count))
        .collect();
    if ranges.is_empty() {
        return Given {
            ranges: by_getsubids(machine, group),
            source: "getsubids",
        };
    }
    Given {
        ranges,
        source: file,
    }
}

fn file(group: bool) -> &'static str {
    if group { "/etc/subgid" } else { "/etc/subuid" }
}

/// The ranges that a directory service gives (nsswitch.conf(5), `subid`), if the program that asks it is there.
fn by_getsubids(machine: &Machine, group: bool) -> Vec<(u64, u64)> {
    let (Some(program), Some(name)) = (machine.find("getsubids"), machine.user_name()) else {
        return Vec::new();
    };
    let mut command = machine.command(&program);
    if group {
        command.arg("-g");
    }
    let Ok(ended) = child::run(command.arg(name)) else {
        return Vec::new();
    };
    let text = String::from_utf8_lossy(&ended.stdout).into_owned();
    text.lines()
        .filter_map(Range::parse_getsubids)
        .map(|r| (r.first, r.count))
        .collect()
}

pub(super) fn ranges(machine: &Machine) -> Vec<Finding> {
    let free = first_free(machine);
    vec![
        range(machine, CheckId::Subuid, false, free),
        range(machine, CheckId::Subgid, true, free),
    ]
}

/// The first id of a free range: neither file gives any of it to anybody, and the user's own ids are not in it. Ranges that
/// a directory service gives to others cannot be known. `None` if no range is free.
fn first_free(machine: &Machine) -> Option<u64> {
    let mut given: Vec<_> = [false, true]
        .into_iter()
        .flat_map(|group| read(machine, file(group)))
        .map(|r| (r.first, r.end()))
        .chain([machine.uid, machine.gid].map(|id| (id.into(), u64::from(id) + 1)))
        .collect();
    given.sort_unstable();
    let mut first = FIRST;
    for (from, to) in given {
        if from >= first + NEEDED {
            break;
        }
        if to > first {
            first = FIRST + (to - FIRST).next_multiple_of(STEP);
        }
    }
    // The last id of all means "no id".
    (first < u64::from(u32::MAX) - NEEDED).then_some(first)
}

/// How an administrator gives the user a range. usermod(8) knows local users only; the files may name others by number.
fn give(machine: &Machine, group: bool, first: u64) -> Admin {
    let file = file(group);
    let last = first + NEEDED - 1;
    let option = if group { "subgids" } else { "subuids" };
    let local = machine.listed_name();
    let owner = local.clone().unwrap_or_else(|| machine.uid.to_string());
    let line = shell::word(&format!("{owner}:{first}:{NEEDED}"));
    let unless_there = format!("grep -qsxF -e {line} {file}");
    let (add, remove) = match local {
        Some(name) => {
            let name = shell::word(&name);
            (
                format!("usermod --add-{option} {first}-{last} -- {name}"),
                format!("usermod --del-{option} {first}-{last} -- {name}"),
            )
        }
        // The file may lack a line feed at its end.
        None => (
            format!(r"printf '\n%s\n' {line} >>{file}"),
            format!("sed -i -e '/^{line}$/d' {file}"),
        ),
    };
    Admin {
        commands: vec![format!("{unless_there} || {add}")],
        undo: vec![remove],
    }
}

fn range(machine: &Machine, id: CheckId, group: bool, free: Option<u64>) -> Finding {
    let file = file(group);
    let Given { ranges, source } = given(machine, group);
    let total: u64 = ranges.iter().map(|(_, count)| count).sum();
    let listed: Vec<_> = ranges
        .iter()
        .map(|(first, count)| format!("{first}:{count}"))
        .collect();
    let user = machine
        .user_name()
        .unwrap_or_else(|| machine.uid.to_string());
    if total < NEEDED {
        let found = match total {
            0 => match machine.not_plain_text(file) {
                Some(why) => format!("{file} gives {user} no ids: {why}"),
                None => format!("{file} gives {user} no ids"),
            },
            _ => format!(
                "{source} gives {user} only {total} ids: {}",
                listed.join(", ")
            ),
        };
        let finding =
            Finding::new(id, Level::Fatal, found).expected(format!("at least {NEEDED} ids"));
        let Some(free) = free else {
            return finding.fix(format!(
                "ask an administrator for a range: every range of {NEEDED} ids is already taken"
            ));
        };
        let Admin { commands, undo } = give(machine, group, free);
        return finding
            .fix("ask an administrator to run the commands below")
            .admin(commands, undo);
    }
    let example = free.map_or_else(
        || "one that no other user has".to_owned(),
        |free| format!("`{user}:{free}:{NEEDED}`"),
    );
    let (own, kind) = if group {
        (machine.gid, "group id")
    } else {
        (machine.uid, "id")
    };
    let own = u64::from(own);
    if let Some((first, count)) = ranges
        .iter()
        .find(|(first, count)| (*first..first + count).contains(&own))
    {
        return Finding::new(
            id,
            Level::Fatal,
            format!(
                "{source} gives {user} the range {first}:{count}, which contains {own}, your own {kind}"
            ),
        )
        .expected("a range that does not contain it")
        .fix(format!(
            "ask an administrator to replace that line of {file} with {example}"
        ));
    }
    let others = read(machine, file)
        .into_iter()
        .filter(|r| r.owner != user && r.owner != machine.uid.to_string());
    let shared = others.into_iter().find(|other| {
        ranges
            .iter()
            .any(|(first, count)| other.first < first + count && *first < other.end())
    });
    if let Some(other) = shared {
        return Finding::new(
            id,
            Level::Warn,
            format!(
                "{file} also gives ids of yours to {}: {}:{}",
                other.owner, other.first, other.count
            ),
        )
        .expected(
            "ranges that do not overlap: that user can read the files that your containers write",
        )
        .fix(format!("ask an administrator for another range: {example}"));
    }
    if machine.at(file).is_symlink() {
        return Finding::new(id, Level::Warn, format!("{file} is a symbolic link"))
            .expected("a file: some programs that read it do not follow links");
    }
    Finding::ok(
        id,
        format!("{total} ids from {source}: {}", listed.join(", ")),
    )
}
