//! What is joined midstream, cut or lost: what is told is right or marked.

use byway_wire::mysql::Role;

use super::scene::{Sent, packets, watched};
use super::{HELD, HELLO, check, lines};

#[test]
fn midstream_it_is_known_by_its_shape() {
    let scene = packets(
        "s row the end of something
         c query select 1
         s columns 1
         s column 1
         s row 1
         s okeof
         c execute 9 00 01 0300 07000000
         s ok",
    );
    for told in [false, true] {
        let story = watched(&scene, told);
        let (_, told) = story.split_once("?: ").unwrap();
        assert_eq!(
            told.trim_end(),
            lines(
                "Query select 1 -> ok, 1 columns, 1 rows [joined midstream]
                 ?: Execute 9 ? (?) -> ok [joined midstream; its PREPARE was not seen; the parameters could not be read]"
            )
        );
    }
}

#[test]
fn midstream_the_eof_behind_a_prepare_is_found_out() {
    let scene = |eof: &str| {
        format!("c prepare select 1\n s prepared 1 1 0\n s column 1\n {eof}\n c query select 2\n s ok")
    };
    for eof in ["", "s eof"] {
        assert_eq!(
            watched(&packets(&scene(eof)), true).trim_end(),
            lines(
                "?: Prepare select 1 as 1 -> ok [joined midstream]
                 ?: Query select 2 -> ok [joined midstream]"
            )
        );
    }
}

#[test]
fn what_is_not_mysql_is_left_alone() {
    let http = |role, text: &str| Sent { role, bytes: text.as_bytes().to_vec(), seen: text.len() };
    let sent = vec![
        http(Role::Client, "GET / HTTP/1.1\r\n\r\n"),
        http(Role::Server, "HTTP/1.1 200 OK\r\n\r\n"),
        http(Role::Client, "\x05\0\0\0\u{1}more"),
    ];
    assert_eq!(watched(&sent, false), "");
}

#[test]
fn a_proxy_header_is_stepped_over() {
    let mut sent = packets(&format!("{HELLO}\n c ping\n s ok"));
    let header = b"PROXY TCP4 10.0.0.1 10.0.0.2 4000 3306\r\n".to_vec();
    sent.insert(0, Sent { role: Role::Client, seen: header.len(), bytes: header });
    for told in [false, true] {
        assert_eq!(watched(&sent, told), format!("{HELD}shop: Ping 0 bytes -> ok\n"));
    }
}

#[test]
fn a_request_that_was_cut_is_shown_as_far_as_it_was_seen() {
    check(
        "cut 15 c query select 1 from orders
         s ok
         c query select 2
         s ok",
        "missed 10 bytes of the Client: Cut
         shop: Query select 1 f <10 missing at 10> -> ok [bytes of the request were not seen]
         shop: Query select 2 -> ok",
    );
}

#[test]
fn an_answer_to_a_lost_request_is_nobody_elses() {
    check(
        "drop c query select 1
         s ok 77
         c query select 2
         s ok 2
         c use other
         s ok
         c query select 3
         s ok",
        "missed 13 bytes of the Client: Lost
         missed 11 bytes of the Server: WithoutRequest
         shop: Query select 2 -> ok, 2 affected [user, database or character set may have changed]
         shop: Init DB other -> ok [user, database or character set may have changed]
         other: Query select 3 -> ok",
    );
}

#[test]
fn a_lost_answer_is_said_and_the_next_one_is_right() {
    check(
        "c query select 1
         drop s ok 77
         c query select 2
         s ok 2",
        "missed 11 bytes of the Server: Lost
         shop: Query select 1 -> unseen [no answer was seen]
         shop: Query select 2 -> ok, 2 affected",
    );
}

#[test]
fn whose_an_answer_is_is_a_guess_where_requests_were_lost_of_who_does_not_wait() {
    check(
        "c query select 1
         c query select 2
         s ok 1
         S ok 2
         drop c query select 3
         c query select 4
         s ok 3
         S ok 4
         c query select 5
         s ok 5
         c wait
         c query select 6
         s ok 6",
        "shop: Query select 1 -> ok, 1 affected
         shop: Query select 2 -> ok, 2 affected
         missed 13 bytes of the Client: Lost
         shop: Query select 4 -> ok, 3 affected [user, database or character set may have changed; the answer may be another one's]
         missed 11 bytes of the Server: WithoutRequest
         shop: Query select 5 -> ok, 5 affected [user, database or character set may have changed; the answer may be another one's]
         shop: Query select 6 -> ok, 6 affected [user, database or character set may have changed]",
    );
}

#[test]
fn where_the_first_requests_are_lost_nobody_knows_yet_that_others_do_not_wait() {
    check(
        "drop c query select 1
         c query select 2
         c query select 3
         s ok 1
         S ok 2
         S ok 3",
        "missed 13 bytes of the Client: Lost
         shop: Query select 2 -> ok, 1 affected [user, database or character set may have changed; the answer may be another one's]
         shop: Query select 3 -> ok, 2 affected [user, database or character set may have changed; the answer may be another one's]
         missed 11 bytes of the Server: WithoutRequest",
    );
}

#[test]
fn what_was_lost_behind_an_execute_is_no_doubt_of_it_but_of_the_next_one() {
    check(
        "c prepare select ?
         s prepared 1 0 1
         s column ?
         s eof
         c long 1 half
         c execute 1 00 01 fc00
         drop c long 1 forgotten
         s ok
         c wait
         c execute 1 00 00
         s ok",
        "shop: Prepare select ? as 1 -> ok
         shop: Long Data 1 0 4 bytes
         missed 20 bytes of the Client: Lost
         shop: Execute 1 select ? (long half) -> ok [user, database or character set may have changed]
         shop: Execute 1 select ? (?) -> ok [the parameters could not be read; the parameters may be others: requests were lost; user, database or character set may have changed; the answer may be another one's]",
    );
}

#[test]
fn midstream_what_no_client_sends_is_no_command() {
    // The header of a compressed frame that was cut looks like one with the number 0.
    let scene = packets("c hex 00 00 00\n c query select 1\n s ok");
    let story = watched(&scene, true);
    assert!(!story.contains("Sleep") && story.contains("Query select 1 -> ok"), "{story}");
}

#[test]
fn midstream_an_answer_before_the_first_that_was_seen_may_be_missing() {
    let scene = packets(
        "c prepare select 1
         c prepare select 2
         S prepared 2 0 0
         c wait
         c execute 2",
    );
    assert_eq!(
        watched(&scene, true).trim_end(),
        lines(
            "?: Prepare select 1 as 2 -> ok [joined midstream; the answer may be another one's]
             ?: Prepare select 2 as nothing -> unseen [joined midstream; no answer was seen]
             ?: Execute 2 select 1 () -> unseen [joined midstream; the statement may be another one; no answer was seen]"
        )
    );
}

#[test]
fn a_statement_whose_number_is_a_guess_may_be_another_one() {
    check(
        "c prepare select 1
         c prepare select 2
         s prepared 1 0 0
         S prepared 2 0 0
         drop c prepare select 3
         c prepare select 4
         S prepared 3 0 0
         S prepared 4 0 0
         c wait
         c execute 3
         s ok",
        "shop: Prepare select 1 as 1 -> ok
         shop: Prepare select 2 as 2 -> ok
         missed 13 bytes of the Client: Lost
         shop: Prepare select 4 as 3 -> ok [user, database or character set may have changed; the answer may be another one's]
         missed 16 bytes of the Server: WithoutRequest
         shop: Execute 3 select 4 () -> ok [the statement may be another one; user, database or character set may have changed]",
    );
}

#[test]
fn answers_to_what_was_given_up_may_come_behind_what_was_lost() {
    check(
        "c query select 1
         c query select 2
         c query select 3
         drop S ok 1
         c query select 4
         S ok 2
         S ok 3
         S ok 4
         c wait
         c query select 5
         s ok 5",
        "missed 11 bytes of the Server: Lost
         shop: Query select 1 -> unseen [no answer was seen]
         shop: Query select 2 -> unseen [no answer was seen]
         shop: Query select 3 -> unseen [no answer was seen]
         shop: Query select 4 -> ok, 2 affected [the answer may be another one's]
         missed 22 bytes of the Server: WithoutRequest
         shop: Query select 5 -> ok, 5 affected",
    );
}

#[test]
fn types_that_may_have_changed_in_what_was_lost_are_doubted() {
    check(
        "c prepare select ?
         s prepared 1 0 1
         s column ?
         s eof
         c execute 1 00 01 0300 07000000
         s ok
         drop c execute 1 00 01 0400 0000803f
         s ok
         c execute 1 00 00 00000040
         s ok",
        "shop: Prepare select ? as 1 -> ok
         shop: Execute 1 select ? (07000000) -> ok
         missed 22 bytes of the Client: Lost
         missed 11 bytes of the Server: WithoutRequest
         shop: Execute 1 select ? (00000040) -> ok [the parameters may be others: requests were lost; user, database or character set may have changed]",
    );
}

#[test]
fn long_data_that_may_lack_a_piece_is_doubted() {
    check(
        "c prepare select ?
         s prepared 1 0 1
         s column ?
         s eof
         c use shop
         s ok
         c long 1 half
         drop c long 1 full
         c use shop
         s ok
         c execute 1 00 01 fc00
         s ok
         c execute 1 00 01 fc00 0161
         s ok",
        "shop: Prepare select ? as 1 -> ok
         shop: Init DB shop -> ok
         shop: Long Data 1 0 4 bytes
         missed 15 bytes of the Client: Lost
         shop: Init DB shop -> ok [user, database or character set may have changed; the answer may be another one's]
         shop: Execute 1 select ? (long half) -> ok [the parameters may be others: requests were lost; user, database or character set may have changed; the answer may be another one's]
         shop: Execute 1 select ? (0161) -> ok [user, database or character set may have changed; the answer may be another one's]",
    );
}
