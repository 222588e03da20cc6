//! The table: numbers to the right, and behind them as much of the statements as there is room for.

use byway_fabric::mysql::digest::{By, Digests, Figures, Others, Row};
use comfy_table::{CellAlignment, Table, presets};
use unicode_width::UnicodeWidthChar;

use super::{Options, shown, whose};
use crate::show::{FAINT, duration, styled};

/// Columns that a statement gets, however narrow the page is.
const STATEMENT_COLUMNS_MIN: usize = 20;

/// The numbers of a line.
type Cells = [String; 11];

const HEAD_CELLS: [&str; 11] =
    ["#", "SHARE", "TIME", "COUNT", "PER S", "MEDIAN", "95 %", "99 %", "MAX", "ROWS", "ERRORS"];

/// A line of the table.
pub(super) struct Line {
    cells: Cells,
    whose: String,
    statement: String,
    is_faint: bool,
}

impl Line {
    pub(super) fn of(row: &Row<'_>, digests: &Digests, options: &Options<'_>) -> Self {
        Self {
            cells: cells(row.rank.to_string(), row.share, row.group.figures(), digests),
            whose: whose(row.group.whose(), options.names),
            statement: shown(row.group.fingerprint()),
            is_faint: false,
        }
    }

    pub(super) fn of_others(others: &Others, digests: &Digests) -> Self {
        let noun = if others.groups == 1 { "other" } else { "others" };
        let statement = match others.given_up {
            0 => format!("{} {noun}", others.groups),
            given_up => format!("{} {noun}, and {given_up} that were given up", others.groups),
        };
        let cells = cells(String::new(), others.share, &others.figures, digests);
        Self { cells, whose: String::new(), statement, is_faint: true }
    }
}

fn cells(rank: String, share: f64, figures: &Figures, digests: &Digests) -> Cells {
    let times = &figures.times;
    let time = |ns: Option<u64>| ns.map_or_else(|| "-".to_owned(), duration);
    [
        rank,
        format!("{:.1} %", share * 100.0),
        duration(times.sum_ns()),
        figures.count.to_string(),
        digests.per_second(figures).map_or_else(|| "-".to_owned(), rate),
        time(times.percentile_ns(50)),
        time(times.percentile_ns(95)),
        time(times.percentile_ns(99)),
        time(times.max_ns()),
        figures.rows.to_string(),
        figures.errors.to_string(),
    ]
}

/// All lines, and the head above them.
pub(super) fn table(by: By, lines: &[Line], width: usize) -> String {
    let name = match by {
        By::Nothing => "",
        By::Database => "DATABASE",
        By::User => "USER",
        By::Client => "CLIENT",
        By::Server => "SERVER",
    };
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(HEAD_CELLS.into_iter().chain([name]));
    for line in lines {
        table.add_row(line.cells.iter().map(String::as_str).chain([line.whose.as_str()]));
    }
    for (nth, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, 2));
        if nth < HEAD_CELLS.len() {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let statements = std::iter::once(("STATEMENT", false));
    let statements = statements.chain(lines.iter().map(|line| (line.statement.as_str(), line.is_faint)));
    let numbers: Vec<String> = table.lines().collect();
    let mut text = String::new();
    for (numbers, (statement, is_faint)) in numbers.iter().zip(statements) {
        let numbers = if by == By::Nothing { numbers.trim_end().to_owned() + "  " } else { numbers.clone() };
        let room = width.saturating_sub(columns(&numbers)).max(STATEMENT_COLUMNS_MIN);
        let line = numbers + &cut(statement, room);
        text += &if is_faint { styled(FAINT, line) } else { line };
        text.push('\n');
    }
    text
}

/// With three digits or so.
pub(super) fn rate(per_second: f64) -> String {
    match per_second {
        100.0.. => format!("{per_second:.0}"),
        10.0.. => format!("{per_second:.1}"),
        _ => format!("{per_second:.2}"),
    }
}

fn columns(text: &str) -> usize {
    text.chars().filter_map(UnicodeWidthChar::width).sum()
}

/// As much as there is room for; `…` stands for what there is none for.
pub(super) fn cut(text: &str, room: usize) -> String {
    if columns(text) <= room {
        return text.to_owned();
    }
    let mut left = room.saturating_sub(1);
    let fits = |character: &char| {
        let width = character.width().unwrap_or(0);
        let fits = width <= left;
        left = left.saturating_sub(width);
        fits
    };
    text.chars().take_while(fits).chain(['…']).collect()
}
