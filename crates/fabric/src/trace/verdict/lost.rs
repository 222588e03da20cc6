//! It was lost on its way.

use super::{Case, Cause, Leg, Verdict, rules, ways};
use crate::cluster::HostName;
use crate::evidence::KernelDrop;

impl Case<'_> {
    /// It was not seen anywhere: it never left its sender.
    pub(super) fn never_left(&self) -> Verdict {
        let leg = Leg::there(self);
        let host = self.sides.0.host.clone();
        let found = rules::ended(self, &leg).or_else(|| ways::any(self, &leg));
        // The sender's own kernel says more to the sender than to whoever watches its drops.
        let found = found.or_else(|| self.kernel(&leg).filter(|_| self.sent.error.is_none()));
        let said = self.sent.error.as_ref().map(|error| format!("the sender's own kernel says: {error}"));
        if let Some(found) = found {
            return found.with(said.into_iter().collect());
        }
        let from = self.name(self.from);
        let Some(error) = &self.sent.error else {
            return Verdict {
                cause: Cause::LostOnHost,
                host: Some(host),
                sentence: format!("the packet never left {from}: it was not seen at its own interface"),
                evidence: Vec::new(),
                advice: Some(format!(
                    "does its gateway answer? look at ip route and ip neigh inside of {from}"
                )),
            };
        };
        // EMSGSIZE, ENETUNREACH, EHOSTUNREACH, EPERM, EACCES of errno(3) on Linux.
        let (cause, why) = match self.sent.errno {
            Some(90) => {
                (Cause::TooBig, "it is larger than the MTU of its own interface, and must not be cut")
            }
            Some(101) => (Cause::NoRoute, "it has no route of its own for it"),
            Some(113) => (Cause::NextHopSilent, "its own gateway does not answer"),
            Some(1 | 13) => (Cause::SenderRefused, "a firewall in its own network namespace forbids it"),
            _ => (Cause::SenderRefused, "its own kernel refuses it"),
        };
        Verdict {
            cause,
            host: Some(host),
            sentence: format!("the packet never left {from}: {why}"),
            evidence: [format!("the sender's own kernel says: {error}")]
                .into_iter()
                .chain(self.kernel_words(&leg))
                .collect(),
            advice: None,
        }
    }

    /// It was seen, and then no more.
    pub(super) fn lost(&self, leg: &Leg<'_>) -> Verdict {
        if let Some(verdict) = rules::ended(self, leg) {
            return verdict;
        }
        if !leg.back
            && let Some(error) = self.sorted.errors.first()
        {
            return self.error(leg, error);
        }
        if let Some(verdict) = ways::any(self, leg) {
            return verdict.with(self.kernel_words(leg));
        }
        self.kernel(leg).or_else(|| self.too_large_to_come_in(leg)).unwrap_or_else(|| Self::nobody_knows(leg))
    }

    fn kernel_drops<'b>(&'b self, leg: &'b Leg<'_>) -> impl Iterator<Item = &'b (HostName, KernelDrop)> {
        let hosts = leg.hosts();
        self.drops.iter().filter(move |(host, drop)| {
            hosts.contains(&host)
                && !drop.is_harmless()
                && drop.packet.as_ref().is_some_and(|packet| leg.is(packet))
        })
    }

    fn kernel_words(&self, leg: &Leg<'_>) -> Vec<String> {
        self.kernel_drops(leg).map(|(host, drop)| words(host, drop)).take(1).collect()
    }

    fn kernel(&self, leg: &Leg<'_>) -> Option<Verdict> {
        let (host, drop) = self.kernel_drops(leg).next()?;
        let why = drop.sentence().map_or_else(|| format!("reason {}", drop.reason), str::to_owned);
        let cause = match drop.reason.as_str() {
            "IP_RPFILTER" => Cause::ReversePath,
            "PKT_TOO_BIG" => Cause::TooBig,
            "NEIGH_FAILED" => Cause::NextHopSilent,
            "IP_OUTNOROUTES" => Cause::NoRoute,
            _ => Cause::KernelDrop,
        };
        Some(Verdict {
            cause,
            host: Some(host.clone()),
            sentence: format!("{} was dropped by the kernel of {host}: {why}", leg.packet()),
            evidence: vec![words(host, drop)],
            advice: None,
        })
    }

    /// It is larger than what the interface takes that should have received it: who sent it was not told so.
    fn too_large_to_come_in(&self, leg: &Leg<'_>) -> Option<Verdict> {
        let (after, before) = leg.gap();
        let (after, before) =
            (after?, before.filter(|before| Some(&before.host) != after.map(|at| &at.host))?);
        let interfaces = |host| self.answers.get(host).map_or(&[][..], |answers| &answers.interfaces[..]);
        let link = interfaces(&before.host).iter().find(|link| link.name == before.interface)?;
        let seen = leg.journey.hops.iter().find(|hop| hop.at == *after)?.seen.as_ref()?;
        let (length, mtu) = (seen.first.length, link.mtu);
        let ours = interfaces(&after.host).iter().find(|link| link.name == after.interface);
        let there = format!("{} of {}", before.interface, before.host);
        (length > mtu).then(|| Verdict {
            cause: Cause::TooBig,
            host: Some(before.host.clone()),
            sentence: format!(
                "{} was lost between {} and {}: it has {length} bytes, and {there} takes {mtu}",
                leg.packet(),
                after.host,
                before.host
            ),
            evidence: ours
                .map(|link| {
                    format!(
                        "{} of {} has an MTU of {}, {there} one of {mtu}",
                        link.name, after.host, link.mtu
                    )
                })
                .into_iter()
                .collect(),
            advice: Some(format!(
                "give both ends of a link the same MTU: ip link set {} mtu …",
                before.interface
            )),
        })
    }

    fn nobody_knows(leg: &Leg<'_>) -> Verdict {
        let (after, before) = leg.gap();
        let (Some(after), Some(before)) = (after, before) else {
            return Verdict {
                cause: Cause::Unknown,
                host: None,
                sentence: format!("{} was lost, and nothing tells where", leg.packet()),
                evidence: Vec::new(),
                advice: None,
            };
        };
        let seen = format!("last seen {after}, not seen {before}");
        if after.host == before.host {
            return Verdict {
                cause: Cause::LostOnHost,
                host: Some(after.host.clone()),
                sentence: format!("{} was lost on {}: {seen}", leg.packet(), after.host),
                evidence: Vec::new(),
                advice: None,
            };
        }
        Verdict {
            cause: Cause::LostBetweenHosts,
            host: None,
            sentence: format!("{} was lost between {} and {}: {seen}", leg.packet(), after.host, before.host),
            evidence: Vec::new(),
            advice: Some(
                "what is between them drops it: a switch, a cloud that wants to know each address (source and \
                 destination checks), or another host with that link address"
                    .to_owned(),
            ),
        }
    }
}

fn words(host: &HostName, drop: &KernelDrop) -> String {
    let at = drop.interface.as_ref().map_or_else(String::new, |interface| format!(" at {interface}"));
    let by = drop.location.as_ref().map_or_else(String::new, |location| format!(" in {location}"));
    format!("the kernel of {host} dropped it{at}: {}{by}", drop.reason)
}
