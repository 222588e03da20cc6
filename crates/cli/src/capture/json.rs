//! A line of JSON for each packet, and one for the counts.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use byway_wire::capture::Interface;
use byway_wire::field::{Cell, Occurrence};
use byway_wire::{Direction, Frame, Named};
use serde::Serialize;
use serde_json::{Value, json};

use super::fields::Columns;
use super::sink::{Out, Seen, Sink};
use super::tally::Tally;

/// Stands between the values of a field; no value has it, as control characters are escaped.
const BETWEEN: u8 = 0x1e;

/// Objects on standard output.
pub(crate) struct Objects {
    out: Out,
    columns: Columns,
    names: BTreeMap<IpAddr, String>,
    values: Vec<u8>,
}

#[derive(Serialize)]
struct Object<'a> {
    number: u64,
    /// In nanoseconds since 1970.
    time_ns: Option<u64>,
    interface: Option<&'a str>,
    direction: Option<&'static str>,
    length: u32,
    captured: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    destination: Option<IpAddr>,
    text: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    comments: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    fields: BTreeMap<&'static str, Vec<String>>,
}

impl Objects {
    pub(crate) fn new(out: Out, columns: Columns, names: BTreeMap<IpAddr, String>) -> Self {
        Self { out, columns, names, values: Vec::new() }
    }

    fn fields(&mut self, seen: &Seen<'_>) -> BTreeMap<&'static str, Vec<String>> {
        let (values, mut fields) = (&mut self.values, BTreeMap::new());
        self.columns.each(seen, |field, subject| {
            values.clear();
            let mut cell = Cell::new(values, Occurrence::All, BETWEEN);
            field.write(subject, &mut cell);
            if cell.count() > 0 {
                let list = values.split(|byte| *byte == BETWEEN);
                fields
                    .insert(field.name, list.map(|one| String::from_utf8_lossy(one).into_owned()).collect());
            }
        });
        fields
    }
}

impl Sink for Objects {
    fn learn(&mut self, names: &[(IpAddr, String)]) {
        self.names.extend(names.iter().cloned());
    }

    fn packet(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        let fields = if self.columns.is_empty() { BTreeMap::new() } else { self.fields(seen) };
        let packet = seen.frame().and_then(Frame::packet);
        let object = Object {
            number: seen.number,
            time_ns: seen.record.time_ns,
            interface: seen.interface.name.as_deref(),
            direction: seen.direction().map(|direction| match direction {
                Direction::In => "in",
                Direction::Out => "out",
            }),
            length: seen.record.original_len,
            captured: seen.record.bytes.len(),
            source: packet.map(|packet| packet.source),
            destination: packet.map(|packet| packet.destination),
            text: seen.frame().map(|frame| Named { frame, names: &self.names }.to_string()),
            comments: seen
                .record
                .comments
                .iter()
                .map(|text| String::from_utf8_lossy(text).into_owned())
                .collect(),
            fields,
        };
        serde_json::to_writer(&mut self.out.buffer, &object)?;
        self.out.buffer.push(b'\n');
        self.out.complete()
    }

    fn pause(&mut self, _: &[Interface]) -> io::Result<()> {
        self.out.flush()
    }

    fn end(&mut self, _: &[Interface], _: Option<u64>) -> io::Result<()> {
        self.out.flush()
    }

    fn unwritten(&self) -> u64 {
        self.out.unwritten()
    }
}

/// The last line: the counts, and what could not be read.
pub(crate) fn print_summary(tally: &Tally, troubles: &[Value]) -> anyhow::Result<()> {
    let mut summary = serde_json::to_value(tally)?;
    summary["errors"] = json!(troubles);
    crate::show::print(&format!("{}\n", json!({ "summary": summary })));
    Ok(())
}
