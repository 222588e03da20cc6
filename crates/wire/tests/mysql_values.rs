//! Values of the binary protocol as literals, and texts as people, programs and tshark read them. Literals are what
//! MariaDB 10.11 wrote into its general log for the same bytes.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

use std::fmt::Write as _;

use byway_wire::mysql::text::{self, Charset};
use byway_wire::mysql::value::{self, LITERAL_BYTES_MAX, Raw, Server, Writing, Written};
use byway_wire::sql::Backslashes;
use proptest::prelude::*;

const TINY: u8 = 1;
const SHORT: u8 = 2;
const LONG: u8 = 3;
const FLOAT: u8 = 4;
const DOUBLE: u8 = 5;
const TIMESTAMP: u8 = 7;
const LONGLONG: u8 = 8;
const INT24: u8 = 9;
const DATE: u8 = 10;
const TIME: u8 = 11;
const DATETIME: u8 = 12;
const YEAR: u8 = 13;
const NEWDECIMAL: u8 = 246;
const BLOB: u8 = 252;
const VAR_STRING: u8 = 253;

#[test]
fn integers_have_a_sign_if_their_type_has() {
    check(TINY, false, "fb", "-5");
    check(TINY, true, "fa", "250");
    check(TINY, false, "80", "-128");
    check(SHORT, false, "0080", "-32768");
    check(SHORT, true, "ffff", "65535");
    check(LONG, false, "90eefeff", "-70000");
    check(LONG, true, "ffffffff", "4294967295");
    check(LONGLONG, false, "0000000000000080", "-9223372036854775808");
    check(LONGLONG, false, "ffffffffffffffff", "-1");
    check(LONGLONG, true, "ffffffffffffffff", "18446744073709551615");
    check(LONGLONG, false, "0000000000000000", "0");
}

#[test]
fn what_mariadb_takes_for_null_is_what_was_sent() {
    check(YEAR, true, "e807", "2024");
    check(INT24, false, "f9ffffff", "-7");
    check(16, false, "020102", "'\u{1}\u{2}'");
    check(255, false, "0178", "'x'");
}

#[test]
fn floats_have_the_digits_of_their_double() {
    let cases: &[(f32, &str)] = &[
        (0.0, "0"),
        (-0.0, "0"),
        (1.5, "1.5"),
        (0.1, "0.10000000149011612"),
        (std::f32::consts::PI, "3.1415927410125732"),
        (1e10, "10000000000"),
        (1e15, "999999986991104"),
        (1e16, "1.0000000272564224e16"),
        (1e-10, "0.0000000001000000013351432"),
        (1.175_494_4e-38, "1.1754943508222875e-38"),
        (f32::MAX, "3.4028234663852886e38"),
        (f32::NAN, "0"),
        (f32::INFINITY, "0"),
    ];
    for (number, expected) in cases {
        check(FLOAT, false, &hexadecimal(&number.to_le_bytes()), expected);
    }
}

#[test]
fn doubles_are_as_short_as_they_can_be() {
    let cases: &[(f64, &str)] = &[
        (0.1, "0.1"),
        (-0.1, "-0.1"),
        (1e14, "100000000000000"),
        (1e15, "1e15"),
        (1e18, "1e18"),
        (1e-15, "0.000000000000001"),
        (1e-16, "1e-16"),
        (123_456_789.123_456_79, "123456789.12345679"),
        (1_234_567_890_123_456.8, "1234567890123456.8"),
        (12_345_678_901_234_567_890.0, "1.2345678901234567e19"),
        (123_456_789_012_345_680.0, "1.2345678901234568e17"),
        (5e-324, "5e-324"),
        (f64::MAX, "1.7976931348623157e308"),
        (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
        (0.1 + 0.2, "0.30000000000000004"),
        (-1e-7, "-0.0000001"),
        (f64::NEG_INFINITY, "0"),
    ];
    for (number, expected) in cases {
        check(DOUBLE, false, &hexadecimal(&number.to_le_bytes()), expected);
    }
}

#[test]
fn dates_have_as_many_parts_as_were_sent() {
    check(DATE, false, "04 e807021d", "DATE'2024-02-29'");
    check(DATE, false, "00", "DATE'0000-00-00'");
    check(DATE, false, "07 e807021d010203", "DATE'2024-02-29'");
    check(14, false, "04 e807021d", "DATE'2024-02-29'");
    check(DATETIME, false, "00", "TIMESTAMP'0000-00-00 00:00:00'");
    check(DATETIME, false, "04 e807021d", "TIMESTAMP'2024-02-29 00:00:00'");
    check(DATETIME, false, "07 e807021d010203", "TIMESTAMP'2024-02-29 01:02:03'");
    check(DATETIME, false, "0b e807021d0102032d000000", "TIMESTAMP'2024-02-29 01:02:03.000045'");
    check(TIMESTAMP, false, "0b e807021d010203d0dd0600", "TIMESTAMP'2024-02-29 01:02:03.450000'");
}

#[test]
fn times_may_be_negative_and_long() {
    check(TIME, false, "00", "TIME'00:00:00'");
    check(TIME, false, "08 00 00000000 010203", "TIME'01:02:03'");
    check(TIME, false, "08 01 00000000 010203", "TIME'-01:02:03'");
    check(TIME, false, "08 01 03000000 010203", "TIME'-73:02:03'");
    check(TIME, false, "0c 01 02000000 010203 40e20100", "TIME'-49:02:03.123456'");
    check(TIME, false, "0c 00 22000000 163b3b 3f420f00", "TIME'838:59:59.999999'");
    check(TIME, false, "08 00 54010000 163b3b", "TIME'838:59:59'");
    check(TIME, false, "08 00 00000000 1c0203", "TIME'28:02:03'");
    check(TIME, false, "08 01 37000000 010203", "TIME'-838:59:59'");
    check(TIME, false, "08 01 00000000 000000", "TIME'-00:00:00'");
}

#[test]
fn what_is_no_date_is_what_the_server_makes_of_it() {
    check(DATE, false, "04 e8070d20", "DATE'0000-00-00'");
    check(DATE, false, "07 e807021e190203", "DATE'2024-02-30'");
    check(DATE, false, "04 00000101", "DATE'0000-01-01'");
    check(DATETIME, false, "07 e807021e190203", "TIMESTAMP'0000-00-00 00:00:00'");
    check(DATETIME, false, "0b e807021d01020340420f00", "TIMESTAMP'0000-00-00 00:00:00.000000'");
    check(DATETIME, false, "07 1027021e010203", "TIMESTAMP'0000-00-00 00:00:00'");
    check(TIME, false, "08 00 00000000 01ff03", "TIME'00:00:00'");
    check(TIME, false, "0c 00 00000000 010203 3fffffff", "TIME'00:00:00.000000'");
    check_nothing(DATE, "03 e80702");
    check_nothing(DATETIME, "05 e807021d01");
    check_nothing(TIME, "04 00000000");
}

#[test]
fn decimals_are_read_as_the_server_reads_them() {
    let cases = [
        ("123.4500", "123.4500"),
        ("-0.10", "-0.10"),
        ("00123.45", "123.45"),
        ("1e3", "1000"),
        (".5", "0.5"),
        ("+7.", "7"),
        ("abc", "0"),
        ("", "0"),
        ("-0", "0"),
        ("-0.00", "0.00"),
        ("12x", "12"),
        ("1.5e-3", "0.0015"),
        ("1.50e1", "15"),
        ("12e1", "120"),
        ("--1", "0"),
        ("1e", "1"),
        ("\t1", "1"),
        ("-0.001", "-0.001"),
        (".", "0"),
        ("1.2.3", "1.2"),
        ("1e-38", "0.00000000000000000000000000000000000001"),
        ("1e-90", "0"),
        ("1.50e-3", "0.0015"),
        ("100e-1", "10"),
        ("0.0e3", "0"),
        ("1.0e0", "1.0"),
        ("0.0010e2", "0.1"),
    ];
    for (sent, expected) in cases {
        check(NEWDECIMAL, false, &hexadecimal(&with_length(sent.as_bytes())), expected);
    }
    let nines = "9".repeat(65);
    for sent in ["9".repeat(90), "1e81".to_owned(), "1e90".to_owned()] {
        check(NEWDECIMAL, false, &hexadecimal(&with_length(sent.as_bytes())), &nines);
    }
    let long = format!("{}.{}", "1".repeat(40), "2".repeat(60));
    let cut = format!("{}.{}", "1".repeat(40), "2".repeat(36));
    check(NEWDECIMAL, false, &hexadecimal(&with_length(long.as_bytes())), &cut);
}

#[test]
fn strings_are_quoted_with_the_servers_escapes() {
    let sent = b"a'b\"c\\d\0e\nf\rg\x1ah\ti%_\x08;";
    let logged = b"'a\\'b\\\"c\\\\d\\0e\\nf\\rg\\Zh\ti%_\x08;'";
    for kind in [15, 245, 247, 248, 249, 250, 251, BLOB, VAR_STRING, 254] {
        assert_eq!(written(kind, &with_length(sent), Writing::default()), logged);
    }
    assert_eq!(written(VAR_STRING, &with_length("ä€😀".as_bytes()), Writing::default()), "'ä€😀'".as_bytes());
}

#[test]
fn half_a_character_is_escaped() {
    let of = |bytes: &[u8], name: &str| {
        let writing = Writing { charset: Charset::of_name(name), ..Writing::default() };
        written(VAR_STRING, &with_length(bytes), writing)
    };
    assert_eq!(of(b"a\xffb\xc3'", "utf8mb4"), b"'a\\\xffb\\\xc3\\''");
    assert_eq!(of(b"\xe2\x82A", "utf8mb4"), b"'\\\xe2\\\x82A'");
    assert_eq!(of(b"\xed\xa0\x80", "utf8mb4"), b"'\xed\xa0\x80'");
    assert_eq!(of("😀".as_bytes(), "utf8mb3"), b"'\\\xf0\\\x9f\\\x98\\\x80'");
    assert_eq!(of(b"\xff\xc3", "latin1"), b"'\xff\xc3'");
    assert_eq!(of(b"\x8f\xa1\xa1\x8f\xa1\x8e\xa1", "ujis"), b"'\x8f\xa1\xa1\\\x8f\\\xa1\x8e\xa1'");
    assert_eq!(of(b"\xe2\x82\xac", "euckr"), b"'\xe2\x82\\\xac'");
    assert_eq!(of(b"\xc3\xa4\xe2\x82", "gb2312"), b"'\xc3\xa4\\\xe2\\\x82'");
}

#[test]
fn where_a_backslash_may_be_half_a_character_strings_are_hexadecimal() {
    for name in ["gbk", "sjis", "big5"] {
        let writing = Writing { charset: Charset::of_name(name), ..Writing::default() };
        assert_eq!(written(VAR_STRING, &with_length(b"a'b"), writing), b"X'612762'");
        let writing = Writing { server: Server::MySql, ..writing };
        assert_eq!(written(VAR_STRING, &with_length(b"a'b"), writing), b"0x612762");
    }
}

#[test]
fn without_escapes_only_the_quote_is_doubled() {
    let writing = Writing { backslashes: Backslashes::Plain, ..Writing::default() };
    assert_eq!(written(VAR_STRING, &with_length(b"a\xffb\xc3'\\\n"), writing), b"'a\xffb\xc3''\\\n'");
}

#[test]
fn mysql_has_no_word_before_a_date() {
    let writing = Writing { server: Server::MySql, ..Writing::default() };
    assert_eq!(written(DATE, &bytes_of("04 e807021d"), writing), b"'2024-02-29'");
    assert_eq!(written(TIME, &bytes_of("00"), writing), b"'00:00:00'");
}

#[test]
fn an_unknown_type_is_not_guessed() {
    for kind in [17, 18, 19, 20, 100, 243, 244] {
        assert_eq!(value::length(kind, &[0; 32]), None);
        check_nothing(kind, "00");
    }
    check_nothing(LONG, "010203");
    check_nothing(VAR_STRING, "05 6162");
}

#[test]
fn a_long_value_is_cut_and_says_so() {
    let long = vec![b'x'; LITERAL_BYTES_MAX + 1];
    let mut out = Vec::new();
    let whole = Raw::Long { bytes: &long[1..], cut: false };
    assert_eq!(value::literal(whole, Writing::default(), &mut out), Written::Whole);
    assert_eq!(out.len(), LITERAL_BYTES_MAX + 2);
    for raw in [Raw::Long { bytes: &long, cut: false }, Raw::Long { bytes: b"x", cut: true }] {
        out.clear();
        assert_eq!(value::literal(raw, Writing::default(), &mut out), Written::Cut);
        assert!(out.ends_with(b"x'/* cut */"));
    }
}

#[test]
fn place_holders_become_literals_but_not_those_in_strings() {
    let five = Some(Raw::Value { kind: TINY, unsigned: false, bytes: &[5] });
    let text = "select '?', \"?\", `?`, ? /* ? */, ? -- ?";
    check_filled(text, &[five, Some(Raw::Null)], "select '?', \"?\", `?`, 5 /* ? */, NULL -- ?", (0, 0, 0));
    check_filled("? ?", &[five], "5 ?", (1, 0, 0));
    check_filled("? ?", &[None, five], "? 5", (1, 0, 0));
    check_filled("?", &[five, five, None], "5", (0, 0, 2));
    check_filled("(?,?)", &[Some(Raw::Default), Some(Raw::Ignore)], "(DEFAULT,IGNORE)", (0, 0, 0));
    check_filled("?", &[Some(Raw::Long { bytes: b"a", cut: true })], "'a'/* cut */", (0, 1, 0));
}

#[test]
fn a_place_holder_behind_a_character_with_a_backslash_is_found() {
    let writing = Writing { charset: Charset::of_name("sjis"), ..Writing::default() };
    let mut out = Vec::new();
    let filled = value::substitute(b"select '\x95\x5c', ?, '?'", [Some(Raw::Null)], writing, &mut out);
    assert!(filled.is_exact());
    assert_eq!(out, b"select '\x95\x5c', NULL, '?'");
}

#[test]
fn a_text_is_printed_in_one_line_without_anything_that_acts() {
    check_print(b"select 1", "utf8mb4", "select 1");
    check_print("select 'ä€😀'".as_bytes(), "utf8mb4", "select 'ä€😀'");
    check_print(b"a\nb\tc\rd\\n\0e\x1b[2Jf\x7f", "utf8mb4", "a\\nb\\tc\\rd\\\\n\\0e\\x1b[2Jf\\x7f");
    check_print("\u{202e}x\u{85}\u{feff}".as_bytes(), "utf8mb4", "\\u{202e}x\\u{85}\\u{feff}");
    check_print(b"a\xffb\xc3", "utf8mb4", "a\\xffb\\xc3");
    check_print(b"'\xe4\x80\xff'", "latin1", "'ä€ÿ'");
    check_print(b"'\xb2\xe2\xca\xd4'", "gbk", "'测试'");
    check_print(b"'\x95\x5c'\\", "sjis", "'表'\\\\");
    check_print(b"'\xa4\xa4\xa4\xe5'", "big5", "'中文'");
    check_print(b"'\xc7\xd1'", "euckr", "'한'");
    check_print(b"'\xcd\xd2'", "koi8r", "'мр'");
    check_print(b"'\x81'\xff", "gbk", "'\\x81'\\xff");
    check_print(b"'\x81\xe4'", "cp850", "'\\x81\\xe4'");
    check_print("a\u{e4}".as_bytes(), "binary", "aä");
}

#[test]
fn a_text_that_is_none_comes_with_its_bytes_in_json() {
    check_json("select \"ä\"\n\\".as_bytes(), "\"query\":\"select \\\"ä\\\"\\n\\\\\"");
    check_json(b"a\x1b\0", "\"query\":\"a\\u001b\\u0000\"");
    check_json(b"a\xff", "\"query\":\"a\u{fffd}\",\"query_base64\":\"Yf8=\"");
    check_json("\u{e0001}".as_bytes(), "\"query\":\"\\udb40\\udc01\"");
}

#[test]
fn tshark_ends_at_a_nul_and_escapes_as_c_does() {
    let of = |bytes: &[u8], name: &str| {
        let mut out = Vec::new();
        text::tshark(bytes, Charset::of_name(name), &mut out);
        String::from_utf8(out).unwrap()
    };
    assert_eq!(of(b"select 1", "utf8mb4"), "select 1");
    assert_eq!(of(b"a\\n\n\t\x07\x08\x0b\x0c\x1b", "utf8mb4"), "a\\\\n\\n\\t\\a\\b\\v\\f\\x1b");
    assert_eq!(of(b"a\0b", "utf8mb4"), "a");
    assert_eq!(of(b"a\xffb", "utf8mb4"), "a\u{fffd}b");
    assert_eq!(of(b"\xe4", "latin1"), "ä");
}

#[test]
fn a_collation_tells_its_character_set() {
    let cases = [
        (8, "latin1"),
        (33, "utf8"),
        (45, "utf8mb4"),
        (46, "utf8mb4"),
        (255, "utf8mb4"),
        (224, "utf8mb4"),
        (28, "gbk"),
        (87, "gbk"),
        (13, "sjis"),
        (95, "cp932"),
        (12, "ujis"),
        (19, "euckr"),
        (1, "big5"),
        (63, "binary"),
        (11, "ascii"),
        (51, "cp1251"),
        (248, "gb18030"),
        (192, "utf8mb3"),
        (309, "utf8mb4"),
        (1_069, "utf8mb4"),
        (1_057, "utf8mb3"),
        (1_032, "latin1"),
        (1_270, "utf8mb4"),
        (4, "cp850"),
        (3, "dec8"),
        (608, "utf8mb4"),
        (576, "utf8mb3"),
        (2_048, "utf8mb3"),
        (2_304, "utf8mb4"),
        (35, "ucs2"),
        (9_999, "?"),
    ];
    for (collation, name) in cases {
        assert_eq!(Charset::of_collation(collation), Charset::of_name(name), "{collation} {name}");
    }
    assert_eq!(Charset::of_name("UTF8MB4_general_ci"), Charset::Utf8);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_of_any_type_are_a_literal_or_nothing(
        kind: u8, unsigned: bool, bytes in proptest::collection::vec(any::<u8>(), 0..40), plain: bool,
    ) {
        let backslashes = if plain { Backslashes::Plain } else { Backslashes::Escape };
        let writing = Writing { backslashes, ..Writing::default() };
        let mut out = b"x".to_vec();
        let length = value::length(kind, &bytes);
        prop_assert!(length.is_none_or(|length| length <= bytes.len()));
        let bytes = &bytes[..length.unwrap_or(bytes.len())];
        let done = value::literal(Raw::Value { kind, unsigned, bytes }, writing, &mut out);
        prop_assert_eq!(done == Written::Nothing, out == b"x");
        prop_assert!(length.is_some() || done == Written::Nothing);
    }

    #[test]
    fn a_string_is_one_token_that_gives_its_bytes_back(bytes in proptest::collection::vec(any::<u8>(), 0..60), plain: bool) {
        use byway_wire::sql::{Kind, Tokens};
        let backslashes = if plain { Backslashes::Plain } else { Backslashes::Escape };
        let writing = Writing { backslashes, charset: Charset::of_name("latin1"), ..Writing::default() };
        let out = written(VAR_STRING, &with_length(&bytes), writing);
        let tokens: Vec<_> = Tokens::new(&out, backslashes).collect();
        prop_assert_eq!(tokens.len(), 1);
        prop_assert_eq!(tokens[0].kind, Kind::String);
    }

    #[test]
    fn an_integer_is_the_number(number: i64) {
        let expected = number.to_string().into_bytes();
        prop_assert_eq!(written(LONGLONG, &number.to_le_bytes(), Writing::default()), expected);
    }

    #[test]
    fn a_double_is_read_back_as_itself(bits: u64) {
        let number = f64::from_bits(bits);
        prop_assume!(number.is_finite());
        let out = written(DOUBLE, &number.to_le_bytes(), Writing::default());
        let read: f64 = std::str::from_utf8(&out).unwrap().parse().unwrap();
        // The servers know no negative zero.
        prop_assert_eq!((read + 0.0).to_bits(), (number + 0.0).to_bits());
    }

    #[test]
    fn two_texts_never_look_the_same(
        one in proptest::collection::vec(text_byte(), 0..12), other in proptest::collection::vec(text_byte(), 0..12),
    ) {
        let (mut printed, mut printed_other) = (Vec::new(), Vec::new());
        text::print(&one, Charset::Utf8, &mut printed);
        text::print(&other, Charset::Utf8, &mut printed_other);
        prop_assert_eq!(one == other, printed == printed_other);
        prop_assert_eq!(unprinted(std::str::from_utf8(&printed).unwrap()), one);
    }

    #[test]
    fn no_text_breaks_its_line(bytes in proptest::collection::vec(any::<u8>(), 0..80), collation: u16) {
        let charset = Charset::of_collation(collation % 330);
        for write in [text::print, text::tshark, |bytes: &[u8], charset, out: &mut Vec<u8>| text::json("q", bytes, charset, out)] {
            let mut out = Vec::new();
            write(&bytes, charset, &mut out);
            let out = String::from_utf8(out).unwrap();
            prop_assert!(!out.chars().any(char::is_control), "{out:?}");
        }
    }
}

/// Bytes that make and break characters and escapes.
fn text_byte() -> impl Strategy<Value = u8> {
    let near = [
        b'\\', b'x', b'n', b'0', b'u', b'{', b'8', b'5', b'}', b'f', 0, b'\n', 0x85, 0xc2, 0xff, 0xe2, 0x80,
        0xae,
    ];
    prop_oneof![proptest::sample::select(near.to_vec()), any::<u8>()]
}

/// The bytes that a printed text of UTF-8 stands for.
fn unprinted(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        rest = &rest[first.len_utf8()..];
        if first != '\\' {
            out.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let (escape, tail) = rest.split_at(1);
        rest = tail;
        match escape {
            "n" => out.push(b'\n'),
            "r" => out.push(b'\r'),
            "t" => out.push(b'\t'),
            "0" => out.push(0),
            "\\" => out.push(b'\\'),
            "x" => {
                out.push(u8::from_str_radix(&rest[..2], 16).unwrap());
                rest = &rest[2..];
            }
            _ => {
                let (code, tail) = rest[1..].split_once('}').unwrap();
                let character = char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap();
                out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                rest = tail;
            }
        }
    }
    out
}

fn written(kind: u8, bytes: &[u8], writing: Writing) -> Vec<u8> {
    let mut out = Vec::new();
    assert_eq!(value::length(kind, bytes), Some(bytes.len()));
    let done = value::literal(Raw::Value { kind, unsigned: false, bytes }, writing, &mut out);
    assert_eq!(done, Written::Whole);
    out
}

fn check(kind: u8, unsigned: bool, bytes: &str, expected: &str) {
    let bytes = bytes_of(bytes);
    let mut out = Vec::new();
    let mut more = bytes.clone();
    more.push(7);
    assert_eq!(value::length(kind, &more), Some(bytes.len()), "length of {expected}");
    let done = value::literal(Raw::Value { kind, unsigned, bytes: &bytes }, Writing::default(), &mut out);
    assert_eq!((done, String::from_utf8(out).unwrap().as_str()), (Written::Whole, expected));
}

fn check_nothing(kind: u8, bytes: &str) {
    let mut out = Vec::new();
    let raw = Raw::Value { kind, unsigned: false, bytes: &bytes_of(bytes) };
    assert_eq!(value::literal(raw, Writing::default(), &mut out), Written::Nothing);
    assert_eq!(out, b"");
}

fn check_filled(text: &str, parameters: &[Option<Raw<'_>>], expected: &str, counts: (usize, usize, usize)) {
    let mut out = Vec::new();
    let filled = value::substitute(text.as_bytes(), parameters.iter().copied(), Writing::default(), &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
    assert_eq!((filled.left, filled.cut, filled.beyond), counts, "of {text}");
}

fn check_print(bytes: &[u8], charset: &str, expected: &str) {
    let mut out = Vec::new();
    text::print(bytes, Charset::of_name(charset), &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

fn check_json(bytes: &[u8], expected: &str) {
    let mut out = Vec::new();
    text::json("query", bytes, Charset::Utf8, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected);
}

/// A string with its length in front.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    assert!(length < 0xfb);
    [&[length], bytes].concat()
}

fn hexadecimal(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}

fn bytes_of(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
