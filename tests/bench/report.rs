//! The report: as tables for people, and as JSON.

use std::fmt::Write as _;
use std::path::Path;

use builder::wording::counted;
use serde::Serialize;
use stub::bundle::{Bundle, Version};
use stub::digest::Sha256;
use stub::error::Result;
use stub::progress::bytes;
use stub::table::table;

use crate::builds::Builds;
use crate::competitors::{COPY, Packed, STORE};
use crate::machine::Machine;
use crate::promises::Promise;
use crate::times::shown;
use crate::unpack::{Unpacked, size_of_files};
use crate::verbs::Verbs;

/// Everything that was measured. Times are in seconds and sizes in bytes.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// The load average of the last minute, when everything was measured. The benchmark itself is in it.
    pub(crate) load_at_end: f64,
    pub(crate) payload: Payload,
    pub(crate) rounds: u16,
    pub(crate) builds: Builds,
    pub(crate) packed: Vec<Packed>,
    pub(crate) unpacked: Unpacked,
    pub(crate) verbs: Verbs,
    pub(crate) promises: Vec<Promise>,
}

/// What the bundle has in it.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Payload {
    /// The digest of the lockfile's text.
    pub(crate) lockfile: Sha256,
    pub(crate) release: Version,
    pub(crate) components: usize,
    pub(crate) files: usize,
    /// The bytes of all files that are unpacked.
    pub(crate) unpacked_bytes: u64,
    pub(crate) bundle_bytes: u64,
    /// The level of compression.
    pub(crate) level: i32,
}

impl Payload {
    /// Describes a bundle, whose files are installed in the data directory `data`.
    pub(crate) fn of(bundle: &Bundle, data: &Path) -> Result<Self> {
        let manifest = bundle.manifest();
        Ok(Self {
            lockfile: manifest.lockfile,
            release: manifest.release.clone(),
            components: manifest.components.len(),
            files: manifest.components.iter().map(|c| c.files.len()).sum(),
            unpacked_bytes: size_of_files(&data.join(STORE))?,
            bundle_bytes: fs_err::metadata(bundle.path())?.len(),
            level: manifest.level,
        })
    }
}

impl Report {
    /// For other programs.
    pub(crate) fn json(&self) -> Result<String> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::from)?;
        Ok(text + "\n")
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let payload = &self.payload;
        let mut text = format!(
            "{}, {:.2} at the end\npayload: {}, {}, {}; level {}; {}\n\n",
            self.machine.line(),
            self.load_at_end,
            counted(payload.components, "component"),
            counted(payload.files, "file"),
            bytes(payload.unpacked_bytes),
            payload.level,
            counted(usize::from(self.rounds), "round"),
        );
        text += &self.sizes();
        text.push('\n');
        text += &self.times();
        let _ = write!(
            text,
            "\nThe bundle is on disk when its time ends; {} unpack. {}.\n\n",
            counted(self.machine.processors_for_unpacking, "processor"),
            self.builds_line()
        );
        let heads = ["promise", "measured", "at most", "wish", "verdict"];
        let mut rows = vec![heads.map(str::to_owned)];
        rows.extend(self.promises.iter().map(Promise::cells));
        text += &table(&rows, &[1, 2, 3]);
        text += "\nnot started:\n";
        let left_out = &self.verbs.left_out;
        let rows: Vec<_> = left_out
            .iter()
            .map(|left| [format!("  {}", left.verb), left.why.to_owned()])
            .collect();
        text += &table(&rows, &[]);
        text += "\nPromises about a running cluster need one: `install` prints the seconds of each phase, and\n\
            `cargo test -p builder --test vm -- --bundle FILE --only 94` prints the memory of each service.\n";
        text
    }

    fn sizes(&self) -> String {
        let heads = ["file", "bytes", "made by"];
        let mut rows = vec![heads.map(str::to_owned)];
        let ours = self.payload.bundle_bytes.to_string();
        rows.push(["the bundle".to_owned(), ours, String::new()]);
        for packed in self.packed.iter().filter(|packed| packed.unpack != COPY) {
            let size = packed.bytes.map_or_else(String::new, |b| b.to_string());
            let by = packed.version.as_ref().or(packed.missing.as_ref());
            rows.push([
                packed.file.to_owned(),
                size,
                by.cloned().unwrap_or_default(),
            ]);
        }
        table(&rows, &[1])
    }

    fn times(&self) -> String {
        let unpacked = &self.unpacked;
        let heads = ["unpacking", "median", "and on disk"];
        let mut rows = vec![heads.map(str::to_owned)];
        let mut row = |name: &str, median: Option<f64>, on_disk: Option<f64>| {
            let cell = |seconds: Option<f64>| seconds.map_or_else(String::new, shown);
            rows.push([name.to_owned(), cell(median), cell(on_disk)]);
        };
        row(
            "install --start=",
            None,
            Some(unpacked.install.median_seconds),
        );
        row(
            "  its phase `unpack`",
            None,
            Some(unpacked.phase.median_seconds),
        );
        for other in &unpacked.others {
            let (times, on_disk) = (&other.times, &other.on_disk);
            row(
                other.unpack,
                Some(times.median_seconds),
                Some(on_disk.median_seconds),
            );
        }
        table(&rows, &[1, 2])
    }

    fn builds_line(&self) -> &'static str {
        if self.builds.stub_was_given {
            "Builds took the stub that was given"
        } else {
            "Builds include cargo's look at the stub, which was compiled before"
        }
    }
}

#[cfg(test)]
pub(crate) use tests::example;

#[cfg(test)]
mod tests {
    use stub::bundle::Name;

    use super::*;
    use crate::builds::Bumped;
    use crate::times::Times;
    use crate::unpack::Other;
    use crate::verbs::{INSTALL, LeftOut, STATUS, VERSION, Verb};

    fn times(seconds: f64) -> Times {
        Times::of(vec![seconds])
    }

    /// A report with all sorts of lines. makeself is missing.
    pub(crate) fn example() -> Report {
        let machine = Machine {
            processor: "Some CPU".to_owned(),
            processors: 4,
            processors_for_unpacking: 2,
            memory_bytes: 8_000_000_000,
            kernel: "6.1.0".to_owned(),
            system: "Debian 12".to_owned(),
            file_system: "ext4".to_owned(),
            load_at_start: 0.25,
        };
        let bumped = Bumped {
            component: Name::new("crun").unwrap(),
            bytes: 500_000,
            build: times(1.5),
            compress: times(0.5),
            rest: times(1.0),
        };
        let verb = |line: &str, seconds| Verb {
            line: line.to_owned(),
            times: times(seconds),
            above_empty_seconds: seconds - 0.001,
        };
        Report {
            machine,
            load_at_end: 1.5,
            payload: Payload {
                lockfile: Sha256::of(b"lockfile"),
                release: Version::new("0.1.0").unwrap(),
                components: 2,
                files: 5,
                unpacked_bytes: 4000,
                bundle_bytes: 1000,
                level: 22,
            },
            rounds: 1,
            builds: Builds {
                cold_seconds: 61.0,
                warm: times(0.8),
                bumped: Some(bumped),
                stub_was_given: false,
            },
            packed: crate::competitors::example(),
            unpacked: Unpacked {
                install: times(2.0),
                phase: times(1.5),
                others: [
                    ("tar xJf", 10.0),
                    ("zstd -dc | tar x", 3.0),
                    ("tar xjf", 25.0),
                    ("cp -r", 1.0),
                ]
                .map(|(unpack, seconds)| Other {
                    unpack,
                    times: times(seconds),
                    on_disk: times(seconds + 0.5),
                })
                .into(),
            },
            verbs: Verbs {
                empty_program: times(0.001),
                run: vec![
                    verb(VERSION, 0.003),
                    verb(STATUS, 0.042),
                    verb(INSTALL, 0.05),
                ],
                left_out: vec![LeftOut {
                    verb: "run".to_owned(),
                    why: "it is a running cluster",
                }],
            },
            promises: Vec::new(),
        }
    }

    #[test]
    fn the_report_for_people() {
        let mut report = example();
        report.promises = crate::promises::compare(&report);
        insta::assert_snapshot!(report.text(), @r"
        machine: 4 × Some CPU, 8.0 GB of memory, Linux 6.1.0, Debian 12; files on ext4; load 0.25 at the start, 1.50 at the end
        payload: 2 components, 5 files, 4.0 kB; level 22; 1 round

        file                  bytes  made by
        the bundle             1000
        xz -9                  1200  xz 1.0
        zstd -19 --long=27     1250  zstd 1.0
        .tbz (tar, bzip2 -9)   2000  bzip2 1.0
        makeself (gzip -9)           makeself is not installed (Debian package `makeself`)

        unpacking              median  and on disk
        install --start=                    2.00 s
          its phase `unpack`                1.50 s
        tar xJf               10.00 s      10.50 s
        zstd -dc | tar x       3.00 s       3.50 s
        tar xjf               25.00 s      25.50 s
        cp -r                  1.00 s       1.50 s

        The bundle is on disk when its time ends; 2 processors unpack. Builds include cargo's look at the stub, which was compiled before.

        promise                                                  measured   at most   wish  verdict
        size / .tbz (bzip2 -9)                                      0.500     0.540  0.500  holds, and the wish, too
        size / zstd -19 --long=27                                   0.800     0.820  0.760  holds
        size / xz -9                                                0.833
        size / makeself (gzip -9)                            not measured                   makeself is not installed (Debian package `makeself`)
        install / tar xj                                            0.080     0.040         FALLS SHORT
        install / (zstd -dc | tar x)                                0.667     0.600  0.500  FALLS SHORT
        install / (zstd -dc | tar x, and on disk like ours)         0.571
        install / tar xJ                                            0.200
        install / makeself's file                            not measured                   makeself is not installed (Debian package `makeself`)
        install / cp -r                                             2.000
        install / (cp -r, and on disk like ours)                    1.333
        build with an empty cache                                 61.00 s
        build with nothing changed                               800.0 ms
        build after a bump, without compressing its file           1.00 s    2.00 s         holds; crun: 1.50 s, 500.0 ms of it compressing
        `--version` above an empty program                         2.0 ms   10.0 ms         holds
        `status` above an empty program                           41.0 ms   30.0 ms         FALLS SHORT
        `install --start=` above an empty program                 49.0 ms  100.0 ms         holds

        not started:
          run  it is a running cluster

        Promises about a running cluster need one: `install` prints the seconds of each phase, and
        `cargo test -p builder --test vm -- --bundle FILE --only 94` prints the memory of each service.
        ");
    }

    #[test]
    fn the_report_for_programs_has_every_figure_with_its_unit() {
        let mut report = example();
        report.promises = crate::promises::compare(&report);
        let json: serde_json::Value = serde_json::from_str(&report.json().unwrap()).unwrap();
        assert_eq!(json["payload"]["bundle_bytes"], 1000);
        assert_eq!(json["unpacked"]["install"]["median_seconds"], 2.0);
        assert_eq!(json["packed"][3]["bytes"], serde_json::Value::Null);
        let promise = &json["promises"][0];
        assert_eq!(promise["unit"], "ratio");
        assert_eq!(promise["measured"], 0.5);
        assert_eq!(promise["bound"], 0.54);
        assert_eq!(promise["holds"], true);
    }
}
