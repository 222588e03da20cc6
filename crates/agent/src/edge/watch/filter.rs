//! Filters that Byway makes for itself, in the kernel's own form (classic BPF).

use std::net::IpAddr;

use byway_fabric::evidence::Flow;
use byway_wire::{KEY_SNAPLEN, protocol};

use super::assemble::{Label, Program};

/// One instruction: what `tcpdump -dd` prints and `SO_ATTACH_FILTER` takes.
pub type Instruction = libc::sock_filter;

const LOAD_WORD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
const LOAD_HALF: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_ABS;
const LOAD_HALF_FROM_X: u32 = libc::BPF_LD | libc::BPF_H | libc::BPF_IND;
const LOAD_WORD_FROM_X: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_IND;
const LOAD_BYTE_FROM_X: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_IND;
const SET_X: u32 = libc::BPF_LDX | libc::BPF_IMM;
const IF_EQUAL: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
const IF_ANY_BIT: u32 = libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K;
const AND: u32 = libc::BPF_ALU | libc::BPF_AND | libc::BPF_K;
const SHIFT_LEFT: u32 = libc::BPF_ALU | libc::BPF_LSH | libc::BPF_K;
const ADD_X: u32 = libc::BPF_ALU | libc::BPF_ADD | libc::BPF_X;
const A_TO_X: u32 = libc::BPF_MISC | libc::BPF_TAX;
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

/// Takes ARP and advertisements of neighbours (RFC 4861, 4.4), on links with an Ethernet header.
pub(in crate::edge) fn answers_of_neighbours() -> Vec<Instruction> {
    const LOAD_BYTE: u32 = libc::BPF_LD | libc::BPF_B | libc::BPF_ABS;
    // Behind 14 bytes of Ethernet and 40 of IPv6.
    const NEXT_HEADER: u32 = 14 + 6;
    const TYPE: u32 = 14 + 40;
    vec![
        jump(LOAD_HALF, 12, 0, 0),
        jump(IF_EQUAL, 0x0806, 5, 0),
        jump(IF_EQUAL, 0x86dd, 0, 5),
        jump(LOAD_BYTE, NEXT_HEADER, 0, 0),
        jump(IF_EQUAL, 58, 0, 3),
        jump(LOAD_BYTE, TYPE, 0, 0),
        jump(IF_EQUAL, 136, 0, 1),
        jump(RETURN, KEY_SNAPLEN, 0, 0),
        nothing(),
    ]
}

/// Takes no packet.
pub(super) fn nothing() -> Instruction {
    jump(RETURN, 0, 0, 0)
}

/// Ends of a conversation that a filter names: more only make it coarser, not wrong.
const ENDS_MAX: usize = 8;

/// Takes the packets from or to the ends of a conversation, and every ICMP message, which may be an error about one of
/// them; on links with and without an Ethernet header, cut to `snaplen`.
///
/// It may take more than asked for, never less: later fragments have no ports and are taken by their addresses, IPv6
/// with extension headers too, and with more than 8 ends every packet of the protocol.
#[must_use]
pub fn flow(flow: &Flow, snaplen: u32) -> Vec<Instruction> {
    let whole = if flow.ends.len() > ENDS_MAX { None } else { assemble(flow, snaplen) };
    whole.unwrap_or_else(|| vec![jump(RETURN, snaplen, 0, 0)])
}

fn assemble(flow: &Flow, snaplen: u32) -> Option<Vec<Instruction>> {
    let mut program = Program::default();
    let (take, leave, v6, found) = (program.label(), program.label(), program.label(), program.label());
    program.step(LOAD_WORD, HARDWARE);
    program.step(SET_X, 14);
    program.jump(IF_EQUAL, libc::ARPHRD_ETHER.into(), Some(found), None);
    program.jump(IF_EQUAL, libc::ARPHRD_LOOPBACK.into(), Some(found), None);
    program.step(SET_X, 0);
    program.place(found);
    program.step(LOAD_HALF, ETHERTYPE);
    program.jump(IF_EQUAL, 0x0800, None, Some(v6));
    v4(&mut program, flow, take, leave);
    program.place(v6);
    program.jump(IF_EQUAL, 0x86dd, None, Some(leave));
    v6_packet(&mut program, flow, take, leave);
    program.place(take);
    program.step(RETURN, snaplen);
    program.place(leave);
    program.step(RETURN, 0);
    program.finish()
}

/// X is where the IPv4 header starts. Ends in one of the labels.
fn v4(program: &mut Program, flow: &Flow, take: Label, leave: Label) {
    program.step(LOAD_BYTE_FROM_X, 9);
    program.jump(IF_EQUAL, protocol::ICMP.into(), Some(take), None);
    program.jump(IF_EQUAL, flow.protocol.into(), None, Some(leave));
    for (source, address_at) in [(true, 12), (false, 16)] {
        for end in &flow.ends {
            let IpAddr::V4(address) = end.address else { continue };
            let next = program.label();
            program.step(LOAD_WORD_FROM_X, address_at);
            program.jump(IF_EQUAL, address.to_bits(), None, Some(next));
            match end.port {
                None => program.jump(IF_EQUAL, address.to_bits(), Some(take), Some(take)),
                Some(wanted) => {
                    program.step(LOAD_HALF_FROM_X, 6);
                    program.jump(IF_ANY_BIT, 0x1fff, Some(take), None);
                    // A: the length of the header; then X: where it ends. What comes next loads X anew or ends.
                    program.step(LOAD_BYTE_FROM_X, 0);
                    program.step(AND, 15);
                    program.step(SHIFT_LEFT, 2);
                    program.step(ADD_X, 0);
                    with_x_moved(program, source, wanted, take);
                }
            }
            program.place(next);
        }
    }
    program.jump(IF_EQUAL, 0, Some(leave), Some(leave));
}

/// Compares a port behind an IPv4 header whose end is in A, and puts X back.
fn with_x_moved(program: &mut Program, source: bool, wanted: u16, take: Label) {
    program.step(libc::BPF_STX, 0);
    program.step(A_TO_X, 0);
    program.step(LOAD_HALF_FROM_X, if source { 0 } else { 2 });
    program.jump(IF_EQUAL, wanted.into(), Some(take), None);
    program.step(libc::BPF_LDX | libc::BPF_MEM, 0);
}

/// X is where the IPv6 header starts. Ends in one of the labels.
fn v6_packet(program: &mut Program, flow: &Flow, take: Label, leave: Label) {
    let addressed = program.label();
    let with_ports = program.label();
    program.step(LOAD_BYTE_FROM_X, 6);
    program.jump(IF_EQUAL, protocol::ICMPV6.into(), Some(take), None);
    program.jump(IF_EQUAL, flow.protocol.into(), Some(with_ports), None);
    // Extension headers hide what comes: such packets are taken by their addresses.
    for extension in [protocol::HOP_BY_HOP, protocol::ROUTING, protocol::FRAGMENT, protocol::DESTINATION] {
        program.jump(IF_EQUAL, extension.into(), Some(addressed), None);
    }
    program.jump(IF_EQUAL, 0, Some(leave), Some(leave));
    program.place(with_ports);
    v6_ends(program, flow, take, true);
    program.jump(IF_EQUAL, 0, Some(leave), Some(leave));
    program.place(addressed);
    v6_ends(program, flow, take, false);
    program.jump(IF_EQUAL, 0, Some(leave), Some(leave));
}

fn v6_ends(program: &mut Program, flow: &Flow, take: Label, ports: bool) {
    for (source, address_at) in [(true, 8), (false, 24)] {
        for end in &flow.ends {
            let IpAddr::V6(address) = end.address else { continue };
            let next = program.label();
            let bits = address.to_bits();
            for (at, shift) in (address_at..).step_by(4).zip([96, 64, 32, 0]) {
                program.step(LOAD_WORD_FROM_X, at);
                let word = u32::try_from(bits >> shift & 0xffff_ffff).unwrap_or(0);
                program.jump(IF_EQUAL, word, None, Some(next));
            }
            match end.port.filter(|_| ports) {
                None => program.jump(IF_EQUAL, 0, Some(take), Some(take)),
                Some(wanted) => {
                    program.step(LOAD_HALF_FROM_X, if source { 40 } else { 42 });
                    program.jump(IF_EQUAL, wanted.into(), Some(take), None);
                }
            }
            program.place(next);
        }
    }
}

/// An instruction that goes on `yes` or `no` instructions after the next one.
fn jump(code: u32, k: u32, yes: u8, no: u8) -> Instruction {
    // All codes above are below 256.
    let code = u16::try_from(code).unwrap_or(u16::MAX);
    Instruction { code, jt: yes, jf: no, k }
}
