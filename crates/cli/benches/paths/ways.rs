//! The ways between two containers on two hosts, each a lab of its own with the same two hosts on the same wire.
//!
//! All labs are up at the same time, so that rounds can go from one way to the next. What a person would type to
//! make a way is typed here.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use byway_lab::{Lab, Options, Release, Spread, Topology};

use crate::processor::Core;
use crate::way::{Ends, Way};

/// The two hosts and what stands on them.
pub(crate) const NEAR: &str = "docker41";
pub(crate) const FAR: &str = "docker42";
/// Their engines.
const ENGINE: &str = "28.5";

/// What both hosts of a way that is made by hand are told: what Docker's two chains let in from a link, and that
/// source addresses stay. It keeps nobody out, and believes every source.
const ACCEPTS: &str = "
    iptables -I DOCKER-USER -i LINK -s CL -d CL -j ACCEPT
    iptables -t raw -I PREROUTING -i LINK -s CL -d CL -j ACCEPT
    nft 'table inet hand { chain post { type nat hook postrouting priority 99; policy accept;
        ip saddr CL ip daddr CL snat ip to ip saddr; }; }'";
/// What both hosts' containers have.
const CL: &str = "172.32.0.0/11";
/// The header that VXLAN adds, on a wire of 1500.
const VXLAN_MTU: &str = "--mtu=1450";

/// Makes a lab, and says between which of its nodes the way is.
type Make = fn() -> Result<(Lab, Ends)>;

/// All of them; the first is what the others are measured by.
pub(crate) fn open(core: &Core) -> Result<Vec<Way>> {
    let ways: [(_, Make); 5] = [
        (BARE, bare),
        (BYWAY, byway),
        (BY_HAND, by_hand),
        ("Swarm overlay", swarm),
        ("VXLAN as flannel", vxlan),
    ];
    let open = |(name, make): (&'static str, Make)| {
        make().and_then(|(lab, ends)| Way::open(name, lab, &ends, core)).context(name)
    };
    ways.into_iter().map(open).collect()
}

/// Host to host, without containers and without Docker.
pub(crate) const BARE: &str = "bare";
pub(crate) const BYWAY: &str = "Byway";
/// What Byway does, typed by a person.
pub(crate) const BY_HAND: &str = "by hand";

fn bare() -> Result<(Lab, Ends)> {
    let topology = Spread { hosts: 2, containers: 0, segments: 1 }.topology();
    let lab = Lab::up(&topology, &options().without_agents(), |_| {})?;
    let end = |host: &str, last| (host.to_owned(), Ipv4Addr::new(192, 168, 199, last));
    Ok((lab, Ends { near: end(NEAR, 41), far: end(FAR, 42) }))
}

fn byway() -> Result<(Lab, Ends)> {
    let lab = Lab::up(&engines(None)?, &options(), |_| {})?;
    on_docker0(lab)
}

fn by_hand() -> Result<(Lab, Ends)> {
    let lab = Lab::up(&engines(None)?, &options().without_agents(), |_| {})?;
    for (host, other) in [(NEAR, 42), (FAR, 41)] {
        run(&lab, host, &format!("ip route add 172.{other}.0.0/16 via 192.168.199.{other}"))?;
        run(&lab, host, &accepts("eth0"))?;
    }
    on_docker0(lab)
}

/// An overlay for containers of their own. Only Swarm's services would need IPVS, which not every kernel has.
fn swarm() -> Result<(Lab, Ends)> {
    let lab = Lab::up(&engines(None)?, &options().without_agents(), |_| {})?;
    run(&lab, NEAR, "docker swarm init --advertise-addr 192.168.199.41")?;
    let token = run(&lab, NEAR, "docker swarm join-token --quiet worker")?;
    run(&lab, FAR, &format!("docker swarm join --token {} 192.168.199.41:2377", token.trim()))?;
    run(&lab, NEAR, "docker network create --driver overlay --attachable ov")?;
    let end = |host| -> Result<_> {
        run(&lab, host, "docker run --detach --name ov --network ov busybox sleep infinity")?;
        let format = "{{.NetworkSettings.Networks.ov.IPAddress}}";
        let told = run(&lab, host, &format!("docker inspect --format '{format}' ov"))?;
        Ok((format!("{host}/ov"), told.trim().parse().with_context(|| format!("{host}: {told}"))?))
    };
    let ends = Ends { near: end(NEAR)?, far: end(FAR)? };
    Ok((lab, ends))
}

/// A VXLAN device on each host that is told everything, as flannel's back end of that name does it.
fn vxlan() -> Result<(Lab, Ends)> {
    let lab = Lab::up(&engines(Some(VXLAN_MTU))?, &options().without_agents(), |_| {})?;
    for (host, own, other) in [(NEAR, 41, 42), (FAR, 42, 41)] {
        let script = format!(
            "ip link add flannel.1 address 02:00:00:00:00:{own} type vxlan id 1 dev eth0 \
                 local 192.168.199.{own} dstport 8472 nolearning
             ip address add 172.{own}.0.0/32 dev flannel.1
             ip link set flannel.1 up
             ip neigh add 172.{other}.0.0 lladdr 02:00:00:00:00:{other} dev flannel.1 nud permanent
             bridge fdb append 02:00:00:00:00:{other} dev flannel.1 dst 192.168.199.{other} self permanent
             ip route add 172.{other}.0.0/16 via 172.{other}.0.0 dev flannel.1 onlink"
        );
        run(&lab, host, &script)?;
        run(&lab, host, &accepts("flannel.1"))?;
    }
    on_docker0(lab)
}

fn options() -> Options {
    Options::private(env!("CARGO_BIN_EXE_byway").as_ref())
}

/// Two hosts with an engine and a container each.
fn engines(argument: Option<&str>) -> Result<Topology> {
    let mut topology = Topology::two_hosts().with_engines(&[ENGINE.parse::<Release>()?]);
    for engine in topology.hosts.iter_mut().filter_map(|host| host.engine.as_mut()) {
        engine.arguments.extend(argument.map(str::to_owned));
    }
    Ok(topology)
}

fn accepts(link: &str) -> String {
    ACCEPTS.replace("LINK", link).replace("CL", CL)
}

/// The containers of the topology, with the addresses that Docker gave them.
fn on_docker0(lab: Lab) -> Result<(Lab, Ends)> {
    let nodes = lab.status()?.nodes;
    let end = |name: &str| -> Result<_> {
        let node = nodes.iter().find(|node| node.name == name).with_context(|| format!("no {name}"))?;
        let v4 = node.addresses.iter().find_map(|net| match net.addr() {
            IpAddr::V4(address) => Some(address),
            IpAddr::V6(_) => None,
        });
        Ok((name.to_owned(), v4.with_context(|| format!("{name} has no IPv4 address"))?))
    };
    let ends = Ends { near: end("c41")?, far: end("c42")? };
    Ok((lab, ends))
}

/// What a shell script says on a host.
pub(crate) fn run(lab: &Lab, node: &str, script: &str) -> Result<String> {
    let out = lab.command(node, "sh").args(["-ec", script]).stdin(Stdio::null()).output()?;
    let words = String::from_utf8_lossy(&out.stderr);
    ensure!(out.status.success(), "{node}: {}: {}", script.trim(), words.trim());
    Ok(String::from_utf8(out.stdout)?)
}
