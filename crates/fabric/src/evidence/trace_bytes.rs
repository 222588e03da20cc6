//! Decodes the messages in which nftables tells how rules judge a packet (`NFT_MSG_TRACE`).
//!
//! They are made by `net/netfilter/nf_tables_trace.c`. The first message of each base chain shows the packet and its
//! interfaces; the later ones only the rule. A name that is too long or an attribute that is cut makes the message
//! malformed; what is not known is passed over.

use byway_wire::{IcmpMessage, Packet, Transport};

use super::{PacketSummary, Verdict};

/// `NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_TRACE`.
pub const TRACE: u16 = 10 << 8 | 17;
/// Names of tables and chains (`NFT_NAME_MAXLEN`).
const NAME_BYTES_MAX: usize = 256;
/// `struct nfgenmsg`.
const HEADER_BYTES: usize = 4;

/// `NFTA_TRACE_*`.
mod attribute {
    pub(super) const TABLE: u16 = 1;
    pub(super) const CHAIN: u16 = 2;
    pub(super) const HANDLE: u16 = 3;
    pub(super) const KIND: u16 = 4;
    pub(super) const VERDICT: u16 = 5;
    pub(super) const ID: u16 = 6;
    pub(super) const NETWORK: u16 = 8;
    pub(super) const TRANSPORT: u16 = 9;
    pub(super) const IIF: u16 = 10;
    pub(super) const OIF: u16 = 12;
    pub(super) const POLICY: u16 = 16;
}

/// What is said of a packet in one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceMessage {
    /// The kernel's number for the packet. It may come again for a later packet of the same flow.
    pub id: u32,
    /// The family of the table, as nft says it.
    pub family: &'static str,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// The rule, if it was one.
    pub handle: Option<u64>,
    /// What the rule or the policy said.
    pub verdict: Verdict,
    /// The index of the interface that it came in by, if that is told.
    pub iif: Option<u32>,
    /// The index of the interface that it leaves by, if that is told.
    pub oif: Option<u32>,
    /// The packet, if it is shown.
    pub packet: Option<PacketSummary>,
    /// What of a packet that is shown neither routers nor NAT change.
    pub likeness: Option<Likeness>,
}

/// What tells a packet from others of its flow, as far as its headers do: the protocol, IPv4's identification, an echo's
/// number, TCP's numbers and flags, UDP's length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Likeness(u8, Option<u32>, u64);

impl Likeness {
    fn of(packet: &Packet<'_>) -> Self {
        let number = match packet.transport {
            Transport::Icmp(icmp) => match icmp.message {
                IcmpMessage::EchoRequest(echo) | IcmpMessage::EchoReply(echo) => {
                    u64::from(icmp.kind) << 32 | u64::from(echo.sequence)
                }
                IcmpMessage::Error(_) | IcmpMessage::Other(_) => {
                    u64::from(icmp.kind) << 32 | u64::from(icmp.code)
                }
            },
            Transport::Tcp(tcp) => {
                u64::from(tcp.sequence) << 32 | u64::from(tcp.acknowledgement ^ u32::from(tcp.flags.0))
            }
            Transport::TcpStart(start) => u64::from(start.sequence) << 32,
            Transport::Udp(udp) => u64::from(udp.length),
            Transport::Other(_) => 0,
        };
        Self(packet.protocol, packet.identification, number)
    }
}

/// A message that is no trace message as the kernel makes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a trace message of nftables: {0}")]
pub struct Malformed(&'static str);

/// Reads the body of a message (behind `struct nlmsghdr`).
///
/// # Errors
/// What is missing or malformed.
pub fn read(body: &[u8]) -> Result<TraceMessage, Malformed> {
    let (header, attributes) = body.split_at_checked(HEADER_BYTES).ok_or(Malformed("no header"))?;
    let mut parts = Parts::default();
    for attribute in Attributes(attributes) {
        let (kind, value) = attribute?;
        parts.take(kind, value)?;
    }
    let (packet, likeness) =
        parts.network.and_then(|network| shown(network, parts.transport.unwrap_or_default())).unzip();
    Ok(TraceMessage {
        id: parts.id.ok_or(Malformed("no packet number"))?,
        family: family(header[0]),
        table: parts.table.ok_or(Malformed("no table"))?,
        chain: parts.chain.ok_or(Malformed("no chain"))?,
        handle: parts.handle,
        verdict: parts.verdict.ok_or(Malformed("no verdict"))?,
        iif: parts.iif,
        oif: parts.oif,
        packet,
        likeness,
    })
}

#[derive(Default)]
struct Parts<'a> {
    id: Option<u32>,
    table: Option<String>,
    chain: Option<String>,
    handle: Option<u64>,
    verdict: Option<Verdict>,
    iif: Option<u32>,
    oif: Option<u32>,
    network: Option<&'a [u8]>,
    transport: Option<&'a [u8]>,
}

impl<'a> Parts<'a> {
    fn take(&mut self, kind: u16, value: &'a [u8]) -> Result<(), Malformed> {
        match kind {
            attribute::TABLE => self.table = Some(name(value)?),
            attribute::CHAIN => self.chain = Some(name(value)?),
            attribute::HANDLE => {
                let bytes = value.try_into().map_err(|_| Malformed("a handle is 8 bytes"))?;
                self.handle = Some(u64::from_be_bytes(bytes));
            }
            // `NFT_TRACETYPE_RETURN`: a chain came to its end. Its verdict says "continue".
            attribute::KIND if word(value)? == 2 => self.verdict = Some(Verdict::Return),
            attribute::VERDICT if self.verdict.is_none() => self.verdict = Some(verdict(value)?),
            attribute::POLICY => {
                self.verdict = Some(match word(value)? {
                    0 => Verdict::PolicyDrop,
                    1 => Verdict::PolicyAccept,
                    other => Verdict::Unknown(format!("policy {other}")),
                });
            }
            attribute::ID => self.id = Some(word(value)?),
            attribute::NETWORK => self.network = Some(value),
            attribute::TRANSPORT => self.transport = Some(value),
            attribute::IIF => self.iif = Some(word(value)?),
            attribute::OIF => self.oif = Some(word(value)?),
            _ => {}
        }
        Ok(())
    }
}

/// `NFTA_VERDICT_CODE` and `NFTA_VERDICT_CHAIN`; the codes are those of `linux/netfilter.h` and `nf_tables.h`.
fn verdict(nested: &[u8]) -> Result<Verdict, Malformed> {
    let (mut code, mut chain) = (None, None);
    for attribute in Attributes(nested) {
        match attribute? {
            (1, value) => code = Some(word(value)?.cast_signed()),
            (2, value) => chain = Some(name(value)?),
            _ => {}
        }
    }
    let code = code.ok_or(Malformed("a verdict without a code"))?;
    let chain = || chain.ok_or(Malformed("a jump without a chain"));
    Ok(match code {
        // NFT_CONTINUE and NFT_BREAK.
        -1 | -2 => Verdict::Continue,
        -3 => Verdict::Jump(chain()?),
        -4 => Verdict::Goto(chain()?),
        -5 => Verdict::Return,
        // The upper half holds an errno or the number of a queue.
        code => match code & 0xff {
            0 => Verdict::Drop,
            1 | 5 => Verdict::Accept,
            2 => Verdict::Stolen,
            3 => Verdict::Queue,
            _ => Verdict::Unknown(code.to_string()),
        },
    })
}

/// Joins the two headers that the kernel shows to what can be read of the packet.
fn shown(network: &[u8], transport: &[u8]) -> Option<(PacketSummary, Likeness)> {
    let first = *network.first()?;
    let is_next = match first >> 4 {
        4 => network.len() == usize::from(first & 15) * 4,
        // Behind extension headers, of which nothing is shown, the transport header would be taken for the first of them.
        _ => network.get(6).is_some_and(|next| matches!(next, 6 | 17 | 58 | 132)),
    };
    let bytes = if is_next { [network, transport].concat() } else { network.to_vec() };
    let packet = Packet::decode(&bytes).ok()?;
    Some((PacketSummary::of(&packet), Likeness::of(&packet)))
}

/// `NFPROTO_*` of `linux/netfilter.h`.
fn family(number: u8) -> &'static str {
    match number {
        1 => "inet",
        2 => "ip",
        3 => "arp",
        5 => "netdev",
        7 => "bridge",
        10 => "ip6",
        _ => "unknown",
    }
}

fn word(value: &[u8]) -> Result<u32, Malformed> {
    let bytes = value.try_into().map_err(|_| Malformed("a number is 4 bytes"))?;
    Ok(u32::from_be_bytes(bytes))
}

fn name(value: &[u8]) -> Result<String, Malformed> {
    if value.len() > NAME_BYTES_MAX {
        return Err(Malformed("a name of more than 256 bytes"));
    }
    let text = value.strip_suffix(b"\0").unwrap_or(value);
    String::from_utf8(text.to_vec()).map_err(|_| Malformed("a name that is no text"))
}

/// Netlink attributes: length and kind in the host's order, the value, and room up to the next multiple of 4.
struct Attributes<'a>(&'a [u8]);

impl<'a> Iterator for Attributes<'a> {
    type Item = Result<(u16, &'a [u8]), Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let bytes = std::mem::take(&mut self.0);
        let [l0, l1, k0, k1, ..] = *bytes else {
            return (!bytes.is_empty()).then_some(Err(Malformed("an attribute is cut")));
        };
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        let Some(value) = bytes.get(4..length) else {
            return Some(Err(Malformed("an attribute with a wrong length")));
        };
        self.0 = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        // The upper two bits are flags (nested, byte order).
        Some(Ok((u16::from_ne_bytes([k0, k1]) & 0x3fff, value)))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn nla(kind: u16, value: &[u8]) -> Vec<u8> {
        let length = u16::try_from(4 + value.len()).unwrap();
        let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
        bytes.extend(value);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(parts: &[(u16, Vec<u8>)]) -> Vec<u8> {
        let mut body = vec![2, 0, 0, 0];
        parts.iter().for_each(|(kind, value)| body.extend(nla(*kind, value)));
        body
    }

    fn rule() -> Vec<u8> {
        let network =
            [&[0x45, 0, 0, 60, 0, 1, 0, 0, 63, 6, 0, 0][..], &[10, 0, 0, 1], &[10, 0, 0, 2]].concat();
        let transport = [&[0x30, 0x39, 0, 80][..], &[0; 8], &[0x50, 2, 0, 1, 0, 0, 0, 0]].concat();
        let jump = [nla(1, &(-3_i32).to_be_bytes()), nla(2, b"WARD\0")].concat();
        message(&[
            (attribute::TABLE, b"guard\0".to_vec()),
            (attribute::ID, 7_u32.to_be_bytes().to_vec()),
            (attribute::KIND, 3_u32.to_be_bytes().to_vec()),
            (attribute::CHAIN, b"forward\0".to_vec()),
            (attribute::HANDLE, 5_u64.to_be_bytes().to_vec()),
            (attribute::VERDICT | 0x8000, jump),
            (attribute::IIF, 2_u32.to_be_bytes().to_vec()),
            (attribute::NETWORK, network),
            (attribute::TRANSPORT, transport),
        ])
    }

    #[test]
    fn a_rules_message_names_the_rule_and_shows_the_packet() {
        let told = read(&rule()).unwrap();
        assert_eq!((told.family, told.table.as_str(), told.chain.as_str()), ("ip", "guard", "forward"));
        assert_eq!(
            (told.handle, told.verdict, told.iif),
            (Some(5), Verdict::Jump("WARD".to_owned()), Some(2))
        );
        assert_eq!(told.packet.unwrap().text, "10.0.0.1:12345 > 10.0.0.2:80 TCP SYN seq 0 win 1 ttl 63");
    }

    #[test]
    fn a_policy_and_the_end_of_a_chain_are_told_apart_from_rules() {
        let of = |kind: u32, code: u32, policy: Option<u32>| {
            let mut parts = vec![
                (attribute::TABLE, b"t\0".to_vec()),
                (attribute::ID, vec![0; 4]),
                (attribute::KIND, kind.to_be_bytes().to_vec()),
                (attribute::CHAIN, b"c\0".to_vec()),
                (attribute::VERDICT, nla(1, &code.to_be_bytes())),
            ];
            parts.extend(policy.map(|policy| (attribute::POLICY, policy.to_be_bytes().to_vec())));
            read(&message(&parts)).unwrap().verdict
        };
        assert_eq!(of(1, 1, Some(0)), Verdict::PolicyDrop);
        assert_eq!(of(1, 1, Some(1)), Verdict::PolicyAccept);
        assert_eq!(of(2, u32::MAX, None), Verdict::Return);
        assert_eq!(of(3, u32::MAX, None), Verdict::Continue);
        assert_eq!(of(3, 0, None), Verdict::Drop);
        assert_eq!(of(3, 0x0001_0003, None), Verdict::Queue);
        assert_eq!(of(3, 77, None), Verdict::Unknown("77".to_owned()));
    }

    #[test]
    fn cut_and_bent_messages_are_refused_or_read_without_a_panic() {
        let whole = rule();
        for length in 0..whole.len() {
            let _ = read(&whole[..length]);
        }
        for at in 0..whole.len() {
            for lie in [0, 1, 3, 4, 127, 255] {
                let mut bent = whole.clone();
                bent[at] = lie;
                let _ = read(&bent);
            }
        }
        assert_eq!(read(&[]), Err(Malformed("no header")));
        assert_eq!(read(&[2, 0, 0, 0, 9, 0]), Err(Malformed("an attribute is cut")));
        assert_eq!(read(&[2, 0, 0, 0, 9, 0, 1, 0]), Err(Malformed("an attribute with a wrong length")));
        assert_eq!(read(&[2, 0, 0, 0]), Err(Malformed("no packet number")));
    }
}
