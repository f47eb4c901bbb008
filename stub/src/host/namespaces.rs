//! User namespaces: what forbids them, and whether they work.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use rustix::mount::{MountFlags, mount};
use rustix::thread::UnshareFlags;

use super::{CheckId, Finding, Level, Machine, ids, kernel};
use crate::child;
use crate::error::{Context, Error, Kind, Result};
use crate::output;
use crate::protocol;

const ID: CheckId = CheckId::UserNamespaces;
const MAX: &str = "/proc/sys/user/max_user_namespaces";
const CLONE: &str = "/proc/sys/kernel/unprivileged_userns_clone";
const APPARMOR: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";
const PROFILE: &str = "/etc/apparmor.d/usernetes";
const SYSCTL: &str = "/etc/sysctl.d/99-usernetes-userns.conf";

/// The results of the probe.
pub(super) struct Probed {
    /// Why not all ids of the user were mapped, if they were not.
    unmapped: Option<String>,
    /// The [`kernel::answers`] inside the namespaces.
    pub(super) kernel: Vec<String>,
}

/// Makes namespaces, maps ids into them, mounts a file system there and tries the kernel's features; `None` for a machine
/// that can only be read.
pub(super) fn probe(machine: &Machine) -> Option<Result<Probed>> {
    let program = machine.program.as_deref()?;
    Some(run(machine, program))
}

/// Whether user namespaces can be made, ids mapped into them, and file systems mounted. The probe decides; if it failed,
/// known settings may explain why. Links in `data_dir` are resolved.
pub(super) fn allowed(
    machine: &Machine,
    data_dir: &Path,
    probed: Option<&Result<Probed>>,
) -> Finding {
    let failure = match probed {
        Some(Ok(Probed { unmapped: None, .. })) => {
            return Finding::ok(ID, "made one, mapped ids and mounted a file system in it");
        }
        Some(Ok(Probed {
            unmapped: Some(why),
            ..
        })) => {
            return Finding::new(
                ID,
                Level::Note,
                format!("made one and mounted a file system in it, but ids were not mapped: {why}"),
            );
        }
        Some(Err(error)) => Some(error.message()),
        None => None,
    };
    forbidden(machine, data_dir, failure).unwrap_or_else(|| match failure {
        Some(failure) => Finding::new(ID, Level::Fatal, failure)
            .expected("a user namespace with mapped ids in which a file system can be mounted")
            .fix("look for the cause in the kernel's log (`dmesg`, `journalctl -k`): a security module or a container may forbid it"),
        None => Finding::ok(ID, "nothing forbids them"),
    })
}

/// The finding about a setting that forbids user namespaces, if there is one. `failure` is the error of the probe.
fn forbidden(machine: &Machine, data_dir: &Path, failure: Option<&str>) -> Option<Finding> {
    let because = failure.map_or_else(String::new, |failure| format!(" ({failure})"));
    let sysctl = |file: &str, value: u64, found: &str| {
        let name = file.trim_start_matches("/proc/sys/").replace('/', ".");
        let old = machine.number(file).unwrap_or_default();
        Finding::new(
            ID,
            Level::Fatal,
            format!("{name} is {old}, which forbids {found}{because}"),
        )
        .expected(format!("{name} = {value} or more"))
        .fix("ask an administrator to run the commands below")
        .admin(
            [
                format!("echo {name}={value} >{SYSCTL}"),
                format!("sysctl -q -p {SYSCTL}"),
            ],
            [
                format!("rm -f {SYSCTL}"),
                format!("sysctl -q -w {name}={old}"),
            ],
        )
    };
    if machine.number(MAX) == Some(0) {
        return Some(sysctl(MAX, 28633, "user namespaces"));
    }
    if machine.number(CLONE) == Some(0) {
        return Some(sysctl(CLONE, 1, "user namespaces to all but root"));
    }
    if machine.number(APPARMOR) == Some(1) {
        return Some(apparmor(machine, data_dir, &because));
    }
    None
}

/// The kernel forbids namespaces to programs without a profile. The profile must name the program where it really is,
/// links resolved; so it names every version of RootlessKit in the store.
fn apparmor(machine: &Machine, data_dir: &Path, because: &str) -> Finding {
    let mut dir = data_dir.display().to_string();
    // Characters that have a meaning in AppArmor's patterns or quotes.
    for special in ['\\', '*', '?', '[', ']', '{', '}', '^', '"'] {
        dir = dir.replace(special, &format!(r"\{special}"));
    }
    let pattern = format!("{dir}/store/*-rootlesskit-*/**");
    if machine
        .read(PROFILE)
        .is_some_and(|profile| profile.contains(&pattern))
    {
        return Finding::new(
            ID,
            Level::Note,
            format!("AppArmor allows RootlessKit to make them, because of {PROFILE}"),
        );
    }
    let profile = format!(
        "abi <abi/4.0>,\ninclude <tunables/global>\nprofile usernetes \"{pattern}\" flags=(unconfined) {{\n  userns,\n}}"
    );
    Finding::new(
        ID,
        Level::Fatal,
        format!("AppArmor forbids user namespaces to programs without a profile{because}"),
    )
    .expected(format!("a profile for \"{pattern}\" in {PROFILE}"))
    .fix("ask an administrator to run the commands below")
    .admin(
        [
            format!("cat >{PROFILE} <<'PROFILE'\n{profile}\nPROFILE"),
            format!("apparmor_parser --replace {PROFILE}"),
        ],
        [
            format!("apparmor_parser --remove {PROFILE} || true"),
            format!("rm -f {PROFILE}"),
        ],
    )
}

/// Runs this program once more, lets it enter namespaces of its own, maps the user's ids into them from outside, as
/// RootlessKit does, and lets it mount a file system and try the kernel's features.
fn run(machine: &Machine, program: &Path) -> Result<Probed> {
    let mut command = Command::new(program);
    command
        .arg(protocol::PROBE_NAMESPACES)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    child::announce(&command);
    let mut child = command
        .spawn()
        .about(|| "starting this program once more")?;
    let outcome = converse(machine, &mut child);
    // It may have ended by itself.
    let _ = child.kill();
    child.wait()?;
    outcome
}

fn converse(machine: &Machine, child: &mut Child) -> Result<Probed> {
    let broken = || Error::new(Kind::Failed, "the probe has no pipes");
    let mut to = child.stdin.take().ok_or_else(broken)?;
    let mut from = BufReader::new(child.stdout.take().ok_or_else(broken)?);
    expect(&mut from, "unshared")?;
    let mut unmapped = None;
    for (name, group, own) in [
        ("newuidmap", false, machine.uid),
        ("newgidmap", true, machine.gid),
    ] {
        let ranges = ids::given(machine, group).ranges;
        unmapped = unmapped.or(map(machine, name, child.id(), own, &ranges)?);
    }
    to.write_all(b"go\n")?;
    expect(&mut from, "mounted")?;
    let kernel = from.lines().collect::<io::Result<_>>()?;
    Ok(Probed { unmapped, kernel })
}

/// Reads a line of the probe: the word that means success, or the reason for the failure.
fn expect(from: &mut BufReader<ChildStdout>, word: &str) -> Result<()> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    match line.trim() {
        said if said == word => Ok(()),
        "" => Err(Error::new(Kind::Host, "the probe ended without a message")),
        reason => Err(Error::new(Kind::Host, reason)),
    }
}

/// Maps 0 to the user and the rest to the subordinate ids. Other checks report missing programs
/// and ranges; here they are only the reason that nothing is mapped.
fn map(
    machine: &Machine,
    name: &str,
    pid: u32,
    own: u32,
    ranges: &[(u64, u64)],
) -> Result<Option<String>> {
    let Some(program) = machine.find(name) else {
        return Ok(Some(format!("there is no `{name}` in PATH")));
    };
    if ranges.is_empty() {
        return Ok(Some(format!("there are no ids for `{name}`")));
    }
    let mut command = machine.command(&program);
    command.args([
        pid.to_string(),
        "0".to_owned(),
        own.to_string(),
        "1".to_owned(),
    ]);
    let mut inside = 1;
    for (first, count) in ranges {
        command.args([inside, *first, *count].map(|n| n.to_string()));
        inside += count;
    }
    let ended = child::run(&mut command)?;
    if ended.status.success() {
        return Ok(None);
    }
    Err(Error::new(
        Kind::Host,
        format!("{name} failed: {}", ended.said()),
    ))
}

/// The other side: enters new namespaces and says so, waits for the go-ahead, mounts a file system and says so, and then
/// tells which features the kernel has. If something goes wrong, the error is its last line. Must be called before the
/// process has a second thread.
pub fn probe_child() -> Result<()> {
    let say = |line: &str| output::data(&format!("{line}\n"));
    #[expect(deprecated, reason = "what became unsafe about it is the flag FILES")]
    let unshared = rustix::thread::unshare(
        UnshareFlags::NEWUSER | UnshareFlags::NEWNS | UnshareFlags::NEWNET | UnshareFlags::NEWPID,
    );
    match unshared {
        Ok(()) => say("unshared")?,
        Err(error) => return say(&format!("making a user namespace failed: {error}")),
    }
    io::stdin().lock().read_exact(&mut [0; 3])?;
    match mount("tmpfs", "/tmp", "tmpfs", MountFlags::empty(), None) {
        Ok(()) => {
            say("mounted")?;
            kernel::answers().iter().try_for_each(|line| say(line))
        }
        Err(error) => say(&format!("mounting in a user namespace failed: {error}")),
    }
}
