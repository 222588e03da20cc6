//! Which connection of a capture is which one of the server's log: the greeting, which nobody encrypts, has its number.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use byway_wire::{Frame, LinkType, Packet, Transport};

use super::rewrite::Recording;

/// The server's number of each connection that has begun, by the client's end.
pub fn threads(recording: &Recording) -> BTreeMap<SocketAddr, u64> {
    let link = LinkType::from_number(recording.link).unwrap();
    let mut threads = BTreeMap::new();
    for packet in &recording.packets {
        let frame = Frame::decode(link, &packet.bytes);
        let Some((packet, payload)) = frame.packet().and_then(|packet| Some((packet, payload(packet)?)))
        else {
            continue;
        };
        if let Some(thread) = greeted(payload.1) {
            let client = SocketAddr::new(packet.destination, payload.0);
            let known = threads.insert(client, thread);
            assert!(known.is_none_or(|known| known == thread), "{client} is used twice");
        }
    }
    threads
}

/// The port that it goes to, and what TCP carries.
fn payload<'a>(packet: &Packet<'a>) -> Option<(u16, &'a [u8])> {
    match packet.transport {
        Transport::Tcp(tcp) if !tcp.payload.is_empty() => Some((tcp.destination_port, tcp.payload)),
        _ => None,
    }
}

/// Header with sequence 0, protocol 10, the version up to a NUL, and the number.
fn greeted(payload: &[u8]) -> Option<u64> {
    let [_, 0, 0, 0, 10, rest @ ..] = payload else { return None };
    if !rest.starts_with(b"5.5.5-10.") {
        return None;
    }
    let end = rest.iter().position(|byte| *byte == 0)?;
    let number = rest.get(end + 1..end + 5)?;
    Some(u32::from_le_bytes(number.try_into().unwrap()).into())
}
