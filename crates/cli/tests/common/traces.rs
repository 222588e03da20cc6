//! What `byway trace` says, and what is expected of it.

use byway_lab::Lab;
use serde_json::Value;

use super::byway;

/// What `byway trace --json` says on docker41.
pub fn trace(lab: &Lab, arguments: &str) -> Value {
    let words: Vec<&str> = ["trace", "--json"].into_iter().chain(arguments.split_whitespace()).collect();
    let (_, out, errors) = byway(lab, "docker41", &words);
    serde_json::from_str(&out).unwrap_or_else(|error| panic!("{arguments}: {error}: {out}{errors}"))
}

/// The verdict about the first probe must be this cause, at this host, in words that contain all of these.
#[track_caller]
pub fn check(traced: &Value, cause: &str, host: &str, words: &[&str]) {
    let verdict = &traced["probes"][0]["verdict"];
    let all = format!("{} {}", verdict["sentence"], verdict["evidence"]);
    assert_eq!(verdict["cause"], cause, "{verdict:#}\n{}", traced["gaps"]);
    assert_eq!(verdict["host"].as_str().unwrap_or("-"), host, "{verdict:#}");
    for word in words {
        assert!(all.contains(word), "{word:?} is not in {verdict:#}");
    }
}
