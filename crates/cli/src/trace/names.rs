//! Names of containers and hosts in place of bare addresses, in lines that are told to people.

use std::collections::BTreeMap;
use std::net::IpAddr;

/// A text with `name(address)` for each address that has a name.
pub(super) fn with_names(text: &str, names: &BTreeMap<IpAddr, String>) -> String {
    let is_address = |c: char| c.is_ascii_hexdigit() || matches!(c, '.' | ':');
    let mut told = String::with_capacity(text.len());
    let mut rest = text;
    // Ends: each round takes at least one character.
    while !rest.is_empty() {
        let length = rest.find(|c| !is_address(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(length);
        told += &name(word, names).unwrap_or_else(|| word.to_owned());
        let length = after.find(is_address).unwrap_or(after.len());
        let (between, after) = after.split_at(length);
        told += between;
        rest = after;
    }
    told
}

/// A word that is an address with a name, or one with an IPv4 port behind it.
fn name(word: &str, names: &BTreeMap<IpAddr, String>) -> Option<String> {
    let known = |address: &str| Some((address.to_owned(), names.get(&address.parse().ok()?)?));
    if let Some((address, name)) = known(word) {
        return Some(format!("{name}({address})"));
    }
    let (address, port) = word.rsplit_once(':')?;
    let (address, name) = known(address).filter(|(address, _)| !address.contains(':'))?;
    Some(format!("{name}({address}):{port}"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "for tests only")]

    use super::*;

    #[test]
    fn addresses_get_their_names_and_nothing_else_does() {
        let names = [("172.41.0.2", "web"), ("fd00::2", "db")];
        let names = names.map(|(address, name)| (address.parse().unwrap(), name.to_owned())).into();
        for (text, expected) in [
            ("172.41.0.2 > 10.0.0.1", "web(172.41.0.2) > 10.0.0.1"),
            ("172.41.0.2:80 > 172.41.0.22", "web(172.41.0.2):80 > 172.41.0.22"),
            ("[fd00::2]:80, fd00::2 and fd00::22", "[db(fd00::2)]:80, db(fd00::2) and fd00::22"),
            ("at 12:30 … é", "at 12:30 … é"),
            ("", ""),
        ] {
            assert_eq!(with_names(text, &names), expected);
        }
    }
}
