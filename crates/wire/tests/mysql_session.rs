//! Conversations of MySQL as text, and what is told of them.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

#[path = "mysql_session/scene.rs"]
mod scene;

use byway_wire::mysql::Role;
use proptest::prelude::*;
use scene::{Sent, packets, split, watched};

const HELLO: &str = "s greeting 8.4.0
    c login alice shop
    s ok";
const HELLO_NEW: &str = "s greeting 8.4.0
    c login alice shop +deprecate_eof +attributes
    s ok";
const HELD: &str = "greeting 8.4.0\nlogin alice to shop\nlogged in by  in 1\n";

/// A scene behind the login, and what is told behind it.
fn check(scene: &str, expected: &str) {
    check_from(HELLO, scene, expected);
}

fn check_from(hello: &str, scene: &str, expected: &str) {
    let sent = packets(&format!("{hello}\n{scene}"));
    let story = watched(&sent, false);
    let told = story.strip_prefix(HELD).unwrap_or_else(|| panic!("{story}"));
    assert_eq!(told.trim_end(), lines(expected));
}

fn lines(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_query_and_its_rows_are_one_statement() {
    check(
        "c query select what from orders
         s columns 1
         s column what
         s eof
         s row tea
         s row milk
         s eof",
        "shop: Query select what from orders -> ok, 1 columns, 2 rows",
    );
}

#[test]
fn without_the_eof_of_old_rows_end_with_ok() {
    check_from(
        HELLO_NEW,
        "c hex 03 00 01 73656c6563742031
         s columns 1
         s column 1
         s row 1
         s okeof",
        "shop: Query select 1 -> ok, 1 columns, 1 rows",
    );
}

#[test]
fn definitions_that_are_left_out_are_not_waited_for() {
    check(
        "c query select 1\n s columns 2 0\n s eof\n s row a b\n s eof",
        "shop: Query select 1 -> ok, 2 columns, 1 rows",
    );
}

#[test]
fn an_attribute_of_a_query_stands_before_its_text() {
    check_from(
        HELLO_NEW,
        "c hex 03 01 01 00 01 fe00 0568656c6c6f 03776c64 73656c6563742031
         s ok",
        "shop: Query select 1 with hello03776c64 -> ok",
    );
}

#[test]
fn an_error_has_its_code_and_says_why() {
    check(
        "c query selekt\n s error 1064 You have an error",
        "shop: Query selekt -> error 1064 You have an error",
    );
}

#[test]
fn several_results_are_one_answer_and_an_error_ends_them() {
    check(
        "c query do 1; do 2
         s more 3
         s ok 4
         c query do 1; nonsense
         s more
         s error 1064 nonsense",
        "shop: Query do 1; do 2 -> ok, 1 more results, 7 affected
         shop: Query do 1; nonsense -> error 1064 nonsense",
    );
}

#[test]
fn progress_is_no_answer() {
    check(
        "c query alter table orders engine=innodb\n s progress\n s progress\n s ok",
        "shop: Query alter table orders engine=innodb -> ok, 2 reports",
    );
}

#[test]
fn the_content_of_a_local_file_is_counted_even_if_it_looks_like_a_command() {
    check(
        "c query load data local infile x into table orders
         s wants-file x
         c file \u{3}select 1
         c file
         s ok 2",
        "shop: Query load data local infile x into table orders -> ok, 2 affected, 9 bytes of a file",
    );
}

#[test]
fn a_prepared_statement_keeps_its_types() {
    check(
        "c prepare insert into orders values (?, ?)
         s prepared 5 0 2
         s column ?
         s column ?
         s eof
         c execute 5 00 01 0300 fe00 07000000 03746561
         s ok 1 1
         c execute 5 02 00 08000000
         s ok 1 2
         c close 5
         c execute 5 00 00 08000000
         s error 1243 Unknown prepared statement",
        "shop: Prepare insert into orders values (?, ?) as 5 -> ok
         shop: Execute 5 insert into orders values (?, ?) (07000000, 03746561) -> ok, 1 affected, 1 is the id
         shop: Execute 5 insert into orders values (?, ?) (08000000, Null) -> ok, 1 affected, 2 is the id
         shop: Close stmt 5 insert into orders values (?, ?)
         shop: Execute 5 ? (?) -> error 1243 Unknown prepared statement [its PREPARE was not seen; the parameters could not be read]",
    );
}

#[test]
fn long_data_stands_for_a_value_once() {
    check(
        "c prepare select ?
         s prepared 1 1 1
         s column ?
         s eof
         s column ?
         s eof
         c long 1 half
         c long 1 full
         c execute 1 00 01 fc00
         s ok
         c execute 1 00 01 fc00 0161
         s ok",
        "shop: Prepare select ? as 1 -> ok
         shop: Long Data 1 0 4 bytes
         shop: Long Data 1 0 4 bytes
         shop: Execute 1 select ? (long halffull) -> ok
         shop: Execute 1 select ? (0161) -> ok",
    );
}

#[test]
fn a_cursor_is_fetched_by_and_by() {
    check(
        "c prepare select 1
         s prepared 1 1 0
         s column 1
         s eof
         c execute 1
         s columns 1
         s column 1
         s eof 64
         c fetch 1
         s hex 00 00 01
         s hex 00 00 02
         s eof 64
         c fetch 1
         s hex 00 00 03
         s eof 128",
        "shop: Prepare select 1 as 1 -> ok
         shop: Execute 1 select 1 () -> ok, 1 columns
         shop: Fetch 1 select 1 no 1, 2 rows so far -> ok, 2 rows
         shop: Fetch 1 select 1 no 2, 3 rows so far -> ok, 1 rows",
    );
}

#[test]
fn bulk_has_a_row_of_parameters_for_each_execution() {
    check(
        "c prepare insert into orders values (?)
         s prepared 1 0 1
         s column ?
         s eof
         c bulk 1 8000 0300 00 01000000 01 02 03
         s ok 4",
        r#"shop: Prepare insert into orders values (?) as 1 -> ok
         shop: Bulk Execute 1 insert into orders values (?) Some(["01000000", "Null", "Default", "Ignore"]) -> ok, 4 affected"#,
    );
}

#[test]
fn clients_need_not_wait_for_answers() {
    let sent = packets(&format!(
        "{HELLO}
         c prepare select ?
         c execute 4294967295 00 01 0300 07000000
         c query select 2"
    ));
    let answers = ["s prepared 3 0 1\ns column ?\ns eof", "s ok", "s ok"];
    let mut all = sent;
    for answer in answers {
        // Each answer counts from its own command on.
        let mut more = packets(&format!("c ping\n{answer}"));
        all.extend(more.drain(1..));
    }
    assert_eq!(
        watched(&all, false).strip_prefix(HELD).unwrap().trim_end(),
        lines(
            "shop: Prepare select ? as 3 -> ok
             shop: Execute 3 select ? (07000000) -> ok
             shop: Query select 2 -> ok"
        )
    );
}

#[test]
fn the_database_is_what_the_last_use_said() {
    check(
        "c query use `other`
         s ok
         c use third
         s ok
         c use nowhere
         s error 1049 Unknown database
         c query select 1
         s ok",
        "shop: Query use `other` -> ok
         other: Init DB third -> ok
         third: Init DB nowhere -> error 1049 Unknown database
         third: Query select 1 -> ok",
    );
}

#[test]
fn nobody_is_told_what_authenticates() {
    check_from(
        "s greeting 8.4.0
         c login alice shop
         s ok",
        "c user bob
         s switch mysql_native_password
         c password
         s ok
         c reset
         s ok
         c statistics
         s string Uptime: 1
         c quit",
        "shop: Change user to bob at shop -> ok
         shop: Reset connection 0 bytes -> ok
         shop: Statistics 0 bytes -> Uptime: 1
         shop: Quit 0 bytes",
    );
}

#[test]
fn a_login_may_take_several_rounds_or_be_refused() {
    let hello = "s greeting 8.4.0\n c login alice shop\n s switch caching_sha2_password\n c password\n s hex 01 04\n c password\n";
    let story = watched(&packets(&format!("{hello}s ok")), false);
    assert_eq!(story, "greeting 8.4.0\nlogin alice to shop\nlogged in by caching_sha2_password in 5\n");
    let story = watched(&packets(&format!("{hello}s error 1045 Access denied")), false);
    assert!(story.ends_with("refused 1045 Access denied\n"), "{story}");
}

#[test]
fn tls_is_said_plainly_and_counted() {
    let mut sent = packets("s greeting 8.4.0\n c tls");
    sent.push(Sent { role: Role::Client, bytes: b"\x16\x03\x01 not ours".to_vec(), seen: 12 });
    let greeting = sent[0].bytes.len();
    assert_eq!(watched(&sent, false), format!("greeting 8.4.0\nencrypted from 36 and {greeting}\n"));
}

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

#[test]
fn two_lost_answers_in_a_row_are_two_even_when_compressed() {
    // Each frame is stored: its own length and sequence, and no length when opened.
    let framed = |role, sequence: u8, packets: &str| {
        let inner =
            packets.lines().flat_map(|line| scene::packets(line).remove(0).bytes).collect::<Vec<u8>>();
        let length = u32::try_from(inner.len()).unwrap().to_le_bytes();
        let bytes = [&length[..3], &[sequence, 0, 0, 0], &inner].concat();
        Sent { role, seen: bytes.len(), bytes }
    };
    let answer = || framed(Role::Server, 1, "s hex 00 07 00 02 00 00 00");
    let mut sent = packets("s greeting 8.4.0\n c login alice shop +zlib\n s ok");
    for nth in 0..4 {
        sent.push(framed(Role::Client, 0, &format!("c query do {nth}")));
        let mut answer = answer();
        answer.bytes[10] = 1;
        answer.seen = if nth == 1 || nth == 2 { 0 } else { answer.bytes.len() };
        sent.push(answer);
    }
    let story = watched(&sent, false);
    let unseen = "-> unseen [no answer was seen]";
    assert_eq!(
        story.split_once("compressed Zlib\n").unwrap().1.trim_end(),
        lines(&format!(
            "shop: Query do 0 -> ok, 7 affected
             missed 18 bytes of the Server: Lost
             shop: Query do 1 {unseen}
             missed 18 bytes of the Server: Lost
             shop: Query do 2 {unseen}
             shop: Query do 3 -> ok, 7 affected"
        ))
    );
}

#[test]
fn both_compressions_are_opened_and_damage_costs_one_statement() {
    for (flag, name) in [("+zlib", "Zlib"), ("+zstd", "Zstd")] {
        let mut sent = packets(&format!("s greeting 8.4.0\n c login alice shop {flag}\n s ok"));
        for nth in 0..3 {
            let mut request =
                compressed(Role::Client, 0, name, &format!("c query do {nth} {}", "and so on ".repeat(20)));
            if nth == 1 {
                // The first byte behind the header is the beginning of a mark in both.
                request.bytes[7] ^= 0xff;
            }
            sent.push(request);
            let mut answer = packets("c ping\n s ok 7").remove(1);
            let length = u32::try_from(answer.bytes.len()).unwrap().to_le_bytes();
            answer.bytes = [&length[..3], &[1, 0, 0, 0], &answer.bytes].concat();
            sent.push(Sent { seen: answer.bytes.len(), ..answer });
        }
        let story = watched(&sent, false).replace("and so on ", "");
        let (_, told) = story.split_once("compressed ").unwrap();
        let expected = format!(
            "{name}
             shop: Query do 0 -> ok, 7 affected
             missed 209 bytes of the Client: Damaged
             missed 11 bytes of the Server: WithoutRequest
             shop: Query do 2 -> ok, 7 affected [user, database or character set may have changed]"
        );
        assert_eq!(told.trim_end(), lines(&expected));
    }
}

/// The first packet of a scene, compressed.
fn compressed(role: Role, sequence: u8, name: &str, scene: &str) -> Sent {
    let inner = packets(scene).remove(0).bytes;
    let sealed = if name == "Zlib" {
        let mut sealed = Vec::new();
        let mut reader = flate2::bufread::ZlibEncoder::new(&inner[..], flate2::Compression::default());
        std::io::Read::read_to_end(&mut reader, &mut sealed).unwrap();
        sealed
    } else {
        ruzstd::encoding::compress_to_vec(&inner[..], ruzstd::encoding::CompressionLevel::Fastest)
    };
    let number = |length: usize| u32::try_from(length).unwrap().to_le_bytes();
    let bytes = [&number(sealed.len())[..3], &[sequence], &number(inner.len())[..3], &sealed].concat();
    Sent { role, seen: bytes.len(), bytes }
}

/// Queries with their own texts, and as many rows as their number says.
fn conversation(count: usize) -> String {
    (0..count).fold(HELLO.to_owned(), |scene, nth| {
        let rows = "s row a\n".repeat(nth % 5);
        format!("{scene}\nc query select {nth} of all\ns columns 1\ns column x\ns eof\n{rows}s eof")
    })
}

proptest! {
    #[test]
    fn any_split_tells_the_same(lengths in prop::collection::vec(1_usize..40, 1..20)) {
        let scene = "c prepare select ?
             s prepared 1 1 1
             s column ?
             s eof
             s column ?
             s eof
             c long 1 half
             c execute 1 00 01 fc00
             s columns 1
             s column x
             s eof
             s hex 00 00 03 616263
             s eof
             c query load data local infile
             s wants-file x
             c file 1,2,3
             c file
             s ok 1
             c quit";
        let sent = packets(&format!("{}\n{scene}", conversation(6)));
        prop_assert_eq!(split(&sent, &lengths), split(&sent, &[usize::MAX]));
    }

    #[test]
    fn whatever_is_lost_a_statement_is_right_or_marked(
        lost in prop::collection::btree_set(3_usize..120, 0..12),
        cut in prop::collection::btree_map(3_usize..120, 1_usize..20, 0..6),
    ) {
        let mut sent = packets(&conversation(20));
        for (nth, packet) in sent.iter_mut().enumerate() {
            let seen = if lost.contains(&nth) { 0 } else { cut.get(&nth).copied().unwrap_or(usize::MAX) };
            packet.seen = seen.min(packet.bytes.len());
        }
        // What was lost may have changed the database; here it has not.
        let story = watched(&sent, false).replace(" [user, database or character set may have changed]", "");
        for line in story.lines().filter(|line| line.contains("Query") && !line.contains('[')) {
            let nth: usize = line.split(' ').nth(3).unwrap().parse().unwrap();
            let rows = if nth.is_multiple_of(5) { String::new() } else { format!(", {} rows", nth % 5) };
            prop_assert_eq!(line, format!("shop: Query select {nth} of all -> ok, 1 columns{rows}"));
        }
        // What is lost hurts itself and its neighbours, not the rest.
        let hurt = 2 * (lost.len() + cut.len());
        prop_assert!(story.lines().filter(|line| line.contains("Query") && !line.contains('[')).count() + hurt >= 20, "{}", story);
    }

    #[test]
    fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..400), from in any::<bool>()) {
        let role = if from { Role::Client } else { Role::Server };
        let mut sent = packets(&conversation(2));
        sent.push(Sent { role, seen: bytes.len(), bytes });
        watched(&sent, true);
    }
}
