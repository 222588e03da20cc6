//! Reads the kernel's counters and lists of sockets below `/proc/net`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::{Listener, NetstatChange};

/// Reads `/proc/net/netstat` and `/proc/net/snmp` (pairs of lines: names, then numbers), and `/proc/net/snmp6` (a name and
/// a number to a line). Numbers that are negative (limits) are left out.
#[must_use]
pub fn read(pairs: &str, snmp6: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let lines: Vec<&str> = pairs.lines().collect();
    for pair in lines.chunks(2) {
        let [names, numbers] = pair else { continue };
        let (Some((group, names)), Some((_, numbers))) = (names.split_once(':'), numbers.split_once(':'))
        else {
            continue;
        };
        for (name, number) in names.split_whitespace().zip(numbers.split_whitespace()) {
            if let Ok(number) = number.parse() {
                found.insert(format!("{group} {name}"), number);
            }
        }
    }
    for line in snmp6.lines() {
        let mut words = line.split_whitespace();
        if let (Some(name), Some(Ok(number))) = (words.next(), words.next().map(str::parse)) {
            found.insert(name.to_owned(), number);
        }
    }
    found
}

/// What grew between two looks.
#[must_use]
pub fn changes(before: &BTreeMap<String, u64>, after: &BTreeMap<String, u64>) -> Vec<NetstatChange> {
    let grown = |(name, now): (&String, &u64)| {
        let by = now.checked_sub(before.get(name).copied().unwrap_or(0)).filter(|by| *by > 0)?;
        Some(NetstatChange { name: name.clone(), by })
    };
    after.iter().filter_map(grown).collect()
}

/// The sockets of `/proc/net/tcp`, `tcp6`, `udp` or `udp6` that wait for packets of anybody.
pub fn listeners(text: &str) -> impl Iterator<Item = Listener> {
    text.lines().skip(1).filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (local, _, state) = (words.next()?, words.next()?, words.next()?);
        // TCP_LISTEN; TCP_CLOSE, which is a UDP socket that is not connected.
        if !matches!(state, "0A" | "07") {
            return None;
        }
        let (address, port) = local.split_once(':')?;
        let (address, port) = (address_of(address)?, u16::from_str_radix(port, 16).ok()?);
        let maybe_both = address == IpAddr::from(Ipv6Addr::UNSPECIFIED);
        // A socket that is not bound waits for nothing.
        (port != 0).then_some(Listener { address, port, maybe_both })
    })
}

/// Words of 4 bytes, each printed as a number of the host's own order.
fn address_of(text: &str) -> Option<IpAddr> {
    let word = |at: usize| u32::from_str_radix(text.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    match text.len() {
        8 => Some(Ipv4Addr::from(word(0)?).into()),
        32 => {
            let octets: Vec<u8> = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
            let address = Ipv6Addr::from(<[u8; 16]>::try_from(octets).ok()?);
            Some(address.to_ipv4_mapped().map_or(address.into(), IpAddr::from))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_that_grew_are_told_with_their_group() {
        let look = |filtered: u64| {
            let pairs = format!(
                "TcpExt: SyncookiesSent IPReversePathFilter\nTcpExt: 0 {filtered}\nTcp: MaxConn\nTcp: -1\n"
            );
            read(&pairs, "Ip6InNoRoutes \t3\nbroken")
        };
        let grown = changes(&look(3), &look(5));
        assert_eq!(grown, [NetstatChange { name: "TcpExt IPReversePathFilter".to_owned(), by: 2 }]);
        assert_eq!(look(3)["Ip6InNoRoutes"], 3);
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn who_waits_is_read_with_its_address() {
        let text = "  sl  local_address rem_address   st\n\
            0: 0100007F:0016 00000000:0000 0A 0\n\
            1: 0100007F:0016 0100007F:9999 01 0\n\
            2: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A\n\
            3: 0000000000000000FFFF00000200A8C0:0035 00000000000000000000000000000000:0000 07\n\
            4: 00000000:0000 00000000:0000 07\nbroken\n5: 0100:16 x 0A\n";
        let found: Vec<String> =
            listeners(text).map(|it| format!("{} {} {}", it.address, it.port, it.maybe_both)).collect();
        assert_eq!(found, ["127.0.0.1 22 false", ":: 80 true", "192.168.0.2 53 false"]);
    }
}
