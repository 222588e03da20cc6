//! Statements go in, and a table of what a server is busy with comes out.
//!
//! A statement is a line: `at 2s took 5ms rows 3 as shop in orders from 10.0.0.7 to 10.0.1.1:3306 | SELECT 1`; what is not
//! said is usual. `fails` is an error, `unanswered` has no answer, `doubtful` may be wrong; `ping`, `prepare`, `execute`,
//! `fetch`, `close` and `quit` are commands.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

use byway_fabric::mysql::digest::{
    By, Digests, End, Figures, Order, SHOWN_BYTES_MAX, Sample, Settings, TEXT_BYTES_MAX, Whose,
};
use byway_wire::mysql::Command;
use byway_wire::mysql::text::Charset;
use byway_wire::sql::{Backslashes, DigestId};
use proptest::prelude::*;

const SECOND_NS: u64 = 1_000_000_000;

#[test]
fn statements_that_differ_in_their_values_are_one() {
    check(
        Settings::default(),
        "took 10ms rows 1 | SELECT * FROM orders WHERE id = 7
         took 30ms rows 1 | select * from orders where id = 8
         took 60ms affected 5 | UPDATE orders SET paid = 'yes'",
        "60.0% 60ms for 1, max 60ms, 0 rows, 5 affected | update orders set paid = ?
         40.0% 40ms for 2, max 30ms, 2 rows, 0 affected | select * from orders where id = ?",
    );
}

#[test]
fn the_most_frequent_come_first_if_asked_so() {
    check(
        Settings { order: Order::Count, ..Settings::default() },
        "took 900ms | SELECT SLEEP(0.9)
         took 1ms | SELECT 1
         took 1ms | SELECT 2
         took 1ms | SELECT 3",
        "75.0% 3ms for 3, max 1ms, 0 rows, 0 affected | select ?
         25.0% 900ms for 1, max 900ms, 0 rows, 0 affected | select sleep(?)",
    );
}

#[test]
fn users_have_their_own_lines_if_asked_so() {
    check(
        Settings { by: By::User, ..Settings::default() },
        "took 1ms as root | SELECT 1
         took 2ms as shop | SELECT 2
         took 4ms as shop | SELECT 3
         took 3ms | SELECT 3",
        "60.0% 6ms for 2, max 4ms, 0 rows, 0 affected | user shop | select ?
         30.0% 3ms for 1, max 3ms, 0 rows, 0 affected | user not known | select ?
         10.0% 1ms for 1, max 1ms, 0 rows, 0 affected | user root | select ?",
    );
}

#[test]
fn clients_and_servers_have_their_own_lines_if_asked_so() {
    let asked = "took 3ms from 10.0.0.7 to 10.0.1.1:3306 | SELECT 1
                 took 1ms from 10.0.0.8 to 10.0.1.1:3306 | SELECT 1
                 took 6ms from 10.0.0.7 to [fd00::1]:3307 | SELECT 1";
    check(
        Settings { by: By::Client, ..Settings::default() },
        asked,
        "90.0% 9ms for 2, max 6ms, 0 rows, 0 affected | client 10.0.0.7 | select ?
         10.0% 1ms for 1, max 1ms, 0 rows, 0 affected | client 10.0.0.8 | select ?",
    );
    check(
        Settings { by: By::Server, ..Settings::default() },
        asked,
        "60.0% 6ms for 1, max 6ms, 0 rows, 0 affected | server [fd00::1]:3307 | select ?
         40.0% 4ms for 2, max 3ms, 0 rows, 0 affected | server 10.0.1.1:3306 | select ?",
    );
}

#[test]
fn no_database_is_another_one_than_one_that_is_not_known() {
    check(
        Settings { by: By::Database, ..Settings::default() },
        "took 5ms in shop | SELECT 1
         took 3ms in - | SELECT 1
         took 2ms | SELECT 1",
        "50.0% 5ms for 1, max 5ms, 0 rows, 0 affected | database shop | select ?
         30.0% 3ms for 1, max 3ms, 0 rows, 0 affected | database none | select ?
         20.0% 2ms for 1, max 2ms, 0 rows, 0 affected | database not known | select ?",
    );
}

#[test]
fn errors_count_with_their_time_and_what_was_not_answered_without() {
    check(
        Settings { order: Order::Errors, ..Settings::default() },
        "took 10ms fails | SELECT * FROM nowhere
         unanswered | SELECT SLEEP(100)
         took 1ms doubtful | SELECT 1
         took 2ms fails doubtful | SELECT 'x",
        "50.0% 10ms for 1, max 10ms, 0 rows, 0 affected, 1 failed | select * from nowhere
         50.0% 3ms for 2, max 2ms, 0 rows, 0 affected, 1 failed, 2 doubtful | select ?
         0.0% 0ns for 1, max -, 0 rows, 0 affected, 1 unanswered | select sleep(?)",
    );
}

#[test]
fn commands_are_called_as_the_toolkit_calls_them() {
    check(
        Settings { order: Order::Count, ..Settings::default() },
        "took 1ms ping
         took 7ms prepare | SELECT * FROM t WHERE id = ?
         took 6ms execute | SELECT * FROM t WHERE id = ?
         took 5ms fetch | SELECT * FROM t WHERE id = ?
         took 4ms execute
         close | SELECT * FROM t WHERE id = ?
         close
         quit",
        "25.0% 0ns for 2, max -, 0 rows, 0 affected | deallocate prepare ?
         12.5% 7ms for 1, max 7ms, 0 rows, 0 affected | prepare select * from t where id = ?
         12.5% 6ms for 1, max 6ms, 0 rows, 0 affected | execute select * from t where id = ?
         12.5% 5ms for 1, max 5ms, 0 rows, 0 affected | fetch select * from t where id = ?
         12.5% 4ms for 1, max 4ms, 0 rows, 0 affected | administrator command: Stmt_execute
         12.5% 1ms for 1, max 1ms, 0 rows, 0 affected | administrator command: Ping
         12.5% 0ns for 1, max -, 0 rows, 0 affected | administrator command: Quit",
    );
}

#[test]
fn identifiers_are_those_of_the_toolkit() {
    // As pt-query-digest 3.2.1 printed them for a capture.
    let printed = [
        ("ping", "E8390778DC20D4CC04FE01C5B31FD305"),
        ("quit", "EDBC971AEC392917AA353644DE4C4CB4"),
        ("fetch", "5814490CA8A7395E2B0486FAB3B5DBD6"),
        ("close", "F35CCCED7D400036559914DA8A7B7F28"),
    ];
    for (line, id) in printed {
        let digests = digests(Settings::default(), line);
        assert_eq!(digests.ranked(1).rows[0].group.id().to_string(), id, "{line}");
    }
}

#[test]
fn the_slowest_statement_is_the_one_that_is_shown() {
    let digests = digests(
        Settings::default(),
        "took 2ms at 1s from 10.0.0.1 | SELECT 'first'
         took 9ms at 2s from 10.0.0.2 | SELECT 'slowest'
         took 9ms at 3s from 10.0.0.3 | SELECT 'just as slow'
         unanswered at 4s from 10.0.0.4 | SELECT 'never'",
    );
    let ranking = digests.ranked(1);
    let group = ranking.rows[0].group;
    assert_eq!(String::from_utf8_lossy(&group.slowest().bytes), "SELECT 'slowest'");
    assert_eq!(group.slowest_ns(), (2 * SECOND_NS, Some(9_000_000)));
    assert_eq!(group.slowest_between().0.to_string(), "10.0.0.2");
}

#[test]
fn an_execution_may_be_shown_with_its_values() {
    let mut digests = Digests::new(Settings::default(), 1);
    let slow = parse("took 9ms execute | SELECT ?");
    let fast = parse("took 1ms execute | SELECT ?");
    let slowest = digests.note(&slow.sample()).unwrap();
    digests.show(slowest, b"SELECT 'value'", Charset::Utf8);
    assert_eq!(digests.note(&fast.sample()), None, "it is not the slowest");
    let ranking = digests.ranked(1);
    assert_eq!(ranking.rows[0].group.slowest().bytes, b"SELECT 'value'");
    assert_eq!(ranking.rows[0].group.figures().count, 2);
}

#[test]
fn what_is_not_listed_is_with_the_others() {
    let digests = digests(
        Settings::default(),
        "took 10ms | SELECT a
         took 20ms | SELECT b
         took 30ms | SELECT c
         took 40ms | SELECT d",
    );
    let ranking = digests.ranked(2);
    let others = ranking.others.unwrap();
    assert_eq!(ranking.rows.len(), 2);
    assert_eq!((others.groups, others.given_up), (2, 0));
    assert_eq!(others.figures.times.sum_ns(), 30_000_000);
    assert!((others.share - 0.3).abs() < 1e-9);
    assert_eq!(digests.ranked(4).others, None);
}

#[test]
fn rates_are_of_the_whole_time_and_for_a_watcher_of_the_last_interval() {
    let mut digests = digests(Settings::default(), "at 0s | SELECT 1\nat 10s | SELECT 2\nat 10s | SELECT a");
    let rate = |digests: &Digests| digests.per_second(digests.ranked(1).rows[0].group.figures());
    assert_eq!(rate(&digests), Some(0.2));
    digests.turn(20 * SECOND_NS);
    assert_eq!(rate(&digests), Some(0.2), "no interval is over yet");
    for _ in 0..30 {
        digests.note(&parse("at 21s | SELECT 1").sample());
    }
    digests.turn(22 * SECOND_NS);
    assert_eq!(rate(&digests), Some(15.0));
    digests.turn(23 * SECOND_NS);
    assert_eq!(rate(&digests), Some(0.0), "nothing came");
}

#[test]
fn one_moment_has_no_rate() {
    let digests = digests(Settings::default(), "at 5s | SELECT 1");
    assert_eq!(digests.per_second(digests.all()), None);
}

#[test]
fn a_long_statement_is_cut_where_it_is_shown_but_not_where_it_is_told_apart() {
    let long = |last: &str| format!("SELECT {}, {last}", vec!["some_column"; 1000].join(", "));
    let mut digests = Digests::new(Settings::default(), 1);
    for last in ["x", "y", "x"] {
        digests.note(&parse(&format!("took 1ms | {}", long(last))).sample());
    }
    let ranking = digests.ranked(2);
    let counts: Vec<u64> = ranking.rows.iter().map(|row| row.group.figures().count).collect();
    assert_eq!(counts, [2, 1]);
    let fingerprint = ranking.rows[0].group.fingerprint();
    assert!(fingerprint.is_cut());
    assert_eq!((fingerprint.bytes.len(), fingerprint.length), (SHOWN_BYTES_MAX, long("x").len()));
    assert_eq!(ranking.rows[0].group.id(), DigestId::of(long("x").to_lowercase().as_bytes()));
}

#[test]
fn an_insert_of_many_megabytes_is_one_of_its_kind_and_leaves_no_buffer_behind() {
    let mut digests = Digests::new(Settings::default(), 1);
    for rows in [1, 700_000] {
        let line = format!("took 1ms | INSERT INTO t VALUES {}", vec!["(1, 'x')"; rows].join(", "));
        assert!(rows == 1 || line.len() > TEXT_BYTES_MAX);
        digests.note(&parse(&line).sample());
    }
    assert_eq!(digests.groups(), 1);
    assert!(digests.memory() < 200_000, "{}", digests.memory());
}

#[test]
fn a_second_byte_that_is_a_backslash_does_not_hide_the_end_of_a_string() {
    let mut digests = Digests::new(Settings::default(), 1);
    // 表 in Shift-JIS ends with a backslash.
    for text in [&b"SELECT '\x95\x5c', secret"[..], b"SELECT 'x', secret"] {
        let asked = parse("took 1ms | ?");
        digests.note(&Sample { text: Some(text), charset: Charset::of_name("sjis"), ..asked.sample() });
    }
    let ranking = digests.ranked(2);
    assert_eq!(ranking.rows.len(), 1);
    assert_eq!(ranking.rows[0].group.fingerprint().bytes, b"select ?, secret");
}

#[test]
fn too_many_groups_leave_the_important_ones_and_exact_sums() {
    let settings = Settings { bytes_max: 100_000, ..Settings::default() };
    let mut digests = Digests::new(settings, 1);
    for nth in 0..10_000_u32 {
        let rare = format!("took 1ms rows 2 | SELECT {}", letters(nth));
        digests.note(&parse(&rare).sample());
        digests.note(&parse("took 3ms rows 1 | SELECT important").sample());
    }
    assert!(digests.memory() < 150_000, "{}", digests.memory());
    assert!(digests.given_up() > 9_000);
    let ranking = digests.ranked(1);
    let (first, others) = (ranking.rows[0].group, ranking.others.unwrap());
    assert_eq!(first.fingerprint().bytes, b"select important");
    assert_eq!((first.figures().count, others.figures.count), (10_000, 10_000));
    assert_eq!((first.figures().rows, others.figures.rows), (10_000, 20_000));
    assert_eq!(others.groups + others.given_up, 10_000);
}

proptest! {
    #[test]
    fn groups_and_others_are_all_statements(
        texts in proptest::collection::vec(("[a-z]{1,3}", 0_u64..9, any::<bool>()), 0..300),
        bytes_max in 1_000_usize..100_000,
        most in 0_usize..20,
    ) {
        let settings = Settings { bytes_max, order: Order::Count, ..Settings::default() };
        let mut digests = Digests::new(settings, 7);
        for (column, rows, fails) in &texts {
            let fails = if *fails { "fails" } else { "" };
            digests.note(&parse(&format!("took {rows}ms rows {rows} {fails} | SELECT {column}")).sample());
        }
        let ranking = digests.ranked(most);
        let told = ranking.rows.iter().map(|row| row.group.figures());
        let told: Vec<&Figures> = told.chain(ranking.others.iter().map(|others| &others.figures)).collect();
        let sum = |of: fn(&Figures) -> u64| told.iter().map(|figures| of(figures)).sum::<u64>();
        prop_assert_eq!(sum(|figures| figures.count), texts.len() as u64);
        prop_assert_eq!(sum(|figures| figures.rows), digests.all().rows);
        prop_assert_eq!(sum(|figures| figures.errors), digests.all().errors);
        prop_assert_eq!(sum(|figures| figures.times.sum_ns()), digests.all().times.sum_ns());
        prop_assert_eq!(sum(|figures| figures.times.count()), texts.len() as u64);
    }

    #[test]
    fn any_bytes_are_counted(
        texts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..60), 1..50),
        command in any::<u8>(),
    ) {
        let mut digests = Digests::new(Settings { by: By::Database, bytes_max: 5_000, ..Settings::default() }, 7);
        for text in &texts {
            let asked = parse("took 1ms | ?");
            let command = Command::from_code(command);
            let sample = Sample { command, text: Some(text), database: Some(text), ..asked.sample() };
            digests.note(&sample);
        }
        prop_assert_eq!(digests.all().count, texts.len() as u64);
    }
}

/// Notes the statements, and compares the ranking.
fn check(settings: Settings, asked: &str, told: &str) {
    let digests = digests(settings, asked);
    let lines: Vec<&str> = told.lines().map(str::trim).collect();
    assert_eq!(tell(&digests).trim_end(), lines.join("\n"));
}

fn digests(settings: Settings, asked: &str) -> Digests {
    let mut digests = Digests::new(settings, 1);
    for line in asked.lines() {
        digests.note(&parse(line).sample());
    }
    digests
}

fn tell(digests: &Digests) -> String {
    let mut text = String::new();
    for row in digests.ranked(100).rows {
        let figures = row.group.figures();
        let Figures { count, rows, affected, .. } = figures;
        let max = figures.times.max_ns().map_or("-".to_owned(), time);
        let sum = time(figures.times.sum_ns());
        text += &format!(
            "{:.1}% {sum} for {count}, max {max}, {rows} rows, {affected} affected",
            row.share * 100.0
        );
        for (what, count) in
            [("failed", figures.errors), ("unanswered", figures.unanswered), ("doubtful", figures.doubtful)]
        {
            text += &if count > 0 { format!(", {count} {what}") } else { String::new() };
        }
        let fingerprint = String::from_utf8_lossy(&row.group.fingerprint().bytes).into_owned();
        text += &format!("{} | {fingerprint}\n", whose(row.group.whose()));
    }
    text
}

fn whose(whose: Whose<&[u8]>) -> String {
    let name = |name: Option<&[u8]>| match name {
        None => "not known".to_owned(),
        Some(b"") => "none".to_owned(),
        Some(name) => String::from_utf8_lossy(name).into_owned(),
    };
    match whose {
        Whose::Anybody => String::new(),
        Whose::Database(database) => format!(" | database {}", name(database)),
        Whose::User(user) => format!(" | user {}", name(user)),
        Whose::Client(address) => format!(" | client {address}"),
        Whose::Server(address) => format!(" | server {address}"),
    }
}

fn time(ns: u64) -> String {
    if ns == 0 { "0ns".to_owned() } else { format!("{}ms", ns / 1_000_000) }
}

/// A name of letters: digits would become a `?`.
fn letters(mut number: u32) -> String {
    let mut name = String::from("c");
    while number > 0 {
        name.push(char::from(b'g' + u8::try_from(number % 16).unwrap()));
        number /= 16;
    }
    name
}

/// A line, read.
struct Asked {
    text: Option<String>,
    user: Option<String>,
    database: Option<String>,
    sample: Sample<'static>,
}

impl Asked {
    fn sample(&self) -> Sample<'_> {
        Sample {
            text: self.text.as_deref().map(str::as_bytes),
            user: self.user.as_deref().map(str::as_bytes),
            database: self.database.as_deref().map(|name| name.trim_start_matches('-').as_bytes()),
            ..self.sample
        }
    }
}

fn parse(line: &str) -> Asked {
    let (words, text) = line.split_once('|').map_or((line, None), |(words, text)| (words, Some(text.trim())));
    let mut asked = Asked { text: text.map(str::to_owned), user: None, database: None, sample: usual() };
    let sample = &mut asked.sample;
    let mut words = words.split_whitespace();
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap();
        match word {
            "at" => sample.time_ns = ns(value()),
            "took" => (sample.whole_ns, sample.end) = (Some(ns(value())), End::Ok),
            "rows" => sample.rows = value().parse().unwrap(),
            "affected" => sample.affected = value().parse().unwrap(),
            "from" => sample.client = value().parse().unwrap(),
            "to" => sample.server = value().parse().unwrap(),
            "as" => asked.user = Some(value().to_owned()),
            "in" => asked.database = Some(value().to_owned()),
            "fails" => sample.end = End::Error,
            "unanswered" => sample.end = End::Unseen,
            "doubtful" => sample.is_certain = false,
            "ping" => sample.command = Command::Ping,
            "prepare" => sample.command = Command::StmtPrepare,
            "execute" => sample.command = Command::StmtExecute,
            "fetch" => sample.command = Command::StmtFetch,
            "close" => (sample.command, sample.end) = (Command::StmtClose, End::NotDue),
            "quit" => (sample.command, sample.end) = (Command::Quit, End::NotDue),
            other => panic!("{other} is no word of a statement: {line}"),
        }
    }
    asked
}

fn usual() -> Sample<'static> {
    Sample {
        command: Command::Query,
        text: None,
        charset: Charset::Utf8,
        backslashes: Backslashes::Escape,
        database: None,
        user: None,
        client: "10.0.0.1".parse().unwrap(),
        server: "10.0.1.1:3306".parse().unwrap(),
        time_ns: 0,
        whole_ns: None,
        end: End::Ok,
        rows: 0,
        affected: 0,
        bytes: 0,
        is_certain: true,
    }
}

fn ns(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.find(|at: char| at.is_ascii_alphabetic()).unwrap());
    number.parse::<u64>().unwrap() * if unit == "s" { SECOND_NS } else { 1_000_000 }
}
