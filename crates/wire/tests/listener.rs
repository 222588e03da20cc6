//! What all connections together may keep: whoever listens must not be made to take more, whatever they send.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

use std::net::{IpAddr, Ipv4Addr};

use byway_wire::mysql::{Hear, Listener, News, Options, Peers};
use byway_wire::stream::End;
use byway_wire::{Packet, Tcp, TcpFlags, Transport, protocol};

/// What the process may take, in bytes.
const MEMORY_MAX: u64 = 64 << 20;
/// The data of a segment.
const SEGMENT: usize = 1448;
/// 200 million bytes of statements altogether.
const SEGMENTS: usize = 200_000_000 / SEGMENT;

/// Counts the ends of connections.
#[derive(Default)]
struct Ends {
    given_up: u64,
    with_the_capture: u64,
}

impl Hear for Ends {
    fn hear(&mut self, _: &Peers, news: News<'_>) {
        match news {
            News::Over(End::GivenUp, _) => self.given_up += 1,
            News::Over(End::CaptureEnded, _) => self.with_the_capture += 1,
            _ => {}
        }
    }
}

/// In one test, as the process has one memory: the connections share 200 MB of statements, 4 MB each or 12 KB.
#[test]
fn half_statements_stay_below_the_bound_however_many_connections_send_them() {
    for connections in [50, 1_000, 16_000] {
        check(connections);
    }
}

/// So many connections begin a statement of 16 MB each, and go on in turns, until [`SEGMENTS`] have come.
fn check(connections: usize) {
    let mut listener = Listener::new(Options::default(), 1);
    let mut ends = Ends::default();
    let mut first = [b'x'; SEGMENT];
    first[..12].copy_from_slice(b"\xfe\xff\xff\0\x03select ");
    let next = [b'x'; SEGMENT];
    for nth in 0..SEGMENTS {
        let (turn, connection) = (nth / connections, nth % connections);
        let payload = if turn == 0 { &first } else { &next };
        listener.packet(0, nth as u64 * 1000, &segment(connection, turn, payload), &mut ends);
    }
    listener.finish(&mut ends);
    let taken = most_memory();
    assert!(taken < MEMORY_MAX, "{connections} connections take {taken} bytes");
    let counts = listener.counts();
    assert_eq!(ends.given_up, counts.connections_given_up, "each is told");
    assert!(ends.given_up > 0, "200 MB do not fit into the bound");
    assert!(ends.with_the_capture > 0, "those that came last are still listened to");
}

fn segment(connection: usize, turn: usize, payload: &[u8]) -> Packet<'_> {
    let client = u32::try_from(0x0a00_0001 + connection).unwrap();
    Packet {
        source: IpAddr::V4(Ipv4Addr::from_bits(client)),
        destination: IpAddr::V4(Ipv4Addr::new(172, 42, 0, 2)),
        ttl: 64,
        identification: Some(0),
        dont_fragment: true,
        fragment: None,
        protocol: protocol::TCP,
        length: u32::try_from(40 + payload.len()).unwrap(),
        carried_length: u32::try_from(20 + payload.len()).unwrap(),
        transport: Transport::Tcp(Tcp {
            source_port: 40_000,
            destination_port: 3306,
            sequence: u32::try_from(turn * SEGMENT).unwrap(),
            acknowledgement: 0,
            flags: TcpFlags::ACK,
            window: 64,
            options: &[],
            payload,
        }),
        stop: None,
    }
}

/// The most that this process has had at once so far, in bytes.
#[expect(clippy::disallowed_methods, reason = "the kernel knows it, and the room itself may not ask")]
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
