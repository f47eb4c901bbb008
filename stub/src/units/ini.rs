//! The text of a unit file.

use std::fmt::{self, Display};
use std::path::Path;

/// A unit file: sections with their keys in the order they were added.
#[derive(Debug, Clone, Default)]
pub(super) struct Unit(Vec<(&'static str, Vec<(&'static str, String)>)>);

impl Unit {
    /// Begins a section. The keys that follow belong to it.
    pub(super) fn section(mut self, name: &'static str) -> Self {
        self.0.push((name, Vec::new()));
        self
    }

    /// Adds a key. The value is meant literally: a `%` in it is escaped, because systemd would expand it.
    pub(super) fn key(mut self, key: &'static str, value: impl Display) -> Self {
        if let Some((_, keys)) = self.0.last_mut() {
            keys.push((key, value.to_string().replace('%', "%%")));
        }
        self
    }

    /// Adds a key with several values. Adds nothing if there are none.
    pub(super) fn list(self, key: &'static str, values: &[impl AsRef<str>]) -> Self {
        if values.is_empty() {
            return self;
        }
        let values: Vec<_> = values.iter().map(AsRef::as_ref).collect();
        self.key(key, values.join(" "))
    }
}

impl Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (name, keys)) in self.0.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            writeln!(f, "[{name}]")?;
            for (key, value) in keys {
                writeln!(f, "{key}={value}")?;
            }
        }
        Ok(())
    }
}

/// One word of a value that systemd splits into words. It is put in double quotes if it needs them (systemd.syntax(7),
/// "Quoting").
pub(super) fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+=:@%,".contains(c) || !c.is_ascii();
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
}

/// A command line. In arguments, each `$` is doubled, because systemd would expand variables there.
///
/// systemd does not expand variables in the program's path. But it refuses a path with a quote or a backslash, however
/// escaped ("Executable name contains special characters"). It accepts these characters in arguments, so a shell gets the
/// path as an argument and replaces itself with the program. The program then has the same PID and the same `argv[0]` as
/// without the shell.
pub(super) fn command(program: &Path, args: &[&str]) -> String {
    let program = program.display().to_string();
    let argument = |arg: &&str| word(&arg.replace('$', "$$"));
    let mut words = if program.contains(['\'', '"', '\\']) {
        let shell = ["-c", r#"exec "$0" "$@""#, program.as_str()];
        let shell = shell.iter().map(argument);
        std::iter::once("/bin/sh".to_owned()).chain(shell).collect()
    } else {
        vec![word(&program)]
    };
    words.extend(args.iter().map(argument));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        let unit = Unit::default()
            .section("Service")
            .key(
                "ExecStart",
                command(Path::new("/home/a b$c/100%/x&y"), &["boot", "a$b"]),
            )
            .key("Environment", word("XDG_DATA_HOME=/home/ü/a'b\\c"))
            .list("Wants", &[""; 0])
            .section("Install")
            .list("WantedBy", &["a.target", "b.target"]);
        insta::assert_snapshot!(unit, @r#"
        [Service]
        ExecStart="/home/a b$c/100%%/x&y" boot "a$$b"
        Environment="XDG_DATA_HOME=/home/ü/a'b\\c"

        [Install]
        WantedBy=a.target b.target
        "#);
    }

    #[test]
    fn a_program_that_systemd_would_refuse_is_started_by_a_shell() {
        let lines = ["/home/o'brien/x", "/home/a\"b$c/x", r"/home/a\b/x"]
            .map(|program| command(Path::new(program), &["boot", "etcd"]));
        insta::assert_snapshot!(lines.join("\n"), @r#"
        /bin/sh -c "exec \"$$0\" \"$$@\"" "/home/o'brien/x" boot etcd
        /bin/sh -c "exec \"$$0\" \"$$@\"" "/home/a\"b$$c/x" boot etcd
        /bin/sh -c "exec \"$$0\" \"$$@\"" "/home/a\\b/x" boot etcd
        "#);
    }
}
