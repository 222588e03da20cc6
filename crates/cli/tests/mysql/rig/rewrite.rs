//! Imperfect captures, made of a perfect one: the same seed makes the same.

use std::path::Path;

use byway_agent::edge::capture_file::CaptureFile;

/// A capture in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recording {
    /// How its frames start (<https://www.tcpdump.org/linktypes.html>).
    pub link: u32,
    /// Its packets, in the order of the file.
    pub packets: Vec<Packet>,
}

/// A packet of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// When, in nanoseconds since 1970.
    pub time_ns: u64,
    /// What was captured of it.
    pub bytes: Vec<u8>,
    /// How long it was on the link.
    pub original_len: u32,
}

/// What moves packets does not hold them back for so long.
const PAUSE_NS: u64 = 100_000_000;

/// How a pcap file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As most machines write it: little-endian, microseconds.
    Usual,
    /// As a machine of the other byte order writes it, with nanoseconds.
    BigEndianNanoseconds,
}

/// Where chance comes from: `SplitMix64`, by Sebastiano Vigna's description.
#[derive(Debug)]
pub struct Dice(pub u64);

impl Dice {
    /// A number below `sides`.
    pub fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let sides_u64 = u64::try_from(sides).unwrap();
        usize::try_from((mixed ^ (mixed >> 31)) % sides_u64).unwrap()
    }
}

impl Recording {
    /// Reads a file with one interface.
    pub fn read(path: &Path) -> Self {
        let mut file = CaptureFile::open(path).unwrap();
        let mut packets = Vec::new();
        while file.advance().unwrap() {
            let record = file.packet().unwrap();
            let (bytes, original_len) = (record.bytes.to_vec(), record.original_len);
            packets.push(Packet { time_ns: record.time_ns.unwrap(), bytes, original_len });
        }
        Self { link: file.interfaces()[0].link, packets }
    }

    /// Writes it into a file.
    pub fn write(&self, path: &Path, format: Format) {
        let (magic, unit_ns): (u32, u64) = match format {
            Format::Usual => (0xa1b2_c3d4, 1_000),
            Format::BigEndianNanoseconds => (0xa1b2_3c4d, 1),
        };
        let word = |value: u32| match format {
            Format::Usual => value.to_le_bytes(),
            Format::BigEndianNanoseconds => value.to_be_bytes(),
        };
        let half = |value: u16| match format {
            Format::Usual => value.to_le_bytes(),
            Format::BigEndianNanoseconds => value.to_be_bytes(),
        };
        let mut out =
            [&word(magic)[..], &half(2), &half(4), &[0; 8], &word(256 << 10), &word(self.link)].concat();
        for packet in &self.packets {
            let (seconds, rest) = (packet.time_ns / 1_000_000_000, packet.time_ns % 1_000_000_000 / unit_ns);
            let captured = u32::try_from(packet.bytes.len()).unwrap();
            for value in
                [u32::try_from(seconds).unwrap(), u32::try_from(rest).unwrap(), captured, packet.original_len]
            {
                out.extend(word(value));
            }
            out.extend(&packet.bytes);
        }
        std::fs::write(path, out).unwrap();
    }

    /// Joined when so many packets had passed.
    #[must_use]
    pub fn without_first(&self, count: usize) -> Self {
        self.with(self.packets.iter().skip(count).cloned().collect())
    }

    /// Each packet is lost with the chance of one in so many; those that are.
    #[must_use]
    pub fn with_loss(&self, one_in: usize, dice: &mut Dice) -> (Self, Vec<Packet>) {
        let (lost, kept) = self.packets.iter().cloned().partition(|_| dice.roll(one_in) == 0);
        (self.with(kept), lost)
    }

    /// Packets change places: none moves by `window` places or more, nor over a pause. The times stay in order.
    #[must_use]
    pub fn reordered(&self, window: usize, dice: &mut Dice) -> Self {
        let (mut pauses, mut before_ns) = (0, u64::MAX);
        let mut move_one = |(place, packet): (usize, &'_ Packet)| {
            pauses += usize::from(packet.time_ns.saturating_sub(before_ns) > PAUSE_NS);
            before_ns = packet.time_ns;
            (pauses, place + dice.roll(window))
        };
        let mut places: Vec<((usize, usize), &Packet)> =
            self.packets.iter().enumerate().map(|one| (move_one(one), one.1)).collect();
        places.sort_by_key(|(place, _)| *place);
        let moved = places.into_iter().zip(&self.packets);
        self.with(
            moved.map(|((_, packet), then)| Packet { time_ns: then.time_ns, ..packet.clone() }).collect(),
        )
    }

    /// Each packet is there twice with the chance of one in so many, the second time within the next `later`.
    #[must_use]
    pub fn with_doubles(&self, one_in: usize, later: usize, dice: &mut Dice) -> Self {
        let mut places = Vec::new();
        for (place, packet) in self.packets.iter().enumerate() {
            places.push((place, packet));
            if dice.roll(one_in) == 0 {
                places.push((place + dice.roll(later), packet));
            }
        }
        places.sort_by_key(|(place, _)| *place);
        let time = |place: usize| self.packets[place.min(self.packets.len() - 1)].time_ns;
        self.with(
            places
                .into_iter()
                .map(|(place, packet)| Packet { time_ns: time(place), ..packet.clone() })
                .collect(),
        )
    }

    /// Of each packet this many bytes at most.
    #[must_use]
    pub fn cut(&self, snaplen: usize) -> Self {
        let mut cut = self.clone();
        cut.packets.iter_mut().for_each(|packet| packet.bytes.truncate(snaplen));
        cut
    }

    /// With the tag of a VLAN in each frame, as a switch's mirror port shows it.
    #[must_use]
    pub fn tagged(&self, vlan: u16) -> Self {
        assert_eq!(self.link, 1, "only Ethernet has tags");
        let mut tagged = self.clone();
        for packet in &mut tagged.packets {
            let [high, low] = vlan.to_be_bytes();
            packet.bytes.splice(12..12, [0x81, 0x00, high, low]);
            packet.original_len += 4;
        }
        tagged
    }

    fn with(&self, packets: Vec<Packet>) -> Self {
        Self { link: self.link, packets }
    }
}
