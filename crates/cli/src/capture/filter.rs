//! `-f` on files: the filter runs here, compiled for each kind of link that is met.

use std::collections::BTreeMap;

use byway_agent::edge::pcap_filter::{Dlt, FilterError, Program, SNAPLEN_MAX, compile};
use byway_wire::capture::{Interface, Record};

/// A filter in tcpdump's words.
pub(crate) struct Filter<'a> {
    text: &'a str,
    /// By link type; there are as many as libpcap knows, some hundred.
    programs: BTreeMap<u16, Program>,
}

impl<'a> Filter<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, programs: BTreeMap::new() }
    }

    /// Whether it takes a packet; a filter that means nothing for such a link is an error.
    pub(crate) fn takes(
        &mut self,
        record: &Record<'_>,
        interfaces: &[Interface],
    ) -> Result<bool, FilterError> {
        let Some(interface) = interfaces.get(record.interface) else { return Ok(false) };
        // What does not fit is no link type that anybody has given out.
        let link = u16::try_from(interface.link).unwrap_or(u16::MAX);
        if !self.programs.contains_key(&link) {
            self.programs.insert(link, compile(self.text, Dlt::of_file(link), SNAPLEN_MAX)?);
        }
        let program = self.programs.get(&link);
        Ok(program.is_some_and(|program| program.matches(record.bytes, record.original_len) > 0))
    }
}
