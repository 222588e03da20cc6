//! Asks on the wire whether anybody uses addresses that nobody should have: ARP (RFC 826, as a probe of RFC 5227) and
//! neighbour discovery (RFC 4861, 7.2.2).

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use byway_fabric::observed::Link;
use ipnet::IpNet;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

use super::look;
use super::netlink::Netlink;
use super::probe::checksum;
use super::watch::{filter, socket};

/// How long an answer may take: it comes within milliseconds where there is anybody.
const ANSWER_TIME: Duration = Duration::from_millis(300);
/// The longest frame that is read: more of an answer does not matter.
const FRAME_BYTES: usize = 128;
const ETHERNET_BYTES: usize = 14;
const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

type Mac = [u8; 6];

/// Who answers for addresses of a subnet on the link that has one of this host's `own` addresses, in words; none if nobody
/// does, or nobody can be asked. The addresses that are asked for are those that gateways have: the first two and the last.
pub async fn answer_in(subnet: IpNet, own: &[IpAddr]) -> Option<String> {
    let links = Netlink::open().and_then(|mut netlink| look::links(&mut netlink)).ok()?;
    let mine = |net: &IpNet| own.contains(&net.addr()) && net.addr().is_ipv4() == subnet.addr().is_ipv4();
    let (index, link) = links.iter().find(|(_, link)| link.addresses.iter().any(mine))?;
    match ask(*index, link, subnet).await {
        Ok(answer) => answer,
        Err(error) => {
            tracing::debug!(link = link.name, %error, "nobody could be asked for {subnet}");
            None
        }
    }
}

async fn ask(index: u32, link: &Link, subnet: IpNet) -> io::Result<Option<String>> {
    let mac = mac_of(&link.name)?;
    let socket = socket::open()?;
    socket::attach(&socket, &filter::answers_of_neighbours())?;
    socket::bind(&socket, index)?;
    for address in asked_for(subnet) {
        let frame = match address {
            IpAddr::V4(address) => arp_probe(mac, address),
            IpAddr::V6(address) => match link_local(link) {
                Some(own) => solicitation(mac, own, address),
                None => continue,
            },
        };
        send(&socket, &frame)?;
    }
    // SAFETY: the descriptor is owned by the `OwnedFd` and stays open until the `AsyncFd` drops it.
    let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE)? };
    let until = Instant::now() + ANSWER_TIME;
    let mut frame = [0; FRAME_BYTES];
    while let Ok(ready) = timeout_at(until, socket.readable()).await {
        let Ok(length) = ready?.try_io(|socket| receive(socket.get_ref(), &mut frame)) else { continue };
        if let Some((address, who)) =
            answer(&frame[..length?]).filter(|(at, who)| subnet.contains(at) && *who != mac)
        {
            let who: Vec<String> = who.iter().map(|byte| format!("{byte:02x}")).collect();
            return Ok(Some(format!("{address} answers on {} ({})", link.name, who.join(":"))));
        }
    }
    Ok(None)
}

fn mac_of(link: &str) -> io::Result<Mac> {
    let text = std::fs::read_to_string(format!("/sys/class/net/{link}/address"))?;
    let bytes: Result<Vec<u8>, _> = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16)).collect();
    let none = || io::Error::new(io::ErrorKind::Unsupported, "it is no Ethernet");
    bytes.map_err(|_| none())?.try_into().map_err(|_| none())
}

fn link_local(link: &Link) -> Option<Ipv6Addr> {
    link.addresses.iter().find_map(|net| match net.addr() {
        IpAddr::V6(address) if address.is_unicast_link_local() => Some(address),
        _ => None,
    })
}

fn asked_for(subnet: IpNet) -> Vec<IpAddr> {
    let mut hosts = subnet.hosts();
    let first: Vec<IpAddr> = hosts.by_ref().take(2).collect();
    // The last of IPv6 is nobody's habit, and there are too many to walk to it.
    let last = if let IpNet::V4(subnet) = subnet { subnet.hosts().next_back().map(IpAddr::V4) } else { None };
    let mut all: Vec<IpAddr> = first.into_iter().chain(last).collect();
    all.dedup();
    all
}

fn ethernet(to: Mac, from: Mac, kind: u16) -> Vec<u8> {
    [&to[..], &from, &kind.to_be_bytes()].concat()
}

/// A question from nobody: an answer to it changes no neighbour's table.
fn arp_probe(own: Mac, address: Ipv4Addr) -> Vec<u8> {
    let mut frame = ethernet([0xff; 6], own, ARP);
    // Ethernet, IPv4, lengths of their addresses, request.
    frame.extend([0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(own);
    frame.extend([0; 4]);
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame
}

fn solicitation(own: Mac, from: Ipv6Addr, address: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = address.octets();
    // RFC 4291, 2.7.1: the solicited-node multicast address, and its Ethernet form.
    let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]));
    let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    message.extend(address.octets());
    message.extend([1, 1]);
    message.extend(own);
    let sum = icmpv6_checksum(from, to, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet([0x33, 0x33, 0xff, a, b, c], own, IPV6);
    frame.extend([0x60, 0, 0, 0, 0, 32, ICMPV6, 255]);
    frame.extend(from.octets());
    frame.extend(to.octets());
    frame.extend(message);
    frame
}

/// RFC 4443, 2.3, with the pseudo-header of RFC 8200, 8.1.
fn icmpv6_checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or_default().to_be_bytes();
    checksum(&[&from.octets()[..], &to.octets(), &length, &[0, 0, 0, ICMPV6], message].concat())
}

/// For which address a frame answers, and whose it is.
fn answer(frame: &[u8]) -> Option<(IpAddr, Mac)> {
    let sender: Mac = frame.get(6..12)?.try_into().ok()?;
    match u16::from_be_bytes([*frame.get(12)?, *frame.get(13)?]) {
        ARP => {
            let body = &frame[ETHERNET_BYTES..];
            let address: [u8; 4] = body.get(14..18)?.try_into().ok()?;
            Some((IpAddr::from(address), body.get(8..14)?.try_into().ok()?))
        }
        IPV6 => {
            let message = frame.get(ETHERNET_BYTES + 40..)?;
            let address: [u8; 16] = message.get(8..24)?.try_into().ok()?;
            (frame.get(20) == Some(&ICMPV6) && message[0] == ADVERTISEMENT)
                .then_some((IpAddr::from(address), sender))
        }
        _ => None,
    }
}

fn send(socket: &OwnedFd, frame: &[u8]) -> io::Result<()> {
    nix::sys::socket::send(socket.as_raw_fd(), frame, nix::sys::socket::MsgFlags::empty())?;
    Ok(())
}

fn receive(socket: &OwnedFd, frame: &mut [u8]) -> io::Result<usize> {
    Ok(nix::sys::socket::recv(socket.as_raw_fd(), frame, nix::sys::socket::MsgFlags::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_address_and_anything_else_is_none() {
        let own = [2, 0, 0, 0, 0, 1];
        let mut reply = arp_probe(own, "10.0.0.1".parse().unwrap());
        reply[ETHERNET_BYTES + 14..ETHERNET_BYTES + 18].copy_from_slice(&[10, 0, 0, 1]);
        assert_eq!(answer(&reply), Some(("10.0.0.1".parse().unwrap(), own)));
        for length in 0..reply.len() - 11 {
            assert_eq!(answer(&reply[..length]), None, "{length}");
        }
        let question = solicitation(own, "fe80::1".parse().unwrap(), "fd00::1".parse().unwrap());
        assert_eq!(answer(&question), None, "a question is no answer");
    }

    #[test]
    fn a_solicitation_has_the_checksum_of_its_pseudo_header() {
        let own = [2, 0, 0, 0, 0, 1];
        let from: Ipv6Addr = "fe80::1".parse().unwrap();
        let frame = solicitation(own, from, "fd00::ff:1".parse().unwrap());
        let to: [u8; 16] = frame[ETHERNET_BYTES + 24..ETHERNET_BYTES + 40].try_into().unwrap();
        assert_eq!(Ipv6Addr::from(to), "ff02::1:ffff:1".parse::<Ipv6Addr>().unwrap());
        // With its checksum in it, the sum of a message is 0.
        assert_eq!(icmpv6_checksum(from, to.into(), &frame[ETHERNET_BYTES + 40..]), 0);
    }

    #[test]
    fn those_addresses_are_asked_for_that_gateways_have() {
        let asked = |net: &str| {
            let all: Vec<String> = asked_for(net.parse().unwrap()).iter().map(ToString::to_string).collect();
            all.join(" ")
        };
        assert_eq!(asked("10.1.0.0/16"), "10.1.0.1 10.1.0.2 10.1.255.254");
        assert_eq!(asked("10.1.0.0/30"), "10.1.0.1 10.1.0.2");
        assert_eq!(asked("fd00::/64"), "fd00:: fd00::1");
    }
}
