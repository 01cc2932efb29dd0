//! Columns for people.

use crate::failure::one_line;

/// Rows under a heading, each column as wide as its widest cell.
#[derive(Debug)]
pub(crate) struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(crate) fn new(heading: &[&str]) -> Self {
        Self {
            rows: vec![heading.iter().map(|cell| (*cell).to_owned()).collect()],
        }
    }

    /// Adds a row. Cells come from other people's records: what a terminal would obey is escaped.
    pub(crate) fn row(&mut self, cells: impl IntoIterator<Item = impl AsRef<str>>) {
        let cell = |cell: &str| match one_line(cell) {
            empty if empty.is_empty() => "-".to_owned(),
            text => text,
        };
        self.rows
            .push(cells.into_iter().map(|text| cell(text.as_ref())).collect());
    }

    /// The lines, without trailing white space.
    pub(crate) fn render(&self) -> String {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = String::new();
            for (cell, width) in row.iter().zip(&widths) {
                line.push_str(&format!("{cell:width$}   "));
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_cells_cannot_command_a_terminal() {
        let mut table = Table::new(&["NAME", "NODES"]);
        table.row(["orders", "2"]);
        table.row(["\u{1b}[2J", ""]);
        table.row(["ord\u{202e}sre", "1"]);
        assert_eq!(
            table.render(),
            "NAME             NODES\norders           2\n\\u{1b}[2J        -\nord\\u{202e}sre   1\n"
        );
    }
}
