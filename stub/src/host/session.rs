//! The login session: its directory, the user's service manager, and whether it outlives the login.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{CheckId, Finding, Level, Machine};
use crate::child;
use crate::paths::{LOG_IN, XDG_RUNTIME_DIR};
use crate::shell;

/// Where systemd-logind keeps a file for each user whose units outlive the login.
const LINGER: &str = "/var/lib/systemd/linger";

/// The first version of systemd with `Upholds=`, which starts failed units again (its `NEWS`).
const OLDEST_SYSTEMD: u32 = 249;

pub(super) fn user(machine: &Machine) -> Finding {
    let id = CheckId::User;
    if machine.uid == 0 {
        return Finding::new(id, Level::Fatal, "this is root")
            .expected("an ordinary user, who will own the cluster")
            .fix("log in as that user, without `sudo`");
    }
    match machine.user_name() {
        Some(name) => Finding::ok(id, format!("{name}, user id {}", machine.uid)),
        None => Finding::new(
            id,
            Level::Warn,
            format!("user id {} has no name", machine.uid),
        )
        .expected("an entry in /etc/passwd, or the environment variable USER")
        .fix("set USER to your user name"),
    }
}

pub(super) fn runtime_dir(machine: &Machine) -> Finding {
    let id = CheckId::RuntimeDir;
    let usual = machine.usual_session_dir();
    let said = match &machine.runtime_dir {
        None => format!("{XDG_RUNTIME_DIR} is not set"),
        Some(dir) => format!("{XDG_RUNTIME_DIR} is `{}`", dir.display()),
    };
    let session = machine.session_dir();
    if let Some(dir) = &session
        && let Some(mode) = open_to_others(dir)
    {
        return Finding::new(
            id,
            Level::Warn,
            format!(
                "{} has the mode {mode:04o}, so other users can look into it",
                dir.display()
            ),
        )
        .expected("the mode 0700: the sockets of the cluster are in it")
        .fix(format!(
            "run `chmod 700 {}`",
            shell::word(&dir.display().to_string())
        ));
    }
    match session {
        Some(dir) if Some(&dir) == machine.runtime_dir.as_ref() => {
            Finding::ok(id, dir.display().to_string())
        }
        Some(_) => Finding::new(
            id,
            Level::Note,
            format!(
                "{said}, but {} exists and is yours, so it is used",
                usual.display()
            ),
        ),
        None => Finding::new(
            id,
            Level::Fatal,
            format!("{said}, and you have no {}", usual.display()),
        )
        .expected("a directory that belongs to you, made by the login")
        .fix(LOG_IN),
    }
}

/// The mode of a directory, if others than its owner may do anything with it.
fn open_to_others(dir: &Path) -> Option<u32> {
    let mode = fs_err::metadata(dir).ok()?.permissions().mode() & 0o7777;
    Some(mode).filter(|mode| mode & 0o077 != 0)
}

/// The answer of the user's service manager about itself.
#[derive(Debug)]
pub struct Manager {
    answer: Result<String, Silence>,
}

/// Why it does not answer.
#[derive(Debug)]
enum Silence {
    NoSystemctl,
    NotBooted,
    Failed(String),
    /// Nobody asked.
    NotNeeded,
}

impl Manager {
    /// Asks with one run of `systemctl`.
    #[must_use]
    pub fn ask(machine: &Machine) -> Self {
        let answer = || {
            let systemctl = machine.find("systemctl").ok_or(Silence::NoSystemctl)?;
            let mut command = machine.command(&systemctl);
            command.args([
                "--user",
                "show",
                "--property=Version,SystemState,ControlGroup",
            ]);
            let ended = child::run(&mut command).map_err(|e| Silence::Failed(e.to_string()))?;
            if ended.status.success() {
                return Ok(String::from_utf8_lossy(&ended.stdout).into_owned());
            }
            // sd_booted(3) looks for this directory.
            if !machine.at("/run/systemd/system").is_dir() {
                return Err(Silence::NotBooted);
            }
            Err(Silence::Failed(ended.said()))
        };
        Self { answer: answer() }
    }

    /// None is needed: `usernetes run` supervises the services.
    #[must_use]
    pub fn not_needed() -> Self {
        Self {
            answer: Err(Silence::NotNeeded),
        }
    }

    /// Whether a service manager is to run the units.
    pub(super) fn is_needed(&self) -> bool {
        !matches!(self.answer, Err(Silence::NotNeeded))
    }

    /// Whether units can be started.
    #[must_use]
    pub fn answers(&self) -> bool {
        self.answer.is_ok()
    }

    fn property(&self, name: &str) -> Option<&str> {
        let lines = self.answer.as_ref().ok()?.lines();
        let (_, value) = lines
            .filter_map(|l| l.split_once('='))
            .find(|(key, _)| *key == name)?;
        Some(value).filter(|v| !v.is_empty())
    }

    /// The number systemd's version begins with, for example 257.
    #[must_use]
    pub fn version(&self) -> Option<u32> {
        let version = self.property("Version")?;
        version
            .split(|c: char| !c.is_ascii_digit())
            .next()?
            .parse()
            .ok()
    }

    /// Its cgroup, for example `/user.slice/user-1000.slice/user@1000.service`.
    #[must_use]
    pub fn control_group(&self) -> Option<&str> {
        self.property("ControlGroup")
    }
}

pub(super) fn manager(machine: &Machine, manager: &Manager) -> Finding {
    let id = CheckId::SystemdUser;
    let fatal = |found: String| {
        Finding::new(id, Level::Fatal, found)
            .expected("an answer from your own systemd (`systemctl --user`)")
    };
    match &manager.answer {
        Err(Silence::NotNeeded) => Finding::ok(id, "not needed: `usernetes run` supervises"),
        Err(Silence::NoSystemctl) => fatal("there is no `systemctl` in PATH".to_owned())
            .fix("use `usernetes run`, which needs no systemd, or only unpack with `install --start \"\"`"),
        Err(Silence::NotBooted) => fatal("this machine was not booted with systemd".to_owned())
            .fix("use `usernetes run`, which needs no systemd, or only unpack with `install --start \"\"`"),
        Err(Silence::Failed(said)) => {
            let bus = machine.session_dir().map(|d| d.join("bus"));
            let found = match &bus {
                Some(bus) if !bus.exists() => format!("{} is missing: {said}", bus.display()),
                _ => said.clone(),
            };
            fatal(found).fix(format!(
                "{LOG_IN}; on Debian and Ubuntu the package `dbus-user-session` must be installed"
            ))
        }
        Ok(_) => version(id, manager),
    }
}

fn version(id: CheckId, manager: &Manager) -> Finding {
    let version = manager.property("Version").unwrap_or("of unknown version");
    let state = manager
        .property("SystemState")
        .unwrap_or("in an unknown state");
    let found = format!("systemd {version}, {state}");
    match manager.version() {
        Some(number) if number < OLDEST_SYSTEMD => Finding::new(id, Level::Warn, found)
            .expected(format!("systemd {OLDEST_SYSTEMD} or later"))
            .fix("units that fail for good do not start again automatically: run `usernetes restart` if that happens"),
        _ => Finding::ok(id, found),
    }
}

/// Whether what a user runs outlives the last login, as far as systemd-logind is concerned.
fn lingers(machine: &Machine, name: &str) -> bool {
    // systemd-logind writes a backslash in a name twice (cescape of systemd).
    let file = name.replace('\\', r"\\");
    !file.contains('/') && machine.at(Path::new(LINGER).join(file)).exists()
}

impl Machine {
    /// Whether the directory of the session outlives the last login.
    pub(crate) fn lingers(&self) -> bool {
        self.user_name().is_some_and(|name| lingers(self, &name))
    }
}

pub(super) fn linger(machine: &Machine) -> Finding {
    let id = CheckId::Linger;
    let Some(name) = machine.user_name() else {
        return Finding::new(id, Level::Note, "unknown, because the user has no name");
    };
    if lingers(machine, &name) {
        return Finding::ok(id, "units start at boot and outlive the login");
    }
    // Root must not trust `$USER`; logind accepts a number as well.
    let user = machine
        .listed_name()
        .unwrap_or_else(|| machine.uid.to_string());
    let user = shell::word(&user);
    Finding::new(id, Level::Warn, "the cluster stops when you log out")
        .expected(format!("lingering for {name}"))
        .fix("run `loginctl enable-linger` (`install` tries this automatically)")
        .admin(
            [format!("loginctl enable-linger -- {user}")],
            [format!("loginctl disable-linger -- {user}")],
        )
}
