//! The rules that ask for a trace, in the kernel's own form (`linux/netfilter/nf_tables.h`).
//!
//! A rule compares bytes of the packet with an end of the flow, sets the mark that makes the kernel tell what all later
//! rules say (`meta nftrace set 1`), and accepts: so each packet meets one of them at most.

use std::net::IpAddr;

use byway_fabric::evidence::Flow;
use byway_fabric::journey::End;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};

use Expression::{Compare, Load, LoadProtocol};

/// `NFNL_SUBSYS_NFTABLES`.
pub(super) const SUBSYSTEM: u8 = 10;
/// `NFT_MSG_NEWTABLE`, `NFT_MSG_DELTABLE`, `NFT_MSG_NEWCHAIN`, `NFT_MSG_NEWRULE`.
const NEWTABLE: u16 = 10 << 8;
const DELTABLE: u16 = 10 << 8 | 2;
const NEWCHAIN: u16 = 10 << 8 | 3;
const NEWRULE: u16 = 10 << 8 | 6;
/// `NLM_F_APPEND`.
const APPEND: u16 = 0x800;
/// `NFT_TABLE_F_OWNER`: the table goes with the socket that made it, since Linux 5.12.
const TABLE_OWNED: u32 = 2;
/// Nested attributes.
const NESTED: u16 = 0x8000;
/// `NF_INET_PRE_ROUTING` and `NF_INET_LOCAL_OUT`.
const HOOKS: [(&str, u32); 2] = [("trace-prerouting", 0), ("trace-output", 3)];
/// `NF_IP_PRI_RAW_BEFORE_DEFRAG`: before all that is in use, so that nobody's rule is missed. Fragments come there one
/// by one; the first has the ports, and the packet that is put together from them is as marked as its first one.
const PRIORITY: i32 = -450;
/// `NFT_META_NFTRACE` and `NFT_META_L4PROTO`.
const META_TRACE: u32 = 12;
const META_PROTOCOL: u32 = 16;
/// `NFT_REG_VERDICT` and `NFT_REG_1`.
const REGISTER_VERDICT: u32 = 0;
const REGISTER: u32 = 1;
/// ICMP errors start with 8 bytes before the packet that they are about.
const QUOTED: u32 = 8;

/// Whether the kernel removes the table when we end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// It does, whatever happens to us: Linux 5.12 and later.
    Owned,
    /// It does not: the table is removed at the end of the trace, or by the next one if we are killed.
    Plain,
}

/// A family that has ends in the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
}

impl Family {
    /// The families of a flow.
    pub(super) fn of(flow: &Flow) -> Vec<Self> {
        let has = |v6: bool| flow.bounded_ends().any(|end| end.address.is_ipv6() == v6);
        [(Self::V4, has(false)), (Self::V6, has(true))]
            .into_iter()
            .filter(|(_, has)| *has)
            .map(|(family, _)| family)
            .collect()
    }

    /// `NFPROTO_IPV4`, `NFPROTO_IPV6`.
    fn number(self) -> u8 {
        match self {
            Self::V4 => 2,
            Self::V6 => 10,
        }
    }

    /// Where the header has the protocol, the source, the destination; how long it is without options; ICMP's number,
    /// and the two types of it between which (or below which) errors are.
    fn layout(self) -> Layout {
        match self {
            Self::V4 => Layout { protocol: 9, source: 12, destination: 16, length: 20, icmp: 1 },
            Self::V6 => Layout { protocol: 6, source: 8, destination: 24, length: 40, icmp: 58 },
        }
    }
}

struct Layout {
    protocol: u32,
    source: u32,
    destination: u32,
    length: u32,
    icmp: u8,
}

/// One change of the transaction.
#[derive(Debug)]
pub(super) enum Change {
    /// Makes the table; refused if there is one of that name.
    NewTable(Family, Tie),
    /// Makes the table if it is not there.
    AnyTable(Family),
    /// Takes it away with all that is in it.
    DelTable(Family),
    /// Makes the chain of a hook.
    Chain(Family, usize),
    /// A rule of that chain.
    Rule(Family, usize, Vec<Expression>),
}

/// A part of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expression {
    /// Loads the number of the transport protocol.
    LoadProtocol,
    /// Loads bytes behind the start of the network (1) or transport (2) header.
    Load { base: u32, at: u32, length: u32 },
    /// Goes on if what was loaded compares like this: `NFT_CMP_EQ` 0, `NFT_CMP_NEQ` 1, `NFT_CMP_LT` 2.
    Compare(u32, Vec<u8>),
}

/// All that a trace of `flow` needs; `afresh`: without what an earlier one left.
pub(super) fn changes(flow: &Flow, tie: Tie) -> Vec<Change> {
    let mut changes = Vec::new();
    for family in Family::of(flow) {
        if tie == Tie::Plain {
            // What an earlier one left goes; a table that is not there cannot be deleted.
            changes.extend([Change::AnyTable(family), Change::DelTable(family)]);
        }
        changes.push(Change::NewTable(family, tie));
        for hook in 0..HOOKS.len() {
            changes.push(Change::Chain(family, hook));
            let rules = flow.bounded_ends().flat_map(|end| matches(flow.protocol, end, family));
            changes.extend(rules.map(|rule| Change::Rule(family, hook, rule)));
        }
    }
    changes
}

/// Takes the tables of a trace away.
pub(super) fn farewell(flow: &Flow) -> Vec<Change> {
    Family::of(flow).into_iter().map(Change::DelTable).collect()
}

/// What a packet of that end looks like: as its source, as its destination, and quoted as each in an ICMP error.
fn matches(protocol: u8, end: &End, family: Family) -> Vec<Vec<Expression>> {
    let octets = match (end.address, family) {
        (IpAddr::V4(address), Family::V4) => address.octets().to_vec(),
        (IpAddr::V6(address), Family::V6) => address.octets().to_vec(),
        _ => return Vec::new(),
    };
    let layout = family.layout();
    let length = u32::try_from(octets.len()).unwrap_or_default();
    let mut rules = Vec::new();
    for (address_at, port_at) in [(layout.source, 0), (layout.destination, 2)] {
        let mut own = vec![LoadProtocol, Compare(0, vec![protocol])];
        own.extend([Load { base: 1, at: address_at, length }, Compare(0, octets.clone())]);
        let mut quoted = is_error(&layout);
        quoted.extend([
            Load { base: 2, at: QUOTED + layout.protocol, length: 1 },
            Compare(0, vec![protocol]),
            Load { base: 2, at: QUOTED + address_at, length },
            Compare(0, octets.clone()),
        ]);
        if let Some(port) = end.port {
            let port = Compare(0, port.to_be_bytes().to_vec());
            own.extend([Load { base: 2, at: port_at, length: 2 }, port.clone()]);
            // Options in the quoted header would be before the ports; senders of such packets are not found by port.
            quoted.extend([Load { base: 2, at: QUOTED + layout.length + port_at, length: 2 }, port]);
        }
        rules.extend([own, quoted]);
    }
    rules
}

/// ICMP's errors are what is no echo and its answer; those of `ICMPv6` are below 128.
fn is_error(layout: &Layout) -> Vec<Expression> {
    let kind = Load { base: 2, at: 0, length: 1 };
    let mut error = vec![LoadProtocol, Compare(0, vec![layout.icmp]), kind];
    if layout.icmp == 1 {
        error.extend([Compare(1, vec![8]), Compare(1, vec![0])]);
    } else {
        error.push(Compare(2, vec![128]));
    }
    error
}

impl Change {
    /// Appends the message and says its kind and its flags.
    pub(super) fn write(&self, table: &str, body: &mut Vec<u8>) -> (u16, u16) {
        let (Self::NewTable(family, _)
        | Self::AnyTable(family)
        | Self::DelTable(family)
        | Self::Chain(family, _)
        | Self::Rule(family, ..)) = self;
        // `struct nfgenmsg`.
        body.extend([family.number(), 0, 0, 0]);
        // The table's name is attribute 1 of all.
        text(body, 1, table);
        match self {
            Self::NewTable(_, tie) => {
                number(body, 2, if *tie == Tie::Owned { TABLE_OWNED } else { 0 });
                (NEWTABLE, NLM_F_CREATE | NLM_F_EXCL)
            }
            Self::AnyTable(_) => (NEWTABLE, NLM_F_CREATE),
            Self::DelTable(_) => (DELTABLE, 0),
            Self::Chain(_, hook) => {
                let (name, hook) = HOOKS[*hook];
                text(body, 3, name);
                nested(body, 4, |body| {
                    number(body, 1, hook);
                    number(body, 2, PRIORITY.cast_unsigned());
                });
                text(body, 7, "filter");
                (NEWCHAIN, NLM_F_CREATE)
            }
            Self::Rule(_, hook, expressions) => {
                text(body, 2, HOOKS[*hook].0);
                nested(body, 4, |body| {
                    expressions.iter().for_each(|expression| expression.write(body));
                    trace_and_accept(body);
                });
                (NEWRULE, NLM_F_CREATE | APPEND)
            }
        }
    }
}

impl Expression {
    fn write(&self, body: &mut Vec<u8>) {
        match self {
            LoadProtocol => element(body, "meta", |body| {
                number(body, 1, REGISTER);
                number(body, 2, META_PROTOCOL);
            }),
            Load { base, at, length } => element(body, "payload", |body| {
                for (kind, value) in (1..).zip([REGISTER, *base, *at, *length]) {
                    number(body, kind, value);
                }
            }),
            Compare(operator, value) => element(body, "cmp", |body| {
                number(body, 1, REGISTER);
                number(body, 2, *operator);
                nested(body, 3, |body| attribute(body, 1, value));
            }),
        }
    }
}

/// `meta nftrace set 1 accept`.
fn trace_and_accept(body: &mut Vec<u8>) {
    element(body, "immediate", |body| {
        number(body, 1, REGISTER);
        nested(body, 2, |body| attribute(body, 1, &[1]));
    });
    element(body, "meta", |body| {
        number(body, 2, META_TRACE);
        number(body, 3, REGISTER);
    });
    element(body, "immediate", |body| {
        number(body, 1, REGISTER_VERDICT);
        // `NFTA_DATA_VERDICT` with `NFTA_VERDICT_CODE`: `NF_ACCEPT`.
        nested(body, 2, |body| nested(body, 2, |body| number(body, 1, 1)));
    });
}

/// `NFTA_LIST_ELEM` with `NFTA_EXPR_NAME` and `NFTA_EXPR_DATA`.
fn element(body: &mut Vec<u8>, name: &str, data: impl FnOnce(&mut Vec<u8>)) {
    nested(body, 1, |body| {
        text(body, 1, name);
        nested(body, 2, data);
    });
}

fn text(body: &mut Vec<u8>, kind: u16, value: &str) {
    attribute(body, kind, &[value.as_bytes(), b"\0"].concat());
}

/// Numbers of nftables are in the network's order.
fn number(body: &mut Vec<u8>, kind: u16, value: u32) {
    attribute(body, kind, &value.to_be_bytes());
}

fn attribute(body: &mut Vec<u8>, kind: u16, value: &[u8]) {
    wrapped(body, kind, |body| body.extend(value));
}

fn nested(body: &mut Vec<u8>, kind: u16, content: impl FnOnce(&mut Vec<u8>)) {
    wrapped(body, kind | NESTED, content);
}

/// An attribute: its length and kind in the host's order, its content, room up to the next multiple of 4.
fn wrapped(body: &mut Vec<u8>, kind: u16, content: impl FnOnce(&mut Vec<u8>)) {
    let start = body.len();
    body.extend([0, 0]);
    body.extend(kind.to_ne_bytes());
    content(body);
    // Rules are a few hundred bytes long.
    let length = u16::try_from(body.len() - start).unwrap_or(u16::MAX);
    body[start..start + 2].copy_from_slice(&length.to_ne_bytes());
    body.resize(start + (body.len() - start).next_multiple_of(4), 0);
}
