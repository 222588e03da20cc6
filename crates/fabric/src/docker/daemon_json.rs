//! Changes single keys of Docker's `daemon.json`; all others, their order and the formatting stay as they are.

use std::ops::Range;

use serde_json::Value;

/// A text that is not a `daemon.json`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDaemonJson {
    /// It is not JSON.
    #[error("line {line}, column {column}: {why}")]
    Json {
        /// From 1.
        line: usize,
        /// From 1.
        column: usize,
        /// What is wrong.
        why: String,
    },
    /// It is JSON, but no object.
    #[error("it must be an object in {{ }}")]
    NoObject,
}

/// A key that gets another value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The value that it has.
    pub from: Option<Value>,
    /// The value that it gets.
    pub to: Value,
}

/// The text with these keys set, and what that changes; an empty text is an empty object.
///
/// # Errors
/// When the text is no JSON object.
pub fn set(text: &str, wanted: &[(&str, Value)]) -> Result<(String, Vec<Change>), NotDaemonJson> {
    let mut text = if text.trim().is_empty() { "{}\n".to_owned() } else { text.to_owned() };
    let mut changes = Vec::new();
    for (key, to) in wanted {
        let object = read(&text)?;
        let from = object.get(*key).cloned();
        if from.as_ref() == Some(to) {
            continue;
        }
        text = put(&text, key, to);
        changes.push(Change { key: (*key).to_owned(), from, to: to.clone() });
    }
    Ok((text, changes))
}

fn read(text: &str) -> Result<serde_json::Map<String, Value>, NotDaemonJson> {
    let value: Value = serde_json::from_str(text).map_err(|error| NotDaemonJson::Json {
        line: error.line(),
        column: error.column(),
        why: error.to_string().split(" at line ").next().unwrap_or_default().to_owned(),
    })?;
    match value {
        Value::Object(object) => Ok(object),
        _ => Err(NotDaemonJson::NoObject),
    }
}

/// The text, which is a JSON object, with one key set.
fn put(text: &str, key: &str, to: &Value) -> String {
    let members = members(text);
    // Of a key that stands twice the last one counts, for Docker as for us.
    if let Some(member) = members.iter().rev().find(|member| member.key == key) {
        return format!("{}{to}{}", &text[..member.value.start], &text[member.value.end..]);
    }
    let key = Value::from(key);
    let Some((first, last)) = members.first().zip(members.last()) else {
        let open = text.find('{').map_or(0, |at| at + 1);
        let close = text.rfind('}').unwrap_or(text.len());
        return format!("{}\n  {key}: {to}\n{}", &text[..open], &text[close..]);
    };
    // What stands before the first key stands before the new one: a line break and its indent, or nothing.
    let open = text[..first.start].rfind('{').map_or(0, |at| at + 1);
    let before = &text[open..first.start];
    let before = if before.is_empty() { " " } else { before };
    format!("{},{before}{key}: {to}{}", &text[..last.value.end], &text[last.value.end..])
}

/// A key of the outermost object.
struct Member {
    key: String,
    /// Where its key begins.
    start: usize,
    value: Range<usize>,
}

/// The members of the outermost object of a valid text.
fn members(text: &str) -> Vec<Member> {
    let mut members = Vec::new();
    let (mut depth, mut in_string, mut escaped) = (0_u32, false, false);
    let (mut token, mut key) = (None, None);
    for (at, byte) in text.bytes().enumerate() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        let ends_value = depth == 1 && matches!(byte, b',' | b'}');
        if ends_value && let (Some((start, name)), Some(from)) = (key.take(), token.take()) {
            let value = from..from + text[from..at].trim_end().len();
            members.push(Member { key: name, start, value });
        }
        match byte {
            b':' if depth == 1 && key.is_none() => {
                key = token.take().map(|start: usize| (start, unquoted(text[start..at].trim_end())));
            }
            b',' | b' ' | b'\t' | b'\r' | b'\n' => {}
            _ if depth == 1 && byte != b'}' => token = token.or(Some(at)),
            _ => {}
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    members
}

fn unquoted(text: &str) -> String {
    serde_json::from_str(text).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(text: &str, key: &str, to: Value) -> String {
        set(text, &[(key, to)]).map_or_else(|error| error.to_string(), |(text, _)| text)
    }

    #[test]
    fn an_empty_file_becomes_an_object() {
        assert_eq!(told("", "bip", json!("172.41.0.1/16")), "{\n  \"bip\": \"172.41.0.1/16\"\n}\n");
        assert_eq!(told("{ }", "bip", json!("x")), "{\n  \"bip\": \"x\"\n}");
    }

    #[test]
    fn a_new_key_comes_last_with_the_indent_of_the_others() {
        let text = "{\n    \"log-driver\": \"journald\",\n    \"dns\": [ \"1.1.1.1\", \"9.9.9.9\" ]\n}\n";
        let expected = "{\n    \"log-driver\": \"journald\",\n    \"dns\": [ \"1.1.1.1\", \"9.9.9.9\" ],\n    \"bip\": \"x\"\n}\n";
        assert_eq!(told(text, "bip", json!("x")), expected);
        assert_eq!(told("{\"a\":1}", "bip", json!("x")), "{\"a\":1, \"bip\": \"x\"}");
    }

    #[test]
    fn a_value_is_replaced_where_it_stands_and_only_there() {
        let text =
            "{ \"inner\": { \"bip\": \"no\" }, \"bip\" : \"172.17.0.1/16\" , \"text\": \"bip: {\\\"\" }";
        let expected = "{ \"inner\": { \"bip\": \"no\" }, \"bip\" : \"yes\" , \"text\": \"bip: {\\\"\" }";
        assert_eq!(told(text, "bip", json!("yes")), expected);
    }

    #[test]
    fn what_is_right_already_stays_to_the_letter() {
        let (text, changes) = set("{\"bip\" :\"x\"}", &[("bip", json!("x"))]).unwrap();
        assert_eq!((text.as_str(), changes.len()), ("{\"bip\" :\"x\"}", 0));
    }

    #[test]
    fn what_is_no_object_is_refused_with_its_place() {
        assert_eq!(told("{\n  \"bip\": ,\n}", "bip", json!("x")), "line 2, column 10: expected value");
        assert_eq!(told("[1]", "bip", json!("x")), "it must be an object in { }");
    }

    proptest::proptest! {
        /// Whatever the object, the result is the same object with that key set.
        #[test]
        fn other_keys_keep_their_values(
            object in proptest::collection::btree_map("[a-c\"\\\\{}:, é]{0,4}", "[a-z\"\\\\{}\\[\\]:, \n]{0,6}", 0..6),
            pretty in proptest::bool::ANY,
            key in "[a-c]{1}",
        ) {
            let mut value = json!(object);
            let text = if pretty { serde_json::to_string_pretty(&value).unwrap() } else { value.to_string() };
            value[&key] = json!({"new": [1, true]});
            let (text, _) = set(&text, &[(&key, value[&key].clone())]).unwrap();
            proptest::prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
        }
    }
}
