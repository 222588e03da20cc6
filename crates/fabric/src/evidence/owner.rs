//! Whose a rule is, told from the names around it, its comment and its text.
//!
//! Nobody signs rules, so this is what programs are known by. What is not known is the admin's, or somebody's.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Who made a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Owner {
    /// Byway.
    Byway,
    /// Docker's engine.
    Docker,
    /// firewalld.
    Firewalld,
    /// ufw.
    Ufw,
    /// libvirt's networks.
    Libvirt,
    /// kube-proxy, kubelet, or a network of Kubernetes: Calico, Cilium, flannel, kube-router.
    Kubernetes,
    /// Podman or CRI-O (netavark, CNI's port map).
    Podman,
    /// LXD or Incus.
    Lxd,
    /// fail2ban.
    Fail2ban,
    /// Tailscale.
    Tailscale,
    /// Nobody that is known by name: the admin, most likely.
    Admin,
    /// The policy of a chain that all share: Docker sets that of FORWARD when it switches forwarding on, firewalls and
    /// admins do too, and nobody leaves a mark.
    Unknown,
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Byway => "Byway",
            Self::Docker => "Docker",
            Self::Firewalld => "firewalld",
            Self::Ufw => "ufw",
            Self::Libvirt => "libvirt",
            Self::Kubernetes => "Kubernetes",
            Self::Podman => "Podman",
            Self::Lxd => "LXD",
            Self::Fail2ban => "fail2ban",
            Self::Tailscale => "Tailscale",
            Self::Admin => "an admin's",
            Self::Unknown => "somebody's",
        })
    }
}

/// Tables that are known by their whole name, and by how it begins.
const TABLES: [(&str, Owner); 8] = [
    ("firewalld", Owner::Firewalld),
    ("docker-bridges", Owner::Docker),
    ("netavark", Owner::Podman),
    ("kube-proxy", Owner::Kubernetes),
    ("calico", Owner::Kubernetes),
    ("libvirt_network", Owner::Libvirt),
    ("lxd", Owner::Lxd),
    ("incus", Owner::Lxd),
];

/// Chains that are known by how their name begins. `DOCKER-USER` is the admin's, and comes before Docker's.
const CHAINS: [(&str, Owner); 24] = [
    ("DOCKER-USER", Owner::Admin),
    ("DOCKER", Owner::Docker),
    ("ufw-user-", Owner::Admin),
    ("ufw6-user-", Owner::Admin),
    ("ufw-", Owner::Ufw),
    ("ufw6-", Owner::Ufw),
    ("LIBVIRT_", Owner::Libvirt),
    ("KUBE-", Owner::Kubernetes),
    ("cali-", Owner::Kubernetes),
    ("CILIUM_", Owner::Kubernetes),
    ("OLD_CILIUM_", Owner::Kubernetes),
    ("FLANNEL-", Owner::Kubernetes),
    ("KUBE", Owner::Kubernetes),
    ("WEAVE", Owner::Kubernetes),
    ("NETAVARK", Owner::Podman),
    ("CNI-", Owner::Podman),
    ("f2b-", Owner::Fail2ban),
    ("ts-", Owner::Tailscale),
    ("IN_", Owner::Firewalld),
    ("FWD_", Owner::Firewalld),
    ("FWDI_", Owner::Firewalld),
    ("FWDO_", Owner::Firewalld),
    ("FORWARD_", Owner::Firewalld),
    ("INPUT_", Owner::Firewalld),
];

/// Whose a rule is: one of a table, in a chain, with its text as nft or `iptables-save` prints it; without a text, the
/// policy of the chain.
///
/// ```
/// # use byway_fabric::evidence::{Owner, owner};
/// let drop = "-A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP";
/// assert_eq!(owner("raw", "PREROUTING", Some(drop)), Owner::Docker);
/// ```
#[must_use]
pub fn owner(table: &str, chain: &str, rule: Option<&str>) -> Owner {
    if table == "byway" || table.starts_with("byway-") {
        return Owner::Byway;
    }
    if let Some((_, owner)) = TABLES.iter().find(|(name, _)| table.starts_with(name)) {
        return *owner;
    }
    let Some(rule) = rule else { return by_chain(chain).unwrap_or(Owner::Unknown) };
    // A comment is the most that anybody says of himself.
    let owner = comment(rule).and_then(by_comment).or_else(|| by_chain(chain));
    owner.or_else(|| by_text(table, chain, rule)).unwrap_or(Owner::Admin)
}

fn by_chain(chain: &str) -> Option<Owner> {
    CHAINS.iter().find(|(name, _)| chain.starts_with(name)).map(|(_, owner)| *owner)
}

/// What a rule in a chain that all share shows of its author.
fn by_text(table: &str, chain: &str, rule: &str) -> Option<Owner> {
    if let Some(target) = target(rule)
        && let Some(owner) = by_chain(target)
    {
        // Who jumps to a chain made the jump; that to DOCKER-USER is Docker's own.
        return Some(if owner == Owner::Admin { jump_to_admins(target) } else { owner });
    }
    (is_raw_drop(table, chain, rule) || is_docker_set(rule)).then_some(Owner::Docker)
}

fn jump_to_admins(chain: &str) -> Owner {
    if chain.starts_with("DOCKER") { Owner::Docker } else { Owner::Ufw }
}

/// `-d CONTAINER ! -i BRIDGE -j DROP` in raw PREROUTING: Docker, per published port since 28.0, per container since 28.2.
fn is_raw_drop(table: &str, chain: &str, rule: &str) -> bool {
    if table != "raw" || chain != "PREROUTING" {
        return false;
    }
    let words: Vec<&str> = rule.split_whitespace().collect();
    let iptables = words.contains(&"-d")
        && words.windows(3).any(|three| three[0] == "!" && three[1] == "-i" && is_docker_bridge(three[2]))
        && words.ends_with(&["-j", "DROP"]);
    let nft = words.windows(2).any(|two| two[0] == "daddr")
        && words.windows(3).any(|three| {
            three[0] == "iifname" && three[1] == "!=" && is_docker_bridge(three[2].trim_matches('"'))
        })
        && words.last() == Some(&"drop");
    iptables || nft
}

/// The names that Docker gives to its bridges; a network can be told to have another.
fn is_docker_bridge(name: &str) -> bool {
    name.starts_with("docker") || name.starts_with("br-")
}

/// Engines 28.0 ask a set for their bridges.
fn is_docker_set(rule: &str) -> bool {
    rule.contains("docker-ext-bridges-v")
}

/// Where a rule jumps to.
fn target(rule: &str) -> Option<&str> {
    let mut words = rule.split_whitespace();
    words.find(|word| matches!(*word, "-j" | "-g" | "jump" | "goto"))?;
    words.next()
}

/// A rule's comment, of `-m comment --comment byway`, `--comment "two words"` or nft's `comment "…"`.
fn comment(rule: &str) -> Option<&str> {
    let at = rule.find("--comment ").map(|at| at + "--comment ".len());
    let at = at.or_else(|| rule.find("comment \"").map(|at| at + "comment ".len()))?;
    let rest = &rule[at..];
    match rest.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next(),
        None => rest.split_whitespace().next(),
    }
}

fn by_comment(comment: &str) -> Option<Owner> {
    let starts = |word: &str| comment.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    const WORDS: [(&str, Owner); 8] = [
        ("byway", Owner::Byway),
        ("cali:", Owner::Kubernetes),
        ("cilium", Owner::Kubernetes),
        ("kubernetes", Owner::Kubernetes),
        ("flannel", Owner::Kubernetes),
        ("kube-router", Owner::Kubernetes),
        ("netavark", Owner::Podman),
        ("generated for lxd", Owner::Lxd),
    ];
    WORDS.iter().find(|(word, _)| starts(word)).map(|(_, owner)| *owner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(cases: &str) {
        for line in cases.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (place, expected) = line.rsplit_once(" => ").unwrap();
            let (table, rest) = place.split_once(' ').unwrap();
            let (chain, rule) = rest.split_once(": ").unwrap_or((rest, ""));
            let rule = (!rule.is_empty()).then_some(rule);
            assert_eq!(owner(table, chain, rule).to_string(), expected, "{line}");
        }
    }

    #[test]
    fn engines_rules_are_dockers_and_docker_user_is_the_admins() {
        check(
            r#"
            raw PREROUTING: -A PREROUTING -d 172.17.0.2/32 ! -i docker0 -j DROP => Docker
            raw PREROUTING: -A PREROUTING -d 172.17.0.2/32 -p tcp -m tcp --dport 80 ! -i br-0123456789ab -j DROP => Docker
            raw PREROUTING: ip daddr 172.17.0.2 iifname != "docker0" counter drop => Docker
            raw PREROUTING: -A PREROUTING -d 172.17.0.2/32 ! -i docker0 -m comment --comment byway -j DROP => Byway
            raw PREROUTING: -A PREROUTING -d 172.17.0.2/32 ! -i eth0 -j DROP => an admin's
            docker-bridges raw-PREROUTING: ip daddr 172.17.0.2 iifname != "docker0" drop => Docker
            filter DOCKER: -A DOCKER ! -i docker0 -o docker0 -j DROP => Docker
            filter DOCKER-ISOLATION-STAGE-2: -A DOCKER-ISOLATION-STAGE-2 -o docker0 -j DROP => Docker
            filter DOCKER-USER: -A DOCKER-USER -s 10.0.0.1/32 -j DROP => an admin's
            filter DOCKER-USER: -A DOCKER-USER -m comment --comment byway -m mark --mark 0xb1 -j ACCEPT => Byway
            filter FORWARD: -A FORWARD -j DOCKER-USER => Docker
            filter FORWARD: -A FORWARD -o docker0 -j DOCKER => Docker
            filter FORWARD => somebody's
            "#,
        );
    }

    #[test]
    fn others_are_known_by_their_tables_chains_and_comments() {
        check(
            r#"
            firewalld filter_FWD_public: reject with icmpx admin-prohibited => firewalld
            filter FWD_public: -A FWD_public -j DROP => firewalld
            filter ufw-reject-forward: -A ufw-reject-forward -j DROP => ufw
            filter ufw-user-input: -A ufw-user-input -s 10.0.0.1/32 -j DROP => an admin's
            filter FORWARD: -A FORWARD -j ufw-user-forward => ufw
            filter LIBVIRT_FWI: -A LIBVIRT_FWI -o virbr0 -j REJECT --reject-with icmp-port-unreachable => libvirt
            libvirt_network guest_input: oif "virbr0" counter reject => libvirt
            filter KUBE-FORWARD: -A KUBE-FORWARD -m conntrack --ctstate INVALID -j DROP => Kubernetes
            filter FORWARD: -A FORWARD -m comment --comment "cali:wUHhoiAYhphO9Mso" -j cali-FORWARD => Kubernetes
            filter FORWARD: -A FORWARD -m comment --comment "kubernetes forwarding rules" -j KUBE-FORWARD => Kubernetes
            inet-mine forward: ip saddr 10.0.0.1 drop comment "byway: not me" => Byway
            byway forward: drop => Byway
            byway-2 forward: drop => Byway
            bywaylaid forward: drop => an admin's
            netavark INPUT: drop => Podman
            filter f2b-sshd: -A f2b-sshd -s 10.0.0.1/32 -j REJECT => fail2ban
            filter ts-forward: -A ts-forward -s 100.64.0.0/10 -o tailscale0 -j DROP => Tailscale
            guard ward: ip saddr 10.0.0.1 drop => an admin's
            "#,
        );
    }
}
