//! The truth itself: what is captured, logged and counted says the same, before anything is decoded; then what is decoded
//! is compared with it.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use byway_lab::Holder;

use crate::decoded;
use crate::rig::log::{self, EXECUTE, QUERY};
use crate::rig::scene::Scene;
use crate::rig::script::{Form, SCRIPTS, Script};
use crate::rig::stage::{Road, Stage};

/// Texts that are longer may be in two segments.
const SHORT_BYTES: usize = 1000;

fn play(road: Road, is_wanted: impl Fn(&Script) -> bool) {
    let stage = Stage::raise(road);
    let wanted: Vec<_> = SCRIPTS.iter().filter(|script| script.road == road && is_wanted(script)).collect();
    assert!(!wanted.is_empty(), "there is such a scene");
    for script in wanted {
        let scene = stage.play(script);
        check(&scene);
        decoded::check(&stage, &scene);
    }
}

fn check(scene: &Scene) {
    let name = scene.script.name;
    if let Some(sent) = scene.sent {
        assert_eq!(scene.logged(QUERY).count(), sent.queries, "{name}: text statements");
        // A bulk of an UPDATE is logged once for each row; there is one of two rows in the scenes.
        let rows = usize::from(name.starts_with("bulk"));
        assert_eq!(scene.logged(EXECUTE).count(), sent.executions + rows, "{name}: executions");
    }
    let said = scene.logged(QUERY).chain(scene.logged(EXECUTE)).count();
    assert!(said > 0, "{name}: nothing was said");
    assert_eq!(scene.keys.is_some(), scene.script.form == Form::Encrypted, "{name}: secrets");
    for capture in &scene.captures {
        let file = fs::read(capture).unwrap();
        match scene.script.form {
            Form::Plain => assert_texts(scene, &file, capture),
            Form::Mixed | Form::Compressed => {}
            Form::Encrypted => assert!(find(&file, b"select").is_none(), "{name}: readable"),
        }
    }
}

/// Each short statement of a connection is in the file, behind those before it.
fn assert_texts(scene: &Scene, file: &[u8], path: &Path) {
    let mut threads: Vec<u64> = scene.log.iter().map(|entry| entry.thread).collect();
    threads.sort_unstable();
    threads.dedup();
    for thread in threads {
        let mut rest = file;
        for entry in
            scene.logged(QUERY).filter(|entry| entry.thread == thread && entry.text.len() < SHORT_BYTES)
        {
            let text = String::from_utf8_lossy(&entry.text);
            let at = find(rest, &entry.text).unwrap_or_else(|| panic!("{}: {text}", path.display()));
            rest = &rest[at + entry.text.len()..];
        }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let Some(first) = wanted.first() else { return Some(0) };
    let mut places = bytes.iter().enumerate().filter(|(_, byte)| *byte == first);
    places.find(|(place, _)| bytes[*place..].starts_with(wanted)).map(|(place, _)| place)
}

#[test]
fn what_one_client_says_in_the_open_is_logged_captured_and_decoded() {
    play(Road::Plain, |script| script.form == Form::Plain && !is_elsewhere(script));
}

#[test]
fn what_is_compressed_is_logged_captured_and_decoded() {
    play(Road::Plain, |script| script.form == Form::Compressed && !is_large(script));
}

#[test]
fn what_is_encrypted_is_logged_captured_and_decoded() {
    play(Road::Plain, |script| script.form == Form::Encrypted && !is_large(script));
}

#[test]
fn statements_over_16_mib_are_logged_captured_and_decoded() {
    play(Road::Plain, is_large);
}

#[test]
fn sixty_four_clients_at_once_are_logged_captured_and_decoded() {
    play(Road::Plain, |script| script.form == Form::Mixed && !is_large(script) && !is_elsewhere(script));
}

#[test]
fn other_addresses_ports_and_interfaces_are_captured_and_decoded() {
    play(Road::Plain, is_elsewhere);
}

fn is_large(script: &Script) -> bool {
    script.name.starts_with("large")
}

/// Whether it is the usual session, at another place.
fn is_elsewhere(script: &Script) -> bool {
    ["ipv6", "odd-port", "sll2", "all-the-way", "cut"].contains(&script.name)
}

#[test]
fn what_is_lost_on_the_road_comes_again_and_is_told_once() {
    play(Road::Lossy, |_| true);
}

#[test]
fn nothing_is_left_behind() {
    for is_broken_off in [false, true] {
        let (mut lab, mut folder) = (String::new(), PathBuf::new());
        let story = AssertUnwindSafe(|| {
            let stage = Stage::raise(Road::Plain);
            (lab, folder) = (stage.lab.name().to_owned(), stage.folder.path().to_owned());
            assert!(processes_of(&lab).iter().any(|line| line.contains("mariadbd")), "the server runs");
            assert!(!is_broken_off, "on purpose");
        });
        assert_eq!(catch_unwind(story).is_err(), is_broken_off);
        assert_eq!(processes_of(&lab), [""; 0]);
        assert!(Holder::find(&lab).is_err(), "the lab is gone");
        assert!(!folder.exists(), "so are its files");
    }
}

/// The command lines of all processes that name a lab.
fn processes_of(lab: &str) -> Vec<String> {
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines
        .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
        .filter(|line| line.contains(lab))
        .collect()
}

#[test]
fn a_log_is_read_byte_by_byte() {
    let text = b"/usr/sbin/mariadbd, Version: 10.11.18 (Debian 12). started with:\n\
        Tcp port: 3306  Unix socket: /run/mariadb.sock\n\
        Time\t\t    Id Command\tArgument\n\
        261122  5:46:11\t    34 Quit\t\n\
        \t\t    35 Query\tselect *\n  from orders\n\n\twhere 'caf\xe9'\n\
        261122 15:46:11\t1234567 Init DB\tshop\n\
        \t\t    35 Query\t\n";
    let seen = log::entries(text).into_iter().map(|entry| (entry.thread, entry.command, entry.text));
    let expected = [
        (34, "Quit", &b""[..]),
        (35, "Query", b"select *\n  from orders\n\n\twhere 'caf\xe9'"),
        (1_234_567, "Init DB", b"shop"),
        (35, "Query", b""),
    ];
    assert_eq!(
        seen.collect::<Vec<_>>(),
        expected.map(|(thread, command, text)| (thread, command, text.to_vec()))
    );
}
