//! Measures the promises of the design as ratios, all from one run on one machine, and says which hold.
//!
//! `cargo bench -p builder` after `cargo run --release -- demo`: it takes the demo's lockfile and cache, builds a
//! bundle at the release level, and compares it with what `tar`, `bzip2` and `zstd` make of the same files. Nothing
//! here fails because a machine is slow; what falls short is printed as such.

// A test that cannot go on has failed: it panics.
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::unwrap_used,
    unreachable_pub
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Rounds of every measurement. Competitors take turns in each, so that a machine that slows down slows down all.
const ROUNDS: usize = 5;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the workspace")
        .to_owned();
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), |d| root.join(d));
    let lockfile = target.join("demo/lockfile.json");
    if !lockfile.is_file() {
        eprintln!(
            "{} is missing: run `cargo run --release -- demo` first",
            lockfile.display()
        );
        return;
    }
    let work = target.join("bench");
    remove(&work);
    std::fs::create_dir_all(&work).expect("a directory for the benchmark");

    eprintln!("building at the release level …");
    let bundle = work.join("usernetes");
    let mut build = Command::new(env!("CARGO_BIN_EXE_builder"));
    build.args(["--offline", "--lockfile"]).arg(&lockfile);
    build
        .args(["build", "--output"])
        .arg(&bundle)
        .current_dir(&root);
    run(&mut build);
    let warm_build = time(&mut build);

    eprintln!("packing the same files with tar, bzip2 and zstd …");
    let packed = Packed::make(&bundle, &work);
    eprintln!("{ROUNDS} rounds of unpacking …");
    let times = Times::measure(&bundle, &packed, &work);
    println!("{}", report(&bundle, &packed, &times, warm_build));
    remove(&work);
}

/// What others make of the files in a bundle.
struct Packed {
    tar: PathBuf,
    bz2: PathBuf,
    zst: PathBuf,
}

impl Packed {
    fn make(bundle: &Path, work: &Path) -> Self {
        let tree = unpack(bundle, &work.join("tree"));
        let tar = work.join("tree.tar");
        run(Command::new("tar")
            .arg("-C")
            .arg(&tree)
            .arg("-cf")
            .arg(&tar)
            .arg("store"));
        run(Command::new("bzip2").args(["-9", "-k"]).arg(&tar));
        run(Command::new("zstd")
            .args(["-q", "-19", "--long=27", "-T0"])
            .arg(&tar));
        let beside = |ending: &str| work.join(format!("tree.tar.{ending}"));
        Self {
            bz2: beside("bz2"),
            zst: beside("zst"),
            tar,
        }
    }
}

/// Medians, in seconds.
struct Times {
    install: f64,
    again: f64,
    version: f64,
    list: f64,
    bzip2: f64,
    zstd: f64,
    sync: f64,
    nothing: f64,
}

impl Times {
    fn measure(bundle: &Path, packed: &Packed, work: &Path) -> Self {
        let empty = empty_program(work);
        let home = work.join("home");
        let plain = work.join("plain");
        let fresh = || {
            remove(&plain);
            std::fs::create_dir(&plain).expect("a directory");
        };
        let mut rounds: Vec<[f64; 8]> = Vec::new();
        for _ in 0..ROUNDS {
            remove(&home);
            let install_time = time(&mut install(bundle, &home));
            let again = time(&mut install(bundle, &home));
            let version = time(Command::new(bundle).arg("--version"));
            let list = time(in_home(&mut Command::new(bundle), &home).arg("list"));
            fresh();
            let bzip2 = time(
                Command::new("tar")
                    .arg("-C")
                    .arg(&plain)
                    .arg("-xjf")
                    .arg(&packed.bz2),
            );
            fresh();
            let script = "zstd -dcq --long=27 \"$0\" | tar -x -C \"$1\"";
            let zstd = time(
                Command::new("sh")
                    .args(["-c", script])
                    .arg(&packed.zst)
                    .arg(&plain),
            );
            let sync = time(Command::new("sync").arg("-f").arg(&plain));
            let nothing = time(&mut Command::new(&empty));
            let row = [
                install_time,
                again,
                version,
                list,
                bzip2,
                zstd,
                sync,
                nothing,
            ];
            rounds.push(row.map(|d| d.as_secs_f64()));
        }
        let median = |column: usize| {
            let mut values: Vec<f64> = rounds.iter().map(|row| row[column]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        Self {
            install: median(0),
            again: median(1),
            version: median(2),
            list: median(3),
            bzip2: median(4),
            zstd: median(5),
            sync: median(6),
            nothing: median(7),
        }
    }
}

fn report(bundle: &Path, packed: &Packed, times: &Times, warm_build: Duration) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a ratio with three digits")]
    let size = |path: &Path| std::fs::metadata(path).expect("a file").len() as f64;
    let bundle = size(bundle);
    let mut text = format!(
        "\nbytes: files as tar {}, our bundle {bundle}, .tbz {}, zstd -19 --long=27 {}\n",
        size(&packed.tar),
        size(&packed.bz2),
        size(&packed.zst)
    );
    let _ = writeln!(
        text,
        "seconds, median of {ROUNDS}: our install {:.3} (on disk, every byte verified), tar xj {:.3}, zstd -dc | tar x {:.3} (and {:.3} to get that on disk)\n",
        times.install, times.bzip2, times.zstd, times.sync
    );
    let _ = writeln!(
        text,
        "{:52} {:>9} {:>9}  verdict",
        "promise", "at most", "measured"
    );
    let over_nothing = |seconds: f64| (seconds - times.nothing) * 1000.0;
    let rows = [
        (
            "size of the bundle / .tbz",
            0.55,
            bundle / size(&packed.bz2),
        ),
        (
            "size of the bundle / zstd -19 --long=27",
            0.85,
            bundle / size(&packed.zst),
        ),
        ("install / tar xj", 0.05, times.install / times.bzip2),
        (
            "install / (zstd -dc | tar x)",
            0.5,
            times.install / times.zstd,
        ),
        (
            "install / (zstd -dc | tar x, on disk like ours)",
            0.5,
            times.install / (times.zstd + times.sync),
        ),
        (
            "`--version` minus an empty static program, ms",
            10.0,
            over_nothing(times.version),
        ),
        (
            "`list` minus an empty static program, ms",
            30.0,
            over_nothing(times.list),
        ),
        (
            "second install minus an empty static program, ms",
            100.0,
            over_nothing(times.again),
        ),
        (
            "`builder build` with nothing changed, s",
            2.0,
            warm_build.as_secs_f64(),
        ),
    ];
    for (name, bound, measured) in rows {
        let verdict = if measured <= bound {
            "holds"
        } else {
            "FALLS SHORT"
        };
        let _ = writeln!(text, "{name:52} {bound:>9.3} {measured:>9.3}  {verdict}");
    }
    text
}

/// The wall-clock time a program needs from start to end.
fn time(command: &mut Command) -> Duration {
    let started = Instant::now();
    run(command);
    started.elapsed()
}

fn run(command: &mut Command) {
    let output = command
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    assert!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
}

fn in_home<'a>(command: &'a mut Command, home: &Path) -> &'a mut Command {
    command
        .env_clear()
        .env("HOME", home)
        .env("PATH", "/usr/bin:/bin")
}

fn install(bundle: &Path, home: &Path) -> Command {
    std::fs::create_dir_all(home).expect("a directory");
    let mut command = Command::new(bundle);
    in_home(&mut command, home).args(["install", "--start="]);
    command
}

/// Unpacks the bundle and gives the directory in which its `store` lies.
fn unpack(bundle: &Path, home: &Path) -> PathBuf {
    run(&mut install(bundle, home));
    home.join(".local/share/usernetes")
}

/// A static program that does nothing, to know what starting a process costs here.
fn empty_program(work: &Path) -> PathBuf {
    let source = work.join("empty.rs");
    std::fs::write(&source, "fn main() {}\n").expect("a source file");
    let program = work.join("empty");
    let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    run(Command::new("rustc")
        .args([
            "-O",
            "-C",
            "target-feature=+crt-static",
            "--target",
            &triple,
        ])
        .arg("-o")
        .arg(&program)
        .arg(&source));
    program
}

fn remove(tree: &Path) {
    stub::files::remove_tree(tree).expect("the benchmark's own directory");
}
