//! Our interpreter against libpcap's, and hostile programs.

use proptest::prelude::*;

use super::*;
use crate::edge::pcap_filter::{Dlt, compile, libpcap};

/// Filters with every kind of instruction: loads of all sizes, from X, header lengths, scratch memory, arithmetic.
const FILTERS: [&str; 9] = [
    "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)",
    "ip6 protochain 6",
    "icmp[icmptype] = icmp-echoreply or icmp6",
    "vlan 5 and host 10.0.0.1",
    "len > 100 and ether[0] % 3 = 1",
    "ether[0:4] ^ ether[4:4] != ether[2:2] * 7 | 3",
    "ip[ip[8]:2] / ip[9] > -ip[10]",
    "portrange 10-60000",
    "(ether[1] << ether[2]) + (ether[0:4] >> ether[3]) > 1000",
];

fn packet() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(vec![0x0800_u16, 0x86dd, 0x8100, 0x88a8, 0x0806, 0]);
    let first = prop::sample::select(vec![0x45_u8, 0x46, 0x60, 0x00, 0xff]);
    let next = prop::sample::select(vec![6_u8, 17, 1, 58, 44, 0, 60]);
    let tail = prop::collection::vec(any::<u8>(), 0..120);
    (any::<[u8; 12]>(), kinds, first, next, tail, 0..140_usize).prop_map(
        |(addresses, kind, first, next, mut tail, cut)| {
            for (at, byte) in [(0, first), (9, next), (6, next)] {
                if let Some(place) = tail.get_mut(at) {
                    *place = byte;
                }
            }
            let mut bytes = [&addresses[..], &kind.to_be_bytes(), &tail].concat();
            bytes.truncate(cut);
            bytes
        },
    )
}

fn instruction() -> impl Strategy<Value = Instruction> {
    let codes = prop_oneof![0_u16..0x100, any::<u16>()];
    let operands = prop_oneof![0_u32..40, any::<u32>()];
    (codes, 0_u8..6, 0_u8..6, operands).prop_map(|(code, jt, jf, k)| Instruction { code, jt, jf, k })
}

proptest! {
    #[test]
    fn a_filter_says_of_a_packet_what_libpcap_says(
        filter in prop::sample::select(FILTERS.to_vec()),
        bytes in packet(),
        more in 0_u32..2000,
    ) {
        let program = compile(filter, Dlt::ETHERNET, 96).unwrap();
        let wire_len = u32::try_from(bytes.len()).unwrap() + more;
        let theirs = libpcap::library().unwrap().run(&program, &bytes, wire_len);
        prop_assert_eq!(program.matches(&bytes, wire_len), theirs);
    }

    #[test]
    fn any_program_is_refused_or_does_what_libpcap_does(
        instructions in prop::collection::vec(instruction(), 1..12),
        keep in any::<u32>(),
        bytes in packet(),
    ) {
        let ended = instructions.into_iter().chain([returning(keep)]).collect();
        if let Ok(program) = Program::new(ended).and_then(Program::for_kernel) {
            let wire_len = u32::try_from(bytes.len()).unwrap();
            let theirs = libpcap::library().unwrap().run(&program, &bytes, wire_len);
            prop_assert_eq!(program.matches(&bytes, wire_len), theirs);
        }
    }
}

fn refused(instructions: &[(u16, u8, u8, u32)]) -> BadProgram {
    let instruction = |&(code, jt, jf, k): &(u16, u8, u8, u32)| Instruction { code, jt, jf, k };
    Program::new(instructions.iter().map(instruction).collect()).unwrap_err()
}

#[test]
fn programs_that_do_not_end_are_refused() {
    assert_eq!(refused(&[]), BadProgram::Empty);
    assert_eq!(refused(&[(0x28, 0, 0, 12)]), BadProgram::NoReturn);
    assert_eq!(refused(&[(0x15, 0, 1, 0), (6, 0, 0, 1)]), BadProgram::Jump { at: 0 });
    assert_eq!(refused(&[(0x05, 0, 0, u32::MAX - 1), (6, 0, 0, 1)]), BadProgram::Jump { at: 0 });
    assert_eq!(refused(&[(0x60, 0, 0, 16), (6, 0, 0, 1)]), BadProgram::Operand { at: 0, k: 16 });
    assert_eq!(refused(&[(0x34, 0, 0, 0), (6, 0, 0, 1)]), BadProgram::Operand { at: 0, k: 0 });
    assert_eq!(refused(&[(0xffff, 0, 0, 0), (6, 0, 0, 1)]), BadProgram::UnknownCode { at: 0, code: 0xffff });
    assert_eq!(refused(&vec![(6, 0, 0, 1); 4097]), BadProgram::TooLong(4097));
}

#[test]
fn a_program_that_never_ends_matches_nothing() {
    let endless = [(0x05, u32::MAX), (6, 1)].map(|(code, k)| Instruction { code, jt: 0, jf: 0, k });
    let endless = Program::new(endless.to_vec()).unwrap();
    assert_eq!(endless.matches(b"", 0), 0);
    assert_eq!(endless.for_kernel().unwrap_err(), BadProgram::Loop { at: 0 });
}

#[test]
fn everything_keeps_what_is_asked_for() {
    assert_eq!(Program::everything(96).matches(b"", 0), 96);
    assert_eq!(Program::nothing().matches(b"", 0), 0);
}
