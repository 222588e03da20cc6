//! Conversations of MySQL as text, and what is told of them.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

#[path = "mysql_session/compression.rs"]
mod compression;
#[path = "mysql_session/imperfect.rs"]
mod imperfect;
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
