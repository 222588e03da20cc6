//! The real tcpdump, in a node of a lab.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Stdio};
use std::time::Instant;

use byway_lab::Lab;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::PATIENCE;

/// A tcpdump that is ended with the test.
pub struct Tcpdump {
    child: Child,
    said: BufReader<ChildStderr>,
    file: PathBuf,
}

impl Tcpdump {
    /// Starts it with options and a filter, and waits until it listens.
    pub fn start(lab: &Lab, node: &str, file: &Path, options: &[&str]) -> Self {
        let mut command = lab.command(node, "tcpdump");
        command.args(["-n", "-U", "-Z", "root", "-w"]).arg(file).args(options);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut said = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        while !line.contains("listening on") {
            line.clear();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "{node}: tcpdump has ended");
        }
        Self { child, said, file: file.to_owned() }
    }

    /// Waits until the file has everything, and ends it; how many packets the kernel had no room for.
    pub fn finish(mut self, has_everything: impl Fn(&Path) -> bool) -> u64 {
        let deadline = Instant::now() + PATIENCE;
        while !has_everything(&self.file) {
            assert!(Instant::now() < deadline, "{}: the last packets do not come", self.file.display());
            std::thread::yield_now();
        }
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), Signal::SIGINT).unwrap();
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).unwrap();
        assert!(self.child.wait().unwrap().success(), "{rest}");
        let line = rest.lines().find(|line| line.ends_with("dropped by kernel")).unwrap();
        line.split(' ').next().unwrap().parse().unwrap()
    }
}

impl Drop for Tcpdump {
    fn drop(&mut self) {
        // It has ended already, or the test has failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
