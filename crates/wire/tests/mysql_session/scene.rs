//! A conversation as text, its bytes on the wire, and the events as text.
//!
//! Each line is one packet: `c` or `s`, what it is, and what it says. `drop` in front means that it is lost, `cut N` that only
//! its first N bytes, header included, were captured. Sequences count by themselves, from each command on; `S` begins the
//! answer to the next one of several commands. `c wait` lets a second go by.

use std::fmt::Write as _;

use byway_wire::mysql::value::Raw;
use byway_wire::mysql::{
    Answer, Capabilities, Event, Limits, MissedWhat, Outcome, Request, Role, ServerError, Session, Span,
    Start, Statement, Text, Watcher,
};
use byway_wire::stream::{Gap, Missing, Piece, Side};

/// One packet, and how many of its bytes are seen.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) role: Role,
    pub(crate) bytes: Vec<u8>,
    pub(crate) seen: usize,
}

pub(crate) fn packet(sequence: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_le_bytes();
    [&length[..3], &[sequence], payload].concat()
}

/// The packets of a scene.
pub(crate) fn packets(scene: &str) -> Vec<Sent> {
    let (mut sequence, mut sent) = (0_u8, Vec::new());
    for line in scene.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (seen, line) = match line.split_once(' ').unwrap() {
            ("drop", rest) => (0, rest),
            ("cut", rest) => {
                let (seen, rest) = rest.split_once(' ').unwrap();
                (seen.parse().unwrap(), rest)
            }
            _ => (usize::MAX, line),
        };
        let (who, what) = line.split_once(' ').unwrap();
        let role = if who == "c" { Role::Client } else { Role::Server };
        let is_command = role == Role::Client
            && !matches!(what.split(' ').next(), Some("login" | "tls" | "file" | "password"));
        if is_command || what.starts_with("greeting") {
            sequence = 0;
        }
        if who == "S" {
            sequence = 1;
        }
        if what == "wait" {
            sent.push(Sent { role, bytes: Vec::new(), seen: 0 });
            continue;
        }
        let bytes = packet(sequence, &payload(what));
        sequence = sequence.wrapping_add(1);
        let seen = seen.min(bytes.len());
        sent.push(Sent { role, bytes, seen });
    }
    sent
}

fn payload(line: &str) -> Vec<u8> {
    let (what, rest) = line.split_once(' ').unwrap_or((line, ""));
    let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty()).collect();
    let number = |nth: usize| words.get(nth).map_or(0, |word| word.parse::<u64>().unwrap());
    let text = |code: u8| [&[code], rest.as_bytes()].concat();
    match what {
        "greeting" => greeting(words[0]),
        "login" => login(&words),
        "tls" => login(&["", "", "+tls"])[..32].to_vec(),
        "ok" => [&[0][..], &lenenc(number(0)), &lenenc(number(1)), &[2, 0, 0, 0]].concat(),
        "more" => [&[0][..], &lenenc(number(0)), &lenenc(0), &[8, 0, 0, 0]].concat(),
        "okeof" => vec![0xfe, 0, 0, 2, 0, 0, 0],
        "eof" => vec![0xfe, 0, 0, u8::try_from(number(0)).unwrap(), 0],
        "error" => {
            let (code, message) = rest.split_once(' ').unwrap();
            [&[0xff][..], &code.parse::<u16>().unwrap().to_le_bytes(), b"#42000", message.as_bytes()].concat()
        }
        "progress" => [&[0xff, 0xff, 0xff][..], &[1, 1, 2, 0, 0, 0, 4], b"work"].concat(),
        "columns" => words.iter().map(|word| word.parse::<u8>().unwrap()).collect(),
        "column" => {
            [&[3][..], b"def", &[0, 0, 0], &lenenc_text(rest), &[0, 12, 45, 0, 0, 1, 0, 0, 3, 0, 0, 0, 0, 0]]
                .concat()
        }
        "row" => words.iter().flat_map(|word| lenenc_text(word)).collect(),
        "prepared" => prepared(number(0), number(1), number(2)),
        "switch" => [&[0xfe][..], rest.as_bytes(), b"\0saltsaltsaltsaltsalt\0"].concat(),
        "password" => b"SECRET".to_vec(),
        "file" | "string" => rest.as_bytes().to_vec(),
        "wants-file" => text(0xfb),
        "hex" => words.iter().flat_map(|word| hex(word)).collect(),
        "quit" => vec![1],
        "use" => text(2),
        "query" => text(3),
        "ping" => vec![14],
        "statistics" => vec![9],
        "reset" => vec![31],
        "prepare" => text(0x16),
        "close" => numbered(0x19, number(0)),
        "fetch" => [numbered(0x1c, number(0)), 2_u32.to_le_bytes().to_vec()].concat(),
        "long" => [numbered(0x18, number(0)), vec![0, 0], words[1].as_bytes().to_vec()].concat(),
        "execute" => [
            numbered(0x17, number(0)),
            vec![0, 1, 0, 0, 0],
            words[1..].iter().flat_map(|word| hex(word)).collect(),
        ]
        .concat(),
        "bulk" => {
            [numbered(0xfa, number(0)), words[1..].iter().flat_map(|word| hex(word)).collect()].concat()
        }
        "user" => [&[0x11][..], rest.as_bytes(), b"\0\x06SECRETshop\0", &[45, 0]].concat(),
        other => panic!("nothing is called {other}"),
    }
}

fn numbered(code: u8, id: u64) -> Vec<u8> {
    // `4294967295` is MariaDB's "the last one".
    [&[code][..], &u32::try_from(id).unwrap().to_le_bytes()].concat()
}

fn prepared(id: u64, columns: u64, place_holders: u64) -> Vec<u8> {
    let small = |number: u64| u16::try_from(number).unwrap().to_le_bytes();
    [&[0][..], &u32::try_from(id).unwrap().to_le_bytes(), &small(columns), &small(place_holders), &[0, 0, 0]]
        .concat()
}

fn greeting(version: &str) -> Vec<u8> {
    let flags = !u32::from(version.contains("Maria"));
    let (low, high) = (flags.to_le_bytes(), 0x1f_u32.to_le_bytes());
    [
        &[10][..],
        version.as_bytes(),
        &[0, 7, 0, 0, 0],
        b"saltsalt\0",
        &low[..2],
        &[45, 2, 0],
        &low[2..],
        &[21, 0, 0, 0, 0, 0, 0],
        &high,
        b"saltsaltsalt\0mysql_native_password\0",
    ]
    .concat()
}

fn login(words: &[&str]) -> Vec<u8> {
    let mut flags =
        Capabilities::PROTOCOL_41.0 | Capabilities::SECURE_CONNECTION.0 | Capabilities::CONNECT_WITH_DB.0;
    for word in &words[2..] {
        flags |= match *word {
            "+deprecate_eof" => Capabilities::DEPRECATE_EOF.0,
            "+attributes" => Capabilities::QUERY_ATTRIBUTES.0 | 1,
            "+zlib" => Capabilities::COMPRESS.0,
            "+zstd" => Capabilities::ZSTD_COMPRESSION.0,
            "+tls" => Capabilities::SSL.0,
            other => panic!("no flag is called {other}"),
        };
    }
    let flags = u32::try_from(flags).unwrap().to_le_bytes();
    [
        &flags[..],
        &[0, 0, 0, 1, 45],
        &[0; 23],
        words[0].as_bytes(),
        b"\0\x06SECRET",
        words[1].as_bytes(),
        b"\0",
    ]
    .concat()
}

fn lenenc(number: u64) -> Vec<u8> {
    match u8::try_from(number) {
        Ok(small @ ..=250) => vec![small],
        _ => [&[0xfc][..], &u16::try_from(number).unwrap().to_le_bytes()].concat(),
    }
}

fn lenenc_text(text: &str) -> Vec<u8> {
    [lenenc(text.len() as u64), text.as_bytes().to_vec()].concat()
}

fn hex(word: &str) -> Vec<u8> {
    let pairs = word.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

/// What a connection tells of packets, each of them a segment of its own; the server is the second side.
pub(crate) fn watched(sent: &[Sent], told: bool) -> String {
    let mut watcher = Watcher::new(Limits::default(), told.then_some(Side::Second));
    let (mut offsets, mut story) = ([0_u64; 2], String::new());
    let mut emit = |_: Side, event: Event<'_>| tell(&event, &mut story);
    let mut pauses = 0;
    for (time, Sent { role, bytes, seen }) in sent.iter().enumerate() {
        pauses += u64::from(bytes.is_empty());
        let side = if *role == Role::Client { Side::First } else { Side::Second };
        let offset = &mut offsets[usize::from(*role == Role::Server)];
        let time_ns = time as u64 * 1000 + pauses * 1_000_000_000;
        if *seen > 0 {
            let piece = Piece { bytes: &bytes[..*seen], offset: *offset, time_ns, starts_segment: true };
            watcher.piece(side, &piece, &mut emit);
        }
        if *seen < bytes.len() {
            let why = if *seen == 0 { Missing::Lost } else { Missing::Cut };
            let missing = (bytes.len() - seen) as u64;
            watcher.gap(side, &Gap { missing, offset: *offset + *seen as u64, time_ns, why }, &mut emit);
        }
        *offset += bytes.len() as u64;
    }
    watcher.end(&mut emit);
    story
}

/// What a session tells of pieces of the given lengths; times are not told.
pub(crate) fn split(sent: &[Sent], lengths: &[usize]) -> String {
    let mut session = Session::new(Limits::default(), Start::Greeting);
    let (mut offsets, mut story) = ([0_u64; 2], String::new());
    let mut emit = |event: Event<'_>| tell(&event, &mut story);
    let mut lengths = lengths.iter().copied().cycle();
    for Sent { role, bytes, .. } in sent {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let (bytes, behind) = rest.split_at(lengths.next().unwrap_or(1).clamp(1, rest.len()));
            let offset = &mut offsets[usize::from(*role == Role::Server)];
            session.piece(
                *role,
                &Piece { bytes, offset: *offset, time_ns: 0, starts_segment: false },
                &mut emit,
            );
            *offset += bytes.len() as u64;
            rest = behind;
        }
    }
    session.end(&mut emit);
    story
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}

/// An event as a line.
pub(crate) fn tell(event: &Event<'_>, out: &mut String) {
    let line = match event {
        Event::Greeting(greeting, _) => format!("greeting {}", lossy(greeting.version)),
        Event::Login(login, _) => format!("login {} to {}", lossy(login.user), lossy(login.database)),
        Event::LoggedIn(logged_in, _) => match logged_in.refused {
            Some(error) => format!("refused {}", refusal(&error)),
            None => format!("logged in by {} in {}", lossy(logged_in.plugin), logged_in.rounds),
        },
        Event::Encrypted(from) => format!("encrypted from {} and {}", from.client_from, from.server_from),
        Event::Compressed(compression) => format!("compressed {compression:?}"),
        Event::Asked(_) => return,
        Event::Statement(statement) => told(statement),
        Event::Unasked(error, _) => format!("unasked {}", refusal(error)),
        Event::Missed(missed) => {
            let what = match missed.what {
                MissedWhat::Gap(why) => format!("{why:?}"),
                other => format!("{other:?}"),
            };
            format!("missed {} bytes of the {:?}: {what}", missed.bytes, missed.role)
        }
    };
    writeln!(out, "{line}").unwrap();
}

fn refusal(error: &ServerError<'_>) -> String {
    format!("{} {}", error.code, lossy(error.message))
}

fn told(statement: &Statement<'_>) -> String {
    let database = statement.context.database.map_or_else(|| "?".to_owned(), lossy);
    let sureness =
        if statement.sureness.is_certain() { String::new() } else { format!(" [{}]", statement.sureness) };
    format!(
        "{database}: {} {}{}{sureness}",
        statement.command,
        said(&statement.request),
        answered(&statement.answer, statement.answered)
    )
}

fn shown(text: Text<'_>) -> String {
    let mut shown = lossy(text.bytes);
    for hole in text.holes {
        write!(shown, " <{} missing at {}>", hole.missing, hole.at).unwrap();
    }
    shown
}

fn said(request: &Request<'_>) -> String {
    let or_unknown = |text: Option<Text<'_>>| text.map_or_else(|| "?".to_owned(), shown);
    let values = |parameters: &byway_wire::mysql::Parameters<'_>| -> String {
        let each = parameters
            .iter()
            .map(|value| value.map_or_else(|| "!".to_owned(), |(name, raw)| lossy(name) + &value_of(raw)));
        each.collect::<Vec<_>>().join(", ")
    };
    match request {
        Request::Query { text, attributes } if attributes.count() > 0 => {
            format!("{} with {}", shown(*text), values(attributes))
        }
        Request::Query { text, .. } | Request::Name(text) => shown(*text),
        Request::Prepare { text, prepared } => {
            format!(
                "{} as {}",
                shown(*text),
                prepared.map_or_else(|| "nothing".to_owned(), |prepared| prepared.id.to_string())
            )
        }
        Request::Execute { id, text, parameters, .. } => {
            format!(
                "{id} {} ({})",
                or_unknown(*text),
                parameters.as_ref().map_or_else(|| "?".to_owned(), values)
            )
        }
        Request::Bulk { id, text, rows } => {
            let rows = rows.map(|rows| {
                rows.iter()
                    .map(|row| row.map_or_else(|| "!".to_owned(), |row| values(&row)))
                    .collect::<Vec<_>>()
            });
            format!("{id} {} {rows:?}", or_unknown(*text))
        }
        Request::Fetch { id, text, nth, rows, .. } => {
            format!("{id} {} no {nth}, {rows} rows so far", or_unknown(*text))
        }
        Request::LongData { id, parameter, length } => format!("{id} {parameter} {length} bytes"),
        Request::Id { id, text } => format!("{id} {}", or_unknown(*text)),
        Request::ChangeUser { user, database } => format!("to {} at {}", lossy(user), lossy(database)),
        Request::Number(number) => number.to_string(),
        Request::Rest(length) => format!("{length} bytes"),
    }
}

fn value_of(raw: Raw<'_>) -> String {
    match raw {
        Raw::Value { bytes, .. } => {
            bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
        }
        Raw::Long { bytes, .. } => format!("long {}", lossy(bytes)),
        other => format!("{other:?}"),
    }
}

fn answered(answer: &Answer<'_>, span: Option<Span>) -> String {
    let mut out = match answer.outcome {
        Outcome::Ok => " -> ok".to_owned(),
        Outcome::Error(error) => format!(" -> error {}", refusal(&error)),
        Outcome::Text(text) => format!(" -> {}", lossy(text)),
        Outcome::Stream => " -> a stream".to_owned(),
        Outcome::NotDue => return String::new(),
        Outcome::Unseen => " -> unseen".to_owned(),
    };
    for (number, name) in [
        (u64::from(answer.results).saturating_sub(1), "more results"),
        (answer.columns, "columns"),
        (answer.rows, "rows"),
        (answer.affected_rows, "affected"),
        (answer.last_insert_id, "is the id"),
        (u64::from(answer.progress_reports), "reports"),
    ] {
        if number > 0 {
            write!(out, ", {number} {name}").unwrap();
        }
    }
    if let Some(bytes) = answer.local_infile {
        write!(out, ", {bytes} bytes of a file").unwrap();
    }
    assert!(span.is_some() || answer.outcome == Outcome::Unseen, "what was seen has a place");
    out
}
