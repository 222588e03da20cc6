//! Rules that were seen to end a packet, or to rewrite it.

use super::answered::is_policy;
use super::{Case, Cause, Leg, Verdict, advice};
use crate::cluster::HostName;
use crate::evidence::{RuleStep, TracedPacket};

/// A rule, and where it stands, as people look for it.
pub(super) fn told(step: &RuleStep) -> String {
    let place = format!("table {} {}, chain {}", step.family, step.table, step.chain);
    match (&step.rule, step.handle) {
        (Some(rule), Some(handle)) => format!("{place}, handle {handle}: {rule}"),
        (Some(rule), None) => format!("{place}: {rule}"),
        (None, Some(handle)) => format!("{place}, handle {handle}"),
        (None, None) => format!("{place}: its policy is drop"),
    }
}

/// The rule or policy that ended the packet of a leg, by the kernel's own trace or by the counters of iptables-legacy.
pub(super) fn ended(case: &Case<'_>, leg: &Leg<'_>) -> Option<Verdict> {
    let hosts = leg.hosts();
    let of_leg = |(host, packet): &&(HostName, TracedPacket)| {
        hosts.contains(&host) && packet.packet.as_ref().is_some_and(|packet| leg.is(packet))
    };
    let traced = case.rules.iter().filter(of_leg).find_map(|(host, packet)| Some((host, packet.end()?)));
    if let Some((host, step)) = traced {
        return Some(by_rule(leg, host, step));
    }
    let counted = case.counters.iter().find(|(host, _)| hosts.contains(&host));
    counted.map(|(host, change)| {
        let policy = change.rule.starts_with("-P ");
        let place = format!("table {}, chain {} (iptables-legacy)", change.table, change.chain);
        Verdict {
            cause: if policy { Cause::Policy } else { Cause::Rule },
            host: Some(host.clone()),
            sentence: format!(
                "{} was dropped on {host} by {} in {place}: {}",
                leg.packet(),
                whose(change.owner, policy),
                change.rule
            ),
            evidence: vec![format!(
                "on {host} that rule counted {} more while the probe went",
                packets(change.packets)
            )],
            advice: Some(advice::rule(change.owner, &change.table, &change.chain, host)),
        }
    })
}

fn packets(count: u64) -> String {
    if count == 1 { "1 packet".to_owned() } else { format!("{count} packets") }
}

fn by_rule(leg: &Leg<'_>, host: &HostName, step: &RuleStep) -> Verdict {
    let policy = is_policy(&step.verdict);
    let rejects = step.rule.as_ref().is_some_and(|rule| rule.to_lowercase().contains("reject"));
    let done = if rejects { "rejected" } else { "dropped" };
    let place = format!("table {} {}, chain {}", step.family, step.table, step.chain);
    let rule = step.rule.as_ref().map_or_else(String::new, |rule| format!(": {rule}"));
    let mut evidence = vec![format!("on {host} the kernel traced it to {}", told(step))];
    evidence.extend(step.hook.as_ref().map(|hook| {
        let priority =
            step.priority.as_ref().map_or_else(String::new, |priority| format!(", priority {priority}"));
        format!("that chain hangs at {hook}{priority}")
    }));
    Verdict {
        cause: if policy { Cause::Policy } else { Cause::Rule },
        host: Some(host.clone()),
        sentence: format!(
            "{} was {done} on {host} by {} in {place}{rule}",
            leg.packet(),
            whose(step.owner, policy)
        ),
        evidence,
        advice: Some(advice::rule(step.owner, &step.table, &step.chain, host)),
    }
}

fn whose(owner: crate::evidence::Owner, policy: bool) -> String {
    use crate::evidence::Owner;
    match (owner, policy) {
        (Owner::Unknown, false) => "a rule of nobody known".to_owned(),
        (Owner::Admin | Owner::Unknown, true) => "the policy".to_owned(),
        (Owner::Admin, false) => "a rule of the administrator's".to_owned(),
        (owner, true) => format!("{owner}'s policy"),
        (owner, false) => format!("{owner}'s rule"),
    }
}

/// The rules of nat tables that said what was to be done with the packet of a leg.
pub(super) fn rewriting<'a>(case: &Case<'a>, leg: &Leg<'_>) -> Vec<(&'a HostName, &'a RuleStep)> {
    let of_leg =
        |(_, packet): &&(HostName, TracedPacket)| packet.packet.as_ref().is_some_and(|packet| leg.is(packet));
    let does = |step: &&RuleStep| {
        let text = step.rule.as_deref().unwrap_or("").to_lowercase();
        ["masquerade", "snat", "dnat", "redirect", "netmap"].iter().any(|word| text.contains(word))
            && step.verdict != crate::evidence::Verdict::Return
    };
    let steps = case
        .rules
        .iter()
        .filter(of_leg)
        .flat_map(|(host, packet)| packet.steps.iter().map(move |step| (host, step)));
    steps.filter(|(_, step)| does(step)).collect()
}
