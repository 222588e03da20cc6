//! The little of Docker's API that the lab itself needs, as HTTP/1.0 over the host's socket.
//!
//! Everything here must run in the host's mount namespace: the socket is a path in it.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ipnet::IpNet;
use serde_json::{Value, json};

use super::room::STAGE;

/// The engine's socket, where it is by default.
pub(crate) const SOCKET: &str = "/run/docker.sock";
/// How long an answer may take: an image of half a gigabyte is imported in some seconds.
const ANSWER_WAIT: Duration = Duration::from_mins(1);
/// The longest answer: a thousand containers take 3 MiB.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// A container as Docker tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: String,
    pub(crate) addresses: Vec<IpNet>,
}

/// What an engine calls its version.
pub(crate) fn version() -> Result<String> {
    let told = ask("GET", "/version", &[])?;
    Ok(told["Version"].as_str().context("the engine does not tell its version")?.to_owned())
}

/// Imports an image from a tar file, unless the engine has it.
pub(crate) fn import(name: &str, tar: &Path) -> Result<()> {
    if ask("GET", &format!("/images/{name}/json"), &[]).is_ok() {
        return Ok(());
    }
    let bytes = fs::read(tar).with_context(|| format!("read {}", tar.display()))?;
    let path = format!("/images/create?fromSrc=-&repo={name}&tag=latest");
    ask("POST", &path, &bytes).with_context(|| format!("import image {name}"))?;
    Ok(())
}

/// Starts a container that does nothing, as `docker run -d --name NAME --hostname NAME busybox sleep infinity`.
pub(crate) fn run(name: &str) -> Result<()> {
    // Process 1 of a container ignores SIGTERM if it has no handler; without this each stop takes ten seconds.
    let wanted = json!({
        "Image": "busybox", "Cmd": ["sleep", "infinity"], "Hostname": name, "StopSignal": "SIGKILL"
    });
    let made = ask("POST", &format!("/containers/create?name={name}"), wanted.to_string().as_bytes())?;
    let id = made["Id"].as_str().context("the engine does not tell the container's id")?;
    ask("POST", &format!("/containers/{id}/start"), &[])?;
    Ok(())
}

/// The process of a running container, as the lab's PID namespace counts; while the engine is away, as it wrote it
/// down.
pub(crate) fn process_of(name: &str) -> Result<i64> {
    let told = match UnixStream::connect(SOCKET) {
        Ok(_) => ask("GET", &format!("/containers/{name}/json"), &[])?,
        Err(_) => {
            written_down(name).with_context(|| format!("there is no engine, and no container {name}"))?
        }
    };
    let pid = told["State"]["Pid"].as_i64().unwrap_or(0);
    ensure!(
        pid > 0,
        "container {name} does not run (it is {})",
        told["State"]["Status"].as_str().unwrap_or("?")
    );
    Ok(pid)
}

/// All containers, running or not, by name.
pub(crate) fn containers() -> Result<Vec<Found>> {
    let told = ask("GET", "/containers/json?all=1", &[])?;
    let mut found: Vec<Found> = told.as_array().into_iter().flatten().filter_map(found).collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// What the engine keeps about a container for its own next start.
fn written_down(name: &str) -> Option<Value> {
    let folders = fs::read_dir(format!("{STAGE}/data/containers")).ok()?.filter_map(Result::ok);
    let texts = folders.filter_map(|folder| fs::read(folder.path().join("config.v2.json")).ok());
    let mut all = texts.filter_map(|text| serde_json::from_slice::<Value>(&text).ok());
    all.find(|told| told["Name"].as_str().is_some_and(|one| one.trim_start_matches('/') == name))
}

fn found(told: &Value) -> Option<Found> {
    let name = told["Names"][0].as_str()?.trim_start_matches('/').to_owned();
    let networks = told["NetworkSettings"]["Networks"].as_object();
    let addresses = networks.into_iter().flat_map(|networks| networks.values()).flat_map(addresses).collect();
    Some(Found { name, addresses })
}

fn addresses(network: &Value) -> Vec<IpNet> {
    let pairs = [("IPAddress", "IPPrefixLen"), ("GlobalIPv6Address", "GlobalIPv6PrefixLen")];
    let read = |(address, length): (&str, &str)| {
        let length = u8::try_from(network[length].as_u64()?).ok()?;
        IpNet::new(network[address].as_str()?.parse().ok()?, length).ok()
    };
    pairs.into_iter().filter_map(read).collect()
}

fn ask(method: &str, path: &str, body: &[u8]) -> Result<Value> {
    let mut stream = UnixStream::connect(SOCKET).with_context(|| format!("connect to {SOCKET}"))?;
    stream.set_read_timeout(Some(ANSWER_WAIT))?;
    stream.set_write_timeout(Some(ANSWER_WAIT))?;
    send(&mut stream, method, path, body).with_context(|| format!("ask {method} {path}"))?;
    let mut answer = Vec::new();
    stream
        .take(ANSWER_BYTES_MAX)
        .read_to_end(&mut answer)
        .with_context(|| format!("hear {method} {path}"))?;
    read(&answer).with_context(|| format!("{method} {path}"))
}

/// Says one request, after which the engine hangs up.
pub(crate) fn send(stream: &mut UnixStream, method: &str, path: &str, body: &[u8]) -> Result<()> {
    let kind = if body.first() == Some(&b'{') { "application/json" } else { "application/x-tar" };
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: docker\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    Ok(stream.write_all(body)?)
}

/// An answer's JSON; a refusal is an error with the engine's words. What is no JSON is nothing.
pub(crate) fn read(answer: &[u8]) -> Result<Value> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").context("the engine's answer broke off")?;
    let status: u16 =
        head.split_whitespace().nth(1).and_then(|word| word.parse().ok()).context("no status")?;
    let told: Value = serde_json::from_str(body).unwrap_or(Value::Null);
    if (200..300).contains(&status) {
        return Ok(told);
    }
    bail!("the engine refuses with {status}: {}", told["message"].as_str().unwrap_or(body.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_has_the_engines_words() {
        let answer =
            b"HTTP/1.0 409 Conflict\r\nContent-Type: application/json\r\n\r\n{\"message\":\"c41 is taken\"}";
        assert_eq!(read(answer).unwrap_err().to_string(), "the engine refuses with 409: c41 is taken");
    }

    #[test]
    fn an_answer_that_breaks_off_is_no_answer() {
        for answer in [&b""[..], b"HTTP/1.0 200 OK\r\n", b"nonsense\r\n\r\n{}"] {
            assert!(read(answer).is_err());
        }
    }

    #[test]
    fn a_container_has_the_addresses_of_all_its_networks() {
        let told = json!({ "Names": ["/c41"], "NetworkSettings": { "Networks": {
            "bridge": { "IPAddress": "172.41.0.2", "IPPrefixLen": 16, "GlobalIPv6Address": "", "GlobalIPv6PrefixLen": 0 },
            "web": { "IPAddress": "", "IPPrefixLen": 0, "GlobalIPv6Address": "fd00::2", "GlobalIPv6PrefixLen": 64 } } } });
        let expected = ["172.41.0.2/16", "fd00::2/64"].map(|text| text.parse().unwrap()).to_vec();
        assert_eq!(found(&told), Some(Found { name: "c41".into(), addresses: expected }));
    }
}
