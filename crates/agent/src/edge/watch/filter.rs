//! Filters that Byway makes for itself, in the kernel's own form (classic BPF).

use byway_wire::KEY_SNAPLEN;

/// One instruction: what `tcpdump -dd` prints and `SO_ATTACH_FILTER` takes.
pub type Instruction = libc::sock_filter;

const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LOAD_BYTE_FROM_X: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_IND;
const SET_X: u32 = libc::BPF_LDX | libc::BPF_IMM;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
/// What the kernel knows of the packet beside its bytes: the kind of link, the `EtherType` (which it has taken out of
/// a VLAN tag already).
const HARDWARE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_HATYPE).cast_unsigned();
const ETHERTYPE: u32 = (libc::SKF_AD_OFF + libc::SKF_AD_PROTOCOL).cast_unsigned();

/// Takes ICMP and `ICMPv6`, fragments of them too, cut to [`KEY_SNAPLEN`]; on links with and without an Ethernet
/// header.
///
/// `ICMPv6` behind other extension headers than the fragment header (listener reports) is not taken, nor anything
/// behind a second VLAN tag.
#[must_use]
pub fn icmp() -> Vec<Instruction> {
    let step = |code: u32, k: u32| jump(code, k, 0, 0);
    vec![
        // X: where the IP header starts. Loads relative to it work for packets in pieces too; loads relative to the
        // kernel's own network offset (SKF_NET_OFF) do not.
        step(LOAD_WORD, HARDWARE),
        step(SET_X, 14),
        jump(IF_EQUAL, libc::ARPHRD_ETHER.into(), 2, 0),
        jump(IF_EQUAL, libc::ARPHRD_LOOPBACK.into(), 1, 0),
        step(SET_X, 0),
        step(LOAD_HALF, ETHERTYPE),
        // IPv4: its protocol.
        jump(IF_EQUAL, 0x0800, 0, 2),
        step(LOAD_BYTE_FROM_X, 9),
        jump(IF_EQUAL, 1, 6, 7),
        // IPv6: its next header, or that of the fragment header.
        jump(IF_EQUAL, 0x86dd, 0, 6),
        step(LOAD_BYTE_FROM_X, 6),
        jump(IF_EQUAL, 58, 3, 0),
        jump(IF_EQUAL, 44, 0, 3),
        step(LOAD_BYTE_FROM_X, 40),
        jump(IF_EQUAL, 58, 0, 1),
        step(RETURN, KEY_SNAPLEN),
        step(RETURN, 0),
    ]
}

/// An instruction that goes on `yes` or `no` instructions after the next one.
fn jump(code: u32, k: u32, yes: u8, no: u8) -> Instruction {
    // All codes above are below 256.
    let code = u16::try_from(code).unwrap_or(u16::MAX);
    Instruction { code, jt: yes, jf: no, k }
}
