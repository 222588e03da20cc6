//! Two segments with a router between: neighbours are reached directly, the others by the router while it carries
//! packets of containers, and through a tunnel otherwise. The path changes while packets go.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Stdio};

use byway_api::HostState;
use byway_fabric::path;
use byway_lab::{Lab, Signal, Spread};
use common::engines::{self, C41, C42};
use common::tcpdump::Tcpdump;
use common::{Ear, attempt, byway, end, lab, ping, plan, problems, quiet_lab, run, start, status, write};

/// docker41 and docker42 in one segment, docker43 and docker44 in the other.
fn two_segments() -> Lab {
    lab(&Spread { hosts: 4, containers: 1, segments: 2 }.topology())
}

/// What the router must know to carry packets of containers.
const LEARN: &str = "
    ip route add 172.41.0.0/16 via 192.168.199.41; ip -6 route add fd00:172:41::/64 via fd00:199::41
    ip route add 172.43.0.0/16 via 192.168.198.43; ip -6 route add fd00:172:43::/64 via fd00:198::43";
const FORGET: &str = "
    ip route del 172.41.0.0/16; ip -6 route del fd00:172:41::/64
    ip route del 172.43.0.0/16; ip -6 route del fd00:172:43::/64";

/// By which path one host sends to another, in a word.
fn path_of(lab: &Lab, from: &str, to: &str) -> String {
    let status = status(lab, from);
    let host = status.hosts.iter().find(|host| host.name.as_str() == to).unwrap();
    host.path.as_ref().map_or("none", path::Path::word).to_owned()
}

/// Waits until both ends of the two that the stories are about take that path.
fn until_path(lab: &Lab, word: &str) {
    for (from, to) in [("docker41", "docker43"), ("docker43", "docker41")] {
        let ear = Ear::open(lab, from);
        ear.until(&format!("{to} is reached by the path {word}"), || match path_of(lab, from, to) {
            path if path == word && !is_refused(lab, from, to) => Ok(()),
            path => Err(path),
        });
        ear.until_at_rest();
    }
}

/// Whether nothing arrived there just now, so that packets are refused.
fn is_refused(lab: &Lab, from: &str, to: &str) -> bool {
    status(lab, from).hosts.iter().any(|host| host.name.as_str() == to && host.state == HostState::Gone)
}

/// Containers of two hosts reach each other both ways with both families, over so many routers.
fn assert_reaching(lab: &Lab, ends: [&str; 2], ttl: u8) {
    let [one, other] = ends;
    for (from, to) in [(one, other), (other, one)] {
        for at in [format!("172.{to}.0.2"), format!("fd00:172:{to}::2")] {
            let said = ping(lab, &format!("c{from}"), &at).unwrap_or_else(|said| panic!("{from}: {said}"));
            assert!(said.contains(&format!("ttl={ttl}")), "c{from} to {at}: {said}");
        }
    }
}

/// Sends some megabytes over TCP and back; connections find out by themselves which packets fit.
fn assert_bulk(lab: &Lab, from: &str, there: &str, at: &str) {
    const BYTES: usize = 4 << 20;
    let to: IpAddr = at.parse().unwrap();
    let listener = lab.inside(there, || TcpListener::bind((to, 0))).unwrap().unwrap();
    let to = listener.local_addr().unwrap();
    let echo = std::thread::spawn(move || {
        let (mut stream, from) = listener.accept().unwrap();
        let mut all = vec![0; BYTES];
        stream.read_exact(&mut all).unwrap();
        stream.write_all(&all).unwrap();
        from.ip()
    });
    let connect = || TcpStream::connect_timeout(&to, common::PATIENCE);
    let mut stream = lab.inside(from, connect).unwrap().unwrap();
    stream.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let sent: Vec<u8> = (0..BYTES).map(|at| at.to_le_bytes()[1]).collect();
    stream.write_all(&sent).unwrap();
    let mut back = vec![0; BYTES];
    stream.read_exact(&mut back).unwrap();
    assert!(sent == back, "{from} to {to}: what came back is not what was sent");
    let from_whom = echo.join().unwrap();
    let own = if at.contains(':') { "fd00:172:" } else { "172." };
    assert!(from_whom.to_string().starts_with(own), "{from_whom} is no container");
}

/// How many packets a capture has that a filter takes.
fn count(file: &Path, filter: &str) -> usize {
    let out =
        std::process::Command::new("tcpdump").args(["-n", "-r"]).arg(file).arg(filter).output().unwrap();
    String::from_utf8(out.stdout).unwrap().lines().count()
}

/// What containers send through the tunnel: behind the headers of UDP, VXLAN and Ethernet, an IPv4 or IPv6 source address
/// that ends as those of containers here do. Hosts try each other's routers all the time, and answer by the tunnel.
const TUNNELLED: &str =
    "udp port 7172 and ((udp[28:2] = 0x0800 and udp[45] = 2) or (udp[28:2] = 0x86dd and udp[53] = 2))";

#[test]
fn neighbours_are_reached_directly_and_a_host_behind_a_router_through_a_tunnel() {
    let lab = two_segments();
    assert_reaching(&lab, ["41", "42"], 62);
    // The tunnel is one hop, whatever it crosses.
    assert_reaching(&lab, ["41", "43"], 62);
    assert_reaching(&lab, ["42", "44"], 62);
    assert_eq!(
        [path_of(&lab, "docker41", "docker42"), path_of(&lab, "docker41", "docker43")],
        ["direct", "tunnel"]
    );

    let (code, out, _) = byway(&lab, "docker41", &["status"]);
    assert_eq!(code, Some(0), "nobody has to look: {out}");
    assert!(out.contains("routes 6 of 6 present") && out.contains("tunnel"), "{out}");
    let (_, out, _) = byway(&lab, "docker41", &["plan"]);
    for words in [
        "docker43 is reached through the tunnel byway.vx to 192.168.198.43, 1450 bytes at most",
        "it is not proven that the router 192.168.199.1 carries packets of containers",
        "containers here send up to 1500 and are told by this host",
    ] {
        assert!(out.replace('\n', " ").contains(words), "{words}: {out}");
    }
    lab.down().unwrap();
}

#[test]
fn large_packets_get_through_a_tunnel_and_connections_find_their_size() {
    let lab = two_segments();
    // As much as the containers' own link takes.
    for (to, most) in [("172.43.0.2", 1472), ("fd00:172:43::2", 1452)] {
        let ping = |options: &str| {
            let out = attempt(&lab, "c41", &format!("ping -n -c3 -i0.2 -W5 {options} {to}"));
            (out.status.success(), String::from_utf8_lossy(&out.stdout).into_owned())
        };
        let (whole, said) = ping("-M dont -s 3000");
        assert!(whole, "in fragments: {said}");
        let (fits, said) = ping(&format!("-M do -s {most}"));
        assert!(!fits && said.contains("1450"), "the host says what fits: {said}");
        assert_bulk(&lab, "c41", "c43", to);
    }
}

#[test]
fn real_engines_let_in_what_comes_through_a_tunnel() {
    let releases = ["20.10", "28.5"].map(|text| text.parse().unwrap());
    let lab =
        engines::raise(&Spread { hosts: 2, containers: 1, segments: 2 }.topology().with_engines(&releases));
    for (from, to) in [(C41, C42), (C42, C41)] {
        for at in engines::addresses(&lab, to) {
            assert_bulk(&lab, from, to, &at.to_string());
        }
    }
    for host in ["docker41", "docker42"] {
        assert_eq!(problems(&lab, host), [""; 0]);
    }
}

#[test]
fn packets_of_a_tunnel_are_on_the_wire_only_where_there_is_one() {
    let lab = two_segments();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("eth0.pcap");
    let dump = Tcpdump::start(&lab, "docker41", &file, &["-i", "eth0", "icmp or icmp6 or udp port 7172"]);
    assert_reaching(&lab, ["41", "42"], 62);
    assert_reaching(&lab, ["41", "43"], 62);
    let to_neighbour = "host 172.42.0.2 or host fd00:172:42::2";
    dump.finish(|file| count(file, TUNNELLED) >= 8 && count(file, to_neighbour) >= 8);
    assert_eq!((count(&file, TUNNELLED), count(&file, to_neighbour)), (8, 8), "two for each ping");
    assert_eq!(count(&file, "host 172.43.0.2 or host fd00:172:43::2"), 0, "nothing goes beside the tunnel");
}

/// A ping that goes on until it is told to stop.
struct Pinging(Child);

impl Pinging {
    fn start(lab: &Lab, from: &str, to: &str) -> Self {
        let mut command = lab.command(from, "ping");
        command.args(["-n", "-q", "-i0.02", to]).stdin(Stdio::null()).stdout(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    /// Stops it; how many were sent and how many answers came.
    fn stop(mut self) -> (usize, usize) {
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(i32::try_from(self.0.id()).unwrap()),
            Signal::SIGINT,
        )
        .unwrap();
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.0.wait().unwrap();
        let line = said.lines().find(|line| line.contains("packets transmitted")).unwrap();
        let numbers: Vec<usize> = line.split(' ').filter_map(|word| word.parse().ok()).collect();
        (numbers[0], numbers[1])
    }
}

impl Drop for Pinging {
    fn drop(&mut self) {
        // It has ended already, or the test has failed.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_router_that_learns_and_forgets_changes_the_path_while_packets_go() {
    let lab = two_segments();
    until_path(&lab, "tunnel");
    let pings = ["172.43.0.2", "fd00:172:43::2"].map(|to| Pinging::start(&lab, "c41", to));
    run(&lab, "router", LEARN);
    until_path(&lab, "router");
    for ping in pings {
        let (sent, answered) = ping.stop();
        // The last may still be under way.
        assert!(
            answered + 1 >= sent && sent > 10,
            "{answered} of {sent}: nothing is lost when a path gets better"
        );
    }
    assert_reaching(&lab, ["41", "43"], 61);
    assert_bulk(&lab, "c41", "c43", "172.43.0.2");
    let (_, out, _) = byway(&lab, "docker41", &["plan"]);
    let words = "docker43 is reached by the router 192.168.199.1";
    assert!(out.contains(words) && out.contains("docker44 is reached through the tunnel"), "{out}");
    assert_eq!(problems(&lab, "docker41"), [""; 0]);

    run(&lab, "router", FORGET);
    until_path(&lab, "tunnel");
    let out = attempt(&lab, "c41", "ping -n -q -c50 -i0.02 172.43.0.2");
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.contains(" 0% packet loss"), "once the path has changed: {said}");
    assert_reaching(&lab, ["41", "43"], 62);
}

#[test]
fn what_comes_by_the_router_is_taken_while_the_answer_goes_through_the_tunnel() {
    let lab = two_segments();
    // docker43 checks sources strictly, as some distributions do, until byway is told of peers behind routers.
    assert_eq!(run(&lab, "docker43", "cat /proc/sys/net/ipv4/conf/byway.vx/rp_filter").trim(), "2");
    run(&lab, "docker43", "echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter");
    let ear = Ear::open(&lab, "docker43");
    ear.until("the check is loose again", || {
        match run(&lab, "docker43", "cat /proc/sys/net/ipv4/conf/eth0/rp_filter") {
            value if value.trim() == "2" => Ok(()),
            value => Err(value),
        }
    });
    // The router carries what goes to docker43 only, and so both keep their tunnels; by hand, one does not.
    run(&lab, "router", "ip route add 172.43.0.0/16 via 192.168.198.43");
    run(&lab, "c41", "ping -n -c1 -W5 172.43.0.2");
    end(&lab, "docker41", Signal::SIGKILL);
    run(
        &lab,
        "docker41",
        "ip route replace 172.43.0.0/16 via 192.168.199.1 src 172.41.0.1 metric 172 proto 172",
    );
    let said = ping(&lab, "c41", "172.43.0.2").unwrap_or_else(|said| panic!("there by the router: {said}"));
    assert!(said.contains("ttl=62"), "the answer came through the tunnel: {said}");
}

#[test]
fn a_tunnel_that_somebody_broke_is_whole_again() {
    let lab = two_segments();
    let ear = Ear::open(&lab, "docker41");
    for deed in [
        "ip link del byway.vx",
        "ip link set byway.vx down",
        "ip link set byway.vx mtu 1300",
        "bridge fdb show dev byway.vx | while read mac rest; do bridge fdb del $mac dev byway.vx; done",
        "ip neighbour flush dev byway.vx nud permanent",
        "ip neighbour replace 192.168.198.43 lladdr 02:00:00:00:00:09 dev byway.vx nud permanent",
        "ip address flush dev byway.vx",
        "ip link del byway.vx; ip link add byway.vx type vxlan id 9 dstport 4789 dev eth0",
    ] {
        // So that it does not come between two deeds.
        lab.kill_agent("docker41", Signal::SIGSTOP).unwrap();
        run(&lab, "docker41", deed);
        lab.kill_agent("docker41", Signal::SIGCONT).unwrap();
        ear.until(deed, || match plan(&lab, "docker41").plan.steps {
            steps if steps.is_empty() => ping(&lab, "c41", "172.43.0.2").map(drop),
            steps => Err(steps.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
        });
        assert_reaching(&lab, ["41", "43"], 62);
    }
}

#[test]
fn a_stranger_cannot_speak_through_the_tunnel() {
    let lab = two_segments();
    let dropped = || common::counted(&lab, "docker41", "door", "only peers speak through the tunnel");
    assert_eq!(dropped(), [0, 0]);
    // The router is no peer. Its tunnel is as ours, and so is its frame.
    run(
        &lab,
        "router",
        "ip link add vx type vxlan id 172 dstport 7172 local 192.168.199.1 remote 192.168.199.41
         ip link set vx up; ip address add 10.99.0.1/24 dev vx
         ip neighbour add 10.99.0.2 lladdr $(cat /sys/class/net/vx/address) dev vx
         ping -n -c1 -W1 10.99.0.2 || true",
    );
    let counts = dropped();
    assert!(counts[0] > 0 && counts[1] == 0, "{counts:?}");
    assert_reaching(&lab, ["41", "43"], 62);
}

#[test]
fn down_leaves_nothing_of_a_tunnel() {
    const HOST: &str = "ip -o link show | cut -d: -f2; ip route; ip -6 route; nft list ruleset
        cat /proc/sys/net/ipv4/conf/*/forwarding /proc/sys/net/ipv4/conf/*/rp_filter; bridge fdb";
    let lab = quiet_lab(&Spread { hosts: 2, containers: 1, segments: 2 }.topology());
    run(&lab, "docker41", "echo 1 > /proc/sys/net/ipv4/conf/eth0/rp_filter");
    let before = run(&lab, "docker41", HOST);
    start(&lab, "docker41");
    start(&lab, "docker42");
    assert_reaching(&lab, ["41", "42"], 62);
    let (code, out, errors) = byway(&lab, "docker41", &["down"]);
    assert_eq!(code, Some(0), "{out}{errors}");
    assert!(out.contains("del tunnel byway.vx because byway goes"), "{out}");
    assert_eq!(run(&lab, "docker41", HOST), before);
}

#[test]
fn without_tunnels_a_host_behind_a_router_is_reached_only_while_the_router_carries() {
    let lab = quiet_lab(&Spread { hosts: 4, containers: 1, segments: 2 }.topology());
    for host in ["docker41", "docker43"] {
        write(&lab, host, "/etc/byway/byway.toml", "tunnel = \"never\"\n");
        start(&lab, host);
    }
    let told = problems(&lab, "docker41");
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(
        told[0].starts_with(
            "not direct: docker43 is not reachable directly: 192.168.198.43 is behind the router 192.168.199.1"
        ) && told[0].contains("`tunnel` in byway.toml is \"never\""),
        "{told:?}"
    );
    assert_eq!(common::due(&lab, "docker41"), [""; 0], "what cannot be had is not tried again and again");
    assert_eq!(run(&lab, "docker41", "ip -o link show type vxlan"), "");
    run(&lab, "router", LEARN);
    until_path(&lab, "router");
    assert_reaching(&lab, ["41", "43"], 61);
}

#[test]
fn a_trace_follows_a_packet_through_the_tunnel() {
    let lab = two_segments();
    until_path(&lab, "tunnel");
    let (code, out, errors) = byway(&lab, "docker41", &["trace", "c41", "c43"]);
    assert_eq!(code, Some(0), "{out}{errors}");
    let sees = |host: &str, way: &str| {
        out.lines()
            .any(|line| line.contains(&format!("{host} ")) && line.contains("byway.vx") && line.contains(way))
    };
    assert!(sees("docker41", " out ") && sees("docker43", " in "), "{out}");
    assert!(!out.contains("not seen") && out.contains("arrived: c41"), "{out}");
}
