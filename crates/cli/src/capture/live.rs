//! Packets of interfaces, as they pass, until somebody says that it is enough.
//!
//! When it ends, by a signal too, nothing new is let in, and everything that came before is still taken: so what was
//! taken and what the kernel dropped is all that passed.

use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use byway_agent::edge::ring::{Event, Losses, Options, RingError, RingId, Rings, State, take_precedence};
use byway_agent::edge::stop::Stop;
use byway_agent::posts::Post;
use byway_wire::Direction;
use byway_wire::capture::{Comments, Counts, Interface, Record};

use super::source::{Source, Step};
use crate::complaint::Advised;
use crate::show;

/// How long what was shown may wait before it is written out: shorter than a human waits.
const PAUSE: Duration = Duration::from_millis(200);
/// After how many packets in a row it is looked whether it is time to end.
const PACKETS_PER_LOOK: u32 = 256;
/// Blocks of all rings together: 256 MiB that cannot be swapped out. Beyond 32 interfaces each gets less.
const BLOCKS_TOGETHER: u32 = 2048;
/// The fewest blocks of a ring among many: half a second, as each is ended every tenth of one.
const BLOCKS_MIN: u32 = 6;
/// Blocks that the kernel broke before it is given up: one is a fault, more are a habit.
const BROKEN_MAX: usize = 16;

/// Interfaces, merged by time.
pub(crate) struct Live {
    rings: Rings,
    interfaces: Vec<Interface>,
    stop: Stop,
    until: Option<Instant>,
    is_ending: bool,
    until_look: u32,
    /// When what was shown is to be written out at the latest.
    pause_at: Instant,
    current: Option<Current>,
    /// The bytes of the current packet, if a VLAN tag had to be put back; else they are still in the ring.
    bytes: Vec<u8>,
    /// What came and was neither taken nor lost; known at the end.
    left: u64,
    troubles: Vec<anyhow::Error>,
}

/// The current packet.
#[derive(Debug, Clone, Copy)]
enum Current {
    /// In the ring.
    There(RingId),
    /// In `bytes`.
    Copied { ring: RingId, time_ns: u64, direction: Direction, original_len: u32 },
}

impl Live {
    /// Starts to listen. From its return on, signals only end it.
    pub(crate) fn open(posts: &[Post], options: &Options, lasts: Option<Duration>) -> anyhow::Result<Self> {
        let mut rings = Rings::default();
        let mut interfaces = Vec::new();
        let share = BLOCKS_TOGETHER / u32::try_from(posts.len().max(1)).unwrap_or(u32::MAX);
        let options = Options { blocks: options.blocks.min(share.max(BLOCKS_MIN)), ..options.clone() };
        for post in posts {
            let left_out = |why: &str| show::print_aside(&format!("{why}\n"));
            let Some(ring) = post.open(&options, left_out)? else { continue };
            interfaces.push(Interface {
                name: Some(post.name.clone()),
                description: post.description.clone(),
                link: ring.link().number().into(),
                snaplen: options.snaplen,
                is_told: true,
                counts: Counts { received: Some(0), dropped: Some(0) },
            });
            rings.add(ring).map_err(|error| too_many(&error))?;
        }
        if interfaces.is_empty() {
            return Err(Advised {
                what: "there is no interface left to capture on".to_owned(),
                hint: "name one with -i; `ip link` lists them".to_owned(),
                cause: None,
            }
            .into());
        }
        take_precedence();
        Ok(Self {
            rings,
            interfaces,
            stop: Stop::listen().context("take signals")?,
            until: lasts.map(|lasts| Instant::now() + lasts),
            is_ending: false,
            until_look: 1,
            pause_at: Instant::now() + PAUSE,
            current: None,
            bytes: Vec::new(),
            left: 0,
            troubles: Vec::new(),
        })
    }

    /// Looks at the clock and for signals; says whether it is time to write out what was shown.
    fn look(&mut self) -> anyhow::Result<bool> {
        self.until_look = PACKETS_PER_LOOK;
        let now = Instant::now();
        let is_over = self.until.is_some_and(|until| now >= until);
        let is_told = self.stop.is_told().context("read a signal")?;
        if (is_over || is_told) && !self.is_ending {
            self.is_ending = true;
            self.rings.shut()?;
        }
        // Packets that come all the time must not keep the earlier ones from being seen.
        let is_due = now >= self.pause_at;
        if is_due {
            self.pause_at = now + PAUSE;
            self.count();
        }
        Ok(is_due)
    }

    /// Takes over what the rings have counted.
    fn count(&mut self) {
        for (interface, (_, ring)) in self.interfaces.iter_mut().zip(self.rings.iter()) {
            let Losses { received, kernel_drops, unreadable, .. } = ring.counted();
            interface.counts = Counts { received: Some(received), dropped: Some(kernel_drops + unreadable) };
        }
    }

    fn tell(&self, id: RingId, state: State) {
        let name = self.interfaces.get(id.0).and_then(|interface| interface.name.as_deref());
        let became = match state {
            State::Listening => "is up again",
            State::Down => "went down",
            State::Gone => "is gone",
        };
        show::print_aside(&format!("{} {became}\n", name.unwrap_or_default()));
    }
}

impl Source for Live {
    fn advance(&mut self) -> anyhow::Result<Step> {
        self.current = None;
        self.until_look -= 1;
        if self.until_look == 0 && self.look()? {
            return Ok(Step::Quiet);
        }
        let deadline = match self.until {
            Some(until) if !self.is_ending => until.min(self.pause_at),
            _ => self.pause_at,
        };
        let stop = (!self.is_ending).then(|| self.stop.as_fd());
        match self.rings.next_unless(deadline, stop) {
            Ok(Event::Frame(id, frame)) => {
                self.current = Some(if frame.vlan.is_none() {
                    Current::There(id)
                } else {
                    let (time_ns, direction) = (frame.time_ns, direction(frame.direction));
                    let original_len = frame.copy_to(&mut self.bytes);
                    Current::Copied { ring: id, time_ns, direction, original_len }
                });
                Ok(Step::Packet)
            }
            Ok(Event::State(id, state)) => {
                self.tell(id, state);
                Ok(Step::Quiet)
            }
            Ok(Event::Quiet) => {
                self.until_look = 1;
                Ok(Step::Quiet)
            }
            Ok(Event::End) => Ok(Step::End),
            // The others and the blocks behind it are good still.
            Err(broken @ RingError::Block { .. }) if self.troubles.len() < BROKEN_MAX => {
                self.troubles.push(broken.into());
                Ok(Step::Quiet)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn record(&self) -> Option<Record<'_>> {
        let comments = Comments::default();
        Some(match self.current? {
            Current::There(ring) => {
                let frame = self.rings.get(ring)?.current()?;
                Record {
                    time_ns: Some(frame.time_ns),
                    interface: ring.0,
                    direction: Some(direction(frame.direction)),
                    bytes: frame.bytes,
                    original_len: frame.original_len,
                    comments,
                }
            }
            Current::Copied { ring, time_ns, direction, original_len } => Record {
                time_ns: Some(time_ns),
                interface: ring.0,
                direction: Some(direction),
                bytes: &self.bytes,
                original_len,
                comments,
            },
        })
    }

    fn interfaces(&self) -> &[Interface] {
        &self.interfaces
    }

    fn end(&mut self) -> anyhow::Result<()> {
        // Whatever came before this is counted: what nobody takes any more is told.
        let shut = if self.is_ending { Ok(()) } else { self.rings.shut() };
        let losses = self.rings.losses()?;
        self.left = losses.iter().map(Losses::waiting).sum();
        self.count();
        Ok(shut?)
    }

    fn left(&self) -> u64 {
        self.left
    }

    fn troubles(&mut self) -> Vec<anyhow::Error> {
        std::mem::take(&mut self.troubles)
    }
}

fn direction(direction: byway_agent::edge::ring::Direction) -> Direction {
    if direction.is_out() { Direction::Out } else { Direction::In }
}

fn too_many(error: &RingError) -> anyhow::Error {
    let hint = "name fewer, with -i or -c, or capture with two commands".to_owned();
    Advised { what: error.to_string(), hint, cause: None }.into()
}
