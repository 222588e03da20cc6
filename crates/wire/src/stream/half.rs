//! One direction of a connection in numbers: what was handed out, what was acknowledged, what each point has seen.

/// Points of which is known how far they have seen a direction; what more points see counts as copies.
pub const POINTS_MAX: usize = 8;

/// Packets in which copies at the same point are recognised: as many as a mirror port or a bridge may have under way
/// between one packet and its copy.
const MARKS: usize = 8;

/// How far before the first byte that was seen a connection can have started: what a sender may have under way at its
/// start, with room.
const NEAR_START: u32 = 64 << 10;

/// A place that is not known.
const UNKNOWN: u64 = u64::MAX;

/// When something was noticed: by the packets of its connection, and by their time.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Since {
    pub(super) packets: u32,
    pub(super) time_ns: u64,
}

/// What the offsets of a direction are counted from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Origin {
    /// Nothing yet.
    #[default]
    Unknown,
    /// Nothing yet, but the other side has acknowledged this far.
    Acknowledged,
    /// The first byte that was seen.
    Seen,
    /// The byte after the SYN.
    Syn,
}

/// One direction of a connection.
#[derive(Debug, Default)]
pub(super) struct Half {
    /// Where the next byte to hand out is.
    pub(super) next: u64,
    acked: u64,
    fin: Fin,
    /// Since when bytes are acknowledged that were not handed out, and nothing behind them waits.
    pub(super) ahead_since: Since,
    /// The same place as `next` in the sender's numbers.
    next_sequence: u32,
    origin: Origin,
    /// Whether a segment came this way.
    pub(super) is_seen: bool,
    recent: u8,
    marks: [u32; MARKS],
    point: Option<Point>,
    others: Option<Box<[Point; POINTS_MAX - 1]>>,
}

#[derive(Debug, Clone, Copy, Default)]
enum Fin {
    #[default]
    Unknown,
    /// One byte was acknowledged that never came, and nothing came behind it: the FIN itself was not seen.
    Guessed(u64),
    Seen(u64),
}

/// How far a point has seen a direction.
#[derive(Debug, Clone, Copy)]
struct Point {
    number: u32,
    end: u64,
}

impl Half {
    /// Whether offsets are known.
    pub(super) fn has_begun(&self) -> bool {
        matches!(self.origin, Origin::Seen | Origin::Syn)
    }

    /// Counts from the byte with this number, if nothing was counted yet.
    #[inline]
    pub(super) fn begin(&mut self, sequence: u32) {
        if !self.has_begun() {
            self.start(sequence, Origin::Seen);
        }
    }

    /// The same, and it is known that the connection starts there.
    pub(super) fn begin_after_syn(&mut self, sequence: u32) {
        if !self.has_begun() {
            self.start(sequence, Origin::Syn);
        }
    }

    fn start(&mut self, sequence: u32, origin: Origin) {
        (self.next_sequence, self.origin) = (sequence, origin);
    }

    /// Whether a SYN before that byte belongs to another connection.
    pub(super) fn starts_elsewhere(&self, sequence: u32) -> bool {
        match self.origin {
            Origin::Unknown => false,
            Origin::Syn => self.first_sequence() != sequence,
            Origin::Seen | Origin::Acknowledged => self.first_sequence().wrapping_sub(sequence) > NEAR_START,
        }
    }

    /// Whether the other side's SYN cannot have acknowledged this.
    pub(super) fn starts_far_from(&self, acknowledgement: u32) -> bool {
        let ahead = acknowledgement.wrapping_sub(self.first_sequence());
        let distance = ahead.min(ahead.wrapping_neg());
        self.has_begun() && distance > NEAR_START
    }

    /// Whether nothing at all is known of where it starts.
    pub(super) fn is_unknown(&self) -> bool {
        self.origin == Origin::Unknown
    }

    fn first_sequence(&self) -> u32 {
        self.next_sequence.wrapping_sub(low(self.next))
    }

    /// The offset of the byte with this number; less than 0 before the first that counts, `None` if it is so far away
    /// that no sender can be there.
    #[inline]
    pub(super) fn offset(&self, sequence: u32, window: u32) -> Option<i64> {
        let distance = sequence.wrapping_sub(self.next_sequence).cast_signed();
        let is_near = distance.unsigned_abs() <= window;
        is_near.then(|| self.next.cast_signed() + i64::from(distance))
    }

    /// Notes what the other side has acknowledged, and says at which offset that is.
    #[inline]
    pub(super) fn acknowledge(&mut self, acknowledgement: u32, window: u32, now: Since) -> u64 {
        if !self.has_begun() {
            if self.origin == Origin::Unknown {
                self.start(acknowledgement, Origin::Acknowledged);
            }
            return 0;
        }
        let offset = self.offset(acknowledgement, window).and_then(|offset| u64::try_from(offset).ok());
        let offset = offset.unwrap_or(0);
        if offset > self.acked {
            // A FIN takes one number: more than that behind the guess is data.
            self.reaches(offset.saturating_sub(1), now);
            if offset > self.next && self.acked <= self.next {
                self.ahead_since = now;
            }
            self.acked = offset;
        }
        offset
    }

    /// How far the other side has it. A FIN takes a number, but is no byte.
    #[inline]
    pub(super) fn acknowledged(&self) -> u64 {
        self.acked.min(self.fin())
    }

    /// Whether everything before that offset was handed out, or told as missing.
    #[inline]
    pub(super) fn is_past(&self, offset: u64) -> bool {
        self.next >= offset || self.next >= self.fin()
    }

    /// Whether nothing is acknowledged that was not handed out.
    #[inline]
    pub(super) fn is_settled(&self) -> bool {
        self.next >= self.acknowledged()
    }

    /// Goes on by some bytes.
    #[inline]
    pub(super) fn advance(&mut self, bytes: u64, now: Since) {
        self.next += bytes;
        self.next_sequence = self.next_sequence.wrapping_add(low(bytes));
        if self.acked > self.next {
            self.ahead_since = now;
        }
    }

    #[inline]
    fn fin(&self) -> u64 {
        match self.fin {
            Fin::Unknown => UNKNOWN,
            Fin::Guessed(offset) | Fin::Seen(offset) => offset,
        }
    }

    /// Whether its end is known.
    pub(super) fn has_fin(&self) -> bool {
        !matches!(self.fin, Fin::Unknown)
    }

    /// Whether everything was handed out up to its end.
    #[inline]
    pub(super) fn is_finished(&self) -> bool {
        self.next >= self.fin()
    }

    /// A FIN stands there. One before the next byte is old, or forged.
    pub(super) fn finish(&mut self, offset: u64) {
        if offset >= self.next && !matches!(self.fin, Fin::Seen(_)) {
            self.fin = Fin::Seen(offset);
        }
    }

    /// A FIN must have stood where the next byte should be.
    pub(super) fn guess_fin(&mut self) {
        self.fin = Fin::Guessed(self.next);
    }

    /// There are bytes up to there. If a FIN was guessed before them, that was wrong.
    #[inline]
    pub(super) fn reaches(&mut self, offset: u64, now: Since) {
        if matches!(self.fin, Fin::Guessed(guess) if offset > guess) {
            (self.fin, self.ahead_since) = (Fin::Unknown, now);
        }
    }

    /// Whether bytes that are known already come in a copy of their packet. Not if this point had them and their packet
    /// was another: then they were sent once more.
    pub(super) fn is_copy(&self, point: u32, mark: u32, from: u64) -> bool {
        let had = self.points().find(|known| known.number == point).is_some_and(|known| known.end > from);
        !had || self.marks.contains(&mark)
    }

    /// A point has seen the bytes before that offset, the last of them in the packet with this mark.
    #[inline]
    pub(super) fn note(&mut self, point: u32, mark: u32, end: u64) {
        self.marks[usize::from(self.recent) % MARKS] = mark;
        self.recent = self.recent.wrapping_add(1);
        match &mut self.point {
            Some(known) if known.number == point => known.end = known.end.max(end),
            Some(_) => self.note_other(point, end),
            None => self.point = Some(Point { number: point, end }),
        }
    }

    #[cold]
    fn note_other(&mut self, number: u32, end: u64) {
        const FREE: Point = Point { number: u32::MAX, end: 0 };
        let others = self.others.get_or_insert_with(|| Box::new([FREE; POINTS_MAX - 1]));
        let place = others.iter_mut().find(|known| known.number == number || known.end == 0);
        if let Some(known) = place {
            *known = Point { number, end: known.end.max(end) };
        }
    }

    /// How many points have seen bytes of it, as far as they are told apart; at least one.
    pub(super) fn points_seen(&self) -> u32 {
        u32::try_from(self.points().count()).unwrap_or(1).max(1)
    }

    fn points(&self) -> impl Iterator<Item = &Point> {
        let others = self.others.iter().flat_map(|others| others.iter().filter(|known| known.end > 0));
        self.point.iter().chain(others)
    }
}

/// The lower half: offsets are counted on, sequence numbers wrap.
fn low(offset: u64) -> u32 {
    u32::try_from(offset & u64::from(u32::MAX)).unwrap_or_default()
}
