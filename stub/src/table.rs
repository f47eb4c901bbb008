//! Tables for people: both programs print theirs in this one way. The first row has the names of the columns, in lower case.

use std::fmt::Write as _;

/// Formats rows of cells as aligned columns. `numbers` has the indices of the columns to align to the right.
#[must_use]
pub fn table(rows: &[impl AsRef<[String]>], numbers: &[usize]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.as_ref().get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let columns = rows.iter().map(|row| row.as_ref().len()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (cell, width)) in row.as_ref().iter().zip(&widths).enumerate() {
            let _ = if numbers.contains(&column) {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows = [["component", "size"], ["étcd", "9 B"], ["x", ""]];
        let rows = rows.map(|row| row.map(str::to_owned));
        assert_eq!(table(&rows, &[1]), "component  size\nétcd        9 B\nx\n");
        let none: [[String; 2]; 0] = [];
        assert_eq!(table(&none, &[]), "");
    }
}
