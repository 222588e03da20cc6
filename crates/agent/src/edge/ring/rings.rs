//! Several rings, listened to by one thread, their frames in the order of time as well as can be.
//!
//! A frame is held until no other ring can have an earlier one: every ring has shown its next frame, or the time in
//! which the kernel must show it is over. A ring that fills is taken from at once: order is worth less than frames.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant, SystemTime};

use nix::poll::{PollFd, PollFlags};
use nix::sys::time::TimeSpec;

use super::{BLOCK_WAIT_MS, FINISH_WAIT, Frame, Losses, Ring, RingError, State};

/// The most interfaces at once: with rings of 8 MiB that is 1 GiB, and more than a host has containers mostly.
pub const RINGS_MAX: usize = 128;
/// How long a frame is held for the others' sake: the kernel shows what it has after one time out, and its timer may
/// come late.
const HOLD_NS: u64 = 2 * BLOCK_WAIT_MS as u64 * 1_000_000;
/// A frame from further ahead than this has another clock (a card's), and is held for nobody.
const OTHER_CLOCK_NS: u64 = 1_000_000_000;
/// How often the counts are taken from the kernel, whose own are 32 bits wide, and interfaces that were down are
/// looked at: 2³² packets need minutes on any link.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// After how many frames the clock is looked at again.
const FRAMES_PER_LOOK: u32 = 256;

/// Which ring: its place in the order in which they were added, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RingId(pub usize);

/// What [`Rings::next`] tells.
#[derive(Debug)]
pub enum Event<'a> {
    /// A frame.
    Frame(RingId, Frame<'a>),
    /// An interface went down or away, or is up again. The others go on.
    State(RingId, State),
    /// Nothing by the deadline.
    Quiet,
    /// Every interface is gone, and everything that came was taken.
    End,
}

/// How far a shut ring is.
#[derive(Debug)]
struct Shut {
    since: Instant,
    /// All frames that there are wait before us: none need be held any more.
    is_shown: bool,
}

/// Several rings.
#[derive(Debug)]
pub struct Rings {
    all: Vec<Ring>,
    /// States that were not told yet.
    news: Vec<(RingId, State)>,
    looked: Instant,
    until_look: u32,
    now_ns: u64,
    /// Nothing new comes.
    shut: Option<Shut>,
}

impl Default for Rings {
    fn default() -> Self {
        Self {
            all: Vec::new(),
            news: Vec::new(),
            looked: Instant::now(),
            until_look: FRAMES_PER_LOOK,
            now_ns: now_ns(),
            shut: None,
        }
    }
}

impl Rings {
    /// Adds a ring.
    ///
    /// # Errors
    /// [`RingError::TooMany`].
    pub fn add(&mut self, ring: Ring) -> Result<RingId, RingError> {
        if self.all.len() == RINGS_MAX {
            return Err(RingError::TooMany { interface: ring.interface().to_owned() });
        }
        self.all.push(ring);
        Ok(RingId(self.all.len() - 1))
    }

    /// A ring.
    #[must_use]
    pub fn get(&self, id: RingId) -> Option<&Ring> {
        self.all.get(id.0)
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (RingId, &Ring)> {
        self.all.iter().enumerate().map(|(nth, ring)| (RingId(nth), ring))
    }

    /// The next thing that happened, waiting for it until the deadline.
    ///
    /// # Errors
    /// See [`RingError`]; the rings can be used further.
    pub fn next(&mut self, deadline: Instant) -> Result<Event<'_>, RingError> {
        self.next_unless(deadline, None)
    }

    /// The same, that also ends (with [`Event::Quiet`]) when `stop` becomes readable: a `signalfd`, say.
    ///
    /// # Errors
    /// See [`RingError`].
    pub fn next_unless(
        &mut self,
        deadline: Instant,
        stop: Option<BorrowedFd<'_>>,
    ) -> Result<Event<'_>, RingError> {
        loop {
            self.look_if_due()?;
            if let Some((id, state)) = self.news.pop() {
                return Ok(Event::State(id, state));
            }
            if let Some(nth) = self.due() {
                return match self.all[nth].next()? {
                    Some(frame) => Ok(Event::Frame(RingId(nth), frame)),
                    None => Ok(Event::Quiet),
                };
            }
            if self.is_over()? {
                return Ok(Event::End);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || self.wait(left, stop)? {
                return Ok(Event::Quiet);
            }
        }
    }

    /// Lets nothing new in anywhere. What is in the rings still comes, and then [`Event::End`]: after it, what each
    /// ring `received` is `taken` and `kernel_drops`.
    ///
    /// # Errors
    /// [`RingError::Call`].
    pub fn shut(&mut self) -> Result<(), RingError> {
        for ring in &mut self.all {
            ring.shut()?;
        }
        self.shut = Some(Shut { since: Instant::now(), is_shown: false });
        Ok(())
    }

    /// Lets nothing new in, and gives what is in the rings still to `take`, in order.
    ///
    /// # Errors
    /// See [`RingError`].
    pub fn finish<E: From<RingError>>(
        &mut self,
        mut take: impl FnMut(RingId, Frame<'_>) -> Result<(), E>,
    ) -> Result<Vec<Losses>, E> {
        self.shut()?;
        loop {
            match self.next(Instant::now() + FINISH_WAIT)? {
                Event::Frame(id, frame) => take(id, frame)?,
                Event::State(..) | Event::Quiet => {}
                Event::End => return Ok(self.losses()?),
            }
        }
    }

    /// What every ring got and what it did not.
    ///
    /// # Errors
    /// [`RingError::Call`].
    pub fn losses(&mut self) -> Result<Vec<Losses>, RingError> {
        self.all.iter_mut().map(Ring::losses).collect()
    }

    /// The ring from which the next frame is to be taken now.
    fn due(&mut self) -> Option<usize> {
        if let [only] = self.all.as_mut_slice() {
            return only.ready().map(|_| 0);
        }
        let mut first: Option<(usize, u64)> = None;
        let (mut silent, mut pressed) = (false, false);
        for (nth, ring) in self.all.iter_mut().enumerate() {
            match ring.head() {
                Some(time_ns) if first.is_none_or(|(_, earliest)| time_ns < earliest) => {
                    first = Some((nth, time_ns));
                }
                Some(_) => {}
                None => silent |= ring.state == State::Listening,
            }
        }
        let (nth, time_ns) = first?;
        let is_shown = self.shut.as_ref().is_some_and(|shut| shut.is_shown);
        let held = silent && !is_shown && time_ns.saturating_add(HOLD_NS) > self.now_ns;
        if held {
            pressed =
                time_ns > self.now_ns.saturating_add(OTHER_CLOCK_NS) || self.all.iter().any(Ring::is_pressed);
        }
        (!held || pressed).then_some(nth)
    }

    /// Whether nothing comes any more: every interface is gone, or the rings are shut, and all was taken.
    fn is_over(&mut self) -> Result<bool, RingError> {
        if let Some(since) = self.shut.as_ref().map(|shut| shut.since) {
            let mut is_shown = true;
            for ring in &mut self.all {
                // All are asked, so that all count.
                is_shown &= ring.is_shown()?;
            }
            if !is_shown && since.elapsed() > FINISH_WAIT {
                return Err(self.failed("take the last packets", io::ErrorKind::TimedOut.into()));
            }
            self.shut = Some(Shut { since, is_shown });
            return self.is_dry();
        }
        Ok(self.all.iter().all(|ring| ring.state == State::Gone) && self.is_dry()?)
    }

    fn is_dry(&mut self) -> Result<bool, RingError> {
        let mut dry = true;
        for ring in &mut self.all {
            dry &= ring.is_dry()?;
        }
        Ok(dry)
    }

    fn failed(&self, doing: &'static str, cause: io::Error) -> RingError {
        let names: Vec<&str> = self.all.iter().map(Ring::interface).collect();
        RingError::Call { interface: names.join(", "), doing, cause }
    }

    fn look_if_due(&mut self) -> Result<(), RingError> {
        self.until_look -= 1;
        if self.until_look > 0 {
            return Ok(());
        }
        self.until_look = FRAMES_PER_LOOK;
        self.now_ns = now_ns();
        if self.looked.elapsed() >= LOOK_EVERY { self.look() } else { Ok(()) }
    }

    /// Hears what became of the interfaces, and takes the counts.
    fn look(&mut self) -> Result<(), RingError> {
        self.looked = Instant::now();
        for (nth, ring) in self.all.iter_mut().enumerate() {
            ring.losses()?;
            let before = ring.state;
            if before != State::Gone && ring.listen()? != before {
                self.news.push((RingId(nth), ring.state));
            }
        }
        Ok(())
    }

    /// Waits for a ring to have something, or for the time after which held frames are due; says whether to stop.
    fn wait(&mut self, left: Duration, stop: Option<BorrowedFd<'_>>) -> Result<bool, RingError> {
        let held = self.all.iter_mut().any(|ring| ring.ready().is_some());
        // Rings with a block that waits are readable already: then only the time counts, and the silent ones.
        let listened: Vec<&Ring> = self.all.iter().filter(|ring| !(held && ring.cursor.is_some())).collect();
        let listened = listened.into_iter().filter(|ring| ring.state != State::Gone);
        let fds: Vec<BorrowedFd<'_>> = stop.into_iter().chain(listened.map(AsFd::as_fd)).collect();
        let ending = self.all.iter().all(|ring| ring.state == State::Gone);
        let most = if held || ending || self.shut.is_some() {
            Duration::from_millis(BLOCK_WAIT_MS.into())
        } else {
            LOOK_EVERY
        };
        let ready = wait(&fds, left.min(most));
        let ready = ready.map_err(|cause| self.failed("wait for packets", cause))?;
        let stopped = stop.is_some() && ready.first().is_some_and(|first| first.contains(PollFlags::POLLIN));
        let failed = ready.iter().any(|events| events.contains(PollFlags::POLLERR));
        self.now_ns = now_ns();
        self.until_look = FRAMES_PER_LOOK;
        if failed || self.looked.elapsed() >= LOOK_EVERY {
            self.look()?;
        }
        Ok(stopped)
    }
}

/// Waits until one of the descriptors has something to tell; what each has.
pub(super) fn wait(fds: &[BorrowedFd<'_>], most: Duration) -> io::Result<Vec<PollFlags>> {
    let mut polled: Vec<PollFd<'_>> = fds.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
    match nix::poll::ppoll(&mut polled, Some(TimeSpec::from_duration(most)), None) {
        Ok(_) => Ok(polled.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect()),
        Err(nix::errno::Errno::EINTR) => Ok(vec![PollFlags::empty(); fds.len()]),
        Err(errno) => Err(errno.into()),
    }
}

/// The clock by which the kernel stamps packets.
fn now_ns() -> u64 {
    let since = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}
