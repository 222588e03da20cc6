//! One conversation with etcd, from the first list to whatever ends it.

use std::collections::BTreeMap;
use std::future::{pending, ready};

use byway_api::{LeaseStatus, Rejected};
use byway_fabric::cluster::Host;
use byway_fabric::lease::{self as rules, Claim, Claimant, Registry, claim};
use ipnet::IpNet;
use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use super::words::{entry, request};
use super::{Member, addresses};
use crate::edge::etcd::{
    Change, Etcd, EtcdError, KeepAlive, LIST_ENTRIES_MAX, Lease, Outcome, Revision, Told as Heard, Watch,
};
use crate::edge::neighbours;
use crate::store::Known;
use crate::store::uses::Surroundings;

/// A lease is renewed so often in its time: two renewals may be lost.
const RENEWALS: u32 = 3;
/// Batches of changes that are taken in before they are acted on, if they come without a pause.
const BATCHES_MAX: usize = 64;
/// Subnets that answered on the wire, and are not asked again in this conversation.
const ANSWERED_MAX: usize = 256;
/// What is told of subnets that were passed over.
const PASSED_OVER_MAX: usize = 20;

/// The state of a conversation.
struct Session {
    etcd: Etcd,
    registry: Registry,
    /// Up to which revision the registry is.
    revision: Revision,
    /// Of our own last change: nothing is claimed before it was heard.
    wrote: Revision,
    /// Keeps the lease alive in one stream.
    keep_alive: KeepAlive,
    /// When that is due.
    renew_at: Instant,
    /// Subnets in which somebody answered, and who.
    answered: BTreeMap<IpNet, String>,
    status: LeaseStatus,
}

/// What the watch has told.
enum News {
    Changed,
    /// List anew.
    Ended,
}

impl Member {
    /// Talks with etcd until that fails; ends well only with the agent.
    pub(super) async fn session(&mut self) -> Result<(), EtcdError> {
        let etcd = Etcd::connect(&self.shared.options).await?;
        if self.shared.addresses.is_empty() {
            self.claimant.addresses = addresses::towards(&self.shared.options.endpoints).await;
        }
        let lease = self.hold_lease(&etcd).await?;
        let mut session = Session {
            keep_alive: etcd.keep_alive(lease.id),
            renew_at: Instant::now() + lease.time / RENEWALS,
            etcd,
            registry: Registry::default(),
            revision: Revision(0),
            wrote: Revision(0),
            answered: BTreeMap::new(),
            status: LeaseStatus { id: self.claimant.id.to_string(), ..LeaseStatus::default() },
        };
        loop {
            let mut watch = session.list().await?;
            self.heard();
            while self.follow(&mut session, &mut watch).await? {}
            if self.hear.has_changed().is_err() {
                return Ok(());
            }
        }
    }

    /// Has a lease: the one that this host had before, if it lives.
    async fn hold_lease(&mut self, etcd: &Etcd) -> Result<Lease, EtcdError> {
        if let Some(lease) = self.lease {
            if etcd.keep_alive(lease.id).renew().await?.is_some() {
                return Ok(lease);
            }
            tracing::warn!(lease = %lease.id, "this host was not heard for longer than its lease");
        }
        let lease = etcd.grant(self.shared.lease).await?;
        self.lease = Some(lease);
        Ok(lease)
    }

    /// Keeps the lease alive; what went with one that lapsed is claimed anew when the watch tells that it is gone.
    async fn renew(&mut self, session: &mut Session) -> Result<(), EtcdError> {
        if session.keep_alive.renew().await?.is_none() {
            let lease = self.hold_lease(&session.etcd).await?;
            session.keep_alive = session.etcd.keep_alive(lease.id);
        }
        let time = self.lease.map_or(self.shared.lease, |lease| lease.time);
        session.renew_at = Instant::now() + time / RENEWALS;
        self.renewed();
        Ok(())
    }

    /// Acts on what is known, then waits for more: whether the list is still good.
    async fn follow(&mut self, session: &mut Session, watch: &mut Watch) -> Result<bool, EtcdError> {
        if session.revision >= session.wrote && !self.act(session).await? {
            return Ok(false);
        }
        self.tell(session);
        loop {
            let (due, renew_at) = (self.due(), session.renew_at);
            let write = async {
                match due {
                    Some(at) => sleep_until(at).await,
                    None => pending().await,
                }
            };
            tokio::select! {
                news = session.hear(watch) => return Ok(matches!(news?, News::Changed)),
                () = write => self.remember(),
                heard = self.hear.changed() => {
                    // The agent's loop is gone, and this task with it.
                    return Ok(heard.is_ok());
                }
                () = sleep_until(renew_at) => return self.renew(session).await.map(|()| true),
            }
        }
    }

    /// Claims what follows from the registry: whether that is still good.
    async fn act(&mut self, session: &mut Session) -> Result<bool, EtcdError> {
        let seen = self.hear.borrow_and_update().clone().unwrap_or_default();
        if self.claimant.addresses.is_empty() {
            session.refuse(
                "by which address the others reach this host is not known (set `addresses`)".to_owned(),
            );
            return Ok(true);
        }
        let prefixes = session.registry.cluster.as_ref().map(|cluster| cluster.value.prefixes.clone());
        // Ends: each round finds another subnet that answers, of which so many are asked.
        loop {
            let subnets = self.subnets(session, &seen);
            self.claimant.uses = seen.uses_in(prefixes.as_deref().unwrap_or_default(), &subnets);
            let claimant = Claimant { subnets, ..self.claimant.clone() };
            let found = claim(&session.registry, &claimant, &|subnet| self.in_use(session, subnet));
            let (transaction, generation, subnets, passed_over) = match found {
                Ok(Claim::Holds) => {
                    session.status.refused = None;
                    return Ok(true);
                }
                Err(refused) => {
                    session.refuse(format!("{refused} ({})", refused.hint()));
                    return Ok(true);
                }
                Ok(Claim::Write { transaction, generation, subnets, passed_over }) => {
                    (transaction, generation, subnets, passed_over)
                }
            };
            if self.somebody_answers(session, &claimant.subnets, &subnets).await {
                continue;
            }
            for one in &passed_over {
                tracing::info!("{one}");
            }
            let told = passed_over.iter().take(PASSED_OVER_MAX).map(ToString::to_string);
            session.status.passed_over.extend(told);
            session.status.passed_over.truncate(PASSED_OVER_MAX);
            let Some(lease) = self.lease else { return Ok(false) };
            let what = format!("claim a place for {}", self.claimant.name);
            let outcome = session.etcd.commit(&request(&what, &transaction, Some(lease.id))).await?;
            let Outcome::Done(revision) = outcome else { return Ok(false) };
            session.wrote = revision;
            session.status.refused = None;
            self.renewed();
            let is_new = self.claimant.subnets != subnets;
            (self.claimant.generation, self.claimant.subnets) = (Some(generation), subnets);
            if is_new {
                let list: Vec<String> = self.claimant.subnets.iter().map(ToString::to_string).collect();
                tracing::info!(subnets = list.join(" "), generation, "this host is in the cluster");
            }
            return Ok(true);
        }
    }

    /// What this host claims: what it had, or what its containers have already, if that is a subnet of the cluster and
    /// nobody else's.
    fn subnets(&self, session: &Session, seen: &Surroundings) -> Vec<IpNet> {
        let registry = &session.registry;
        if !self.claimant.subnets.is_empty() || registry.held_by(&self.claimant.id).next().is_some() {
            return self.claimant.subnets.clone();
        }
        let mut subnets: Vec<IpNet> = Vec::new();
        for net in seen.bridges().filter(|net| registry.is_free(*net, &self.claimant.name)) {
            if subnets.iter().all(|other| other.addr().is_ipv4() != net.addr().is_ipv4()) {
                subnets.push(net);
            }
        }
        subnets
    }

    /// What uses a subnet that the store does not know of.
    fn in_use(&self, session: &Session, subnet: IpNet) -> Option<String> {
        let overlaps = |net: IpNet| net.contains(&subnet) || subnet.contains(&net);
        let own = self.claimant.uses.iter().find(|one| overlaps(one.net));
        let own = own.map(|one| format!("this host has {}", one.what));
        own.or_else(|| session.answered.get(&subnet).cloned())
    }

    /// Asks on the wire whether anybody uses those subnets that are neither this host's `own` nor reserved for it; whether
    /// somebody does.
    async fn somebody_answers(&self, session: &mut Session, own: &[IpNet], subnets: &[IpNet]) -> bool {
        let fresh = subnets.iter().filter(|subnet| !own.contains(subnet));
        let reserved: Vec<IpNet> = session.registry.reserved_for(&self.claimant.name).collect();
        let mut is_answered = false;
        for subnet in fresh.filter(|subnet| !reserved.contains(subnet)) {
            if session.answered.len() < ANSWERED_MAX
                && let Some(who) = neighbours::answer_in(*subnet, &self.claimant.addresses).await
            {
                session.answered.insert(*subnet, who);
                is_answered = true;
            }
        }
        is_answered
    }

    /// Tells what should be in force here, as far as this host has been let in.
    fn tell(&mut self, session: &Session) {
        let (garbage, more_garbage) = session.registry.garbage();
        let status = LeaseStatus {
            generation: self.claimant.generation,
            seconds: self.shared.lease.as_secs(),
            garbage: garbage.into_iter().map(|one| format!("{}: {}", one.key, one.why)).collect(),
            more_garbage,
            ..session.status.clone()
        };
        if self.claimant.generation.is_none() {
            return self.publish_lease(status);
        }
        let cluster = session.registry.routed();
        let held_by_others = |subnet: &IpNet| {
            let others = cluster.hosts.iter().filter(|host| host.name != self.claimant.name);
            others.flat_map(|host| &host.subnets).any(|other| other == subnet)
        };
        let me = Host {
            name: self.claimant.name.clone(),
            addresses: self.claimant.addresses.clone(),
            subnets: self.claimant.subnets.iter().filter(|subnet| !held_by_others(subnet)).copied().collect(),
            key: self.claimant.key,
        };
        self.publish(Known { me, cluster }, status);
    }
}

impl Session {
    /// Reads everything, and watches from there.
    async fn list(&mut self) -> Result<Watch, EtcdError> {
        let listing = self.etcd.list("").await?;
        let entries = listing.entries.into_iter().map(entry).collect();
        self.registry = Registry::read(&rules::Listing { entries });
        (self.revision, self.wrote) = (listing.revision, Revision(0));
        self.etcd.watch("", listing.revision).await
    }

    /// Takes in what happened, and what else happened already.
    async fn hear(&mut self, watch: &mut Watch) -> Result<News, EtcdError> {
        let (mut heard, mut batches) = (watch.next().await, 0);
        loop {
            match heard {
                Heard::Changes(changes) => self.take(changes),
                Heard::Compacted(_) => return Ok(News::Ended),
                Heard::Broken(error) => return Err(error),
            }
            // The list refuses so many, and says so.
            if self.registry.keys() > LIST_ENTRIES_MAX {
                return Ok(News::Ended);
            }
            batches += 1;
            heard = tokio::select! {
                biased;
                more = watch.next(), if batches < BATCHES_MAX => more,
                () = ready(()) => return Ok(News::Changed),
            };
        }
    }

    fn take(&mut self, changes: Vec<Change>) {
        for change in changes {
            let change = match change {
                Change::Put(put) => {
                    self.revision = self.revision.max(put.changed);
                    rules::Change::Put(entry(put))
                }
                Change::Gone { key, revision } => {
                    self.revision = self.revision.max(revision);
                    rules::Change::Gone(key)
                }
            };
            self.registry.apply(&change);
        }
    }

    fn refuse(&mut self, mistakes: String) {
        if self.status.refused.as_ref().is_none_or(|refused| refused.mistakes != mistakes) {
            tracing::error!(%mistakes, "this host is not let in");
            self.status.refused = Some(Rejected { since: Timestamp::now(), mistakes });
        }
    }
}
