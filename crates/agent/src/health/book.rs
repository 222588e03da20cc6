//! The book of the peers: a page for each, shared by the task that tries them, the loop, and whoever asks.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use byway_api::{AgentHealth, HealthTurn, PeerHealth};
use byway_fabric::cluster::{Cluster, Host, HostName};
use byway_fabric::health::{Deed, Health, Millis, Pace, STRANGERS_PER_SECOND_MAX, State, Word};
use byway_fabric::reach::{PeerReach, Reach};
use ipnet::IpNet;
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Notify, watch};
use tokio::time::{Duration, Instant};

use super::Told;
use super::ask::Question;
use crate::edge::chance;
use crate::edge::echo::{Answer, Echoes, Secret, has_no_carrier};
use crate::report::Findings;

/// When nobody is in the book there is nothing to do; a change is told.
const IDLE: Duration = Duration::from_mins(1);

/// Peers whose echoes do not come back any more, and whether they are gone, so that their routes refuse.
pub(crate) type Lost = BTreeMap<HostName, bool>;

/// The book; its copies are the same book.
#[derive(Debug, Clone)]
pub(crate) struct Book(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    begun: (Instant, Timestamp),
    pages: Mutex<BTreeMap<HostName, Page>>,
    changed: Notify,
    lost: watch::Sender<Lost>,
}

/// One peer.
#[derive(Debug)]
struct Page {
    host: Host,
    health: Health,
    /// The one by which it last answered when it was in doubt comes first.
    ways: Vec<Way>,
    /// Why there are none.
    why_not: String,
    /// As what it said that it speaks; remembered while its agent is away.
    speaks_as: Vec<IpAddr>,
}

/// A way to try a peer: of each family at most one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Way {
    subnet: IpNet,
    from: IpAddr,
    to: IpAddr,
    link: String,
    secret: Secret,
}

impl Default for Book {
    fn default() -> Self {
        Self(Arc::new(Inner {
            begun: (Instant::now(), Timestamp::now()),
            pages: Mutex::default(),
            changed: Notify::new(),
            lost: watch::Sender::default(),
        }))
    }
}

impl Book {
    fn now(&self) -> Millis {
        u64::try_from(self.0.begun.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn clock(&self, at: Millis) -> Timestamp {
        let since = SignedDuration::from_millis(i64::try_from(at).unwrap_or(i64::MAX));
        self.0.begun.1.checked_add(since).unwrap_or(self.0.begun.1)
    }

    fn pages(&self) -> MutexGuard<'_, BTreeMap<HostName, Page>> {
        self.0.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets everybody; returns whether somebody was gone.
    pub(crate) fn close(&self) -> bool {
        let pages = std::mem::take(&mut *self.pages());
        pages.values().any(|page| page.health.gone().is_some())
    }

    /// Hears when somebody is lost, or is to be tried with its routes.
    pub(crate) fn listen(&self) -> watch::Receiver<Lost> {
        self.0.lost.subscribe()
    }

    /// Waits until there is more to do than was due.
    pub(super) async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Takes in what a look found: who there is, and which ways lead there.
    pub(crate) fn learn(&self, cluster: &Cluster, me: &HostName, findings: &Findings) {
        let now = self.now();
        let mut pages = self.pages();
        let peers = || cluster.hosts.iter().filter(|host| host.name != *me);
        let names: BTreeSet<&HostName> = peers().map(|host| &host.name).collect();
        let known = pages.len();
        pages.retain(|name, _| names.contains(name));
        let mut has_changed = pages.len() != known;
        let mut first = now;
        for host in peers() {
            let page = pages.entry(host.name.clone()).or_insert_with(|| {
                has_changed = true;
                first += 1_000 / STRANGERS_PER_SECOND_MAX;
                Page::new(host, now, first)
            });
            let is_new = page.ways.is_empty() && page.why_not.is_empty();
            let path = page.links();
            let has_learned = page.learn(host, findings);
            // Who has just come is tried in turn.
            if !is_new && path != page.links() {
                page.health.another_path(now);
                has_changed = true;
            }
            if has_learned {
                has_changed = true;
                if !is_new {
                    page.health.hurry(now);
                }
            }
        }
        drop(pages);
        if has_changed {
            self.0.changed.notify_one();
        }
    }

    /// When something is due.
    pub(super) fn due(&self) -> Instant {
        let due = self.pages().values().map(|page| page.health.due()).min();
        due.map_or_else(|| Instant::now() + IDLE, |due| self.0.begun.0 + Duration::from_millis(due))
    }

    /// An echo came back: to whom it belongs, the secret says, and the address must be the one that was asked.
    pub(super) fn take_in(&self, answer: &Answer) {
        let now = self.now();
        for page in self.pages().values_mut() {
            if let Some(nth) =
                page.ways.iter().position(|way| way.to == answer.from && way.secret == answer.secret)
            {
                page.ways.swap(0, nth);
                page.health.answered(now, answer.trip_micros);
            } else if page.host.addresses.contains(&answer.from)
                && page.ways.iter().any(|way| way.secret == answer.secret)
            {
                page.health.answered_on_underlay(now);
            }
        }
    }

    /// Somebody was asked.
    pub(super) fn told(&self, told: Told) {
        let now = self.now();
        if let Some(page) = self.pages().get_mut(&told.peer) {
            page.health.told(now, told.asked, &told.said);
            page.hear_as_what_it_speaks(told.speaks_as);
        }
    }

    /// Sends what is due, and returns what is to be asked.
    pub(super) fn tick(&self, echoes: &Echoes) -> Vec<Question> {
        let now = self.now();
        let mut pages = self.pages();
        let pace = Pace::of(pages.len(), pages.values().filter(|page| page.health.gone().is_some()).count());
        pages.values_mut().flat_map(|page| page.tick(now, &pace, echoes)).collect()
    }

    /// Tells the loop if others are lost than before.
    pub(super) fn tell_who_is_lost(&self) {
        let lost = self.lost();
        self.0.lost.send_if_modified(|before| {
            let differs = *before != lost;
            *before = lost;
            differs
        });
    }

    /// Whose echoes do not come back any more.
    pub(crate) fn lost(&self) -> Lost {
        let pages = self.pages();
        let lost = pages.iter().filter(|(_, page)| page.health.is_lost());
        lost.map(|(name, page)| (name.clone(), page.health.gone().is_some())).collect()
    }

    /// Who is gone, for the planner.
    pub(crate) fn reach(&self) -> Reach {
        let pages = self.pages();
        let gone = pages.iter().filter_map(|(name, page)| {
            let since = self.clock(page.health.last_turn().at).strftime("%H:%M:%S UTC");
            let gone = format!("{} since {since}", page.health.gone()?);
            Some((name.clone(), PeerReach { gone: Some(gone), ..PeerReach::default() }))
        });
        Reach { peers: gone.collect() }
    }

    /// What an agent is told that asks how it is heard here.
    pub(crate) fn asked_by(&self, asker: &HostName, question: byway_fabric::health::Question) -> Word {
        let now = self.now();
        let Some(word) = self.pages().get_mut(asker).map(|page| {
            page.health.asked_by_it(now, question);
            page.health.word(now)
        }) else {
            return Word { hears: None, holds_ms: 0 };
        };
        self.0.changed.notify_one();
        word
    }

    /// How a peer stands, for the status.
    pub(crate) fn tell(&self, name: &HostName) -> Option<PeerHealth> {
        let now = self.now();
        let pages = self.pages();
        let page = pages.get(name)?;
        let (health, last) = (&page.health, page.health.last_turn());
        let agent = health.agent().filter(|_| page.host.key.is_some()).map(|agent| match agent {
            Ok(at) => AgentHealth { answers: true, since: self.clock(*at), why: None },
            Err(silence) => AgentHealth {
                answers: false,
                since: self.clock(silence.since),
                why: Some(silence.why.clone()),
            },
        });
        let turn = |turn: &byway_fabric::health::Turn| HealthTurn {
            at: self.clock(turn.at),
            state: turn.state,
            because: turn.because.clone(),
        };
        Some(PeerHealth {
            state: health.state(now),
            since: self.clock(last.at),
            because: last.because.clone(),
            tried: page.ways.iter().map(|way| way.to).collect(),
            round_trip_micros: health.trip_micros(),
            flaps: health.flaps(),
            held_until: health.held_until().filter(|until| *until > now).map(|until| self.clock(until)),
            agent,
            history: health.turns().map(turn).collect(),
        })
    }
}

impl Page {
    fn new(host: &Host, now: Millis, first: Millis) -> Self {
        Self {
            host: host.clone(),
            health: Health::new(now, first),
            ways: Vec::new(),
            why_not: String::new(),
            speaks_as: Vec::new(),
        }
    }

    /// Returns whether there are other ways than before.
    fn learn(&mut self, host: &Host, findings: &Findings) -> bool {
        if self.host != *host {
            self.host = host.clone();
        }
        let before = self.ways.len();
        let mut ways: Vec<Way> = Vec::new();
        let mut why_not = "no route leads there by which it could be tried".to_owned();
        for subnet in &host.subnets {
            let Some(route) = findings.desired.routes.get(subnet) else { continue };
            let Some(from) = route.src else {
                "this host has no address in its own subnet to try it from".clone_into(&mut why_not);
                continue;
            };
            if ways.iter().any(|way| way.from.is_ipv4() == from.is_ipv4()) {
                continue;
            }
            let same = self.ways.iter().find(|way| way.subnet == *subnet && way.from == from);
            let to = spoken_in(subnet, &self.speaks_as);
            match same.map_or_else(chance::bytes, |way| Ok(way.secret)) {
                Ok(secret) => {
                    let link = findings.observed.link_name(route.dev);
                    ways.push(Way { subnet: *subnet, from, to, link, secret });
                }
                Err(error) => why_not = format!("the kernel gives no random bytes: {error}"),
            }
        }
        // Which comes first stays as it was.
        let first = self.ways.first().map(|way| way.subnet);
        ways.sort_by_key(|way| Some(way.subnet) != first);
        (self.ways, self.why_not) = (ways, why_not);
        self.ways.len() != before
    }

    /// The links by which it is tried.
    fn links(&self) -> BTreeSet<String> {
        self.ways.iter().map(|way| way.link.clone()).collect()
    }

    /// Believed only inside its own subnets.
    fn hear_as_what_it_speaks(&mut self, speaks_as: Option<Vec<IpAddr>>) {
        let Some(speaks_as) = speaks_as else { return };
        let inside = |address: &IpAddr| self.host.subnets.iter().any(|subnet| subnet.contains(address));
        // One for each of its subnets is all that is asked for.
        self.speaks_as = speaks_as.into_iter().filter(inside).take(self.host.subnets.len()).collect();
        for way in &mut self.ways {
            way.to = spoken_in(&way.subnet, &self.speaks_as);
        }
    }

    fn tick(&mut self, now: Millis, pace: &Pace, echoes: &Echoes) -> Vec<Question> {
        let deeds = self.health.tick(now, pace);
        let asked = |deed: &&Deed| !matches!(deed, Deed::Echo | Deed::UnderlayEcho);
        let way = self.ways.first().map(|way| (way.from, way.to));
        let words = self.health.question();
        let questions = deeds.iter().filter(asked).map(|deed| Question {
            peer: self.host.clone(),
            asked: *deed,
            words,
            way,
        });
        let questions = questions.collect();
        for deed in deeds {
            match deed {
                Deed::Echo => self.echo(now, echoes),
                Deed::UnderlayEcho => self.echo_on_underlay(echoes),
                Deed::AskWitnesses => self.look_for_own_faults(now),
                Deed::Ask | Deed::AskWhetherBack => {}
            }
        }
        questions
    }

    /// By one way while it answers, as that is enough to know that it lives; else by all, and one that can be sent by is enough.
    fn echo(&mut self, now: Millis, echoes: &Echoes) {
        let mut why_not = Some(self.why_not.clone());
        let most = if self.health.state(now) == State::Answers { 1 } else { self.ways.len() };
        for way in self.ways.iter().take(most) {
            match echoes.send(Some(way.from), way.to, &way.secret) {
                Ok(()) => why_not = None,
                Err(error) => {
                    why_not = why_not
                        .map(|_| format!("an echo from {} to {} cannot be sent: {error}", way.from, way.to));
                }
            }
        }
        if let Some(why_not) = why_not {
            self.health.not_sent(now, &why_not);
        }
    }

    fn echo_on_underlay(&self, echoes: &Echoes) {
        let Some(way) = self.ways.first() else { return };
        for address in &self.host.addresses {
            // Whoever is gone is often not there to be sent to.
            let _ = echoes.send(None, *address, &way.secret);
        }
    }

    /// A cable of our own that is out is not the peer's fault.
    fn look_for_own_faults(&mut self, now: Millis) {
        if let Some(way) = self.ways.iter().find(|way| has_no_carrier(&way.link)) {
            self.health.not_sent(now, &format!("nobody is at the other end of this host's own {}", way.link));
        }
    }
}

/// The address that a peer speaks with in a subnet: what its agent said, else the first that can be used.
fn spoken_in(subnet: &IpNet, speaks_as: &[IpAddr]) -> IpAddr {
    let first = match subnet.network() {
        IpAddr::V4(v4) => IpAddr::from((u32::from(v4).saturating_add(1)).to_be_bytes()),
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6).saturating_add(1)).to_be_bytes()),
    };
    speaks_as.iter().copied().find(|address| subnet.contains(address)).unwrap_or(first)
}

#[cfg(test)]
mod tests {
    use byway_fabric::desired::{Choices, desired};
    use byway_fabric::observed::{Link, Observed, Route, RouteKind};
    use byway_fabric::plan::Plan;

    use super::*;

    fn host(nth: u8) -> Host {
        Host {
            name: HostName::try_from(format!("docker{nth}")).unwrap(),
            addresses: vec![[192, 168, 199, nth].into()],
            subnets: vec![format!("10.{nth}.0.0/16").parse().unwrap()],
            key: None,
        }
    }

    /// The first of 200 hosts looks around; all are neighbours on one link.
    fn look(cluster: &Cluster, link: &str) -> Findings {
        let connected = |to: &str, dev| Route {
            to: to.parse().unwrap(),
            kind: RouteKind::Unicast,
            via: None,
            dev: Some(dev),
            src: None,
            metric: 0,
            protocol: 2,
        };
        let device = |name: &str, address: &str| Link {
            name: name.to_owned(),
            up: true,
            addresses: vec![address.parse().unwrap()],
            ..Link::default()
        };
        let observed = Observed {
            links: [(1, device(link, "192.168.199.1/24")), (2, device("docker0", "10.1.0.1/16"))].into(),
            routes: vec![connected("192.168.199.0/24", 1), connected("10.1.0.0/16", 2)],
            ..Observed::default()
        };
        let choices = Choices::default();
        let desired = desired(cluster, &cluster.hosts[0], &choices, &observed, &Reach::default());
        Findings { desired, observed, plan: Plan::default() }
    }

    #[test]
    fn hosts_that_are_new_are_tried_one_after_the_other_and_another_link_tries_all_that_are_lost() {
        let cluster = Cluster { prefixes: Vec::new(), hosts: (1..=200).map(host).collect() };
        let (book, me) = (Book::default(), cluster.hosts[0].name.clone());
        book.learn(&cluster, &me, &look(&cluster, "eth0"));
        let now = book.now();
        let at_once = book.pages().values().filter(|page| page.health.due() <= now + 500).count();
        assert!(at_once <= 60, "{at_once} of 199 are tried within half a second");
        book.learn(&cluster, &me, &look(&cluster, "bond0"));
        let links = book.pages().values().map(Page::links).collect::<BTreeSet<_>>();
        assert_eq!(links, [["bond0".to_owned()].into()].into());
    }
}
