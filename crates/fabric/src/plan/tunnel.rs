//! Our tunnels: made before the first route goes through them, taken out after the last.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::Step;
use super::step::Making;
use crate::cluster::HostName;
use crate::desired::{Desired, WantedTunnel};
use crate::observed::{Link, Observed, Route};
use crate::sysctl::{Setting, Sysctl};
use crate::tunnel::{DUMMY, Entry, Underlay};

/// What to do about the tunnels.
#[derive(Default)]
pub(super) struct Tunnels {
    /// Devices to make or mend; they come before settings.
    pub(super) devices: Vec<Step>,
    /// What they are told; before routes.
    pub(super) entries: Vec<Step>,
    /// What they forget and which go; after routes.
    pub(super) dels: Vec<Step>,
    /// Those that are made: nothing that was there before goes through them.
    pub(super) fresh: BTreeSet<Underlay>,
}

impl Tunnels {
    pub(super) fn plan(desired: &Desired, observed: &Observed) -> Self {
        let mut plan = Self::default();
        for underlay in Underlay::ALL {
            match desired.tunnels.get(&underlay) {
                Some(wanted) => plan.want(underlay, wanted, observed),
                None => plan.dels.extend(take_out(underlay, observed, "no peer is behind a router any more")),
            }
        }
        plan
    }

    fn want(&mut self, underlay: Underlay, wanted: &WantedTunnel, observed: &Observed) {
        let present = observed.tunnel(underlay);
        let making = match present {
            None => Some((Making::New, whom(wanted))),
            Some((index, link)) => wrong(underlay, wanted, index, link),
        };
        if let Some((making, because)) = making {
            if making != Making::Mend {
                self.fresh.insert(underlay);
            }
            let (tunnel, mtu) = (wanted.tunnel.clone(), wanted.mtu);
            self.devices.push(Step::PutTunnel { underlay, tunnel, mtu, making, because });
        }
        let known = observed.entries.get(&underlay).filter(|_| !self.fresh.contains(&underlay));
        let missing =
            wanted.entries.iter().filter(|(entry, _)| !known.is_some_and(|all| all.contains(entry)));
        self.entries.extend(missing.map(|(entry, host)| Step::PutEntry {
            underlay,
            entry: *entry,
            because: format!("host {host} is behind a router"),
        }));
        let is_spare = |entry: &&Entry| !wanted.entries.keys().any(|other| other.same_place(entry));
        let spare = known.into_iter().flatten().filter(is_spare);
        self.dels.extend(spare.map(|entry| Step::DelEntry {
            underlay,
            entry: *entry,
            because: "no peer behind a router is there".to_owned(),
        }));
    }

    /// Whether a route that is there has nothing to go through any more.
    pub(super) fn breaks(&self, route: &Route) -> bool {
        route.dev.and_then(Underlay::at).is_some_and(|underlay| self.fresh.contains(&underlay))
    }

    /// The value that a setting has before we put it; none where there is no such setting.
    pub(super) fn before<'a>(&self, sysctl: &Sysctl, observed: &'a Observed) -> Option<&'a str> {
        let is_fresh = Underlay::named(&sysctl.scope).is_some_and(|underlay| self.fresh.contains(&underlay));
        if !is_fresh {
            return observed.sysctls.get(sysctl).map(String::as_str);
        }
        // A new link begins with what was last set for all, mostly.
        let of_all = Sysctl { scope: "all".to_owned(), ..sysctl.clone() };
        let inherited = observed.sysctls.get(&of_all).filter(|_| sysctl.name == Setting::Forwarding);
        Some(inherited.map_or("0", String::as_str))
    }
}

/// Takes out the device of a tunnel, if it is there; all that it was told goes with it.
pub(super) fn take_out(underlay: Underlay, observed: &Observed, because: &str) -> Option<Step> {
    let is_ours = |(_, link): &(u32, &Link)| link.tunnel.is_some();
    let because = because.to_owned();
    observed.tunnel(underlay).filter(is_ours).map(|_| Step::DelTunnel { underlay, because })
}

/// What is wrong with a device that is there.
fn wrong(underlay: Underlay, wanted: &WantedTunnel, index: u32, link: &Link) -> Option<(Making, String)> {
    let name = underlay.device();
    let Some(present) = &link.tunnel else {
        return Some((Making::Anew, format!("{name} is no tunnel")));
    };
    if *present != wanted.tunnel || index != underlay.index() {
        return Some((Making::Anew, "somebody made it otherwise".to_owned()));
    }
    let because = match link {
        Link { up: false, .. } => "it is down".to_owned(),
        Link { addresses, .. } if !addresses.contains(&IpNet::from(DUMMY)) => {
            "it lost its address".to_owned()
        }
        Link { mtu, .. } if *mtu != wanted.mtu => format!("its packets had at most {mtu} bytes"),
        _ => return None,
    };
    Some((Making::Mend, because))
}

fn whom(wanted: &WantedTunnel) -> String {
    let hosts: BTreeSet<&str> = wanted.entries.values().map(HostName::as_str).collect();
    match hosts.len() {
        1 => format!("host {} is behind a router", hosts.first().unwrap_or(&"")),
        count => format!("{count} hosts are behind routers"),
    }
}
