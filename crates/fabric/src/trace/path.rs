//! Which interfaces a packet should pass, worked out from where both ends are.

use super::{Cable, Whereabouts};
use crate::cluster::HostName;
use crate::journey::{Direction, WatchPoint};

/// One end of a conversation, as its own host sees both ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Side {
    /// The host that has it, or is nearest to it of those that can be asked.
    pub host: HostName,
    /// Where it is.
    pub this: Whereabouts,
    /// Where the other end is.
    pub other: Whereabouts,
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
    let out = from.map(|side| side.outwards(Direction::Out)).unwrap_or_default();
    let mut inwards = to.map(|side| side.outwards(Direction::In)).unwrap_or_default();
    inwards.reverse();
    out.into_iter().chain(inwards).collect()
}

impl Side {
    /// The points from this end to the uplink, as packets pass them that leave (`Out`) or come (`In`).
    fn outwards(&self, leaving: Direction) -> Vec<WatchPoint> {
        let mut points = Vec::new();
        match &self.this {
            Whereabouts::Container(cable) => points.extend(cable.points(&self.host, leaving, true)),
            Whereabouts::Nobody { interface } => points.push(on(&self.host, interface, turned(leaving))),
            _ => {}
        }
        if let Whereabouts::Away { interface, .. } = &self.other {
            points.push(on(&self.host, interface, leaving));
        }
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
        points.extend(self.bridge.iter().filter(|_| through_bridge).map(|bridge| on(host, bridge, turned(leaving))));
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
