//! The machine that everything is measured on.

use std::path::Path;
use std::thread::available_parallelism;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Serialize;
use stub::error::{Context as _, Error, Kind, Result};
use stub::progress::bytes;

/// The promises about unpacking are made for so many processors.
const PROCESSORS: usize = 2;

/// A machine, as far as it decides how fast something is.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Machine {
    /// The model of its processors, as the kernel names it.
    pub(crate) processor: String,
    /// How many processors this process may use.
    pub(crate) processors: usize,
    /// How many of them unpacking and starting may use.
    pub(crate) processors_for_unpacking: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    /// The distribution.
    pub(crate) system: String,
    /// The kind of file system that everything is written to.
    pub(crate) file_system: String,
    /// How many processes wanted to run in the last minute before the benchmark, on average.
    pub(crate) load_at_start: f64,
}

impl Machine {
    /// Describes this machine. `work` is the directory that everything is written to.
    pub(crate) fn describe(work: &Path) -> Result<Self> {
        let read = |path: &str| fs_err::read_to_string(path).map_err(Error::from);
        let processors = available_parallelism().map_or(1, usize::from);
        let work = fs_err::canonicalize(work)?;
        let system = read("/etc/os-release").unwrap_or_default();
        Ok(Self {
            processor: processor(&read("/proc/cpuinfo")?),
            processors,
            processors_for_unpacking: processors.min(PROCESSORS),
            memory_bytes: memory(&read("/proc/meminfo")?)
                .ok_or_else(|| Error::new(Kind::Host, "/proc/meminfo does not have MemTotal"))?,
            kernel: read("/proc/sys/kernel/osrelease")?.trim().to_owned(),
            system: pretty_name(&system),
            file_system: file_system(&read("/proc/self/mountinfo")?, &work),
            load_at_start: load()?,
        })
    }

    /// A line for people.
    pub(crate) fn line(&self) -> String {
        format!(
            "machine: {} × {}, {} of memory, Linux {}, {}; files on {}; load {:.2} at the start",
            self.processors,
            self.processor,
            bytes(self.memory_bytes),
            self.kernel,
            self.system,
            self.file_system,
            self.load_at_start
        )
    }
}

/// The load average of the last minute.
pub(crate) fn load() -> Result<f64> {
    let text = fs_err::read_to_string("/proc/loadavg")?;
    let first = text.split(' ').next().unwrap_or_default();
    first
        .parse()
        .map_err(|_| Error::new(Kind::Host, "/proc/loadavg has no load average"))
        .about(|| text.trim().to_owned())
}

/// While it lives, this thread and the programs that it starts use only as many processors as the promises name.
#[derive(Debug)]
pub(crate) struct FewProcessors(Option<CpuSet>);

impl FewProcessors {
    pub(crate) fn begin() -> Result<Self> {
        let all = sched_getaffinity(None).map_err(std::io::Error::from)?;
        let mut few = CpuSet::new();
        let usable = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
        for cpu in usable.take(PROCESSORS) {
            few.set(cpu);
        }
        if few == all {
            return Ok(Self(None));
        }
        sched_setaffinity(None, &few).map_err(std::io::Error::from)?;
        Ok(Self(Some(all)))
    }
}

impl Drop for FewProcessors {
    fn drop(&mut self) {
        if let Some(all) = &self.0 {
            // If they stay few, later measurements are slower, and no promise is taken for kept that is not.
            let _ = sched_setaffinity(None, all);
        }
    }
}

/// The value of a line `name: value`.
fn value<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = text.lines().filter_map(|line| line.split_once(':'));
    lines.find_map(|(key, value)| (key.trim_end() == name).then(|| value.trim()))
}

/// The model in `/proc/cpuinfo`. ARM's processors have only numbers there.
fn processor(cpuinfo: &str) -> String {
    if let Some(name) = value(cpuinfo, "model name") {
        return name.to_owned();
    }
    match ["CPU implementer", "CPU part"].map(|name| value(cpuinfo, name)) {
        [Some(implementer), Some(part)] => format!("implementer {implementer}, part {part}"),
        _ => "unknown processor".to_owned(),
    }
}

/// All memory in bytes, from `/proc/meminfo`.
fn memory(meminfo: &str) -> Option<u64> {
    let kibibytes = value(meminfo, "MemTotal")?.strip_suffix(" kB")?;
    kibibytes.parse::<u64>().ok().map(|count| count * 1024)
}

/// The name of the distribution in `/etc/os-release`.
fn pretty_name(text: &str) -> String {
    let name = text.lines().find_map(|l| l.strip_prefix("PRETTY_NAME="));
    name.map_or("unknown distribution", |name| name.trim_matches('"'))
        .to_owned()
}

/// The kind of file system that an absolute path without links is on, from `/proc/self/mountinfo` (see `proc_pid_mountinfo(5)`).
fn file_system(mountinfo: &str, path: &Path) -> String {
    let mut found = ("unknown file system", 0);
    for line in mountinfo.lines() {
        let Some((mount, kind)) = line.split_once(" - ") else {
            continue;
        };
        let place = mount.split(' ').nth(4).unwrap_or_default();
        let place = place.replace("\\040", " ");
        // Of several at one place, the last one hides the others.
        if path.starts_with(&place) && place.len() >= found.1 {
            found = (kind.split(' ').next().unwrap_or_default(), place.len());
        }
    }
    found.0.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_of_the_kernel() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n\nprocessor\t: 1\n";
        assert_eq!(processor(cpuinfo), "Some CPU @ 2 GHz");
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
        assert_eq!(processor(arm), "implementer 0x41, part 0xd0c");
        assert_eq!(processor(""), "unknown processor");
        let meminfo = "MemTotal:       24653028 kB\nMemFree: 1 kB\n";
        assert_eq!(memory(meminfo), Some(25_244_700_672));
        assert_eq!(memory("MemFree: 1 kB\n"), None);
        assert_eq!(pretty_name("ID=x\nPRETTY_NAME=\"A B 1\"\n"), "A B 1");
    }

    #[test]
    fn the_file_system_is_that_of_the_longest_place() {
        let mounts = "1 0 254:0 / / rw - ext4 /dev/vda rw\n\
            2 1 0:5 / /tmp rw shared:1 - tmpfs tmpfs rw\n\
            3 1 0:6 / /a\\040b rw - xfs /dev/x rw\n\
            4 3 0:7 / /a\\040b rw - btrfs /dev/y rw\n";
        let on = |path: &str| file_system(mounts, Path::new(path));
        assert_eq!(on("/tmp/x"), "tmpfs");
        assert_eq!(on("/tmpx"), "ext4");
        assert_eq!(on("/a b/c"), "btrfs");
        assert_eq!(file_system("", Path::new("/")), "unknown file system");
    }

    #[test]
    fn this_machine_can_be_described() {
        let machine = Machine::describe(Path::new("/")).unwrap();
        assert!(machine.processors > 0 && machine.memory_bytes > 1 << 20);
        let all = available_parallelism().unwrap();
        let few = FewProcessors::begin().unwrap();
        assert!(available_parallelism().unwrap().get() <= PROCESSORS);
        drop(few);
        assert_eq!(available_parallelism().unwrap(), all);
    }
}
