//! One direction whose keys are known: which record has which number, and what comes out of it.
//!
//! A record opens with its number only, which is not on the wire. As long as nothing is missing it is counted; after a gap
//! every number that the missing bytes have room for is tried, and nothing but the right one opens. The same is done
//! with the handshake of TLS 1.3: what does not open with the application's first number belongs to it.

use super::messages::{Messages, kind};
use super::opener::{Opened, Opener, is_application};
use super::record::{Hurt, PROTECTED_BYTES_MIN, Records, content};
use super::{Counts, Event, Loss, Sealed};
use crate::stream::{Gap, Missing, Piece, Side};

/// Records that may come under the keys of the handshake. A chain of certificates has some ten at most.
pub const HANDSHAKE_RECORDS_MAX: u32 = 64;
/// Bytes that are decrypted to find the number of one record: some 120 numbers for the longest, thousands for short ones.
pub const RECORD_EFFORT_MAX: u64 = 2 << 20;
/// Bytes that are decrypted in vain before a direction is given up; some 10 ms.
pub const EFFORT_MAX: u64 = 16 << 20;
/// What a try costs besides its bytes, in bytes.
const TRY_EFFORT: u64 = 256;

/// A direction with its keys.
pub(super) struct Keyed {
    side: Side,
    opener: Opener,
    /// The number of the record that starts at the last start that was known.
    sequence: u64,
    progress: Progress,
    messages: Messages,
    /// What may still be decrypted in vain.
    effort: u64,
    /// What was lost before it was clear whether it was the application's.
    untold: Option<Loss>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Progress {
    /// TLS 1.2: the change of cipher is still to come.
    Clear,
    /// Records are protected, none was opened. So many did not open; so many were not seen whole and may or may not count.
    Unproven { failures: u32, unseen: u64 },
    /// Records are opened.
    Open,
}

impl Keyed {
    pub(super) fn new(side: Side, opener: Opener) -> Self {
        let progress =
            if opener.is_tls13() { Progress::Unproven { failures: 0, unseen: 0 } } else { Progress::Clear };
        let messages = Messages::default();
        Self { side, opener, sequence: 0, progress, messages, effort: EFFORT_MAX, untold: None }
    }

    /// Opens every record that is whole with this piece; an error if nothing more can be opened.
    pub(super) fn piece(
        &mut self,
        records: &mut Records,
        mut piece: Piece<'_>,
        counts: &mut Counts,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Sealed> {
        while records.fill(&mut piece) {
            let is_searching = records.searching_since().is_some();
            if !is_searching && !self.is_protected(records.record()[0]) {
                records.next();
                continue;
            }
            match self.open(records)? {
                Some(opened) => self.opened(&opened, records, counts, emit)?,
                None if is_searching => records.not_here(),
                None => self.failed(records, counts, emit)?,
            }
        }
        Ok(())
    }

    /// Bytes will not come.
    pub(super) fn gap(&mut self, records: &mut Records, gap: &Gap, emit: &mut dyn FnMut(Event<'_>)) {
        let hurt = records.gap(gap);
        let loss = |offset, missing| Loss { offset, missing, time_ns: gap.time_ns, why: gap.why };
        let (is_one, loss) = match hurt {
            Hurt::NoMore => return,
            Hurt::One(content) => {
                let offset = content.start.saturating_add(self.opener.explicit_bytes() as u64);
                let length = self.opener.plain_length(content.end.saturating_sub(content.start));
                (true, loss(offset, Some(length)))
            }
            Hurt::Many(since) => (false, loss(since, None)),
        };
        self.messages.forget();
        match (&mut self.progress, is_one) {
            (Progress::Clear, true) => {}
            (Progress::Clear, false) => {
                self.untold.get_or_insert(loss);
            }
            (Progress::Unproven { unseen, .. }, _) => {
                *unseen += u64::from(is_one);
                self.untold.get_or_insert(Loss { missing: None, ..loss });
            }
            (Progress::Open, _) => {
                self.sequence = self.sequence.saturating_add(is_one.into());
                emit(Event::Lost(self.side, loss));
            }
        }
    }

    pub(super) fn memory(&self) -> usize {
        size_of::<Self>() + self.messages.memory()
    }

    /// Whether a record of this type is one to open, where the start of records is known.
    fn is_protected(&mut self, kind: u8) -> bool {
        if self.opener.is_tls13() {
            // A change of cipher has no meaning in TLS 1.3, and hellos and alerts before the keys are in the clear.
            return kind == content::APPLICATION_DATA;
        }
        match (self.progress, kind) {
            (Progress::Clear, content::CHANGE_CIPHER_SPEC) => {
                self.progress = Progress::Unproven { failures: 0, unseen: 0 };
                false
            }
            // The change of cipher and the message after it were not seen.
            (Progress::Clear, content::APPLICATION_DATA) => {
                self.progress = Progress::Unproven { failures: 0, unseen: 1 };
                true
            }
            (Progress::Clear, _) => false,
            (Progress::Unproven { .. } | Progress::Open, _) => true,
        }
    }

    /// Opens the record with the number it must have, or one that it may have.
    fn open(&mut self, records: &mut Records) -> Result<Option<Opened>, Sealed> {
        let passed = records.searching_since().map_or(0, |since| records.start().saturating_sub(since));
        let unseen = match self.progress {
            Progress::Unproven { unseen, .. } => unseen,
            Progress::Clear | Progress::Open => 0,
        };
        let more = passed / PROTECTED_BYTES_MIN as u64 + unseen;
        let record = records.record();
        if more == 0 && passed == 0 {
            return Ok(self.opener.open(self.sequence, record));
        }
        let mut trial = Vec::with_capacity(record.len());
        let effort = record.len() as u64 + TRY_EFFORT;
        let numbers = self.sequence..=self.sequence.saturating_add(more.min(RECORD_EFFORT_MAX / effort));
        for sequence in numbers {
            self.effort = self.effort.checked_sub(effort).ok_or(Sealed::Lost)?;
            trial.clear();
            trial.extend_from_slice(record);
            if let Some(opened) = self.opener.open(sequence, &mut trial) {
                record.copy_from_slice(&trial);
                self.sequence = sequence;
                return Ok(Some(opened));
            }
        }
        Ok(None)
    }

    fn opened(
        &mut self,
        opened: &Opened,
        records: &mut Records,
        counts: &mut Counts,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Sealed> {
        // The first one of TLS 1.2 ends the handshake: what was lost before it was not the application's.
        let handshake_records = u64::from(!self.opener.is_tls13());
        if let Some(loss) = self.untold.take().filter(|_| self.sequence > handshake_records) {
            emit(Event::Lost(self.side, loss));
        }
        self.progress = Progress::Open;
        self.effort = EFFORT_MAX;
        self.sequence = self.sequence.saturating_add(1);
        counts.records += 1;
        if is_application(opened.kind) {
            counts.plain_bytes += opened.range.len() as u64;
            records.pieces(opened.range.clone(), |piece| emit(Event::Plain(self.side, piece)));
        } else if self.opener.is_tls13() && opened.kind == content::HANDSHAKE {
            self.after_handshake(&records.record()[opened.range.clone()]);
        } else if !self.opener.is_tls13() && opened.kind == content::CHANGE_CIPHER_SPEC {
            return Err(Sealed::Renegotiated);
        }
        records.next();
        Ok(())
    }

    /// Tickets and updates of keys.
    fn after_handshake(&mut self, content: &[u8]) {
        let mut updates = false;
        self.messages.take(content, |kind, _| updates |= kind == kind::KEY_UPDATE);
        if updates && let Some(next) = self.opener.next() {
            self.opener = next;
            self.sequence = 0;
        }
    }

    /// A record whose start was known did not open.
    fn failed(
        &mut self,
        records: &mut Records,
        counts: &mut Counts,
        emit: &mut dyn FnMut(Event<'_>),
    ) -> Result<(), Sealed> {
        if let Progress::Unproven { failures, .. } = &mut self.progress {
            *failures += 1;
            if *failures > HANDSHAKE_RECORDS_MAX {
                return Err(Sealed::KeysDoNotFit);
            }
            // Every protected record of TLS 1.2 has a number; those of the handshake of TLS 1.3 have others.
            self.sequence += u64::from(!self.opener.is_tls13());
            records.next();
            return Ok(());
        }
        counts.records_unopened += 1;
        let (offset, time_ns) = (records.start(), records.time_ns());
        emit(Event::Lost(self.side, Loss { offset, missing: None, time_ns, why: Missing::GivenUp }));
        self.messages.forget();
        records.distrust();
        Ok(())
    }
}
