//! It came to its receiver: what the receiver made of it.

use super::rules::{self, told};
use super::{Case, Cause, Leg, Verdict, advice, ways};
use crate::evidence::Verdict as Said;
use crate::trace::sort::Answer;
use crate::trace::watch::ProbeKind;

impl Case<'_> {
    pub(super) fn arrived(&self) -> Verdict {
        let what = match self.sorted.answer {
            Some(Answer::Accepted) => "was accepted",
            _ => "was answered",
        };
        let (from, to) = (self.name(self.from), self.name(self.to));
        let mut evidence = Vec::new();
        let Some((was, is)) = self.rewritten_source() else {
            let sentence = format!("arrived: {from} reaches {to}, and it {what}");
            return Verdict { cause: Cause::Arrived, host: None, sentence, evidence, advice: None };
        };
        let by = rules::rewriting(self, &Leg::there(self));
        evidence.extend(by.iter().map(|(host, step)| format!("on {host}: {}", told(step))));
        let whose = by.first().map(|(_, step)| step.owner);
        Verdict {
            cause: Cause::ArrivedRewritten,
            host: by.first().map(|(host, _)| (*host).clone()),
            sentence: format!("arrived, but {to} saw it come from {} instead of {}", is.address, was.address),
            evidence,
            advice: Some(advice::rewritten(whose)),
        }
    }

    /// A connection was refused by the receiver itself.
    pub(super) fn refused(&self) -> Verdict {
        let receiver = self.sides.1;
        let answers = receiver.and_then(|side| self.answers.get(&side.host));
        let host = receiver.map(|side| side.host.clone());
        let to = self.name(self.to);
        let port = self.to.port.unwrap_or(0);
        let elsewhere: Vec<String> = answers
            .iter()
            .flat_map(|answers| &answers.listeners)
            .filter(|listener| listener.port == port && listener.address != self.to.address)
            .map(|listener| listener.address.to_string())
            .collect();
        let evidence = vec![match self.kind {
            ProbeKind::Tcp => format!("{to} itself answered with RST"),
            _ => format!("{to} itself answered: port unreachable"),
        }];
        if elsewhere.is_empty() {
            let sentence = format!("arrived, but nobody listens at port {port} of {to}");
            let advice = Some(format!("start the program that should, or look for its port: ss -ln in {to}"));
            return Verdict { cause: Cause::PortClosed, host, sentence, evidence, advice };
        }
        Verdict {
            cause: Cause::OtherAddress,
            host,
            sentence: format!(
                "arrived, but at port {port} of {to} the program listens at {} only",
                elsewhere.join(", ")
            ),
            evidence,
            advice: Some(
                "let the program listen at 0.0.0.0 or at the container's address (bind-address, listen)"
                    .to_owned(),
            ),
        }
    }

    /// It was seen to arrive, and no answer was seen anywhere.
    pub(super) fn unanswered(&self) -> Verdict {
        let leg = Leg::there(self);
        if let Some(error) = self.sorted.errors.first() {
            let from_receiver = error.from == self.to.address;
            let is_port =
                matches!((self.to.address.is_ipv4(), error.kind, error.code), (true, 3, 3) | (false, 1, 4));
            if from_receiver && is_port {
                return self.refused();
            }
            return self.error(&leg, error);
        }
        let Some(side) = self.sides.1 else { return self.out_of_sight() };
        if let Some(verdict) = rules::ended(self, &leg)
            .or_else(|| ways::of_whereabouts(self, &leg))
            .or_else(|| ways::of_neighbour(self, &leg))
        {
            return verdict;
        }
        let inside = self.drops.iter().filter(|(host, _)| *host == side.host);
        let ours = inside.filter(|(_, drop)| {
            !drop.is_harmless() && drop.packet.as_ref().is_some_and(|packet| leg.is(packet))
        });
        let to = self.name(self.to);
        if let Some((host, drop)) = ours.into_iter().next() {
            let why = drop.sentence().map_or_else(|| drop.reason.clone(), str::to_owned);
            return Verdict {
                cause: if drop.reason == "NO_SOCKET" { Cause::PortClosed } else { Cause::KernelDrop },
                host: Some(host.clone()),
                sentence: format!("arrived at {to}, whose own kernel dropped it: {why}"),
                evidence: vec![format!("on {host} the kernel says {}", drop.reason)],
                advice: None,
            };
        }
        let sentence = match self.kind {
            ProbeKind::Udp => {
                format!("arrived at {to}; no answer came, and programs need not answer datagrams")
            }
            _ => format!("arrived at {to}, which did not answer"),
        };
        let advice = (self.kind != ProbeKind::Udp)
            .then(|| "look for a firewall inside of the container, or a program that hangs".to_owned());
        Verdict {
            cause: Cause::NoAnswer,
            host: Some(side.host.clone()),
            sentence,
            evidence: Vec::new(),
            advice,
        }
    }

    /// It left the last host that can be asked.
    fn out_of_sight(&self) -> Verdict {
        let host = self.owner_of(self.to.address);
        let why = host.and_then(|host| Some((host, self.silent.get(host)?)));
        let from = &self.sides.0.host;
        let to = self.name(self.to);
        let (sentence, advice) = match why {
            Some((host, why)) => (
                format!("left {from} for {to}; {host} cannot be asked what became of it ({why})"),
                Some(format!(
                    "see that the agent runs on {host} and that its key is in the inventory: byway status --all"
                )),
            ),
            None => {
                (format!("left {from} for {to}, which is on no host of the cluster; no answer came"), None)
            }
        };
        Verdict { cause: Cause::Unknown, host: Some(from.clone()), sentence, evidence: Vec::new(), advice }
    }
}

/// Whether a step decides about a packet's life.
pub(super) fn is_policy(said: &Said) -> bool {
    *said == Said::PolicyDrop
}
