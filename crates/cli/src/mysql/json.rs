//! A line of JSON for each statement, for what is told of connections, and at the end for what there was.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use byway_fabric::mysql::spoken::{Counts, Reply, Spoken};
use byway_wire::mysql::text::{Charset, json, json_base64, json_characters, parts};
use serde::Serialize;
use serde_json::Value;

use super::ear::Show;
use super::missed::Missed;
use super::note::Note;
use crate::capture::sink::Out;

/// Objects on standard output.
pub(super) struct Objects {
    out: Out,
    names: BTreeMap<IpAddr, String>,
}

#[derive(Serialize)]
struct End {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    address: IpAddr,
    port: u16,
}

/// Whatever has no text of the wire in it.
#[derive(Serialize)]
struct Head<'a> {
    kind: &'a str,
    /// In nanoseconds since 1970.
    time_ns: Option<u64>,
    connection: u64,
    client: End,
    server: End,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<&'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    attributes: &'a BTreeMap<String, String>,
}

#[derive(Serialize)]
struct Tail {
    command: &'static str,
    outcome: &'static str,
    rows: u64,
    columns: u64,
    row_bytes: u64,
    results: u32,
    affected: u64,
    insert_id: u64,
    warnings: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    local_infile_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<u16>,
    #[serde(skip_serializing_if = "is_zero")]
    bulk_rows: u64,
    /// To the first byte of the answer, to its last, and to its first nearest to the server.
    first_ns: Option<u64>,
    whole_ns: Option<u64>,
    server_ns: Option<u64>,
    network_ns: Option<u64>,
    points: u32,
    certain: bool,
    /// User, database and character set, if something was lost that may have changed them.
    #[serde(skip_serializing_if = "Option::is_none")]
    context: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    doubts: Vec<&'static str>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

impl Objects {
    pub(super) fn new(out: Out, names: BTreeMap<IpAddr, String>) -> Self {
        Self { out, names }
    }

    fn address(&self, address: SocketAddr) -> End {
        End { name: self.names.get(&address.ip()).cloned(), address: address.ip(), port: address.port() }
    }

    /// Writes the members of an object without its braces.
    fn members(&mut self, object: &impl Serialize) -> io::Result<()> {
        let text = serde_json::to_string(object)?;
        self.out.buffer.extend_from_slice(&text.as_bytes()[1..text.len() - 1]);
        Ok(())
    }

    fn text(&mut self, name: &str, bytes: &[u8], charset: Charset) {
        json(name, bytes, charset, &mut self.out.buffer);
        self.out.buffer.push(b',');
    }

    /// As `text`, but it may be long.
    fn statement(&mut self, bytes: &[u8], charset: Charset) -> io::Result<()> {
        self.out.buffer.extend_from_slice(b"\"statement\":\"");
        let mut is_whole = true;
        for part in parts(bytes) {
            is_whole &= json_characters(part, charset, &mut self.out.buffer);
            self.out.make_room()?;
        }
        self.out.buffer.push(b'"');
        if !is_whole {
            json_base64("statement", bytes, &mut self.out.buffer);
        }
        self.out.buffer.push(b',');
        Ok(())
    }

    fn bulk(&mut self, spoken: &Spoken<'_>) {
        if spoken.bulk.is_empty() {
            return;
        }
        self.out.buffer.extend_from_slice(b"\"bulk\":[");
        for (nth, row) in spoken.bulk.iter().enumerate() {
            self.out.buffer.extend_from_slice(if nth == 0 { b"{" } else { b",{" });
            json("values", row, spoken.writing.charset, &mut self.out.buffer);
            self.out.buffer.push(b'}');
        }
        self.out.buffer.extend_from_slice(b"],");
    }
}

impl Show for Objects {
    fn spoken(&mut self, spoken: &Spoken<'_>) -> io::Result<()> {
        let (client, server) = (self.address(spoken.peers.client), self.address(spoken.peers.server));
        let (time_ns, connection) = (Some(spoken.time_ns), spoken.peers.number);
        let attributes = &BTreeMap::new();
        self.out.buffer.push(b'{');
        self.members(&Head {
            kind: "statement",
            time_ns,
            connection,
            client,
            server,
            text: None,
            attributes,
        })?;
        self.out.buffer.push(b',');
        for (name, value) in [("user", &spoken.user), ("database", &spoken.database)] {
            if let Some(value) = value {
                self.text(name, value, Charset::default());
            }
        }
        self.statement(&spoken.text, spoken.writing.charset)?;
        self.bulk(spoken);
        if let Reply::Error { state, message, .. } = &spoken.reply {
            self.text("sqlstate", state, Charset::default());
            self.text("message", message, Charset::default());
        }
        self.members(&tail(spoken))?;
        self.out.buffer.extend_from_slice(b"}\n");
        self.out.complete()
    }

    fn note(&mut self, note: &Note) -> io::Result<()> {
        let (client, server) = (self.address(note.peers.client), self.address(note.peers.server));
        let text = Some(note.text.as_str());
        let (kind, connection) = (note.kind, note.peers.number);
        serde_json::to_writer(
            &mut self.out.buffer,
            &Head {
                kind,
                time_ns: note.time_ns,
                connection,
                client,
                server,
                text,
                attributes: &note.attributes,
            },
        )?;
        self.out.buffer.push(b'\n');
        self.out.complete()
    }

    fn learn(&mut self, names: &[(IpAddr, String)]) {
        self.names.extend(names.iter().cloned());
    }

    fn pause(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn tail(spoken: &Spoken<'_>) -> Tail {
    let (outcome, counts, error) = match &spoken.reply {
        Reply::Ok(counts) => ("ok", *counts, None),
        Reply::Error { code, .. } => ("error", Counts::default(), Some(*code)),
        Reply::NotDue => ("none due", Counts::default(), None),
        Reply::Unseen => ("unseen", Counts::default(), None),
    };
    let timing = &spoken.timing;
    let doubts: Vec<_> = spoken.doubts().collect();
    Tail {
        command: spoken.command.name(),
        outcome,
        rows: counts.rows,
        columns: counts.columns,
        row_bytes: counts.row_bytes,
        results: counts.results,
        affected: counts.affected,
        insert_id: counts.insert_id,
        warnings: counts.warnings,
        local_infile_bytes: counts.local_infile,
        error,
        bulk_rows: spoken.bulk_rows,
        first_ns: timing.first_ns,
        whole_ns: timing.whole_ns,
        server_ns: timing.server_ns,
        network_ns: timing.network_ns(),
        points: timing.points,
        certain: doubts.is_empty(),
        context: spoken.is_context_inferred().then_some("inferred"),
        doubts,
    }
}

/// The last object: what there was, what was missed, and what failed.
pub(super) fn print_summary(missed: &Missed, troubles: &[Value]) -> anyhow::Result<()> {
    let mut summary = serde_json::to_value(missed)?;
    summary["kind"] = "summary".into();
    if !troubles.is_empty() {
        summary["troubles"] = troubles.into();
    }
    crate::show::print(&format!("{summary}\n"));
    Ok(())
}
