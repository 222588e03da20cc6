//! What happens to connections on the wire, one story each.

use byway_wire::Packet;
use byway_wire::stream::{Counts, Limits, STRAYS_MAX};
use etherparse::PacketBuilder;

use super::scene::{Told, check, check_sightings, check_with};

/// Both say hello.
const OPEN: &str = "c syn
    s syn+ack
    c 0 ack 0
";

fn after_open(rest: &str) -> String {
    format!("{OPEN}{rest}")
}

#[test]
fn bytes_in_order_are_handed_out_at_once() {
    let scene = check(
        &after_open(
            r#"s 0 "hello" ack 0
            c 0 "select" ack 5
            c 6 "1" ack 5
            s 5 "one" ack 7
            c 7 fin ack 8
            s 8 fin ack 8
            c 8 ack 9"#,
        ),
        r#"s 0 "hello"
        c 0 "select"
        c 6 "1"
        s 5 "one"
        end finished"#,
    );
    let expected = Counts { segments: 10, connections: 1, bytes: 15, ..Counts::default() };
    assert_eq!(scene.streams.counts(), expected);
}

#[test]
fn bytes_out_of_order_wait_for_those_before_them() {
    let scene = check(
        &after_open(
            r#"c 3 "def"
            c 6 "ghi"
            c 0 "abc""#,
        ),
        r#"c 0 "abc"
        c 3 "def"
        c 6 "ghi""#,
    );
    assert_eq!((scene.streams.counts().waited, scene.streams.waiting_bytes()), (3, 0));
}

#[test]
fn a_segment_with_other_boundaries_gives_only_what_is_new() {
    check(
        &after_open(
            r#"c 0 "abc"
            c 1 "bcde"
            c 8 "ij"
            c 5 "fghijkl""#,
        ),
        r#"c 0 "abc"
        c 3 "de" inside
        c 5 "fgh"
        c 8 "ij"
        c 10 "kl" inside"#,
    );
}

#[test]
fn an_answer_before_its_request_waits_for_it() {
    check(
        &after_open(
            r#"s 0 "answer" ack 6
            c 0 "select" ack 0"#,
        ),
        r#"c 0 "select"
        s 0 "answer""#,
    );
}

#[test]
fn bytes_sent_before_the_answer_was_acknowledged_may_come_before_it() {
    check(
        &after_open(
            r#"c 0 "one" ack 0
            c 3 "two" ack 0
            s 0 "1" ack 3"#,
        ),
        r#"c 0 "one"
        c 3 "two"
        s 0 "1""#,
    );
}

#[test]
fn a_repetition_that_knows_more_than_the_first_time_does_not_knot_the_sides() {
    // The request was not captured when it was sent first; its repetition acknowledges the answer to it.
    check(
        &after_open(
            r#"s 0 "answer" ack 6
            c 0 "select" ack 6"#,
        ),
        r#"c 0 "select"
        s 0 "answer""#,
    );
}

#[test]
fn a_copy_at_another_point_is_no_retransmission() {
    let scene = check_sightings(
        &after_open(
            r#"c 0 "abc" at 1 packet 7
            c 0 "abc" at 2 packet 7
            c 0 "abc" at 3 packet 7
            c 0 "abc" at 1 packet 8
            c 0 "abc" at 2 packet 8"#,
        ),
        r#"c 0..3 at 1 first
        c 0 "abc"
        c 0..3 at 2 copy
        c 0..3 at 3 copy
        c 0..3 at 1 again
        c 0..3 at 2 copy"#,
    );
    let counts = scene.streams.counts();
    // The repetition is counted where it was seen first; at the next point it is a copy of that.
    assert_eq!((counts.copies, counts.retransmissions), (3, 1));
}

#[test]
fn a_mirrored_packet_at_the_same_point_is_a_copy_too() {
    let scene = check_sightings(
        &after_open(
            r#"c 0 "abc" packet 7
            c 0 "abc" packet 7
            c 0 "abc" packet 8"#,
        ),
        r#"c 0..3 at 0 first
        c 0 "abc"
        c 0..3 at 0 copy
        c 0..3 at 0 again"#,
    );
    assert_eq!((scene.streams.counts().copies, scene.streams.counts().retransmissions), (1, 1));
}

#[test]
fn what_was_acknowledged_and_not_seen_is_missing_after_some_packets() {
    let lost = r#"c 0 "abc"
        s 0 "answer" ack 6
        c 6 "ghi" ack 6
        "#;
    check(&after_open(&format!("{lost} packets 30")), "c 0 \"abc\"");
    check(
        &after_open(&format!("{lost} packets 31")),
        r#"c 0 "abc"
        c 3 3 bytes lost
        s 0 "answer"
        c 6 "ghi""#,
    );
}

#[test]
fn what_is_missing_on_both_sides_is_told_in_turns() {
    check(
        &after_open(
            r#"c 5 "second" ack 3
            c 11 "third" ack 6
            s 6 "three" ack 16
            packets 32"#,
        ),
        r#"c 0 5 bytes lost
        s 0 3 bytes lost
        c 5 "second"
        s 3 3 bytes lost
        c 11 "third"
        s 6 "three""#,
    );
}

#[test]
fn a_byte_that_is_told_in_its_turn_is_no_fin() {
    check(
        &after_open(
            r#"c 0 "x" ack 1
            c 1 "y" ack 4
            packets 32
            c 2 fin ack 5
            s 4 fin ack 3"#,
        ),
        r#"s 0 1 bytes lost
        c 0 "x"
        s 1 3 bytes lost
        c 1 "y"
        end finished"#,
    );
}

#[test]
fn where_both_sides_miss_what_was_before_all_they_knew_one_begins() {
    check(
        &after_open(
            r#"c 5 "second" ack 0
            s 3 "two" ack 0
            c 11 ack 3
            s 6 ack 5
            packets 32"#,
        ),
        r#"c 0 5 bytes lost
        c 5 "second"
        s 0 3 bytes lost
        s 3 "two""#,
    );
}

#[test]
fn what_was_not_acknowledged_is_waited_for() {
    check(
        &after_open(
            r#"c 0 "abc"
            c 6 "ghi"
            s 0 ack 3
            packets 60
            c 3 "def""#,
        ),
        r#"c 0 "abc"
        c 3 "def"
        c 6 "ghi""#,
    );
}

#[test]
fn time_makes_it_missing_as_well_and_another_connection_brings_the_time() {
    let lost = r#"s 0 "answer" ack 6
        wait 2000
        "#;
    let told = "c 0 6 bytes lost
        s 0 \"answer\"";
    check(&after_open(&format!("{lost} c 0 ack 0 port 41000")), told);
    check(&after_open(&format!("{lost} settle")), told);
    check(&after_open("s 0 \"answer\" ack 6\n settle"), "");
}

#[test]
fn time_that_goes_back_hurts_nobody() {
    check(
        &after_open(
            r#"c 0 "abc"
            back 100000
            c 6 "ghi"
            s 0 "x" ack 9
            back 100000
            c 3 "def""#,
        ),
        r#"c 0 "abc"
        c 3 "def"
        c 6 "ghi"
        s 0 "x""#,
    );
}

#[test]
fn where_one_direction_is_not_seen_nobody_acknowledges() {
    check(
        r#"c 0 "abc"
        c 6 "ghi"
        packets 32"#,
        r#"c 0 "abc"
        c 3 3 bytes lost
        c 6 "ghi""#,
    );
}

#[test]
fn a_segment_that_was_cut_is_followed_by_its_gap() {
    check(
        &after_open(
            r#"c 0 "select" cut 2
            c 6 "from" cut 4
            c 10 "where"
            s 0 "abc" ack 15 cut 1"#,
        ),
        r#"c 0 "sele"
        c 4 2 bytes cut
        c 6 4 bytes cut
        c 10 "where"
        s 0 "ab"
        s 2 1 bytes cut"#,
    );
}

#[test]
fn a_header_that_was_cut_still_tells_how_much_there_was() {
    let mut scene = check("c 0 \"abc\" ack 0", "c 0 \"abc\"");
    let mut bytes = Vec::new();
    let tcp = PacketBuilder::ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64).tcp(40_000, 1_000, 2, 64_000);
    let stamp = [1, 1, 8, 10, 1, 2, 3, 4, 5, 6, 7, 8];
    tcp.options_raw(&stamp).unwrap().write(&mut bytes, b"select").unwrap();
    // The first number was u32::MAX - 2, so this is the sixth byte. The IP header and 24 of 32 bytes are there.
    scene.streams.take(0, 1, &Packet::decode(&bytes[..44]).unwrap(), &mut scene.told);
    scene.streams.finish(&mut scene.told);
    let rest = "c 3 2 bytes given up\nc 5 6 bytes cut\nend capture ended\n";
    assert_eq!(scene.told.lines, format!("c 0 \"abc\"\n{rest}"));
}

#[test]
fn another_points_copy_fills_what_was_cut_while_it_waits() {
    check(
        &after_open(
            r#"c 3 "defg" at 1 packet 7 cut 3
            c 3 "defg" at 2 packet 7
            c 0 "abc""#,
        ),
        r#"c 0 "abc"
        c 3 "d"
        c 4 "efg" inside"#,
    );
    check(
        &after_open(
            r#"c 3 "defg" at 1 packet 7
            c 3 "defg" at 2 packet 7 cut 3
            c 0 "abc""#,
        ),
        r#"c 0 "abc"
        c 3 "defg""#,
    );
}

#[test]
fn probes_hold_no_data() {
    let scene = check(
        &after_open(
            r#"c 0 "abc"
            s 0 ack 3
            c 2 "?"
            s 0 ack 3
            c 2
            s -1 ack 3
            s -1 "?" ack 3
            c 3 "def""#,
        ),
        r#"c 0 "abc"
        c 3 "def""#,
    );
    assert_eq!((scene.streams.counts().probes, scene.streams.counts().retransmissions), (4, 0));
}

#[test]
fn a_connection_joined_midway_starts_with_the_first_byte_seen() {
    let scene = check(
        r#"s 500 "rest" ack 900
        c 900 "next" ack 504
        s 490 "0123456789" ack 900
        finish"#,
        r#"S 0 "rest"
        C 0 "next"
        end capture ended"#,
    );
    assert_eq!(scene.streams.counts().bytes_before_start, 10);
}

#[test]
fn empty_segments_do_not_fix_where_a_connection_starts() {
    // A probe: its number is one less than that of the next byte.
    check(
        r#"c 899 ack 500
        s 500 ack 900
        c 900 "abc" ack 500
        s 500 "def" ack 903"#,
        r#"c 0 "abc"
        s 0 "def""#,
    );
}

#[test]
fn the_receiver_of_a_syn_ack_opened_the_connection() {
    check(
        r#"s syn+ack
        c 3 "def"
        c 0 "abc""#,
        r#"c 0 "abc"
        c 3 "def""#,
    );
}

#[test]
fn a_syn_that_comes_late_belongs_to_its_connection() {
    check(
        r#"s syn+ack
        c syn
        c 0 "abc" ack 0
        c syn
        s syn+ack
        c 3 "def" ack 0
        finish"#,
        r#"c 0 "abc"
        c 3 "def"
        end capture ended"#,
    );
    check(
        r#"c 0 "abc" ack 0
        c syn
        s syn+ack
        s 0 "xyz" ack 3"#,
        r#"c 0 "abc"
        s 0 "xyz""#,
    );
}

#[test]
fn data_in_a_syn_is_data() {
    check(
        r#"c syn "abc"
        s syn+ack ack 3
        c 3 "def" ack 0"#,
        r#"c 0 "abc"
        c 3 "def""#,
    );
}

#[test]
fn a_syn_with_another_number_opens_another_connection() {
    let scene = check(
        &after_open(
            r#"c 0 "abc"
            c 6 "ghi"
            c syn number 77
            c 0 "new" number 77
            finish"#,
        ),
        r#"c 0 "abc"
        c 3 3 bytes given up
        c 6 "ghi"
        end replaced
        c 0 "new"
        end capture ended"#,
    );
    assert_eq!(scene.streams.counts().connections, 2);
}

#[test]
fn ports_are_used_again_after_an_end() {
    check(
        &after_open(
            r#"c 0 "abc"
            c 3 fin
            s 0 fin ack 4
            c 0 "abc"
            c syn number 77
            c 0 "new" number 77"#,
        ),
        r#"c 0 "abc"
        end finished
        c 0 "new""#,
    );
}

#[test]
fn a_fin_waits_for_the_bytes_before_it() {
    check(
        &after_open(
            r#"c 3 fin
            s 0 fin ack 4
            c 0 "abc""#,
        ),
        r#"c 0 "abc"
        end finished"#,
    );
}

#[test]
fn a_fin_that_was_not_seen_is_no_missing_byte() {
    let scene = check(
        &after_open(
            r#"c 0 "abc"
            s 0 "bye" ack 4
            s 3 fin ack 4
            packets 32"#,
        ),
        r#"c 0 "abc"
        s 0 "bye"
        end finished"#,
    );
    assert_eq!(scene.streams.counts().bytes_lost, 0);
}

#[test]
fn a_byte_that_comes_after_all_was_no_fin() {
    check(
        &after_open(
            r#"c 0 "abc"
            s 0 "x" ack 4
            packets 32
            c 4 "e"
            s 1 ack 5
            c 3 "d""#,
        ),
        r#"c 0 "abc"
        s 0 "x"
        c 3 "d"
        c 4 "e""#,
    );
}

#[test]
fn more_than_one_number_acknowledged_was_no_fin() {
    check(
        &after_open(
            r#"s 0 ack 0
            s 0 ack 1
            wait 2000
            settle
            s 0 fin ack 3
            c 1 "bc"
            c 3 fin ack 1
            finish"#,
        ),
        r#"c 0 1 bytes lost
        c 1 "bc"
        end finished"#,
    );
}

#[test]
fn a_reset_ends_it_when_all_before_it_was_seen() {
    check(
        &after_open(
            r#"c 0 "abc"
            s 0 rst"#,
        ),
        r#"c 0 "abc"
        end reset by s"#,
    );
    check(
        &after_open(
            r#"c 6 rst
            c 3 "def"
            c 0 "abc""#,
        ),
        r#"c 0 "abc"
        c 3 "def"
        end reset by c"#,
    );
    check(
        &after_open(
            r#"c 0 "abc"
            c 6 rst
            wait 2000
            settle"#,
        ),
        r#"c 0 "abc"
        end reset by c"#,
    );
}

#[test]
fn a_reset_from_nowhere_is_passed_over() {
    let scene = check(
        &after_open(
            r#"c 0 "abc"
            c 500000000 rst
            c 3 "def""#,
        ),
        r#"c 0 "abc"
        c 3 "def""#,
    );
    assert_eq!(scene.streams.counts().strays, 1);
}

#[test]
fn a_refused_connection_has_no_reader() {
    check(
        "c syn
        s 0 rst ack 0
        finish",
        "",
    );
}

#[test]
fn numbers_that_fit_to_nothing_begin_a_connection_anew_in_the_end() {
    let strays = lines(STRAYS_MAX, |nth| format!("c {} \"x\"", 2_000_000_000 + u32::from(nth)));
    check(
        &after_open(&format!("c 0 \"abc\"\n {strays}")),
        r#"c 0 "abc"
        end given up
        c 0 "x""#,
    );
}

#[test]
fn who_wants_nothing_more_hears_nothing_more_until_the_ports_are_used_again() {
    let told = || Told { enough_at: Some("no"), ..Told::default() };
    check_with(
        Limits::default(),
        told(),
        &after_open(
            r#"c 0 "no"
            c 2 "abc"
            c 9 "abc"
            s 0 "abc" ack 90
            c syn number 77
            c 0 "new" number 77
            finish"#,
        ),
        r#"c 0 "no"
        c 0 "new"
        end capture ended"#,
    );
    check("c 0 \"get\" to 80\n s 0 \"got\" to 80\n finish", "");
}

#[test]
fn a_reader_may_stay_for_slower_points() {
    check_with(
        Limits::default(),
        Told { with_sightings: true, keeps_ended: true, ..Told::default() },
        &after_open(
            r#"c 0 "abc" at 1 packet 7
            c 3 fin
            s 0 fin ack 4
            c 0 "abc" at 2 packet 7"#,
        ),
        r#"c 0..3 at 1 first
        c 0 "abc"
        end finished
        c 0..3 at 2 copy"#,
    );
}

#[test]
fn too_much_that_waits_gives_up_what_it_waits_for() {
    let limits = Limits { waiting_per_connection: 500, ..Limits::default() };
    let scene = check_with(
        limits,
        Told::default(),
        &after_open(
            r#"c 1 "b"
            c 3 "d"
            c 5 "f"
            c 7 "h""#,
        ),
        r#"c 0 1 bytes given up
        c 1 "b""#,
    );
    assert!(scene.streams.waiting_bytes() <= 500);
    assert_eq!(scene.streams.counts().bytes_given_up, 1);
}

#[test]
fn too_much_that_waits_in_all_lets_the_first_that_waited_go_on() {
    let limits = Limits { waiting_in_all: 300, ..Limits::default() };
    check_with(
        limits,
        Told::default(),
        r#"c syn
        c syn port 41000
        c 1 "first"
        c 1 "second" port 41000
        c 7 "third" port 41000"#,
        r#"c 0 1 bytes given up
        c 1 "first""#,
    );
}

#[test]
fn who_asks_all_ports_pushes_nobody_out() {
    let limits = Limits { connections: 16, ..Limits::default() };
    let asks = lines(100, |nth| format!("c syn port {}", 50_000 + u32::from(nth)));
    let scene = check_with(
        limits,
        Told::default(),
        &after_open(&format!("c 0 \"abc\"\n {asks}\n c 3 \"def\"\n finish")),
        r#"c 0 "abc"
        c 3 "def"
        end capture ended"#,
    );
    assert_eq!((scene.streams.counts().connections_given_up, scene.streams.connections()), (0, 0));
}

#[test]
fn the_connection_that_was_quiet_for_longest_makes_room() {
    let limits = Limits { connections: 2, ..Limits::default() };
    let mut scene = check_with(
        limits,
        Told::default(),
        r#"c 0 "first"
        c 0 "second" port 41000
        c 5 "goes" ack 0
        c 0 "third" port 42000
        finish"#,
        r#"c 0 "first"
        c 0 "second"
        c 5 "goes"
        end given up
        c 0 "third"
        end capture ended
        end capture ended"#,
    );
    assert_eq!(scene.streams.counts().connections_given_up, 1);
    assert!(!scene.streams.give_up_oldest(&mut scene.told));
}

#[test]
fn a_caller_may_give_up_the_quietest_itself() {
    let mut scene = check(
        "c 0 \"first\"\n c 0 \"second\" port 41000\n c 5 \"goes\"",
        "c 0 \"first\"\nc 0 \"second\"\nc 5 \"goes\"",
    );
    assert!(scene.streams.give_up_oldest(&mut scene.told));
    assert_eq!(scene.streams.connections(), 1);
    scene.play("c 9 \"on\"\n c 6 \"anew\" port 41000");
    assert!(scene.told.lines.ends_with("c 5 \"goes\"\nend given up\nc 9 \"on\"\nc 0 \"anew\"\n"));
}

fn lines(count: u8, line: impl Fn(u8) -> String) -> String {
    (0..count).map(line).collect::<Vec<_>>().join("\n")
}
