//! Every statement that the server's log has is told once, letter for letter, in its order, and nothing else is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

use crate::damaged;
use crate::rig::log::{CONNECT, EXECUTE, Entry, PREPARE, QUERY};
use crate::rig::rewrite::Recording;
use crate::rig::scene::Scene;
use crate::rig::script::{Cast, Form};
use crate::rig::stage::Stage;
use crate::rig::threads::threads;
use crate::rig::told::{Statement, Text, Told};
use crate::tshark;

/// What is said of an answer that never came.
const NO_ANSWER: &str = "no answer was seen";
/// `ER_UNKNOWN_STMT_HANDLER`
const UNKNOWN_STATEMENT: u64 = 1243;

/// What the log has of a connection, in its order.
type Said = Vec<(String, Text)>;

/// Compares what is told of all captures of a scene with its log.
pub(crate) fn check(stage: &Stage, scene: &Scene) {
    let name = scene.script.name;
    let recording = Recording::read(&scene.captures[0]);
    let threads = threads(&recording);
    let expected = said(stage, scene);
    let options = keys(scene);
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let captures: Vec<&Path> = scene.captures.iter().map(AsRef::as_ref).collect();
    if name == "cut" {
        let whole = expected.values().map(Vec::len).sum();
        return damaged::check_cut(&Told::of(&captures, &options), whole);
    }
    for capture in &captures {
        let told = Told::of(&[capture], &options);
        assert_told(scene, &told, &threads, &expected);
        assert_whole(name, &told);
    }
    if captures.len() > 1 {
        let told = Told::of(&captures, &options);
        assert_told(scene, &told, &threads, &expected);
        assert_everywhere(name, &told, captures.len() as u64);
    }
    if scene.script.form == Form::Encrypted {
        assert_sealed(name, &Told::of(&captures, &[]), threads.len());
    }
    if name == "odd-port" {
        assert_told(scene, &Told::of(&captures, &["--port", "3307"]), &threads, &expected);
        assert!(Told::of(&captures, &["--port", "3306"]).statements.is_empty(), "not on that port");
    }
    // tshark knows the port only, and prints what passes several interfaces as often as it is captured.
    if scene.script.form == Form::Plain && captures.len() == 1 && !["odd-port", "sll2"].contains(&name) {
        tshark::check(name, captures[0]);
    }
    if captures.len() == 1 && !name.starts_with("large") {
        damaged::check(scene, &recording, &options);
    }
}

/// The options by which its connections can be read.
fn keys(scene: &Scene) -> Vec<String> {
    scene.keys.iter().flat_map(|keys| ["--keylog".to_owned(), keys.display().to_string()]).collect()
}

/// The same statements as logged, in the order of each connection, under the same user and in the same database.
fn assert_told(
    scene: &Scene,
    told: &Told,
    threads: &BTreeMap<SocketAddr, u64>,
    expected: &BTreeMap<u64, Said>,
) {
    let (name, form) = (scene.script.name, scene.script.form);
    let mut seen: BTreeMap<u64, Said> = BTreeMap::new();
    for statement in &told.statements {
        let thread = threads[&statement.client];
        seen.entry(thread).or_default().extend(logged_as(statement, form));
    }
    assert_eq!(seen.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{name}: connections");
    for (thread, expected) in expected {
        let seen = &seen[thread];
        for nth in 0..seen.len().max(expected.len()) {
            let [seen, expected] = [seen, expected].map(|all| all.get(nth).map(short));
            assert_eq!(seen, expected, "{name}: statement {nth} of connection {thread}");
        }
    }
}

/// For a message: the beginning of a text says which it is, and its hash that it is the same.
fn short((command, text): &(String, Text)) -> (String, String, u64) {
    use std::hash::{DefaultHasher, Hash as _, Hasher as _};
    let (bytes, form) = match text {
        Text::Decoded(text) => (text.as_bytes(), "text"),
        Text::Raw(bytes) => (bytes.as_slice(), "bytes"),
    };
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    (command.clone(), format!("{form} of {}: {start}", bytes.len()), hasher.finish())
}

/// How the server logs what was told, or would.
fn logged_as(statement: &Statement, form: Form) -> Said {
    let is_ok = statement.string("outcome") == Some("ok");
    let command = statement.command.as_str();
    let (command, times) = match command {
        "Prepare" | "Init DB" if !is_ok => return Vec::new(),
        "Execute" if statement.number("error") == Some(UNKNOWN_STATEMENT) => return Vec::new(),
        "Fetch" | "Ping" | "Set option" | "Reset connection" => return Vec::new(),
        // An INSERT is logged once for all its rows.
        "Bulk Execute" if statement.words().starts_with("insert") => (EXECUTE, 1),
        "Bulk Execute" => (EXECUTE, statement.number("bulk_rows").unwrap()),
        other => (other, 1),
    };
    let text = match command {
        QUERY | PREPARE | EXECUTE | "Init DB" => trimmed(&statement.text),
        "Field List" => Text::Decoded(statement.words().replace('\0', " ")),
        "Change user" => {
            let words = statement.words();
            let (user, database) = words.split_once(" in ").unwrap();
            let over = if form == Form::Encrypted { "SSL/TLS" } else { "TCP/IP" };
            Text::Decoded(format!("{user}@{} on {database} using {over}", statement.client.ip()))
        }
        _ => Text::Decoded(String::new()),
    };
    // A PREPARE that failed is not logged, but the CLOSE of what never was is not either.
    if command == "Close stmt" && statement.words().contains("refused or not seen") {
        return Vec::new();
    }
    (0..times).map(|_| (command.to_owned(), text.clone())).collect()
}

/// The server takes spaces off both ends, and semicolons off the end.
fn trimmed(text: &Text) -> Text {
    let is_space = |byte: u8| matches!(byte, b' ' | b'\t' | b'\n' | 0x0b | 0x0c | b'\r');
    let bytes = match text {
        Text::Decoded(text) => text.as_bytes(),
        Text::Raw(bytes) => bytes,
    };
    let from = bytes.iter().position(|byte| !is_space(*byte)).unwrap_or(bytes.len());
    let to = bytes.iter().rposition(|byte| !is_space(*byte) && *byte != b';').map_or(from, |last| last + 1);
    let bytes = bytes[from..to.max(from)].to_vec();
    match text {
        Text::Decoded(_) => Text::Decoded(String::from_utf8(bytes).unwrap()),
        Text::Raw(_) => Text::Raw(bytes),
    }
}

/// What the log has of each connection, decoded by the server itself where it is not UTF-8.
fn said(stage: &Stage, scene: &Scene) -> BTreeMap<u64, Said> {
    let at_first = match scene.script.cast {
        Cast::Client(_, options) => {
            options.iter().find_map(|option| option.strip_prefix("charset=")).unwrap_or("utf8mb4")
        }
        Cast::Terminal(..) => "utf8mb4",
    };
    let mut charsets: BTreeMap<u64, String> = BTreeMap::new();
    let mut said: BTreeMap<u64, Said> = BTreeMap::new();
    for entry in scene.log.iter().filter(|entry| entry.command != CONNECT) {
        let charset = charsets.entry(entry.thread).or_insert_with(|| at_first.to_owned());
        let text = decoded(stage, entry, charset);
        *charset = charset_after(entry, at_first).unwrap_or_else(|| charset.clone());
        said.entry(entry.thread).or_default().push((entry.command.to_owned(), text));
    }
    said
}

fn charset_after(entry: &Entry, at_first: &str) -> Option<String> {
    let text = String::from_utf8_lossy(&entry.text).to_lowercase();
    match entry.command {
        "Change user" => Some(at_first.to_owned()),
        QUERY => {
            let name = text.strip_prefix("set names ").or_else(|| text.strip_prefix("set character set "))?;
            Some(name.split([' ', ',', ';']).next().unwrap().to_owned())
        }
        _ => None,
    }
}

fn decoded(stage: &Stage, entry: &Entry, charset: &str) -> Text {
    if charset.starts_with("utf8") || entry.text.is_ascii() {
        return match String::from_utf8(entry.text.clone()) {
            Ok(text) => Text::Decoded(text),
            Err(error) => Text::Raw(error.into_bytes()),
        };
    }
    Text::Decoded(stage.decode(&entry.text, charset))
}

/// Nothing was missed, and only what never got an answer is not certain.
fn assert_whole(name: &str, told: &Told) {
    let mut doubtful = 0;
    for statement in told.statements.iter().filter(|statement| !statement.doubts.is_empty()) {
        let is_killed = statement.words() == "select sleep(100)" && statement.doubts == [NO_ANSWER];
        assert!(is_killed || statement.words().contains("refused or not seen"), "{name}: {statement:?}");
        doubtful += 1;
    }
    let summary = &told.summary;
    let expected = [
        ("statements", told.statements.len()),
        ("doubtful", doubtful),
        ("unreadable", 0),
        ("left", 0),
        ("connections_given_up", 0),
    ];
    for (what, count) in expected {
        assert_eq!(summary[what], count, "{name}: {what}");
    }
    assert_eq!(summary["bytes"], serde_json::json!({}), "{name}: bytes that were missed");
    assert_eq!(summary["encrypted"], serde_json::json!({}), "{name}");
}

/// Each answer was seen at all points, and part of its time was the network's.
fn assert_everywhere(name: &str, told: &Told, points: u64) {
    for statement in told.statements.iter().filter(|statement| statement.number("first_ns").is_some()) {
        let words = statement.words();
        assert_eq!(statement.number("points"), Some(points), "{name}: {words}");
        let [network, first, whole] =
            ["network_ns", "first_ns", "whole_ns"].map(|part| statement.number(part).unwrap());
        assert!(0 < network && network <= first && first <= whole, "{name}: {words}");
    }
}

/// Without the keys it is said that it is encrypted, and how much.
fn assert_sealed(name: &str, told: &Told, connections: usize) {
    assert!(told.statements.is_empty(), "{name}: {:?}", told.statements);
    let encrypted = told.notes.iter().filter(|(kind, _)| kind == "encrypted").count();
    let sealed: Vec<_> = told.summary["encrypted"].as_object().unwrap().values().collect();
    let bytes: u64 = sealed.iter().map(|counts| counts[1].as_u64().unwrap()).sum();
    // One login of the scene is to fail before anything is encrypted.
    assert!(encrypted > 0 && encrypted <= connections, "{name}: {encrypted} of {connections}");
    assert!(bytes > 1000, "{name}: {sealed:?}");
}

#[test]
fn the_log_knows_what_a_connection_writes_in() {
    let entry = |text: &str| Entry { thread: 1, command: QUERY, text: text.into() };
    assert_eq!(charset_after(&entry("SET NAMES gbk"), "latin1").as_deref(), Some("gbk"));
    assert_eq!(
        charset_after(&entry("set names latin1, autocommit = 0"), "utf8mb4").as_deref(),
        Some("latin1")
    );
    assert_eq!(charset_after(&entry("select 1"), "utf8mb4"), None);
}
