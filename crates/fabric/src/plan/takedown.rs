//! The way back: what to do so that the host is as it was found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Plan, Step, tunnel};
use crate::observed::Observed;
use crate::problem::{Problem, ProblemKind};
use crate::sysctl::{Setting, Sysctl};
use crate::tunnel::Underlay;

/// What was there before us.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Memory {
    /// The settings that we changed, with the value that we found.
    pub sysctls: BTreeMap<Sysctl, Before>,
}

/// A setting before we changed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// The value that we found.
    pub was: String,
    /// The value that we put.
    pub put: String,
    /// Whether forwarding was on for the whole host when we did.
    #[serde(default)]
    pub host_forwarded: bool,
}

impl Memory {
    /// Remembers what a step is about to change. What is remembered once is not overwritten: the first value
    /// is the one from before us.
    ///
    /// Returns whether there was something new to remember.
    pub fn note(&mut self, step: &Step, observed: &Observed) -> bool {
        let Step::PutSysctl { sysctl, from, to, .. } = step else { return false };
        // The settings of our own tunnels go with them.
        if self.sysctls.contains_key(sysctl) || Underlay::named(&sysctl.scope).is_some() {
            return false;
        }
        let host_forwarded = forwards(observed, &whole_host(sysctl));
        self.sysctls.insert(sysctl.clone(), Before { was: from.clone(), put: to.clone(), host_forwarded });
        true
    }
}

/// Decides how to take everything of ours out.
///
/// Routes go first, tunnels after them, then the settings are put back, the table goes last: nothing is forwarded without it.
#[must_use]
pub fn take_down(memory: &Memory, observed: &Observed) -> Plan {
    let because = || "byway goes".to_owned();
    let ours = observed.routes.iter().filter(|route| route.is_ours());
    let mut steps: Vec<Step> = ours.map(|route| Step::del_route(route, observed, because())).collect();
    steps.extend(super::chain::take_out(observed));
    let tunnels = Underlay::ALL.into_iter();
    steps.extend(tunnels.filter_map(|underlay| tunnel::take_out(underlay, observed, "byway goes")));
    let mut problems = Vec::new();
    for (sysctl, before) in &memory.sysctls {
        match put_back(sysctl, before, observed) {
            Ok(step) => steps.extend(step),
            Err(problem) => problems.push(problem),
        }
    }
    if observed.table.is_some() {
        steps.push(Step::DelTable { because: because() });
    }
    Plan { path: super::path(observed), ways: BTreeMap::new(), steps, problems }
}

/// The step that puts a setting back; none if it is back already or has gone with its interface; a problem if
/// somebody else has come to rely on it.
fn put_back(sysctl: &Sysctl, before: &Before, observed: &Observed) -> Result<Option<Step>, Problem> {
    let Some(now) = observed.sysctls.get(sysctl).filter(|now| **now != before.was) else { return Ok(None) };
    let whole_host = whole_host(sysctl);
    let on_since = !before.host_forwarded && forwards(observed, &whole_host);
    if *now != before.put {
        return Err(stays(sysctl, now, "somebody changed it after us"));
    }
    if sysctl.name == Setting::Forwarding && *sysctl != whole_host && on_since {
        return Err(stays(sysctl, now, &format!("somebody switched {whole_host} on after us")));
    }
    Ok(Some(Step::PutSysctl {
        sysctl: sysctl.clone(),
        from: now.clone(),
        to: before.was.clone(),
        because: "it was so before byway".to_owned(),
    }))
}

/// The switch that others turn, Docker among them.
fn whole_host(sysctl: &Sysctl) -> Sysctl {
    Sysctl { ipv6: sysctl.ipv6, scope: "all".to_owned(), name: Setting::Forwarding }
}

fn forwards(observed: &Observed, sysctl: &Sysctl) -> bool {
    observed.sysctls.get(sysctl).is_some_and(|value| value == "1")
}

fn stays(sysctl: &Sysctl, now: &str, why: &str) -> Problem {
    Problem { kind: ProblemKind::Waits, host: None, what: format!("{sysctl} stays {now}: {why}"), hint: None }
}
