//! Reads the names of drop reasons out of the kernel's own description of its types (BTF, `linux/btf.h`).
//!
//! The numbers differ from release to release. Only one enum is looked for; the rest is stepped over.

use std::collections::BTreeMap;

/// Names that are kept of one enum: five times as many as Linux 6.18 has reasons.
const NAMES_MAX: usize = 1024;
/// `BTF_MAGIC`, and the length of the header that all versions have.
const MAGIC: u16 = 0xeb9f;
const HEADER_BYTES: usize = 24;
/// `BTF_KIND_*`.
const KIND_ENUM: u32 = 6;

/// The members of an enum: names by their numbers. None if there is no such enum, or the bytes are not BTF.
///
/// A number that has several names keeps the first.
#[must_use]
pub fn enum_names(btf: &[u8], wanted: &str) -> Option<BTreeMap<u32, String>> {
    let (types, strings) = sections(btf)?;
    let mut at = 0;
    // Each type is at least 12 bytes long, so this ends.
    while let (Some(name), Some(shape), Some(_)) = (word(types, at), word(types, at + 4), word(types, at + 8))
    {
        let (kind, count) = (shape >> 24 & 0x1f, (shape & 0xffff) as usize);
        let members = at + 12;
        if kind == KIND_ENUM && count > 0 && text(strings, name) == Some(wanted) {
            return Some(names(types, strings, members, count));
        }
        at = members + room(kind, count)?;
    }
    None
}

fn names(types: &[u8], strings: &[u8], members: usize, count: usize) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for nth in 0..count.min(NAMES_MAX) {
        let at = members + nth * 8;
        let (Some(name), Some(value)) = (word(types, at), word(types, at + 4)) else { break };
        if let Some(name) = text(strings, name) {
            names.entry(value).or_insert_with(|| name.to_owned());
        }
    }
    names
}

/// The types and the strings.
fn sections(btf: &[u8]) -> Option<(&[u8], &[u8])> {
    let magic = u16::from_ne_bytes(btf.get(..2)?.try_into().ok()?);
    let header = word(btf, 4)? as usize;
    if magic != MAGIC || header < HEADER_BYTES {
        return None;
    }
    let section = |at: usize| {
        let start = header.checked_add(word(btf, at)? as usize)?;
        btf.get(start..start.checked_add(word(btf, at + 4)? as usize)?)
    };
    Some((section(8)?, section(16)?))
}

/// Bytes that follow a type, by its kind (`Documentation/bpf/btf.rst`). None for a kind that is not known.
fn room(kind: u32, count: usize) -> Option<usize> {
    Some(match kind {
        // int, var, decl_tag
        1 | 14 | 17 => 4,
        // ptr, fwd, typedef, volatile, const, restrict, func, float, type_tag
        2 | 7..=12 | 16 | 18 => 0,
        // array
        3 => 12,
        // struct, union, datasec, enum64
        4 | 5 | 15 | 19 => count * 12,
        // enum, func_proto
        6 | 13 => count * 8,
        _ => return None,
    })
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

fn text(strings: &[u8], at: u32) -> Option<&str> {
    let rest = strings.get(at as usize..)?;
    let end = rest.iter().position(|byte| *byte == 0)?;
    std::str::from_utf8(&rest[..end]).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// BTF with an int, a struct of one member, and an enum.
    fn btf() -> Vec<u8> {
        let strings = b"\0int\0s\0reason\0NONE\0TOO_BIG\0";
        let mut types: Vec<u32> = vec![1, 1 << 24, 4, 32];
        types.extend([5, 4 << 24 | 1, 4, 1, 1, 0]);
        types.extend([7, 6 << 24 | 2, 4, 14, 0, 19, 70]);
        let types: Vec<u8> = types.into_iter().flat_map(u32::to_ne_bytes).collect();
        let lengths =
            [0, types.len(), types.len(), strings.len()].map(|length| u32::try_from(length).unwrap());
        let mut bytes = [MAGIC.to_ne_bytes(), [1, 0]].concat();
        bytes.extend(24_u32.to_ne_bytes());
        lengths.iter().for_each(|length| bytes.extend(length.to_ne_bytes()));
        [bytes, types, strings.to_vec()].concat()
    }

    #[test]
    fn an_enums_members_are_found_behind_other_types() {
        let names = enum_names(&btf(), "reason").unwrap();
        assert_eq!(
            names.into_iter().collect::<Vec<_>>(),
            [(0, "NONE".to_owned()), (70, "TOO_BIG".to_owned())]
        );
        assert_eq!(enum_names(&btf(), "s"), None);
        assert_eq!(enum_names(&btf(), "absent"), None);
    }

    #[test]
    fn cut_and_bent_bytes_are_no_panic() {
        let whole = btf();
        for length in 0..whole.len() {
            let _ = enum_names(&whole[..length], "reason");
        }
        for at in 0..whole.len() {
            for lie in [0, 1, 19, 127, 255] {
                let mut bent = whole.clone();
                bent[at] = lie;
                let _ = enum_names(&bent, "reason");
            }
        }
    }
}
