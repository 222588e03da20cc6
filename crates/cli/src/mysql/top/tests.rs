//! What people and programs see.

use std::collections::BTreeMap;
use std::net::IpAddr;

use byway_fabric::mysql::digest::{By, Digests, End, Sample, Settings};
use byway_wire::mysql::Command;
use byway_wire::mysql::text::Charset;
use byway_wire::sql::Backslashes;
use jiff::tz::TimeZone;
use serde_json::json;

use super::{Detail, Literals, Options, Part, Sort, table::cut, text};

/// 2026-11-22 05:53:00 UTC.
const START_NS: u64 = 1_795_326_780_000_000_000;

#[test]
fn a_table_begins_with_the_sums_and_ends_with_the_others() {
    assert_eq!(
        shown(By::Nothing, |_| ()),
        "\
4 statements, 3 different, in 4.00 s, 1.00 per second, response time 1.00 s in all
1 failed, 1 without an answer, 1 in doubt

#   SHARE       TIME  COUNT  PER S     MEDIAN       95 %       99 %        MAX  ROWS  ERRORS  STATEMENT
1  90.0 %  900.00 ms      2   0.50  300.00 ms  600.00 ms  600.00 ms  600.00 ms    10       0  select * from orders wher…
2  10.0 %  100.00 ms      1   0.25  100.00 ms  100.00 ms  100.00 ms  100.00 ms     0       1  select * from `nowhere\\x1…
    0.0 %       0 ns      1   0.25          -          -          -          -     0       0  1 other
"
    );
}

#[test]
fn without_a_terminal_nothing_is_cut() {
    let told = shown(By::Nothing, |options| options.width = usize::MAX);
    assert!(told.contains("  select * from orders where customer = ? and paid = ?\n"), "{told}");
}

#[test]
fn clients_have_the_names_of_their_containers() {
    let told = shown(Part::Client.into(), |options| options.width = 140);
    let column = told.find("CLIENT").unwrap() - told[..told.find("CLIENT").unwrap()].rfind('\n').unwrap() - 1;
    let whose: Vec<&str> = told.lines().skip(3).map(|line| line[column..].trim_end()).collect();
    assert_eq!(
        whose,
        [
            "CLIENT      STATEMENT",
            "web         select * from orders where custom…",
            "172.41.0.3  select * from `nowhere\\x1b[?j` li…",
            "            1 other",
        ]
    );
}

#[test]
fn below_the_table_all_is_told_that_is_known() {
    let told = shown(Part::User.into(), |options| {
        options.detail = Detail::All;
        options.most = 1;
    });
    let (_, below) = told.rsplit_once("\n\n").unwrap();
    assert_eq!(
        below,
        "\
1  A4C98E31D1038282FE2E813217EC2397  shop
  select * from orders where customer = ? and paid = ?
  2 statements, 0.50 per second, 10 rows, 200 bytes of rows
  min 300.00 ms, mean 450.00 ms, median 300.00 ms, 95 % 600.00 ms, 99 % 600.00 ms, max 600.00 ms
  from 2026-11-22 05:53:00.000000 to 2026-11-22 05:53:01.000000
  the slowest: 600.00 ms, at 2026-11-22 05:53:01.000000, web → db:3306
    SELECT * FROM orders WHERE customer = 'O\\\\'Hara' AND paid = '\\x1b[31m'
"
    );
}

#[test]
fn masked_statements_have_no_values() {
    let told = shown(By::Nothing, |options| {
        options.detail = Detail::All;
        options.literals = Literals::Masked;
    });
    assert!(told.contains("SELECT * FROM orders WHERE customer = ? AND paid = ?\n"), "{told}");
    assert!(!told.contains("O\\'Hara"), "{told}");
}

#[test]
fn programs_get_the_same_in_nanoseconds() {
    let told = super::json(&digests(Part::Client.into()), &options(&names()));
    assert_eq!(told["summary"]["count"], 4);
    assert_eq!(told["others"]["count"], 1);
    let expected = json!({
        "rank": 1,
        "share": 0.9,
        "id": "A4C98E31D1038282FE2E813217EC2397",
        "fingerprint": "select * from orders where customer = ? and paid = ?",
        "client": "172.41.0.2",
        "client_name": "web",
        "count": 2,
        "per_second": 0.5,
        "errors": 0,
        "unanswered": 0,
        "doubtful": 0,
        "rows": 10,
        "affected": 0,
        "bytes": 200,
        "first_ns": START_NS,
        "last_ns": START_NS + 1_000_000_000,
        "response_ns": {
            "total": 900_000_000,
            "min": 300_000_000,
            "average": 450_000_000,
            "median": 300_000_000,
            "p95": 600_000_000,
            "p99": 600_000_000,
            "max": 600_000_000,
        },
        "slowest": {
            "statement": "SELECT * FROM orders WHERE customer = 'O\\'Hara' AND paid = '\u{1b}[31m'",
            "length": 66,
            "time_ns": START_NS + 1_000_000_000,
            "response_ns": 600_000_000,
            "client": "172.41.0.2",
            "server": "172.42.0.2:3306",
        },
    });
    assert_eq!(told["statements"][0], expected);
}

#[test]
fn wide_characters_take_two_columns() {
    assert_eq!(cut("select 表, 表", 12), "select 表, …");
    assert_eq!(cut("select 表, 表", 13), "select 表, 表");
}

fn shown(by: By, change: impl FnOnce(&mut Options<'_>)) -> String {
    let names = names();
    let mut options = options(&names);
    change(&mut options);
    let styled = text(&digests(by), &options);
    String::from_utf8_lossy(&anstream::adapter::strip_bytes(styled.as_bytes()).into_vec()).into_owned()
}

fn digests(by: By) -> Digests {
    let mut digests = Digests::new(Settings { by, order: Sort::default().into(), ..Settings::default() }, 1);
    let second = 1_000_000_000;
    let usual = Sample {
        command: Command::Query,
        text: None,
        charset: Charset::Utf8,
        backslashes: Backslashes::Escape,
        database: Some(b"shop"),
        user: Some(b"shop"),
        client: "172.41.0.2".parse().unwrap(),
        server: "172.42.0.2:3306".parse().unwrap(),
        time_ns: START_NS,
        whole_ns: Some(300_000_000),
        end: End::Ok,
        rows: 5,
        affected: 0,
        bytes: 100,
        is_certain: true,
    };
    digests.note(&Sample { text: Some(b"SELECT * FROM orders WHERE customer = 7 AND paid = 'no'"), ..usual });
    digests.note(&Sample {
        text: Some(b"SELECT * FROM orders WHERE customer = 'O\\'Hara' AND paid = '\x1b[31m'"),
        time_ns: START_NS + second,
        whole_ns: Some(600_000_000),
        ..usual
    });
    digests.note(&Sample {
        text: Some(b"SELECT * FROM `nowhere\x1b[2J` LIMIT 1"),
        time_ns: START_NS + 2 * second,
        whole_ns: Some(100_000_000),
        client: "172.41.0.3".parse().unwrap(),
        user: None,
        rows: 0,
        bytes: 0,
        end: End::Error,
        ..usual
    });
    digests.note(&Sample {
        text: Some(b"SELECT SLEEP(100)"),
        time_ns: START_NS + 4 * second,
        end: End::Unseen,
        whole_ns: None,
        rows: 0,
        bytes: 0,
        is_certain: false,
        ..usual
    });
    digests
}

fn names() -> BTreeMap<IpAddr, String> {
    let named = [("172.41.0.2", "web"), ("172.42.0.2", "db")];
    named.into_iter().map(|(address, name)| (address.parse().unwrap(), name.to_owned())).collect()
}

fn options(names: &BTreeMap<IpAddr, String>) -> Options<'_> {
    Options {
        names,
        most: 2,
        width: 120,
        detail: Detail::Line,
        literals: Literals::Shown,
        zone: TimeZone::UTC,
    }
}
