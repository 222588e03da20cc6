//! Numbers as the servers write them.

use std::fmt::Write as _;

/// Digits of the longest number of 64 bits with its sign.
const INTEGER_DIGITS_MAX: usize = 20;

/// A decimal of the servers has nine groups of nine digits, before and after the point together.
const GROUP: usize = 9;
const GROUPS_MAX: usize = 9;
const DIGITS_MAX: usize = GROUP * GROUPS_MAX;

/// What the servers make of a decimal that is too large: as many nines as the type DECIMAL has digits.
const NINES: usize = 65;

/// Writes an integer of 1, 2, 4 or 8 bytes.
pub(super) fn integer(bytes: &[u8], unsigned: bool, out: &mut Vec<u8>) {
    let value = bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte));
    let is_negative = !unsigned && bytes.last().is_some_and(|last| last & 0x80 != 0);
    if is_negative {
        out.push(b'-');
    }
    // The sign fills the bytes that were not sent.
    let missing = 64 - 8 * u32::try_from(bytes.len().clamp(1, 8)).unwrap_or(8);
    let size = if is_negative { (value.wrapping_neg() << missing) >> missing } else { value };
    whole(size, 1, out);
}

/// Writes a number with zeros in front of it up to a width.
pub(super) fn whole(mut value: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = [b'0'; INTEGER_DIGITS_MAX];
    let mut at = digits.len();
    // Ends: 20 digits are enough for 64 bits.
    while value > 0 {
        at -= 1;
        digits[at] = b'0' + u8::try_from(value % 10).unwrap_or_default();
        value /= 10;
    }
    out.extend_from_slice(&digits[at.min(digits.len() - width.min(digits.len()))..]);
}

/// Writes a double with the fewest digits that give it back; what is no number is 0.
///
/// Found by comparing a thousand of them: between 1e-15 and 1e15 there is no exponent, nor above if all 17 digits
/// are needed and one of them is behind the point.
pub(super) fn double(value: f64, out: &mut Vec<u8>) {
    if !value.is_finite() || value == 0.0 {
        return out.push(b'0');
    }
    let mut text = Scientific::default();
    // It has room for every double.
    let _ = write!(text, "{:e}", value.abs());
    let Some((digits, exponent)) = text.parts() else { return };
    if value < 0.0 {
        out.push(b'-');
    }
    let point = exponent + 1;
    if (-14..=15).contains(&point) || (point == 16 && digits.len() == 17) {
        return with_point(&digits, point, out);
    }
    with_point(&digits, 1, out);
    out.push(b'e');
    if exponent < 0 {
        out.push(b'-');
    }
    whole(exponent.unsigned_abs().into(), 1, out);
}

/// Digits with the point behind so many of them, which may be before the first or behind the last.
fn with_point(digits: &[u8], point: i32, out: &mut Vec<u8>) {
    let before = usize::try_from(point).unwrap_or(0);
    if before == 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + usize::try_from(point.unsigned_abs()).unwrap_or(0), b'0');
        return out.extend_from_slice(digits);
    }
    let (whole, fraction) = digits.split_at(before.min(digits.len()));
    out.extend_from_slice(whole);
    out.resize(out.len() + (before - whole.len()), b'0');
    if !fraction.is_empty() {
        out.push(b'.');
        out.extend_from_slice(fraction);
    }
}

/// `1.7976931348623157e308`, without a sign in front: 22 bytes.
#[derive(Default)]
struct Scientific {
    text: [u8; 24],
    length: usize,
}

impl Scientific {
    /// The digits without the point, and the exponent.
    fn parts(&self) -> Option<(Vec<u8>, i32)> {
        let text = std::str::from_utf8(self.text.get(..self.length)?).ok()?;
        let (digits, exponent) = text.split_once('e')?;
        Some((digits.bytes().filter(u8::is_ascii_digit).collect(), exponent.parse().ok()?))
    }
}

impl std::fmt::Write for Scientific {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.length + text.len();
        self.text.get_mut(self.length..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// Writes a decimal, which is sent as text, as the server reads it: without zeros in front, without an exponent, and
/// only up to what is not part of a number.
pub(super) fn decimal(text: &[u8], out: &mut Vec<u8>) {
    let text = text.trim_ascii_start();
    let is_negative = text.first() == Some(&b'-');
    let text = text.strip_prefix(if is_negative { b"-" } else { b"+" }).unwrap_or(text);
    let (whole, text) = leading_digits(text);
    let (fraction, text) = text.strip_prefix(b".").map_or((&b""[..], text), leading_digits);
    let zeros = whole.iter().take_while(|digit| **digit == b'0').count();
    let whole = &whole[zeros..];
    if whole.len() > DIGITS_MAX {
        return nines(is_negative, out);
    }
    let room = (GROUPS_MAX - whole.len().div_ceil(GROUP).max(1)) * GROUP;
    let fraction = &fraction[..fraction.len().min(room)];
    let mut digits: Vec<u8> = [whole, fraction].concat();
    let exponent = exponent(text);
    if exponent != 0 {
        // Who moves the point drops the zeros behind it.
        digits.truncate(digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1));
    }
    if digits.is_empty() {
        return out.push(b'0');
    }
    let point = i64::try_from(whole.len()).unwrap_or(0) + exponent;
    shifted(&digits, point, is_negative, out);
}

fn shifted(digits: &[u8], point: i64, is_negative: bool, out: &mut Vec<u8>) {
    let digits_max = i64::try_from(DIGITS_MAX).unwrap_or(i64::MAX);
    // Zeros in front do not count: 0.001e3 is 1.
    let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
    let first = point - i64::try_from(zeros).unwrap_or(0);
    let is_zero = zeros == digits.len();
    if !is_zero && first > digits_max {
        return nines(is_negative, out);
    }
    if !is_zero && first <= -digits_max {
        return out.push(b'0');
    }
    if is_negative && !is_zero {
        out.push(b'-');
    }
    let before = usize::try_from(point).unwrap_or(0);
    let whole = digits.get(zeros.min(before)..before.min(digits.len())).unwrap_or_default();
    let more = before.saturating_sub(digits.len());
    out.extend_from_slice(whole);
    out.resize(out.len() + more, b'0');
    if whole.is_empty() && more == 0 {
        out.push(b'0');
    }
    let fraction = digits.get(before..).unwrap_or_default();
    if !fraction.is_empty() {
        out.push(b'.');
        out.resize(out.len() + usize::try_from(-point).unwrap_or(0), b'0');
        out.extend_from_slice(fraction);
    }
}

fn nines(is_negative: bool, out: &mut Vec<u8>) {
    if is_negative {
        out.push(b'-');
    }
    out.resize(out.len() + NINES, b'9');
}

fn leading_digits(text: &[u8]) -> (&[u8], &[u8]) {
    text.split_at(text.iter().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len()))
}

/// What stands behind `e`; 0 if nothing does.
fn exponent(text: &[u8]) -> i64 {
    let (sign, digits) = match text {
        [b'e' | b'E', b'-', digits @ ..] => (-1, digits),
        [b'e' | b'E', b'+', digits @ ..] | [b'e' | b'E', digits @ ..] => (1, digits),
        _ => return 0,
    };
    let size = leading_digits(digits).0.iter().fold(0_i64, |size, digit| {
        // A bound far beyond every decimal.
        (size * 10 + i64::from(digit - b'0')).min(1_000_000)
    });
    sign * size
}
