//! Hosts with real Docker engines, and what is asked of them in more than one story.

use std::net::IpAddr;

use byway_lab::{Engine, Lab, Options, Release, Spread, Topology};

use super::{BYWAY, Ear, problems, run};

/// Every engine with its like, and one of each as in the days of the seeds.
pub const PAIRS: [[&str; 2]; 3] = [["20.10", "20.10"], ["28.5", "28.5"], ["20.10", "28.5"]];

/// The containers of the two hosts, made by the lab or by hand.
pub const C41: &str = "docker41/c41";
pub const C42: &str = "docker42/c42";

/// A release, and what its dockerd is told.
pub fn engine(release: &str, arguments: &[&str]) -> Engine {
    let mut engine = Engine::from(release.parse::<Release>().unwrap());
    engine.arguments = arguments.iter().map(|word| (*word).to_owned()).collect();
    engine
}

/// Two hosts with engines, a container on each docker0.
pub fn topology(releases: [&str; 2]) -> Topology {
    let releases = releases.map(|text| text.parse::<Release>().unwrap());
    Spread { hosts: 2, containers: 1, segments: 1 }.topology().with_engines(&releases)
}

/// Raises it, and waits until the agents have made their peace with the engines.
pub fn raise(topology: &Topology) -> Lab {
    let lab = Lab::up(topology, &Options::private(BYWAY.as_ref()), |_| {});
    let lab = lab.unwrap_or_else(|error| panic!("{error:#}"));
    until_reaching(&lab);
    lab
}

/// Two real engines with a container each, and agents that have made their peace with them.
pub fn engines(releases: [&str; 2]) -> Lab {
    raise(&topology(releases))
}

/// The addresses that Docker gave a container, of the topology or any other (`HOST/NAME`).
pub fn addresses(lab: &Lab, container: &str) -> Vec<IpAddr> {
    let nodes = lab.status().unwrap().nodes;
    let short = container.rsplit('/').next().unwrap();
    let node = nodes.into_iter().find(|node| node.name == container || node.name == short).unwrap();
    assert_eq!(node.addresses.len(), 2, "one of each family: {:?}", node.addresses);
    node.addresses.into_iter().map(|net| net.addr()).collect()
}

/// The containers reach each other, both ways, with both families, once the agents have heard of what happened.
pub fn until_reaching(lab: &Lab) {
    for (from, to, host) in [(C41, C42, "docker42"), (C42, C41, "docker41")] {
        for address in addresses(lab, to) {
            let ear = Ear::open(lab, host);
            let said = ear.until(&format!("{from} reaches {address}"), || {
                let once = ["-n", "-c1", "-W1", &address.to_string()];
                let out = lab.command(from, "ping").args(once).output().unwrap();
                let said = String::from_utf8_lossy(&out.stdout).into_owned();
                if out.status.success() { Ok(said) } else { Err(said) }
            });
            assert!(said.contains("ttl=62"), "{from} to {to}: {said}");
        }
    }
}

/// Whether one ping is answered within a second.
pub fn answers(lab: &Lab, from: &str, to: &str) -> bool {
    lab.command(from, "ping").args(["-n", "-c1", "-W1", to]).output().unwrap().status.success()
}

/// The kernel's rules that carry our comment, of both families.
pub fn accepts(lab: &Lab, host: &str) -> Vec<String> {
    let saved = run(lab, host, "iptables-save; ip6tables-save");
    saved.lines().filter(|line| line.contains("--comment byway ")).map(str::to_owned).collect()
}

/// Makes the node `switch` an outsider: on the wire, with a route to docker41's containers, and no host of the cluster.
pub fn let_an_outsider_in(lab: &Lab) {
    run(
        lab,
        "switch",
        "ip address add 192.168.199.9/24 dev lan; ip route add 172.41.0.0/16 via 192.168.199.41",
    );
}

/// Waits until a problem is told with these words; returns it.
pub fn until_told(lab: &Lab, host: &str, words: &str) -> String {
    Ear::open(lab, host).until(words, || {
        let problems = problems(lab, host);
        problems.iter().find(|problem| problem.contains(words)).cloned().ok_or(problems.join("\n"))
    })
}

/// Waits until no problem is told.
pub fn until_well(lab: &Lab, host: &str) {
    Ear::open(lab, host).until("no problems", || match problems(lab, host) {
        problems if problems.is_empty() => Ok(()),
        problems => Err(problems.join("\n")),
    });
}

/// Ends an engine and starts it again, as itself or as another, with its container.
pub fn restart_as(lab: &Lab, host: &str, engine: Option<&Engine>) {
    lab.stop_engine(host).unwrap();
    match engine {
        Some(engine) => lab.start_engine_as(host, engine).unwrap(),
        None => lab.start_engine(host).unwrap(),
    }
    run(lab, host, &format!("docker start {}", host.replace("docker", "c")));
}
