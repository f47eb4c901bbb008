//! Programs that a test writes and then runs.

use std::ffi::OsStr;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use fs_err as fs;

/// Writes an executable file, in the place of one that is there.
///
/// Another process writes it. Tests run side by side in one process: if this one wrote the file, a child that another
/// test forks at that moment would hold it open for writing until it executes a program of its own, and until then nobody
/// could run the file ("Text file busy").
pub fn write_program(path: &Path, bytes: impl AsRef<[u8]>) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut install = Command::new("install")
        .args(["-m", "755", "/dev/stdin"].map(OsStr::new))
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = install.stdin.take().unwrap();
    input.write_all(bytes.as_ref()).unwrap();
    drop(input);
    let status = install.wait().unwrap();
    assert!(status.success(), "install {}: {status}", path.display());
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn a_written_program_runs_at_once_while_other_threads_start_programs() {
        let home = tempfile::tempdir().unwrap();
        let program = home.path().join("program");
        let ended = AtomicBool::new(false);
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    while !ended.load(Ordering::Relaxed) {
                        Command::new("true").status().unwrap();
                    }
                });
            }
            let codes: Vec<_> = (0..200)
                .map(|_| {
                    write_program(&program, "#!/bin/sh\nexit 3\n");
                    // A shell starts it, as the product does with the programs that tests give to it.
                    let mut shell = Command::new("sh");
                    shell.args(["-c", "exec \"$0\""]).arg(&program);
                    shell.status().unwrap().code()
                })
                .collect();
            ended.store(true, Ordering::Relaxed);
            assert_eq!(codes, [Some(3); 200]);
        });
    }
}
