//! Captures of some hundreds of MB with a real `MariaDB` in them: made once, and kept where the engines are.
//!
//! ```text
//! ~/.cache/byway/captures/mysql-texts.pcap      what tcpdump wrote at the server's interface
//!                         mysql-texts.log       the server's general log of it
//!                         mysql-texts.count     text statements and executions, as the clients counted them
//!                         mysql-executions.*    the same with prepared statements
//!                         mysql-large.*         few statements, of up to 33 MB
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use byway_lab::Engines;

use crate::rig::clients::Sent;
use crate::rig::script::{Form, Script, Watch, client};
use crate::rig::stage::{Road, SERVER, Stage};

/// With room in the kernel for most of it, in KiB: while the disk is slow, nothing may be lost.
const AT_SERVER: &[Watch] = &[Watch { node: SERVER, options: &["-i", "eth0", "-B", "524288"] }];
/// Statements of 64 connections, each sent when the one before it was answered.
const TEXTS: Script = Script {
    watches: AT_SERVER,
    ..client("mysql-texts", "load", &["threads=64", "count=210048"], Form::Mixed)
};
/// Executions of a few prepared statements.
const EXECUTIONS: Script = Script {
    watches: AT_SERVER,
    ..client("mysql-executions", "load", &["threads=64", "count=210048", "prepared"], Form::Mixed)
};
/// Statements over 16 MiB, where a packet ends and the next one goes on.
const LARGE: Script = Script { watches: AT_SERVER, ..client("mysql-large", "large", &[], Form::Mixed) };

/// A capture, and what is in it.
pub(crate) struct Load {
    /// The capture.
    pub(crate) capture: PathBuf,
    /// What the clients have sent.
    pub(crate) sent: Sent,
}

/// The capture with text statements.
pub(crate) fn texts() -> Load {
    kept(&TEXTS)
}

/// The capture with executions.
pub(crate) fn executions() -> Load {
    kept(&EXECUTIONS)
}

/// The capture with few and large statements.
pub(crate) fn large() -> Load {
    kept(&LARGE)
}

fn kept(script: &Script) -> Load {
    let engines = Engines::of_this_user().unwrap_or_else(|error| panic!("{error:#}"));
    let folder = engines.folder().join("captures");
    let file = |ending: &str| folder.join(format!("{}.{ending}", script.name));
    let count = file("count");
    // The count is written last: without it the capture is half made.
    if !count.is_file() {
        fs::create_dir_all(&folder).unwrap();
        make(script, &file("pcap"), &file("log"), &count);
    }
    let text = fs::read_to_string(&count).unwrap();
    let mut counts = text.split_whitespace().map(|word| word.parse().unwrap());
    let sent = Sent { queries: counts.next().unwrap(), executions: counts.next().unwrap() };
    Load { capture: file("pcap"), sent }
}

fn make(script: &Script, capture: &Path, log: &Path, count: &Path) {
    let stage = Stage::raise(Road::Plain);
    stage.with_small_frames();
    let skipped = stage.log_bytes();
    let scene = stage.play(script);
    // Perhaps to another file system.
    fs::copy(&scene.captures[0], capture).unwrap();
    fs::write(log, stage.log_from(skipped)).unwrap();
    let sent = scene.sent.unwrap();
    fs::write(count, format!("{} {}\n", sent.queries, sent.executions)).unwrap();
}
