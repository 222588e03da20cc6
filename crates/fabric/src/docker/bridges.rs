//! Reads Docker's own nftables table, `docker-bridges`, from what `nft -j list table` prints: 29 and later, with
//! `firewall-backend=nftables`.
//!
//! The names are those of moby `daemon/libnetwork/drivers/bridge/internal/nftabler` (`nftabler.go`, `network.go`,
//! `endpoint.go`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::contract::MARK;
use super::{RawDrop, Walls};

/// The table's name, of families `ip` and `ip6`.
pub const TABLE: &str = "docker-bridges";
/// What stands before the name of a bridge in the name of its chain.
const INTO_BRIDGE: &str = "filter-forward-in__";

/// What is there of Docker's rules of one family.
///
/// # Errors
/// When the text is not what `nft` prints.
pub fn read(json: &[u8], ipv6: bool) -> Result<Walls, serde_json::Error> {
    let answer: Value = serde_json::from_slice(json)?;
    let objects = answer["nftables"].as_array().map(Vec::as_slice).unwrap_or_default();
    let hooked = |name: &str| {
        let mut chains = objects.iter().map(|object| &object["chain"]);
        chains.any(|chain| chain["name"] == name && chain["hook"].is_string())
    };
    let mut walls =
        Walls { ipv6, forward: hooked("filter-FORWARD"), nat: hooked("nat-PREROUTING"), ..Walls::default() };
    for rule in objects.iter().map(|object| &object["rule"]) {
        let (Some(chain), Some(parts)) = (rule["chain"].as_str(), rule["expr"].as_array()) else { continue };
        if let Some(bridge) = chain.strip_prefix(INTO_BRIDGE) {
            let has = |verdict: &str| parts.iter().any(|part| part.get(verdict).is_some());
            let asks_for_nothing = parts.iter().all(|part| part.get("match").is_none());
            if has("drop") && asks_for_nothing {
                walls.closed.insert(bridge.to_owned());
            } else if has("accept") && parts.iter().any(is_our_mark) {
                walls.marked.insert(bridge.to_owned());
            }
        } else if chain == "raw-PREROUTING" {
            walls.raw_drops.extend(raw_drop(parts));
        }
    }
    Ok(walls)
}

/// Whether a match is met by every packet with our mark: `meta mark & MASK == MARK`, or without a mask.
fn is_our_mark(part: &Value) -> bool {
    let (left, right) = (&part["match"]["left"], &part["match"]["right"]);
    let mask = match left["&"].as_array().map(Vec::as_slice) {
        Some([of, mask]) if of["meta"]["key"] == "mark" => mask.as_u64(),
        _ => None,
    };
    part["match"]["op"] == "==" && mask == Some(u64::from(MARK)) && right.as_u64() == Some(u64::from(MARK))
}

/// `ip daddr CONTAINER iifname != { BRIDGE, TRUSTED… } counter drop`.
fn raw_drop(parts: &[Value]) -> Option<RawDrop> {
    parts.iter().find(|part| part.get("drop").is_some())?;
    let matches: Vec<&Value> = parts.iter().filter_map(|part| part.get("match")).collect();
    let to = matches.iter().find(|one| one["left"]["payload"]["field"] == "daddr")?["right"].as_str()?;
    let from = matches.iter().find(|one| one["left"]["meta"]["key"] == "iifname" && one["op"] == "!=")?;
    Some(RawDrop { to: to.parse().ok()?, except: names(&from["right"]) })
}

/// A name, or a set of names.
fn names(value: &Value) -> BTreeSet<String> {
    match value["set"].as_array() {
        Some(set) => set.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        None => value.as_str().map(str::to_owned).into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn chain(name: &str) -> Value {
        json!({"chain": {"family": "ip", "table": TABLE, "name": name, "hook": "forward", "prio": 0}})
    }

    fn rule(chain: &str, parts: &[Value]) -> Value {
        json!({"rule": {"family": "ip", "table": TABLE, "chain": chain, "expr": parts}})
    }

    fn equals(left: &Value, operator: &str, right: &Value) -> Value {
        json!({"match": {"op": operator, "left": left, "right": right}})
    }

    fn read_all(objects: &[Value]) -> Walls {
        read(json!({ "nftables": objects }).to_string().as_bytes(), false).unwrap()
    }

    #[test]
    fn a_bridge_is_closed_by_a_drop_for_everything_and_open_to_our_mark_only_by_our_mark() {
        let masked = json!({"&": [{"meta": {"key": "mark"}}, 0x10_0000]});
        let other = json!({"&": [{"meta": {"key": "mark"}}, 0x20_0000]});
        let walls = read_all(&[
            chain("filter-FORWARD"),
            rule("filter-forward-in__docker0", &[json!({"counter": null}), json!({"drop": null})]),
            rule(
                "filter-forward-in__docker0",
                &[equals(&masked, "==", &json!(0x10_0000)), json!({"accept": null})],
            ),
            rule(
                "filter-forward-in__bw0",
                &[equals(&other, "==", &json!(0x20_0000)), json!({"accept": null})],
            ),
            rule(
                "filter-forward-in__bw0",
                &[equals(&json!({"meta": {"key": "iifname"}}), "!=", &json!("bw0")), json!({"drop": null})],
            ),
        ]);
        assert!(walls.forward && !walls.nat);
        assert_eq!(
            (walls.closed, walls.marked),
            (["docker0".to_owned()].into(), ["docker0".to_owned()].into())
        );
    }

    #[test]
    fn a_drop_before_routing_names_its_container_and_whom_it_trusts() {
        let to =
            equals(&json!({"payload": {"protocol": "ip", "field": "daddr"}}), "==", &json!("172.41.0.2"));
        let from = json!({"meta": {"key": "iifname"}});
        let drop = json!({"drop": null});
        let trusted = equals(&from, "!=", &json!({"set": ["docker0", "eth0"]}));
        let alone = equals(&from, "!=", &json!("docker0"));
        let walls = read_all(&[
            rule("raw-PREROUTING", &[to.clone(), trusted, drop.clone()]),
            rule("raw-PREROUTING", &[to, alone, drop]),
        ]);
        let except: Vec<usize> = walls.raw_drops.iter().map(|drop| drop.except.len()).collect();
        assert_eq!(except, [2, 1]);
    }

    #[test]
    fn what_nft_does_not_print_is_an_error_or_nothing() {
        assert!(read(b"table ip docker-bridges {", false).is_err());
        for text in ["{}", "[]", "{\"nftables\": [{\"rule\": {\"chain\": 7, \"expr\": [{}]}}]}"] {
            assert_eq!(read(text.as_bytes(), true).unwrap(), Walls { ipv6: true, ..Walls::default() });
        }
    }
}
