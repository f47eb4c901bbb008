//! Asks this machine's apt about the Debian archive: its address, the machine's suite, and the trusted keys.

use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use stub::bundle::Name;
use stub::child;
use stub::error::{Context, Error, Kind, Result};

const OS_RELEASE: &str = "/etc/os-release";

/// Where the package `debian-archive-keyring` puts the archive's keys, newest place first.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];

/// A Debian archive, and by which rules its indexes are believed.
#[derive(Debug, Clone)]
pub struct Archive {
    /// Its address, without a final slash: `dists/` and `pool/` lie below it.
    pub base: String,
    /// The machine's own suite, for recipes that name none.
    pub suite: Name,
    /// The keyring that `InRelease` files are checked against.
    pub keyring: PathBuf,
    /// The instant at which indexes must still be valid. None when apt is told not to ask for that.
    pub valid_at: Option<SystemTime>,
}

impl Archive {
    /// The archive this machine's apt uses, or the one at `base`. An error of kind `Host` when this is no Debian machine.
    pub fn of_this_machine(base: Option<&str>) -> Result<Self> {
        let codename = codename(&fs_err::read_to_string(OS_RELEASE)?)?;
        let (base, suite) = match base {
            Some(base) => (checked_base(base)?, codename),
            None => choose(&index_targets()?, &codename)?,
        };
        let keyring = KEYRINGS
            .iter()
            .map(PathBuf::from)
            .find(|p| p.exists())
            .ok_or_else(|| {
                Error::new(
                    Kind::Host,
                    "the keys of the Debian archive are not on this machine",
                )
                .expected(KEYRINGS.join(" or "))
                .hint("install them: `apt-get install debian-archive-keyring`")
            })?;
        let suite = Name::new(suite).about(|| OS_RELEASE)?;
        let valid_at = asks_for_validity()?.then(SystemTime::now);
        Ok(Self {
            base,
            suite,
            keyring,
            valid_at,
        })
    }

    /// The URL of a path in the archive.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }
}

/// The address that stands for `debian:` in a lockfile's URLs, without a final slash: `base` if given, else that of the
/// main archive in apt's configuration.
pub fn archive_base(base: Option<&str>) -> Result<String> {
    if let Some(base) = base {
        return checked_base(base);
    }
    let codename = codename(&fs_err::read_to_string(OS_RELEASE)?)?;
    Ok(choose(&index_targets()?, &codename)?.0)
}

fn checked_base(base: &str) -> Result<String> {
    if is_http(base) {
        return Ok(base.trim_end_matches('/').to_owned());
    }
    Err(Error::new(
        Kind::Usage,
        format!("`{base}` is not the address of a Debian archive"),
    )
    .expected("`http://…` or `https://…`, the directory that holds `dists` and `pool`"))
}

fn is_http(base: &str) -> bool {
    base.starts_with("http://") || base.starts_with("https://")
}

/// The machine's codename, from the text of os-release(5). Only Debian itself has the archive we mean.
fn codename(os_release: &str) -> Result<String> {
    let value = |key: &str| {
        let mut values = os_release.lines().filter_map(|line| {
            let (name, value) = line.trim().split_once('=')?;
            (name == key).then(|| value.trim_matches(['"', '\'']).to_owned())
        });
        values.next_back().filter(|v| !v.is_empty())
    };
    let id = value("ID").unwrap_or_else(|| "linux".to_owned());
    if id != "debian" {
        let like = value("ID_LIKE").map_or(String::new(), |like| format!(" (ID_LIKE={like})"));
        return Err(
            Error::new(Kind::Host, "the Debian channel needs a Debian machine")
                .expected(format!("ID=debian in {OS_RELEASE}"))
                .found(format!("ID={id}{like}"))
                .hint(ELSEWHERE),
        );
    }
    value("VERSION_CODENAME").ok_or_else(|| {
        Error::new(
            Kind::Host,
            format!("{OS_RELEASE} does not say which Debian this is"),
        )
        .expected("VERSION_CODENAME, for example `bookworm`")
    })
}

const ELSEWHERE: &str = "to fetch the downloads from another place, name an archive with `--debian-archive URL`, or give a `--mirror`";

/// All that apt would download: lines of address, suite, component and kind of index, separated by tabs.
fn index_targets() -> Result<String> {
    let format = "$(SITE)\t$(RELEASE)\t$(COMPONENT)\t$(CREATED_BY)";
    // Without the second option apt lists only the indexes it has downloaded already.
    let arguments = [
        "indextargets",
        "-o",
        "APT::Get::IndexTargets::ReleaseInfo=false",
        "--format",
        format,
    ];
    run("apt-get", &arguments)?.ok_or_else(|| {
        Error::new(
            Kind::Host,
            "this machine has no apt: there is no program `apt-get`",
        )
        .hint(ELSEWHERE)
    })
}

/// Whether apt refuses indexes whose `Valid-Until` is over, which it does unless told otherwise (apt.conf(5)).
fn asks_for_validity() -> Result<bool> {
    let said = run(
        "apt-config",
        &["shell", "V", "Acquire::Check-Valid-Until/b"],
    )?;
    Ok(said.is_none_or(|text| text.trim() != "V='false'"))
}

/// The standard output of a program; None if there is no such program.
fn run(program: &str, arguments: &[&str]) -> Result<Option<String>> {
    let mut command = Command::new(program);
    child::try_run(command.args(arguments).env("LC_ALL", "C"))?
        .map(|ended| {
            let again = format!("check whether `{program} {}` works", arguments[0]);
            ended.success().hint(|| again)
        })
        .transpose()
}

/// The address of the main archive, and the machine's suite, which is `codename` unless apt says that this is sid:
/// there, os-release has the name of the release to come.
fn choose(targets: &str, codename: &str) -> Result<(String, String)> {
    let mains: Vec<(&str, &str)> = targets
        .lines()
        .filter_map(|line| {
            let mut columns = line.split('\t');
            let site = columns.next()?.trim_end_matches('/');
            let release = columns.next()?;
            let main = columns.next() == Some("main") && columns.next() == Some("Packages");
            main.then_some((site, release))
        })
        .collect();
    let aliases: [&[&str]; 3] = [
        &[codename],
        &["stable", "oldstable", "testing"],
        &["sid", "unstable"],
    ];
    for names in aliases {
        let mut sites: Vec<&str> = mains
            .iter()
            .filter(|(site, release)| names.contains(release) && is_http(site))
            .map(|(site, _)| *site)
            .collect();
        // Other publishers name their suites after Debian's; only Debian's mirrors end like this.
        sites.sort_by_key(|site| !site.ends_with("/debian"));
        if let Some(site) = sites.first() {
            let suite = if names[0] == "sid" { "sid" } else { codename };
            return Ok(((*site).to_owned(), suite.to_owned()));
        }
    }
    let mut found: Vec<String> = mains
        .iter()
        .map(|(site, release)| format!("{site} {release}"))
        .collect();
    found.dedup();
    if found.is_empty() {
        found.push("none".to_owned());
    }
    Err(Error::new(
        Kind::Host,
        "apt's configuration has no Debian archive that can be reached by HTTP",
    )
    .expected(format!(
        "a source with the suite {codename} and the component main"
    ))
    .found(found.join(", "))
    .hint("name an archive with `--debian-archive URL`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "\
https://other.example/apt\tbookworm\tmain\tPackages
http://a.example/debian\tbookworm-updates\tmain\tPackages
http://a.example/debian-security\tbookworm-security\tmain\tPackages
http://a.example/debian\tbookworm\tcontrib\tPackages
http://b.example/debian/\tbookworm\tmain\tDEP-11
http://b.example/debian/\tbookworm\tmain\tPackages
http://c.example/debian\tsid\tmain\tPackages
";

    #[test]
    fn the_main_archive_is_chosen() {
        let chosen = |targets: &str, codename: &str| choose(targets, codename).unwrap();
        let pair = |base: &str, suite: &str| (base.to_owned(), suite.to_owned());
        assert_eq!(
            chosen(TARGETS, "bookworm"),
            pair("http://b.example/debian", "bookworm")
        );
        // On sid, os-release says `forky`.
        assert_eq!(
            chosen(TARGETS, "forky"),
            pair("http://c.example/debian", "sid")
        );
        let by_alias = "https://d.example/mirror\tstable\tmain\tPackages\n";
        assert_eq!(
            chosen(by_alias, "trixie"),
            pair("https://d.example/mirror", "trixie")
        );
    }

    #[test]
    fn no_archive_is_said_with_what_there_is() {
        let targets = "file:/srv/debian\tbookworm\tmain\tPackages\nfile:/srv/debian\tbookworm\tmain\tPackages\n";
        insta::assert_snapshot!(choose(targets, "bookworm").unwrap_err(), @r"
        apt's configuration has no Debian archive that can be reached by HTTP
          expected  a source with the suite bookworm and the component main
          found     file:/srv/debian bookworm

        hint: name an archive with `--debian-archive URL`
        ");
        let error = choose("", "bookworm").unwrap_err().to_string();
        assert!(error.contains("found     none"), "{error}");
    }

    #[test]
    fn only_debian_is_debian() {
        let debian = "NAME=\"Debian GNU/Linux\"\nVERSION_CODENAME=bookworm\nID=debian\n";
        assert_eq!(codename(debian).unwrap(), "bookworm");
        let ubuntu = "ID=ubuntu\nID_LIKE=debian\nVERSION_CODENAME=jammy\n";
        insta::assert_snapshot!(codename(ubuntu).unwrap_err(), @r"
        the Debian channel needs a Debian machine
          expected  ID=debian in /etc/os-release
          found     ID=ubuntu (ID_LIKE=debian)

        hint: to fetch the downloads from another place, name an archive with `--debian-archive URL`, or give a `--mirror`
        ");
        assert!(codename("ID=debian\n").is_err());
        assert!(codename("").is_err());
    }

    #[test]
    fn an_archive_can_be_named() {
        let base = archive_base(Some("https://a.example/debian/")).unwrap();
        assert_eq!(base, "https://a.example/debian");
        let error = archive_base(Some("a.example")).unwrap_err();
        assert_eq!(error.kind(), Kind::Usage);
        assert!(error.message().contains("`a.example`"));
    }

    #[test]
    fn a_program_that_is_not_there_or_fails() {
        assert_eq!(run("no-such-program", &["x"]).unwrap(), None);
        let error = run("/bin/sh", &["-c", "echo broken >&2; exit 3"]).unwrap_err();
        assert_eq!(error.kind(), Kind::Host);
        assert!(error.to_string().contains("broken"), "{error}");
    }
}
