//! Data on stdout: tables for people, JSON for scripts.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::Value;

use crate::error::{Context, Result};

/// Writes text to stdout. A reader that has gone away, such as `head`, is no error.
pub(super) fn print(text: &str) -> Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout
        .write_all(text.as_bytes())
        .and_then(|()| stdout.flush())
    {
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.about(|| "stdout"),
    }
}

/// Writes an object to stdout, with sorted keys.
pub(super) fn print_json(value: &Value) -> Result<()> {
    print(&format!("{value:#}\n"))
}

/// Rows of cells as aligned columns. Columns whose every cell below the first row begins with a digit are numbers
/// and go to the right.
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let cells = |column: usize| rows.iter().filter_map(move |row| row.get(column));
    let number = |cell: &String| cell.starts_with(|c: char| c.is_ascii_digit());
    let shape: Vec<_> = (0..columns)
        .map(|column| {
            let width = cells(column).map(|c| c.chars().count()).max().unwrap_or(0);
            (width, cells(column).skip(1).all(number))
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (cell, (width, right)) in row.iter().zip(&shape) {
            let _ = match right {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
