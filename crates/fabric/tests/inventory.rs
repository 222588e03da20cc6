//! What inventories say, and what is said about their mistakes.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "cases/mod.rs"]
mod cases;

use std::fmt::Write as _;
use std::net::IpAddr;

use byway_fabric::cluster::{Host, HostName, PublicKey};
use byway_fabric::inventory::edit::{self, EditError, Edited, NewHost};
use byway_fabric::inventory::{self, Inventory};
use ipnet::IpNet;
use proptest::prelude::*;

const SEED: &str = r#"
[[host]]
name = "docker41"
addresses = ["192.168.199.41", "fd00:199::41"]
subnets = ["172.41.0.0/16", "fd00:172:41::/64"]

[[host]]
name = "docker42"
addresses = ["192.168.199.42", "fd00:199::42"]
subnets = ["172.42.0.0/16", "fd00:172:42::/64"]
"#;

#[test]
fn every_mistake_is_told_with_its_place() {
    cases::run("inventory/mistakes", |case| {
        match inventory::read("inventory.toml", case.section("inventory")) {
            Ok(inventory) => format!("no mistakes\n{}", show(&inventory)),
            Err(mistakes) => format!("{mistakes}\n"),
        }
    });
}

#[test]
fn a_good_inventory_says_what_each_host_has() {
    cases::run("inventory/good", |case| match inventory::read("inventory.toml", case.section("inventory")) {
        Ok(inventory) => show(&inventory),
        Err(mistakes) => format!("{mistakes}\n"),
    });
}

#[test]
fn an_edit_changes_what_it_must_and_nothing_else() {
    cases::run("inventory/edits", |case| {
        match edited(case.section("before"), case.section("command").trim()) {
            Ok(edited) => {
                assert!(inventory::read("inventory.toml", &edited.text).is_ok());
                edited.text
            }
            Err(error) => show_error(&error),
        }
    });
}

#[test]
fn a_byte_that_is_not_utf_8_has_a_place() {
    let mistakes = inventory::read_bytes("inventory.toml", b"[[host]]\nname = \"\xfcber\"\n").unwrap_err();
    assert_eq!(mistakes.to_string(), "inventory.toml:2:9: a byte that is not UTF-8 (save the file as UTF-8)");
    let utf16: Vec<u8> = "\u{feff}[[host]]".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mistakes = inventory::read_bytes("inventory.toml", &utf16).unwrap_err();
    assert_eq!(
        mistakes.to_string(),
        "inventory.toml:1:1: the file is UTF-16, not UTF-8 (save the file as UTF-8)"
    );
}

#[test]
fn a_file_of_zeros_is_called_damaged() {
    let mistakes = inventory::read_bytes("inventory.toml", &[0; 512]).unwrap_err();
    let expected = "inventory.toml:1:1: a NUL byte (the file is damaged, as after a power failure: copy it from \
                    another host or a backup)";
    assert_eq!(mistakes.to_string(), expected);
}

#[test]
fn a_file_without_end_is_not_read() {
    let text = "#".repeat(inventory::INVENTORY_BYTES_MAX + 1);
    let mistakes = inventory::read("inventory.toml", &text).unwrap_err();
    assert_eq!(mistakes.to_string(), "inventory.toml:1:1: the file has 4194305 bytes, more than 4194304");
    let garbage = "= ]\n".repeat(1_000_000);
    assert!(inventory::read("inventory.toml", &garbage).unwrap_err().list.len() <= 101);
}

#[test]
fn windows_line_ends_and_a_byte_order_mark_are_fine_and_stay() {
    let text = format!("\u{feff}{}", SEED.trim_start().replace('\n', "\r\n"));
    let read = inventory::read("inventory.toml", &text).unwrap();
    assert_eq!(read.cluster(), inventory::read("inventory.toml", SEED).unwrap().cluster());
    let edited = edited(&text, "add docker43 192.168.199.43 subnet 172.43.0.0/16").unwrap();
    let added = "\r\n[[host]]\r\nname = \"docker43\"\r\naddresses = [\"192.168.199.43\"]\r\nsubnets = [\"172.43.0.0/16\"]\r\n";
    assert_eq!(edited.text, format!("{text}{added}"));
    let removed = edit::remove("inventory.toml", &edited.text, "docker43").unwrap();
    assert_eq!(removed.text.trim_end(), text.trim_end());
}

#[test]
fn a_host_that_is_not_listed_gets_a_suggestion() {
    let inventory = inventory::read("inventory.toml", SEED).unwrap();
    let unknown = inventory.host("dokcer41").unwrap_err();
    assert_eq!(unknown.to_string(), "host `dokcer41` is not in inventory.toml; it lists docker41, docker42");
    assert_eq!(unknown.hint(), "did you mean `docker41`?");
    assert_eq!(inventory.host("web").unwrap_err().hint(), "`byway host add web --address …` adds it");
    assert_eq!(inventory.host("docker42").unwrap().name.as_str(), "docker42");
}

#[test]
fn limits_hold_for_hosts_and_subnets() {
    let mut text = String::new();
    for number in 0..=inventory::HOSTS_MAX {
        let (a, b) = (number / 256, number % 256);
        writeln!(
            text,
            "[[host]]\nname = \"h{number}\"\naddresses = [\"10.0.{a}.{b}\"]\nsubnets = [\"10.{}.{b}.0/24\"]",
            a + 1
        )
        .unwrap();
    }
    let mistakes = inventory::read("inventory.toml", &text).unwrap_err();
    assert_eq!(mistakes.list.len(), 1, "{mistakes}");
    assert!(mistakes.to_string().ends_with("`host` has 10001 entries, more than 10000"), "{mistakes}");

    let subnets: Vec<String> = (0..65).map(|number| format!("\"10.1.{number}.0/24\"")).collect();
    let text =
        format!("[[host]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\nsubnets = [{}]\n", subnets.join(", "));
    let mistakes = inventory::read("inventory.toml", &text).unwrap_err();
    assert!(mistakes.to_string().ends_with("`subnets` has 65 entries, more than 64"), "{mistakes}");
}

#[test]
fn a_wrong_file_gets_a_hundred_mistakes_and_a_count() {
    let hosts =
        "[[host]]\nname = \"a\"\naddresses = [\"10.0.0.1\"]\nsubnets = [\"10.1.0.0/24\"]\n".repeat(1_000);
    let mistakes = inventory::read("inventory.toml", &hosts).unwrap_err();
    assert_eq!(mistakes.list.len(), 101);
    assert_eq!(mistakes.list[100].what, "and 2897 mistakes more");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever is added and removed: the text stays valid, and no other host's subnets change.
    #[test]
    fn edits_never_move_another_host(
        form in 0..4usize,
        moves in prop::collection::vec((any::<bool>(), 0..12u8, prop::option::of(0..40u8)), 1..25),
    ) {
        let mut text = START[form].to_owned();
        let mut before: Vec<Host> = inventory::read("i.toml", &text).map_or_else(|_| Vec::new(), hosts);
        for (is_add, number, subnet) in moves {
            let result = if is_add { edit::add("i.toml", &text, numbered(number, subnet)) } else { edit::remove("i.toml", &text, &format!("h{number}")) };
            let Ok(edited) = result else { continue };
            text = edited.text;
            let after = inventory::read("i.toml", &text).unwrap();
            prop_assert!(after.cluster().hosts.iter().all(|host| !after.is_by_position(&host.name)));
            let after = hosts(after);
            let mut expected = before;
            expected.retain(|host| host.name != edited.host.name);
            if is_add { expected.push(edited.host); }
            prop_assert_eq!(&after, &expected);
            before = after;
        }
    }

    /// Hostile texts end in an inventory or in mistakes, never in a panic.
    #[test]
    fn any_text_is_read_to_an_end(bytes in prop::collection::vec(any::<u8>(), 0..300), cut in 0..400usize, at in 0..400usize) {
        let _ = inventory::read_bytes("i.toml", &bytes);
        let mut text = START[1].as_bytes().to_vec();
        let at = at.min(text.len());
        text.splice(at..at, bytes);
        text.truncate(cut.max(at));
        let _ = inventory::read_bytes("i.toml", &text);
        if let Ok(text) = std::str::from_utf8(&text) {
            let _ = edit::add("i.toml", text, numbered(3, None));
            let _ = edit::remove("i.toml", text, "h0");
            let _ = edit::set_key("i.toml", text, "h0", PublicKey::from_bytes([7; 32]));
        }
    }
}

/// Inventories to start from: none, all by position, mixed with comments, and the list form.
const START: [&str; 4] = [
    "",
    "[cluster]\nprefixes = [\"10.32.0.0/11\", \"fd00:172::/32\"]\n[[host]]\nname = \"h0\"\naddresses = [\"192.0.2.1\"]\n[[host]]\nname = \"h1\"\naddresses = [\"192.0.2.2\"]",
    "# head\n\n[[host]]\nname = \"h0\" # the first\naddresses = [\n  \"192.0.2.1\", # here\n]\n\n# about h1\n[[host]]\naddresses = [\"192.0.2.2\"]\nname = \"h1\"\nsubnets = [\"10.40.0.0/24\"]\n# end\n\n[cluster] # last\nprefixes = [\"10.32.0.0/11\"]\n",
    "host = [\n  { name = \"h0\", addresses = [\"192.0.2.1\"] },\n  { addresses = [\"192.0.2.2\"], name = \"h1\" },\n]\ncluster.prefixes = [\"10.32.0.0/11\", \"fd00:172::/32\"]\n",
];

fn hosts(inventory: Inventory) -> Vec<Host> {
    inventory.into_cluster().hosts
}

fn numbered(number: u8, subnet: Option<u8>) -> NewHost {
    let subnets = subnet.map(|third| vec![format!("10.40.{third}.0/24").parse().unwrap()]);
    NewHost {
        name: name(&format!("h{number}")),
        addresses: vec![IpAddr::from([192, 0, 2, number + 1])],
        subnets,
        key: number.is_multiple_of(2).then(|| PublicKey::from_bytes([number; 32])),
    }
}

fn name(name: &str) -> HostName {
    HostName::try_from(name.to_owned()).unwrap()
}

/// Does `add NAME ADDRESS… [subnet SUBNET…] [key KEY]`, `remove NAME` or `key NAME KEY`.
fn edited(text: &str, command: &str) -> Result<Edited, EditError> {
    let words: Vec<&str> = command.split_whitespace().collect();
    if words[0] == "remove" {
        return edit::remove("inventory.toml", text, words[1]);
    }
    if words[0] == "key" {
        return edit::set_key("inventory.toml", text, words[1], words[2].parse().unwrap());
    }
    let (words, key) = match words.iter().position(|word| *word == "key") {
        Some(at) => (words[..at].to_vec(), Some(words[at + 1].parse().unwrap())),
        None => (words, None),
    };
    let (addresses, subnets) = match words.iter().position(|word| *word == "subnet") {
        Some(at) => (&words[2..at], Some(&words[at + 1..])),
        None => (&words[2..], None),
    };
    let subnets = subnets.map(|all| all.iter().map(|net| net.parse::<IpNet>().unwrap()).collect());
    let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
    edit::add("inventory.toml", text, NewHost { name: name(words[1]), addresses, subnets, key })
}

fn show(inventory: &Inventory) -> String {
    let mut out = String::new();
    for host in &inventory.cluster().hosts {
        let mark = if inventory.is_by_position(&host.name) { "  by position" } else { "" };
        let key = host.key.map_or_else(String::new, |key| format!("  key {key}"));
        writeln!(out, "{}  {}  {}{mark}{key}", host.name, list(&host.addresses), list(&host.subnets))
            .unwrap();
    }
    out
}

fn list<T: ToString>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(",")
}

fn show_error(error: &EditError) -> String {
    let mut out = format!("{error}\n");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        writeln!(out, "because: {error}").unwrap();
        cause = error.source();
    }
    if let Some(hint) = error.hint() {
        writeln!(out, "hint: {hint}").unwrap();
    }
    out
}
