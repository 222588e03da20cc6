//! The files for those who want no daemon, as their readers should see them.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "cases/mod.rs"]
mod cases;

use std::fmt::Write as _;

use byway_fabric::cluster::HostName;
use byway_fabric::docker::Engine;
use byway_fabric::inventory;
use byway_fabric::render::{Format, RenderError, RenderedFile, render};

const SEED: &str = include_str!("render/seed.toml");
const MIXED: &str = include_str!("render/mixed.toml");

/// A case says `seed|mixed FORMAT HOST UPLINK BRIDGE…`; an engine is `docker/28.5.2/iptables-nft`.
#[test]
fn the_files_are_what_their_readers_expect() {
    cases::run("render/cases", |case| {
        let words: Vec<&str> = case.section("render").split_whitespace().collect();
        let inventory = if words[0] == "seed" { SEED } else { MIXED };
        let (format, engine) = words[1].split_once('/').unwrap_or((words[1], ""));
        let engine = engine.split_once('/').map(|(version, backend)| Engine {
            version: version.parse().unwrap(),
            backend: backend.parse().unwrap(),
        });
        let format = format.parse().unwrap();
        match files_past(engine.as_ref(), inventory, format, words[2], words[3], &words[4..]) {
            Ok(files) => show(&files),
            Err(error) => format!("{error}\n"),
        }
    });
}

#[test]
fn the_line_that_started_it_all_is_alone_in_its_file() {
    let files = files(SEED, Format::Ifcfg, "docker41", "eth0", &["docker0"]).unwrap();
    assert_eq!(files[0].path, "/etc/sysconfig/network-scripts/route-eth0");
    assert_eq!(files[0].text, "172.42.0.0/16 via 192.168.199.42\n");
}

#[test]
fn names_that_a_shell_would_obey_are_refused() {
    for name in ["$(reboot)", "a;b", "`id`", "a\"b", "-n", "", "eth/0", "a'b", "0123456789abcdef", "eth0\nx"]
    {
        let refused = RenderError::Interface { name: name.into() };
        assert_eq!(files(SEED, Format::Ip, "docker41", name, &[]), Err(refused.clone()), "{name}");
        assert_eq!(files(SEED, Format::Ip, "docker41", "eth0", &[name]), Err(refused), "{name}");
    }
}

#[test]
fn a_host_of_another_cluster_is_refused() {
    let error = files(SEED, Format::Ip, "docker43", "eth0", &[]).unwrap_err();
    assert_eq!(error.to_string(), "host docker43 is not in the cluster");
}

#[test]
fn every_format_is_found_by_its_name() {
    for format in Format::ALL {
        assert_eq!(format.to_string().parse(), Ok(format));
        assert!(
            "a format is one of ip, networkd, ifcfg, netplan, interfaces, nft, docker"
                .contains(format.name())
        );
    }
    let unknown = "iptables".parse::<Format>().unwrap_err();
    assert_eq!(
        unknown.to_string(),
        "a format is one of ip, networkd, ifcfg, netplan, interfaces, nft, docker"
    );
}

fn files(
    inventory: &str,
    format: Format,
    host: &str,
    uplink: &str,
    bridges: &[&str],
) -> Result<Vec<RenderedFile>, RenderError> {
    files_past(None, inventory, format, host, uplink, bridges)
}

fn files_past(
    engine: Option<&Engine>,
    inventory: &str,
    format: Format,
    host: &str,
    uplink: &str,
    bridges: &[&str],
) -> Result<Vec<RenderedFile>, RenderError> {
    let cluster = inventory::read("inventory.toml", inventory).unwrap().into_cluster();
    let host = HostName::try_from(host.to_owned()).unwrap();
    let bridges: Vec<String> = bridges.iter().map(|bridge| (*bridge).to_owned()).collect();
    render(format, &cluster, &host, uplink, &bridges, engine)
}

fn show(files: &[RenderedFile]) -> String {
    files.iter().fold(String::new(), |mut out, file| {
        write!(out, "# --- {}\n{}", file.path, file.text).unwrap();
        out
    })
}
