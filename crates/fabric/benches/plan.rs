//! What thinking costs in a cluster of 5,000 hosts, IPv4 and IPv6: reading the inventory, working out what this
//! host should have, and what to change.
//!
//! Criterion measures CPU time of this thread here, not time on the wall: others use the machine too.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "what is made here is known to be good")]

#[allow(dead_code, clippy::semicolon_if_nothing_returned, reason = "it belongs to the stories")]
#[path = "../tests/scene/mod.rs"]
mod scene;
mod verdict;

use std::cell::RefCell;
use std::fmt::Write as _;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use byway_fabric::inventory;
use byway_fabric::plan::plan;
use criterion::Criterion;
use scene::Scene;
use verdict::{Samples, Sheet, thread_cpu};

/// Two routes to each of the others.
const HOSTS: usize = 5000;
/// What `plan` may take when there is nothing to do.
const PLAN_LIMIT: f64 = 5e-3;
/// How many times as long it may take when one host has moved.
const CHANGED_LIMIT: f64 = 1.5;

fn main() -> ExitCode {
    let mut criterion = Criterion::default().configure_from_args();
    let at_rest = Scene::read(&scene_text(HOSTS));
    let desired = at_rest.desired();
    assert!(plan(&desired, &at_rest.observed).steps.is_empty(), "the scene is one at rest");
    let mut moved = Scene::read(&scene_text(HOSTS));
    moved.cluster.hosts[HOSTS / 2].addresses[0] = "172.31.255.254".parse().expect("an address");
    let moved = moved.desired();
    assert_eq!(plan(&moved, &at_rest.observed).steps.len(), 1, "the host's IPv4 route moves");
    let text = inventory_text(HOSTS);

    let mut time = |name: &str, work: &mut dyn FnMut()| measure(&mut criterion, name, work);
    let nothing = time("plan, nothing to do", &mut || drop(black_box(plan(&desired, &at_rest.observed))));
    let one = time("plan, one host moved", &mut || drop(black_box(plan(&moved, &at_rest.observed))));
    let wanted = time("desired", &mut || drop(black_box(at_rest.desired())));
    let read = time("inventory::read", &mut || drop(black_box(inventory::read("inventory.toml", &text))));

    let mut sheet = Sheet::new("5,000 hosts, 10,000 routes: CPU time of one thread");
    sheet.limit("plan, nothing to do", &nothing, PLAN_LIMIT);
    sheet.at_most("plan, one host moved", &one, CHANGED_LIMIT, ("nothing to do", &nothing));
    sheet.told("desired", &wanted);
    sheet.told("inventory::read", &read);
    sheet.finish()
}

/// Lets criterion measure, and takes its samples, one for each batch that it asks for.
fn measure(criterion: &mut Criterion, name: &str, work: &mut dyn FnMut()) -> Samples {
    let samples = RefCell::new(Samples::default());
    criterion.bench_function(name, |bencher| {
        bencher.iter_custom(|times| {
            let begun = thread_cpu();
            for _ in 0..times {
                work();
            }
            let taken = thread_cpu() - begun;
            let count = u32::try_from(times).unwrap_or(u32::MAX);
            samples.borrow_mut().add(taken / f64::from(count));
            Duration::from_secs_f64(taken)
        });
    });
    samples.into_inner()
}

/// Address and subnet of a host, per family.
fn host(nth: usize) -> [(String, String); 2] {
    let (high, low) = (nth >> 8, nth & 255);
    [
        (format!("172.16.{high}.{low}"), format!("10.{high}.{low}.0/24")),
        (format!("fd00:1::{nth:x}"), format!("fd00:2:{nth:x}::/64")),
    ]
}

/// The first host, with everything that it should have.
fn scene_text(hosts: usize) -> String {
    let mut text = String::new();
    for nth in 1..=hosts {
        let [v4, v6] = host(nth);
        let _ = writeln!(text, "host h{nth} at {} {} holds {} {}", v4.0, v6.0, v4.1, v6.1);
    }
    text += "me h1
        link lo 127.0.0.1/8 ::1/128
        link eth0 172.16.0.1/12 fd00:1::1/64
        link docker0 bridge 10.0.1.1/24 fd00:2:1::1/64
        route default via 172.31.0.1 dev eth0
        sysctl net.ipv4.conf.eth0.forwarding = 1
        sysctl net.ipv4.conf.docker0.forwarding = 1
        sysctl net.ipv6.conf.eth0.force_forwarding = 1
        sysctl net.ipv6.conf.docker0.force_forwarding = 1
        table as wanted\n";
    for nth in 2..=hosts {
        for ((via, to), src) in host(nth).into_iter().zip(["10.0.1.1", "fd00:2:1::1"]) {
            let _ = writeln!(text, "route {to} via {via} dev eth0 src {src} proto byway");
        }
    }
    text
}

fn inventory_text(hosts: usize) -> String {
    let mut text = "[cluster]\nprefixes = [\"10.0.0.0/8\", \"fd00:2::/32\"]\n".to_owned();
    for nth in 1..=hosts {
        let [v4, v6] = host(nth);
        let _ = write!(
            text,
            "\n[[host]]\nname = \"h{nth}\"\naddresses = [\"{}\", \"{}\"]\nsubnets = [\"{}\", \"{}\"]\n",
            v4.0, v6.0, v4.1, v6.1
        );
    }
    text
}
