//! Dates and times of the binary protocol: a length, then the parts that are not zero at the end.
//!
//! ```text
//! year 2, month 1, day 1 | hour 1, minute 1, second 1 | microsecond 4      of lengths 0, 4, 7, 11
//! negative 1, days 4, hour 1, minute 1, second 1 | microsecond 4           of lengths 0, 8, 12
//! ```

use super::{Server, number};

/// The longest time that the servers know, 838:59:59.
const HOURS_MAX: u64 = 838;

/// A part of a second when six digits of it are written.
type Fraction = Option<u32>;

/// Writes a date; a time behind it is left out, as the server does.
pub(super) fn date(bytes: &[u8], server: Server, out: &mut Vec<u8>) -> Option<()> {
    let day = Day::read(bytes)?;
    open("DATE", server, out);
    day.valid().unwrap_or_default().write(out);
    out.push(b'\'');
    Some(())
}

/// Writes a date and a time.
pub(super) fn datetime(bytes: &[u8], server: Server, out: &mut Vec<u8>) -> Option<()> {
    let day = Day::read(bytes)?;
    let clock = Clock::read(bytes.get(4..).unwrap_or_default())?;
    let (day, clock) = match (day.valid(), clock.valid()) {
        (Some(day), Some(clock)) if clock.hour < 24 => (day, clock),
        _ => (Day::default(), clock.zero()),
    };
    open("TIMESTAMP", server, out);
    day.write(out);
    out.push(b' ');
    clock.write(out);
    out.push(b'\'');
    Some(())
}

/// Writes a time, which may be negative and longer than a day.
pub(super) fn time(bytes: &[u8], server: Server, out: &mut Vec<u8>) -> Option<()> {
    let (negative, days) = match bytes {
        [] => (0, 0),
        [negative, a, b, c, d, ..] => (*negative, u32::from_le_bytes([*a, *b, *c, *d])),
        _ => return None,
    };
    let clock = Clock::read(bytes.get(5..).unwrap_or_default())?;
    let hour = clock.hour + u64::from(days) * 24;
    let clock = Clock { hour, ..clock };
    let clock = clock.valid().map_or_else(|| clock.zero(), Clock::bounded);
    open("TIME", server, out);
    if negative != 0 {
        out.push(b'-');
    }
    clock.write(out);
    out.push(b'\'');
    Some(())
}

fn open(word: &str, server: Server, out: &mut Vec<u8>) {
    if server == Server::MariaDb {
        out.extend_from_slice(word.as_bytes());
    }
    out.push(b'\'');
}

#[derive(Debug, Clone, Copy, Default)]
struct Day {
    year: u16,
    month: u8,
    of_month: u8,
}

impl Day {
    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => Some(Self::default()),
            [low, high, month, day, ..] => {
                Some(Self { year: u16::from_le_bytes([*low, *high]), month: *month, of_month: *day })
            }
            _ => None,
        }
    }

    /// The server looks at the ranges only: the 30th of February is one of its days.
    fn valid(self) -> Option<Self> {
        (self.year <= 9_999 && self.month <= 12 && self.of_month <= 31).then_some(self)
    }

    fn write(self, out: &mut Vec<u8>) {
        number::whole(self.year.into(), 4, out);
        out.push(b'-');
        number::whole(self.month.into(), 2, out);
        out.push(b'-');
        number::whole(self.of_month.into(), 2, out);
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Clock {
    hour: u64,
    minute: u8,
    second: u8,
    fraction: Fraction,
}

impl Clock {
    fn read(bytes: &[u8]) -> Option<Self> {
        match bytes {
            [] => Some(Self::default()),
            [hour, minute, second] => {
                Some(Self { hour: (*hour).into(), minute: *minute, second: *second, fraction: None })
            }
            [hour, minute, second, a, b, c, d] => {
                let fraction = Some(u32::from_le_bytes([*a, *b, *c, *d]));
                Some(Self { hour: (*hour).into(), minute: *minute, second: *second, fraction })
            }
            _ => None,
        }
    }

    fn valid(self) -> Option<Self> {
        let is_fraction = self.fraction.is_none_or(|fraction| fraction <= 999_999);
        (self.minute <= 59 && self.second <= 59 && is_fraction).then_some(self)
    }

    /// Midnight with as many digits.
    fn zero(self) -> Self {
        Self { fraction: self.fraction.map(|_| 0), ..Self::default() }
    }

    fn bounded(self) -> Self {
        if self.hour <= HOURS_MAX {
            return self;
        }
        Self { hour: HOURS_MAX, minute: 59, second: 59, fraction: self.fraction }
    }

    fn write(self, out: &mut Vec<u8>) {
        number::whole(self.hour, 2, out);
        out.push(b':');
        number::whole(self.minute.into(), 2, out);
        out.push(b':');
        number::whole(self.second.into(), 2, out);
        if let Some(fraction) = self.fraction {
            out.push(b'.');
            number::whole(fraction.into(), 6, out);
        }
    }
}
