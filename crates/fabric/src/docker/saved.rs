//! Reads what `iptables-save` prints: the chains in which ours stand, and what is there of Docker's own rules.

use super::rules::Place;
use super::{RawDrop, SeenChain, Walls};

/// What one family's `iptables-save` says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Saved {
    /// `DOCKER-USER`, if it is there, and raw `PREROUTING`, which always is.
    pub chains: Vec<SeenChain>,
    /// Docker's own rules; none where nothing of Docker's is to be seen.
    pub walls: Option<Walls>,
}

impl Saved {
    /// Whether `DOCKER-USER` is there: Docker writes with this iptables, or did.
    #[must_use]
    pub fn has_docker_user(&self) -> bool {
        self.chains.iter().any(|chain| chain.place == Place::DockerUser)
    }
}

/// Reads the output of `iptables-save` or `ip6tables-save`, of all tables.
#[must_use]
pub fn read(text: &str, ipv6: bool) -> Saved {
    let chain = |place: Place| {
        let rules = rules(text, place.names());
        let rules = if place == Place::Raw { Some(rules.unwrap_or_default()) } else { rules };
        rules.map(|rules| SeenChain { ipv6, place, rules })
    };
    let chains: Vec<SeenChain> = [Place::DockerUser, Place::Raw].into_iter().filter_map(chain).collect();
    let docker = rules(text, ("filter", "DOCKER-USER")).or_else(|| rules(text, ("filter", "DOCKER")));
    Saved { chains, walls: docker.map(|_| walls(text, ipv6)) }
}

fn walls(text: &str, ipv6: bool) -> Walls {
    let forward = rules(text, ("filter", "FORWARD")).unwrap_or_default();
    let asks = |chain: &str| {
        // Docker since 28.0.1 has a second chain of its own, and both are asked.
        rules(text, ("filter", chain)).is_none() || forward.iter().any(|rule| *rule == format!("-j {chain}"))
    };
    let prerouting = rules(text, ("nat", "PREROUTING")).unwrap_or_default();
    let raw = rules(text, ("raw", "PREROUTING")).unwrap_or_default();
    Walls {
        ipv6,
        forward: rules(text, ("filter", "DOCKER-USER")).is_some()
            && asks("DOCKER-USER")
            && asks("DOCKER-FORWARD"),
        nat: prerouting.iter().any(|rule| rule.ends_with("-j DOCKER")),
        policy_drops: policy(text, ("filter", "FORWARD")) == Some("DROP"),
        closed: rules(text, ("filter", "DOCKER"))
            .unwrap_or_default()
            .iter()
            .filter_map(|rule| closed(rule))
            .collect(),
        marked: std::collections::BTreeSet::default(),
        raw_drops: raw.iter().filter_map(|rule| raw_drop(rule)).collect(),
    }
}

/// The lines of one table.
fn table<'a>(text: &'a str, table: &str) -> impl Iterator<Item = &'a str> {
    let head = format!("*{table}");
    text.lines().skip_while(move |line| **line != *head).skip(1).take_while(|line| *line != "COMMIT")
}

/// The rules of one chain, without their `-A CHAIN`; none if there is no such chain.
fn rules(text: &str, (table_name, chain): (&str, &str)) -> Option<Vec<String>> {
    let (declared, prefix) = (format!(":{chain} "), format!("-A {chain} "));
    table(text, table_name).any(|line| line.starts_with(&declared)).then(|| {
        let rules = table(text, table_name).filter_map(|line| line.strip_prefix(&prefix));
        rules.map(str::to_owned).collect()
    })
}

fn policy<'a>(text: &'a str, (table_name, chain): (&str, &str)) -> Option<&'a str> {
    let declared = format!(":{chain} ");
    let rest = table(text, table_name).find_map(|line| line.strip_prefix(&declared))?;
    rest.split(' ').next()
}

/// The bridge that a rule of chain `DOCKER` closes: `! -i BRIDGE -o BRIDGE -j DROP`, since 28.0.
fn closed(rule: &str) -> Option<String> {
    let words: Vec<&str> = rule.split(' ').collect();
    match words[..] {
        ["!", "-i", into, "-o", bridge, "-j", "DROP"] if into == bridge => Some(bridge.to_owned()),
        _ => None,
    }
}

/// `-d ADDRESS/32 ! -i BRIDGE -j DROP`, since 28.2.
fn raw_drop(rule: &str) -> Option<RawDrop> {
    let words: Vec<&str> = rule.split(' ').collect();
    let ["-d", to, "!", "-i", bridge, "-j", "DROP"] = words[..] else { return None };
    let to = to.split('/').next()?.parse().ok()?;
    Some(RawDrop { to, except: [bridge.to_owned()].into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "*nat\n:PREROUTING ACCEPT [0:0]\n:DOCKER - [0:0]\n\
        -A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\nCOMMIT\n\
        *filter\n:FORWARD DROP [0:0]\n:DOCKER - [0:0]\n:DOCKER-USER - [0:0]\n-A FORWARD -j DOCKER-USER\n\
        -A FORWARD -o docker0 -j DOCKER\n-A DOCKER-USER -s 10.0.0.1/32 -j DROP\n-A DOCKER-USER -j RETURN\nCOMMIT\n";
    const NEW: &str = "*raw\n:PREROUTING ACCEPT [0:0]\n-A PREROUTING -d 172.41.0.2/32 ! -i docker0 -j DROP\nCOMMIT\n\
        *filter\n:FORWARD ACCEPT [0:0]\n:DOCKER - [0:0]\n:DOCKER-FORWARD - [0:0]\n:DOCKER-USER - [0:0]\n\
        -A FORWARD -j DOCKER-USER\n-A FORWARD -j DOCKER-FORWARD\n-A DOCKER ! -i docker0 -o docker0 -j DROP\nCOMMIT\n";

    fn walls(text: &str) -> Walls {
        read(text, false).walls.unwrap_or_default()
    }

    #[test]
    fn a_chain_is_read_in_its_order() {
        let chains = read(OLD, false).chains;
        assert_eq!(chains[0].rules, ["-s 10.0.0.1/32 -j DROP", "-j RETURN"]);
        assert_eq!(
            (chains[1].place, chains[1].rules.len()),
            (Place::Raw, 0),
            "raw is there when it is asked for"
        );
    }

    #[test]
    fn to_27_the_policy_keeps_outsiders_out_and_since_28_a_drop_for_each_bridge() {
        let old = walls(OLD);
        assert!(old.forward && old.nat && old.policy_drops && old.protect("docker0") && old.protect("br7"));
        let open = walls(&OLD.replace("FORWARD DROP", "FORWARD ACCEPT"));
        assert!(!open.protect("docker0"));
        let new = walls(NEW);
        assert!(new.protect("docker0") && !new.protect("br7") && !new.nat);
        assert_eq!(new.raw_drops[0].to.to_string(), "172.41.0.2");
    }

    #[test]
    fn emptied_chains_protect_nobody() {
        // `iptables -F` leaves the chains and their policies.
        let flushed: String =
            NEW.lines().filter(|line| !line.starts_with("-A ")).map(|line| line.to_owned() + "\n").collect();
        let walls = walls(&flushed);
        assert!(!walls.forward && !walls.protect("docker0"));
        let half = NEW.replace("-A FORWARD -j DOCKER-FORWARD\n", "");
        assert!(!super::walls(&half, false).forward);
    }

    #[test]
    fn a_host_without_docker_has_no_walls_of_docker() {
        let saved = read("*filter\n:FORWARD ACCEPT [0:0]\nCOMMIT\n", false);
        assert_eq!((saved.walls.is_none(), saved.has_docker_user()), (true, false));
        assert_eq!(read("", false).walls, None);
    }
}
