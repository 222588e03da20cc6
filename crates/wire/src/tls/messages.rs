//! Handshake messages out of the records that carry them: several in one, or one in several (RFC 8446, 5.1).

/// The longest message that is kept. Hellos with large key shares have some 2 KiB; longer ones are passed over.
const MESSAGE_BYTES_MAX: usize = 16 << 10;
const HEADER_BYTES: usize = 4;

/// Kinds of messages (<https://www.iana.org/assignments/tls-parameters>, `HandshakeType`).
pub(super) mod kind {
    pub(in super::super) const CLIENT_HELLO: u8 = 1;
    pub(in super::super) const SERVER_HELLO: u8 = 2;
    pub(in super::super) const KEY_UPDATE: u8 = 24;
}

/// The handshake messages of one side.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// The start of a message that is not whole.
    held: Vec<u8>,
    /// Bytes still to come of a message that is not wanted.
    unwanted: usize,
}

impl Messages {
    /// Takes the content of a record and shows each message that is whole now: its kind and its body. Only of the kinds
    /// above; certificates and the like are passed over.
    pub(super) fn take(&mut self, mut content: &[u8], mut each: impl FnMut(u8, &[u8])) {
        // Ends: every round takes bytes from the content, or leaves.
        while !content.is_empty() {
            let passed = self.unwanted.min(content.len());
            self.unwanted -= passed;
            content = &content[passed..];
            let Some(needed) = self.needed() else {
                let missing = HEADER_BYTES - self.held.len();
                self.hold(&mut content, missing);
                self.pass_if_unwanted();
                self.show_if_whole(&mut each);
                continue;
            };
            let missing = needed - self.held.len();
            self.hold(&mut content, missing);
            self.show_if_whole(&mut each);
        }
    }

    /// What was begun will not be ended.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    pub(super) fn memory(&self) -> usize {
        self.held.capacity()
    }

    fn hold(&mut self, content: &mut &[u8], missing: usize) {
        let (bytes, rest) = content.split_at(missing.min(content.len()));
        self.held.extend_from_slice(bytes);
        *content = rest;
    }

    /// How long the message is with its header, once that is there.
    fn needed(&self) -> Option<usize> {
        let [_, high, middle, low] = *self.held.first_chunk()?;
        Some(HEADER_BYTES + u32::from_be_bytes([0, high, middle, low]) as usize)
    }

    fn pass_if_unwanted(&mut self) {
        let Some(needed) = self.needed() else { return };
        let is_wanted = matches!(self.held[0], kind::CLIENT_HELLO | kind::SERVER_HELLO | kind::KEY_UPDATE);
        if !is_wanted || needed > MESSAGE_BYTES_MAX {
            self.unwanted = needed - HEADER_BYTES;
            self.held.clear();
        }
    }

    fn show_if_whole(&mut self, each: &mut impl FnMut(u8, &[u8])) {
        if self.needed() == Some(self.held.len()) {
            each(self.held[0], &self.held[HEADER_BYTES..]);
            self.held = Vec::new();
        }
    }
}
