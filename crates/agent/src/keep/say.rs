//! What the agent tells the service manager (`sd_notify(3)`); without one, nothing.

use byway_api::{HostState, Status};
use byway_fabric::cluster::HostName;
use sd_notify::NotifyState;

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

pub(super) fn started(host: &HostName) {
    tracing::info!(%host, "keeping the routes of this host");
}

/// The first rest is what "ready" means: all routes that can be there are there.
pub(super) fn at_rest(ready: &mut bool) {
    if !*ready {
        tell(&[NotifyState::Ready]);
        *ready = true;
    }
}

/// The loop has come round.
pub(super) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

pub(super) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

pub(super) fn standing(status: &Status) {
    tell(&[NotifyState::Status(&summary(status))]);
}

fn summary(status: &Status) -> String {
    let routes = |count: fn(&byway_api::HostStatus) -> usize| status.hosts.iter().map(count).sum::<usize>();
    let unwell =
        status.hosts.iter().filter(|host| !host.state.is_well() && host.state != HostState::Missing).count();
    let mut text = format!(
        "{} of {} routes to {} hosts",
        routes(|host| host.routes_present),
        routes(|host| host.routes_expected),
        status.hosts.len().saturating_sub(1)
    );
    if unwell > 0 {
        text += &format!("; {unwell} hosts need a look");
    }
    text
}
