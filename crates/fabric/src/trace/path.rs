//! Which interfaces a packet should pass, worked out from where both ends are.

use std::net::IpAddr;

use super::{Cable, Whereabouts};
use crate::cluster::HostName;
use crate::journey::{Direction, WatchPoint};
use crate::tunnel::Underlay;

/// One end of a conversation, as its own host sees both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The host that has it, or is nearest to it of those that can be asked.
    pub host: HostName,
    /// Where it is.
    pub this: Whereabouts,
    /// Where the other end is.
    pub other: Whereabouts,
    /// The host's own addresses on the underlay, and the interfaces that have them.
    pub doors: Vec<(IpAddr, String)>,
}

/// The points of the way there and of the way back.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Path {
    /// From the first end to the second.
    pub there: Vec<WatchPoint>,
    /// From the second to the first.
    pub back: Vec<WatchPoint>,
}

/// The path between two ends. Without the second side (nobody there can be asked) it ends where packets leave the
/// first host.
#[must_use]
pub fn predict(from: &Side, to: Option<&Side>) -> Path {
    match to {
        Some(to) if to.host == from.host => {
            Path { there: inside(from, &from.this, &from.other), back: inside(from, &from.other, &from.this) }
        }
        _ => Path { there: between(Some(from), to), back: between(to, Some(from)) },
    }
}

fn between(from: Option<&Side>, to: Option<&Side>) -> Vec<WatchPoint> {
    let out = from.map(|side| side.outwards(Direction::Out, side.exit())).unwrap_or_default();
    let entry = |side: &Side| from.and_then(|from| side.door_from(from)).or_else(|| side.exit());
    let mut inwards = to.map(|side| side.outwards(Direction::In, entry(side))).unwrap_or_default();
    inwards.reverse();
    out.into_iter().chain(inwards).collect()
}

impl Side {
    /// The interface by which packets to the other end leave.
    fn exit(&self) -> Option<String> {
        match &self.other {
            Whereabouts::Away { interface, .. } => Some(interface.clone()),
            _ => None,
        }
    }

    /// The interface by which packets of the other side come: the tunnel that they go into, or the one that has the address
    /// to which they are sent on, or, where that is a router's, one of that family. That need not be the one by which
    /// answers leave.
    fn door_from(&self, other: &Self) -> Option<String> {
        let Whereabouts::Away { interface, via: Some(via) } = &other.other else { return None };
        if Underlay::named(interface).is_some() {
            return Some(interface.clone());
        }
        let of_family = || self.doors.iter().find(|(address, _)| address.is_ipv4() == via.is_ipv4());
        let door = self.doors.iter().find(|(address, _)| address == via).or_else(of_family);
        door.map(|(_, interface)| interface.clone())
    }

    /// The points from this end to an uplink, as packets pass them that leave (`Out`) or come (`In`).
    fn outwards(&self, leaving: Direction, uplink: Option<String>) -> Vec<WatchPoint> {
        let mut points = Vec::new();
        match &self.this {
            Whereabouts::Container(cable) => points.extend(cable.points(&self.host, leaving, true)),
            Whereabouts::Nobody { interface } => points.push(on(&self.host, interface, turned(leaving))),
            _ => {}
        }
        points.extend(uplink.map(|interface| on(&self.host, &interface, leaving)));
        points
    }
}

/// The points of a packet that stays on one host.
fn inside(side: &Side, from: &Whereabouts, to: &Whereabouts) -> Vec<WatchPoint> {
    // A frame between two ports of one bridge is not handed to the bridge's own interface.
    let routed = match (from, to) {
        (Whereabouts::Container(a), Whereabouts::Container(b)) => a.bridge != b.bridge,
        _ => true,
    };
    let half = |end: &Whereabouts, direction: Direction| match end {
        Whereabouts::Container(cable) => cable.points(&side.host, direction, routed),
        Whereabouts::Nobody { interface } if routed => vec![on(&side.host, interface, turned(direction))],
        _ => Vec::new(),
    };
    let mut points = half(from, Direction::Out);
    let mut inwards = half(to, Direction::In);
    inwards.reverse();
    points.append(&mut inwards);
    points
}

impl Cable {
    /// From inside of the container to the bridge: `leaving` is how its packets pass its own interface.
    fn points(&self, host: &HostName, leaving: Direction, through_bridge: bool) -> Vec<WatchPoint> {
        let inside = WatchPoint {
            host: host.clone(),
            container: Some(self.container.clone()),
            interface: self.interface.clone(),
            direction: leaving,
        };
        let mut points = vec![inside, on(host, &self.veth, turned(leaving))];
        points.extend(
            self.bridge.iter().filter(|_| through_bridge).map(|bridge| on(host, bridge, turned(leaving))),
        );
        points
    }
}

fn on(host: &HostName, interface: &str, direction: Direction) -> WatchPoint {
    WatchPoint { host: host.clone(), container: None, interface: interface.to_owned(), direction }
}

fn turned(direction: Direction) -> Direction {
    match direction {
        Direction::In => Direction::Out,
        Direction::Out => Direction::In,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "for tests only")]

    use super::*;

    fn container(name: &str, bridge: Option<&str>) -> Whereabouts {
        Whereabouts::Container(Cable {
            container: name.to_owned(),
            interface: "eth0".to_owned(),
            veth: format!("v{name}"),
            bridge: bridge.map(str::to_owned),
            mac: String::new(),
            addresses: Vec::new(),
            inode: Some(1),
        })
    }

    fn away(interface: &str, via: &str) -> Whereabouts {
        Whereabouts::Away { interface: interface.to_owned(), via: via.parse().ok() }
    }

    fn own() -> Whereabouts {
        Whereabouts::Own { interface: "lo".to_owned() }
    }

    fn side(host: &str, this: Whereabouts, other: Whereabouts) -> Side {
        let host = HostName::try_from(host.to_owned()).unwrap();
        Side { host, this, other, doors: vec![("10.0.0.2".parse().unwrap(), "eth0".to_owned())] }
    }

    #[track_caller]
    fn check(from: &Side, to: Option<&Side>, there: &str, back: &str) {
        let told = |points: &[WatchPoint]| {
            let point = |point: &WatchPoint| {
                let container = point.container.as_ref().map_or_else(String::new, |name| format!("{name}/"));
                format!("{}:{container}{} {}", point.host, point.interface, point.direction)
            };
            points.iter().map(point).collect::<Vec<_>>().join(", ")
        };
        let path = predict(from, to);
        assert_eq!((told(&path.there).as_str(), told(&path.back).as_str()), (there, back));
    }

    #[test]
    fn what_goes_into_a_tunnel_comes_out_of_the_same_one_and_a_router_brings_the_rest() {
        check(
            &side("a", container("c1", Some("br")), away("byway.vx", "10.0.0.2")),
            Some(&side("b", container("c2", Some("br")), away("eth1", "10.9.0.1"))),
            "a:c1/eth0 out, a:vc1 in, a:br in, a:byway.vx out, b:byway.vx in, b:br out, b:vc2 out, b:c2/eth0 in",
            "b:c2/eth0 out, b:vc2 in, b:br in, b:eth1 out, a:eth0 in, a:br out, a:vc1 out, a:c1/eth0 in",
        );
    }

    #[test]
    fn eight_interfaces_lie_between_containers_of_two_hosts() {
        check(
            &side("a", container("c1", Some("br")), away("eth0", "10.0.0.2")),
            Some(&side("b", container("c2", Some("br")), away("eth0", "10.0.0.1"))),
            "a:c1/eth0 out, a:vc1 in, a:br in, a:eth0 out, b:eth0 in, b:br out, b:vc2 out, b:c2/eth0 in",
            "b:c2/eth0 out, b:vc2 in, b:br in, b:eth0 out, a:eth0 in, a:br out, a:vc1 out, a:c1/eth0 in",
        );
    }

    #[test]
    fn packets_come_in_by_the_door_that_they_are_sent_to_and_answers_may_leave_by_another() {
        check(
            &side("a", own(), away("eth0", "10.0.0.2")),
            Some(&side("b", container("c2", Some("br")), away("eth1", "10.9.9.9"))),
            "a:eth0 out, b:eth0 in, b:br out, b:vc2 out, b:c2/eth0 in",
            "b:c2/eth0 out, b:vc2 in, b:br in, b:eth1 out, a:eth0 in",
        );
    }

    #[test]
    fn on_one_host_the_bridge_itself_sees_only_what_is_routed() {
        let on = |one, other| side("a", one, other);
        let same = on(container("c1", Some("br")), container("c2", Some("br")));
        check(
            &same,
            Some(&same),
            "a:c1/eth0 out, a:vc1 in, a:vc2 out, a:c2/eth0 in",
            "a:c2/eth0 out, a:vc2 in, a:vc1 out, a:c1/eth0 in",
        );
        let two = on(container("c1", Some("br")), container("c2", Some("br2")));
        let there = "a:c1/eth0 out, a:vc1 in, a:br in, a:br2 out, a:vc2 out, a:c2/eth0 in";
        let back = "a:c2/eth0 out, a:vc2 in, a:br2 in, a:br out, a:vc1 out, a:c1/eth0 in";
        check(&two, Some(&two), there, back);
        let host = on(own(), container("c2", Some("br")));
        check(&host, Some(&host), "a:br out, a:vc2 out, a:c2/eth0 in", "a:c2/eth0 out, a:vc2 in, a:br in");
    }

    #[test]
    fn where_nobody_can_be_asked_or_nobody_is_there_the_path_ends_before() {
        let from = side("a", container("c1", None), away("eth0", "10.0.0.2"));
        check(&from, None, "a:c1/eth0 out, a:vc1 in, a:eth0 out", "a:eth0 in, a:vc1 out, a:c1/eth0 in");
        let nobody = Whereabouts::Nobody { interface: "br".to_owned() };
        let to = side("b", nobody, away("eth0", "10.0.0.1"));
        check(
            &side("a", own(), away("eth0", "10.0.0.2")),
            Some(&to),
            "a:eth0 out, b:eth0 in, b:br out",
            "b:br in, b:eth0 out, a:eth0 in",
        );
        let lost = side("a", container("c1", None), Whereabouts::Nowhere { why: "no route".to_owned() });
        check(&lost, None, "a:c1/eth0 out, a:vc1 in", "a:vc1 out, a:c1/eth0 in");
    }
}
