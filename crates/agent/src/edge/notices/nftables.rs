//! Notices of nftables: whose table changed, and which program did it.
//!
//! Every transaction ends with a `NEWGEN` message that carries the name and number of the process, so even a
//! program that has long ended is known (`nf_tables_fill_gen_info`, `net/netfilter/nf_tables_api.c`).

use super::{Notice, Reader, Touch};

/// `NFNLGRP_NFTABLES` of `linux/netfilter/nfnetlink.h`.
pub(super) const GROUPS: [u32; 1] = [7];

/// `NFNL_SUBSYS_NFTABLES`.
const SUBSYSTEM: u8 = 10;
/// `NFT_MSG_NEWTABLE`, `NFT_MSG_DELTABLE`, `NFT_MSG_NEWGEN`.
const NEWTABLE: u8 = 0;
const DELTABLE: u8 = 2;
const NEWGEN: u8 = 15;
/// What is said of a table that was deleted.
const DELETED: &str = "deleted";
/// `NFTA_GEN_PROC_PID`, `NFTA_GEN_PROC_NAME`.
const GEN_PID: u16 = 2;
const GEN_NAME: u16 = 3;
/// The table's name is attribute 1 of tables, chains, rules, sets and elements alike.
const TABLE_NAME: u16 = 1;
/// Our table, as the kernel sends it: its family (`NFPROTO_INET`, in `struct nfgenmsg`) and its name. Traces have
/// tables of that name in other families.
const OUR_FAMILY: u8 = 1;
const OUR_TABLE: &[u8] = b"byway\0";
/// `struct nlmsghdr` and `struct nfgenmsg`.
const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;

/// A transaction is told in several datagrams; the last one names the process.
#[derive(Debug, Default)]
pub(super) struct Transactions {
    /// What the transaction that is being told did to our table, and from which port.
    touched: Option<(&'static str, u32)>,
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
            let what = format!("{touch} table inet byway");
            let who = process(attributes).unwrap_or_else(|| "somebody".to_owned());
            return Some(Notice::OurTable(Touch { what, who, port }));
        }
        let is_ours = message[HEADER] == OUR_FAMILY && attribute(attributes, TABLE_NAME) == Some(OUR_TABLE);
        if subsystem == SUBSYSTEM && is_ours {
            let port = word(message, 12);
            self.touched = Some(match (self.touched, kind) {
                // Deleting a table tells of all its rules, sets and chains before it.
                (_, DELTABLE) => (DELETED, port),
                (Some((DELETED, port)), NEWTABLE) => ("replaced", port),
                // Otherwise the first message says best what was meant.
                (Some(known), _) => known,
                (None, _) => (verb(kind), port),
            });
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
        NEWTABLE => "made",
        DELTABLE => DELETED,
        3 => "added a chain to",
        5 => "deleted a chain of",
        6 => "added a rule to",
        8 => "deleted a rule of",
        9 => "added a set to",
        11 => "deleted a set of",
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

#[cfg(test)]
mod tests {
    use super::*;

    /// One message of a transaction: its kind, and the attributes.
    fn message(kind: u8, port: u32, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut message = vec![0, 0, 0, 0, kind, SUBSYSTEM, 0, 0, 0, 0, 0, 0];
        message.extend(port.to_ne_bytes());
        message.extend([1, 0, 0, 0]);
        for (name, value) in attributes {
            let length = u16::try_from(4 + value.len()).unwrap();
            message.extend([length.to_ne_bytes(), name.to_ne_bytes()].concat());
            message.extend(*value);
            message.resize(message.len().next_multiple_of(4), 0);
        }
        let length = u32::try_from(message.len()).unwrap();
        message[..4].copy_from_slice(&length.to_ne_bytes());
        message
    }

    fn of_table(kind: u8, table: &str) -> Vec<u8> {
        message(kind, 77, &[(TABLE_NAME, format!("{table}\0").as_bytes())])
    }

    fn end() -> Vec<u8> {
        message(NEWGEN, 77, &[(1, &[0; 4]), (GEN_PID, &4711_u32.to_be_bytes()), (GEN_NAME, b"nft\0")])
    }

    fn check(datagrams: &[Vec<u8>], expected: &str) {
        let mut reader = Transactions::default();
        let heard = datagrams.iter().flat_map(|datagram| reader.read(datagram)).map(|notice| match notice {
            Notice::OurTable(touch) => format!("{} by {} from port {}", touch.what, touch.who, touch.port),
            other => format!("{other:?}"),
        });
        assert_eq!(heard.collect::<Vec<_>>().join(", "), expected);
    }

    #[test]
    fn a_deleted_rule_is_told_at_the_end_of_its_transaction_with_its_author() {
        check(&[of_table(8, "byway")], "");
        check(
            &[of_table(8, "byway"), end()],
            "deleted a rule of table inet byway by nft (pid 4711) from port 77",
        );
    }

    #[test]
    fn a_deleted_table_is_told_as_such_though_its_rules_are_told_before_it() {
        let all = [of_table(8, "byway"), of_table(11, "byway"), of_table(5, "byway"), of_table(2, "byway")];
        check(
            &[all.concat(), of_table(2, "other"), end()],
            "deleted table inet byway by nft (pid 4711) from port 77",
        );
        check(
            &[all.concat(), of_table(0, "byway"), of_table(3, "byway"), end()],
            "replaced table inet byway by nft (pid 4711) from port 77",
        );
    }

    #[test]
    fn a_transaction_in_other_tables_is_not_about_ours() {
        check(&[of_table(8, "byway2"), of_table(6, "filter"), end()], "Ruleset");
        check(
            &[of_table(6, "byway"), end(), of_table(6, "filter"), end()],
            "added a rule to table inet byway by nft (pid 4711) from port 77, Ruleset",
        );
    }

    #[test]
    fn tables_of_our_name_in_other_families_are_those_of_traces() {
        let mut of_trace = of_table(0, "byway");
        of_trace[HEADER] = 2;
        check(&[of_trace, end()], "Ruleset");
    }

    #[test]
    fn a_transaction_whose_author_is_not_told_was_somebodys() {
        check(
            &[of_table(12, "byway"), message(NEWGEN, 0, &[])],
            "added members to a set of table inet byway by somebody from port 77",
        );
    }

    #[test]
    fn cut_and_lying_datagrams_are_read_up_to_the_cut() {
        let whole = [of_table(8, "byway"), end()].concat();
        for length in 0..whole.len() {
            let mut reader = Transactions::default();
            assert_eq!(reader.read(&whole[..length]), [], "{length} bytes");
        }
        for at in 0..whole.len() {
            for lie in [0, 1, 3, 15, 16, 19, 255] {
                let mut bent = whole.clone();
                bent[at] = lie;
                Transactions::default().read(&bent);
            }
        }
    }
}
