//! Stories of captures: a line for each packet that a point saw, and what is told of it.
//!
//! `FILE[/INTERFACE] [in|out] MILLISECONDS FROM > TO ttl N key N [syn] [bytes N]`

use byway_wire::{Direction, protocol};
use proptest::prelude::*;

use super::*;
use crate::journey::End;

const HOUR_MS: f64 = 3_600_000.0;

fn end(text: &str) -> End {
    match text.parse::<std::net::SocketAddr>() {
        Ok(end) => End { address: end.ip(), port: Some(end.port()) },
        Err(_) => End { address: text.parse().unwrap(), port: None },
    }
}

/// A file, an interface, and what passed it.
type Line = (String, Option<String>, Passage);

fn line(text: &str) -> Line {
    let mut words = text.split_whitespace().peekable();
    let place = words.next().unwrap();
    let (file, interface) =
        place.split_once('/').map_or((place, None), |(file, name)| (file, Some(name.to_owned())));
    let direction = match *words.peek().unwrap() {
        "in" => Some(Direction::In),
        "out" => Some(Direction::Out),
        _ => None,
    };
    words.next_if(|_| direction.is_some());
    let time: f64 = words.next().unwrap().parse().unwrap();
    let source = end(words.next().unwrap());
    assert_eq!(words.next(), Some(">"));
    let destination = end(words.next().unwrap());
    let (mut ttl, mut key, mut sign, mut length) = (64, 0, 16, 100);
    while let Some(word) = words.next() {
        let mut number = || words.next().unwrap().parse::<u16>().unwrap();
        match word {
            "ttl" => ttl = number().try_into().unwrap(),
            "key" => key = number(),
            "bytes" => length = number(),
            "syn" => sign = 2,
            other => panic!("{other}"),
        }
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "small, and from ourselves")]
    let time_ns = 1_000_000_000_000_000 + (time * 1e6).round() as u64;
    let passage = Passage {
        key: format!("{key:016x}").parse().unwrap(),
        time_ns,
        direction,
        source,
        destination,
        protocol: if source.port.is_some() { protocol::TCP } else { protocol::ICMP },
        ttl,
        length,
        dont_fragment: true,
        fragment: false,
        sign,
        detail: key.into(),
    };
    (file.to_owned(), interface, passage)
}

fn lines(story: &str) -> Vec<Line> {
    story.lines().map(str::trim).filter(|text| !text.is_empty()).map(line).collect()
}

fn stitched(lines: &[Line]) -> Stitched {
    stitched_with(lines, false)
}

fn stitched_with(lines: &[Line], mixed: bool) -> Stitched {
    let mut captures = Captures::new();
    let mut files: BTreeMap<&str, FileId> = BTreeMap::new();
    for (file, interface, passage) in lines {
        let id = *files.entry(file).or_insert_with(|| captures.file(file).unwrap());
        let at = captures.point(id, interface.as_deref(), mixed).unwrap();
        captures.pass(at, passage);
    }
    captures.stitch(100)
}

/// The ways as `key: POINT ttl, POINT ttl = end`, sorted.
fn ways(stitched: &Stitched) -> Vec<String> {
    let place = |hop: &Hop| {
        let interface = hop.place.interface.as_ref().map_or_else(String::new, |name| format!("/{name}"));
        format!("{}{interface} {}", hop.place.file, hop.ttl)
    };
    let way =
        |way: &Way| format!("{} = {}", way.hops.iter().map(place).collect::<Vec<_>>().join(", "), way.end);
    let mut all: Vec<String> = stitched.journeys.iter().map(way).collect();
    all.sort();
    all
}

fn check(story: &str, expected: &[&str]) -> Stitched {
    let stitched = stitched(&lines(story));
    assert_eq!(ways(&stitched), expected, "{stitched:#?}");
    stitched
}

#[test]
fn a_ping_through_a_router_that_captures_on_any_interface() {
    let stitched = check(
        "r/if2 in  0.00 10.0.0.1 > 10.1.0.1 ttl 64 key 1
         r/if3 out 0.02 10.0.0.1 > 10.1.0.1 ttl 63 key 1
         r/if3 in  1.00 10.1.0.1 > 10.0.0.1 ttl 64 key 2
         r/if2 out 1.03 10.1.0.1 > 10.0.0.1 ttl 63 key 2",
        &["r/if2 64, r/if3 63 = arrived", "r/if3 64, r/if2 63 = arrived"],
    );
    assert_eq!(stitched.clocks, []);
    assert_eq!((stitched.totals.packets, stitched.totals.complete, stitched.totals.keys), (2, 2, 2));
    let took = stitched.journeys[0].hops[1].took;
    assert_eq!(took, Some(Took { ns: 20_000, uncertainty_ns: 0 }));
}

#[test]
fn interfaces_without_names_hand_a_packet_on_under_one_name() {
    let story = lines(
        "r in  0.000 10.0.0.1 > 10.1.0.1 ttl 64 key 1
         r in  0.001 10.0.0.1 > 10.1.0.1 ttl 64 key 1
         r out 0.020 10.0.0.1 > 10.1.0.1 ttl 63 key 1",
    );
    assert_eq!(ways(&stitched_with(&story, true)), ["r 64, r 64, r 63 = arrived"]);
}

#[test]
fn two_files_an_hour_apart_are_put_in_order_by_packets_both_ways() {
    let ahead = |ms: f64| HOUR_MS + ms;
    let story = format!(
        "a 0.0 10.0.0.1 > 10.0.0.2 ttl 64 key 1
         b {} 10.0.0.1 > 10.0.0.2 ttl 64 key 1
         b {} 10.0.0.2 > 10.0.0.1 ttl 64 key 2
         a 0.5 10.0.0.2 > 10.0.0.1 ttl 64 key 2",
        ahead(0.2),
        ahead(0.3)
    );
    let stitched = check(&story, &["a 64, b 64 = arrived", "b 64, a 64 = arrived"]);
    let clock = &stitched.clocks[0];
    assert_eq!((clock.file.as_str(), clock.than.as_str()), ("b", "a"));
    assert_eq!(clock.ahead, Clock::Offset { ns: 3_600_000_000_000, uncertainty_ns: 200_000 });
    let took = stitched.journeys[0].hops[1].took;
    assert_eq!(took, Some(Took { ns: 200_000, uncertainty_ns: 200_000 }));
    assert!(stitched.journeys.iter().all(|way| !way.order_assumed));
}

#[test]
fn packets_of_one_direction_give_a_bound_and_no_durations() {
    let stitched = check(
        "a 0 10.0.0.1 > 10.0.0.2 ttl 64 key 1
         b 5000 10.0.0.1 > 10.0.0.2 ttl 63 key 1
         a 10 10.0.0.1 > 10.0.0.2 ttl 64 key 2
         b 5009 10.0.0.1 > 10.0.0.2 ttl 63 key 2",
        &["a 64, b 63 = arrived"],
    );
    assert_eq!(stitched.clocks[0].ahead, Clock::AtMost { ns: 4_999_000_000 });
    assert_eq!(stitched.journeys[0].hops[1].took, None);
}

#[test]
fn the_order_is_assumed_and_said_to_be_where_nothing_tells_it() {
    let stitched = check(
        "a 0 10.0.0.1 > 10.0.0.2 ttl 64 key 1
         b 5 10.0.0.1 > 10.0.0.2 ttl 64 key 1",
        &["a 64, b 64 = arrived"],
    );
    assert!(stitched.journeys[0].order_assumed);
    assert_eq!(stitched.clocks, []);
}

#[test]
fn both_sides_of_nat_with_clocks_far_apart() {
    let stitched = check(
        "inside  100    172.41.0.2:4000 > 8.8.8.8:443 ttl 64 key 1 syn
         outside 900000 192.168.1.1:61000 > 8.8.8.8:443 ttl 63 key 1 syn
         outside 900010 8.8.8.8:443 > 192.168.1.1:61000 ttl 60 key 2
         inside  111    8.8.8.8:443 > 172.41.0.2:4000 ttl 59 key 2",
        &["inside 64, outside 63 = arrived", "outside 60, inside 59 = arrived"],
    );
    let there = stitched.journeys.iter().find(|way| way.packet.contains("SYN")).unwrap();
    let changes: Vec<String> = there.hops[1].changes.iter().map(ToString::to_string).collect();
    assert_eq!(
        changes,
        [
            "routed between inside and outside",
            "source 172.41.0.2:4000 rewritten to 192.168.1.1:61000 between inside and outside"
        ]
    );
    assert!(stitched.conversations.iter().all(|told| told.becomes.is_some()));
}

#[test]
fn pings_of_two_containers_that_only_nat_could_tell_apart_are_matched_in_their_order() {
    let stitched = check(
        "r/docker0 in  0.00 172.41.0.2:7 > 8.8.8.8:1 ttl 64 key 1
         r/docker0 in  0.01 172.41.0.3:7 > 8.8.8.8:1 ttl 64 key 1
         r/eth0    out 0.02 192.168.1.1:7 > 8.8.8.8:1 ttl 63 key 1
         r/eth0    out 0.03 192.168.1.1:8 > 8.8.8.8:1 ttl 63 key 1",
        &["r/docker0 64, r/eth0 63 = arrived", "r/docker0 64, r/eth0 63 = arrived"],
    );
    let last = |way: &Way| (way.hops[0].source.address.to_string(), way.hops[1].source.port);
    let mut pairs: Vec<_> = stitched.journeys.iter().map(last).collect();
    pairs.sort();
    assert_eq!(pairs, [("172.41.0.2".to_owned(), Some(7)), ("172.41.0.3".to_owned(), Some(8))]);
}

#[test]
fn a_scanner_that_reuses_its_port_and_its_sequence_is_not_confused() {
    // One source port, one sequence, ten ports: all packets have one key. Port 25 is filtered.
    let mut story = String::new();
    for nth in 0..10 {
        let port = 20 + nth;
        story += &format!("r/a in {nth} 10.0.0.9:5000 > 10.1.0.1:{port} ttl 64 key 1 syn\n");
        if port != 25 {
            story += &format!("r/b out {nth}.1 10.0.0.9:5000 > 10.1.0.1:{port} ttl 63 key 1 syn\n");
        }
    }
    // And the same once more, five seconds later.
    let again: String = story
        .lines()
        .map(|text| text.replacen(" in ", " in 500", 1).replacen(" out ", " out 500", 1) + "\n")
        .collect();
    let stitched = stitched(&lines(&(story + &again)));
    assert_eq!((stitched.totals.packets, stitched.totals.complete, stitched.totals.lost), (20, 18, 2));
    assert_eq!(stitched.losses.len(), 1);
    let said = stitched.losses[0].in_common.as_deref();
    assert_eq!(said, Some("all 2 lost go to TCP port 25, and none of the 18 that went on"));
}

#[test]
fn a_scanner_in_two_files_with_clocks_apart_is_matched_port_by_port() {
    let mut story = String::new();
    for nth in 0..100 {
        story += &format!("a {nth} 10.0.0.9:5000 > 10.1.0.1:{} ttl 64 key 1 syn\n", 1000 + nth);
        if nth % 10 != 5 {
            story +=
                &format!("b {} 10.0.0.9:5000 > 10.1.0.1:{} ttl 63 key 1 syn\n", 777_000 + nth, 1000 + nth);
        }
    }
    let stitched = stitched(&lines(&story));
    assert_eq!((stitched.totals.complete, stitched.totals.lost), (90, 10));
}

#[test]
fn packets_of_one_key_seconds_apart_are_two_packets() {
    check(
        "r/a in  0    10.0.0.1 > 10.1.0.1 ttl 64 key 1
         r/b out 0.1  10.0.0.1 > 10.1.0.1 ttl 63 key 1
         r/a in  3000 10.0.0.1 > 10.1.0.2 ttl 64 key 1
         r/b out 3001 10.0.0.1 > 10.1.0.2 ttl 63 key 1",
        &["r/a 64, r/b 63 = arrived", "r/a 64, r/b 63 = arrived"],
    );
}

#[test]
fn the_nth_of_several_alike_is_the_nth_elsewhere() {
    let stitched = stitched(&lines(
        "a 0  10.0.0.1 > 10.0.0.2 ttl 64 key 1
         a 10 10.0.0.1 > 10.0.0.2 ttl 64 key 1
         a 20 10.0.0.1 > 10.0.0.2 ttl 64 key 1
         b 7000 10.0.0.1 > 10.0.0.2 ttl 63 key 1
         b 7010 10.0.0.1 > 10.0.0.2 ttl 63 key 1
         b 7020 10.0.0.1 > 10.0.0.2 ttl 63 key 1",
    ));
    assert_eq!((stitched.totals.packets, stitched.totals.complete, stitched.totals.repeated), (3, 3, 3));
}

#[test]
fn of_a_repetition_the_one_that_arrived_is_known_by_what_other_packets_tell_of_the_clocks() {
    let stitched = stitched(&lines(
        "a 0     10.0.0.1 > 10.0.0.2 ttl 64 key 1
         b 90000 10.0.0.1 > 10.0.0.2 ttl 63 key 1
         a 5000  10.0.0.1 > 10.0.0.2 ttl 64 key 2
         a 9000  10.0.0.1 > 10.0.0.2 ttl 64 key 2
         b 99001 10.0.0.1 > 10.0.0.2 ttl 63 key 2
         a 12000 10.0.0.1 > 10.0.0.2 ttl 64 key 3
         b 102000 10.0.0.1 > 10.0.0.2 ttl 63 key 3",
    ));
    assert_eq!((stitched.totals.complete, stitched.totals.lost), (3, 1));
    assert_eq!((stitched.journeys[0].end, stitched.journeys[0].hops[0].number), ("lost", 2));
}

#[test]
fn two_conversations_whose_keys_collide_stay_two() {
    check(
        "r/a in  0   10.0.0.1 > 10.1.0.1 ttl 64 key 1
         r/a in  0.1 10.0.0.2 > 10.1.0.2 ttl 64 key 1
         r/b out 0.2 10.0.0.1 > 10.1.0.1 ttl 63 key 1
         r/b out 0.3 10.0.0.2 > 10.1.0.2 ttl 63 key 1",
        &["r/a 64, r/b 63 = arrived", "r/a 64, r/b 63 = arrived"],
    );
}

#[test]
fn what_is_echoed_with_the_same_key_is_another_packet() {
    check(
        "r/a in  0   10.0.0.1:9 > 10.1.0.1:7 ttl 64 key 1
         r/b out 0.1 10.0.0.1:9 > 10.1.0.1:7 ttl 63 key 1
         r/b in  0.2 10.1.0.1:7 > 10.0.0.1:9 ttl 64 key 1
         r/a out 0.3 10.1.0.1:7 > 10.0.0.1:9 ttl 63 key 1",
        &["r/a 64, r/b 63 = arrived", "r/b 64, r/a 63 = arrived"],
    );
}

#[test]
fn lost_packets_are_told_with_what_they_have_in_common() {
    let mut story = String::new();
    for nth in 0..20 {
        let length = if nth % 4 == 3 { 1480 } else { 1300 };
        story += &format!("a {nth} 10.0.0.1:5 > 10.0.0.2:80 ttl 64 key {nth} bytes {length}\n");
        if length == 1300 {
            story += &format!("b {nth}.2 10.0.0.1:5 > 10.0.0.2:80 ttl 63 key {nth} bytes {length}\n");
        }
    }
    // Until after the last of them b is written.
    story += "a 30 10.0.0.1:5 > 10.0.0.2:80 ttl 64 key 100\nb 30.2 10.0.0.1:5 > 10.0.0.2:80 ttl 63 key 100\n";
    let stitched = stitched(&lines(&story));
    let loss = &stitched.losses[0];
    assert_eq!((loss.lost, loss.went_on, loss.at_edges), (5, 16, 0));
    assert_eq!(
        loss.in_common.as_deref(),
        Some(
            "all 5 lost have 1480 bytes and must not be cut, and none of the 16 that went on has more than 1300: is there a smaller MTU?"
        )
    );
    assert_eq!(stitched.conversations[0].lost_after.as_ref().map(|place| place.file.as_str()), Some("a"));
}

#[test]
fn packets_before_a_capture_began_and_after_it_ended_are_counted_apart() {
    let mut story = String::new();
    for nth in 0..10 {
        story += &format!("a {nth}0 10.0.0.1 > 10.0.0.2 ttl 64 key {nth}\n");
        if (3..7).contains(&nth) {
            story += &format!("b {nth}1 10.0.0.1 > 10.0.0.2 ttl 63 key {nth}\n");
        }
    }
    let stitched = stitched(&lines(&story));
    assert_eq!((stitched.totals.complete, stitched.totals.lost, stitched.totals.at_edges), (4, 0, 6));
}

#[test]
fn what_goes_to_the_router_itself_is_not_lost() {
    let mut story = String::new();
    for nth in 0..10 {
        story += &format!(
            "r/a in {nth}0 10.0.0.1 > 10.1.0.1 ttl 64 key {nth}\nr/b out {nth}1 10.0.0.1 > 10.1.0.1 ttl 63 key {nth}\n"
        );
    }
    story += "r/a in 50 10.0.0.1:1 > 10.0.0.254:22 ttl 64 key 50\nr/a out 51 10.0.0.254:22 > 10.0.0.1:1 ttl 64 key 51\n";
    let stitched = stitched(&lines(&story));
    assert_eq!((stitched.totals.complete, stitched.totals.lost, stitched.totals.seen_once), (10, 0, 2));
}

#[test]
fn a_router_with_one_leg_sees_each_packet_twice_and_the_ttl_tells() {
    check(
        "r 0.1 10.0.0.1 > 10.1.0.1 ttl 64 key 1
         r 0.2 10.0.0.1 > 10.1.0.1 ttl 63 key 1",
        &["r 64, r 63 = arrived"],
    );
}

#[test]
fn a_thousand_times_the_same_packet_ends_in_time_and_within_bounds() {
    let mut story = String::new();
    for nth in 0..1000 {
        story += &format!("r/a in 0.{nth:04} 10.0.0.1 > 10.1.0.1 ttl 64 key 1\n");
        story += &format!("r/b out 0.{nth:04} 10.0.0.1 > 10.1.0.1 ttl 63 key 1\n");
    }
    let stitched = stitched(&lines(&story));
    assert_eq!(stitched.totals.passages, 2000);
    assert_eq!(stitched.totals.packets, 1000);
}

/// Any passages: few keys, addresses, points and times, so that they meet.
fn any_line() -> impl Strategy<Value = Line> {
    let place = (0_usize..3, prop::option::of(0_usize..2), prop::option::of(any::<bool>()));
    let ends = (1_u8..5, 1_u8..5, 1_u16..4, 1_u16..4);
    (
        place,
        ends,
        60_u8..65,
        0_u8..6,
        prop_oneof![0_u64..3_000_000_000, any::<u64>()],
        any::<u8>(),
        any::<u16>(),
    )
        .prop_map(
            |((file, interface, way), (from, to, sport, dport), ttl, key, time_ns, sign, length)| {
                let end = |last: u8, port| End { address: IpAddr::from([10, 0, 0, last]), port: Some(port) };
                let passage = Passage {
                    key: format!("{key:016x}").parse().unwrap(),
                    time_ns,
                    direction: way.map(|way| if way { Direction::In } else { Direction::Out }),
                    source: end(from, sport),
                    destination: end(to, dport),
                    protocol: if key < 3 { protocol::TCP } else { protocol::UDP },
                    ttl,
                    length,
                    dont_fragment: sign & 1 == 1,
                    fragment: sign & 2 == 2,
                    sign,
                    detail: length.into(),
                };
                (["a", "b", "c"][file].to_owned(), interface.map(|nth| ["x", "y"][nth].to_owned()), passage)
            },
        )
}

proptest! {
    #[test]
    fn any_sightings_have_an_answer_that_adds_up(lines in prop::collection::vec(any_line(), 0..120), mixed: bool) {
        let stitched = stitched_with(&lines, mixed);
        let totals = stitched.totals;
        prop_assert_eq!(totals.read, lines.len() as u64);
        prop_assert_eq!(totals.passages, totals.read);
        prop_assert_eq!(totals.complete + totals.lost + totals.at_edges + totals.seen_once, totals.packets);
        prop_assert!(totals.packets <= totals.passages);
        let per_conversation: u64 = stitched.conversations.iter().map(|told| told.packets).sum();
        prop_assert_eq!(per_conversation, totals.packets);
        let lost: u64 = stitched.losses.iter().map(|loss| loss.lost).sum();
        prop_assert_eq!(lost, totals.lost);
        for way in &stitched.journeys {
            prop_assert!(way.hops.windows(2).all(|pair| pair[0].ttl >= pair[1].ttl));
        }
    }

    #[test]
    fn the_order_of_the_files_does_not_matter(lines in prop::collection::vec(any_line(), 0..80)) {
        let in_order = |names: [&str; 3]| {
            let of = |name: &str| lines.iter().filter(|line| line.0 == name).cloned().collect::<Vec<_>>();
            stitched(&names.map(of).concat())
        };
        prop_assert_eq!(in_order(["a", "b", "c"]), in_order(["c", "b", "a"]));
        prop_assert_eq!(in_order(["a", "b", "c"]), in_order(["b", "c", "a"]));
    }

    #[test]
    fn setting_the_clock_of_a_file_changes_nothing_but_the_offset(
        lines in prop::collection::vec(any_line(), 0..80),
        by in 0_u64..1 << 60,
    ) {
        let mut lines = lines;
        for line in &mut lines {
            line.2.time_ns %= 1 << 60;
        }
        let mut shifted = lines.clone();
        shifted.iter_mut().filter(|line| line.0 == "b").for_each(|line| line.2.time_ns += by);
        prop_assert_eq!(without_times(stitched(&lines)), without_times(stitched(&shifted)));
    }
}

/// Without what is allowed to change: the times of the clock that was set, and the offsets.
fn without_times(mut stitched: Stitched) -> Stitched {
    stitched.journeys.iter_mut().flat_map(|way| &mut way.hops).for_each(|hop| hop.time_ns = 0);
    for between in &mut stitched.clocks {
        match &mut between.ahead {
            Clock::Offset { ns, .. } | Clock::AtMost { ns } | Clock::AtLeast { ns } => *ns = 0,
        }
    }
    stitched
}
