//! A script that was played: what was captured, and what was really said.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use super::clients::{self, Sent};
use super::log::{self, Entry};
use super::script::{Cast, Script};
use super::stage::{CLIENTS, SERVER_V4, Stage};
use crate::common::run;
use crate::common::tcpdump::Tcpdump;

/// Sent when everything else was: what was sent before it is in the file when it is. The pattern is of 16 bytes, so that
/// nothing else is like it.
const LAST: &str = "ping -n -c1 -W5 -s 160 -p 7468652d6c6173742d7061636b657421";
const LAST_PATTERN: &[u8] = b"the-last-packet!";
/// How far before the end of a file the last packet may be.
const TAIL_BYTES: u64 = 64 << 10;

/// What the kernel keeps while tcpdump writes, in KiB: its usual 2 MiB are full at once.
const ROOM: &[&str] = &["-B", "131072"];

/// What came of a script.
#[derive(Debug)]
pub struct Scene {
    /// What was played.
    pub script: Script,
    /// The captures, one for each of the script's watches. They go with the stage.
    pub captures: Vec<PathBuf>,
    /// The secrets of the encrypted connections, if there were some.
    pub keys: Option<PathBuf>,
    /// What the server has logged of it, in its order.
    pub log: Vec<Entry>,
    /// What the clients say that they have sent; people at a terminal do not count.
    pub sent: Option<Sent>,
}

impl Scene {
    /// The entries with this name.
    pub fn logged(&self, command: &str) -> impl Iterator<Item = &Entry> {
        self.log.iter().filter(move |entry| entry.command == command)
    }
}

impl Stage {
    /// Plays a script, whose road must be this one.
    pub fn play(&self, script: &Script) -> Scene {
        let program = match script.cast {
            Cast::Client(name, _) => Some(clients::build(name, self.folder.path())),
            Cast::Terminal(..) => None,
        };
        let logged = self.log_bytes();
        let keys = self.folder.path().join(format!("{}.keys", script.name));
        let watches: Vec<Tcpdump> = self
            .captures(script)
            .iter()
            .zip(script.watches)
            .map(|(file, watch)| Tcpdump::start(&self.lab, watch.node, file, &[ROOM, watch.options].concat()))
            .collect();
        let port = script.port.to_string();
        let sent = match script.cast {
            Cast::Client(_, options) => {
                let arguments = [&[script.server, &port], options].concat();
                Some(clients::run(&self.lab, CLIENTS, &program.unwrap(), &arguments, Some(&keys)))
            }
            Cast::Terminal(options, typed) => {
                let host = format!("--host={}", script.server);
                let port = format!("--port={port}");
                let whole =
                    [&[&*host, &port, "--user=byway", "--password=not-for-the-wire"], options].concat();
                clients::run_terminal(&self.lab, CLIENTS, &whole, typed);
                None
            }
        };
        run(&self.lab, CLIENTS, &format!("{LAST} {SERVER_V4}"));
        for watch in watches {
            assert_eq!(watch.finish(has_last), 0, "{}: packets for which there was no room", script.name);
        }
        Scene {
            script: *script,
            captures: self.captures(script),
            keys: keys.is_file().then_some(keys),
            log: told_whole(log::entries(&self.log_from(logged))),
            sent,
        }
    }

    fn captures(&self, script: &Script) -> Vec<PathBuf> {
        let file = |nth| self.folder.path().join(format!("{}-{nth}.pcap", script.name));
        (0..script.watches.len()).map(file).collect()
    }
}

/// The entries of connections that began in this part of the log: the last word of an earlier one may come late.
fn told_whole(entries: Vec<Entry>) -> Vec<Entry> {
    let begun: std::collections::BTreeSet<u64> =
        entries.iter().filter(|entry| entry.command == log::CONNECT).map(|entry| entry.thread).collect();
    entries.into_iter().filter(|entry| begun.contains(&entry.thread)).collect()
}

fn has_last(file: &Path) -> bool {
    let Ok(mut file) = std::fs::File::open(file) else { return false };
    let length = file.metadata().unwrap().len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES))).unwrap();
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).unwrap();
    tail.windows(LAST_PATTERN.len()).any(|window| window == LAST_PATTERN)
}
