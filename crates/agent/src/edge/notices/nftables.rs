//! Notices of nftables: whose table changed, and which program did it.
//!
//! Every transaction ends with a `NEWGEN` message that carries the name and number of the process, so even a
//! program that has long ended is known (`nf_tables_fill_gen_info`, `net/netfilter/nf_tables_api.c`).

use super::{Notice, Reader, Touch};

/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`.
pub(super) const GROUPS: [u32; 1] = [7];

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u8 = 10;
/// `NFT_MSG_NEWGEN`.
const NEWGEN: u8 = 15;
/// `NFTA_GEN_PROC_PID`, `NFTA_GEN_PROC_NAME`.
const GEN_PID: u16 = 2;
const GEN_NAME: u16 = 3;
/// The table's name is attribute 1 of tables, chains, rules, sets and elements alike.
const TABLE_NAME: u16 = 1;
/// Our table's name, as the kernel sends it.
const OUR_TABLE: &[u8] = b"byway\0";
/// `struct nlmsghdr` and `struct nfgenmsg`.
const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;

/// A transaction is told in several datagrams; the last one names the process.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// What the transaction that is being told did to our table, and from which port.
    touched: Option<(u8, u32)>,
}

impl Reader for Transactions {
    fn read(&mut self, datagram: &[u8]) -> Vec<Notice> {
        let mut notices = Vec::new();
        let mut rest = datagram;
        while rest.len() >= HEADER + FAMILY_HEADER {
            let length = word(rest, 0) as usize;
            if length < HEADER + FAMILY_HEADER || length > rest.len() {
                break;
            }
            notices.extend(self.message(&rest[..length]));
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
        notices
    }
}

impl Transactions {
    fn message(&mut self, message: &[u8]) -> Option<Notice> {
        let (kind, subsystem) = (message[4], message[5]);
        let attributes = &message[HEADER + FAMILY_HEADER..];
        if subsystem == SUBSYSTEM && kind == NEWGEN {
            let Some((touch, port)) = self.touched.take() else { return Some(Notice::Ruleset) };
            let what = format!("{} table inet byway", verb(touch));
            let who = process(attributes).unwrap_or_else(|| "somebody".to_owned());
            return Some(Notice::OurTable(Touch { what, who, port }));
        }
        if subsystem == SUBSYSTEM && attribute(attributes, TABLE_NAME) == Some(OUR_TABLE) {
            // The first message says best what was meant: deleting a table tells of all its rules after it.
            self.touched.get_or_insert((kind, word(message, 12)));
        }
        None
    }
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let bytes = bytes.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, u32::from_ne_bytes)
}

/// `NFT_MSG_*` of `linux/netfilter/nf_tables.h`.
fn verb(kind: u8) -> &'static str {
    match kind {
        2 => "deleted",
        3 => "added a chain to",
        5 => "deleted a chain of",
        6 => "added a rule to",
        8 => "deleted a rule of",
        12 => "added members to a set of",
        14 => "took members out of a set of",
        _ => "changed",
    }
}

fn process(attributes: &[u8]) -> Option<String> {
    let pid =
        attribute(attributes, GEN_PID).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes)?;
    let name = attribute(attributes, GEN_NAME)?;
    let name = String::from_utf8_lossy(name.strip_suffix(b"\0").unwrap_or(name)).into_owned();
    Some(format!("{name} (pid {pid})"))
}

/// The value of the first attribute of that kind.
fn attribute(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    let mut rest = attributes;
    while let [l0, l1, k0, k1, ..] = *rest {
        let length = usize::from(u16::from_ne_bytes([l0, l1]));
        if length < 4 || length > rest.len() {
            return None;
        }
        // The upper two bits are flags (nested, byte order).
        if u16::from_ne_bytes([k0, k1]) & 0x3fff == wanted {
            return Some(&rest[4..length]);
        }
        rest = &rest[length.next_multiple_of(4).min(rest.len())..];
    }
    None
}
