//! All that is known of a group, and its slowest statement.

use byway_fabric::mysql::digest::{Digests, Row, Shown};
use byway_wire::sql;
use jiff::Timestamp;

use super::{Literals, Options, end, printed, rate, server_name, shown, whose};
use crate::show::{HEAD, duration, styled};

pub(super) fn text(row: &Row<'_>, digests: &Digests, options: &Options<'_>) -> String {
    let (group, figures) = (row.group, row.group.figures());
    let whose = whose(group.whose(), options.names);
    let whose = if whose.is_empty() { whose } else { format!("  {whose}") };
    let title = format!("{}  {}{whose}", row.rank, group.id());
    let mut text = format!("\n{}\n  {}\n", styled(HEAD, title), shown(group.fingerprint()));
    let noun = if figures.count == 1 { "statement" } else { "statements" };
    let mut counts = vec![format!("{} {noun}", figures.count)];
    counts.extend(digests.per_second(figures).map(|per_second| format!("{} per second", rate(per_second))));
    let optional = [
        (figures.errors, "failed"),
        (figures.unanswered, "without an answer"),
        (figures.doubtful, "in doubt"),
        (figures.rows, "rows"),
        (figures.affected, "rows changed"),
        (figures.bytes, "bytes of rows"),
    ];
    let optional = optional.into_iter().filter(|(count, _)| *count > 0);
    counts.extend(optional.map(|(count, what)| format!("{count} {what}")));
    text += &format!("  {}\n", counts.join(", "));
    text += &times(row);
    if let Some((first, last)) = figures.seen_ns {
        text += &format!("  from {} to {}\n", time(first, options), time(last, options));
    }
    text + &slowest(row, options)
}

fn times(row: &Row<'_>) -> String {
    let times = &row.group.figures().times;
    let all = [
        (times.min_ns(), "min"),
        (times.average_ns(), "mean"),
        (times.percentile_ns(50), "median"),
        (times.percentile_ns(95), "95 %"),
        (times.percentile_ns(99), "99 %"),
        (times.max_ns(), "max"),
    ];
    let told: Vec<_> =
        all.into_iter().filter_map(|(ns, what)| Some(format!("{what} {}", duration(ns?)))).collect();
    if told.is_empty() { String::new() } else { format!("  {}\n", told.join(", ")) }
}

fn slowest(row: &Row<'_>, options: &Options<'_>) -> String {
    let (time_ns, took_ns) = row.group.slowest_ns();
    let (client, server) = row.group.slowest_between();
    let took = took_ns.map_or_else(|| "no response time".to_owned(), duration);
    format!(
        "  the slowest: {took}, at {}, {} → {}\n    {}\n",
        time(time_ns, options),
        end(client, options.names),
        server_name(server, options.names),
        statement(row.group.slowest(), options.literals),
    )
}

/// A statement with its values, if these may be seen.
fn statement(text: &Shown, literals: Literals) -> String {
    let bytes = bytes(text, literals);
    let more = if text.is_cut() { format!("… ({} bytes in all)", text.length) } else { String::new() };
    printed(&bytes, text.charset) + &more
}

/// What of a statement may be seen.
pub(super) fn bytes(text: &Shown, literals: Literals) -> Vec<u8> {
    match literals {
        Literals::Shown => text.bytes.clone(),
        Literals::Masked => {
            let mut masked = Vec::new();
            sql::mask(&text.bytes, text.backslashes, &mut masked);
            masked
        }
    }
}

/// The date and time of day where the reader is.
fn time(ns: u64, options: &Options<'_>) -> String {
    let time = Timestamp::from_nanosecond(i128::from(ns)).ok();
    let zoned = time.map(|time| time.to_zoned(options.zone.clone()));
    zoned.map_or_else(|| ns.to_string(), |time| time.strftime("%Y-%m-%d %H:%M:%S%.6f").to_string())
}
