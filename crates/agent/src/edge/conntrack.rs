//! Ends connections of the cluster that still carry another source address.
//!
//! A connection keeps the translation that it began with. One that began while somebody masqueraded it (before
//! Byway came, or after its table was flushed) goes on like that until its entry goes: then its next packet begins
//! anew, with its own address. Entries of anything else are left alone, and so are translated destinations
//! (published ports).
//!
//! The messages are those of `linux/netfilter/nfnetlink_conntrack.h`; an entry is deleted by the very bytes of the
//! tuple by which the kernel listed it.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_core::{DefaultNla, Emitable as _, NlaBuffer, NlasIterator};

use super::netlink::{Netlink, NetlinkError};

/// `NFNL_SUBSYS_CTNETLINK << 8`, with `IPCTNL_MSG_CT_GET` and `IPCTNL_MSG_CT_DELETE`.
const GET: u16 = 0x0101;
const DELETE: u16 = 0x0102;
/// `struct nfgenmsg`: family, version, resource.
const HEADER_BYTES: usize = 4;
/// `CTA_TUPLE_ORIG`, `CTA_TUPLE_REPLY`, `CTA_ID`, `CTA_ZONE`.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
/// `CTA_TUPLE_IP`, and in it `CTA_IP_V4_SRC`, `CTA_IP_V4_DST`, `CTA_IP_V6_SRC`, `CTA_IP_V6_DST`.
const TUPLE_IP: u16 = 1;
const SOURCES: [u16; 2] = [1, 3];
const DESTINATIONS: [u16; 2] = [2, 4];
/// The lower bits of an attribute's kind; the upper two are flags.
const KIND_MASK: u16 = 0x3fff;

/// Whose connections are the cluster's.
#[derive(Debug, Clone, Default)]
pub struct Pairs {
    /// Our own subnets.
    pub local: Vec<IpNet>,
    /// The peers'.
    pub peers: Vec<IpNet>,
}

impl Pairs {
    fn joins(&self, one: IpAddr, other: IpAddr) -> bool {
        let holds = |nets: &[IpNet], address: IpAddr| nets.iter().any(|net| net.contains(&address));
        (holds(&self.local, one) && holds(&self.peers, other))
            || (holds(&self.peers, one) && holds(&self.local, other))
    }
}

/// Ends them, and says how many there were.
///
/// # Errors
/// When the kernel has no connection tracking, or a list did not arrive whole.
pub fn end_rewritten(pairs: &Pairs) -> Result<usize, NetlinkError> {
    let mut netlink = Netlink::netfilter()?;
    let mut ended = 0;
    for family in [libc::AF_INET, libc::AF_INET6] {
        let header = [u8::try_from(family).unwrap_or_default(), 0, 0, 0];
        let get = |body: &mut Vec<u8>| {
            body.extend(header);
            GET
        };
        let stale = netlink.dump_written(get, |_, body| stale(body, pairs))?;
        let delete = |entry: &Vec<u8>, body: &mut Vec<u8>| {
            body.extend(header);
            body.extend(entry);
            (DELETE, 0)
        };
        // One that ended by itself meanwhile is refused, and that is as good.
        let refused = netlink.batch_written(&stale, delete)?;
        ended += stale.len() - refused.len();
    }
    Ok(ended)
}

/// What names an entry of the cluster whose source address is translated.
fn stale(body: &[u8], pairs: &Pairs) -> Result<Option<Vec<u8>>, NetlinkError> {
    let malformed = || NetlinkError::Decode("an entry of connection tracking".to_owned());
    let attributes = body.get(HEADER_BYTES..).ok_or_else(malformed)?;
    let (mut original, mut reply, mut name) = (None, None, Vec::new());
    for attribute in NlasIterator::new(attributes) {
        let attribute = attribute.map_err(|_| malformed())?;
        let kind = attribute.kind() & KIND_MASK;
        match kind {
            ORIGINAL => original = ends(attribute.value()),
            REPLY => reply = ends(attribute.value()),
            _ => {}
        }
        if [ORIGINAL, ID, ZONE].contains(&kind) {
            append(&attribute, &mut name);
        }
    }
    let (Some((from, to)), Some((_, answered))) = (original, reply) else { return Ok(None) };
    Ok((answered != from && pairs.joins(from, to)).then_some(name))
}

/// Writes an attribute out again, without the flags of its kind, which the kernel does not ask for here.
fn append(attribute: &NlaBuffer<&[u8]>, bytes: &mut Vec<u8>) {
    let copy = DefaultNla::new(attribute.kind(), attribute.value().to_vec());
    let start = bytes.len();
    bytes.resize(start + copy.buffer_len(), 0);
    copy.emit(&mut bytes[start..]);
}

/// The source and the destination of a tuple.
fn ends(tuple: &[u8]) -> Option<(IpAddr, IpAddr)> {
    let addresses = NlasIterator::new(tuple).flatten().find(|part| part.kind() & KIND_MASK == TUPLE_IP)?;
    let (mut from, mut to) = (None, None);
    for part in NlasIterator::new(addresses.value()).flatten() {
        let kind = part.kind() & KIND_MASK;
        if SOURCES.contains(&kind) {
            from = address(part.value());
        } else if DESTINATIONS.contains(&kind) {
            to = address(part.value());
        }
    }
    Some((from?, to?))
}

fn address(octets: &[u8]) -> Option<IpAddr> {
    match octets.len() {
        4 => <[u8; 4]>::try_from(octets).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(octets).ok().map(IpAddr::from),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn tuple(kind: u16, from: [u8; 4], to: [u8; 4]) -> Vec<u8> {
        let addresses = [attribute(SOURCES[0], &from), attribute(DESTINATIONS[0], &to)].concat();
        attribute(kind | 0x8000, &attribute(TUPLE_IP | 0x8000, &addresses))
    }

    fn entry(from: [u8; 4], to: [u8; 4], answered: [u8; 4]) -> Vec<u8> {
        [
            vec![2, 0, 0, 0],
            tuple(ORIGINAL, from, to),
            tuple(REPLY, to, answered),
            attribute(ID, &[0, 0, 0, 7]),
        ]
        .concat()
    }

    fn pairs() -> Pairs {
        Pairs { local: vec!["172.41.0.0/16".parse().unwrap()], peers: vec!["172.42.0.0/16".parse().unwrap()] }
    }

    const OURS: [u8; 4] = [172, 41, 0, 2];
    const PEERS: [u8; 4] = [172, 42, 0, 2];
    const HOST: [u8; 4] = [192, 168, 199, 41];
    const WORLD: [u8; 4] = [198, 51, 100, 1];

    #[test]
    fn only_rewritten_sources_of_the_cluster_are_stale() {
        for (from, to, answered, is_stale) in [
            (OURS, PEERS, HOST, true),
            (PEERS, OURS, HOST, true),
            (OURS, PEERS, OURS, false),
            (OURS, WORLD, HOST, false),
            (HOST, PEERS, WORLD, false),
        ] {
            let stale = stale(&entry(from, to, answered), &pairs()).unwrap();
            assert_eq!(stale.is_some(), is_stale, "{from:?} to {to:?}");
        }
    }

    #[test]
    fn an_entry_is_named_by_its_tuple_and_its_number() {
        let name = stale(&entry(OURS, PEERS, HOST), &pairs()).unwrap().unwrap();
        let mut tuple = tuple(ORIGINAL, OURS, PEERS);
        // The flag "nested".
        tuple[3] &= 0x7f;
        assert_eq!(name, [tuple, attribute(ID, &[0, 0, 0, 7])].concat());
    }

    #[test]
    fn cut_short_it_is_an_error_or_nothing() {
        let whole = entry(OURS, PEERS, HOST);
        for length in 0..whole.len() - 8 {
            assert!(!matches!(stale(&whole[..length], &pairs()), Ok(Some(_))), "{length}");
        }
    }
}
