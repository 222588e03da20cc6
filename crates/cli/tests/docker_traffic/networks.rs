//! The two of Docker's networks that can hold the host's subnets, and the containers on them.

use byway_lab::{Lab, Topology};

use crate::common::engines::{C41, C42, raise, topology, until_reaching};
use crate::common::{lab as up, run};

/// The hosts.
pub(crate) const HOSTS: [&str; 2] = ["docker41", "docker42"];

/// Which network it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum On {
    /// docker0, as daemon.json says.
    Docker0,
    /// One called `byway`, made by `byway docker network --create`.
    Network,
}

impl On {
    /// What `docker run` must be told for a container there.
    pub(crate) fn option(self) -> &'static str {
        match self {
            Self::Docker0 => "",
            Self::Network => "--network byway",
        }
    }

    /// Two hosts with engines that leave their subnets to this network.
    pub(crate) fn topology(self, releases: [&str; 2]) -> Topology {
        let mut topology = topology(releases);
        if self == Self::Network {
            for host in &mut topology.hosts {
                "bw0".clone_into(&mut host.bridge);
                host.containers.clear();
            }
        }
        topology
    }

    /// Makes the network and its containers, where the lab has not done so.
    pub(crate) fn populate(self, lab: &Lab) {
        if self == Self::Network {
            for container in [C41, C42] {
                let (host, name) = container.split_once('/').unwrap();
                run(lab, host, "byway docker network --create");
                run(lab, host, &format!("docker run -d --name {name} {} busybox sleep 1000", self.option()));
            }
        }
    }

    /// Two engines with a container each on this network, and agents that have made their peace with them.
    pub(crate) fn cluster(self, releases: [&str; 2]) -> Lab {
        let topology = self.topology(releases);
        if self == Self::Docker0 {
            return raise(&topology);
        }
        let lab = up(&topology);
        self.populate(&lab);
        until_reaching(&lab);
        lab
    }
}
