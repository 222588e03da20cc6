//! What is asked of a host that watches packets pass, and what it tells as they do.

use std::net::IpAddr;

use byway_wire::LinkType;
use serde::{Deserialize, Serialize};

use crate::evidence::{CounterChange, Flow, KernelDrop, TracedPacket};
use crate::mysql::said::{Said, Unsaid};

/// An order to watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// Its number, by which it can be stopped; of the asker's choice.
    pub id: u64,
    /// Which packets.
    pub what: What,
    /// Of TCP, whether only the segments are told that start or refuse a connection.
    pub starts_only: bool,
    /// Where; their places in this list are how events name them.
    pub spots: Vec<Spot>,
    /// Whether the rules that these packets meet are traced, for [`What::Flow`].
    pub rules: bool,
    /// Whether the kernel's own drops of these packets are told, for [`What::Flow`].
    pub drops: bool,
    /// Whether the statements of `MySQL` in these packets are told too. Who does not know of it tells none, and
    /// [`Event::Ready`] says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statements: Option<Statements>,
    /// How much at most.
    pub limits: Limits,
}

/// Which statements are told.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Statements {
    /// The servers' ports, 16 at most; without any 3306, and whatever speaks `MySQL` on another.
    pub ports: Vec<u16>,
    /// Whether literals are told: they are `?` unless somebody asks for them.
    pub unmasked: bool,
}

/// An end to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopOrder {
    /// Its number.
    pub id: u64,
}

/// Which packets are watched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// Those of one conversation.
    Flow(Flow),
    /// Those that a filter takes, as classic BPF for each kind of link: code, jt, jf, k.
    Program {
        /// For links with an Ethernet header.
        ethernet: Vec<(u16, u8, u8, u32)>,
        /// For links without one.
        raw_ip: Vec<(u16, u8, u8, u32)>,
    },
}

/// An interface to watch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spot {
    /// Inside of which network namespace, by its number on that host; the host's own if none is named.
    pub inside: Option<u64>,
    /// The interface, by its name there.
    pub interface: String,
}

/// Limits that the watching host keeps, whatever becomes of who asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// How long, in milliseconds.
    pub millis: u64,
    /// How many packets.
    pub packets: u64,
    /// How many bytes of packets are told.
    pub bytes: u64,
    /// How many bytes of each.
    pub snaplen: u32,
}

/// Watch points of one order.
pub const SPOTS_MAX: usize = 64;

/// What no order may exceed.
pub const LIMITS_MAX: Limits =
    Limits { millis: 3_600_000, packets: 10_000_000, bytes: 16 << 30, snaplen: 65_600 };

impl Limits {
    /// Not more than [`LIMITS_MAX`].
    #[must_use]
    pub fn bounded(self) -> Self {
        Self {
            millis: self.millis.min(LIMITS_MAX.millis),
            packets: self.packets.min(LIMITS_MAX.packets),
            bytes: self.bytes.min(LIMITS_MAX.bytes),
            snaplen: self.snaplen.min(LIMITS_MAX.snaplen),
        }
    }
}

/// What a watching host tells.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// From now on every packet is seen.
    Ready {
        /// Places that cannot be watched, and why.
        blind: Vec<(Spot, String)>,
        /// How large a packet each place takes, in the order of the places; none where that is not known.
        #[serde(default)]
        mtus: Vec<Option<u32>>,
        /// Why rules are not traced, if they were to be.
        no_rules: Option<String>,
        /// Why the kernel's drops are not told, if they were to be.
        no_drops: Option<String>,
        /// Whether statements are told, if they were to be.
        #[serde(default)]
        statements: bool,
    },
    /// A packet passed.
    Frame(Frame),
    /// A statement passed, and its answer, or it is known that there is none.
    Statement(Said),
    /// A packet met rules.
    Rules(TracedPacket),
    /// A rule of iptables-legacy that ends packets counted some.
    Counter(CounterChange),
    /// The kernel dropped a packet.
    Drop(KernelDrop),
    /// The end; nothing comes after it.
    End {
        /// Packets that passed and are not told, because they came too fast.
        lost: u64,
        /// Messages about rules that were lost, at least.
        rules_lost: u64,
        /// What is not told of statements.
        #[serde(default)]
        unsaid: Unsaid,
        /// Why it ended.
        why: Ending,
    },
}

/// Why watching ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// Who asked has seen enough.
    Asked,
    /// The time was up.
    Time,
    /// The limit of packets or bytes was reached.
    Limit,
    /// Nobody listens any more.
    Gone,
}

/// A packet that passed a watch point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Where: its place in the order.
    pub spot: usize,
    /// When, in nanoseconds since 1970 by that host's clock.
    pub time_ns: u64,
    /// Whether it went out there (or else came in).
    pub outgoing: bool,
    /// The VLAN tag that the kernel had taken out: its `EtherType` and its value.
    pub vlan: Option<(u16, u16)>,
    /// Whether it starts with an Ethernet header.
    pub ethernet: bool,
    /// How long it was, in bytes.
    pub original_len: usize,
    /// Its first bytes.
    #[serde(with = "hex")]
    pub bytes: Vec<u8>,
}

impl Frame {
    /// How its bytes start.
    #[must_use]
    pub fn link(&self) -> LinkType {
        if self.ethernet { LinkType::Ethernet } else { LinkType::RawIp }
    }
}

/// A probe to be sent from inside of a network namespace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeOrder {
    /// Inside of which, by its number on that host; the host's own if none is named.
    pub inside: Option<u64>,
    /// How it goes.
    pub kind: ProbeKind,
    /// With which source address, if it is to be one of several.
    pub from: Option<IpAddr>,
    /// To whom.
    pub to: IpAddr,
    /// To which port; not for ICMP.
    pub port: u16,
    /// How many.
    pub count: u16,
    /// From one to the next, in milliseconds.
    pub every_millis: u64,
    /// Bytes of data in each.
    pub size: u16,
    /// Whether routers may not cut it into fragments.
    pub dont_fragment: bool,
    /// How many routers it may pass; the namespace's own default if none.
    pub ttl: Option<u8>,
    /// What its data start with, so that it is known again.
    pub nonce: u64,
    /// How long an answer to the last one is awaited, in milliseconds.
    pub wait_millis: u64,
}

/// Probes of one order.
pub const PROBES_MAX: u16 = 1000;

/// How long one order to probe may take in all, in milliseconds, and so every part of it.
pub const PROBING_MILLIS_MAX: u64 = 600_000;

impl ProbeOrder {
    /// Not more than [`PROBES_MAX`], and not longer than [`PROBING_MILLIS_MAX`]: the waits are cut.
    #[must_use]
    pub fn bounded(mut self) -> Self {
        self.count = self.count.clamp(1, PROBES_MAX);
        self.wait_millis = self.wait_millis.min(PROBING_MILLIS_MAX / 2);
        self.every_millis =
            self.every_millis.min((PROBING_MILLIS_MAX - self.wait_millis) / u64::from(self.count));
        self
    }
}

/// How a probe goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProbeKind {
    /// An echo request.
    Icmp,
    /// The start of a connection, which is closed at once when it is answered.
    Tcp,
    /// A datagram.
    Udp,
}

/// What became of probes, as their sender knows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProbeReport {
    /// Each one, in their order.
    pub sent: Vec<Sent>,
}

/// One probe.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The sender's own port.
    pub port: u16,
    /// What the sender's own kernel said, if it refused it or heard an error: `Network is unreachable (os error 101)`.
    pub error: Option<String>,
    /// The number of that error.
    pub errno: Option<i32>,
    /// Whether an answer came.
    pub answered: bool,
}

/// Bytes in JSON are hexadecimal digits.
pub(crate) mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |nibble: u8| char::from(DIGITS[usize::from(nibble & 15)]);
        to.serialize_str(&bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(*byte)]).collect::<String>())
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
            return Err(D::Error::custom("bytes have an even number of hexadecimal digits"));
        };
        let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|nibble| u8::try_from(nibble).ok());
        let byte = |[high, low]: &[u8; 2]| Some(nibble(*high)? << 4 | nibble(*low)?);
        pairs.iter().map(byte).collect::<Option<_>>().ok_or_else(|| D::Error::custom("not hexadecimal"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "for tests only")]

    use serde_json::json;

    use super::*;

    #[test]
    fn hosts_that_know_nothing_of_statements_understand_those_that_do_and_are_understood() {
        let limits = Limits { millis: 1, packets: 1, bytes: 1, snaplen: 1 };
        let mut order = Order {
            id: 1,
            what: What::Program { ethernet: Vec::new(), raw_ip: Vec::new() },
            starts_only: false,
            spots: Vec::new(),
            rules: false,
            drops: false,
            statements: None,
            limits,
        };
        let told = serde_json::to_value(&order).unwrap();
        assert_eq!(told.get("statements"), None, "an order without them is the same as ever");
        assert_eq!(serde_json::from_value::<Order>(told).unwrap(), order);
        order.statements = Some(Statements { ports: vec![3306], unmasked: false });
        assert_eq!(serde_json::from_value::<Order>(serde_json::to_value(&order).unwrap()).unwrap(), order);

        let ready = json!({ "event": "ready", "blind": [], "mtus": [], "no_rules": null, "no_drops": null });
        let Event::Ready { statements, .. } = serde_json::from_value(ready).unwrap() else { panic!("ready") };
        assert!(!statements, "who does not say so tells none");
        let end = json!({ "event": "end", "lost": 0, "rules_lost": 0, "why": "asked" });
        let Event::End { unsaid, .. } = serde_json::from_value(end).unwrap() else { panic!("the end") };
        assert_eq!(unsaid, Unsaid::default());
    }
}
