//! The fields of `-e`, as `tshark -T fields` prints them.

use std::io;

use byway_wire::capture::Interface;
use byway_wire::field::{Cell, FIELDS, Field, Flows, Layers, Occurrence, Subject, find};

use super::sink::{Out, Seen, Sink};
use crate::complaint::Advised;

/// The fields that are shown, and what it takes to know them.
pub(crate) struct Columns {
    fields: Vec<&'static Field>,
    layers: Layers,
    /// Only where a field needs to know earlier packets.
    flows: Option<Flows>,
}

impl Columns {
    pub(crate) fn of(names: &[String]) -> anyhow::Result<Self> {
        let fields = names.iter().map(|name| find(name).ok_or_else(|| unknown(name)));
        let fields = fields.collect::<Result<Vec<_>, _>>()?;
        let flows = fields.iter().any(|field| field.needs_flows()).then(Flows::new);
        Ok(Self { fields, layers: Layers::new(), flows })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// Shows every field of a packet to `write`.
    pub(crate) fn each(&mut self, seen: &Seen<'_>, mut write: impl FnMut(&Field, &Subject<'_>)) {
        self.layers.cut(
            seen.interface.link,
            seen.record.bytes,
            seen.record.original_len,
            seen.record.time_ns,
        );
        if let Some(flows) = &mut self.flows {
            flows.follow(&mut self.layers, seen.record.bytes);
        }
        let subject = Subject {
            bytes: seen.record.bytes,
            original_len: seen.record.original_len,
            number: seen.number,
            time_ns: seen.record.time_ns,
            first_ns: seen.first_ns,
            previous_ns: seen.previous_ns,
            interface: seen.interface.is_told.then_some(seen.record.interface),
            interface_name: seen.interface.name.as_deref(),
            comments: seen.record.comments,
            layers: &self.layers,
        };
        self.fields.iter().for_each(|field| write(field, &subject));
    }
}

/// How near a name must be to be what was meant.
const NEAR: f64 = 0.7;
/// How many near names are told.
const NEAREST_MAX: usize = 3;

fn unknown(name: &str) -> Advised {
    let mut near: Vec<(f64, &str)> = FIELDS
        .iter()
        .map(|field| (strsim::jaro_winkler(name, field.name), field.name))
        .filter(|(nearness, _)| *nearness > NEAR)
        .collect();
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    let near: Vec<&str> = near.into_iter().take(NEAREST_MAX).map(|(_, name)| name).collect();
    let all = "`byway capture --list-fields` lists all";
    let hint =
        if near.is_empty() { all.to_owned() } else { format!("did you mean {}? {all}", near.join(", ")) };
    Advised { what: format!("no field is called {name} here"), hint, cause: None }
}

/// How fields are printed: tshark's `-E`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Format {
    pub(crate) header: bool,
    pub(crate) separator: u8,
    pub(crate) aggregator: u8,
    pub(crate) occurrence: Occurrence,
    pub(crate) quote: Option<u8>,
}

impl Format {
    pub(crate) fn of(options: &[String]) -> anyhow::Result<Self> {
        let plain = Self {
            header: false,
            separator: b'\t',
            aggregator: b',',
            occurrence: Occurrence::All,
            quote: None,
        };
        let format = options.iter().try_fold(plain, |format, option| format.with(option).ok_or(option));
        Ok(format.map_err(|option| Advised {
            what: format!("-E {option} is not known"),
            hint: "header=y|n, separator=/t|/s|CHARACTER, aggregator=/s|CHARACTER, occurrence=f|l|a, quote=d|s|n"
                .to_owned(),
            cause: None,
        })?)
    }

    fn with(self, option: &str) -> Option<Self> {
        Some(match option.split_once('=')? {
            ("header", "y") => Self { header: true, ..self },
            ("header", "n") => Self { header: false, ..self },
            ("separator", value) => Self { separator: character(value)?, ..self },
            ("aggregator", value) => Self { aggregator: character(value)?, ..self },
            ("occurrence", "f") => Self { occurrence: Occurrence::First, ..self },
            ("occurrence", "l") => Self { occurrence: Occurrence::Last, ..self },
            ("occurrence", "a") => Self { occurrence: Occurrence::All, ..self },
            ("quote", "d") => Self { quote: Some(b'"'), ..self },
            ("quote", "s") => Self { quote: Some(b'\''), ..self },
            ("quote", "n") => Self { quote: None, ..self },
            _ => return None,
        })
    }
}

fn character(value: &str) -> Option<u8> {
    match value.as_bytes() {
        b"/t" => Some(b'\t'),
        b"/s" => Some(b' '),
        [one] => Some(*one),
        _ => None,
    }
}

/// A line of fields for each packet.
pub(crate) struct Table {
    out: Out,
    columns: Columns,
    format: Format,
}

impl Table {
    pub(crate) fn new(mut out: Out, columns: Columns, format: Format) -> Self {
        if format.header {
            for (nth, field) in columns.fields.iter().enumerate() {
                if nth > 0 {
                    out.buffer.push(format.separator);
                }
                out.buffer.extend_from_slice(field.name.as_bytes());
            }
            out.buffer.push(b'\n');
        }
        Self { out, columns, format }
    }
}

impl Sink for Table {
    fn packet(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        let (line, format) = (&mut self.out.buffer, self.format);
        let mut is_first = true;
        self.columns.each(seen, |field, subject| {
            if !is_first {
                line.push(format.separator);
            }
            is_first = false;
            write_cell(line, format, field, subject);
        });
        line.push(b'\n');
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

/// A field without a value has no quotes either.
fn write_cell(line: &mut Vec<u8>, format: Format, field: &Field, subject: &Subject<'_>) {
    let start = line.len();
    line.extend(format.quote);
    let mut cell = Cell::new(line, format.occurrence, format.aggregator);
    field.write(subject, &mut cell);
    if cell.count() == 0 {
        line.truncate(start);
    } else {
        line.extend(format.quote);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_field_is_told_with_the_nearest() {
        let error = Columns::of(&["ip.scr".to_owned()]).err().unwrap();
        let advised = error.downcast_ref::<Advised>().unwrap();
        assert_eq!(advised.what, "no field is called ip.scr here");
        assert!(advised.hint.starts_with("did you mean ip.src"), "{}", advised.hint);
    }

    #[test]
    fn what_is_no_option_of_fields_is_refused() {
        for option in ["quote", "quote=x", "separator=ab", "separator=", "header=yes", "bom=y"] {
            assert!(Format::of(&[option.to_owned()]).is_err(), "{option}");
        }
        let format = Format::of(&["separator=,".to_owned(), "quote=d".to_owned()]).unwrap();
        assert_eq!((format.separator, format.quote), (b',', Some(b'"')));
    }
}
