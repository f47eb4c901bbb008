//! How much of the machine the cluster may use.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use crate::error::{Error, Kind, Result};

/// How much of the machine the whole cluster may use, the control plane and all pods together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resources {
    /// How much memory it may use.
    pub memory: Memory,
    /// How much processor time it may use.
    pub cpus: Cpus,
    /// Its share of the processors when the user's other programs want them, too; they have 100.
    pub cpu_weight: u32,
    /// How many processes and threads one pod may have.
    pub pod_pids: u32,
}

impl Default for Resources {
    fn default() -> Self {
        Self {
            memory: Memory::All,
            cpus: Cpus::ALL,
            cpu_weight: 100,
            pod_pids: 4096,
        }
    }
}

impl Resources {
    /// The weights that the kernel knows (Documentation/admin-guide/cgroup-v2.rst, `cpu.weight`).
    pub(super) const WEIGHTS: std::ops::RangeInclusive<u32> = 1..=10_000;
    /// The limits for a pod that make sense: a shell needs a few processes, and the kernel numbers them up to 2^22.
    pub(super) const POD_PIDS: std::ops::RangeInclusive<u32> = 64..=4_194_304;
}

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// The control plane alone needs most of this.
const LEAST_MEMORY: u64 = GIB;
/// The smallest share of the machine's memory, in percent.
const LEAST_PERCENT: u8 = 5;
/// The control plane answers too slowly with less, in thousandths of a processor.
const LEAST_CPU: u32 = 500;

/// An amount of memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Memory {
    /// All that the machine has.
    All,
    /// This many MiB.
    Mebibytes(u64),
    /// This part of the machine's memory, in percent.
    Percent(u8),
}

impl Memory {
    /// Its number of bytes on a machine with `total` bytes of memory, and never more than those.
    #[must_use]
    pub fn bytes(self, total: u64) -> u64 {
        match self {
            Self::All => total,
            Self::Mebibytes(count) => count.saturating_mul(MIB).min(total),
            Self::Percent(part) => total / 100 * u64::from(part),
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad(""),
            Self::Mebibytes(count) if count % 1024 == 0 => f.pad(&format!("{}GiB", count / 1024)),
            Self::Mebibytes(count) => f.pad(&format!("{count}MiB")),
            Self::Percent(part) => f.pad(&format!("{part}%")),
        }
    }
}

impl FromStr for Memory {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bad = |found: &str| {
            Err(Error::new(Kind::Input, format!("bad amount of memory {text:?}"))
                .expected(format!(
                    "whole MiB or GiB, at least 1GiB, for example `12GiB`; or a part of the machine's memory from \
                     {LEAST_PERCENT}% to 100%; or \"\" for all of it"
                ))
                .found(found))
        };
        if text.is_empty() {
            return Ok(Self::All);
        }
        let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, unit) = text.split_at(digits);
        let Ok(number) = number.parse::<u64>() else {
            return bad("no number that fits");
        };
        let mebibytes = match unit {
            "%" => {
                return match u8::try_from(number) {
                    Ok(part) if (LEAST_PERCENT..=100).contains(&part) => Ok(Self::Percent(part)),
                    _ => bad(&format!("{number} %")),
                };
            }
            "MiB" => Some(number),
            "GiB" => number.checked_mul(GIB / MIB),
            "" => return bad("no unit"),
            unit => return bad(&format!("the unit `{}`", unit.escape_debug())),
        };
        match mebibytes {
            // More than this is no amount of memory, and its bytes could not be counted.
            Some(count) if (LEAST_MEMORY / MIB..=u64::MAX >> 24).contains(&count) => {
                Ok(Self::Mebibytes(count))
            }
            _ => bad(text),
        }
    }
}

impl TryFrom<String> for Memory {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

/// An amount of processor time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Cpus(Option<u32>);

impl Cpus {
    /// All processors that the machine has.
    pub const ALL: Self = Self(None);

    /// Thousandths of a processor; `None` for all processors.
    #[must_use]
    pub fn milli(self) -> Option<u32> {
        self.0
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            None => f.pad(""),
            Some(milli) if milli % 1000 == 0 => f.pad(&(milli / 1000).to_string()),
            Some(milli) => {
                let text = format!("{}.{:03}", milli / 1000, milli % 1000);
                f.pad(text.trim_end_matches('0'))
            }
        }
    }
}

impl FromStr for Cpus {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::ALL);
        }
        let (whole, part) = text.split_once('.').unwrap_or((text, "0"));
        let number = |text: &str| {
            let digits = (1..=6).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
            text.parse::<u32>().ok().filter(|_| digits)
        };
        let milli = match (number(whole), number(&format!("{part:0<3}"))) {
            (Some(whole), Some(thousandths)) if (1..=3).contains(&part.len()) => {
                Some(whole * 1000 + thousandths)
            }
            _ => None,
        };
        match milli {
            Some(milli) if milli >= LEAST_CPU => Ok(Self(Some(milli))),
            _ => Err(Error::new(Kind::Input, format!("bad number of processors {text:?}")).expected(
                "at least 0.5, with at most three digits after the point, for example `4` or `2.5`; or \"\" for all",
            )),
        }
    }
}

impl TryFrom<String> for Cpus {
    type Error = Error;
    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(in crate::config) fn any_resources() -> impl Strategy<Value = Resources> {
        let memory = prop_oneof![
            Just(Memory::All),
            (1024u64..10_000_000).prop_map(Memory::Mebibytes),
            (5u8..=100).prop_map(Memory::Percent),
        ];
        let cpus = proptest::option::of(500u32..500_000).prop_map(Cpus);
        let all = (memory, cpus, Resources::WEIGHTS, Resources::POD_PIDS);
        all.prop_map(|(memory, cpus, cpu_weight, pod_pids)| Resources {
            memory,
            cpus,
            cpu_weight,
            pod_pids,
        })
    }

    #[test]
    fn amounts_of_memory() {
        for (text, bytes) in [
            ("", 8 * GIB),
            ("2GiB", 2 * GIB),
            ("1536MiB", 1536 * MIB),
            ("64GiB", 8 * GIB),
            ("50%", 8 * GIB / 100 * 50),
        ] {
            let memory: Memory = text.parse().unwrap();
            assert_eq!(
                (memory.to_string().as_str(), memory.bytes(8 * GIB)),
                (text, bytes)
            );
        }
        assert_eq!("2048MiB".parse::<Memory>().unwrap().to_string(), "2GiB");
        let enormous = format!("{}GiB", u64::MAX);
        for bad in [
            "2", "2GB", "2G", "2 GiB", "-2GiB", "512MiB", "0%", "101%", "1.5GiB", &enormous,
        ] {
            assert!(bad.parse::<Memory>().is_err(), "{bad}");
        }
        insta::assert_snapshot!("2GB".parse::<Memory>().unwrap_err(), @r#"
        bad amount of memory "2GB"
          expected  whole MiB or GiB, at least 1GiB, for example `12GiB`; or a part of the machine's memory from 5% to 100%; or "" for all of it
          found     the unit `GB`
        "#);
    }

    #[test]
    fn numbers_of_processors() {
        for (text, milli) in [
            ("", None),
            ("4", Some(4000)),
            ("2.5", Some(2500)),
            ("0.75", Some(750)),
        ] {
            let cpus: Cpus = text.parse().unwrap();
            assert_eq!((cpus.to_string().as_str(), cpus.milli()), (text, milli));
        }
        for bad in [
            "0",
            "0.4",
            "x",
            "1.",
            ".5",
            "1.2345",
            "-1",
            "1e3",
            "99999999999",
        ] {
            assert!(bad.parse::<Cpus>().is_err(), "{bad}");
        }
        insta::assert_snapshot!("all".parse::<Cpus>().unwrap_err(), @r#"
        bad number of processors "all"
          expected  at least 0.5, with at most three digits after the point, for example `4` or `2.5`; or "" for all
        "#);
    }

    proptest! {
        #[test]
        fn a_text_that_is_taken_is_given_back_as_one_that_means_the_same(text in "[0-9.%GMiB]{0,8}") {
            if let Ok(memory) = text.parse::<Memory>() {
                prop_assert_eq!(memory.to_string().parse::<Memory>().unwrap(), memory);
            }
            if let Ok(cpus) = text.parse::<Cpus>() {
                prop_assert_eq!(cpus.to_string().parse::<Cpus>().unwrap(), cpus);
            }
        }
    }
}
