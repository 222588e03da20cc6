//! How many packets there were, and what is missing: said at the end, always.

use std::fmt;

use byway_wire::Body;
use byway_wire::capture::Interface;
use serde::Serialize;

use super::sink::Seen;

/// The counts of one capture.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Tally {
    /// Shown or written.
    pub(crate) shown: u64,
    /// Left out by the filter.
    pub(crate) filtered: u64,
    /// Of the shown, those of which not all bytes were kept.
    pub(crate) cut: u64,
    /// Of the shown, those that could not be read as anything; `None` if they were passed on unread.
    pub(crate) unreadable: Option<u64>,
    /// Lost while they were captured, by the capture's own counters; `None` if it tells nothing.
    pub(crate) dropped: Option<u64>,
    /// Came, and are neither shown nor lost: behind `--count`, or what could not be written.
    pub(crate) not_shown: u64,
}

impl Tally {
    /// Of nothing yet. `reads`: whether whoever takes the packets reads them.
    pub(crate) fn new(reads: bool) -> Self {
        Self { unreadable: reads.then_some(0), ..Self::default() }
    }

    pub(crate) fn note(&mut self, seen: &Seen<'_>) {
        self.shown += 1;
        self.cut += u64::from(seen.record.bytes.len() < seen.record.original_len as usize);
        if let Some(unreadable) = &mut self.unreadable {
            let is_read = seen.frame().is_some_and(|frame| !matches!(frame.body, Body::Unread(_)));
            *unreadable += u64::from(!is_read);
        }
    }

    /// Adds what the interfaces counted themselves, what was left in the source, and what the sink could not write.
    pub(crate) fn counted(&mut self, interfaces: &[Interface], left: u64, unwritten: u64) {
        self.shown = self.shown.saturating_sub(unwritten);
        self.not_shown = left.saturating_add(unwritten);
        let told = interfaces.iter().filter_map(|interface| interface.counts.dropped);
        self.dropped = told.reduce(u64::saturating_add);
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { shown, filtered, cut, unreadable, dropped, not_shown } = self;
        let packets = if *shown == 1 { "packet" } else { "packets" };
        write!(f, "{shown} {packets}, {filtered} filtered out, {cut} cut by the snap length")?;
        match dropped {
            Some(dropped) => write!(f, ", {dropped} lost in the capture")?,
            None => f.write_str(", losses not told by the capture")?,
        }
        if let Some(unreadable) = unreadable {
            write!(f, ", {unreadable} unreadable")?;
        }
        if *not_shown > 0 { write!(f, ", {not_shown} more came and are not shown") } else { Ok(()) }
    }
}
