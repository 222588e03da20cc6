//! A store that does what etcd does with our transactions, and no more.

use std::collections::BTreeMap;

use byway_fabric::cluster::HostName;
use byway_fabric::lease::{
    Change, Claim, Claimant, ClusterRecord, Entry, HostId, Lengths, Listing, Refused, Registry, Transaction,
    claim, cluster_key,
};
use ipnet::IpNet;

#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    revision: u64,
    keys: BTreeMap<String, Kept>,
}

#[derive(Debug, Clone)]
struct Kept {
    value: Vec<u8>,
    revision: u64,
    /// Whose lease it goes with.
    lease: Option<HostId>,
}

impl Model {
    /// A store that somebody has set up.
    pub(crate) fn of(prefixes: &[&str], ipv4: u8) -> Self {
        let prefixes = prefixes.iter().map(|prefix| net(prefix)).collect();
        let record = ClusterRecord { prefixes, subnet_lengths: Lengths { ipv4, ..Lengths::default() } };
        let mut model = Self::default();
        model.write(&cluster_key(), serde_json::to_string(&record).unwrap().as_bytes());
        model
    }

    /// What anybody may write.
    pub(crate) fn write(&mut self, key: &str, value: &[u8]) {
        self.revision += 1;
        self.keys
            .insert(key.to_owned(), Kept { value: value.to_vec(), revision: self.revision, lease: None });
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.revision += 1;
        self.keys.remove(key).unwrap();
    }

    pub(crate) fn keys(&self) -> usize {
        self.keys.len()
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.keys.contains_key(key)
    }

    /// What a watch would tell of a key.
    pub(crate) fn change(&self, key: &str) -> Change {
        let bytes = key.as_bytes().to_vec();
        match self.keys.get(key) {
            Some(Kept { value, revision, .. }) => {
                Change::Put(Entry { key: bytes, value: value.clone(), revision: *revision })
            }
            None => Change::Gone(bytes),
        }
    }

    pub(crate) fn registry(&self) -> Registry {
        let entry = |(key, kept): (&String, &Kept)| Entry {
            key: key.clone().into_bytes(),
            value: kept.value.clone(),
            revision: kept.revision,
        };
        Registry::read(&Listing { entries: self.keys.iter().map(entry).collect() })
    }

    /// Whether the transaction happened.
    pub(crate) fn apply(&mut self, transaction: &Transaction, whose: &HostId) -> bool {
        let revision = |key: &str| self.keys.get(key).map_or(0, |kept| kept.revision);
        if transaction.unchanged.iter().any(|one| revision(&one.key) != one.revision) {
            return false;
        }
        self.revision += 1;
        for put in &transaction.puts {
            let kept = Kept {
                value: put.value.clone().into_bytes(),
                revision: self.revision,
                lease: put.with_lease.then(|| whose.clone()),
            };
            self.keys.insert(put.key.clone(), kept);
        }
        for key in &transaction.deletes {
            self.keys.remove(key).unwrap();
        }
        true
    }

    /// The host was not heard for too long.
    pub(crate) fn lapse(&mut self, host: &HostId) {
        self.revision += 1;
        self.keys.retain(|_, kept| kept.lease.as_ref() != Some(host));
    }
}

pub(crate) fn net(text: &str) -> IpNet {
    text.parse().unwrap()
}

/// Host number so and so, which never was in the cluster.
pub(crate) fn host(nth: u8) -> Claimant {
    Claimant {
        id: HostId::of(u128::from(nth)),
        name: HostName::try_from(format!("docker{nth}")).unwrap(),
        addresses: vec![format!("192.168.199.{nth}").parse().unwrap()],
        key: None,
        subnets: Vec::new(),
        uses: Vec::new(),
        generation: None,
    }
}

/// Claims, knowing of no use but those in the store.
pub(crate) fn ask(model: &Model, host: &Claimant) -> Result<Claim, Refused> {
    claim(&model.registry(), host, &|_| None)
}

/// Claims and does what is to be done, until all holds.
pub(crate) fn join(model: &mut Model, host: &mut Claimant) {
    while let Claim::Write { transaction, generation, subnets, .. } = ask(model, host).unwrap() {
        assert!(model.apply(&transaction, &host.id), "nobody else writes");
        (host.generation, host.subnets) = (Some(generation), subnets);
    }
}
