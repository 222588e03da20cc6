//! What this host uses of addresses, beside what it claims in a store.

use std::collections::BTreeSet;
use std::net::IpAddr;

use byway_fabric::desired::Choices;
use byway_fabric::lease::Use;
use byway_fabric::observed::{Link, Observed, Route, protocol_name};
use ipnet::IpNet;

/// The most uses that are looked at: a host with a whole Internet's routes has no prefix for containers in it.
const USES_MAX: usize = 10_000;

/// What a look has found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Surroundings {
    /// All uses of addresses.
    uses: BTreeSet<Use>,
    /// The networks of bridges that containers can be on: what its containers have already, a host claims as it is.
    bridges: BTreeSet<IpNet>,
}

impl Surroundings {
    pub(super) fn of(observed: &Observed, choices: &Choices, resolvers: &[IpAddr]) -> Self {
        let routes = observed.routes.iter().filter(|route| !route.is_ours() && route.to.prefix_len() > 0);
        let routes = routes.map(|route| Use { net: route.to, what: route_in_words(observed, route) });
        let networks = observed.docker.iter().flat_map(|docker| &docker.networks);
        let networks = networks.flat_map(|network| network.subnets.iter().map(move |net| (net, network)));
        let networks = networks.map(|(net, network)| Use {
            net: *net,
            what: format!("the Docker network {} with {net}", network.name),
        });
        let resolvers = resolvers
            .iter()
            .map(|address| Use { net: IpNet::from(*address), what: format!("the resolver {address}") });
        let takes_part = |link: &&Link| {
            let is_kept_out = observed.docker.as_ref().is_some_and(|docker| docker.keeps_out(&link.name));
            let is_chosen = choices.bridges.is_empty() || choices.bridges.contains(&link.name);
            link.bridge && is_chosen && !is_kept_out
        };
        let bridges = observed.links.values().filter(takes_part).flat_map(|link| &link.addresses);
        Self {
            uses: routes.take(USES_MAX).chain(networks).chain(resolvers).collect(),
            bridges: bridges.map(IpNet::trunc).collect(),
        }
    }

    /// The uses in one of the prefixes, whatever lies in a host's `own` subnets excepted. A route that covers more than a
    /// prefix was there when somebody chose the prefix, as the default route was: it is no use of its addresses.
    pub(super) fn uses_in(&self, prefixes: &[IpNet], own: &[IpNet]) -> Vec<Use> {
        let counts = |one: &&Use| {
            prefixes.iter().any(|prefix| prefix.contains(&one.net))
                && !own.iter().any(|subnet| subnet.contains(&one.net))
        };
        self.uses.iter().filter(counts).cloned().collect()
    }

    /// The networks of its bridges.
    pub(super) fn bridges(&self) -> impl Iterator<Item = IpNet> {
        self.bridges.iter().copied()
    }
}

fn route_in_words(observed: &Observed, route: &Route) -> String {
    format!("the route {} proto {}", observed.route_text(route), protocol_name(route.protocol))
}

#[cfg(test)]
mod tests {
    use byway_fabric::observed::{PROTOCOL, RouteKind};

    use super::*;

    fn route(to: &str, protocol: u8) -> Route {
        let to = to.parse().unwrap();
        Route { to, kind: RouteKind::Unicast, via: None, dev: None, src: None, metric: 0, protocol }
    }

    #[test]
    fn what_lies_in_a_prefix_and_is_nobodys_subnet_is_a_use() {
        let routes = vec![
            route("0.0.0.0/0", 4),
            route("10.0.0.0/8", 4),
            route("10.1.2.0/24", 4),
            route("10.2.0.0/16", PROTOCOL),
            route("10.3.0.0/16", 2),
            route("172.16.0.0/16", 2),
        ];
        let docker0 = Link {
            name: "docker0".to_owned(),
            bridge: true,
            addresses: vec!["10.3.0.1/16".parse().unwrap()],
            ..Link::default()
        };
        let observed = Observed { routes, links: [(1, docker0)].into(), ..Observed::default() };
        let resolvers = ["10.4.0.53".parse().unwrap(), "1.1.1.1".parse().unwrap()];
        let found = Surroundings::of(&observed, &Choices::default(), &resolvers);
        let (prefix, own) = ("10.0.0.0/13".parse().unwrap(), "10.3.0.0/16".parse().unwrap());
        let uses = found.uses_in(&[prefix], &[own]);
        let words: Vec<&str> = uses.iter().map(|one| one.what.as_str()).collect();
        assert_eq!(words, ["the route 10.1.2.0/24 proto static", "the resolver 10.4.0.53"]);
        assert_eq!(found.bridges().collect::<Vec<_>>(), [own]);
        let others = Choices { bridges: vec!["br1".to_owned()], ..Choices::default() };
        assert_eq!(Surroundings::of(&observed, &others, &[]).bridges().count(), 0);
    }
}
