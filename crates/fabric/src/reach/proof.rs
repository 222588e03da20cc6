//! Proves that routers carry packets of containers to a peer and back, before any such packet depends on it.
//!
//! Two things must be true, and each is seen, not believed:
//!
//! - *there*: an echo from this host's container address to the peer's was sent by the router and no other way, and was
//!   answered. The answer carries a number that nobody else knows; by which way it comes back depends on what the peer
//!   has found out so far, so it proves nothing else.
//! - *back*: something from the peer's container address came in by the link of the router, not by the tunnel: such an
//!   answer, or the peer's own echo, which it sends by the router for the same reason.
//!
//! So two hosts that both still use the tunnel can find out both things without waiting for each other. Time is an
//! argument, counted from any beginning.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::Reach;
use crate::cluster::HostName;

/// How often a way is tried that was found to be good, or not to be: calm, as each change of routes here tries at once.
pub const EVERY: Duration = Duration::from_secs(10);
/// How soon it is tried again after the first miss, or when the peer's own echo shows that something changed.
pub const AGAIN: Duration = Duration::from_secs(1);
/// How long an answer may take: far longer than any way between hosts of one cluster.
pub const ANSWER: Duration = Duration::from_secs(1);
/// So many misses in a row take a proof away: one packet can get lost.
pub const MISSES_MAX: u8 = 2;
/// How long it counts that something came back by the router: the peer sends every [`EVERY`], and one may get lost.
pub const BACK: Duration = Duration::from_secs(25);

/// A way that is to be tried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Target {
    /// To whom.
    pub peer: HostName,
    /// The address with which this host speaks to containers.
    pub from: IpAddr,
    /// That of the peer.
    pub to: IpAddr,
    /// The router.
    pub gateway: IpAddr,
    /// The link that leads to it.
    pub dev: u32,
}

/// What was heard that could be about a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// Who sent it.
    pub from: IpAddr,
    /// To which address of this host.
    pub to: IpAddr,
    /// By which link it came in.
    pub dev: u32,
    /// The number of our own echo that it answers; none for an echo of the peer.
    pub answers: Option<u16>,
}

/// What is known of one way.
#[derive(Debug, Clone, Default)]
struct Way {
    /// When the next echo is due.
    due: Duration,
    /// The echo under way, and when its answer is late.
    waits: Option<(u16, Duration)>,
    misses: u8,
    there: bool,
    /// When something last came back by the router.
    back: Option<Duration>,
    /// Whether something came back by the router since the last echo: enough to make haste once.
    stirred: bool,
}

/// All ways that are tried.
#[derive(Debug, Clone, Default)]
pub struct Prover {
    ways: BTreeMap<Target, Way>,
    last: u16,
}

impl Prover {
    /// Tries these ways from now on. What is new is due at once, and what is not meant any more is forgotten.
    pub fn aim(&mut self, targets: BTreeSet<Target>, now: Duration) {
        self.ways.retain(|target, _| targets.contains(target));
        for target in targets {
            self.ways.entry(target).or_insert_with(|| Way { due: now, ..Way::default() });
        }
    }

    /// Notes which answers are late, and says which echoes to send now, each with its number.
    pub fn send(&mut self, now: Duration) -> Vec<(Target, u16)> {
        let mut echoes = Vec::new();
        for (target, way) in &mut self.ways {
            if way.waits.is_some_and(|(_, late)| late <= now) {
                way.miss(now);
            }
            if way.due <= now && way.waits.is_none() {
                self.last = self.last.wrapping_add(1);
                way.waits = Some((self.last, now + ANSWER));
                way.stirred = false;
                echoes.push((target.clone(), self.last));
            }
        }
        echoes
    }

    /// When [`Prover::send`] has something to do next.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        let next = |way: &Way| {
            let acts = way.waits.map_or(way.due, |(_, late)| late);
            // A proof that ends by itself is to be noticed.
            way.back.filter(|_| way.there).map_or(acts, |back| acts.min(back + BACK))
        };
        self.ways.values().map(next).min()
    }

    /// Takes in what was heard. What fits no way is nothing to us.
    pub fn hear(&mut self, heard: &Heard, now: Duration) {
        for (target, way) in &mut self.ways {
            if (target.to, target.from) != (heard.from, heard.to) {
                continue;
            }
            match heard.answers {
                Some(number) if way.waits.is_none_or(|(under_way, _)| under_way != number) => continue,
                Some(_) => way.answer(now),
                None => {}
            }
            if target.dev == heard.dev {
                way.come_back(now);
            }
        }
    }

    /// The peers to which routers carry packets of containers, there and back, on all ways that are tried.
    #[must_use]
    pub fn by_router(&self, now: Duration) -> BTreeSet<HostName> {
        let mut proven: BTreeMap<&HostName, bool> = BTreeMap::new();
        for (target, way) in &self.ways {
            *proven.entry(&target.peer).or_insert(true) &= way.is_proven(now);
        }
        proven.into_iter().filter(|(_, proven)| *proven).map(|(peer, _)| peer.clone()).collect()
    }
}

impl Way {
    fn answer(&mut self, now: Duration) {
        (self.waits, self.there, self.misses) = (None, true, 0);
        self.due = now + EVERY;
    }

    fn miss(&mut self, now: Duration) {
        self.waits = None;
        self.misses = self.misses.saturating_add(1);
        let is_lost = self.misses >= MISSES_MAX;
        self.there &= !is_lost;
        self.due = now + if is_lost { EVERY } else { AGAIN };
    }

    fn come_back(&mut self, now: Duration) {
        self.back = Some(now);
        // The router carries the peer's: it may just have learnt to carry ours.
        if !self.there && !self.stirred && self.waits.is_none() {
            (self.stirred, self.due) = (true, self.due.min(now + AGAIN));
        }
    }

    fn is_proven(&self, now: Duration) -> bool {
        self.there && self.back.is_some_and(|back| now < back + BACK)
    }
}

impl Reach {
    /// Takes in to which peers routers carry packets of containers; returns whether anything is new.
    pub fn learn_routers(&mut self, by_router: &BTreeSet<HostName>) -> bool {
        let before = self.clone();
        for (peer, reach) in &mut self.peers {
            reach.by_router = by_router.contains(peer);
        }
        for peer in by_router {
            self.peers.entry(peer.clone()).or_default().by_router = true;
        }
        *self != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UPLINK: u32 = 2;
    const TUNNEL: u32 = 172_004;

    fn target(to: &str) -> Target {
        let (from, gateway) = if to.contains(':') {
            ("fd00:172:41::1", "fd00:199::1")
        } else {
            ("172.41.0.1", "192.168.199.1")
        };
        Target {
            peer: HostName::try_from("docker51".to_owned()).unwrap(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            gateway: gateway.parse().unwrap(),
            dev: UPLINK,
        }
    }

    /// One way by the second: what happens to its echoes, until somebody asks.
    struct Scene {
        prover: Prover,
        now: Duration,
        sent: Vec<u16>,
    }

    impl Scene {
        fn new() -> Self {
            let mut prover = Prover::default();
            prover.aim([target("172.51.0.1")].into(), Duration::ZERO);
            Self { prover, now: Duration::ZERO, sent: Vec::new() }
        }

        /// Goes on for so long, echo by echo; each is answered by a link, or not.
        fn go_on(&mut self, seconds: u64, answered_by: Option<u32>) {
            let until = self.now + Duration::from_secs(seconds);
            while let Some(next) = self.prover.next().filter(|next| *next <= until) {
                self.now = next.max(self.now);
                for (target, number) in self.prover.send(self.now) {
                    self.sent.push(number);
                    if let Some(dev) = answered_by {
                        self.hear(&target, dev, Some(number));
                    }
                }
                if self.prover.next() == Some(next) {
                    break;
                }
            }
            self.now = until;
        }

        fn hear(&mut self, target: &Target, dev: u32, answers: Option<u16>) {
            let heard = Heard { from: target.to, to: target.from, dev, answers };
            self.prover.hear(&heard, self.now);
        }

        fn is_proven(&self) -> bool {
            !self.prover.by_router(self.now).is_empty()
        }
    }

    #[test]
    fn one_answer_by_the_router_proves_both_directions() {
        let mut scene = Scene::new();
        assert!(!scene.is_proven());
        scene.go_on(0, Some(UPLINK));
        assert!(scene.is_proven());
        scene.go_on(60, Some(UPLINK));
        assert!(scene.is_proven());
        assert_eq!(scene.sent.len(), 7, "every ten seconds");
    }

    #[test]
    fn an_answer_through_the_tunnel_proves_one_direction_and_the_peers_echo_the_other() {
        let mut scene = Scene::new();
        scene.go_on(5, Some(TUNNEL));
        assert!(!scene.is_proven());
        scene.hear(&target("172.51.0.1"), TUNNEL, None);
        assert!(!scene.is_proven(), "what came through the tunnel says nothing of the router");
        scene.hear(&target("172.51.0.1"), UPLINK, None);
        assert!(scene.is_proven());
        scene.go_on(24, Some(TUNNEL));
        assert!(scene.is_proven());
        scene.go_on(1, Some(TUNNEL));
        assert!(!scene.is_proven(), "nothing came back for too long");
    }

    #[test]
    fn two_misses_in_a_row_take_it_away_and_one_does_not() {
        let mut scene = Scene::new();
        scene.go_on(9, Some(UPLINK));
        scene.go_on(2, None);
        assert!(scene.is_proven(), "one is under way, or was missed once");
        scene.go_on(3, None);
        assert!(!scene.is_proven());
        assert_eq!(scene.sent.len(), 3, "the second comes soon after the first");
        scene.go_on(10, Some(UPLINK));
        assert!(scene.is_proven(), "one success brings it back");
    }

    #[test]
    fn answers_of_others_and_late_ones_prove_nothing() {
        let mut scene = Scene::new();
        scene.go_on(0, None);
        let number = scene.sent[0];
        scene.hear(&target("172.51.0.1"), UPLINK, Some(number.wrapping_add(1)));
        scene.hear(&target("172.51.0.2"), UPLINK, Some(number));
        assert!(!scene.is_proven());
        scene.go_on(5, None);
        scene.hear(&target("172.51.0.1"), UPLINK, Some(number));
        assert!(!scene.is_proven());
    }

    #[test]
    fn a_peer_is_proven_when_both_families_are() {
        let mut scene = Scene::new();
        let both = [target("172.51.0.1"), target("fd00:172:51::1")];
        scene.prover.aim(both.clone().into(), scene.now);
        for (target, number) in scene.prover.send(scene.now) {
            if target.to.is_ipv4() {
                scene.hear(&target, UPLINK, Some(number));
            }
        }
        assert!(!scene.is_proven());
        scene.go_on(11, Some(UPLINK));
        assert!(scene.is_proven());
    }

    #[test]
    fn the_peers_echo_makes_haste_once() {
        let mut scene = Scene::new();
        scene.go_on(5, None);
        assert_eq!(scene.sent.len(), 2);
        for _ in 0..5 {
            scene.hear(&target("172.51.0.1"), UPLINK, None);
        }
        scene.go_on(1, Some(UPLINK));
        assert_eq!((scene.sent.len(), scene.is_proven()), (3, true));
    }

    #[test]
    fn what_is_not_meant_any_more_is_forgotten_and_what_changed_is_tried_at_once() {
        let mut scene = Scene::new();
        scene.go_on(3, Some(UPLINK));
        let moved = Target { dev: 7, ..target("172.51.0.1") };
        scene.prover.aim([moved.clone()].into(), scene.now);
        assert!(!scene.is_proven());
        assert_eq!(scene.prover.send(scene.now).len(), 1);
        scene.prover.aim([].into(), scene.now);
        assert_eq!((scene.prover.next(), scene.prover.send(scene.now).len()), (None, 0));
    }

    #[test]
    fn reach_says_whether_anything_is_new() {
        let peer = HostName::try_from("docker51".to_owned()).unwrap();
        let mut reach = Reach::default();
        assert!(!reach.learn_routers(&[].into()));
        assert!(reach.learn_routers(&[peer.clone()].into()) && reach.by_router(&peer));
        assert!(!reach.learn_routers(&[peer.clone()].into()));
        assert!(reach.learn_routers(&[].into()) && !reach.by_router(&peer));
    }
}
