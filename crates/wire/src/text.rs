//! A packet in one line, as people read it: `172.41.0.2 > 172.42.0.2 ICMP echo request id 7 seq 1 ttl 64`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::frame::{Arp, Body, Frame};
use crate::icmp::{Icmp, IcmpMessage, IcmpVersion};
use crate::packet::{Packet, protocol};
use crate::transport::{Tcp, TcpFlags, Transport};

/// Names for addresses.
type Names = BTreeMap<IpAddr, String>;

static NO_NAMES: Names = BTreeMap::new();

/// A frame in one line, with names before the addresses that have one: `web(172.41.0.2) > 172.42.0.2 …`.
#[derive(Debug, Clone, Copy)]
pub struct Named<'n, 'a> {
    /// The frame.
    pub frame: &'n Frame<'a>,
    /// Names for addresses.
    pub names: &'n BTreeMap<IpAddr, String>,
}

impl fmt::Display for Named<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.frame.write(f, self.names)
    }
}

impl fmt::Display for Frame<'_> {
    /// The packet in one line, and where reading ended if that was before the end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &NO_NAMES)
    }
}

impl Frame<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, names: &Names) -> fmt::Result {
        for tag in self.vlans.as_slice() {
            write!(f, "vlan {} ", tag & 0x0fff)?;
        }
        match &self.body {
            Body::Packet(packet) => packet.write(f, names)?,
            Body::Arp(arp) => write!(f, "{arp}")?,
            Body::Other { ethertype, payload } => {
                write!(f, "ethertype 0x{ethertype:04x} {} bytes", payload.len())?;
            }
            Body::Unread(stop) => return write!(f, "unread, {stop}"),
        }
        self.stop().map_or(Ok(()), |stop| write!(f, " ({stop})"))
    }
}

impl fmt::Display for Arp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.operation {
            1 => write!(f, "ARP who has {} tell {}", self.target, self.sender),
            2 => {
                write!(f, "ARP {} is at ", self.sender)?;
                let [first, rest @ ..] = self.sender_station;
                write!(f, "{first:02x}")?;
                rest.iter().try_for_each(|byte| write!(f, ":{byte:02x}"))
            }
            other => write!(f, "ARP operation {other} from {} for {}", self.sender, self.target),
        }
    }
}

impl fmt::Display for Packet<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, &NO_NAMES)
    }
}

impl Packet<'_> {
    fn write(&self, f: &mut fmt::Formatter<'_>, names: &Names) -> fmt::Result {
        self.write_ways(f, names)?;
        self.write_content(f)?;
        if let Transport::Icmp(Icmp { message: IcmpMessage::Error(error), .. }) = self.transport
            && let Ok(about) = error.about()
        {
            write!(f, " about ")?;
            about.write_ways(f, names)?;
            about.write_content(f)?;
        }
        write!(f, " ttl {}", self.ttl)
    }

    fn write_ways(&self, f: &mut fmt::Formatter<'_>, names: &Names) -> fmt::Result {
        let (from, to) = match self.transport.ports() {
            Some((from, to)) => (Some(from), Some(to)),
            None => (None, None),
        };
        write_end(f, names, self.source, from)?;
        f.write_str(" > ")?;
        write_end(f, names, self.destination, to)
    }

    fn write_content(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.transport {
            Transport::Icmp(icmp) => write!(f, " {icmp}")?,
            Transport::Tcp(tcp) => write!(f, " {tcp}")?,
            Transport::TcpStart(start) => write!(f, " TCP seq {}", start.sequence)?,
            Transport::Udp(udp) => write!(f, " UDP length {}", udp.length)?,
            Transport::Other(_) => write_protocol(f, self.protocol)?,
        }
        if let (Some(part), Some(id)) = (self.fragment, self.identification) {
            let more = if part.more { "+" } else { "" };
            write!(f, " fragment {id} at {}{more}", part.offset)?;
        }
        Ok(())
    }
}

impl fmt::Display for Tcp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TCP {} seq {}", self.flags, self.sequence)?;
        if self.flags.contain(TcpFlags::ACK) {
            write!(f, " ack {}", self.acknowledgement)?;
        }
        write!(f, " win {}", self.window)?;
        if self.payload.is_empty() { Ok(()) } else { write!(f, " data {}", self.payload.len()) }
    }
}

impl fmt::Display for TcpFlags {
    /// The names of the flags that are set with `+` between them, or `none`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The order in which people say them: SYN+ACK, FIN+ACK.
        const NAMES: [(u8, &str); 8] = [
            (2, "SYN"),
            (1, "FIN"),
            (4, "RST"),
            (8, "PSH"),
            (16, "ACK"),
            (32, "URG"),
            (64, "ECE"),
            (128, "CWR"),
        ];
        if self.0 == 0 {
            return f.write_str("none");
        }
        let set = NAMES.iter().filter(|(bit, _)| self.0 & bit != 0);
        set.enumerate()
            .try_for_each(|(nth, (_, name))| write!(f, "{}{name}", if nth == 0 { "" } else { "+" }))
    }
}

impl fmt::Display for Icmp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.version {
            IcmpVersion::V4 => "ICMP ",
            IcmpVersion::V6 => "ICMPv6 ",
        })?;
        match icmp_name(self.version, self.kind, self.code) {
            Some(name) => f.write_str(name)?,
            None => write!(f, "type {} code {}", self.kind, self.code)?,
        }
        match self.message {
            IcmpMessage::EchoRequest(echo) | IcmpMessage::EchoReply(echo) => {
                write!(f, " id {} seq {}", echo.id, echo.sequence)
            }
            IcmpMessage::Error(error) => error.mtu.map_or(Ok(()), |mtu| write!(f, " mtu {mtu}")),
            IcmpMessage::Other(_) => Ok(()),
        }
    }
}

/// `10.0.0.1`, `10.0.0.1:80`, `fd00::1`, `[fd00::1]:80`; with a name `web(10.0.0.1)`, `web(fd00::1):80`.
fn write_end(f: &mut fmt::Formatter<'_>, names: &Names, address: IpAddr, port: Option<u16>) -> fmt::Result {
    if let Some(name) = names.get(&address) {
        write!(f, "{name}({address})")?;
        return port.map_or(Ok(()), |port| write!(f, ":{port}"));
    }
    match port {
        Some(port) => write!(f, "{}", SocketAddr::new(address, port)),
        None => write!(f, "{address}"),
    }
}

fn write_protocol(f: &mut fmt::Formatter<'_>, number: u8) -> fmt::Result {
    let name = match number {
        protocol::ICMP => "ICMP",
        protocol::IGMP => "IGMP",
        protocol::TCP => "TCP",
        protocol::UDP => "UDP",
        protocol::GRE => "GRE",
        protocol::ESP => "ESP",
        protocol::ICMPV6 => "ICMPv6",
        protocol::NO_NEXT => "nothing",
        protocol::SCTP => "SCTP",
        other => return write!(f, " protocol {other}"),
    };
    write!(f, " {name}")
}

/// The words of RFC 792, 1122, 1812 and 4443, 4861.
fn icmp_name(version: IcmpVersion, kind: u8, code: u8) -> Option<&'static str> {
    match version {
        IcmpVersion::V4 => icmp4_name(kind, code),
        IcmpVersion::V6 => icmp6_name(kind, code),
    }
}

fn icmp4_name(kind: u8, code: u8) -> Option<&'static str> {
    Some(match (kind, code) {
        (0, _) => "echo reply",
        (3, 0) => "net unreachable",
        (3, 1) => "host unreachable",
        (3, 2) => "protocol unreachable",
        (3, 3) => "port unreachable",
        (3, 4) => "fragmentation needed",
        (3, 9 | 10 | 13) => "administratively prohibited",
        (5, _) => "redirect",
        (8, _) => "echo request",
        (11, 0) => "time exceeded",
        (11, 1) => "reassembly time exceeded",
        _ => return None,
    })
}

fn icmp6_name(kind: u8, code: u8) -> Option<&'static str> {
    Some(match (kind, code) {
        (1, 0) => "no route",
        (1, 1) => "administratively prohibited",
        (1, 3) => "address unreachable",
        (1, 4) => "port unreachable",
        (1, 5) => "source address refused",
        (1, 6) => "route rejected",
        (2, _) => "packet too big",
        (3, 0) => "time exceeded",
        (3, 1) => "reassembly time exceeded",
        (128, _) => "echo request",
        (129, _) => "echo reply",
        (133, _) => "router solicitation",
        (134, _) => "router advertisement",
        (135, _) => "neighbour solicitation",
        (136, _) => "neighbour advertisement",
        (137, _) => "redirect",
        (143, _) => "multicast listener report",
        _ => return None,
    })
}
