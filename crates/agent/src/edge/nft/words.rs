//! From nft's JSON (libnftables-json(5)) to the words in which fabric writes sets, chains and rules.

use byway_fabric::table::{Chain, Element, FOREIGN, Rule, Set, Table};
use ipnet::IpNet;
use serde_json::Value;

use super::NftError;

/// Reads the answer to `nft -j list table`.
pub(super) fn table(json: &[u8]) -> Result<Table, NftError> {
    let answer: Value =
        serde_json::from_slice(json).map_err(|error| NftError::Understand(error.to_string()))?;
    let objects = answer["nftables"].as_array();
    let objects = objects.ok_or_else(|| NftError::Understand("no list `nftables`".to_owned()))?;
    let mut table = Table::default();
    for object in objects {
        if let Some(set) = object.get("set") {
            table.sets.insert(text(&set["name"]), set_of(set));
        } else if let Some(chain) = object.get("chain") {
            table.chains.insert(text(&chain["name"]), Chain { hook: hook(chain), rules: Vec::new() });
        } else if let Some(rule) = object.get("rule") {
            let chain = table.chains.get_mut(&text(&rule["chain"]));
            let chain = chain.ok_or_else(|| NftError::Understand("a rule before its chain".to_owned()))?;
            chain.rules.push(Rule { text: rule_text(&rule["expr"]), comment: text(&rule["comment"]) });
        } else if object.get("metainfo").is_none() && object.get("table").is_none() {
            // A map, a counter, a flowtable: not ours, and so a difference.
            table.sets.insert(foreign(object), Set { of: FOREIGN.to_owned(), elements: [].into() });
        }
    }
    Ok(table)
}

/// The kind and the name of an object that we never make: `map mine`.
fn foreign(object: &Value) -> String {
    let known = object.as_object().and_then(|object| object.iter().next());
    known.map_or_else(|| object.to_string(), |(kind, body)| format!("{kind} {}", text(&body["name"])))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn set_of(set: &Value) -> Set {
    let elements = set["elem"].as_array().into_iter().flatten().map(element);
    Set { of: text(&set["type"]), elements: elements.collect() }
}

/// An address, `{"prefix": {"addr", "len"}}`, or an interface name.
fn element(value: &Value) -> Element {
    if let Some(word) = value.as_str() {
        let address = word.parse::<std::net::IpAddr>();
        return address
            .map_or_else(|_| Element::Text(word.to_owned()), |ip| Element::Prefix(IpNet::from(ip)));
    }
    prefix(value).map_or_else(|| Element::Text(value.to_string()), Element::Prefix)
}

fn prefix(value: &Value) -> Option<IpNet> {
    let prefix = value.get("prefix")?;
    let length = u8::try_from(prefix["len"].as_u64()?).ok()?;
    IpNet::new(prefix["addr"].as_str()?.parse().ok()?, length).ok()
}

fn hook(chain: &Value) -> String {
    let of = |key: &str| text(&chain[key]);
    format!("type {} hook {} priority {}; policy {};", of("type"), of("hook"), chain["prio"], of("policy"))
}

fn rule_text(expressions: &Value) -> String {
    let expressions = expressions.as_array().into_iter().flatten();
    expressions
        .map(|expression| statement(expression).unwrap_or_else(|| expression.to_string()))
        .collect::<Vec<_>>()
        .join(" ")
}

/// A statement that we could have written. One with an option more, a flag or a port, is another statement.
fn statement(value: &Value) -> Option<String> {
    let (name, body) = only(value)?;
    match name {
        "match" => matching(body),
        "counter" if !body.is_string() => Some(name.to_owned()),
        "accept" | "drop" | "masquerade" if body.is_null() => Some(name.to_owned()),
        "mangle" => marking(body),
        "snat" if has(body, 2) => {
            Some(format!("snat {} to {}", body["family"].as_str()?, operand(&body["addr"])?))
        }
        _ => None,
    }
}

/// The one form of it that we write: a bit is set in the packet's mark.
fn marking(body: &Value) -> Option<String> {
    let is_mark = |value: &Value| operand(value).is_some_and(|word| word == "mark");
    let (operator, sides) = only(&body["value"])?;
    let [left, right] = sides.as_array()?.as_slice() else { return None };
    let bits = right
        .as_u64()
        .filter(|_| has(body, 2) && operator == "|" && is_mark(&body["key"]) && is_mark(left))?;
    Some(format!("meta mark set meta mark | {bits:#010x}"))
}

/// The name and the body of an object with one key.
fn only(value: &Value) -> Option<(&str, &Value)> {
    let object = value.as_object().filter(|object| object.len() == 1)?;
    object.iter().next().map(|(name, body)| (name.as_str(), body))
}

fn has(body: &Value, keys: usize) -> bool {
    body.as_object().is_some_and(|body| body.len() == keys)
}

fn matching(body: &Value) -> Option<String> {
    let left = operand(&body["left"])?;
    let right = operand(&body["right"])?;
    let is_name = ["iifname", "oifname"].contains(&left.as_str()) && !right.starts_with('@');
    let right = if is_name { format!("\"{right}\"") } else { right };
    match body["op"].as_str()? {
        "==" | "in" => Some(format!("{left} {right}")),
        "!=" => Some(format!("{left} != {right}")),
        _ => None,
    }
}

fn operand(value: &Value) -> Option<String> {
    if let Some(word) = value.as_str() {
        return Some(word.to_owned());
    }
    if let Some(number) = value.as_u64() {
        return Some(number.to_string());
    }
    if let Some(words) = value.as_array().or_else(|| value["set"].as_array()) {
        let mut words: Vec<&str> = words.iter().map(Value::as_str).collect::<Option<_>>()?;
        words.sort_unstable();
        return Some(words.join(","));
    }
    let (name, body) = only(value)?;
    match name {
        "prefix" => prefix(value).map(|prefix| prefix.to_string()),
        "meta" if has(body, 1) => body["key"].as_str().map(str::to_owned),
        "ct" if has(body, 1) => Some(format!("ct {}", body["key"].as_str()?)),
        "payload" if has(body, 2) => {
            Some(format!("{} {}", body["protocol"].as_str()?, body["field"].as_str()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
