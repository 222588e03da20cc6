//! What the agent tells a service manager: that it is ready, that it lives, that it stops.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use byway_lab::{Lab, Topology};
use common::{BYWAY, PATIENCE, quiet_lab, run};
use tempfile::TempDir;

/// A service manager with one service: the agent of docker41.
struct Manager<'a> {
    lab: &'a Lab,
    socket: UnixDatagram,
    folder: TempDir,
    agent: Option<Child>,
}

impl<'a> Manager<'a> {
    fn new(lab: &'a Lab) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = UnixDatagram::bind(folder.path().join("notify")).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { lab, socket, folder, agent: None }
    }

    fn start(&mut self, environment: &[(&str, &str)]) -> &mut Child {
        let mut command = self.lab.command("docker41", BYWAY);
        command.arg("agent").env("NOTIFY_SOCKET", self.folder.path().join("notify"));
        command.envs(environment.iter().copied()).stderr(Stdio::piped());
        self.agent.insert(command.spawn().unwrap())
    }

    /// The next datagram, line by line; none if there is none in time.
    fn hear(&self) -> Option<Vec<String>> {
        let mut space = [0; 4096];
        let length = match self.socket.recv(&mut space) {
            Ok(length) => length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return None,
            Err(error) => panic!("{error}"),
        };
        Some(String::from_utf8_lossy(&space[..length]).lines().map(str::to_owned).collect())
    }

    /// Hears until `wanted` is said; what was said before it.
    fn hear_until(&self, wanted: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let lines = self.hear().unwrap_or_else(|| panic!("{wanted} is not said: {before:?}"));
            before.extend(lines.iter().cloned());
            if lines.iter().any(|line| line == wanted) {
                return before;
            }
        }
    }

    fn signal(&self, signal: &str) {
        run(self.lab, "docker41", &format!("kill -{signal} $(cat /run/byway/agent.lock)"));
    }
}

impl Drop for Manager<'_> {
    fn drop(&mut self) {
        if let Some(agent) = &mut self.agent {
            let _ = agent.kill();
            let _ = agent.wait();
        }
    }
}

#[test]
fn it_is_ready_when_the_host_is_routed_and_says_when_it_stops() {
    let lab = quiet_lab(&Topology::two_hosts());
    let mut manager = Manager::new(&lab);
    manager.start(&[]);
    let said = manager.hear_until("READY=1");
    assert!(said.contains(&"STATUS=2 of 2 routes to 1 hosts".to_owned()), "{said:?}");
    let routes = run(&lab, "docker41", "ip route show proto byway; ip -6 route show proto byway");
    assert_eq!(routes.lines().count(), 2, "{routes}");
    manager.signal("TERM");
    manager.hear_until("STOPPING=1");
    assert_eq!(manager.agent.as_mut().unwrap().wait().unwrap().code(), Some(0));
    let routes = run(&lab, "docker41", "ip route show proto byway; ip -6 route show proto byway");
    assert_eq!(routes.lines().count(), 2, "they stay: {routes}");
}

#[test]
fn an_agent_that_cannot_do_its_work_is_not_ready_until_it_can() {
    let lab = quiet_lab(&Topology::two_hosts());
    let mut manager = Manager::new(&lab);
    let programs = tempfile::tempdir().unwrap();
    let agent = manager.start(&[("PATH", programs.path().to_str().unwrap())]);
    let log = BufReader::new(agent.stderr.take().unwrap());
    let told = log.lines().map(Result::unwrap).find(|line| line.contains("nft"));
    assert!(told.as_ref().is_some_and(|line| line.contains("it is not installed")), "{told:?}");
    manager.socket.set_nonblocking(true).unwrap();
    while let Some(lines) = manager.hear() {
        assert!(!lines.contains(&"READY=1".to_owned()), "{lines:?}");
    }
    manager.socket.set_nonblocking(false).unwrap();
    let nft = run(&lab, "docker41", "command -v nft");
    std::os::unix::fs::symlink(nft.trim(), programs.path().join("nft")).unwrap();
    manager.hear_until("READY=1");
}

/// What the watchdog wants to hear from the agent at least once in.
const WATCHDOG: Duration = Duration::from_millis(200);

#[test]
fn it_says_that_it_lives_as_long_as_its_loop_goes_round() {
    let lab = quiet_lab(&Topology::two_hosts());
    let mut manager = Manager::new(&lab);
    manager.start(&[("WATCHDOG_USEC", &WATCHDOG.as_micros().to_string())]);
    manager.hear_until("READY=1");
    for _ in 0..6 {
        manager.hear_until("WATCHDOG=1");
    }
    manager.signal("STOP");
    manager.socket.set_read_timeout(Some(3 * WATCHDOG)).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while manager.hear().is_some() {
        assert!(Instant::now() < deadline, "a stopped agent says that it lives");
    }
    manager.signal("CONT");
    manager.socket.set_read_timeout(Some(PATIENCE)).unwrap();
    manager.hear_until("WATCHDOG=1");
}
