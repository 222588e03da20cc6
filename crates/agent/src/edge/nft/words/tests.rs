//! What nft lists, in the words of fabric: as nft 1.0.6 writes it, as others write it, and as nobody should.

use super::*;

/// A listing with these objects after the header that nft writes.
fn listing(objects: &str) -> Vec<u8> {
    let head =
        r#"{"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}}"#;
    let table = r#"{"table": {"family": "inet", "name": "byway", "handle": 1}}"#;
    let objects = if objects.is_empty() { String::new() } else { format!(", {objects}") };
    format!(r#"{{"nftables": [{head}, {table}{objects}]}}"#).into_bytes()
}

/// A rule with these expressions reads so.
fn check_rule(expressions: &str, expected: &str) {
    let chain = r#"{"chain": {"family": "inet", "table": "byway", "name": "from", "handle": 7, "type": "filter", "hook": "prerouting", "prio": -310, "policy": "accept"}}"#;
    let rule = format!(
        r#"{{"rule": {{"family": "inet", "table": "byway", "chain": "from", "handle": 11, "comment": "why", "expr": [{expressions}]}}}}"#
    );
    let table = table(&listing(&format!("{chain}, {rule}"))).unwrap();
    let chain = &table.chains["from"];
    assert_eq!(chain.hook, "type filter hook prerouting priority -310; policy accept;");
    assert_eq!(chain.rules, [Rule { text: expected.to_owned(), comment: "why".to_owned() }]);
}

/// A set with these members reads so.
fn check_set(members: &str, expected: &[&str]) {
    let set = format!(
        r#"{{"set": {{"family": "inet", "name": "local4", "table": "byway", "type": "ipv4_addr", "handle": 3, "flags": ["interval"]{members}}}}}"#
    );
    let table = table(&listing(&set)).unwrap();
    assert_eq!(table.sets["local4"].of, "ipv4_addr");
    let elements: Vec<String> = table.sets["local4"].elements.iter().map(ToString::to_string).collect();
    assert_eq!(elements, expected);
}

fn check_error(json: &[u8], expected: &str) {
    let error = table(json).unwrap_err().to_string();
    assert!(error.starts_with("understand what nft lists: ") && error.contains(expected), "{error}");
}

#[test]
fn an_empty_table_is_empty() {
    assert_eq!(table(&listing("")).unwrap(), Table::default());
}

#[test]
fn our_own_rules_read_as_they_were_written() {
    check_rule(
        r#"{"match": {"op": "!=", "left": {"meta": {"key": "iifname"}}, "right": "@uplinks"}},
           {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "saddr"}}, "right": "@peers4"}},
           {"counter": {"packets": 3, "bytes": 252}}, {"drop": null}"#,
        "iifname != @uplinks ip saddr @peers4 counter drop",
    );
    check_rule(
        r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}},
           {"counter": {"packets": 0, "bytes": 0}}, {"accept": null}"#,
        "ct state established,related counter accept",
    );
    check_rule(
        r#"{"match": {"op": "in", "left": {"ct": {"key": "status"}}, "right": "dnat"}}, {"accept": null}"#,
        "ct status dnat accept",
    );
    check_rule(
        r#"{"snat": {"family": "ip6", "addr": {"payload": {"protocol": "ip6", "field": "saddr"}}}}"#,
        "snat ip6 to ip6 saddr",
    );
    check_rule(r#"{"masquerade": null}"#, "masquerade");
}

#[test]
fn the_order_of_states_does_not_matter_and_a_set_of_them_is_the_same() {
    let expected = "ct state established,related accept";
    for right in [r#"["related", "established"]"#, r#"{"set": ["related", "established"]}"#] {
        check_rule(
            &format!(
                r#"{{"match": {{"op": "in", "left": {{"ct": {{"key": "state"}}}}, "right": {right}}}}}, {{"accept": null}}"#
            ),
            expected,
        );
    }
}

#[test]
fn what_we_never_write_and_what_has_an_option_more_stays_what_it_is() {
    check_rule(r#"{"log": {"prefix": "x"}}, {"drop": null}"#, r#"{"log":{"prefix":"x"}} drop"#);
    check_rule(
        r#"{"masquerade": {"flags": "random"}}, {"jump": {"target": "y"}}"#,
        r#"{"masquerade":{"flags":"random"}} {"jump":{"target":"y"}}"#,
    );
    check_rule(
        r#"{"snat": {"family": "ip", "addr": {"payload": {"protocol": "ip", "field": "saddr"}}, "port": 7}}"#,
        r#"{"snat":{"addr":{"payload":{"field":"saddr","protocol":"ip"}},"family":"ip","port":7}}"#,
    );
    check_rule(
        r#"{"match": {"op": "<", "left": {"meta": {"key": "length"}}, "right": 100}}"#,
        r#"{"match":{"left":{"meta":{"key":"length"}},"op":"<","right":100}}"#,
    );
    check_rule(r#"{"counter": "hits"}"#, r#"{"counter":"hits"}"#);
    check_rule(
        r#"{"match": {"op": "==", "left": {"ct": {"key": "saddr", "dir": "original"}}, "right": "@local4"}}"#,
        r#"{"match":{"left":{"ct":{"dir":"original","key":"saddr"}},"op":"==","right":"@local4"}}"#,
    );
    check_rule("", "");
}

#[test]
fn a_match_on_some_states_and_a_number_is_not_a_match_on_the_states() {
    let odd = r#"{"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", 7]}}"#;
    let kept: Value = serde_json::from_str(odd).unwrap();
    check_rule(odd, &kept.to_string());
}

#[test]
fn members_are_addresses_prefixes_names_or_what_they_are() {
    check_set("", &[]);
    check_set(r#", "elem": []"#, &[]);
    check_set(r#", "elem": [{"prefix": {"addr": "172.41.0.0", "len": 16}}]"#, &["172.41.0.0/16"]);
    check_set(
        r#", "elem": ["10.0.0.7", {"prefix": {"addr": "fd00::", "len": 8}}]"#,
        &["10.0.0.7/32", "fd00::/8"],
    );
    check_set(r#", "elem": ["eth0"]"#, &["\"eth0\""]);
    check_set(
        r#", "elem": [{"range": ["10.0.0.1", "10.0.0.9"]}]"#,
        &[r#""{"range":["10.0.0.1","10.0.0.9"]}""#],
    );
    check_set(
        r#", "elem": [{"prefix": {"addr": "10.0.0.0", "len": 99}}, {"prefix": {"addr": "x", "len": 8}}, {"prefix": 7}]"#,
        &[
            r#""{"prefix":7}""#,
            r#""{"prefix":{"addr":"10.0.0.0","len":99}}""#,
            r#""{"prefix":{"addr":"x","len":8}}""#,
        ],
    );
}

#[test]
fn other_kinds_of_objects_are_foreign_and_named() {
    let objects = r#"{"map": {"family": "inet", "name": "mine", "table": "byway", "type": "ipv4_addr", "map": "verdict"}},
        {"counter": {"family": "inet", "name": "hits", "table": "byway"}}, {"flowtable": {"name": "f"}}, 7"#;
    let table = table(&listing(objects)).unwrap();
    assert_eq!(table.sets.keys().collect::<Vec<_>>(), ["7", "counter hits", "flowtable f", "map mine"]);
    assert!(table.sets.values().all(|set| set.of == FOREIGN));
}

#[test]
fn a_chain_without_a_hook_is_none_of_ours() {
    let table =
        table(&listing(r#"{"chain": {"family": "inet", "table": "byway", "name": "mine", "handle": 1}}"#))
            .unwrap();
    assert_eq!(table.chains["mine"].hook, "type  hook  priority null; policy ;");
}

#[test]
fn what_is_no_listing_is_an_error() {
    check_error(b"", "EOF");
    check_error(b"{\"nftables\": [", "EOF");
    check_error(b"[]", "no list `nftables`");
    check_error(b"{}", "no list `nftables`");
    check_error(b"{\"nftables\": {}}", "no list `nftables`");
    check_error(b"\xff\xfe", "");
    check_error(&listing(r#"{"rule": {"chain": "nowhere", "expr": []}}"#), "a rule before its chain");
}

#[test]
fn hostile_json_is_an_error_or_a_difference_and_never_a_panic() {
    let deep = [b"[".repeat(100_000), b"]".repeat(100_000)].concat();
    check_error(&deep, "recursion limit");
    for odd in [
        "null",
        "[]",
        r#"{"set": null}"#,
        r#"{"set": 7}"#,
        r#"{"set": {"name": 7, "elem": 7}}"#,
        r#"{"chain": []}"#,
        r#"{"set": {"name": "s", "type": {"typeof": 7}, "elem": [null, 7, [], {}, {"prefix": {}}]}}"#,
        r#"{"chain": {"name": null, "prio": {}}}, {"rule": {"chain": null, "expr": {"a": 7}}}"#,
        r#"{"chain": {"name": "c"}}, {"rule": {"chain": "c", "expr": [null, 7, {}, {"match": null}, {"match": {"op": 7, "left": {}, "right": []}}, {"snat": 7}]}}"#,
    ] {
        let read = table(&listing(odd));
        assert!(read.is_ok_and(|table| table != Table::default()), "{odd}");
    }
}
