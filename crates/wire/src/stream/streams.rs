//! All connections: packets in, their bytes to the readers.

use std::collections::VecDeque;

use super::Side;
use super::ages::Class;
use super::connection::{Connection, Outcome, Outlet, PATIENCE_NS};
use super::counts::{Counts, Limits};
use super::fragments::Fragments;
use super::readers::{End, Readers};
use super::segment::{Key, Segment};
use super::table::Table;
use crate::{Packet, TcpFlags};

/// Connections that are looked at again with one packet because their time has come: more than one, so that the queue
/// gets shorter.
const OVERDUE_AT_ONCE: usize = 2;

/// Puts connections together. `T` is what the readers keep of each.
///
/// Packets come in the order of the capture; their times may go back.
#[derive(Debug)]
pub struct Streams<T> {
    limits: Limits,
    table: Table<Connection<T>>,
    fragments: Fragments,
    /// Those that wait for something, with the time when they are looked at again.
    queue: VecDeque<(u32, u64)>,
    waiting_bytes: usize,
    counts: Counts,
    last_ns: u64,
}

impl<T> Streams<T> {
    /// No connections yet. `seed` is by chance, and not known to those who are listened to: it keeps them from making
    /// the table slow.
    #[must_use]
    pub fn new(limits: Limits, seed: u64) -> Self {
        Self {
            limits,
            table: Table::new(seed),
            fragments: Fragments::new(),
            queue: VecDeque::new(),
            waiting_bytes: 0,
            counts: Counts::default(),
            last_ns: 0,
        }
    }

    /// Takes a packet that was seen at a point, in nanoseconds since 1970. What is no TCP is passed over.
    #[inline]
    pub fn take<R: Readers<Reader = T>>(
        &mut self,
        point: usize,
        time_ns: u64,
        packet: &Packet<'_>,
        readers: &mut R,
    ) {
        if packet.fragment.is_some() {
            self.join(point, time_ns, packet, readers);
        } else if let Some(segment) = Segment::of(point, time_ns, packet) {
            self.segment(&segment, readers);
        }
    }

    /// Nothing may have come for a while: looks again at the connections that wait. For live captures.
    pub fn settle<R: Readers<Reader = T>>(&mut self, now_ns: u64, readers: &mut R) {
        // Once around at most: those that still wait are put back with a later time.
        for _ in 0..self.queue.len() {
            if !self.look_at_overdue(now_ns, readers) {
                break;
            }
        }
    }

    /// The capture is over: hands out what waits, and ends all connections, in the order in which they came.
    pub fn finish<R: Readers<Reader = T>>(&mut self, readers: &mut R) {
        for place in 0..u32::try_from(self.table.places()).unwrap_or(u32::MAX) {
            self.remove(place, End::CaptureEnded, self.last_ns, readers);
        }
        self.queue.clear();
        self.counts.fragments_given_up += self.fragments.clear();
    }

    /// Gives up the connection with a reader that was quiet for longest; false if there is none. For who finds that its
    /// readers keep too much.
    pub fn give_up_oldest<R: Readers<Reader = T>>(&mut self, readers: &mut R) -> bool {
        let Some(place) = self.table.ages.oldest_read() else { return false };
        self.counts.connections_given_up += 1;
        self.remove(place, End::GivenUp, self.last_ns, readers);
        true
    }

    /// What became of everything so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Connections that are known now, those of no interest and those just over among them.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.table.count()
    }

    /// Bytes that wait now, with what it takes to keep them, fragments among them.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.waiting_bytes + self.fragments.bytes()
    }

    #[cold]
    fn join<R: Readers<Reader = T>>(
        &mut self,
        point: usize,
        time_ns: u64,
        packet: &Packet<'_>,
        readers: &mut R,
    ) {
        if let Some(joined) = self.fragments.take(point, time_ns, packet, &mut self.counts) {
            self.segment(&joined.segment(), readers);
        }
    }

    #[inline]
    fn segment<R: Readers<Reader = T>>(&mut self, segment: &Segment<'_>, readers: &mut R) {
        self.counts.segments += 1;
        self.last_ns = segment.time_ns;
        if !self.queue.is_empty() {
            for _ in 0..OVERDUE_AT_ONCE {
                self.look_at_overdue(segment.time_ns, readers);
            }
        }
        let (key, from_low) = segment.key();
        let place = match self.table.find(&key) {
            Some(place) if segment.has(TcpFlags::SYN) => self.meet_again(place, from_low, segment, readers),
            Some(place) => place,
            // Whatever it ends was not seen.
            None if segment.has(TcpFlags::RST) => return,
            None => self.meet(key, from_low, segment, readers),
        };
        if self.give(place, from_low, segment, readers) == Outcome::LostTrack {
            self.counts.connections_lost += 1;
            self.begin_anew(place, End::GivenUp, from_low, segment, readers);
            self.give(place, from_low, segment, readers);
        }
    }

    /// Gives a connection its segment.
    #[inline]
    fn give<R: Readers<Reader = T>>(
        &mut self,
        place: u32,
        from_low: bool,
        segment: &Segment<'_>,
        readers: &mut R,
    ) -> Outcome {
        let (key, connection) = self.table.at(place);
        let mut out = Outlet { readers, counts: &mut self.counts, key, now_ns: segment.time_ns };
        let side = if connection.first_is_low == from_low { Side::First } else { Side::Second };
        let before = connection.waiting_bytes();
        let outcome = connection.take(side, segment, self.limits.waiting_per_connection, &mut out);
        let (is_read, is_waiting, after) =
            (connection.is_read(), connection.is_waiting(), connection.waiting_bytes());
        self.table.ages.touch(place, if is_read { Class::Read } else { Class::Idle });
        if is_waiting || before != after {
            self.waiting_bytes = self.waiting_bytes + after - before;
            self.queue_up(place, segment.time_ns, readers);
        }
        outcome
    }

    #[cold]
    fn meet<R: Readers<Reader = T>>(
        &mut self,
        key: Key,
        from_low: bool,
        segment: &Segment<'_>,
        readers: &mut R,
    ) -> u32 {
        while self.table.count() >= self.limits.connections.max(1) as usize {
            let Some(oldest) = self.table.ages.oldest() else { break };
            let (_, connection) = self.table.at(oldest);
            if connection.is_read() {
                self.counts.connections_given_up += 1;
            }
            self.remove(oldest, End::GivenUp, segment.time_ns, readers);
        }
        self.counts.connections += 1;
        self.table.insert(key, Connection::new(first_is_low(from_low, segment)))
    }

    /// A SYN on known ports: of the same connection, or of the next one.
    #[cold]
    fn meet_again<R: Readers<Reader = T>>(
        &mut self,
        place: u32,
        from_low: bool,
        segment: &Segment<'_>,
        readers: &mut R,
    ) -> u32 {
        let (_, connection) = self.table.at(place);
        let side = if connection.first_is_low == from_low { Side::First } else { Side::Second };
        if connection.is_another(side, segment) {
            self.begin_anew(place, End::Replaced, from_low, segment, readers);
        }
        place
    }

    /// Ends a connection and begins another at its place.
    #[cold]
    fn begin_anew<R: Readers<Reader = T>>(
        &mut self,
        place: u32,
        how: End,
        from_low: bool,
        segment: &Segment<'_>,
        readers: &mut R,
    ) {
        self.end(place, how, segment.time_ns, readers);
        let (_, connection) = self.table.at(place);
        let is_queued = connection.is_queued;
        *connection = Connection::new(first_is_low(from_low, segment));
        connection.is_queued = is_queued;
        self.counts.connections += 1;
    }

    fn remove<R: Readers<Reader = T>>(&mut self, place: u32, how: End, now_ns: u64, readers: &mut R) {
        self.end(place, how, now_ns, readers);
        self.table.remove(place);
    }

    /// Hands out what waits in a connection, and ends it.
    fn end<R: Readers<Reader = T>>(&mut self, place: u32, how: End, now_ns: u64, readers: &mut R) {
        let (key, connection) = self.table.at(place);
        let mut out = Outlet { readers, counts: &mut self.counts, key, now_ns };
        self.waiting_bytes -= connection.waiting_bytes();
        connection.wind_up(how, &mut out);
    }

    /// It waits: it is looked at again later, and if all together wait for too much, the first of them goes on now.
    #[cold]
    fn queue_up<R: Readers<Reader = T>>(&mut self, place: u32, now_ns: u64, readers: &mut R) {
        let (_, connection) = self.table.at(place);
        if connection.is_waiting() && !connection.is_queued {
            connection.is_queued = true;
            self.queue.push_back((place, now_ns.saturating_add(PATIENCE_NS)));
        }
        // Places that were given to others may stand in it twice; with that, it is no longer than this.
        let longest = self.limits.connections.max(1) as usize * 2;
        while self.waiting_bytes > self.limits.waiting_in_all || self.queue.len() > longest {
            let Some((place, _)) = self.queue.pop_front() else { break };
            self.look_at(place, Look::Drain, now_ns, readers);
        }
    }

    /// Looks at the first of the queue if its time has come; false if it has not.
    #[cold]
    fn look_at_overdue<R: Readers<Reader = T>>(&mut self, now_ns: u64, readers: &mut R) -> bool {
        let Some((place, _)) = self.queue.front().copied().filter(|(_, due_ns)| *due_ns <= now_ns) else {
            return false;
        };
        self.queue.pop_front();
        if self.look_at(place, Look::Patient, now_ns, readers) {
            self.queue.push_back((place, now_ns.saturating_add(PATIENCE_NS)));
        }
        true
    }

    /// Lets a connection of the queue go on; true if it still waits.
    fn look_at<R: Readers<Reader = T>>(
        &mut self,
        place: u32,
        look: Look,
        now_ns: u64,
        readers: &mut R,
    ) -> bool {
        let (key, connection) = self.table.at(place);
        if !connection.is_queued {
            return false;
        }
        let mut out = Outlet { readers, counts: &mut self.counts, key, now_ns };
        self.waiting_bytes -= connection.waiting_bytes();
        match look {
            Look::Patient => connection.look_again(self.limits.waiting_per_connection, &mut out),
            Look::Drain => connection.drain(&mut out),
        }
        self.waiting_bytes += connection.waiting_bytes();
        connection.is_queued = connection.is_waiting();
        connection.is_queued
    }
}

#[derive(Debug, Clone, Copy)]
enum Look {
    Patient,
    Drain,
}

/// Who opens a connection is its first side: the sender of a SYN, the receiver of a SYN+ACK. Else the sender.
fn first_is_low(from_low: bool, segment: &Segment<'_>) -> bool {
    let is_answer = segment.has(TcpFlags(TcpFlags::SYN.0 | TcpFlags::ACK.0));
    from_low != is_answer
}
