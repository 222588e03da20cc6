//! Somebody answered that it cannot go on.

use std::net::IpAddr;

use super::{Case, Cause, Leg, Verdict, rules, ways};
use crate::trace::sort::ErrorSeen;

impl Case<'_> {
    /// Judges by an ICMP error about the probe.
    pub(super) fn error(&self, leg: &Leg<'_>, error: &ErrorSeen) -> Verdict {
        let who = self.who(error.from);
        let host = self.speaker(error.from);
        let evidence = vec![format!("{who} answered: {}", name(error))];
        let verdict = |cause, sentence: String, advice: Option<&str>| Verdict {
            cause,
            host: host.clone(),
            sentence,
            evidence: evidence.clone(),
            advice: advice.map(str::to_owned),
        };
        let packet = leg.packet();
        match kind(error) {
            Kind::TooBig => {
                let mtu = error
                    .mtu
                    .map_or_else(String::new, |mtu| format!(" than the {mtu} bytes that its way takes"));
                verdict(
                    Cause::TooBig,
                    format!("{packet} is larger{mtu}, and must not be cut: {who} sent it back"),
                    Some(
                        "give the containers' network the MTU of the way (com.docker.network.driver.mtu), or let \
                          this error pass so that senders can learn it",
                    ),
                )
            }
            Kind::TtlExpired => verdict(
                Cause::TtlExpired,
                format!("the TTL of {packet} ended at {who}: too small for the way, or the way is a circle"),
                Some(
                    "a route that leads back to where packets come from makes a circle: byway plan on each host",
                ),
            ),
            Kind::Prohibited => {
                if let Some(found) = rules::ended(self, leg).or_else(|| ways::of_route(self, leg)) {
                    return found.with(evidence);
                }
                verdict(
                    Cause::Rejected,
                    format!("{who} rejects {packet}: a firewall there does not let it pass"),
                    Some("look for a rule with REJECT there, or a route of type prohibit"),
                )
            }
            Kind::Unreachable => {
                if let Some(found) = rules::ended(self, leg).or_else(|| ways::any(self, leg)) {
                    return found.with(evidence);
                }
                verdict(
                    Cause::NoRoute,
                    format!("{who} has no way for {packet}"),
                    Some("see its routes: ip route get"),
                )
            }
            Kind::Port => {
                if let Some(found) = rules::ended(self, leg) {
                    return found.with(evidence);
                }
                verdict(
                    Cause::Rejected,
                    format!("{who} answers in place of the receiver: a firewall rejects {packet}"),
                    None,
                )
            }
        }
    }

    fn who(&self, address: IpAddr) -> String {
        match self.speaker(address) {
            Some(host) => format!("{host} ({address})"),
            None => address.to_string(),
        }
    }

    /// The host that speaks with an address: its own on the underlay, or that of one of its bridges.
    fn speaker(&self, address: IpAddr) -> Option<crate::cluster::HostName> {
        self.host_at(address).or_else(|| self.owner_of(address)).cloned()
    }
}

impl Verdict {
    /// With more that tells so.
    pub(super) fn with(mut self, evidence: Vec<String>) -> Self {
        self.evidence.extend(evidence);
        self
    }
}

enum Kind {
    TooBig,
    TtlExpired,
    Prohibited,
    Unreachable,
    Port,
}

/// The types and codes of RFC 792, 1122, 1812 and 4443.
fn kind(error: &ErrorSeen) -> Kind {
    match (error.from.is_ipv4(), error.kind, error.code) {
        (true, 3, 4) | (false, 2, _) => Kind::TooBig,
        (true, 11, _) | (false, 3, _) => Kind::TtlExpired,
        (true, 3, 9 | 10 | 13) | (false, 1, 1 | 5 | 6) => Kind::Prohibited,
        (true, 3, 3) | (false, 1, 4) => Kind::Port,
        _ => Kind::Unreachable,
    }
}

fn name(error: &ErrorSeen) -> String {
    // The sighting's text is "A > B ICMP net unreachable about …".
    let text = error.seen.first().map_or("", |seen| seen.text.as_str());
    let from = text.find(" ICMP").map_or(text, |at| &text[at + 1..]);
    let name = from.split(" about ").next().unwrap_or(from);
    name.to_owned()
}
