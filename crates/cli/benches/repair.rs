//! How long what somebody broke stays broken: two hosts of a real lab with the real agents, first as they are,
//! then with an inventory of 1,000 hosts on the same segment.
//!
//! A colleague's deed is told by the kernel in a notice, and so is its repair; the time between the two is
//! measured, on a socket of this program in the host's network namespace. A deleted route is timed from just
//! before the deletion, which adds some microseconds.

#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;

use std::fmt::Write as _;
use std::io::Write as _;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::process::{Child, ExitCode, Stdio};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use byway_fabric::observed::PROTOCOL;
use byway_lab::{Lab, Options, Topology, Vandal};
use ipnet::IpNet;
use nix::libc;
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, recv, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike as _};
use verdict::{Samples, Sheet, wall};

/// What a deleted route may take to be back, in the middle.
const ROUTE_LIMIT: f64 = 20e-3;
/// Deletions of a route.
const ROUTES: usize = 200;
/// How often each of the others is broken.
const DEEDS: usize = 20;
/// Hosts of the large inventory.
const MANY: usize = 1000;
/// No repair takes so long.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two deeds, so that each finds the agent at rest.
const REST: Duration = Duration::from_millis(100);
/// Where everything is broken, and the host to which its routes lead.
const NEAR: &str = "docker41";

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

fn run(lab: &Lab, script: &str) -> Result<()> {
    start(lab, script)?.end()
}

/// A deed under way: what comes of it is heard while it is done. It is waited for.
struct Deed(Child);

fn start(lab: &Lab, script: &str) -> Result<Deed> {
    let child = lab.command(NEAR, "sh").args(["-ec", script]).spawn();
    child.map(Deed).with_context(|| script.to_owned())
}

impl Deed {
    fn end(mut self) -> Result<()> {
        let status = self.0.wait()?;
        ensure!(status.success(), "a deed ended with {status}");
        Ok(())
    }
}

impl Drop for Deed {
    fn drop(&mut self) {
        drop(self.0.wait());
    }
}

/// Puts this thread before all others, but not what it starts: a notice has no time of its own, so it is told
/// when it is read.
#[expect(clippy::print_stderr, reason = "the reader of the numbers must know")]
fn hear_at_once() {
    let first = libc::sched_param { sched_priority: 1 };
    let policy = libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK;
    // SAFETY: the parameter lives until the call returns, and only this thread's scheduling changes.
    let refused = unsafe { libc::sched_setscheduler(0, policy, &raw const first) };
    if let Err(error) = nix::errno::Errno::result(refused) {
        eprintln!("repair: this bench may not run before others ({error}), so notices may be heard late");
    }
}

/// CPU time that the near host's agent has taken.
fn agent_cpu(lab: &Lab) -> Result<f64> {
    let path = format!("/proc/{}/schedstat", lab.agent_pid(NEAR)?);
    let text = std::fs::read_to_string(&path).context(path)?;
    let nanos: u64 = text.split(' ').next().context("an empty schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanos).as_secs_f64())
}

/// `linux/rtnetlink.h`, `linux/netconf.h`, `linux/netfilter/nfnetlink.h`.
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV6_ROUTE: u32 = 11;
const RTNLGRP_IPV4_NETCONF: u32 = 24;
const NFNLGRP_NFTABLES: u32 = 7;
const RTM_NEWNETCONF: u16 = 80;
/// Subsystem 10, message 15: the end of a transaction.
const NFT_NEWGEN: u16 = 0x0a0f;

/// Hears one kind of the near host's notices.
struct Ear(OwnedFd);

/// One notice: its kind and its body.
struct Notice<'a> {
    kind: u16,
    body: &'a [u8],
}

impl Notice<'_> {
    /// `struct ifinfomsg`: the flags are at 8. That there is somebody at the other end is told later, often when
    /// the routes are back already.
    fn link_is_up(&self) -> bool {
        let flags =
            self.body.get(8..12).and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_ne_bytes);
        flags & libc::IFF_UP.cast_unsigned() != 0
    }

    /// `struct rtmsg`: the protocol is at 5.
    fn is_our_route(&self) -> bool {
        self.body.get(5) == Some(&PROTOCOL)
    }
}

impl Ear {
    fn open(lab: &Lab, protocol: i32, groups: &[u32]) -> Result<Self> {
        let socket = lab.socket(NEAR, libc::AF_NETLINK, libc::SOCK_RAW | libc::SOCK_CLOEXEC, protocol)?;
        // Thousands of routes are told faster than we read.
        if setsockopt(&socket, sockopt::RcvBufForce, &(16 << 20)).is_err() {
            setsockopt(&socket, sockopt::RcvBuf, &(16 << 20))?;
        }
        setsockopt(&socket, sockopt::ReceiveTimeout, &TimeVal::seconds(PATIENCE.as_secs().cast_signed()))?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups.iter().map(|group| 1 << (group - 1)).sum()))?;
        Ok(Self(socket))
    }

    fn deeds(&self, mut deed: impl FnMut() -> Result<f64>) -> Result<Samples> {
        let mut samples = Samples::default();
        for _ in 0..DEEDS {
            sleep(REST);
            self.forget();
            samples.add(deed()?);
        }
        Ok(samples)
    }

    /// Drops what was told until now.
    fn forget(&self) {
        let mut buffer = vec![0; 64 << 10];
        while recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT).is_ok() {}
    }

    /// Waits for so many notices of that sort; returns when the last one was heard.
    fn until(&self, count: usize, mut wanted: impl FnMut(&Notice<'_>) -> bool) -> Result<f64> {
        let (mut seen, mut buffer) = (0, vec![0; 64 << 10]);
        while seen < count {
            let length = recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty())
                .with_context(|| format!("heard {seen} of {count} notices"))?;
            let mut rest = &buffer[..length];
            while let [l0, l1, l2, l3, k0, k1, ..] = *rest {
                let length = usize::try_from(u32::from_ne_bytes([l0, l1, l2, l3]))?;
                ensure!((16..=rest.len()).contains(&length), "a notice of {length} bytes");
                let notice = Notice { kind: u16::from_ne_bytes([k0, k1]), body: &rest[16..length] };
                seen += usize::from(wanted(&notice));
                rest = &rest[length.next_multiple_of(4).min(rest.len())..];
            }
        }
        Ok(wall())
    }
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
