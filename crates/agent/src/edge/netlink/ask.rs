//! One question with one answer, and transactions: changes of which all are done or none.

use std::io;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_REQUEST, NetlinkDeserializable as _, NetlinkHeader, NetlinkPayload,
};

use super::{
    ENTRY_KIND_MIN, Netlink, NetlinkError, Refusal, RouteNetlinkMessage, Slices, append, decode,
    write_message,
};

/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END` of `linux/netfilter/nfnetlink.h`.
const BEGIN: u16 = 0x10;
const END: u16 = 0x11;

impl Netlink {
    /// Asks one thing that is answered with one message: its kind and its body. Inside is the kernel's own no.
    ///
    /// # Errors
    /// When the conversation itself fails.
    pub fn ask(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> u16,
    ) -> Result<io::Result<(u16, Vec<u8>)>, NetlinkError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        append(&mut datagram, NLM_F_REQUEST, self.sequence, |body| (write(body), 0));
        self.send(&datagram)?;
        loop {
            self.receive()?;
            for message in (Slices { rest: &self.buffer }) {
                let message = message?;
                if message.sequence_number() != self.sequence {
                    continue;
                }
                if message.message_type() >= ENTRY_KIND_MIN {
                    return Ok(Ok((message.message_type(), message.payload().to_vec())));
                }
                if let NetlinkPayload::Error(no) =
                    decode::<RouteNetlinkMessage>(message.into_inner())?.payload
                {
                    return Ok(Err(no.to_io()));
                }
            }
        }
    }

    /// As [`Netlink::ask`], for routes, links and namespaces; the kernel's own no is [`NetlinkError::Refused`].
    ///
    /// # Errors
    /// The kernel's no, or a broken conversation.
    pub fn ask_route(&mut self, question: &RouteNetlinkMessage) -> Result<RouteNetlinkMessage, NetlinkError> {
        let (kind, body) = self.ask(|body| write_message(question, body))?.map_err(NetlinkError::Refused)?;
        let mut header = NetlinkHeader::default();
        header.message_type = kind;
        RouteNetlinkMessage::deserialize(&header, &body)
            .map_err(|error| NetlinkError::Decode(error.to_string()))
    }

    /// Makes changes of one netfilter subsystem (`NFNL_SUBSYS_*`), all or none; returns the first that was refused.
    ///
    /// `write` appends a message without its header and says its kind and its modifier flags. A refusal of the first
    /// place, before any change, is one of the transaction itself (`EPERM`).
    ///
    /// # Errors
    /// When the conversation itself fails; the changes may have been made then.
    pub fn transaction<T>(
        &mut self,
        subsystem: u8,
        changes: &[T],
        write: impl Fn(&T, &mut Vec<u8>) -> (u16, u16),
    ) -> Result<Option<Refusal>, NetlinkError> {
        let edge = |body: &mut Vec<u8>, kind| {
            // `struct nfgenmsg`, whose resource is the subsystem, in the network's order.
            body.extend([0, 0, 0, subsystem]);
            (kind, 0)
        };
        let first = self.sequence.wrapping_add(1);
        let mut datagram = Vec::new();
        append(&mut datagram, NLM_F_REQUEST, first, |body| edge(body, BEGIN));
        for (nth, change) in (1_u32..).zip(changes) {
            // The end of a transaction is not acknowledged by older kernels; its last change is.
            let ack = if nth as usize == changes.len() { NLM_F_ACK } else { 0 };
            append(&mut datagram, NLM_F_REQUEST | ack, first.wrapping_add(nth), |body| write(change, body));
        }
        let count = u32::try_from(changes.len()).unwrap_or(u32::MAX);
        self.sequence = first.wrapping_add(count).wrapping_add(1);
        append(&mut datagram, NLM_F_REQUEST, self.sequence, |body| edge(body, END));
        self.send(&datagram)?;
        self.await_transaction(first, count)
    }

    /// Waits for the first no or for the yes to the last change.
    fn await_transaction(&mut self, first: u32, count: u32) -> Result<Option<Refusal>, NetlinkError> {
        loop {
            self.receive()?;
            for message in (Slices { rest: &self.buffer }) {
                let message = message?;
                let nth = message.sequence_number().wrapping_sub(first);
                if nth > count.saturating_add(1) || message.message_type() >= ENTRY_KIND_MIN {
                    continue;
                }
                let payload = decode::<RouteNetlinkMessage>(message.into_inner())?.payload;
                let NetlinkPayload::Error(answer) = payload else { continue };
                if answer.code.is_some() {
                    return Ok(Some(Refusal { nth: nth as usize, cause: answer.to_io() }));
                }
                if nth == count {
                    return Ok(None);
                }
            }
        }
    }
}
