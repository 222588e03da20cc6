//! What to do about it.

use crate::cluster::HostName;
use crate::evidence::Owner;

/// About a rule that ended a packet.
pub(super) fn rule(owner: Owner, table: &str, chain: &str, host: &HostName) -> String {
    match owner {
        Owner::Docker => format!(
            "Docker keeps others out of its networks. Run byway's agent on {host} and opt the network in (its name in \
             `networks`, or the label byway): it puts the one accept that is needed before this rule"
        ),
        Owner::Firewalld => format!(
            "allow the cluster's subnets in firewalld on {host}; `byway status` there names the commands"
        ),
        Owner::Ufw => format!("allow it on {host}: ufw route allow from THEIR-SUBNET to YOUR-SUBNET"),
        Owner::Byway => format!(
            "Byway keeps those out who are not of the cluster: see that both subnets are in the inventory of {host} \
             (`byway hosts`)"
        ),
        Owner::Libvirt
        | Owner::Lxd
        | Owner::Podman
        | Owner::Kubernetes
        | Owner::Tailscale
        | Owner::Fail2ban => {
            format!(
                "{owner} wrote it on {host} and will write it again: change it there, in its own settings"
            )
        }
        Owner::Unknown if chain == "FORWARD" => format!(
            "Docker sets this policy when it switches forwarding on, and it stays after Docker. Byway's agent on {host} puts the \
             one accept that is needed into DOCKER-USER, for networks that are opted in"
        ),
        Owner::Admin | Owner::Unknown => format!(
            "if it is not meant for the containers, put an accept for the cluster's subnets before it, in {table} {chain} on {host}"
        ),
    }
}

/// About a source that was rewritten.
pub(super) fn rewritten(owner: Option<Owner>) -> String {
    match owner {
        Some(Owner::Docker) => {
            "Docker masquerades what leaves its network; byway's agent on the sender's host keeps the \
                                sources of cluster traffic (`byway plan` there says what is missing)"
                .to_owned()
        }
        Some(owner) => format!("{owner} rewrites it; exempt the cluster's prefix there"),
        None => {
            "something between rewrites it; `byway plan` on the sender's host says what is missing".to_owned()
        }
    }
}
