//! Packets that the kernel let go, with its own reason (`enum skb_drop_reason`, `include/net/dropreason-core.h`).

use serde::{Deserialize, Serialize};

use super::PacketSummary;

/// Bytes that are kept of a packet, from its IP header: enough for an ICMP error about a TCP segment over IPv6.
pub const HEAD_BYTES_MAX: usize = 128;

/// One packet that the kernel let go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelDrop {
    /// The kernel's reason, by its name there without `SKB_DROP_REASON_`: `NETFILTER_DROP`, `IP_RPFILTER`; a number
    /// for one that the kernel does not name.
    pub reason: String,
    /// The function that let it go, if the kernel's symbols may be read.
    pub location: Option<String>,
    /// The network namespace, by its inode.
    pub namespace: u32,
    /// The interface that the packet was at; none for one of the host's own that had not got so far.
    pub interface: Option<String>,
    /// When, by this host's clock, in nanoseconds since 1970.
    pub time_ns: u64,
    /// The packet; none if not even its addresses could be read.
    pub packet: Option<PacketSummary>,
    /// Its first bytes from the IP header, at most [`HEAD_BYTES_MAX`].
    pub head: Vec<u8>,
}

impl KernelDrop {
    /// Whether this is how the kernel tidies up after a packet that arrived: an echo's answer is handed to the sockets
    /// that want one as a copy, and the packet itself then has no socket.
    #[must_use]
    pub fn is_harmless(&self) -> bool {
        let is_reply = |packet: &PacketSummary| {
            matches!((packet.protocol, packet.icmp.map(|icmp| icmp.kind)), (1, Some(0)) | (58, Some(129)))
        };
        self.reason == "NO_SOCKET" && self.packet.as_ref().is_some_and(is_reply)
    }
}

impl KernelDrop {
    /// What happened, as a sentence: of the reason, or of the place where the kernel gives no reason.
    #[must_use]
    pub fn sentence(&self) -> Option<&'static str> {
        match (self.reason.as_str(), self.location.as_deref()) {
            ("NOT_SPECIFIED", Some("ip_error")) => Some(
                "this host has no route for it, or one that refuses or drops it, or does not forward there",
            ),
            ("NOT_SPECIFIED", Some("ip6_pkt_drop" | "ip6_pkt_discard" | "ip6_pkt_prohibit")) => {
                Some("this host has no route for it, or one that refuses it")
            }
            ("NOT_SPECIFIED", Some("dst_discard" | "dst_discard_out")) => {
                Some("a route drops it (blackhole)")
            }
            (reason, _) => sentence(reason),
        }
    }
}

/// What a reason of the kernel's means, as a sentence; none for those that say nothing to somebody who runs hosts.
#[must_use]
pub fn sentence(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "NETFILTER_DROP" => "a firewall rule or policy dropped it",
        "IP_RPFILTER" => "its source is not reached back by that interface (rp_filter)",
        "IP_LOCAL_SOURCE" => "its source is an address of this host itself",
        "IP_INVALID_SOURCE" => "its source can be nobody's address",
        "IP_LOCALNET" => "a loopback address came from outside",
        "IP_INVALID_DEST" => "its destination can be nobody's address",
        "IP_OUTNOROUTES" => "this host has no route to its destination",
        "IP_INNOROUTES" => "this host has no route for it, or does not forward",
        "IP_INADDRERRORS" => "this host cannot deliver to its destination: no route, or a route that refuses",
        "TTL_EXCEEDED" | "IP_TTL_EXCEEDED" => {
            "its TTL ended here: the way is a circle, or longer than the TTL"
        }
        "NO_SOCKET" => "nobody listens at its port here",
        "NEIGH_FAILED" => "the next hop does not answer: it cannot be found on the link",
        "NEIGH_QUEUEFULL" => "too many packets waited for the next hop to be found",
        "NEIGH_CREATEFAIL" => "the kernel has no room for another neighbour",
        "NEIGH_DEAD" => "the next hop's entry was just removed",
        "NEIGH_HH_FILLFAIL" => "the next hop's link address does not fit the interface",
        "PKT_TOO_BIG" => "it is larger than the MTU of the way and must not be cut",
        "OTHERHOST" => "its link address is that of another host",
        "UNICAST_IN_L2_MULTICAST" => "it was sent to one address in a frame to many",
        "IP_CSUM" => "the checksum of its IP header is wrong",
        "TCP_CSUM" => "its TCP checksum is wrong",
        "UDP_CSUM" => "its UDP checksum is wrong",
        "ICMP_CSUM" => "its ICMP checksum is wrong",
        "IP_INHDR" => "its IP header is malformed",
        "IP_NOPROTO" => "nobody here speaks its protocol",
        "SOCKET_FILTER" => "the filter of the socket did not want it",
        "SOCKET_RCVBUFF" => "the receive buffer of the socket is full",
        "SOCKET_BACKLOG" => "the program takes packets too slowly: its backlog is full",
        "TCP_LISTEN_OVERFLOW" | "LISTEN_OVERFLOW" => {
            "too many connections wait for the program to accept them"
        }
        "TCP_FLAGS" | "TCP_INVALID_SEQUENCE" | "TCP_OLD_SEQUENCE" | "TCP_OLD_DATA" | "TCP_OFOMERGE" => {
            "it does not fit its TCP connection (a repetition, most likely)"
        }
        "TCP_CLOSE" | "TCP_RESET" | "TCP_INVALID_SYN" | "TCP_ABORT_ON_DATA" => "its TCP connection is over",
        "QDISC_DROP" | "QDISC_CONGESTED" | "QDISC_OVERLIMIT" => "the queue of the interface is full",
        "TC_INGRESS" | "TC_EGRESS" | "TC_RECLASSIFY_LOOP" => "a program or filter of tc dropped it",
        "XDP" => "an XDP program dropped it",
        "BPF_CGROUP_EGRESS" => "a BPF program of its cgroup dropped it",
        "DEV_READY" => "the interface is down",
        "DEV_HDR" => "the interface could not write its link header",
        "FULL_RING" => "the ring of the interface is full",
        "UNHANDLED_PROTO" => "nobody here speaks what the frame holds",
        "XFRM_POLICY" => "an IPsec policy refused it",
        "FRAG_REASM_TIMEOUT" => "not all of its fragments came in time",
        "FRAG_TOO_FAR" | "DUP_FRAG" => "its fragments do not fit together",
        "BRIDGE_INGRESS_STP_STATE" => "the port of the bridge does not forward (spanning tree)",
        "BRIDGE_NON_FORWARDING_STATE" => "the port of the bridge does not forward",
        "NO_TX_TARGET" => "the bridge has no port for it",
        "LOCAL_MAC" | "MAC_INVALID_SOURCE" => "the source of its frame cannot be right",
        "IPV6DISABLED" => "IPv6 is switched off at that interface",
        "IPV6_BAD_EXTHDR" => "its IPv6 extension headers are malformed",
        "IPV6_NDISC_FRAG" | "IPV6_NDISC_HOP_LIMIT" | "IPV6_NDISC_BAD_OPTIONS" | "IPV6_NDISC_BAD_CODE" => {
            "it is a malformed neighbour message"
        }
        "CPU_BACKLOG" => "this host is too busy: the backlog of a processor is full",
        "NOMEM" | "PROTO_MEM" => "this host has no memory for it",
        "NOT_SPECIFIED" => "the kernel does not say why; where is known only",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_a_ping_is_tidied_up_and_not_dropped() {
        let reply = [
            &[0x45, 0, 0, 28, 0, 0, 0, 0, 64, 1, 0, 0, 10, 0, 0, 2, 10, 0, 0, 1][..],
            &[0, 0, 0, 0, 0, 7, 0, 1],
        ];
        let drop = |reason: &str, head: Vec<u8>| KernelDrop {
            reason: reason.to_owned(),
            location: None,
            namespace: 1,
            interface: None,
            time_ns: 0,
            packet: PacketSummary::read(&head),
            head,
        };
        assert!(drop("NO_SOCKET", reply.concat()).is_harmless());
        assert!(!drop("NETFILTER_DROP", reply.concat()).is_harmless());
        let request = [reply[0], &[8, 0, 0, 0, 0, 7, 0, 1]].concat();
        assert!(!drop("NO_SOCKET", request).is_harmless());
        assert!(!drop("NO_SOCKET", vec![]).is_harmless());
    }

    #[test]
    fn what_matters_has_a_sentence() {
        for reason in
            ["NETFILTER_DROP", "IP_RPFILTER", "NEIGH_FAILED", "NO_SOCKET", "IP_INNOROUTES", "PKT_TOO_BIG"]
        {
            assert!(sentence(reason).is_some(), "{reason}");
        }
        assert_eq!(sentence("OVS_DROP_LAST_ACTION"), None);
    }
}
