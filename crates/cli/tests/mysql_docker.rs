//! The scene of old: a `MariaDB` in a container on each of two hosts, one asks the other, and the statement is read off the
//! wire at every interface of its way.

#![allow(clippy::unwrap_used, reason = "for tests only")]

mod common;

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::Instant;

use byway_lab::{Engines, Lab, Signal, Until};
use common::engines::{addresses, engines};
use common::{BYWAY, Ear, PATIENCE, attempt, byway, run};
use serde_json::Value;

/// The statement of the scene, as its client is told it and as it sends it.
const TYPED: &str = "select * from mysql.user;";
const SENT: &str = "select * from mysql.user";
/// The uplink and the bridge of each host: what a statement passes on its way.
const WAY: [(&str, &str); 4] =
    [("docker41", "docker0"), ("docker41", "eth0"), ("docker42", "eth0"), ("docker42", "docker0")];

/// Hosts with real engines, an old and a new one, and a server on each.
fn scene() -> Lab {
    let lab = engines(["20.10", "28.5"]);
    thread::scope(|scope| {
        for host in ["docker41", "docker42"] {
            let lab = &lab;
            scope.spawn(move || serve(lab, host));
        }
    });
    lab
}

/// Runs a server in a container of a host, `db41` on docker41, which listens at two ports and lets everybody in.
fn serve(lab: &Lab, host: &str) {
    let image = Engines::of_this_user().unwrap().image("mariadb").unwrap_or_else(|error| panic!("{error:#}"));
    let name = db(host);
    run(
        lab,
        host,
        &format!(
            "docker import {} mariadb
             docker run -d --name {name} --hostname {name} mariadb sh -c \"
                 echo 'create user web;' > /tmp/first.sql
                 echo 'grant all on *.* to web;' >> /tmp/first.sql
                 install -d -o mysql /run/mysqld
                 exec mariadbd --user=mysql --bind-address=* --skip-name-resolve --init-file=/tmp/first.sql --extra-port=3307\"",
            image.display()
        ),
    );
    Ear::open(lab, host).until("the server lets its user in", || {
        let out = attempt(lab, host, &format!("docker exec {name} {}", client("127.0.0.1", 3306, "do 1")));
        if out.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&out.stderr).into_owned()) }
    });
}

/// The server's container on a host.
fn db(host: &str) -> String {
    host.replace("docker", "db")
}

fn client(server: &str, port: u16, statement: &str) -> String {
    // The scene is from before TLS was the default.
    format!("mariadb --host={server} --port={port} --user=web --ssl=0 --batch --execute='{statement}'")
}

/// Asks the server of one host from the container of another.
fn ask(lab: &Lab, from: &str, to: &str, port: u16, statement: &str) -> String {
    let server = v4(lab, to);
    run(lab, from, &format!("docker exec {} {}", db(from), client(&server, port, statement)))
}

/// The address of a host's server.
fn v4(lab: &Lab, host: &str) -> String {
    let all = addresses(lab, &format!("{host}/{}", db(host)));
    all.iter().find(|address| address.is_ipv4()).unwrap().to_string()
}

/// A command that shows what passes, line by line.
struct Shown {
    child: Child,
    lines: Receiver<String>,
    name: String,
}

impl Shown {
    fn start(lab: &Lab, host: &str, arguments: &[&str]) -> Self {
        let mut command = lab.command(host, BYWAY);
        command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (to_us, lines) = channel();
        thread::spawn(move || out.lines().map_while(Result::ok).all(|line| to_us.send(line).is_ok()));
        Self { child, lines, name: format!("{host}: byway {}", arguments.join(" ")) }
    }

    /// Asks until something of it is shown: then it listens. What was shown until then is forgotten.
    fn until_listening(self, mut ask: impl FnMut()) -> Self {
        let deadline = Instant::now() + PATIENCE;
        loop {
            ask();
            match self.lines.try_recv() {
                Ok(_) => break,
                Err(TryRecvError::Empty) => {
                    assert!(Instant::now() < deadline, "{}: shows nothing", self.name);
                }
                Err(TryRecvError::Disconnected) => panic!("{}: ended: {}", self.name.clone(), self.end().1),
            }
        }
        self
    }

    /// Ends it; everything that it has shown, and what it said aside.
    fn end(mut self) -> (Vec<String>, String) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        // It may have ended by itself.
        let _ = nix::sys::signal::kill(pid, Signal::SIGINT);
        let mut errors = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}: {errors}", self.name);
        (self.lines.iter().collect(), errors)
    }
}

/// Those of these lines that show the statement.
fn of_scene(lines: &[String]) -> Vec<&String> {
    lines.iter().filter(|line| line.contains(SENT)).collect()
}

#[test]
fn the_statement_of_the_scene_is_printed_once_at_each_interface_of_its_way() {
    let lab = scene();
    for (from, to) in [("docker41", "docker42"), ("docker42", "docker41")] {
        let watch = |(host, interface): &(&'static str, &'static str)| {
            let line = ["mysql", "-i", interface, "-f", "tcp", "-T", "fields", "-e", "mysql.query"];
            Shown::start(&lab, host, &line).until_listening(|| drop(ask(&lab, from, to, 3306, "do 2")))
        };
        let shown: Vec<Shown> = WAY.iter().map(watch).collect();
        let answer = ask(&lab, from, to, 3306, TYPED);
        assert!(answer.contains("\tweb\t"), "{answer}");
        for one in shown {
            let name = one.name.clone();
            let (lines, errors) = one.end();
            assert_eq!(of_scene(&lines), [SENT], "{name}: as tshark prints it, once");
            assert!(errors.contains(" 0 lost in the capture, 0 unreadable"), "{name}: {errors}");
            assert!(!errors.contains("not all was seen"), "{name}: {errors}");
        }
    }
}

#[test]
fn watched_at_all_interfaces_together_the_statement_is_one_and_its_time_is_split() {
    let lab = scene();
    let folder = tempfile::tempdir().unwrap();
    let file = |host: &str| folder.path().join(host).to_str().unwrap().to_owned();
    let start = |host: &str| {
        let capture = ["capture", "-i", "docker0", "-i", "eth0", "-f", "tcp port 3306", "-w", &file(host)];
        Shown::start(&lab, host, &capture)
    };
    let captured = ["docker41", "docker42"].map(start);
    let all = ["mysql", "--json", "-i", "docker0", "-i", "eth0", "-c", "db41"];
    let shown = Shown::start(&lab, "docker41", &all)
        .until_listening(|| drop(ask(&lab, "docker41", "docker42", 3306, "do 3")));
    for host in ["docker41", "docker42"] {
        Ear::open(&lab, host).until("packets are captured", || {
            ask(&lab, "docker41", "docker42", 3306, "do 4");
            let written = Path::new(&file(host)).metadata().map_or(0, |file| file.len());
            if written > 10_000 { Ok(()) } else { Err(format!("{written} bytes")) }
        });
    }
    ask(&lab, "docker41", "docker42", 3306, TYPED);
    let (lines, _) = shown.end();
    // Its own interface, the host's end of its cable, the bridge, and the uplink.
    assert_one(&lines, 4);
    for one in captured {
        one.end();
    }
    let (files, arguments) = (["docker41", "docker42"].map(file), ["mysql", "--json"]);
    let merged = |files: &[String]| {
        let files = files.iter().flat_map(|file| ["-r", file.as_str()]);
        let (code, out, errors) =
            byway(&lab, "docker41", &arguments.into_iter().chain(files).collect::<Vec<_>>());
        assert_eq!(code, Some(0), "{errors}");
        out.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_one(&merged(&files), 4);
    for (host, known) in [("docker41", " db41:"), ("docker42", " → db42:3306 web  ")] {
        let (_, text, _) = byway(&lab, host, &["mysql", "-r", &files[0], "-r", &files[1]]);
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let [line] = of_scene(&lines)[..] else { panic!("once: {text}") };
        assert!(line.contains(known), "{host} knows its own: {line}");
        assert!(line.contains("(network ") && line.contains(", server "), "{line}");
    }
    for one in &files {
        assert_one(&merged(std::slice::from_ref(one)), 2);
    }
}

/// The statement is there once, seen at so many points, with the parts of network and server.
fn assert_one(lines: &[String], points: u64) {
    let told = of_scene(lines);
    let [line] = told[..] else { panic!("once: {lines:#?}") };
    let told: Value = serde_json::from_str(line).unwrap();
    assert_eq!((&told["statement"], &told["points"]), (&SENT.into(), &points.into()), "{told:#}");
    assert_eq!((&told["certain"], &told["outcome"]), (&true.into(), &"ok".into()), "{told:#}");
    assert!(told["rows"].as_u64().unwrap() > 2, "{told:#}");
    let ns = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{name}: {told:#}"));
    assert_eq!(ns("network_ns") + ns("server_ns"), ns("first_ns"), "{told:#}");
    assert!(ns("whole_ns") >= ns("first_ns") && ns("server_ns") > 0 && ns("network_ns") > 0, "{told:#}");
}

#[test]
fn containers_have_their_names_with_an_agent_and_without() {
    let lab = scene();
    let address = v4(&lab, "docker42");
    for agent in [true, false] {
        if !agent {
            lab.kill_agent("docker42", Signal::SIGTERM).unwrap();
            lab.await_agent("docker42", Until::Gone).unwrap();
        }
        for (arguments, server) in [
            (&["mysql", "-c", "db42"][..], "→ db42:3306 web"),
            (&["mysql", "--all", "-i", "eth0"], "→ db42:3306 web"),
            (&["mysql", "-n", "-i", "docker0"], &format!("→ {address}:3306 web")),
        ] {
            let shown = Shown::start(&lab, "docker42", arguments)
                .until_listening(|| drop(ask(&lab, "docker41", "docker42", 3306, "do 5")));
            ask(&lab, "docker41", "docker42", 3306, TYPED);
            let (name, (lines, _)) = (shown.name.clone(), shown.end());
            let told = of_scene(&lines);
            let [line] = told[..] else { panic!("{name}: once: {lines:#?}") };
            assert!(line.contains(server) && line.contains(" rows  "), "{name}: {line}");
            let last = lines.iter().find(|line| line.contains(" statements in ")).unwrap();
            assert!(last.contains(" 0 lost in the capture"), "{name}: {last}");
        }
    }
}

#[test]
fn another_port_is_told_or_found() {
    let lab = scene();
    for (arguments, port, is_shown) in [
        (&["mysql", "-i", "eth0", "--port", "3307"][..], 3307, true),
        (&["mysql", "-i", "eth0", "--port", "3307"], 3306, false),
        (&["mysql", "-i", "eth0"], 3307, true),
        (&["mysql", "-i", "eth0", "-p", "3306", "-p", "3307"], 3306, true),
    ] {
        let shown = Shown::start(&lab, "docker42", arguments)
            .until_listening(|| drop(ask(&lab, "docker41", "docker42", 3307, "do 6")));
        ask(&lab, "docker41", "docker42", port, TYPED);
        let (name, (lines, _)) = (shown.name.clone(), shown.end());
        assert_eq!(of_scene(&lines).len(), usize::from(is_shown), "{name}: {lines:#?}");
    }
}
