//! How things look: tables, colours on a terminal only, and errors that say what to do.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use comfy_table::{Table, presets};
use serde::Serialize;

pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
pub(crate) const LOOK: Style = AnsiColor::Yellow.on_default();
pub(crate) const HEAD: Style = Style::new().bold();
pub(crate) const FAINT: Style = Style::new().dimmed();

/// Text in a style; the style vanishes where the output is no terminal.
pub(crate) fn styled(style: Style, text: impl std::fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Writes to standard output, with colours on a terminal only.
pub(crate) fn print(text: &str) {
    // Nobody is left to tell that nobody listens.
    let _ = anstream::stdout().write_all(text.as_bytes());
}

/// Writes to standard error what is said beside an output for programs.
pub(crate) fn print_aside(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}

/// How many columns the page has; as many as wanted where the output is no terminal.
pub(crate) fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stdout()).map_or(usize::MAX, |(width, _)| usize::from(width.0))
}

/// Prints a value for programs.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&(serde_json::to_string_pretty(value)? + "\n"));
    Ok(())
}

/// A table without borders, its columns aligned.
pub(crate) fn table<const N: usize>(head: [&str; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(head);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

/// A duration with its unit.
pub(crate) fn duration(ns: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "shown with two decimals")]
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..1_000_000 => (ns as f64 / 1e3, "µs"),
        1_000_000..1_000_000_000 => (ns as f64 / 1e6, "ms"),
        _ => (ns as f64 / 1e9, "s"),
    };
    format!("{value:.2} {unit}")
}
