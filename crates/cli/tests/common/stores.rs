//! Two hosts, and an etcd on a third one.

use byway_api::LeaseStatus;
use byway_lab::etcd::{Members, Tls};
use byway_lab::{Lab, Spread, Topology};

use super::{Ear, byway, quiet_lab, run, start, status, write};

/// Where etcd is: a host without an agent.
pub const STORE: &str = "docker43";
/// How it is asked.
pub const ETCD: &str = "http://192.168.199.43:2379";
/// What all subnets lie in.
pub const PREFIXES: &str = "172.40.0.0/13,fd00:172::/32";

/// The hosts of the seed, and one more.
pub fn three_hosts() -> Topology {
    Spread { hosts: 3, ..Spread::default() }.topology()
}

/// A lab with an etcd that has a cluster, and hosts that know where it is.
pub fn stage() -> (Lab, Members) {
    let lab = quiet_lab(&three_hosts());
    let members =
        Members::start_in(&lab, STORE, "192.168.199.43".parse().unwrap(), 1, Tls::Without, &[]).unwrap();
    for host in ["docker41", "docker42"] {
        run(&lab, host, "rm /etc/byway/inventory.toml");
        configure(&lab, host, "");
    }
    let init = ["store", "init", "--prefix", PREFIXES, "--ipv4-length", "16"];
    let (code, out, errors) = byway(&lab, "docker41", &init);
    assert_eq!(code, Some(0), "{out}{errors}");
    (lab, members)
}

/// Tells a host where its cluster is.
pub fn configure(lab: &Lab, host: &str, more: &str) {
    write(lab, host, "/etc/byway/byway.toml", &format!("etcd = [\"{ETCD}\"]\n{more}"));
}

/// How a host stands in etcd.
pub fn lease(lab: &Lab, host: &str) -> LeaseStatus {
    status(lab, host).inventory.lease.unwrap()
}

/// Waits until a host has so many routes, all of them right.
pub fn until_routed(lab: &Lab, host: &str, routes: usize) {
    Ear::open(lab, host).until("it has its routes", || {
        let status = status(lab, host);
        let expected: usize = status.hosts.iter().map(|host| host.routes_expected).sum();
        let present: usize = status.hosts.iter().map(|host| host.routes_present).sum();
        if (expected, present, status.pending) == (routes, routes, 0) {
            Ok(())
        } else {
            Err(format!("{status:?}"))
        }
    });
}

/// Starts both agents, and waits until each has its routes.
pub fn begin(lab: &Lab) {
    for host in ["docker41", "docker42"] {
        start(lab, host);
    }
    for host in ["docker41", "docker42"] {
        until_routed(lab, host, 2);
    }
}
