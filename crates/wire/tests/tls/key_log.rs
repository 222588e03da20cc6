//! Stories of key logs.

use byway_wire::tls::{KEYS_MAX, KeyLog};

#[test]
fn a_key_log_is_read_as_it_grows_and_says_what_is_wrong_with_it() {
    let random = "ab".repeat(32);
    let (short, long) = ("cd".repeat(32), "ef".repeat(48));
    let text = format!(
        "# a comment\r\n\
         CLIENT_RANDOM {random} {long}\r\n\
         CLIENT_RANDOM {random} {short}\n\
         CLIENT_RANDOM {random}\n\
         \n\
         SERVER_TRAFFIC_SECRET_0 {short} {long} \n\
         SERVER_TRAFFIC_SECRET_0 {} {long}\n\
         CLIENT_TRAFFIC_SECRET_0 {} {short}q0\n\
         EXPORTER_SECRET nothing nowhere\n\
         {}\n\
         CLIENT_TRAFFIC_SECRET_0 {} {short}",
        &short[1..],
        "AB".repeat(32),
        "x".repeat(2000),
        "01".repeat(32),
    );
    for cut in [1, 7, 10_000] {
        let mut keys = KeyLog::new();
        text.as_bytes().chunks(cut).for_each(|part| keys.take(part));
        assert_eq!((keys.len(), keys.taken()), (2, 2));
        let bad: Vec<String> = keys.bad_lines().iter().map(ToString::to_string).collect();
        assert_eq!(
            bad,
            [
                "line 3: its secret has not the hexadecimal digits that its label calls for",
                "line 4: it is not a label, a client random and a secret",
                "line 7: its client random is not 64 hexadecimal digits",
                "line 8: its secret has not the hexadecimal digits that its label calls for",
                "line 10: it is too long",
            ]
        );
        keys.finish();
        assert_eq!(keys.len(), 3);
        assert_eq!(format!("{keys:?}"), "KeyLog { connections: 3, .. }");
    }
}

#[test]
fn a_key_log_forgets_the_oldest_first() {
    let mut keys = KeyLog::new();
    let line = |nth: usize| format!("CLIENT_RANDOM {nth:064x} {}\n", "00".repeat(48));
    for nth in 0..KEYS_MAX + 3 {
        keys.take(line(nth).as_bytes());
    }
    assert_eq!((keys.len(), keys.forgotten()), (KEYS_MAX, 3));
}
