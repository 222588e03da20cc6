//! How long what somebody broke stays broken: two hosts of a real lab with the real agents, first as they are,
//! then with an inventory of 1,000 hosts on the same segment.
//!
//! A colleague's deed is told by the kernel in a notice, and so is its repair; the time between the two is
//! measured, on a socket of this program in the host's network namespace. A deleted route is timed from just
//! before the deletion, which adds some microseconds.

#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;

#[path = "repair/ear.rs"]
mod ear;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use byway_lab::{Lab, Options, Topology, Vandal};
use ear::{
    Ear, NEAR, NFNLGRP_NFTABLES, NFT_NEWGEN, PATIENCE, REST, RTM_NEWNETCONF, RTNLGRP_IPV4_NETCONF,
    RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE, RTNLGRP_LINK, hear_at_once, run, start,
};
use ipnet::IpNet;
use nix::libc;
use verdict::{Samples, Sheet, wall};

/// What a deleted route may take to be back, in the middle.
const ROUTE_LIMIT: f64 = 20e-3;
/// Deletions of a route.
const ROUTES: usize = 200;
/// Hosts of the large inventory.
const MANY: usize = 1000;

fn main() -> Result<ExitCode> {
    let topology = Topology::parse("bench", &topology_text())?;
    let lab = Lab::up(&topology, &Options::private(env!("CARGO_BIN_EXE_byway").as_ref()), |_| {})?;
    run(&lab, "echo 1 > /proc/sys/net/ipv6/conf/eth0/keep_addr_on_down")?;
    hear_at_once();
    let mut sheet = Sheet::new("From the notice that it is broken to the notice that it is whole");
    measure(&lab, 2, &mut sheet)?;
    let all_there = Samples::from_iter([grow(&lab)?]);
    sheet.told("1,000 hosts: from the new inventory to the last route", &all_there);
    measure(&lab, MANY, &mut sheet)?;
    lab.down()?;
    Ok(sheet.finish())
}

fn measure(lab: &Lab, hosts: usize, sheet: &mut Sheet) -> Result<()> {
    let what = |deed: &str| format!("{} hosts: {deed}", if hosts == MANY { "1,000" } else { "2" });
    let before = agent_cpu(lab)?;
    let routes = routes(lab)?;
    let cpu = (agent_cpu(lab)? - before) / f64::from(u32::try_from(ROUTES)?);
    sheet.limit(&what("route deleted"), &routes, ROUTE_LIMIT);
    sheet.told(&what("route deleted, 95th of 100"), &Samples::from_iter([routes.at_percent(95)]));
    sheet.told(&what("CPU time of the agent for that"), &Samples::from_iter([cpu]));
    sheet.told(&what("setting flipped"), &settings(lab)?);
    sheet.told(&what("table deleted"), &tables(lab)?);
    sheet.told(&what("link down and up: all routes"), &links(lab, 2 * (hosts - 1))?);
    Ok(())
}

/// Deletes the routes to the far host, IPv4 and IPv6 in turns.
fn routes(lab: &Lab) -> Result<Samples> {
    let mut vandal = Vandal::in_node(lab, NEAR)?;
    let subnets: [IpNet; 2] = ["172.42.0.0/16".parse()?, "fd00:172:42::/64".parse()?];
    let mut samples = Samples::default();
    for nth in 0..ROUTES {
        samples.add(vandal.delete(subnets[nth % 2], PATIENCE)?.as_secs_f64());
    }
    Ok(samples)
}

/// Switches forwarding off.
fn settings(lab: &Lab) -> Result<Samples> {
    let ear = Ear::open(lab, libc::NETLINK_ROUTE, &[RTNLGRP_IPV4_NETCONF])?;
    ear.deeds(|| {
        let _deed = start(lab, "echo 0 > /proc/sys/net/ipv4/conf/eth0/forwarding")?;
        let broken = ear.until(1, |notice| notice.kind == RTM_NEWNETCONF)?;
        Ok(ear.until(1, |notice| notice.kind == RTM_NEWNETCONF)? - broken)
    })
}

/// Deletes our table.
fn tables(lab: &Lab) -> Result<Samples> {
    let ear = Ear::open(lab, libc::NETLINK_NETFILTER, &[NFNLGRP_NFTABLES])?;
    ear.deeds(|| {
        let _deed = start(lab, "nft delete table inet byway")?;
        let broken = ear.until(1, |notice| notice.kind == NFT_NEWGEN)?;
        Ok(ear.until(1, |notice| notice.kind == NFT_NEWGEN)? - broken)
    })
}

/// Takes the link down, and measures from the notice that it is up again to the last of so many routes.
fn links(lab: &Lab, routes: usize) -> Result<Samples> {
    let ear = Ear::open(lab, libc::NETLINK_ROUTE, &[RTNLGRP_LINK, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE])?;
    ear.deeds(|| {
        run(lab, "ip link set eth0 down")?;
        sleep(REST);
        ear.forget();
        let _deed = start(lab, "ip link set eth0 up")?;
        let up = ear.until(1, |notice| notice.kind == libc::RTM_NEWLINK && notice.link_is_up())?;
        Ok(ear.until(routes, |notice| notice.kind == libc::RTM_NEWROUTE && notice.is_our_route())? - up)
    })
}

/// Lists 1,000 hosts in the inventory of the near host; returns how long it takes until all routes are there.
fn grow(lab: &Lab) -> Result<f64> {
    let ear = Ear::open(lab, libc::NETLINK_ROUTE, &[RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE])?;
    let mut write = lab.command(NEAR, "sh");
    write.args(["-c", "cat > /etc/byway/new && mv /etc/byway/new /etc/byway/inventory.toml"]);
    let mut child = write.stdin(Stdio::piped()).spawn().context("write the inventory")?;
    child.stdin.take().context("its input")?.write_all(inventory_text().as_bytes())?;
    ensure!(child.wait()?.success(), "the inventory was not written");
    let begun = wall();
    Ok(ear.until(2 * (MANY - 2), |notice| notice.kind == libc::RTM_NEWROUTE && notice.is_our_route())?
        - begun)
}

/// CPU time that the near host's agent has taken.
fn agent_cpu(lab: &Lab) -> Result<f64> {
    let path = format!("/proc/{}/schedstat", lab.agent_pid(NEAR)?);
    let text = std::fs::read_to_string(&path).context(path)?;
    let nanos: u64 = text.split(' ').next().context("an empty schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanos).as_secs_f64())
}

fn topology_text() -> String {
    let mut text =
        "[[segment]]\nname = \"lan\"\nprefixes = [\"10.0.0.0/16\", \"fd00:199::/64\"]\n".to_owned();
    for number in [41, 42] {
        let _ = write!(
            text,
            "[[host]]\nname = \"docker{number}\"\naddresses = [\"10.0.0.{number}\", \"fd00:199::{number}\"]\n\
             subnets = [\"172.{number}.0.0/16\", \"fd00:172:{number}::/64\"]\n"
        );
    }
    text
}

/// The two hosts, and as many that are only written down.
fn inventory_text() -> String {
    let mut text = String::new();
    for number in [41, 42] {
        let _ = write!(
            text,
            "[[host]]\nname = \"docker{number}\"\naddresses = [\"10.0.0.{number}\", \"fd00:199::{number}\"]\n\
             subnets = [\"172.{number}.0.0/16\", \"fd00:172:{number}::/64\"]\n"
        );
    }
    for nth in 2..MANY {
        let (high, low) = (nth / 250, 1 + nth % 250);
        let _ = write!(
            text,
            "[[host]]\nname = \"h{nth}\"\naddresses = [\"10.0.{}.{low}\", \"fd00:199::1:{nth:x}\"]\n\
             subnets = [\"10.{}.{low}.0/24\", \"fd00:173:{nth:x}::/64\"]\n",
            10 + high,
            64 + high
        );
    }
    text
}
