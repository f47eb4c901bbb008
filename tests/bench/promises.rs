//! What was promised, and whether the figures keep it.

use serde::Serialize;
use stub::bundle::frame;

use crate::competitors::{BZIP2, COPY, MAKESELF, XZ, ZSTD};
use crate::report::Report;
use crate::times::shown;
use crate::verbs::{INSTALL, STATUS, VERSION, Verb};

/// A line of the table: a figure, and the bound that was promised for it, if there is one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Promise {
    /// What is measured. A ratio is ours divided by theirs.
    pub(crate) name: String,
    pub(crate) unit: Unit,
    /// None if it could not be measured.
    pub(crate) measured: Option<f64>,
    /// At most this much was promised.
    pub(crate) bound: Option<f64>,
    /// This much is wished.
    pub(crate) stretch: Option<f64>,
    /// None if nothing was promised, or not for this.
    pub(crate) holds: Option<bool>,
    /// What the reader must know.
    pub(crate) note: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Unit {
    Ratio,
    Seconds,
}

impl Promise {
    fn of(name: impl Into<String>, unit: Unit, measured: Option<f64>) -> Self {
        Self {
            name: name.into(),
            unit,
            measured,
            bound: None,
            stretch: None,
            holds: None,
            note: None,
        }
    }

    /// Our figure divided by theirs, of which there is none if `missing` says why.
    fn ratio(name: &str, ours: f64, theirs: Option<f64>, missing: Option<&str>) -> Self {
        let ratio = Self::of(name, Unit::Ratio, theirs.map(|theirs| ours / theirs));
        match missing {
            Some(missing) => ratio.noting(missing),
            None => ratio,
        }
    }

    fn seconds(name: impl Into<String>, measured: Option<f64>) -> Self {
        Self::of(name, Unit::Seconds, measured)
    }

    /// Promised is at most this.
    fn at_most(mut self, bound: f64) -> Self {
        self.bound = Some(bound);
        self.holds = self.measured.map(|measured| measured <= bound);
        self
    }

    fn stretch(mut self, stretch: f64) -> Self {
        self.stretch = Some(stretch);
        self
    }

    fn noting(mut self, note: impl Into<String>) -> Self {
        self.note = Some(note.into());
        self
    }

    /// A promise about bundles of the release level only.
    fn at_release_level(mut self, level: i32) -> Self {
        if level != frame::RELEASE_LEVEL {
            self.holds = None;
            let release = frame::RELEASE_LEVEL;
            self.note
                .get_or_insert(format!("promised for level {release}, and this is {level}"));
        }
        self
    }

    /// The figure, the bounds, and what to say about them.
    pub(crate) fn cells(&self) -> [String; 5] {
        let cell = |value: Option<f64>| value.map_or_else(String::new, |value| self.shown(value));
        [
            self.name.clone(),
            self.measured
                .map_or_else(|| "not measured".to_owned(), |value| self.shown(value)),
            cell(self.bound),
            cell(self.stretch),
            self.verdict(),
        ]
    }

    /// A value for people.
    pub(crate) fn shown(&self, value: f64) -> String {
        match self.unit {
            Unit::Ratio => format!("{value:.3}"),
            Unit::Seconds => shown(value),
        }
    }

    fn verdict(&self) -> String {
        let wish = |stretch: f64| self.measured.is_some_and(|measured| measured <= stretch);
        let verdict = match self.holds {
            Some(true) if self.stretch.is_some_and(wish) => "holds, and the wish, too",
            Some(true) => "holds",
            Some(false) => "FALLS SHORT",
            None => "",
        };
        match (verdict, &self.note) {
            (verdict, None) => verdict.to_owned(),
            ("", Some(note)) => note.clone(),
            (verdict, Some(note)) => format!("{verdict}; {note}"),
        }
    }
}

/// The promises of the design that one machine without a cluster can measure, and other ratios that people ask for.
pub(crate) fn compare(report: &Report) -> Vec<Promise> {
    let mut rows = sizes(report);
    rows.extend(unpacking(report));
    rows.extend(builds(report));
    rows.extend(starts(report));
    rows
}

#[expect(clippy::cast_precision_loss, reason = "a ratio with three digits")]
fn sizes(report: &Report) -> Vec<Promise> {
    let ratio = |unpack: &str, name: &str| {
        let packed = report.packed.iter().find(|packed| packed.unpack == unpack);
        let theirs = packed.and_then(|packed| packed.bytes);
        let missing = packed.and_then(|packed| packed.missing.as_deref());
        let ours = report.payload.bundle_bytes as f64;
        Promise::ratio(name, ours, theirs.map(|bytes| bytes as f64), missing)
    };
    let level = report.payload.level;
    vec![
        ratio(BZIP2, "size / .tbz (bzip2 -9)")
            .at_most(0.54)
            .stretch(0.50)
            .at_release_level(level),
        ratio(ZSTD, "size / zstd -19 --long=27")
            .at_most(0.82)
            .stretch(0.76)
            .at_release_level(level),
        ratio(XZ, "size / xz -9"),
        ratio(MAKESELF, "size / makeself (gzip -9)"),
    ]
}

fn unpacking(report: &Report) -> Vec<Promise> {
    let ours = report.unpacked.install.median_seconds;
    let missing = |unpack: &str| {
        let packed = report.packed.iter().find(|packed| packed.unpack == unpack);
        packed.and_then(|packed| packed.missing.as_deref())
    };
    let ratio = |unpack: &str, name: &str| {
        let other = report.unpacked.other(unpack);
        let theirs = other.map(|other| other.times.median_seconds);
        Promise::ratio(name, ours, theirs, missing(unpack))
    };
    let on_disk = |unpack: &str, name: &str| {
        let other = report.unpacked.other(unpack);
        let theirs = other.map(|other| other.on_disk.median_seconds);
        Promise::ratio(name, ours, theirs, missing(unpack))
    };
    vec![
        ratio(BZIP2, "install / tar xj").at_most(1.0 / 25.0),
        ratio(ZSTD, "install / (zstd -dc | tar x)")
            .at_most(0.6)
            .stretch(0.5),
        on_disk(ZSTD, "install / (zstd -dc | tar x, and on disk like ours)"),
        ratio(XZ, "install / tar xJ"),
        ratio(MAKESELF, "install / makeself's file"),
        ratio(COPY, "install / cp -r"),
        on_disk(COPY, "install / (cp -r, and on disk like ours)"),
    ]
}

fn builds(report: &Report) -> Vec<Promise> {
    let builds = &report.builds;
    let name = "build after a bump, without compressing its file";
    let bump = match &builds.bumped {
        Some(bumped) => Promise::seconds(name, Some(bumped.rest.median_seconds))
            .at_most(2.0)
            .noting(format!(
                "{}: {}, {} of it compressing",
                bumped.component,
                shown(bumped.build.median_seconds),
                shown(bumped.compress.median_seconds)
            )),
        None => Promise::seconds(name, None).noting("no component can be bumped alone"),
    };
    vec![
        Promise::seconds("build with an empty cache", Some(builds.cold_seconds)),
        Promise::seconds(
            "build with nothing changed",
            Some(builds.warm.median_seconds),
        ),
        bump,
    ]
}

fn starts(report: &Report) -> Vec<Promise> {
    let bound = |line: &str| match line {
        VERSION => Some(0.010),
        STATUS => Some(0.030),
        INSTALL => Some(0.100),
        _ => None,
    };
    let promise = |verb: &Verb| {
        let promise = Promise::seconds(
            format!("`{}` above an empty program", verb.line),
            Some(verb.above_empty_seconds),
        );
        match bound(&verb.line) {
            Some(bound) => promise.at_most(bound),
            None => promise,
        }
    };
    let lines = [VERSION, STATUS, INSTALL];
    let missing = lines
        .iter()
        .filter(|line| report.verbs.verb(line).is_none());
    let missing = missing.map(|line| {
        let name = format!("`{line}` above an empty program");
        Promise::seconds(name, None).noting("`--help` does not list it")
    });
    report
        .verbs
        .run
        .iter()
        .map(promise)
        .chain(missing)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts() {
        let ratio = |ours| Promise::ratio("a / b", ours, Some(10.0), None);
        let verdict = |promise: Promise| promise.cells()[1..].join("|");
        let promised = |ours| verdict(ratio(ours).at_most(0.6).stretch(0.5));
        assert_eq!(promised(5.0), "0.500|0.600|0.500|holds, and the wish, too");
        assert_eq!(promised(6.0), "0.600|0.600|0.500|holds");
        assert_eq!(promised(6.1), "0.610|0.600|0.500|FALLS SHORT");
        assert_eq!(verdict(ratio(1.0)), "0.100|||");
        let missing = Promise::ratio("a / b", 1.0, None, Some("b is not installed"));
        assert_eq!(
            verdict(missing.at_most(0.5)),
            "not measured|0.500||b is not installed"
        );
        let seconds = Promise::seconds("build", Some(0.5)).at_most(2.0);
        assert_eq!(
            verdict(seconds.noting("fast")),
            "500.0 ms|2.00 s||holds; fast"
        );
    }

    #[test]
    fn what_is_promised_for_the_release_level_has_no_verdict_at_another() {
        let ratio = Promise::ratio("a / b", 1.0, Some(2.0), None).at_most(0.54);
        assert_eq!(ratio.clone().at_release_level(frame::RELEASE_LEVEL), ratio);
        let other = ratio.at_release_level(3);
        assert_eq!(other.holds, None);
        assert_eq!(other.cells()[4], "promised for level 22, and this is 3");
    }

    #[test]
    fn the_table_has_every_promise_and_names_what_is_missing() {
        let report = crate::report::example();
        let rows = compare(&report);
        let promised: Vec<_> = rows.iter().filter(|row| row.bound.is_some()).collect();
        assert_eq!(promised.len(), 8, "{promised:?}");
        assert!(promised.iter().all(|row| row.measured.is_some()));
        let missing = rows.iter().filter(|row| row.measured.is_none());
        let missing: Vec<_> = missing.map(|row| row.name.as_str()).collect();
        assert_eq!(
            missing,
            ["size / makeself (gzip -9)", "install / makeself's file"]
        );
        let first = rows[0].measured.unwrap();
        assert!((first - 0.5).abs() < 1e-9, "{first}");
    }
}
