//! The page that Prometheus reads, whole; and that the documentation and the dashboard speak of what is on it.

#![allow(clippy::unwrap_used, reason = "for tests only")]

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use byway_api::metrics::{By, ByFamily, Cause, Done, FAMILIES, Kind, Numbers, Round, Source, Standing};
use byway_api::metrics::{Started, Thing, text};
use byway_api::{HostState, HostStatus, InventoryStatus, LeaseStatus, PeerHealth, Rejected, Status};
use byway_fabric::cluster::HostName;
use byway_fabric::health::State;
use byway_fabric::problem::{Problem, ProblemKind};
use jiff::Timestamp;

const DOCS: &str = include_str!("../../../docs/metrics.md");
const DASHBOARD: &str = include_str!("../../../packaging/grafana/byway.json");

#[test]
fn the_page_of_an_agent_that_has_seen_something() {
    let expected = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/metrics/page.txt");
    let got = text(&numbers());
    if std::env::var_os("BYWAY_BLESS").is_some() {
        std::fs::write(&expected, &got).unwrap();
    }
    let expected = std::fs::read_to_string(expected).unwrap();
    assert_eq!(got, expected, "BYWAY_BLESS=1 writes it anew");
}

#[test]
fn before_the_first_look_nothing_is_said_of_the_host() {
    let page = text(&Numbers::new(started()));
    assert!(page.contains("\nbyway_looks_total 0\n"), "{page}");
    assert!(!page.contains("byway_routes") && !page.contains("byway_inventory"), "{page}");
}

#[test]
fn names_follow_the_rules() {
    for family in FAMILIES {
        let name = family.name;
        assert!(name.starts_with("byway_"), "{name}");
        assert!(name.bytes().all(|byte| byte == b'_' || byte.is_ascii_lowercase()), "{name}");
        assert_eq!(name.ends_with("_total"), family.kind == Kind::Counter, "{name}");
        assert!(family.help.ends_with('.'), "{name}");
    }
    let names: BTreeSet<&str> = FAMILIES.iter().map(|family| family.name).collect();
    assert_eq!(names.len(), FAMILIES.len(), "each once");
}

#[test]
fn all_families_are_on_the_page() {
    let page = text(&numbers());
    for family in FAMILIES {
        assert!(page.contains(&format!("\n# TYPE {} {}\n", family.name, family.kind.word())), "{page}");
    }
}

#[test]
fn the_table_of_the_documentation_has_all_families_with_their_sorts_and_labels() {
    let rows: Vec<&str> = DOCS.lines().filter(|line| line.starts_with("| `byway_")).collect();
    let expected: Vec<String> = FAMILIES
        .iter()
        .map(|family| {
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            format!("| `{}` | {} | {} |", family.name, family.kind.word(), labels.join(", "))
                .replace("|  |", "| |")
        })
        .collect();
    assert_eq!(rows.len(), expected.len(), "{rows:?}");
    for (row, begin) in rows.iter().zip(expected) {
        assert!(row.starts_with(&begin), "{row}\nbegins otherwise than\n{begin}");
    }
}

#[test]
fn the_rules_of_the_documentation_ask_for_what_there_is() {
    assert!(asked_for(DOCS).len() > 3);
    assert_known(DOCS);
}

#[test]
fn the_dashboard_is_json_and_asks_only_for_what_there_is() {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let queries = queries(&dashboard);
    assert!(queries.len() > 10, "{queries:?}");
    for query in &queries {
        assert!(!asked_for(query).is_empty(), "{query}");
        assert_known(query);
    }
    let variables: Vec<&str> = dashboard["templating"]["list"]
        .as_array()
        .unwrap()
        .iter()
        .map(|variable| variable["name"].as_str().unwrap())
        .collect();
    assert_eq!(variables, ["source", "host"]);
    let ids: Vec<u64> =
        dashboard["panels"].as_array().unwrap().iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
}

/// Everything in a dashboard that asks Prometheus for something.
fn queries(value: &serde_json::Value) -> Vec<String> {
    match value {
        serde_json::Value::Object(fields) => fields
            .iter()
            .flat_map(|(name, value)| match value.as_str() {
                Some(query) if ["expr", "definition"].contains(&name.as_str()) => vec![query.to_owned()],
                _ => queries(value),
            })
            .collect(),
        serde_json::Value::Array(values) => values.iter().flat_map(queries).collect(),
        _ => Vec::new(),
    }
}

/// The names of metrics in a text.
fn asked_for(text: &str) -> BTreeSet<&str> {
    let words = text.split(|char: char| !char.is_ascii_alphanumeric() && char != '_');
    words.filter(|word| word.starts_with("byway_")).collect()
}

fn assert_known(text: &str) {
    let of_histograms = |name: &str| {
        let ends = ["_bucket", "_sum", "_count"].into_iter();
        ends.filter_map(|end| name.strip_suffix(end))
            .any(|name| FAMILIES.iter().any(|family| family.name == name && family.kind == Kind::Histogram))
    };
    for name in asked_for(text) {
        assert!(FAMILIES.iter().any(|family| family.name == name) || of_histograms(name), "{name} in {text}");
    }
}

fn started() -> Started {
    let at = "2026-01-02T03:04:05.678Z".parse().unwrap();
    Started { version: "0.1.0".to_owned(), host: "docker41".to_owned(), at, hands_off: false }
}

fn numbers() -> Numbers {
    let at: Timestamp = "2026-01-02T04:00:00Z".parse().unwrap();
    let mut numbers = Numbers::new(started());
    for source in [Source::Kernel, Source::Kernel, Source::Nftables, Source::Timer] {
        numbers.heard(source);
    }
    numbers.lost_notices();
    numbers.was_changed(Thing::Route, By::Process);
    numbers.looked(at);
    let mut done = Done::default();
    done.applied.add(Thing::Route, 2);
    done.failed.add(Thing::Setting, 1);
    numbers.stepped(&done);
    let took = Duration::from_micros(1_250);
    numbers.came_round(Round { took, failed: false, repaired: Some(Cause::Route) });
    numbers.came_round(Round { took: 10 * took, failed: true, repaired: Some(Cause::Several) });
    numbers.came_round(Round { took: took / 10, failed: false, repaired: None });
    let routes = |ipv4| ByFamily { ipv4, ipv6: 3 };
    numbers.stands(Standing::of(&status(at), routes(3), routes(2)));
    numbers.has_read(status(at).inventory);
    numbers
}

fn status(at: Timestamp) -> Status {
    let name = |name: &str| HostName::try_from(name.to_owned()).unwrap();
    let host = |of: &str, state| HostStatus {
        name: name(of),
        addresses: Vec::new(),
        subnets: Vec::new(),
        routes_expected: 2,
        routes_present: 2,
        state,
        path: None,
        health: (state != HostState::ThisHost).then(|| PeerHealth {
            state: State::Answers,
            since: at,
            because: String::new(),
            tried: Vec::new(),
            round_trip_micros: Some(250),
            flaps: 2,
            held_until: None,
            agent: None,
            history: Vec::new(),
        }),
    };
    let conflict = Problem { kind: ProblemKind::Conflict, host: None, what: String::new(), hint: None };
    Status {
        version: "0.1.0".to_owned(),
        agent: None,
        host: name("docker41"),
        hosts: vec![
            host("docker41", HostState::ThisHost),
            host("docker42", HostState::Routed),
            host("docker43", HostState::Conflict),
        ],
        endpoints: Vec::new(),
        problems: vec![conflict],
        pending: 1,
        inventory: InventoryStatus {
            path: "/etc/byway/inventory.toml".to_owned(),
            read_at: Some(at),
            lease: Some(LeaseStatus {
                renewed_at: Some(at),
                seconds: 300,
                errors: 2,
                ..LeaseStatus::default()
            }),
            rejected: Some(Rejected { since: at, mistakes: "a slip of the pen".to_owned() }),
        },
        peers: None,
    }
}
