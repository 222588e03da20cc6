//! Watches packets pass at several interfaces of this host at once, for as long as an order says and somebody listens.
//!
//! One thread does it, with blocking sockets. What it sees goes to whoever asked; where that is slower than the
//! packets, what is left out is counted. When it ends, everything it opened is closed.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use byway_fabric::evidence::Flow;
use byway_fabric::trace::watch::{Ending, Event, Frame, Limits, Order, SPOTS_MAX, Spot, What};
use byway_wire::{Frame as Decoded, LinkType, Packet, TcpFlags, Transport};
use nix::poll::{PollFd, PollFlags};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;

use super::TraceError;
use super::statements::Statements;
use crate::edge::cables::{self, Plugged};
use crate::edge::counters::LegacyCounters;
use crate::edge::drops::Drops;
use crate::edge::fib;
use crate::edge::netlink::Netlink;
use crate::edge::netns;
use crate::edge::rule_trace::RuleTrace;
use crate::edge::watch::{Captured, FRAME_BYTES_MAX, Instruction, Watch, WatchError, flow};

/// Frames that are taken from one interface before the others have their turn.
const TURN: usize = 256;
/// How long statements may wait for packets that are missing, where nothing else comes.
const SETTLE: Duration = Duration::from_millis(200);

/// Ends a watching from outside.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Stop>);

#[derive(Debug)]
struct Stop {
    bell: EventFd,
    why: AtomicU8,
}

const GOES_ON: u8 = 0;
const ASKED: u8 = 1;
const GONE: u8 = 2;

impl Stopper {
    /// One that has not been used.
    ///
    /// # Errors
    /// When the kernel has no more file descriptors.
    pub fn new() -> std::io::Result<Self> {
        let bell = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self(Arc::new(Stop { bell, why: AtomicU8::new(GOES_ON) })))
    }

    /// Everything was seen: what has been gathered is told, and the end.
    pub fn stop(&self) {
        self.ring(ASKED);
    }

    /// Nobody listens any more: the end, without a word.
    pub fn hang_up(&self) {
        self.ring(GONE);
    }

    fn ring(&self, why: u8) {
        self.0.why.fetch_max(why, Ordering::Relaxed);
        // It cannot fail but by an overflow, and then it rings already.
        let _ = self.0.bell.write(1);
    }

    fn ending(&self) -> Option<Ending> {
        match self.0.why.load(Ordering::Relaxed) {
            GOES_ON => None,
            ASKED => Some(Ending::Asked),
            _ => Some(Ending::Gone),
        }
    }
}

/// Carries an order out and returns when it has ended; the last event told is [`Event::End`]. `tell` takes an event
/// without waiting, and says whether there was room for it.
///
/// # Errors
/// When this host cannot be looked at. A place that cannot be watched is an event.
pub fn watch(
    order: &Order,
    stopper: &Stopper,
    tell: &mut dyn FnMut(Event) -> bool,
) -> Result<(), TraceError> {
    let (mut session, ready) = Session::open(order)?;
    let Ready { blind, mtus, no_rules, no_drops } = ready;
    let statements = session.statements.is_some();
    tell(Event::Ready { blind, mtus, no_rules, no_drops, statements });
    let why = session.run(stopper, tell)?;
    if why != Ending::Gone {
        session.finish(why, tell);
    }
    Ok(())
}

/// What could not be opened, and why.
#[derive(Default)]
struct Ready {
    blind: Vec<(Spot, String)>,
    mtus: Vec<Option<u32>>,
    no_rules: Option<String>,
    no_drops: Option<String>,
}

/// What is open while an order is carried out.
struct Session {
    watches: Vec<(usize, Watch)>,
    rules: Option<RuleTrace>,
    counters: Option<LegacyCounters>,
    drops: Option<Drops>,
    statements: Option<Statements>,
    flow: Option<Flow>,
    starts_only: bool,
    limits: Limits,
    deadline: Instant,
    /// All points begin together, and end together, by this host's clock: a packet that passes one of them while the next
    /// is being opened would look lost.
    begin_ns: u64,
    end_ns: u64,
    packets: u64,
    bytes: u64,
    left_out: u64,
}

impl Session {
    fn open(order: &Order) -> Result<(Self, Ready), TraceError> {
        let limits = order.limits.bounded();
        let flow = match &order.what {
            What::Flow(flow) => Some(flow.clone()),
            What::Program { .. } => None,
        };
        let inside = order.spots.iter().any(|spot| spot.inside.is_some());
        let plugged = if inside { cables::list(&[])? } else { Vec::new() };
        // Statements are read from whole packets. What is told of these is cut later.
        let whole = u32::try_from(FRAME_BYTES_MAX).unwrap_or(u32::MAX);
        let kept = if order.statements.is_some() { whole } else { limits.snaplen };
        let filter = filter(&order.what, kept);
        let (mut watches, mut ready) = (Vec::new(), Ready::default());
        for (nth, spot) in order.spots.iter().enumerate() {
            let opened = if nth < SPOTS_MAX {
                open(spot, &plugged, &filter)
            } else {
                Err(format!("an order has at most {SPOTS_MAX} places"))
            };
            match opened {
                Ok((watch, mtu)) => {
                    watches.push((nth, watch));
                    ready.mtus.push(mtu);
                }
                Err(why) => {
                    ready.blind.push((spot.clone(), why));
                    ready.mtus.push(None);
                }
            }
        }
        let traced = flow.as_ref().filter(|_| order.rules);
        let rules = traced.and_then(|flow| or_why(RuleTrace::open(flow), &mut ready.no_rules));
        let counters = traced.and_then(|_| or_why(LegacyCounters::look(), &mut ready.no_rules));
        let heard = flow.as_ref().filter(|_| order.drops);
        let drops = heard.and_then(|flow| or_why(Drops::open(flow, &namespaces(order)), &mut ready.no_drops));
        let places = watches.iter().map(|(nth, _)| *nth);
        let statements = order.statements.as_ref().map(|wanted| Statements::open(wanted, places));
        let deadline = Instant::now() + Duration::from_millis(limits.millis);
        let starts_only = order.starts_only;
        let (begin_ns, end_ns) = (now_ns(), u64::MAX);
        let session = Self {
            begin_ns,
            end_ns,
            watches,
            rules,
            counters,
            drops,
            statements,
            flow,
            starts_only,
            limits,
            deadline,
            packets: 0,
            bytes: 0,
            left_out: 0,
        };
        Ok((session, ready))
    }

    fn run(&mut self, stopper: &Stopper, tell: &mut dyn FnMut(Event) -> bool) -> Result<Ending, TraceError> {
        loop {
            let ending =
                stopper.ending().or_else(|| (Instant::now() >= self.deadline).then_some(Ending::Time));
            if ending.is_some() {
                self.end_ns = now_ns();
            }
            // What has passed by now is told before the end; of more than a turn, turn by turn.
            while self.take(tell) && ending.is_some_and(|ending| ending != Ending::Gone) {}
            let full = self.packets >= self.limits.packets || self.bytes >= self.limits.bytes;
            if let Some(why) = ending.or(full.then_some(Ending::Limit)) {
                return Ok(why);
            }
            self.wait(stopper).map_err(|error| TraceError::Blind(format!("wait for packets: {error}")))?;
            if let Some(statements) = &mut self.statements {
                statements.settle(now_ns(), tell);
            }
        }
    }

    /// Takes what is there, a turn from each; whether there may be more from before the end.
    fn take(&mut self, tell: &mut dyn FnMut(Event) -> bool) -> bool {
        if let Some(rules) = &mut self.rules
            && let Err(error) = rules.take()
        {
            tracing::warn!(error = crate::error::chain(&error), "the kernel's words about rules ended");
            self.rules = None;
        }
        if let Some(drops) = &mut self.drops {
            drops.take();
        }
        let mut frames = Vec::new();
        let mut more = false;
        for (spot, watch) in &mut self.watches {
            for nth in 1..=TURN {
                match watch.next(Instant::now()) {
                    Ok(Some(captured)) if captured.time_ns < self.begin_ns => {}
                    Ok(Some(captured)) if captured.time_ns > self.end_ns => break,
                    Ok(Some(mut captured)) => {
                        more |= nth == TURN;
                        if let Some(statements) = &mut self.statements {
                            statements.packet(*spot, watch.link(), &captured, tell);
                            captured.frame.truncate(self.limits.snaplen as usize);
                        }
                        let wanted = self
                            .flow
                            .as_ref()
                            .is_none_or(|flow| belongs(flow, self.starts_only, watch.link(), &captured));
                        frames.extend(wanted.then(|| frame(*spot, watch.link(), captured)));
                    }
                    // Nothing waits; or the interface went down, and when it comes up again, so do its packets.
                    Ok(None) | Err(_) => break,
                }
            }
        }
        frames.sort_by_key(|frame| frame.time_ns);
        for frame in frames {
            if self.packets >= self.limits.packets || self.bytes >= self.limits.bytes {
                self.left_out += 1;
                continue;
            }
            self.packets += 1;
            self.bytes += frame.bytes.len() as u64;
            if !tell(Event::Frame(frame)) {
                self.left_out += 1;
            }
        }
        more
    }

    fn wait(&self, stopper: &Stopper) -> nix::Result<()> {
        let mut polled = vec![PollFd::new(stopper.0.bell.as_fd(), PollFlags::POLLIN)];
        polled.extend(self.watches.iter().map(|(_, watch)| PollFd::new(watch.as_fd(), PollFlags::POLLIN)));
        polled.extend(self.rules.iter().map(|rules| PollFd::new(rules.as_fd(), PollFlags::POLLIN)));
        polled.extend(self.drops.iter().map(|drops| PollFd::new(drops.as_fd(), PollFlags::POLLIN)));
        let left = self.deadline.saturating_duration_since(Instant::now());
        let left = if self.statements.is_some() { left.min(SETTLE) } else { left };
        match nix::poll::ppoll(&mut polled, Some(TimeSpec::from_duration(left)), None) {
            Ok(_) | Err(nix::errno::Errno::EINTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn finish(&mut self, why: Ending, tell: &mut dyn FnMut(Event) -> bool) {
        let dropped: u64 = self.watches.iter_mut().filter_map(|(_, watch)| watch.lost().ok()).sum();
        let mut rules_lost = 0;
        match self.rules.take().map(RuleTrace::finish) {
            Some(Ok((packets, lost))) => {
                rules_lost = lost.overruns + lost.malformed + lost.packets;
                for packet in packets {
                    rules_lost += u64::from(!tell(Event::Rules(packet)));
                }
            }
            Some(Err(error)) => {
                tracing::warn!(
                    error = crate::error::chain(&error),
                    "the rules that packets met are not known"
                );
                rules_lost = 1;
            }
            None => {}
        }
        if let Some(Ok(changes)) = self.counters.take().map(|counters| counters.changes()) {
            for change in changes {
                tell(Event::Counter(change));
            }
        }
        if let Some(Ok((drops, beyond))) = self.drops.take().map(Drops::finish) {
            rules_lost += beyond;
            for drop in drops {
                tell(Event::Drop(drop));
            }
        }
        let unsaid = self.statements.take().map(|statements| statements.finish(tell)).unwrap_or_default();
        tell(Event::End { lost: self.left_out + dropped, rules_lost, unsaid, why });
    }
}

/// What was opened; why it was not goes to `why`, unless there is a reason already.
fn or_why<T, E: std::error::Error + 'static>(opened: Result<T, E>, why: &mut Option<String>) -> Option<T> {
    match opened {
        Ok(opened) => Some(opened),
        Err(error) => {
            why.get_or_insert_with(|| crate::error::chain(&error));
            None
        }
    }
}

/// This host's own namespace and those of the containers where it watches: drops inside of others are not of its flow.
fn namespaces(order: &Order) -> Vec<u32> {
    let inside = order.spots.iter().filter_map(|spot| spot.inside);
    let mut all: Vec<u32> =
        netns::own().ok().into_iter().chain(inside).filter_map(|inode| inode.try_into().ok()).collect();
    all.sort_unstable();
    all.dedup();
    all
}

/// This host's clock, in nanoseconds since 1970.
fn now_ns() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// The filter for the kernel, for each kind of link where they differ.
enum Filter {
    Same(Vec<Instruction>),
    ByLink { ethernet: Vec<Instruction>, raw_ip: Vec<Instruction> },
}

fn filter(what: &What, snaplen: u32) -> Filter {
    let step = |(code, jt, jf, k): &(u16, u8, u8, u32)| {
        // Whoever compiled it has said how much is told, which may be less than is needed here.
        let takes = u32::from(*code) == libc::BPF_RET | libc::BPF_K && *k > 0;
        Instruction { code: *code, jt: *jt, jf: *jf, k: if takes { snaplen.max(*k) } else { *k } }
    };
    let program = |program: &[(u16, u8, u8, u32)]| program.iter().map(step).collect();
    match what {
        What::Flow(wanted) => Filter::Same(flow(wanted, snaplen)),
        What::Program { ethernet, raw_ip } => {
            Filter::ByLink { ethernet: program(ethernet), raw_ip: program(raw_ip) }
        }
    }
}

/// Opens one place, and tells how large a packet it takes; the error is in words.
fn open(spot: &Spot, plugged: &[Plugged], filter: &Filter) -> Result<(Watch, Option<u32>), String> {
    let here = || {
        let filter = match filter {
            Filter::Same(filter) => filter,
            Filter::ByLink { ethernet, raw_ip } => match Watch::link_of(&spot.interface)? {
                LinkType::Ethernet => ethernet,
                // Live interfaces have no other kinds (`edge::watch`).
                _ => raw_ip,
            },
        };
        let mtu = Netlink::open().and_then(|mut netlink| fib::link(&mut netlink, &spot.interface));
        Ok((Watch::open(&spot.interface, filter)?, mtu.ok().flatten().map(|link| link.mtu)))
    };
    let watch = match spot.inside {
        None => here(),
        Some(inode) => {
            let namespace = super::namespace(plugged, inode).map_err(|error| crate::error::chain(&error))?;
            netns::inside(namespace.as_fd(), here).map_err(|error| crate::error::chain(&error))?
        }
    };
    watch.map_err(|error: WatchError| crate::error::chain(&error))
}

fn belongs(flow: &Flow, starts_only: bool, link: LinkType, captured: &Captured) -> bool {
    let decoded = Decoded::decode(link, &captured.frame);
    let is_wanted = |packet: &Packet<'_>| match packet.transport {
        Transport::Tcp(tcp) if starts_only => {
            tcp.flags.contain(TcpFlags::SYN) || tcp.flags.contain(TcpFlags::RST)
        }
        _ => true,
    };
    decoded.packet().is_some_and(|packet| is_wanted(packet) && flow.holds(packet))
}

fn frame(spot: usize, link: LinkType, captured: Captured) -> Frame {
    Frame {
        spot,
        time_ns: captured.time_ns,
        outgoing: captured.outgoing,
        vlan: captured.vlan.map(|vlan| (vlan.ethertype, vlan.tag)),
        ethernet: link == LinkType::Ethernet,
        original_len: captured.original_len,
        bytes: captured.frame,
    }
}
