//! Numbers, addresses, times and texts as tshark prints them; without `format!`, as a million packets have millions.

use std::net::{Ipv4Addr, Ipv6Addr};

/// In decimal.
pub(super) fn decimal(out: &mut Vec<u8>, mut value: u64) {
    // u64::MAX has 20 digits.
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + digit(value % 10);
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// In hexadecimal, with `0x` and so many digits.
pub(super) fn hexadecimal(out: &mut Vec<u8>, value: u64, digits: u32) {
    out.extend_from_slice(b"0x");
    for nth in (0..digits).rev() {
        out.push(HEX[usize::from(digit((value >> (nth * 4)) & 15))]);
    }
}

/// Bytes as pairs of digits without anything between them.
pub(super) fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    for byte in bytes {
        pair(out, *byte);
    }
}

/// `02:00:00:00:00:0a`
pub(super) fn station(out: &mut Vec<u8>, bytes: &[u8]) {
    for (nth, byte) in bytes.iter().enumerate() {
        if nth > 0 {
            out.push(b':');
        }
        pair(out, *byte);
    }
}

/// `172.41.0.2`
pub(super) fn ipv4(out: &mut Vec<u8>, address: Ipv4Addr) {
    for (nth, byte) in address.octets().into_iter().enumerate() {
        if nth > 0 {
            out.push(b'.');
        }
        decimal(out, byte.into());
    }
}

/// `fd00:41::2`, as RFC 5952 says, with mapped IPv4 addresses in dots.
pub(super) fn ipv6(out: &mut Vec<u8>, address: Ipv6Addr) {
    let segments = address.segments();
    if let ([0, 0, 0, 0, 0, 0xffff, ..], Some(inner)) = (segments, address.to_ipv4_mapped()) {
        out.extend_from_slice(b"::ffff:");
        return ipv4(out, inner);
    }
    let (start, length) = longest_zeros(segments);
    for (nth, segment) in segments.into_iter().enumerate() {
        if length > 1 && nth == start {
            out.extend_from_slice(b"::");
        }
        if length > 1 && (start..start + length).contains(&nth) {
            continue;
        }
        if nth > 0 && !(length > 1 && nth == start + length) {
            out.push(b':');
        }
        short_hexadecimal(out, segment);
    }
}

/// Seconds and nine digits, of nanoseconds.
pub(super) fn seconds(out: &mut Vec<u8>, nanoseconds: u64) {
    decimal(out, nanoseconds / 1_000_000_000);
    out.push(b'.');
    let mut rest = nanoseconds % 1_000_000_000;
    let mut digits = [b'0'; 9];
    for place in digits.iter_mut().rev() {
        *place = b'0' + digit(rest % 10);
        rest /= 10;
    }
    out.extend_from_slice(&digits);
}

/// The same from one time to another, which may be earlier.
pub(super) fn between(out: &mut Vec<u8>, from: u64, to: u64) {
    if to < from {
        out.push(b'-');
    }
    seconds(out, to.abs_diff(from));
}

/// A text, with what would break the line or the terminal escaped.
pub(super) fn text(out: &mut Vec<u8>, text: &[u8]) {
    for chunk in text.utf8_chunks() {
        for character in chunk.valid().chars() {
            character_of(out, character);
        }
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

fn character_of(out: &mut Vec<u8>, character: char) {
    match character {
        '\n' => out.extend_from_slice(b"\\n"),
        '\r' => out.extend_from_slice(b"\\r"),
        '\t' => out.extend_from_slice(b"\\t"),
        '\u{7}' => out.extend_from_slice(b"\\a"),
        '\u{8}' => out.extend_from_slice(b"\\b"),
        '\u{b}' => out.extend_from_slice(b"\\v"),
        '\u{c}' => out.extend_from_slice(b"\\f"),
        other if other.is_control() => {
            out.extend_from_slice(b"\\x");
            let code = u8::try_from(u32::from(other)).unwrap_or_default();
            pair(out, code);
        }
        other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

const HEX: [u8; 16] = *b"0123456789abcdef";

fn pair(out: &mut Vec<u8>, byte: u8) {
    out.extend_from_slice(&[HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
}

fn short_hexadecimal(out: &mut Vec<u8>, segment: u16) {
    let mut is_leading = true;
    for nth in (0..4).rev() {
        let nibble = usize::from((segment >> (nth * 4)) & 15);
        is_leading &= nibble == 0 && nth > 0;
        if !is_leading {
            out.push(HEX[nibble]);
        }
    }
}

/// Where the longest run of zeros is, the first of equals, and its length.
fn longest_zeros(segments: [u16; 8]) -> (usize, usize) {
    let (mut best, mut run) = ((0, 0), 0);
    for (nth, segment) in segments.into_iter().enumerate() {
        run = if segment == 0 { run + 1 } else { 0 };
        if run > best.1 {
            best = (nth + 1 - run, run);
        }
    }
    best
}

/// The caller knows that it is below 256.
fn digit(value: u64) -> u8 {
    u8::try_from(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipv6_address_is_written_as_the_standard_library_writes_it() {
        for text in [
            "::",
            "::1",
            "1::",
            "fd00:41::2",
            "1:0:0:2:0:0:0:3",
            "1:0:2:0:3:0:4:0",
            "0:0:1:2:3:4:5:6",
            "1:2:3:4:5:6:0:0",
            "::ffff:10.0.0.1",
            "1:2:3:4:5:6:7:8",
            "ff02::1:ff00:2",
            "0:1:0:0:1:0:0:1",
        ] {
            let address: Ipv6Addr = text.parse().unwrap();
            let mut out = Vec::new();
            ipv6(&mut out, address);
            assert_eq!(String::from_utf8(out).unwrap(), address.to_string());
        }
    }

    #[test]
    fn numbers_have_all_their_digits() {
        let said = |write: &dyn Fn(&mut Vec<u8>)| {
            let mut out = Vec::new();
            write(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(said(&|out| decimal(out, 0)), "0");
        assert_eq!(said(&|out| decimal(out, u64::MAX)), u64::MAX.to_string());
        assert_eq!(said(&|out| hexadecimal(out, 0x1c46, 4)), "0x1c46");
        assert_eq!(said(&|out| hexadecimal(out, 2, 2)), "0x02");
        assert_eq!(said(&|out| seconds(out, 1_700_000_000_000_000_009)), "1700000000.000000009");
        assert_eq!(said(&|out| between(out, 5, 3)), "-0.000000002");
        assert_eq!(said(&|out| text(out, b"a\nb\x1b[31m\xff")), "a\\nb\\x1b[31m\u{fffd}");
    }
}
