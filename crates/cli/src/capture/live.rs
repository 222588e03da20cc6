//! Packets of interfaces, as they pass, until somebody says that it is enough.
//!
//! When it ends, by a signal too, nothing new is let in, and everything that came before is still taken: so what was
//! taken and what the kernel dropped is all that passed.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use byway_agent::edge::ring::{Event, Options, Place, Ring, RingError, Rings, State};
use byway_agent::edge::stop::Stop;
use byway_agent::edge::watch::WatchError;
use byway_wire::Direction;
use byway_wire::capture::{Comments, Counts, Interface, Record};

use super::source::{Source, Step};
use crate::complaint::Advised;
use crate::show;

/// How long what was shown may wait before it is written out: shorter than a human waits.
const PAUSE: Duration = Duration::from_millis(200);
/// After how many packets in a row it is looked whether it is time to end.
const PACKETS_PER_LOOK: u32 = 256;
/// An interface to listen to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Post {
    /// What it is called in what is shown: `eth0`, `c41/eth0`.
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) interface: String,
}

/// Interfaces, merged by time.
pub(crate) struct Live {
    rings: Rings,
    interfaces: Vec<Interface>,
    stop: Stop,
    until: Option<Instant>,
    is_ending: bool,
    until_look: u32,
    paused: Instant,
    current: Option<Copied>,
    /// The bytes of the current packet, its VLAN tag put back.
    bytes: Vec<u8>,
}

/// The current packet without its bytes.
#[derive(Debug, Clone, Copy)]
struct Copied {
    time_ns: u64,
    interface: usize,
    direction: Direction,
    original_len: u32,
}

impl Live {
    /// Starts to listen. From its return on, signals only end it.
    pub(crate) fn open(posts: &[Post], options: &Options, lasts: Option<Duration>) -> anyhow::Result<Self> {
        let mut rings = Rings::default();
        let mut interfaces = Vec::new();
        for post in posts {
            let ring = Ring::open(&post.place, &post.interface, options);
            let ring = ring.map_err(|error| advised(error, &post.place))?;
            interfaces.push(Interface {
                name: Some(post.name.clone()),
                link: ring.link().number().into(),
                snaplen: options.snaplen,
                is_told: true,
                ..Interface::default()
            });
            rings.add(ring)?;
        }
        Ok(Self {
            rings,
            interfaces,
            stop: Stop::listen().context("take signals")?,
            until: lasts.map(|lasts| Instant::now() + lasts),
            is_ending: false,
            until_look: 1,
            paused: Instant::now(),
            current: None,
            bytes: Vec::new(),
        })
    }

    /// Ends it if that is due.
    fn look(&mut self) -> anyhow::Result<()> {
        self.until_look = PACKETS_PER_LOOK;
        let is_over = self.until.is_some_and(|until| Instant::now() >= until);
        let is_told = self.stop.is_told().context("read a signal")?;
        if (is_over || is_told) && !self.is_ending {
            self.is_ending = true;
            self.rings.shut()?;
        }
        Ok(())
    }

    /// Takes over what the rings have counted.
    fn count(&mut self) -> anyhow::Result<()> {
        for (interface, losses) in self.interfaces.iter_mut().zip(self.rings.losses()?) {
            let lost = losses.kernel_drops + losses.unreadable;
            interface.counts = Counts { received: Some(losses.received), dropped: Some(lost) };
        }
        Ok(())
    }
}

impl Source for Live {
    fn advance(&mut self) -> anyhow::Result<Step> {
        self.until_look -= 1;
        if self.until_look == 0 {
            self.look()?;
        }
        self.current = None;
        let now = Instant::now();
        if now.duration_since(self.paused) >= PAUSE {
            // Packets that come all the time must not keep the earlier ones from being seen.
            self.paused = now;
            return Ok(Step::Quiet);
        }
        let soon = now + PAUSE;
        let deadline = self.until.map_or(soon, |until| if self.is_ending { soon } else { until.min(soon) });
        let stop = (!self.is_ending).then(|| self.stop.as_fd());
        match self.rings.next_unless(deadline, stop)? {
            Event::Frame(id, frame) => {
                let direction = if frame.direction.is_out() { Direction::Out } else { Direction::In };
                let mut room = std::mem::take(&mut self.bytes);
                let original_len = frame.copy_to(&mut room);
                self.current =
                    Some(Copied { time_ns: frame.time_ns, interface: id.0, direction, original_len });
                self.bytes = room;
                Ok(Step::Packet)
            }
            Event::State(id, state) => {
                let name = self.interfaces.get(id.0).and_then(|interface| interface.name.as_deref());
                let became = match state {
                    State::Listening => "is up again",
                    State::Down => "went down",
                    State::Gone => "is gone",
                };
                show::print_aside(&format!("{} {became}\n", name.unwrap_or_default()));
                Ok(Step::Quiet)
            }
            Event::Quiet => {
                self.until_look = 1;
                Ok(Step::Quiet)
            }
            Event::End => Ok(Step::End),
        }
    }

    fn record(&self) -> Option<Record<'_>> {
        let Copied { time_ns, interface, direction, original_len } = self.current?;
        Some(Record {
            time_ns: Some(time_ns),
            interface,
            direction: Some(direction),
            bytes: &self.bytes,
            original_len,
            comments: Comments::default(),
        })
    }

    fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    fn end(&mut self) -> anyhow::Result<()> {
        self.count()
    }

    fn troubles(&mut self) -> Vec<anyhow::Error> {
        Vec::new()
    }
}

/// The interfaces there are, where one is not.
fn advised(error: RingError, place: &Place) -> anyhow::Error {
    match error {
        RingError::Watch(WatchError::NoInterface { interface, cause }) => {
            let there = place.interfaces().unwrap_or_default();
            Advised {
                what: format!("there is no interface {interface} here"),
                hint: format!("these are there: {}", there.join(", ")),
                cause: Some(cause),
            }
            .into()
        }
        other => other.into(),
    }
}
