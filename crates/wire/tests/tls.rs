//! Stories of TLS connections that are read along: between two real ends, and as RFC 8448 has one.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

mod tls {
    mod key_log;
    mod properties;
    pub(crate) mod rfc8448;
    mod scenes;
    pub(crate) mod talk;
}

use byway_wire::stream::{Piece, Side};
use byway_wire::tls::{Event, HELD_BYTES, Sealed, State};
use rustls::SupportedCipherSuite;
use rustls::crypto::ring::cipher_suite as suite;
use tls::talk::{CLIENT, Ends, SERVER, Talk, Watch};

const SUITES: [SupportedCipherSuite; 9] = [
    suite::TLS13_AES_128_GCM_SHA256,
    suite::TLS13_AES_256_GCM_SHA384,
    suite::TLS13_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
    suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
    suite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
];
const TLS13: SupportedCipherSuite = SUITES[0];
const TLS12: SupportedCipherSuite = SUITES[3];

#[test]
fn a_query_and_its_answer_are_read_in_both_versions() {
    check(
        TLS13,
        "client: select 1
         server: one row
         client closes",
        "TLS 1.3 TLS_AES_128_GCM_SHA256 for db.example
         client: select 1
         server: one row",
    );
    check(
        TLS12,
        "client: select 1
         server: one row
         client closes",
        "TLS 1.2 TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 for db.example
         client: select 1
         server: one row",
    );
}

#[test]
fn every_suite_is_opened_however_the_bytes_are_cut() {
    for suite in SUITES {
        let mut talk = Ends::with(suite).meet();
        let mut wire = talk.shake();
        let long = long_text(5 << 20);
        for side in [CLIENT, SERVER] {
            wire.push((side, talk.say(side, &long)));
        }
        for cut in [1 << 20, 1448, 61] {
            let mut watch = Watch::new(&talk.keys(), 0);
            for (side, bytes) in &wire {
                bytes.chunks(cut).for_each(|bytes| watch.see(*side, bytes));
            }
            assert!(watch.notes.plain.iter().all(|plain| *plain == long), "{:?} cut to {cut}", suite.suite());
            assert_eq!(watch.tls.state(), State::Open);
            assert_eq!(watch.tls.counts(SERVER).plain_bytes, long.len() as u64);
        }
    }
}

#[test]
fn new_keys_are_followed() {
    check(
        TLS13,
        "client: select 1
         client rekeys
         client: select 2
         server: two rows
         server rekeys
         server rekeys
         server: more rows
         client: select 3",
        "client: select 1
         client: select 2
         server: two rows
         server: more rows
         client: select 3",
    );
}

#[test]
fn a_lost_record_costs_itself_and_its_length_is_known_if_its_header_was_seen() {
    for suite in [TLS13, TLS12] {
        check(
            suite,
            "client: select 1
             client loses the end of: select 2
             client: select 3
             server: row 3",
            "client: select 1
             client lost 8 bytes
             client: select 3
             server: row 3",
        );
        check(
            suite,
            "client: select 1
             client loses: select 2
             client loses: select 3
             client: select 4",
            "client: select 1
             client lost some bytes
             client lost some bytes
             client: select 4",
        );
        check(
            suite,
            "client: select 1
             client loses the start of: select 2
             client: select 3",
            "client: select 1
             client lost some bytes
             client: select 3",
        );
    }
}

#[test]
fn what_is_lost_is_told_before_what_the_other_side_says_then() {
    for suite in [TLS13, TLS12] {
        check(
            suite,
            "client: select 1
             server loses: row 1
             client: select 2
             server loses: row 2
             client: select 3
             server: row 3",
            "client: select 1
             server lost some bytes
             client: select 2
             server lost some bytes
             client: select 3
             server: row 3",
        );
    }
}

#[test]
fn a_lost_part_of_the_handshake_costs_no_statement() {
    for suite in [TLS13, TLS12] {
        let mut talk = Ends::with(suite).meet();
        let wire = talk.shake();
        let statement = talk.say(CLIENT, b"select 1");
        let answer = talk.say(SERVER, b"one row");
        let mut watch = Watch::new(&talk.keys(), 0);
        for (nth, (side, bytes)) in wire.iter().enumerate() {
            // The server's hello and the start of its certificates are seen, what follows is not.
            if nth == 1 {
                watch.see(*side, &bytes[..1000]);
                watch.miss(*side, bytes.len() - 1000);
            } else {
                watch.see(*side, bytes);
            }
        }
        watch.see(CLIENT, &statement);
        watch.see(SERVER, &answer);
        assert_eq!(watch.notes.plain, [b"select 1".to_vec(), b"one row".to_vec()], "{}", watch.notes.text);
    }
}

#[test]
fn a_record_that_was_changed_is_told_and_the_next_one_is_opened() {
    for suite in [TLS13, TLS12] {
        check(
            suite,
            "client: select 1
             client garbles: select 2
             client: select 3",
            "client: select 1
             client lost some bytes
             client: select 3",
        );
    }
}

#[test]
fn what_was_lost_between_is_searched_only_so_long() {
    let mut talk = Ends::with(TLS13).meet();
    let mut watch = watch(&mut talk, 0);
    let bytes = talk.say(CLIENT, b"select 1");
    watch.see(CLIENT, &bytes);
    // So many records that the number of the next one is not among those that are tried.
    for _ in 0..20_000 {
        let bytes = talk.say(CLIENT, &[b'x'; 200]);
        watch.miss(CLIENT, bytes.len());
    }
    for _ in 0..20 {
        let bytes = talk.say(CLIENT, &[b'y'; 10_000]);
        watch.see(CLIENT, &bytes);
    }
    let bytes = talk.say(SERVER, b"still here");
    watch.see(SERVER, &bytes);
    assert_eq!(watch.tls.sealed(CLIENT), Some(Sealed::Lost));
    assert_eq!(watch.tls.state(), State::Open);
    assert_eq!(watch.notes.plain[1], b"still here");
}

#[test]
fn some_hundred_lost_records_are_bridged() {
    for suite in SUITES {
        let mut talk = Ends::with(suite).meet();
        let mut watch = watch(&mut talk, 0);
        let bytes = talk.say(SERVER, b"first");
        watch.see(SERVER, &bytes);
        for _ in 0..300 {
            let bytes = talk.say(SERVER, &[b'x'; 100]);
            watch.miss(SERVER, bytes.len());
        }
        let bytes = talk.say(SERVER, b"last");
        watch.see(SERVER, &bytes);
        assert_eq!(watch.notes.plain[1], b"firstlast", "{:?}", suite.suite());
    }
}

#[test]
fn a_record_that_is_seen_in_parts_keeps_their_times_and_places() {
    let mut talk = Ends::with(TLS13).meet();
    let mut watch = watch(&mut talk, 0);
    let start: u64 = watch.tls.counts(SERVER).wire_bytes;
    let bytes = talk.say(SERVER, &long_text(3000));
    let mut pieces = Vec::new();
    for (nth, part) in bytes.chunks(1000).enumerate() {
        let piece = Piece {
            bytes: part,
            offset: start + 1000 * nth as u64,
            time_ns: 7 + nth as u64,
            starts_segment: true,
        };
        watch.tls.piece(SERVER, &piece, &watch.keys, &mut |event| {
            let Event::Plain(_, piece) = event else { return };
            pieces.push((piece.offset - start, piece.bytes.len(), piece.time_ns, piece.starts_segment));
        });
    }
    // The header has 5 bytes; the type and the tag come behind.
    assert_eq!(
        pieces,
        [(5, 995, 7, true), (1000, 1000, 8, false), (2000, 1000, 9, false), (3000, 5, 10, false)]
    );
}

#[test]
fn keys_may_come_later_than_the_bytes() {
    for suite in SUITES {
        let mut talk = Ends::with(suite).meet();
        let mut watch = Watch::new("", HELD_BYTES);
        for (side, bytes) in talk.shake() {
            watch.see(side, &bytes);
        }
        let statement = talk.say(CLIENT, b"select 1");
        watch.see(CLIENT, &statement);
        let answer = talk.say(SERVER, b"one row");
        watch.see(SERVER, &answer);
        assert_eq!((watch.tls.state(), watch.notes.plain[0].len()), (State::Waiting, 0));
        watch.learn(&talk.keys());
        assert_eq!(watch.notes.plain, [b"select 1".to_vec(), b"one row".to_vec()]);
        assert_eq!(watch.tls.state(), State::Open);
    }
}

#[test]
fn what_waits_for_keys_is_bounded_and_what_is_given_up_is_told() {
    let sealed = "client sealed: the key log has no keys of it
        server sealed: the key log has no keys of it";
    let mut talk = Ends::with(TLS13).meet();
    let wire = talk.shake();
    let bytes = talk.say(SERVER, &long_text(HELD_BYTES));
    let mut waiting = Watch::new("", HELD_BYTES);
    let mut hasty = Watch::new("", 0);
    for watch in [&mut waiting, &mut hasty] {
        for (side, bytes) in &wire {
            watch.see(*side, bytes);
        }
    }
    assert_eq!((waiting.tls.state(), hasty.tls.state()), (State::Waiting, State::Sealed(Sealed::NoKeys)));
    for part in bytes.chunks(1448) {
        waiting.see(SERVER, part);
        assert!(waiting.tls.memory() < 3 * HELD_BYTES);
    }
    for watch in [&mut waiting, &mut hasty] {
        watch.learn(&talk.keys());
        assert_eq!(lines(&watch.notes.text)[1..], lines(sealed));
        assert!(watch.tls.memory() < 1 << 10);
    }
}

#[test]
fn a_connection_that_ends_while_it_waits_was_sealed() {
    let mut talk = Ends::with(TLS13).meet();
    let mut watch = Watch::new("", HELD_BYTES);
    for (side, bytes) in talk.shake() {
        watch.see(side, &bytes);
    }
    watch.end();
    assert_eq!(watch.tls.state(), State::Sealed(Sealed::NoKeys));
}

#[test]
fn keys_of_another_connection_do_not_fit() {
    for suite in [TLS13, TLS12] {
        let mut talk = Ends::with(suite).meet();
        let wire = talk.shake();
        let mut wrong = String::new();
        talk.keys().lines().for_each(|line| wrong += &format!("{}0000\n", &line[..line.len() - 4]));
        let mut watch = Watch::new(&wrong, 0);
        for (side, bytes) in &wire {
            watch.see(*side, bytes);
        }
        for _ in 0..70 {
            let bytes = talk.say(CLIENT, b"select 1");
            watch.see(CLIENT, &bytes);
        }
        assert_eq!(watch.tls.sealed(CLIENT), Some(Sealed::KeysDoNotFit));
    }
}

#[test]
fn a_resumed_session_is_opened_with_its_own_keys() {
    for suite in SUITES {
        let ends = Ends::with(suite);
        let mut first = ends.meet();
        first.shake();
        first.say(SERVER, b"so that the tickets are read");
        let mut second = ends.meet();
        let mut watch = watch(&mut second, 0);
        assert!(second.is_resumed(), "{:?}", suite.suite());
        let bytes = second.say(CLIENT, b"select 1");
        watch.see(CLIENT, &bytes);
        assert_eq!(watch.notes.plain[0], b"select 1");
    }
}

#[test]
fn what_a_client_sends_ahead_is_passed_over_and_told() {
    let ends = Ends::with(TLS13);
    let mut first = ends.meet();
    first.shake();
    first.say(SERVER, b"so that the tickets are read");
    let mut second = ends.meet();
    second.say_early(b"select 0");
    let mut watch = watch(&mut second, 0);
    let bytes = second.say(CLIENT, b"select 1");
    watch.see(CLIENT, &bytes);
    assert!(watch.tls.agreed().unwrap().offers_early_data);
    assert_eq!(watch.notes.plain[0], b"select 1");
}

#[test]
fn a_lost_server_hello_costs_nothing_if_the_key_log_says_enough() {
    let mut talk = Ends::with(SUITES[1]).meet();
    let wire = talk.shake();
    let statement = talk.say(CLIENT, b"select 1");
    let answer = talk.say(SERVER, b"one row");
    let mut watch = Watch::new(&talk.keys(), 0);
    for (nth, (side, bytes)) in wire.iter().enumerate() {
        if nth == 1 {
            watch.miss(*side, 1448);
            watch.see(*side, &bytes[1448..]);
        } else {
            watch.see(*side, bytes);
        }
    }
    watch.see(CLIENT, &statement);
    watch.see(SERVER, &answer);
    assert_eq!(watch.notes.plain, [b"select 1".to_vec(), b"one row".to_vec()], "{}", watch.notes.text);
}

#[test]
fn what_is_joined_too_late_or_is_no_tls_says_so_at_once() {
    let mut talk = Ends::with(TLS13).meet();
    talk.shake();
    let bytes = talk.say(CLIENT, b"select 1");
    let seen = |bytes: &[u8]| {
        let mut watch = Watch::new(&talk.keys(), HELD_BYTES);
        watch.see(CLIENT, bytes);
        watch.tls.state()
    };
    assert_eq!(seen(&bytes), State::Sealed(Sealed::Midstream));
    assert_eq!(seen(b"\x09\0\0\0\x03select 1"), State::Sealed(Sealed::NotTls));
    assert_eq!(seen(b"\x16\x03"), State::Handshake);
}

#[test]
fn a_hello_that_was_not_seen_whole_says_so() {
    let mut talk = Ends::with(TLS13).meet();
    let wire = talk.shake();
    let mut watch = Watch::new(&talk.keys(), HELD_BYTES);
    watch.see(CLIENT, &wire[0].1[..50]);
    watch.miss(CLIENT, wire[0].1.len() - 50);
    watch.see(SERVER, &wire[1].1);
    assert_eq!(watch.tls.state(), State::Sealed(Sealed::HelloLost));
}

#[test]
fn a_suite_or_version_that_is_not_opened_is_told_by_name() {
    let mut talk = Ends::with(TLS12).meet();
    let wire = talk.shake();
    let told = |version: [u8; 2], suite: [u8; 2], compression: u8| {
        let mut hello = wire[1].1.clone();
        // Record and message headers, version, random; then the session's id, the suite and the compression.
        hello[9..11].copy_from_slice(&version);
        let at = 9 + 2 + 32 + 1 + usize::from(hello[43]);
        hello[at..at + 2].copy_from_slice(&suite);
        hello[at + 2] = compression;
        let mut watch = Watch::new(&talk.keys(), 0);
        watch.see(CLIENT, &wire[0].1);
        watch.see(SERVER, &hello);
        watch.notes.text.lines().last().unwrap_or_default().to_owned()
    };
    let (tls12, gcm) = ([3, 3], [0xc0, 0x2f]);
    assert_eq!(told([3, 1], gcm, 0), "server sealed: TLS 1.0 is not opened here");
    assert_eq!(
        told(tls12, [0xc0, 0x14], 0),
        "server sealed: TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA is not opened here"
    );
    assert_eq!(told(tls12, [0xff, 0xff], 0), "server sealed: cipher suite 0xffff is not opened here");
    assert_eq!(told(tls12, [0x13, 0x01], 0), "server sealed: TLS_AES_128_GCM_SHA256 is not opened here");
    assert_eq!(told(tls12, gcm, 1), "server sealed: TLS compresses it");
}

/// RFC 8448, 3: what each side sends, and the secrets; the application's bytes are 00 to 31.
#[test]
fn the_trace_of_rfc_8448_is_opened() {
    let random = "cb34ecb1e78163ba1c38c6dacb196a6dffa21a8d9912ec18a2ef6283024dece7";
    let keys = format!(
        "CLIENT_TRAFFIC_SECRET_0 {random} 9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5\n\
         SERVER_TRAFFIC_SECRET_0 {random} a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643\n"
    );
    let mut watch = Watch::new(&keys, 0);
    for (side, bytes) in tls::rfc8448::RECORDS {
        watch.see(side, &unhex(bytes));
    }
    let expected: Vec<u8> = (0..50).collect();
    assert_eq!(watch.notes.plain, [expected.clone(), expected]);
    assert!(watch.notes.text.starts_with("TLS 1.3 TLS_AES_128_GCM_SHA256 for server\n"));
}

/// Plays the lines of `script` between two ends and compares what is told with `expected`, from the first line of the
/// application on unless the hellos are expected too.
fn check(suite: SupportedCipherSuite, script: &str, expected: &str) {
    let mut talk = Ends::with(suite).meet();
    let mut watch = watch(&mut talk, 0);
    for line in lines(script) {
        let (side, words) = match line.split_at("client".len()) {
            ("client", words) => (CLIENT, words.trim_start()),
            (_, words) => (SERVER, words.trim_start()),
        };
        play(&mut talk, &mut watch, side, words);
    }
    let expected = lines(expected);
    let told = lines(&watch.notes.text);
    let skipped = usize::from(!expected[0].starts_with("TLS"));
    assert_eq!(told[skipped..], expected, "{:?}", suite.suite());
}

fn play(talk: &mut Talk, watch: &mut Watch, side: Side, words: &str) {
    let (verb, text) = words.split_once(": ").unwrap_or((words.trim_start_matches(": "), ""));
    let text = if let Some(text) = words.strip_prefix(": ") { text } else { text };
    let mut bytes = match verb {
        "rekeys" => talk.rekey(side),
        "closes" => talk.close(side),
        _ => talk.say(side, text.as_bytes()),
    };
    let length = bytes.len();
    match verb {
        "loses" => watch.miss(side, length),
        "loses the end of" => {
            watch.see(side, &bytes[..length - 9]);
            watch.miss(side, 9);
        }
        "loses the start of" => {
            watch.miss(side, 9);
            watch.see(side, &bytes[9..]);
        }
        "garbles" => {
            bytes[length - 1] ^= 1;
            watch.see(side, &bytes);
        }
        _ => watch.see(side, &bytes),
    }
}

/// Somebody who has the keys and has seen the handshake.
fn watch(talk: &mut Talk, held_max: usize) -> Watch {
    let wire = talk.shake();
    let mut watch = Watch::new(&talk.keys(), held_max);
    for (side, bytes) in &wire {
        watch.see(*side, bytes);
    }
    watch
}

fn lines(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).collect()
}

fn long_text(length: usize) -> Vec<u8> {
    (0..251).cycle().step_by(31).take(length).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}
