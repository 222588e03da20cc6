//! What dockerd was told that it does not tell again: read from its command line, its environment and its
//! configuration file. Only what its rules cannot show is read here.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde_json::Value;

/// Where dockerd writes its process id, unless told otherwise.
const PID_FILE: &str = "/run/docker.pid";
/// Where its configuration is, unless told otherwise.
const CONFIG_FILE: &str = "/etc/docker/daemon.json";
/// Larger files are none of dockerd's.
const BYTES_MAX: u64 = 1 << 20;
/// "Insecure" to Docker: containers can be spoken to from outside of their bridge, as far as table filter lets.
const NO_RAW: &str = "DOCKER_INSECURE_NO_IPTABLES_RAW";

/// Options of a running dockerd.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DaemonOptions {
    /// `iptables`, if it was said.
    pub iptables: Option<bool>,
    /// Whether no drops are put in raw, or may not be: `allow-direct-routing`, or the environment, which only those may
    /// read who may do all that dockerd may.
    pub no_raw_drops: bool,
}

/// The options of the dockerd of this host; none said where it cannot be read.
#[must_use]
pub fn read() -> DaemonOptions {
    let process = fs::read_to_string(PID_FILE).unwrap_or_default();
    let process = Path::new("/proc").join(process.trim().parse::<u32>().unwrap_or_default().to_string());
    let words = words(&process.join("cmdline"));
    let flags = flags(&words);
    let file = flags.get("config-file").map_or(CONFIG_FILE, String::as_str);
    // dockerd refuses to start with an option in both; while a file waits for a restart, the flag is what counts.
    let file = bounded(Path::new(file)).and_then(|text| serde_json::from_slice::<Value>(&text).ok());
    let option = |name: &str| {
        let said = flags.get(name).map(|value| value != "false");
        said.or_else(|| file.as_ref()?.get(name)?.as_bool())
    };
    let environment = bounded(&process.join("environ"));
    let says_no_raw =
        |text: Vec<u8>| text.split(|byte| *byte == 0).any(|word| word == format!("{NO_RAW}=1").as_bytes());
    DaemonOptions {
        iptables: option("iptables"),
        no_raw_drops: option("allow-direct-routing").unwrap_or_default()
            || environment.is_none_or(says_no_raw),
    }
}

/// `--name=value`, `--name value` and `--name`, which is true.
fn flags(words: &[String]) -> BTreeMap<&str, String> {
    let mut flags = BTreeMap::new();
    for (at, word) in words.iter().enumerate() {
        let Some(flag) = word.strip_prefix("--") else { continue };
        let next = words.get(at + 1).filter(|next| !next.starts_with('-'));
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, value.to_owned()),
            None => (flag, next.cloned().unwrap_or_else(|| "true".to_owned())),
        };
        flags.insert(name, value);
    }
    flags
}

/// The words of a file of the kernel in which each ends with a zero.
fn words(file: &Path) -> Vec<String> {
    let text = bounded(file).unwrap_or_default();
    text.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

fn bounded(file: &Path) -> Option<Vec<u8>> {
    use std::io::Read as _;
    let mut text = Vec::new();
    fs::File::open(file).ok()?.take(BYTES_MAX).read_to_end(&mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_read_in_all_their_forms() {
        let words = [
            "dockerd",
            "--iptables=false",
            "--config-file",
            "/x.json",
            "--allow-direct-routing",
            "-H",
            "unix",
        ];
        let words = words.map(str::to_owned);
        let flags = flags(&words);
        assert_eq!(flags["iptables"], "false");
        assert_eq!(flags["config-file"], "/x.json");
        assert_eq!(flags["allow-direct-routing"], "true");
    }
}
