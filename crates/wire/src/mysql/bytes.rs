//! Numbers and texts of the protocol, read from the front of a slice.
//!
//! Sources: <https://mariadb.com/kb/en/protocol-data-types/> and MySQL's "Protocol Basics, Data Types".

/// What is left to read. Every method gives `None` when there is too little, and then has read nothing.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'a>(pub(super) &'a [u8]);

impl<'a> Bytes<'a> {
    /// The next `length` bytes.
    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|bytes| bytes[0])
    }

    /// A little-endian number of up to 8 bytes.
    pub(super) fn number(&mut self, length: usize) -> Option<u64> {
        Some(self.take(length)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4).map(|bytes| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    /// A length-encoded number: 1, 3, 4 or 9 bytes. 0xfb is NULL and 0xff is an error: neither is a number.
    pub(super) fn lenenc(&mut self) -> Option<u64> {
        let before = *self;
        let number = match self.u8()? {
            small @ ..=0xfa => Some(u64::from(small)),
            0xfc => self.number(2),
            0xfd => self.number(3),
            0xfe => self.number(8),
            0xfb | 0xff => None,
        };
        if number.is_none() {
            *self = before;
        }
        number
    }

    /// Bytes with their length in front.
    pub(super) fn lenenc_bytes(&mut self) -> Option<&'a [u8]> {
        let before = *self;
        let bytes = self.lenenc().and_then(|length| self.take(usize::try_from(length).ok()?));
        if bytes.is_none() {
            *self = before;
        }
        bytes
    }

    /// Bytes up to a NUL, which is read too.
    pub(super) fn until_nul(&mut self) -> Option<&'a [u8]> {
        let at = self.0.iter().position(|byte| *byte == 0)?;
        let text = self.take(at)?;
        self.take(1)?;
        Some(text)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }
}
