//! Any bytes as a value of any type and as a text of any character set: a literal or nothing, and one clean line.

#![no_main]

use byway_wire::mysql::text::{self, Charset};
use byway_wire::mysql::value::{self, Raw, Server, Writing, Written};
use byway_wire::sql::{Backslashes, Kind, Tokens};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some(([kind, collation, flags], bytes)) = bytes.split_first_chunk::<3>() else { return };
    let charset = Charset::of_collation(u16::from(*collation));
    let backslashes = if flags & 1 == 0 { Backslashes::Escape } else { Backslashes::Plain };
    let server = if flags & 2 == 0 { Server::MariaDb } else { Server::MySql };
    let writing = Writing { server, charset, backslashes };
    let unsigned = flags & 4 == 0;

    let mut out = Vec::new();
    let length = value::length(*kind, bytes);
    let whole = &bytes[..length.unwrap_or(bytes.len())];
    let raw = Raw::Value { kind: *kind, unsigned, bytes: whole };
    let written = value::literal(raw, writing, &mut out);
    assert_eq!(written == Written::Nothing, out.is_empty(), "a literal or nothing");
    assert!(length.is_some() || written == Written::Nothing, "no value without a length");

    out.clear();
    value::literal(Raw::Long { bytes, cut: false }, writing, &mut out);
    let readable = Writing { charset: Charset::Binary, ..writing };
    let mut plain = Vec::new();
    value::literal(Raw::Long { bytes, cut: false }, readable, &mut plain);
    let mut tokens = Tokens::new(&plain, backslashes);
    assert!(tokens.next().is_some_and(|token| token.kind == Kind::String && token.end == plain.len()));

    out.clear();
    let parameters = [Some(raw), None, Some(Raw::Null)];
    let filled = value::substitute(bytes, parameters, writing, &mut out);
    assert!(filled.left + filled.beyond <= bytes.len() + parameters.len());

    for write in [text::print, text::tshark, |bytes: &[u8], charset, out: &mut Vec<u8>| {
        text::json("q", bytes, charset, out)
    }] {
        out.clear();
        write(bytes, charset, &mut out);
        let line = std::str::from_utf8(&out).expect("every form is UTF-8");
        assert!(!line.chars().any(char::is_control), "one clean line");
    }
    let decoded = charset.decode(bytes);
    assert!(decoded.len() <= bytes.len() * 3);
});
