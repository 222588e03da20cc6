//! Makes pcapng files block by block, in either byte order, with everything that our own writer never writes.

#![allow(dead_code, unreachable_pub, reason = "each test program uses its part")]

/// A file that grows.
#[derive(Default)]
pub struct Blocks {
    pub bytes: Vec<u8>,
    is_big: bool,
}

/// An option of a block: its code and its value.
pub type Coded<'a> = (u16, &'a [u8]);

pub const COMMENT: u16 = 1;
pub const NAME: u16 = 2;
pub const DESCRIPTION: u16 = 3;
pub const RESOLUTION: u16 = 9;
pub const OFFSET: u16 = 14;

/// What the stories capture: a ping over Ethernet without anything behind its header.
pub const PING: [u8; 42] = *b"\x02\0\0\0\0\x01\x02\0\0\0\0\x02\x08\0\x45\0\0\x1c\0\x07\0\0\x40\x01\0\0\
    \xac\x29\0\x02\xac\x2a\0\x02\x08\0\0\0\0\x01\0\x01";
/// A second of the year 2023.
pub const SECOND: u64 = 1_700_000_000;

impl Blocks {
    pub fn word(&self, value: u32) -> [u8; 4] {
        if self.is_big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub fn half(&self, value: u16) -> [u8; 2] {
        if self.is_big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    pub fn long(&self, value: u64) -> [u8; 8] {
        if self.is_big { value.to_be_bytes() } else { value.to_le_bytes() }
    }

    fn options(&self, list: &[Coded<'_>]) -> Vec<u8> {
        let mut out = Vec::new();
        for (code, value) in list {
            out.extend(self.half(*code));
            out.extend(self.half(u16::try_from(value.len()).unwrap()));
            out.extend(padded(value));
        }
        if !list.is_empty() {
            out.extend([0; 4]);
        }
        out
    }

    /// Any block.
    pub fn block(&mut self, kind: u32, body: &[u8]) -> &mut Self {
        let length = self.word(u32::try_from(body.len() + 12).unwrap());
        let parts = [&self.word(kind)[..], &length, body, &length].concat();
        self.bytes.extend(parts);
        self
    }

    fn section(&mut self, is_big: bool) -> &mut Self {
        self.is_big = is_big;
        let body = [&self.word(0x1a2b_3c4d)[..], &self.half(1), &self.half(0), &[0xff; 8]].concat();
        self.block(0x0a0d_0d0a, &body)
    }

    pub fn big_endian(&mut self) -> &mut Self {
        self.section(true)
    }

    pub fn little_endian(&mut self) -> &mut Self {
        self.section(false)
    }

    /// An interface of Ethernet.
    pub fn interface(&mut self, snaplen: u32, options: &[Coded<'_>]) -> &mut Self {
        let body = [&self.half(1)[..], &self.half(0), &self.word(snaplen), &self.options(options)].concat();
        self.block(1, &body)
    }

    /// An interface with a clock of its own.
    pub fn clock(&mut self, resolution: u8, offset: i64) -> &mut Self {
        let offset = self.long(offset.cast_unsigned());
        self.interface(0, &[(RESOLUTION, &[resolution]), (OFFSET, &offset)])
    }

    /// A packet as everybody writes it now.
    pub fn enhanced(&mut self, interface: u32, time: u64, options: &[Coded<'_>]) -> &mut Self {
        let options = self.options(options);
        self.enhanced_with(interface, time, &options)
    }

    /// One whose options are any bytes.
    pub fn enhanced_with(&mut self, interface: u32, time: u64, options: &[u8]) -> &mut Self {
        self.captured(interface, time, &PING, options)
    }

    /// One of any bytes.
    pub fn captured(&mut self, interface: u32, time: u64, bytes: &[u8], options: &[u8]) -> &mut Self {
        let body = [&self.word(interface)[..], &self.packet(time, bytes), options].concat();
        self.block(6, &body)
    }

    /// A packet of the first drafts: its interface has 16 bits, and beside it is how many were lost.
    pub fn legacy(&mut self, interface: u16, lost: u16, time: u64, options: &[Coded<'_>]) -> &mut Self {
        let place = [self.half(interface), self.half(lost)].concat();
        let body = [&place[..], &self.packet(time, &PING), &self.options(options)].concat();
        self.block(2, &body)
    }

    /// A packet without time and interface.
    pub fn simple(&mut self, original_len: u32, bytes: &[u8]) -> &mut Self {
        let body = [&self.word(original_len)[..], &padded(bytes)].concat();
        self.block(3, &body)
    }

    fn packet(&self, time: u64, bytes: &[u8]) -> Vec<u8> {
        let [high, low] =
            [time >> 32, time & 0xffff_ffff].map(|half| self.word(u32::try_from(half).unwrap()));
        let length = self.word(u32::try_from(bytes.len()).unwrap());
        [&high[..], &low, &length, &length, &padded(bytes)].concat()
    }

    /// An interface's counters.
    pub fn statistics(&mut self, interface: u32, received: u64, dropped: u64) -> &mut Self {
        let (received, dropped) = (self.long(received), self.long(dropped));
        let options = self.options(&[(4, &received), (5, &dropped)]);
        let body = [&self.word(interface)[..], &[0; 8], &options].concat();
        self.block(5, &body)
    }

    /// Names of an address of IPv4; each ends with a zero byte.
    pub fn named(&mut self, address: [u8; 4], names: &[u8]) -> &mut Self {
        let record = self.options(&[(1, &[&address[..], names].concat())]);
        self.block(4, &record)
    }
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    out.resize(bytes.len().next_multiple_of(4), 0);
    out
}
