//! Reads what `nft -a list table` prints: chains with their hooks, and rules by their handles; and the same rules as
//! `iptables-save` prints them.
//!
//! Only the frame of the text is read. A rule stays the text that people know.

use std::collections::BTreeMap;

/// Rules that are kept of one table. Hosts with tens of thousands exist; a trace meets a handful of them.
pub const RULES_MAX: usize = 100_000;

/// One table as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// The chains by name.
    pub chains: BTreeMap<String, Chain>,
}

/// One chain.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chain {
    /// Where a base chain hangs.
    pub hook: Option<String>,
    /// Its priority there, as nft says it.
    pub priority: Option<String>,
    /// Its rules in order: handle and text.
    pub rules: Vec<(u64, String)>,
}

impl Listing {
    /// A chain's rule by its handle.
    #[must_use]
    pub fn rule(&self, chain: &str, handle: u64) -> Option<&str> {
        let rules = &self.chains.get(chain)?.rules;
        rules.iter().find(|(known, _)| *known == handle).map(|(_, text)| text.as_str())
    }

    /// Takes the texts of `iptables-save` (of this one table) for those of nft, chain by chain where both have the same
    /// number of rules: a rule's position is the same in both.
    pub fn speak_iptables(&mut self, saved: &str) {
        let mut by_chain: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for line in saved.lines() {
            if let Some(chain) = line.strip_prefix("-A ").and_then(|rest| rest.split(' ').next()) {
                by_chain.entry(chain).or_default().push(line);
            }
        }
        for (name, chain) in &mut self.chains {
            let Some(lines) = by_chain.get(name.as_str()) else { continue };
            if lines.len() == chain.rules.len() {
                for ((_, text), line) in chain.rules.iter_mut().zip(lines) {
                    (*line).clone_into(text);
                }
            }
        }
    }
}

/// Reads the text of `nft -a list table FAMILY NAME`. Lines that are not understood are passed over.
#[must_use]
pub fn read(text: &str) -> Listing {
    let mut listing = Listing::default();
    let (mut chain, mut pending, mut count) = (None, String::new(), 0);
    for line in text.lines() {
        let line = line.trim();
        if let Some(name) = chain_start(line) {
            chain = Some(name.to_owned());
            listing.chains.entry(name.to_owned()).or_default();
            pending.clear();
            continue;
        }
        let Some(entry) = chain.as_ref().and_then(|name| listing.chains.get_mut(name)) else { continue };
        if line == "}" && pending.is_empty() {
            chain = None;
        } else if line.starts_with("type ") && pending.is_empty() && entry.rules.is_empty() {
            (entry.hook, entry.priority) = (word_after(line, "hook"), word_after(line, "priority"));
        } else if count < RULES_MAX {
            // The members of an unnamed set may take several lines; the handle is at the end of the last one.
            if !pending.is_empty() {
                pending.push(' ');
            }
            match handled(line) {
                Some((text, handle)) => {
                    pending.push_str(text);
                    entry.rules.push((handle, without_counts(&std::mem::take(&mut pending))));
                    count += 1;
                }
                None => pending.push_str(line),
            }
        }
    }
    listing
}

/// `chain FORWARD { # handle 2`.
fn chain_start(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("chain ")?;
    let (name, rest) = rest.split_once(' ')?;
    rest.starts_with('{').then_some(name)
}

/// The word after another, up to a semicolon; a priority may be several: `filter - 10`.
fn word_after(line: &str, before: &str) -> Option<String> {
    let rest = line.split_once(&format!(" {before} "))?.1;
    let rest = rest.split(';').next()?;
    Some(if before == "priority" { rest.trim() } else { rest.split(' ').next()? }.to_owned())
}

/// A line that ends with `# handle 5`, and the number.
fn handled(line: &str) -> Option<(&str, u64)> {
    let (text, handle) = line.rsplit_once("# handle ")?;
    Some((text.trim_end(), handle.parse().ok()?))
}

/// The text without what counters say, which is of one moment.
fn without_counts(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let mut kept = Vec::with_capacity(words.len());
    let mut at = 0;
    while at < words.len() {
        kept.push(words[at]);
        let counts = words.get(at + 1..at + 5).is_some_and(|next| next[0] == "packets" && next[2] == "bytes");
        at += if words[at] == "counter" && counts { 5 } else { 1 };
    }
    kept.join(" ")
}

/// One table of what `iptables-save` prints of all.
#[must_use]
pub fn saved_table<'a>(text: &'a str, table: &str) -> Option<&'a str> {
    let head = format!("*{table}\n");
    let start = if text.starts_with(&head) { 0 } else { text.find(&format!("\n{head}"))? + 1 };
    let rest = &text[start..];
    Some(rest.split("\nCOMMIT").next().unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILTER: &str = r#"# Warning: table ip filter is managed by iptables-nft, do not touch!
table ip filter { # handle 1
	set s { # handle 9
		type ipv4_addr
	}

	chain FORWARD { # handle 2
		type filter hook forward priority filter; policy drop;
		counter packets 7 bytes 588 jump DOCKER-USER # handle 5
		ip saddr { 10.0.0.1, 10.0.0.2,
			   10.0.0.3 } counter packets 0 bytes 0 drop comment "see # handle 3" # handle 6
	}

	chain DOCKER-USER { # handle 3
		counter packets 7 bytes 588 return # handle 7
	}
}
"#;

    #[test]
    fn rules_are_found_by_chain_and_handle_without_what_they_counted() {
        let listing = read(FILTER);
        assert_eq!(listing.rule("FORWARD", 5), Some("counter jump DOCKER-USER"));
        let wrapped = r#"ip saddr { 10.0.0.1, 10.0.0.2, 10.0.0.3 } counter drop comment "see # handle 3""#;
        assert_eq!(listing.rule("FORWARD", 6), Some(wrapped));
        assert_eq!(listing.rule("DOCKER-USER", 5), None);
        let forward = &listing.chains["FORWARD"];
        assert_eq!((forward.hook.as_deref(), forward.priority.as_deref()), (Some("forward"), Some("filter")));
        assert_eq!(listing.chains["DOCKER-USER"].hook, None);
    }

    #[test]
    fn a_table_of_iptables_is_told_in_its_own_words() {
        let saved = "*filter\n:FORWARD DROP [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n\
            -A FORWARD -s 10.0.0.1/32 -j DROP\nCOMMIT\n";
        let mut listing = read(FILTER);
        listing.speak_iptables(saved_table(saved, "filter").unwrap());
        assert_eq!(listing.rule("FORWARD", 5), Some("-A FORWARD -j DOCKER-USER"));
        assert_eq!(listing.rule("DOCKER-USER", 7), Some("counter return"), "the numbers of rules differ");
    }

    #[test]
    fn one_table_is_taken_out_of_many() {
        let all = "# by\n*raw\n:A\n-A A x\nCOMMIT\n*filter\n:B\nCOMMIT\n";
        assert_eq!(saved_table(all, "raw"), Some("*raw\n:A\n-A A x"));
        assert_eq!(saved_table(all, "filter"), Some("*filter\n:B"));
        assert_eq!(saved_table(all, "nat"), None);
    }

    #[test]
    fn any_text_is_read() {
        for text in [
            "",
            "}",
            "chain {",
            "chain a {\n# handle",
            "chain a {\ntype \n}\n}",
            "chain a {\n x # handle 99999999999999999999999",
        ] {
            assert!(read(text).chains.len() <= 1, "{text}");
        }
    }
}
