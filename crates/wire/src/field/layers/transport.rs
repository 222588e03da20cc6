//! What IP carries: ICMP with the packets that it quotes, TCP, UDP, packets in packets.

use super::rest::{Rest, bound, u8_in, u16_in, u32_in};
use super::{Kind, Layers, Quoted};
use crate::packet::protocol;

/// A TCP header up to its window: what Wireshark wants before it shows more than the ports.
const TCP_BYTES_MIN: usize = 16;

/// Where MySQL and `MariaDB` listen.
const MYSQL_PORT: u16 = 3306;

/// When `ping` sent it, at the start of what it sends: seconds and microseconds of 32 bits. Those of 64 bits that Linux
/// sends today pass for it too, as their upper half is 0.
const PING_TIME_BYTES: usize = 8;
/// How far it may be from when the packet was seen, in seconds: Wireshark takes less than a day for a time.
const PING_TIME_APART: u32 = 24 * 3600;

impl Layers {
    pub(super) fn transport(&mut self, bytes: &[u8], number: u8, rest: Rest) {
        if !rest.is_there() {
            return;
        }
        match number {
            protocol::ICMP => self.icmp(bytes, rest),
            protocol::ICMPV6 => self.icmpv6(bytes, rest),
            protocol::TCP => self.tcp(bytes, rest),
            protocol::UDP => self.udp(bytes, rest),
            // IP in IP.
            4 => self.ipv4(bytes, rest),
            41 => self.ipv6(bytes, rest),
            _ => self.data(rest),
        }
    }

    fn icmp(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Icmp, rest);
        if !self.all_or_nothing(rest, 6) {
            return;
        }
        match u8_in(bytes, rest, 0) {
            Some(0 | 8) => {
                let data = rest.after(8);
                let time = if self.is_ping_time(bytes, data) { PING_TIME_BYTES } else { 0 };
                self.data(data.after(time));
            }
            Some(3 | 4 | 5 | 11 | 12) if rest.has(8) => {
                self.ipv4(bytes, rest.after(8).quoted_by(Quoted::ByIcmp));
            }
            _ => {}
        }
    }

    /// Whether the data of an echo starts with a time that is near the frame's, in either byte order.
    fn is_ping_time(&self, bytes: &[u8], data: Rest) -> bool {
        let (Some(seconds), Some(micros)) = (u32_in(bytes, data, 0), u32_in(bytes, data, 4)) else {
            return false;
        };
        let is_near =
            |seconds: u32| seconds.wrapping_sub(self.second).cast_signed().unsigned_abs() < PING_TIME_APART;
        let is_time = |seconds, micros| is_near(seconds) && micros < 1_000_000;
        is_time(seconds, micros) || is_time(seconds.swap_bytes(), micros.swap_bytes())
    }

    fn icmpv6(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Icmpv6, rest);
        match u8_in(bytes, rest, 0) {
            Some(128 | 129) => self.data(rest.after(8)),
            Some(1..=4) if rest.has(9) => self.ipv6(bytes, rest.after(8).quoted_by(Quoted::ByIcmpv6)),
            _ => {}
        }
    }

    fn tcp(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Tcp, rest);
        if !rest.has(TCP_BYTES_MIN) {
            // Of a header that was cut only the ports are shown, and what ICMP promises to quote.
            self.all_or_nothing(rest, 4);
            return self.shorten(if rest.quoted == Quoted::ByIcmp { 8 } else { 4 });
        }
        let header = usize::from(u8_in(bytes, rest, 12).unwrap_or_default() >> 4) * 4;
        if header < 20 {
            return self.shorten(13);
        }
        let payload = rest.after(header);
        let is_mysql = [0, 2].into_iter().any(|at| u16_in(bytes, rest, at) == Some(MYSQL_PORT));
        if is_mysql {
            if payload.has(1) {
                self.push(Kind::Mysql, payload);
            }
        } else {
            self.data(payload);
        }
    }

    fn udp(&mut self, bytes: &[u8], rest: Rest) {
        self.push(Kind::Udp, rest);
        self.all_or_nothing(rest, 4);
        let Some(length) = u16_in(bytes, rest, 4) else { return };
        if length < 8 {
            return self.shorten(6);
        }
        if rest.has(8) {
            self.data(bound(rest, length.into()).after(8));
        }
    }
}
