//! Running a program to its end.

use std::io::Write as _;
use std::process::{Command, Stdio};

use stub::error::{Error, Kind, Result};

/// Runs a program to its end and gives its output.
pub(crate) fn run(command: &mut Command, input: Option<&str>) -> Result<String> {
    finish(command, input)?.map_err(|why| unfit(command, &why))
}

/// Runs a program to its end and gives its output: on stdout if it succeeded, on stderr if it failed.
pub(super) fn finish(command: &mut Command, input: Option<&str>) -> Result<Result<String, String>> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| unfit(command, &e.to_string()).hint("install it, or correct PATH"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.unwrap_or_default().as_bytes())?;
    }
    let output = child.wait_with_output()?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Ok(Err(why.trim_end().to_owned()));
    }
    let text = String::from_utf8(output.stdout).map_err(|e| unfit(command, &e.to_string()))?;
    Ok(Ok(text))
}

fn unfit(command: &Command, why: &str) -> Error {
    let name = command.get_program().to_string_lossy();
    Error::new(Kind::Host, format!("`{name}` does not work: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fails_is_named() {
        let error = run(
            Command::new("sh").args(["-c", "echo oh dear >&2; exit 3"]),
            None,
        )
        .unwrap_err();
        assert_eq!(error.message(), "`sh` does not work: oh dear");
        let error = run(&mut Command::new("no-such-program"), None).unwrap_err();
        assert!(error.to_string().contains("no-such-program"), "{error}");
    }
}
