//! The echo by which a way is tried, as bytes: an IP packet made whole, as no routing of this host is to decide about it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What the data of our echoes begin with, so that a peer knows them.
const MARK: [u8; 8] = *b"byway\0wy";
/// By which our echoes are told from those of other processes, beside the mark and the nonce.
const ID: u16 = 0xac17;
/// Mark and nonce.
const DATA_BYTES: usize = 16;
/// Kind, code, checksum, id, number (RFC 792, RFC 4443).
const ICMP_BYTES: usize = 8;
/// As the kernel sends them.
const TTL: u8 = 64;

/// A number that only this process knows.
pub type Nonce = [u8; 8];

/// Kinds of ICMP messages, for IPv4 and IPv6.
const REQUEST: [u8; 2] = [8, 128];
const REPLY: [u8; 2] = [0, 129];

/// One of our echoes, with its IP header; nothing if the addresses are not of one family.
#[must_use]
pub fn echo(from: IpAddr, to: IpAddr, nonce: Nonce, number: u16) -> Option<Vec<u8>> {
    match (from, to) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mut packet = header_v4(from, to);
            packet.extend(message(0, nonce, number, 0));
            Some(packet)
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mut packet = header_v6(from, to);
            let pseudo = sum(&from.octets()) + sum(&to.octets()) + u32::from(LENGTH) + u32::from(ICMP_V6);
            packet.extend(message(1, nonce, number, pseudo));
            Some(packet)
        }
        _ => None,
    }
}

/// The length of an echo without its IP header, in bytes.
#[expect(clippy::cast_possible_truncation, reason = "it is 24")]
const LENGTH: u16 = (ICMP_BYTES + DATA_BYTES) as u16;
const ICMP_V4: u8 = 1;
const ICMP_V6: u8 = 58;

fn header_v4(from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
    let [high, low] = (20 + LENGTH).to_be_bytes();
    let mut header = vec![0x45, 0, high, low, 0, 0, 0, 0, TTL, ICMP_V4, 0, 0];
    header.extend(from.octets());
    header.extend(to.octets());
    let checksum = fold(sum(&header)).to_be_bytes();
    header[10..12].copy_from_slice(&checksum);
    header
}

fn header_v6(from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
    let [high, low] = LENGTH.to_be_bytes();
    let mut header = vec![0x60, 0, 0, 0, high, low, ICMP_V6, TTL];
    header.extend(from.octets());
    header.extend(to.octets());
    header
}

fn message(family: usize, nonce: Nonce, number: u16, pseudo: u32) -> Vec<u8> {
    let mut message = vec![REQUEST[family], 0, 0, 0];
    message.extend(ID.to_be_bytes());
    message.extend(number.to_be_bytes());
    message.extend(MARK);
    message.extend(nonce);
    let checksum = fold(pseudo + sum(&message)).to_be_bytes();
    message[2..4].copy_from_slice(&checksum);
    message
}

fn sum(bytes: &[u8]) -> u32 {
    let (words, _) = bytes.as_chunks::<2>();
    words.iter().map(|word| u32::from(u16::from_be_bytes(*word))).sum()
}

/// The Internet checksum (RFC 1071).
fn fold(mut sum: u32) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0)
}

/// What an ICMP message says about a way, without its IP header: the number of our own echo that it answers, or
/// `Some(None)` if it is a peer's echo. Nothing if it is anything else: the bytes come from whoever sends them.
#[must_use]
pub fn read(message: &[u8], ipv6: bool, nonce: Nonce) -> Option<Option<u16>> {
    let (header, data) = message.split_first_chunk::<ICMP_BYTES>()?;
    let [kind, code, _, _, id0, id1, number0, number1] = *header;
    let (mark, theirs) = data.get(..DATA_BYTES)?.split_first_chunk::<8>()?;
    if code != 0 || u16::from_be_bytes([id0, id1]) != ID || *mark != MARK {
        return None;
    }
    let family = usize::from(ipv6);
    match kind {
        kind if kind == REQUEST[family] => Some(None),
        kind if kind == REPLY[family] && *theirs == nonce => {
            Some(Some(u16::from_be_bytes([number0, number1])))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NONCE: Nonce = [1, 2, 3, 4, 5, 6, 7, 8];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_echo_is_what_others_read_and_its_checksums_are_right() {
        let v4 = echo(ip("172.41.0.1"), ip("172.51.0.1"), NONCE, 7).unwrap();
        assert_eq!((v4.len(), fold(sum(&v4[..20])), fold(sum(&v4[20..]))), (44, 0, 0));
        let v6 = echo(ip("fd00:172:41::1"), ip("fd00:172:51::1"), NONCE, 7).unwrap();
        let pseudo = sum(&v6[8..40]) + 24 + 58;
        assert_eq!((v6.len(), fold(pseudo + sum(&v6[40..]))), (64, 0));
        assert_eq!(echo(ip("172.41.0.1"), ip("fd00::1"), NONCE, 7), None);
    }

    #[test]
    fn a_peers_echo_and_the_answer_to_ours_are_known_and_nothing_else() {
        for (from, to, at, reply) in [("10.1.0.1", "10.2.0.1", 20, 0), ("fd00::1", "fd00::2", 40, 129)] {
            let packet = echo(ip(from), ip(to), NONCE, 0x1234).unwrap();
            let ipv6 = at == 40;
            let mut message = packet[at..].to_vec();
            assert_eq!(read(&message, ipv6, [0; 8]), Some(None), "whatever its nonce is");
            assert_eq!(read(&message, !ipv6, NONCE), None);
            message[0] = reply;
            assert_eq!(read(&message, ipv6, NONCE), Some(Some(0x1234)));
            assert_eq!(read(&message, ipv6, [0; 8]), None, "the answer to somebody else's");
            for length in 0..message.len() {
                assert_eq!(read(&message[..length], ipv6, NONCE), None);
            }
            for at in [1, 4, 8, 16] {
                let mut other = message.clone();
                other[at] ^= 1;
                assert_eq!(read(&other, ipv6, NONCE), None, "byte {at}");
            }
        }
    }
}
