//! The ratios as a bar chart, in SVG. It has no background, and its colours follow the reader's theme.

use std::fmt::Write as _;

use stub::progress::bytes;

use crate::promises::{Promise, Unit};
use crate::report::Report;

/// Pixels: the width of everything, the column of names, the bars of the ratio 1, and the height of a line.
const WIDTH: f64 = 760.0;
const NAMES: f64 = 330.0;
const ONE: f64 = 280.0;
const LINE: f64 = 24.0;

/// Where the bars begin, from the top.
const TOP: f64 = 52.0;

/// A longer bar is cut here.
const LONGEST: f64 = 1.25;

const STYLE: &str = "\
text { font: 12px sans-serif; fill: #1f2328 }
.head { font-weight: bold; font-size: 14px }
.small { font-size: 11px }
.kept { fill: #2da44e }
.short { fill: #cf5b1d }
.other { fill: #6e7f91 }
.bound { stroke: #1f2328; stroke-width: 2 }
.wish { stroke: #1f2328; stroke-width: 1; stroke-dasharray: 2 2 }
.axis { stroke: #8c959f; stroke-width: 1 }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 }
.bound, .wish { stroke: #e6edf3 }
}
";

/// Draws the ratios that were measured.
pub(crate) fn svg(report: &Report) -> String {
    let rows = report.promises.iter();
    let rows: Vec<_> = rows
        .filter(|row| row.unit == Unit::Ratio)
        .filter_map(|row| row.measured.map(|measured| (row, measured)))
        .collect();
    let mut bars = String::new();
    let mut y = TOP;
    for (row, measured) in &rows {
        bars += &bar(row, *measured, y);
        y += LINE;
    }
    let bottom = y;
    let height = bottom + 42.0;
    let words: Vec<_> = rows
        .iter()
        .map(|(row, measured)| format!("{}: {}", row.name, row.shown(*measured)))
        .collect();
    let title = "The bundle compared with other programs";
    let payload = &report.payload;
    let about = format!(
        "{} of files at level {} on {}",
        bytes(payload.unpacked_bytes),
        payload.level,
        report.machine.processor
    );
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>{title}</title>\n<desc>{}. {}. Less than 1 is smaller or faster.</desc>\n<style>\n{STYLE}</style>\n",
        escaped(&about),
        escaped(&words.join("; "))
    );
    let _ = writeln!(
        text,
        "<text class=\"head\" x=\"8\" y=\"20\">{title}</text>\n<text class=\"small\" x=\"8\" y=\"38\">{}</text>",
        escaped(&about)
    );
    for (ratio, label) in [(0.0, "0"), (0.5, "0.5"), (1.0, "1 = the other program")] {
        let x = NAMES + ratio * ONE;
        let _ = writeln!(
            text,
            "<line class=\"axis\" x1=\"{x}\" y1=\"{TOP}\" x2=\"{x}\" y2=\"{bottom}\"/>\n\
             <text class=\"small\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{label}</text>",
            bottom + 14.0
        );
    }
    text += &bars;
    let _ = writeln!(
        text,
        "<text class=\"small\" x=\"8\" y=\"{}\">green: promise kept; orange: not kept; grey: nothing was promised; line: promised at most; dotted: wished</text>\n</svg>",
        bottom + 32.0
    );
    text
}

/// The name, the bar, the bounds and the figure of one ratio, with its top at `y`.
fn bar(row: &Promise, measured: f64, y: f64) -> String {
    let length = |ratio: f64| ratio.clamp(0.0, LONGEST) * ONE;
    let class = match row.holds {
        Some(true) => "kept",
        Some(false) => "short",
        None => "other",
    };
    let mut text = format!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\n\
         <rect class=\"{class}\" x=\"{NAMES}\" y=\"{}\" width=\"{:.1}\" height=\"{}\"/>\n",
        NAMES - 8.0,
        y + 16.0,
        escaped(&row.name),
        y + 5.0,
        length(measured),
        LINE - 10.0
    );
    for (ratio, class) in [(row.bound, "bound"), (row.stretch, "wish")] {
        if let Some(ratio) = ratio {
            let x = NAMES + length(ratio);
            let _ = writeln!(
                text,
                "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{}\"/>",
                y + 2.0,
                y + LINE - 2.0
            );
        }
    }
    // Behind the bar and its bounds, whichever is longer.
    let end = row.bound.map_or(0.0, length).max(length(measured));
    let cut = if measured > LONGEST { " →" } else { "" };
    let _ = writeln!(
        text,
        "<text x=\"{:.1}\" y=\"{}\">{}{cut}</text>",
        NAMES + end + 6.0,
        y + 16.0,
        row.shown(measured)
    );
    text
}

/// A text inside an element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart() -> String {
        let mut report = crate::report::example();
        report.machine.processor = "A <fast> & cheap one".to_owned();
        report.promises = crate::promises::compare(&report);
        svg(&report)
    }

    #[test]
    fn every_measured_ratio_has_a_bar_and_what_falls_short_is_seen() {
        let chart = chart();
        let count = |text: &str| chart.matches(text).count();
        assert_eq!(count("<rect "), 9);
        // .tbz holds, zstd holds, `tar xj` does not, `zstd | tar` does not.
        assert_eq!((count("\"kept\""), count("\"short\"")), (2, 2));
        assert_eq!((count("\"bound\""), count("\"wish\"")), (4, 3));
        // `cp -r` is twice as fast, and its bar is cut.
        assert_eq!(count("2.000 →"), 1);
        assert!(chart.contains("<title>") && chart.contains("install / cp -r: 2.000"));
    }

    #[test]
    fn it_is_well_formed() {
        let chart = chart();
        assert!(chart.contains("A &lt;fast&gt; &amp; cheap one"));
        let mut open = Vec::new();
        for piece in chart.split('<').skip(1) {
            let (tag, _) = piece.split_once('>').unwrap();
            if let Some(name) = tag.strip_prefix('/') {
                assert_eq!(open.pop(), Some(name));
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap());
                assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
            }
        }
        assert!(open.is_empty(), "{open:?}");
    }
}
