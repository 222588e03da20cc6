//! Which glimpses are one packet.
//!
//! 1. On one machine and with the same addresses: the n-th at one point is the n-th at another, within [`ON_THE_WAY_NS`].
//! 2. On one machine and with other addresses: NAT, if no point saw both and one end stayed what it was.
//! 3. From file to file, the same two steps without any time. Only where a key came up more than once and more often in
//!    one file than in another, what the keys that came up once tell of the clocks decides which is which.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Range;

use super::glimpse::{Flow, Glimpse};

/// The longest that a packet is on its way through one machine. Queues hold less; who repeats a packet waits longer
/// (a second for an unanswered SYN, RFC 6298).
const ON_THE_WAY_NS: u64 = 1_000_000_000;
/// From one interface to the next on one machine, where the file does not tell them apart: a port and its bridge.
const HANDED_ON_NS: u64 = 1_000_000;
/// Of several that wait, the oldest goes on first if it came this lately, else the newest: the others were lost.
const SOON_NS: u64 = 50_000_000;
/// How often one packet passes the points of a machine: once for each TTL, if it goes in a circle.
const MEMBERS_MAX: usize = 300;
/// Packets of one key that are under way at once. Who fills a queue with packets that nobody can tell apart is told
/// wrong, and does not take our time.
const OPEN_MAX: usize = 64;

/// What is to be known of points.
pub(super) struct Places<'a> {
    /// The file of each.
    pub(super) files: &'a [u16],
    /// Whether it is of several interfaces that the file does not tell apart.
    pub(super) mixed: &'a [bool],
}

/// Packets, each a list of places among the glimpses.
#[derive(Debug, Default)]
pub(super) struct Packets {
    pub(super) members: Vec<u32>,
    /// Where the members of each end, and what is known of it.
    pub(super) ends: Vec<End>,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct End {
    at: u32,
    /// No other packet has its key.
    pub(super) sure: bool,
    /// Its order among files is that of their names, for want of anything better.
    pub(super) assumed: bool,
}

impl Packets {
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    fn range(&self, nth: usize) -> Range<usize> {
        let start = if nth == 0 { 0 } else { self.ends[nth - 1].at as usize };
        start..self.ends[nth].at as usize
    }

    pub(super) fn of(&self, nth: usize) -> &[u32] {
        &self.members[self.range(nth)]
    }

    pub(super) fn of_mut(&mut self, nth: usize) -> &mut [u32] {
        let range = self.range(nth);
        &mut self.members[range]
    }

    pub(super) fn sure(&self, nth: usize) -> bool {
        self.ends[nth].sure
    }

    fn push(&mut self, members: &[u32], sure: bool) {
        self.members.extend(members);
        // There are fewer than 2^32 glimpses.
        let at = u32::try_from(self.members.len()).unwrap_or(u32::MAX);
        self.ends.push(End { at, sure, assumed: false });
    }
}

/// What of one packet was seen in one file.
#[derive(Debug, Clone)]
struct Chain {
    file: u16,
    members: Vec<u32>,
    /// With which addresses first and last.
    flows: [Flow; 2],
    first_ns: u64,
    last_ns: u64,
}

/// How much later a file's times are than another's, from packets that nobody can mix up: at least and at most.
type Skews = BTreeMap<(u16, u16), (i128, i128)>;

/// Puts glimpses together; they are sorted by key, file and time.
pub(super) fn packets(glimpses: &[Glimpse], places: &Places<'_>) -> Packets {
    let mut packets = Packets::default();
    let mut skews = Skews::new();
    let mut repeated: Vec<Range<usize>> = Vec::new();
    let mut start = 0;
    for group in glimpses.chunk_by(|a, b| a.key == b.key) {
        let range = start..start + group.len();
        start = range.end;
        let chains = chains(glimpses, range.clone(), places);
        if is_repeated(&chains) {
            repeated.push(range);
            continue;
        }
        note(&chains, &mut skews);
        Join { chains: &chains, skews: None, sure: true }.into(&mut packets);
    }
    for range in repeated {
        let chains = chains(glimpses, range, places);
        Join { chains: &chains, skews: Some(&skews), sure: false }.into(&mut packets);
    }
    packets
}

/// Whether one file has two packets with the same key and the same addresses.
fn is_repeated(chains: &[Chain]) -> bool {
    let mut seen = BTreeSet::new();
    chains.len() > 1 && !chains.iter().all(|chain| seen.insert((chain.file, chain.flows[0])))
}

/// Where a key came once in each of two files.
fn note(chains: &[Chain], skews: &mut Skews) {
    for (nth, chain) in chains.iter().enumerate() {
        // Of a scanner's thousands with one key, a few say enough.
        for other in chains[nth + 1..].iter().take(OPEN_MAX) {
            if other.file != chain.file && other.flows[0] == chain.flows[0] {
                let apart = i128::from(other.first_ns) - i128::from(chain.first_ns);
                let known = skews.entry((chain.file, other.file)).or_insert((apart, apart));
                *known = (known.0.min(apart), known.1.max(apart));
            }
        }
    }
}

/// What each file saw of the packets of one key.
fn chains(glimpses: &[Glimpse], range: Range<usize>, places: &Places<'_>) -> Vec<Chain> {
    let file_of = |glimpse: &Glimpse| places.files[usize::from(glimpse.point)];
    let (mut all, mut start) = (Vec::new(), range.start);
    for run in glimpses[range].chunk_by(|a, b| file_of(a) == file_of(b)) {
        let plain = File { glimpses, places, start }.chains(run);
        start += run.len();
        let crowded = flows(&plain) > 2;
        if plain.len() > 1 && plain.iter().any(|chain| chain.flows[0] != plain[0].flows[0]) {
            all.append(&mut translated(glimpses, plain, crowded));
        } else {
            all.extend(plain);
        }
    }
    all
}

fn flows(chains: &[Chain]) -> usize {
    chains.iter().flat_map(|chain| chain.flows).collect::<BTreeSet<_>>().len()
}

/// The glimpses of one key in one file.
struct File<'a> {
    glimpses: &'a [Glimpse],
    places: &'a Places<'a>,
    /// Where they start among all.
    start: usize,
}

impl File<'_> {
    /// Puts together what has the same addresses.
    fn chains(&self, run: &[Glimpse]) -> Vec<Chain> {
        let mut chains: Vec<Chain> = Vec::new();
        let mut open: BTreeMap<Flow, VecDeque<usize>> = BTreeMap::new();
        for (nth, glimpse) in run.iter().enumerate() {
            let waiting = open.entry(glimpse.flow).or_default();
            while waiting.front().is_some_and(|at| glimpse.time_ns - chains[*at].last_ns > ON_THE_WAY_NS) {
                waiting.pop_front();
            }
            // There are fewer than 2^32 glimpses.
            let member = u32::try_from(self.start + nth).unwrap_or(u32::MAX);
            if let Some(at) = self.choose(waiting, &chains, glimpse) {
                chains[at].members.push(member);
                chains[at].last_ns = glimpse.time_ns;
                continue;
            }
            if waiting.len() == OPEN_MAX {
                waiting.pop_front();
            }
            waiting.push_back(chains.len());
            let (file, time) = (self.places.files[usize::from(glimpse.point)], glimpse.time_ns);
            let flows = [glimpse.flow; 2];
            chains.push(Chain { file, members: vec![member], flows, first_ns: time, last_ns: time });
        }
        chains
    }

    fn choose(&self, waiting: &VecDeque<usize>, chains: &[Chain], glimpse: &Glimpse) -> Option<usize> {
        let fits = |at: &&usize| self.fits(&chains[**at], glimpse);
        let soon = |at: &&usize| glimpse.time_ns - chains[**at].last_ns <= SOON_NS;
        waiting.iter().filter(soon).find(fits).or_else(|| waiting.iter().rev().find(fits)).copied()
    }

    /// Whether it can be the same packet at its next point.
    fn fits(&self, chain: &Chain, glimpse: &Glimpse) -> bool {
        if chain.members.len() >= MEMBERS_MAX {
            return false;
        }
        let station = glimpse.station();
        let mut here =
            chain.members.iter().map(|at| &self.glimpses[*at as usize]).filter(|it| it.station() == station);
        let is_lower = here.all(|before| glimpse.ttl < before.ttl);
        is_lower || self.is_handed_on(chain, glimpse)
    }

    /// From a port to its bridge, where both have one name.
    fn is_handed_on(&self, chain: &Chain, glimpse: &Glimpse) -> bool {
        let last = chain.members.last().map(|at| &self.glimpses[*at as usize]);
        self.places.mixed[usize::from(glimpse.point)]
            && glimpse.time_ns - chain.last_ns <= HANDED_ON_NS
            && last.is_some_and(|last| last.station() == glimpse.station() && last.ttl == glimpse.ttl)
    }
}

/// Puts together what NAT made of one packet on one machine.
fn translated(glimpses: &[Glimpse], plain: Vec<Chain>, crowded: bool) -> Vec<Chain> {
    let stations = |chain: &Chain| -> Vec<_> {
        chain.members.iter().map(|at| glimpses[*at as usize].station()).collect()
    };
    let ttl = |at: Option<&u32>| at.map_or(0, |at| glimpses[*at as usize].ttl);
    let mut chains: Vec<Chain> = Vec::new();
    for chain in plain {
        let here = stations(&chain);
        let fits = |before: &Chain| {
            let took = chain.first_ns.checked_sub(before.last_ns);
            took.is_some_and(|took| took <= ON_THE_WAY_NS)
                && ttl(chain.members.first()) <= ttl(before.members.last())
                && stations(before).iter().all(|station| !here.contains(station))
        };
        let from = chains.len().saturating_sub(OPEN_MAX);
        let likeness = |before: &Chain| likeness(std::slice::from_ref(&before), &chain);
        let candidates = (from..chains.len()).filter(|at| fits(&chains[*at]));
        // Of those that are equally like it, the oldest.
        let best = candidates.rev().max_by_key(|at| likeness(&chains[*at]));
        match best.filter(|at| likeness(&chains[*at]) >= wanted(crowded)) {
            Some(at) => {
                let before = &mut chains[at];
                before.members.extend(chain.members);
                (before.flows[1], before.last_ns) = (chain.flows[1], chain.last_ns);
            }
            None => chains.push(chain),
        }
    }
    chains
}

/// How like one another two must be to be one packet before and after NAT.
fn wanted(crowded: bool) -> u8 {
    if crowded { 2 } else { 1 }
}

fn likeness(before: &[&Chain], after: &Chain) -> u8 {
    let pairs = before.iter().flat_map(|chain| chain.flows).flat_map(|a| after.flows.map(|b| (a, b)));
    let mut most = 0;
    for (a, b) in pairs {
        match a.likeness(&b) {
            0 if a != b => return 0,
            likeness => most = most.max(likeness),
        }
    }
    most
}

/// What all files saw of the packets of one key.
struct Join<'a> {
    /// By file, then by time.
    chains: &'a [Chain],
    /// For keys that came more than once.
    skews: Option<&'a Skews>,
    sure: bool,
}

/// One packet while it is put together: its chains, and whether NAT was guessed among many.
struct Joined<'a> {
    chains: Vec<&'a Chain>,
    sure: bool,
}

impl<'a> Join<'a> {
    fn into(self, packets: &mut Packets) {
        if let [chain] = self.chains {
            return packets.push(&chain.members, self.sure);
        }
        let crowded = flows(self.chains) > 2;
        let mut joined: Vec<Joined<'a>> = Vec::new();
        let mut by_flow: BTreeMap<Flow, Vec<usize>> = BTreeMap::new();
        for run in self.chains.chunk_by(|a, b| a.file == b.file) {
            let rest = self.by_addresses(run, &mut joined, &by_flow);
            let rest = self.by_nat(rest, &mut joined, run[0].file, crowded);
            joined.extend(rest.into_iter().map(|chain| Joined { chains: vec![chain], sure: self.sure }));
            by_flow.clear();
            for (nth, packet) in joined.iter().enumerate() {
                let flows: BTreeSet<Flow> = packet.chains.iter().flat_map(|chain| chain.flows).collect();
                for flow in flows {
                    by_flow.entry(flow).or_default().push(nth);
                }
            }
        }
        for packet in joined {
            let members: Vec<u32> = packet.chains.iter().flat_map(|chain| &chain.members).copied().collect();
            packets.push(&members, packet.sure);
        }
    }

    /// The n-th with these addresses in one file is the n-th in another. Returns what is not found.
    fn by_addresses(
        &self,
        run: &'a [Chain],
        joined: &mut [Joined<'a>],
        by_flow: &BTreeMap<Flow, Vec<usize>>,
    ) -> Vec<&'a Chain> {
        let mut passed: BTreeMap<Flow, usize> = BTreeMap::new();
        let mut rest = Vec::new();
        for chain in run {
            let found = chain.flows.into_iter().find_map(|flow| {
                let list = by_flow.get(&flow)?;
                let next = passed.entry(flow).or_default();
                while let Some(at) = list.get(*next) {
                    let packet = &joined[*at];
                    let is_taken = packet.chains.iter().any(|other| other.file == chain.file);
                    match self.is_later(&packet.chains, chain) {
                        _ if is_taken => *next += 1,
                        Some(Ordering::Greater) => *next += 1,
                        Some(Ordering::Less) => return None,
                        _ => return Some(*at),
                    }
                }
                None
            });
            match found {
                Some(at) => joined[at].chains.push(chain),
                None => rest.push(chain),
            }
        }
        rest
    }

    /// What another file saw before or after NAT. Returns what is not found.
    fn by_nat(
        &self,
        rest: Vec<&'a Chain>,
        joined: &mut [Joined<'a>],
        file: u16,
        crowded: bool,
    ) -> Vec<&'a Chain> {
        let lacks = |packet: &Joined<'_>| packet.chains.iter().all(|chain| chain.file != file);
        let mut lacking: VecDeque<usize> = (0..joined.len()).filter(|at| lacks(&joined[*at])).collect();
        let mut none = Vec::new();
        for chain in rest {
            let near = lacking.iter().enumerate().take(OPEN_MAX);
            let fitting =
                near.filter(|(_, at)| self.is_later(&joined[**at].chains, chain).is_none_or(Ordering::is_eq));
            let like = fitting.map(|(nth, at)| (likeness(&joined[*at].chains, chain), nth));
            match like
                .filter(|(like, _)| *like >= wanted(crowded))
                .min_by_key(|(like, nth)| (u8::MAX - like, *nth))
            {
                Some((_, nth)) => {
                    if let Some(at) = lacking.remove(nth) {
                        joined[at].chains.push(chain);
                        joined[at].sure &= !crowded;
                    }
                }
                None => none.push(chain),
            }
        }
        none
    }

    /// Whether it was seen too late or too early to be the same packet; `None` if nothing is known of the clocks.
    fn is_later(&self, packet: &[&Chain], chain: &Chain) -> Option<Ordering> {
        let skews = self.skews?;
        packet.iter().find_map(|other| {
            let (least, most) = skews.get(&(other.file, chain.file))?;
            let apart = i128::from(chain.first_ns) - i128::from(other.first_ns);
            let slack = i128::from(ON_THE_WAY_NS);
            Some(if apart > most + slack {
                Ordering::Greater
            } else if apart < least - slack {
                Ordering::Less
            } else {
                Ordering::Equal
            })
        })
    }
}
