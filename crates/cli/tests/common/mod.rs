//! What the stories share: a lab with the real agent, what a person would type in it, and how to wait.
//!
//! Nobody sleeps here. Whoever waits hears the kernel of the node ([`Ear`]), and looks again when it spoke.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "for tests only")]

pub mod engines;
pub mod stores;
pub mod tcpdump;
pub mod traces;

use std::cell::RefCell;
use std::io::Write as _;
use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};

use byway_api::{AgentStatus, PlanReport, Status};
use byway_lab::{Lab, Options, Topology, Until};
use nix::libc;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, NetlinkAddr, bind, recv, setsockopt, sockopt};

/// The real program.
pub const BYWAY: &str = env!("CARGO_BIN_EXE_byway");
/// How long anything may take on a loaded machine; what is waited for comes in milliseconds.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait for what the kernel does not tell: the agent's own words, a counter.
const PACE: Duration = Duration::from_millis(25);
/// For the notices of a plan with thousands of steps.
const RECEIVE_BUFFER_BYTES: usize = 16 << 20;
/// LINK, `IPV4_IFADDR`, `IPV4_ROUTE`, `IPV6_IFADDR`, `IPV6_ROUTE`, `IPV4_NETCONF`, `IPV6_NETCONF` of `linux/rtnetlink.h`.
const RTNETLINK_GROUPS: [u32; 7] = [1, 5, 7, 9, 11, 24, 25];
/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`.
const NFTABLES_GROUPS: [u32; 1] = [7];

/// A lab whose agents are ready.
pub fn lab(topology: &Topology) -> Lab {
    Lab::up(topology, &Options::private(BYWAY.as_ref()), |_| {}).unwrap()
}

/// A lab whose agents have not been started.
pub fn quiet_lab(topology: &Topology) -> Lab {
    Lab::up(topology, &Options::private(BYWAY.as_ref()).without_agents(), |_| {}).unwrap()
}

/// Starts an agent and waits until it is ready.
pub fn start(lab: &Lab, host: &str) {
    lab.start_agent(host).unwrap();
    lab.await_agent(host, Until::Ready).unwrap();
}

/// Ends an agent and waits until it is gone.
pub fn end(lab: &Lab, host: &str, signal: byway_lab::Signal) {
    lab.kill_agent(host, signal).unwrap();
    lab.await_agent(host, Until::Gone).unwrap();
}

/// What a shell script says in a node, whatever comes of it.
pub fn attempt(lab: &Lab, node: &str, script: &str) -> Output {
    lab.command(node, "sh").args(["-ec", script]).stdin(Stdio::null()).output().unwrap()
}

/// What a shell script says in a node; it must succeed.
pub fn run(lab: &Lab, node: &str, script: &str) -> String {
    let out = attempt(lab, node, script);
    assert!(out.status.success(), "{node}: {script}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Puts a text into a file of a node, as an editor does: in place.
pub fn write(lab: &Lab, node: &str, path: &str, text: &str) {
    let mut tee =
        lab.command(node, "tee").arg(path).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    tee.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    assert!(tee.wait().unwrap().success(), "{node}: write {path}");
}

/// `byway` in a node: its exit status, its output, its errors.
pub fn byway(lab: &Lab, node: &str, arguments: &[&str]) -> (Option<i32>, String, String) {
    let out = lab.command(node, BYWAY).args(arguments).stdin(Stdio::null()).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (out.status.code(), text(out.stdout), text(out.stderr))
}

/// `byway status --json`.
pub fn status(lab: &Lab, host: &str) -> Status {
    let (_, out, errors) = byway(lab, host, &["status", "--json"]);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{host}: {error}: {out}{errors}"))
}

/// The agent's part of the status.
pub fn agent(lab: &Lab, host: &str) -> AgentStatus {
    status(lab, host).agent.unwrap_or_else(|| panic!("an agent runs on {host}"))
}

/// `byway plan --json`.
pub fn plan(lab: &Lab, host: &str) -> PlanReport {
    let (_, out, errors) = byway(lab, host, &["plan", "--json"]);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{host}: {error}: {out}{errors}"))
}

/// The sentences of a host's plan.
pub fn due(lab: &Lab, host: &str) -> Vec<String> {
    plan(lab, host).plan.steps.iter().map(ToString::to_string).collect()
}

/// The sentences of what stands in a host's way.
pub fn problems(lab: &Lab, host: &str) -> Vec<String> {
    status(lab, host).problems.iter().map(ToString::to_string).collect()
}

/// The agent's log.
pub fn log(lab: &Lab, host: &str) -> String {
    String::from_utf8(attempt(lab, host, "cat /run/byway/agent.log").stdout).unwrap()
}

/// Hears the kernel of one node.
pub struct Ear<'a> {
    lab: &'a Lab,
    node: String,
    rtnetlink: OwnedFd,
    nftables: OwnedFd,
    buffer: RefCell<Vec<u8>>,
}

impl<'a> Ear<'a> {
    /// Hears everything that comes from now on.
    pub fn open(lab: &'a Lab, node: &str) -> Self {
        let listen = |protocol, groups: &[u32]| {
            let socket = lab.socket(node, libc::AF_NETLINK, libc::SOCK_RAW, protocol).unwrap();
            let mask = groups.iter().map(|group| 1 << (group - 1)).sum();
            setsockopt(&socket, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).unwrap();
            bind(socket.as_raw_fd(), &NetlinkAddr::new(0, mask)).unwrap();
            socket
        };
        Self {
            lab,
            node: node.to_owned(),
            rtnetlink: listen(libc::NETLINK_ROUTE, &RTNETLINK_GROUPS),
            nftables: listen(libc::NETLINK_NETFILTER, &NFTABLES_GROUPS),
            buffer: RefCell::new(vec![0; 64 << 10]),
        }
    }

    /// Waits until `check` is content, looking again whenever the kernel has spoken; returns what it found.
    pub fn until<T>(&self, what: &str, mut check: impl FnMut() -> Result<T, String>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let why = match check() {
                Ok(found) => return found,
                Err(why) => why,
            };
            let (node, log) = (&self.node, || log(self.lab, &self.node));
            assert!(Instant::now() < deadline, "{node}: not in time: {what}: {why}\n{}", log());
            self.await_notice(PACE);
        }
    }

    /// Waits until the agent of this node has nothing to do and no trouble.
    pub fn until_at_rest(&self) {
        self.until("the plan is empty", || match due(self.lab, &self.node) {
            steps if steps.is_empty() => Ok(()),
            steps => Err(steps.join("\n")),
        });
        self.until("the agent is at rest", || match status(self.lab, &self.node) {
            Status { pending: 0, agent: Some(AgentStatus { trouble: None, .. }), .. } => Ok(()),
            status => Err(format!("{status:?}")),
        });
    }

    /// Waits until the agent names who changed what; returns who.
    pub fn until_blamed(&self, what: &str) -> String {
        self.until(what, || match agent(self.lab, &self.node).last_change {
            Some(change) if change.what == what => Ok(change.who),
            other => Err(format!("{other:?}")),
        })
    }

    /// Waits for so many datagrams of the kernel's, at most the time that anything may take.
    pub fn await_notices(&self, count: usize) -> usize {
        let deadline = Instant::now() + PATIENCE;
        let mut heard = 0;
        while heard < count && Instant::now() < deadline {
            heard += self.await_notice(PACE);
        }
        heard
    }

    /// Waits for the kernel to speak; returns how many datagrams it has said.
    fn await_notice(&self, most: Duration) -> usize {
        let mut polled =
            [&self.rtnetlink, &self.nftables].map(|fd| PollFd::new(fd.as_fd(), PollFlags::POLLIN));
        poll(&mut polled, PollTimeout::try_from(most).unwrap()).unwrap();
        [&self.rtnetlink, &self.nftables].into_iter().map(|socket| self.drain(socket)).sum()
    }

    fn drain(&self, socket: &OwnedFd) -> usize {
        let take = || recv(socket.as_raw_fd(), &mut self.buffer.borrow_mut(), MsgFlags::MSG_DONTWAIT);
        std::iter::repeat_with(take).take_while(|taken| *taken != Err(nix::errno::Errno::EAGAIN)).count()
    }
}

/// One ping, answered in time or not: what it said.
pub fn ping(lab: &Lab, from: &str, to: &str) -> Result<String, String> {
    let out = lab.command(from, "ping").args(["-n", "-c1", "-W5", to]).output().unwrap();
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() { Ok(said) } else { Err(said) }
}

/// The containers of the seed reach each other at the first try, both ways, with both families.
pub fn assert_reaching(lab: &Lab) {
    for (from, to) in
        [("c41", "172.42.0.2"), ("c41", "fd00:172:42::2"), ("c42", "172.41.0.2"), ("c42", "fd00:172:41::2")]
    {
        let said = ping(lab, from, to).unwrap_or_else(|said| panic!("{from} reaches {to}: {said}"));
        assert!(said.contains("ttl=62"), "{from} to {to}: {said}");
    }
}

/// The containers of the seed reach each other once the links have come up.
pub fn until_reaching(lab: &Lab) {
    for (from, to) in [("c41", "172.42.0.2"), ("c41", "fd00:172:42::2")] {
        // With a deadline ping goes on until it is answered.
        let out = lab.command(from, "ping").args(["-n", "-c1", "-i0.2", "-w20", to]).output().unwrap();
        assert!(out.status.success(), "{from} to {to}: {}", String::from_utf8_lossy(&out.stdout));
    }
    assert_reaching(lab);
}

/// Connects over TCP from one node to an address of another: the source address that arrives there.
pub fn source_seen(lab: &Lab, from: &str, there: &str, at: &str) -> IpAddr {
    let to: IpAddr = at.parse().unwrap();
    let listener = lab.inside(there, || std::net::TcpListener::bind((to, 0))).unwrap().unwrap();
    let to = listener.local_addr().unwrap();
    let connect = || std::net::TcpStream::connect_timeout(&to, PATIENCE);
    let _stream =
        lab.inside(from, connect).unwrap().unwrap_or_else(|error| panic!("{from} to {to}: {error}"));
    listener.accept().unwrap().1.ip()
}

/// How many packets the rule with that comment has counted, of all its families.
pub fn counted(lab: &Lab, host: &str, chain: &str, comment: &str) -> Vec<u64> {
    let json = run(lab, host, &format!("nft -j list chain inet byway {chain}"));
    let answer: serde_json::Value = serde_json::from_str(&json).unwrap();
    let rules = answer["nftables"].as_array().unwrap().iter().map(|object| &object["rule"]);
    let rules = rules.filter(|rule| rule["comment"] == format!("byway: {comment}"));
    let packets = |rule: &serde_json::Value| {
        let expressions = rule["expr"].as_array().unwrap();
        expressions.iter().find_map(|expression| expression["counter"]["packets"].as_u64()).unwrap()
    };
    rules.map(packets).collect()
}
