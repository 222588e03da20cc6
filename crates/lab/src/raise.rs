//! Makes the nodes of a topology and wires them up: all namespaces first, then the links, one batch each.

use std::collections::BTreeMap;
use std::num::NonZero;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixDatagram;
use std::thread;

use anyhow::{Context, Result, anyhow};

use crate::furniture::{self, Forwarding, Privilege};
use crate::namespaces::Namespaces;
use crate::ports;
use crate::topology::{Container, Host, Kind, Router, SWITCH, Segment, Topology};
use crate::wires::{Batch, ETH0, End, HOST_BRIDGE, HOST_PORTS, LOOPBACK, SWITCH_BRIDGES, SWITCH_PORTS};

/// A node that stands.
#[derive(Debug)]
pub(crate) struct Node {
    /// What holds it.
    pub(crate) namespaces: Namespaces,
    /// Where its agent says that it is ready, if it is a host.
    pub(crate) notify: Option<UnixDatagram>,
}

/// All nodes by name.
pub(crate) type Nodes = BTreeMap<String, Node>;

/// Makes everything; must run in the switch's namespaces. `done` is called once for each of
/// [`steps`] steps.
pub(crate) fn raise(
    topology: &Topology,
    privilege: Privilege,
    done: &mut dyn FnMut() -> Result<()>,
) -> Result<Nodes> {
    furniture::write_shared(topology)?;
    let inventory = furniture::make_keys(topology).context("make the hosts' keys")?;
    let mut nodes = furnish(topology, &inventory, privilege, done)?;
    let switch = Node { namespaces: Namespaces::of_this_thread()?, notify: None };
    nodes.insert(SWITCH.into(), switch);
    wire_switch(topology, &nodes)?;
    for router in &topology.routers {
        named(&nodes, &router.name)?
            .inside_net(|| wire_router(topology, router))
            .context(router.name.clone())?;
        done()?;
    }
    for host in &topology.hosts {
        wire_host(topology, host, &nodes, done).with_context(|| host.name.clone())?;
    }
    await_ports(topology, &nodes)?;
    Ok(nodes)
}

/// How often [`raise`] says that something is done.
pub(crate) fn steps(topology: &Topology) -> usize {
    2 * ours(topology).len()
}

/// The nodes that get namespaces here: Docker makes those of its containers, and the switch has the holder's.
fn ours(topology: &Topology) -> Vec<(&str, Kind)> {
    let is_ours = |(name, kind): &(&str, Kind)| match kind {
        Kind::Switch => false,
        Kind::Container => topology.engine_of(name).is_none(),
        Kind::Host | Kind::Router => true,
    };
    topology.nodes().into_iter().filter(is_ours).collect()
}

fn furnish(
    topology: &Topology,
    inventory: &str,
    privilege: Privilege,
    done: &mut dyn FnMut() -> Result<()>,
) -> Result<Nodes> {
    let mut nodes = Nodes::new();
    let at_once = thread::available_parallelism().map_or(1, NonZero::get);
    for some in ours(topology).chunks(at_once) {
        let made: Vec<Result<Node>> = thread::scope(|scope| {
            let make =
                |&(name, kind)| scope.spawn(move || make_node(topology, inventory, name, kind, privilege));
            let threads: Vec<_> = some.iter().map(make).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|_| Err(anyhow!("a thread panicked"))))
                .collect()
        });
        for (node, (name, _)) in made.into_iter().zip(some) {
            nodes.insert((*name).into(), node.with_context(|| (*name).to_owned())?);
            done()?;
        }
    }
    Ok(nodes)
}

fn make_node(
    topology: &Topology,
    inventory: &str,
    name: &str,
    kind: Kind,
    privilege: Privilege,
) -> Result<Node> {
    let (namespaces, notify) = Namespaces::make(|| {
        let host = topology.hosts.iter().find(|host| kind == Kind::Host && host.name == name);
        let notify = match host {
            Some(host) => Some(furniture::furnish_host(host, topology, inventory, privilege)?),
            None => furniture::furnish_other(name).map(|()| None)?,
        };
        furniture::set_kernel(if kind == Kind::Router { Forwarding::On } else { Forwarding::Off })?;
        Ok(notify)
    })?;
    Ok(Node { namespaces, notify })
}

/// One bridge for each segment; one port for each host and for each leg of a router.
fn wire_switch(topology: &Topology, nodes: &Nodes) -> Result<()> {
    let mut batch = Batch::default();
    batch.up(LOOPBACK);
    for (index, segment) in (SWITCH_BRIDGES..).zip(&topology.segments) {
        batch.bridge(End { name: &segment.name, index });
    }
    let mut ports = SWITCH_PORTS..;
    let mut plug = |name: &str, segment: &str, far: End<'_>, namespace| {
        let bridges = (SWITCH_BRIDGES..).zip(&topology.segments);
        if let (Some((bridge, _)), Some(index)) =
            (bridges.into_iter().find(|(_, s)| s.name == segment), ports.next())
        {
            batch.wire(End { name, index }, bridge, far, namespace);
        }
    };
    for host in &topology.hosts {
        plug(&host.name, &host.segment, End { name: "eth0", index: ETH0 }, net_of(nodes, &host.name)?);
    }
    for router in &topology.routers {
        for (nth, (leg, segment)) in (0..).zip(legs(topology, router)) {
            let far = End { name: &format!("eth{nth}"), index: ETH0 + nth };
            plug(&format!("{}.{}", router.name, leg + 1), &segment.name, far, net_of(nodes, &router.name)?);
        }
    }
    batch.send().context(SWITCH)
}

/// The segments that a router has an address in, with their places in the topology.
fn legs<'a>(topology: &'a Topology, router: &'a Router) -> impl Iterator<Item = (usize, &'a Segment)> {
    let has_leg =
        |segment: &Segment| router.addresses.iter().any(|address| segment.prefix_for(*address).is_some());
    topology.segments.iter().enumerate().filter(move |(_, segment)| has_leg(segment))
}

fn wire_router(topology: &Topology, router: &Router) -> Result<()> {
    let mut batch = Batch::default();
    batch.up(LOOPBACK);
    for (index, (_, segment)) in (ETH0..).zip(legs(topology, router)) {
        batch.up(index);
        for address in &router.addresses {
            if let Some(prefix) = segment.prefix_for(*address) {
                batch.address(index, ipnet::IpNet::new(*address, prefix.prefix_len())?);
            }
        }
    }
    batch.send()
}

fn wire_host(
    topology: &Topology,
    host: &Host,
    nodes: &Nodes,
    done: &mut dyn FnMut() -> Result<()>,
) -> Result<()> {
    named(nodes, &host.name)?.inside_net(|| wire_host_itself(topology, host, nodes))?;
    done()?;
    for container in lab_made(host) {
        let addresses = container.addresses.iter().filter_map(|address| host.in_subnet(*address));
        let mut batch = Batch::default();
        batch.up(LOOPBACK);
        batch.up(ETH0);
        addresses.for_each(|address| batch.address(ETH0, address));
        for gateway in gateways(host, &container.addresses) {
            batch.default_route(gateway);
        }
        let net = &named(nodes, &container.name)?.net;
        named(nodes, &container.name)?.inside_net(|| batch.send()).with_context(|| container.name.clone())?;
        named(nodes, &host.name)?
            .inside(|| furniture::name_container(&container.name, net.as_fd()))
            .with_context(|| container.name.clone())?;
        done()?;
    }
    Ok(())
}

fn wire_host_itself(topology: &Topology, host: &Host, nodes: &Nodes) -> Result<()> {
    let segment = topology.segment(&host.segment).context("no such segment")?;
    let mut batch = Batch::default();
    batch.up(LOOPBACK);
    batch.up(ETH0);
    host.in_segment(segment).into_iter().for_each(|address| batch.address(ETH0, address));
    if host.engine.is_none() {
        batch.bridge(End { name: &host.bridge, index: HOST_BRIDGE });
        host.bridge_addresses().into_iter().for_each(|address| batch.address(HOST_BRIDGE, address));
    }
    for (index, container) in (HOST_PORTS..).zip(lab_made(host)) {
        let near = End { name: &format!("veth{}", container.name), index };
        batch.wire(near, HOST_BRIDGE, End { name: "eth0", index: ETH0 }, net_of(nodes, &container.name)?);
    }
    for gateway in topology.gateways(segment) {
        if host.addresses.iter().any(|address| address.is_ipv4() == gateway.is_ipv4()) {
            batch.default_route(gateway);
        }
    }
    batch.send()
}

/// The containers that are not made by an engine.
fn lab_made(host: &Host) -> &[Container] {
    if host.engine.is_some() { &[] } else { &host.containers }
}

/// The bridge's addresses that a container can use: one of each family that it has, from its own subnet.
fn gateways(host: &Host, addresses: &[std::net::IpAddr]) -> Vec<std::net::IpAddr> {
    let near = |address: &std::net::IpAddr| {
        let bridges = host.bridge_addresses();
        bridges.into_iter().find(|bridge| bridge.contains(address)).map(|bridge| bridge.addr())
    };
    addresses.iter().filter_map(near).collect()
}

/// A port forwards some time after its wire is up; a ping before that is lost.
fn await_ports(topology: &Topology, nodes: &Nodes) -> Result<()> {
    let legs = topology.routers.iter().map(|router| legs(topology, router).count()).sum::<usize>();
    ports::await_forwarding(topology.hosts.len() + legs).context(SWITCH)?;
    for host in topology.hosts.iter().filter(|host| !lab_made(host).is_empty()) {
        let namespaces = named(nodes, &host.name)?;
        namespaces
            .inside_net(|| ports::await_forwarding(host.containers.len()))
            .with_context(|| host.name.clone())?;
    }
    Ok(())
}

fn named<'a>(nodes: &'a Nodes, name: &str) -> Result<&'a Namespaces> {
    nodes.get(name).map(|node| &node.namespaces).with_context(|| format!("{name} has no namespaces"))
}

fn net_of<'a>(nodes: &'a Nodes, name: &str) -> Result<BorrowedFd<'a>> {
    Ok(named(nodes, name)?.net.as_fd())
}
