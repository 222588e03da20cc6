//! Segments as lines of text, and what readers are told as lines of text.
//!
//! ```text
//! c syn                        the client's SYN; `number 77`: with another first number
//! s syn+ack
//! c 0 "select" ack 0           six bytes from offset 0, all offsets counted from the SYN
//! c 6 fin ack 4 at 2           a FIN, seen at point 2
//! s 0 "abcdef" cut 2           the last two bytes were not captured
//! c 0 "select" packet 9        in the IP packet number 9; without it, every line is a packet of its own
//! c 0 "a" port 41000           another connection
//! wait 1500                    milliseconds go by
//! packets 32                   so many empty segments of the client
//! settle | finish
//! ```

use std::fmt::Write as _;

use byway_wire::Packet;
use byway_wire::stream::{
    End, Ends, Gap, Interest, Limits, Missing, Piece, Readers, Seen, Side, Sighting, Streams,
};
use etherparse::PacketBuilder;

/// First numbers, close to where they wrap.
const CLIENT_ISN: u32 = u32::MAX - 3;
const SERVER_ISN: u32 = u32::MAX - 1;
const STEP_NS: u64 = 1_000_000;

/// What readers are told, as lines. `with_sightings`: those too.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) lines: String,
    pub(crate) with_sightings: bool,
    /// Wants nothing more after a piece with this text.
    pub(crate) enough_at: Option<&'static str>,
    pub(crate) keeps_ended: bool,
}

impl Readers for Told {
    type Reader = Ends;

    fn open(&mut self, ends: &Ends, _: u64) -> Option<Ends> {
        if ends.second.port() == 80 {
            return None;
        }
        Some(*ends)
    }

    fn piece(&mut self, ends: &mut Ends, side: Side, piece: &Piece<'_>) -> Interest {
        let text = std::str::from_utf8(piece.bytes).unwrap();
        let start = if piece.starts_segment { "" } else { " inside" };
        writeln!(self.lines, "{} {} \"{text}\"{start}", who(ends, side), piece.offset).unwrap();
        if self.enough_at == Some(text) { Interest::Nothing } else { Interest::More }
    }

    fn gap(&mut self, ends: &mut Ends, side: Side, gap: &Gap) -> Interest {
        let why = match gap.why {
            Missing::Lost => "lost",
            Missing::Cut => "cut",
            Missing::GivenUp => "given up",
        };
        writeln!(self.lines, "{} {} {} bytes {why}", who(ends, side), gap.offset, gap.missing).unwrap();
        Interest::More
    }

    fn sighting(&mut self, ends: &mut Ends, side: Side, sighting: &Sighting) {
        if self.with_sightings {
            let Sighting { point, from, to, seen, .. } = sighting;
            let seen = match seen {
                Seen::First => "first",
                Seen::Copy => "copy",
                Seen::Again => "again",
            };
            writeln!(self.lines, "{} {from}..{to} at {point} {seen}", who(ends, side)).unwrap();
        }
    }

    fn end(&mut self, ends: &mut Ends, how: End) -> Interest {
        let how = match how {
            End::Finished => "finished".to_owned(),
            End::Reset { by } => format!("reset by {}", who(ends, by)),
            End::Replaced => "replaced".to_owned(),
            End::GivenUp => "given up".to_owned(),
            End::CaptureEnded => "capture ended".to_owned(),
        };
        writeln!(self.lines, "end {how}").unwrap();
        if self.keeps_ended { Interest::More } else { Interest::Nothing }
    }
}

/// The client is who does not have the low port; a capital letter if it is not the one who opened.
fn who(ends: &Ends, side: Side) -> &'static str {
    match (ends.first.port() > 1024, side) {
        (true, Side::First) => "c",
        (true, Side::Second) => "s",
        (false, Side::First) => "S",
        (false, Side::Second) => "C",
    }
}

/// One line, taken apart.
#[derive(Debug, Clone)]
struct Line {
    from_client: bool,
    flags: String,
    offset: i64,
    bytes: Vec<u8>,
    ack: Option<i64>,
    point: usize,
    cut: usize,
    packet: Option<u16>,
    port: u16,
    server_port: u16,
    isn: Option<u32>,
}

/// Plays a scene.
pub(crate) struct Scene {
    pub(crate) streams: Streams<Ends>,
    pub(crate) told: Told,
    packets: u16,
    now_ns: u64,
}

impl Scene {
    pub(crate) fn new(limits: Limits, told: Told) -> Self {
        Self { streams: Streams::new(limits, 1), told, packets: 1_000, now_ns: 1_000_000_000_000 }
    }

    pub(crate) fn play(&mut self, text: &str) {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            match line.split_once(' ').unwrap_or((line, "")) {
                ("wait", ms) => self.now_ns += ms.parse::<u64>().unwrap() * 1_000_000,
                ("back", ms) => self.now_ns -= ms.parse::<u64>().unwrap() * 1_000_000,
                ("settle", _) => self.streams.settle(self.now_ns, &mut self.told),
                ("finish", _) => self.streams.finish(&mut self.told),
                ("packets", count) => {
                    (0..count.parse::<u32>().unwrap()).for_each(|_| self.segment(&Line::of("c 0")));
                }
                _ => self.segment(&Line::of(line)),
            }
        }
    }

    fn segment(&mut self, line: &Line) {
        self.now_ns += STEP_NS;
        self.packets += 1;
        let bytes = line.packet(self.packets);
        let packet = Packet::decode(&bytes[..bytes.len() - line.cut]).unwrap();
        self.streams.take(line.point, self.now_ns, &packet, &mut self.told);
    }
}

impl Line {
    fn of(text: &str) -> Self {
        let mut line = Self {
            from_client: text.starts_with('c'),
            flags: String::new(),
            offset: 0,
            bytes: Vec::new(),
            ack: None,
            point: 0,
            cut: 0,
            packet: None,
            port: 40_000,
            server_port: 1_000,
            isn: None,
        };
        let mut words = text.split(' ').skip(1).filter(|word| !word.is_empty());
        while let Some(word) = words.next() {
            let mut number = || words.next().unwrap().parse::<i64>().unwrap();
            match word {
                "syn" | "syn+ack" | "fin" | "rst" => word.clone_into(&mut line.flags),
                "ack" => line.ack = Some(number()),
                "at" => line.point = usize::try_from(number()).unwrap(),
                "cut" => line.cut = usize::try_from(number()).unwrap(),
                "packet" => line.packet = Some(u16::try_from(number()).unwrap()),
                "port" => line.port = u16::try_from(number()).unwrap(),
                "to" => line.server_port = u16::try_from(number()).unwrap(),
                "number" => line.isn = Some(u32::try_from(number()).unwrap()),
                quoted if quoted.starts_with('"') => line.bytes = quoted.trim_matches('"').into(),
                offset => line.offset = offset.parse().unwrap(),
            }
        }
        line
    }

    fn packet(&self, identification: u16) -> Vec<u8> {
        let (client, server) = ([10, 0, 0, 1], [10, 0, 0, 2]);
        let isns = if self.from_client { (CLIENT_ISN, SERVER_ISN) } else { (SERVER_ISN, CLIENT_ISN) };
        let isn = self.isn.unwrap_or(isns.0);
        let place =
            |isn: u32, offset: i64| isn.wrapping_add(1).wrapping_add_signed(i32::try_from(offset).unwrap());
        let (from, to) = if self.from_client { (client, server) } else { (server, client) };
        let ports =
            if self.from_client { (self.port, self.server_port) } else { (self.server_port, self.port) };
        let mut header = etherparse::Ipv4Header::new(0, 64, etherparse::IpNumber::TCP, from, to).unwrap();
        header.identification = self.packet.unwrap_or(identification);
        let is_syn = self.flags.starts_with("syn");
        let sequence = if is_syn { isn } else { place(isn, self.offset) };
        let mut tcp =
            PacketBuilder::ip(etherparse::IpHeaders::Ipv4(header, etherparse::Ipv4Extensions::default()))
                .tcp(ports.0, ports.1, sequence, 64_000);
        tcp = match &*self.flags {
            "syn" | "syn+ack" => tcp.syn(),
            "fin" => tcp.fin(),
            "rst" => tcp.rst(),
            _ => tcp,
        };
        if let Some(ack) = self.ack.or((self.flags == "syn+ack").then_some(0)) {
            tcp = tcp.ack(place(isns.1, ack));
        }
        let mut bytes = Vec::new();
        tcp.write(&mut bytes, &self.bytes).unwrap();
        bytes
    }
}

/// Plays a scene and compares what the readers are told.
pub(crate) fn check(scene: &str, expected: &str) -> Scene {
    check_with(Limits::default(), Told::default(), scene, expected)
}

/// The same, with sightings.
pub(crate) fn check_sightings(scene: &str, expected: &str) -> Scene {
    check_with(Limits::default(), Told { with_sightings: true, ..Told::default() }, scene, expected)
}

pub(crate) fn check_with(limits: Limits, told: Told, text: &str, expected: &str) -> Scene {
    let mut scene = Scene::new(limits, told);
    scene.play(text);
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(scene.told.lines.lines().collect::<Vec<_>>(), expected, "{text}");
    scene
}
