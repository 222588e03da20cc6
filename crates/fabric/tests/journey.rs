//! Stories of packets: the predicted path with what was seen, as text, and what is told about it.

#![expect(clippy::unwrap_used, reason = "the stories are written by us")]

use byway_fabric::journey::{Direction, End, Journey, Sighting, WatchPoint, by_packet, stitch};
use byway_wire::{Frame, LinkType, PacketKey};
use proptest::prelude::*;

/// The ping that started all this: two hosts, a container behind the bridge of each.
const THERE: &str = "
    docker41/c41  eth0     out  ttl 64 at 1000000
    docker41      veth41   in   ttl 64 at 1004000
    docker41      docker0  in   ttl 64 at 1004900
    docker41      eth0     out  ttl 63 at 1016000
    docker42      eth0     in   ttl 63 at 77
    docker42      docker0  out  ttl 62 at 8077
    docker42      veth42   out  ttl 62 at 9000
    docker42/c42  eth0     in   ttl 62 at 12300";

#[test]
fn a_ping_over_two_hosts_is_told_hop_by_hop() {
    check(
        THERE,
        "
        172.41.0.2 > 172.42.0.2 ICMP echo request
        docker41  c41  eth0     out  ttl 64
        docker41       veth41   in   ttl 64  handed from c41 to docker41 after 4.0 µs
        docker41       docker0  in   ttl 64  bridged by docker41 after 900 ns
        docker41       eth0     out  ttl 63  routed by docker41 after 11.1 µs
        docker42       eth0     in   ttl 63  carried from docker41 to docker42
        docker42       docker0  out  ttl 62  routed by docker42 after 8.0 µs
        docker42       veth42   out  ttl 62  bridged by docker42 after 923 ns
        docker42  c42  eth0     in   ttl 62  handed from docker42 to c42 after 3.3 µs
        arrived at eth0 in c42 on docker42 with ttl 62 from 172.41.0.2",
    );
}

#[test]
fn the_order_of_sightings_and_the_clocks_of_hosts_do_not_matter() {
    let (path, mut sightings) = read(THERE);
    let told = stitch(&path, sightings.clone()).to_string();
    sightings.reverse();
    assert_eq!(stitch(&path, sightings.clone()).to_string(), told);
    for late in sightings.iter_mut().filter(|sighting| sighting.at.host.as_str() == "docker42") {
        late.time_ns += 3_600_000_000_000;
    }
    assert_eq!(stitch(&path, sightings).to_string(), told);
}

#[test]
fn a_packet_that_ends_half_way_names_the_last_point_and_the_next() {
    check(
        "a/c1  eth0  out  ttl 64 at 1000
         a     br0   in   ttl 64 at 2000
         a     eth0  out  -
         b     eth0  in   -",
        "
        172.41.0.2 > 172.42.0.2 ICMP echo request
        a  c1  eth0  out  ttl 64
        a      br0   in   ttl 64    handed from c1 to a after 1.0 µs
        a      eth0  out  not seen
        b      eth0  in   not seen
        last seen coming in at br0 on a with ttl 64; not seen going out at eth0 on a",
    );
}

#[test]
fn a_host_that_cannot_be_asked_is_a_gap_and_the_journey_goes_on_behind_it() {
    check(
        "a  eth0  out  ttl 63 at 1000
         b  eth0  in   -
         b  eth1  out  -
         c  eth0  in   ttl 62 at 5",
        "
        172.41.0.2 > 172.42.0.2 ICMP echo request
        a  eth0  out  ttl 63
        b  eth0  in   not seen
        b  eth1  out  not seen
        c  eth0  in   ttl 62    carried from a to c, routed between a and c
        arrived at eth0 on c with ttl 62 from 172.41.0.2",
    );
}

#[test]
fn no_time_is_given_over_a_gap_or_when_a_clock_was_set_back() {
    check(
        "a  br0   in   ttl 64 at 9000
         a  eth0  out  ttl 63 at 1000
         a  eth1  in   -
         a  eth2  out  ttl 63 at 2000",
        "
        172.41.0.2 > 172.42.0.2 ICMP echo request
        a  br0   in   ttl 64
        a  eth0  out  ttl 63    routed by a
        a  eth1  in   not seen
        a  eth2  out  ttl 63    bridged by a
        arrived at eth2 on a with ttl 63 from 172.41.0.2",
    );
}

#[test]
fn masquerade_is_seen_where_it_happens() {
    check(
        "a  br0   in   ttl 64 at 1000
         a  eth0  out  ttl 63 at 2500000 from 192.168.199.41
         b  eth0  in   ttl 63 at 5       from 192.168.199.41",
        "
        172.41.0.2 > 172.42.0.2 ICMP echo request
        a  br0   in   ttl 64
        a  eth0  out  ttl 63  routed by a, source 172.41.0.2 rewritten to 192.168.199.41 by a after 2.4 ms
        b  eth0  in   ttl 63  carried from a to b
        arrived at eth0 on b with ttl 63 from 192.168.199.41",
    );
}

#[test]
fn a_packet_that_is_cut_and_put_together_again_is_told_where() {
    check(
        "a  br0   in   ttl 64 at 1000
         a  eth0  out  ttl 63 at 2000 cut
         b  eth0  in   ttl 63 at 5    cut
         b  br0   out  ttl 62 at 900",
        "
        172.41.0.2 > 172.42.0.2 ICMP echo request
        a  br0   in   ttl 64
        a  eth0  out  ttl 63  routed by a, cut into fragments by a after 1.0 µs
        b  eth0  in   ttl 63  carried from a to b
        b  br0   out  ttl 62  routed by b, put together from fragments by b after 895 ns
        arrived at br0 on b with ttl 62 from 172.41.0.2",
    );
}

#[test]
fn a_rewritten_destination_and_ports_are_told_in_ipv6_too() {
    check(
        "a  br0   in   ttl 64 at 1 from [fd00:41::2]:4000 to [fd00::99]:80
         a  eth0  out  ttl 63 at 2 from [fd00:41::2]:4000 to [fd00:42::2]:8080",
        "
        172.41.0.2 > 172.42.0.2 ICMP echo request
        a  br0   in   ttl 64
        a  eth0  out  ttl 63  routed by a, destination [fd00::99]:80 rewritten to [fd00:42::2]:8080 by a after 1 ns
        arrived at eth0 on a with ttl 63 from [fd00:41::2]:4000",
    );
}

#[test]
fn routers_between_two_hosts_are_counted() {
    check(
        "a  eth0  out  ttl 63 at 1
         b  eth0  in   ttl 60 at 1",
        "
        172.41.0.2 > 172.42.0.2 ICMP echo request
        a  eth0  out  ttl 63
        b  eth0  in   ttl 60  carried from a to b, routed 3 times between a and b
        arrived at eth0 on b with ttl 60 from 172.41.0.2",
    );
}

#[test]
fn a_ttl_that_rises_is_not_hidden() {
    check(
        "a  br0   in   ttl 1  at 1
         a  eth0  out  ttl 64 at 2",
        "
        172.41.0.2 > 172.42.0.2 ICMP echo request
        a  br0   in   ttl 1
        a  eth0  out  ttl 64  ttl raised from 1 to 64 by a after 1 ns
        arrived at eth0 on a with ttl 64 from 172.41.0.2",
    );
}

#[test]
fn a_loop_and_a_duplicate_are_told_apart() {
    check(
        "a  eth0  out  ttl 62 at 4000
         a  eth0  out  ttl 63 at 1000
         b  eth0  in   ttl 63 at 7
         b  eth0  in   ttl 63 at 5",
        "
        172.41.0.2 > 172.42.0.2 ICMP echo request
        a  eth0  out  ttl 63  seen 2 times, went in a circle down to ttl 62
        b  eth0  in   ttl 63  carried from a to b, seen 2 times
        arrived at eth0 on b with ttl 63 from 172.41.0.2",
    );
}

#[test]
fn a_point_off_the_path_is_told_beside_it() {
    check(
        "a  eth0  out  ttl 63 at 1
         b  eth0  in   -
         off the path
         c  eth0  in   ttl 63 at 1
         c  eth0  in   ttl 61 at 1",
        "
        172.41.0.2 > 172.42.0.2 ICMP echo request
        a  eth0  out  ttl 63
        b  eth0  in   not seen
        also seen coming in at eth0 on c with ttl 63, seen 2 times, went in a circle down to ttl 61
        last seen going out at eth0 on a with ttl 63; not seen coming in at eth0 on b",
    );
}

#[test]
fn a_packet_that_was_seen_nowhere_is_told_so() {
    check(
        "a  eth0  out  -
         b  eth0  in   -",
        "
        a  eth0  out  not seen
        b  eth0  in   not seen
        seen nowhere on its path",
    );
    check("", "\n        seen nowhere on its path");
}

#[test]
fn a_name_cannot_write_to_the_terminal() {
    let (mut path, mut sightings) = read("a  eth0  out  ttl 63 at 1");
    path[0].interface = "e\u{1b}[2J\n".to_owned();
    sightings[0].at = path[0].clone();
    let told = stitch(&path, sightings).to_string();
    assert_eq!(told.lines().nth(1), Some("a  e?[2J?  out  ttl 63"));
    assert!(!told.contains('\u{1b}'));
}

#[test]
fn a_journey_can_be_read_by_programs() {
    let (path, sightings) = read(
        "a  eth0  out  ttl 63 at 1
         b  eth0  in   -",
    );
    let json = serde_json::to_value(stitch(&path, sightings.clone())).unwrap();
    assert_eq!(json["outcome"]["end"], "lost");
    assert_eq!(json["hops"][0]["seen"]["ttl"], 63);
    assert_eq!(json["hops"][0]["seen"]["key"], "00000000000000aa");
    assert_eq!(json["hops"][1]["seen"], serde_json::Value::Null);
    assert_eq!(json["hops"][1]["at"]["direction"], "in");
    let there_and_back = serde_json::from_str(&serde_json::to_string(&sightings[0]).unwrap());
    assert_eq!(there_and_back.ok().as_ref(), Some(&sightings[0]));
}

#[test]
fn packets_are_told_apart_by_their_keys() {
    let (_, mut sightings) = read(THERE);
    sightings[3].key = "00000000000000bb".parse().unwrap();
    let packets = by_packet(sightings);
    let counts: Vec<(String, usize)> =
        packets.into_iter().map(|(key, seen)| (key.to_string(), seen.len())).collect();
    assert_eq!(counts, [("00000000000000aa".to_owned(), 7), ("00000000000000bb".to_owned(), 1)]);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_sighting_is_lost_and_no_hop_invented(
        path in prop::collection::btree_set(0u8..8, 0..8),
        seen in prop::collection::vec((0u8..8, any::<u8>(), any::<u64>()), 0..30),
    ) {
        let point = |nth: &u8| read(&format!("h{} eth{nth} in -", nth / 3)).0.remove(0);
        let predicted: Vec<WatchPoint> = path.iter().map(point).collect();
        let sight = |(nth, ttl, time): &(u8, u8, u64)| sighting(point(nth), &["ttl", &ttl.to_string(), "at", &time.to_string()]);
        let journey = stitch(&predicted, seen.iter().map(sight).collect());
        prop_assert_eq!(journey.hops.iter().map(|hop| hop.at.clone()).collect::<Vec<_>>(), predicted);
        let all = journey.hops.iter().chain(&journey.elsewhere).filter_map(|hop| hop.seen.as_ref());
        prop_assert_eq!(all.map(|seen| seen.times).sum::<usize>(), seen.len());
        prop_assert_eq!(journey.arrived(), journey.hops.last().is_some_and(|hop| hop.seen.is_some()));
        prop_assert!(journey.to_string().lines().all(|line| line == line.trim_end()));
    }
}

#[test]
fn a_sighting_is_made_from_a_packet_that_has_a_key() {
    let ping =
        [0x45, 0, 0, 28, 0, 1, 0, 0, 64, 1, 0, 0, 172, 41, 0, 2, 172, 42, 0, 2, 8, 0, 0xf1, 0xf0, 0, 7, 0, 1];
    let at = || read("a eth0 out -").0.remove(0);
    let sighting = Sighting::of(at(), 5, Frame::decode(LinkType::RawIp, &ping).packet().unwrap()).unwrap();
    assert_eq!(sighting.text, "172.41.0.2 > 172.42.0.2 ICMP echo request id 7 seq 1 ttl 64");
    assert_eq!((sighting.ttl, sighting.source.to_string()), (64, "172.41.0.2".to_owned()));
    let cut = Frame::decode(LinkType::RawIp, &ping[..25]);
    assert_eq!(Sighting::of(at(), 5, cut.packet().unwrap()), None);
}

fn check(story: &str, expected: &str) {
    let (path, sightings) = read(story);
    let told: Journey = stitch(&path, sightings);
    let indented = format!("\n{told}").replace('\n', "\n        ");
    assert_eq!(indented, expected, "\n{indented}");
}

/// One line for each point: `host[/container] interface in|out`, then `-`, or `ttl N at NS [from END] [to END]`.
/// A point that is named again is seen again; after `off the path` points are not predicted.
fn read(story: &str) -> (Vec<WatchPoint>, Vec<Sighting>) {
    let (mut path, mut sightings, mut predicted) = (Vec::new(), Vec::new(), true);
    for line in story.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line == "off the path" {
            predicted = false;
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = point(&words);
        if predicted && !path.contains(&at) {
            path.push(at.clone());
        }
        if words[3] != "-" {
            sightings.push(sighting(at, &words[3..]));
        }
    }
    (path, sightings)
}

fn point(words: &[&str]) -> WatchPoint {
    let (host, container) =
        words[0].split_once('/').map_or((words[0], None), |(host, name)| (host, Some(name)));
    WatchPoint {
        host: host.to_owned().try_into().unwrap(),
        container: container.map(str::to_owned),
        interface: words[1].to_owned(),
        direction: if words[2] == "in" { Direction::In } else { Direction::Out },
    }
}

fn sighting(at: WatchPoint, words: &[&str]) -> Sighting {
    let after = |word: &str| words.iter().position(|other| *other == word).map(|at| words[at + 1]);
    let key: PacketKey = "00000000000000aa".parse().unwrap();
    Sighting {
        at,
        time_ns: after("at").unwrap().parse().unwrap(),
        source: end(after("from").unwrap_or("172.41.0.2")),
        destination: end(after("to").unwrap_or("172.42.0.2")),
        ttl: after("ttl").unwrap().parse().unwrap(),
        key,
        length: 84,
        fragment: words.contains(&"cut"),
        text: "172.41.0.2 > 172.42.0.2 ICMP echo request".to_owned(),
    }
}

fn end(text: &str) -> End {
    let with_port =
        text.parse::<std::net::SocketAddr>().map(|end| End { address: end.ip(), port: Some(end.port()) });
    with_port.unwrap_or_else(|_| End { address: text.parse().unwrap(), port: None })
}
