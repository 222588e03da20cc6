//! Subnets that hosts claim for themselves, in a store that all of them share.
//!
//! The store is a map of keys to values with a revision that grows with every change, and transactions that happen
//! only if nothing they rely on has changed (etcd's, but nothing here names it):
//!
//! ```text
//! cluster            the prefixes, and how long a subnet is      kept until somebody changes it
//! hosts/ID           a host: name, addresses, key, generation    kept, also when the host is gone
//! names/NAME         the id of the host that has this name       kept
//! subnets/SUBNET     who holds it, or who had it, or for whom it is reserved   kept
//! listed/NAME        a host that somebody listed                kept until its agent enters
//! uses/ID            what a host uses of the prefixes besides   goes when its lease lapses
//! alive/ID           that the host is there, and which one it is goes when its lease lapses
//! ```
//!
//! One key decides whose a subnet is, and subnets of a family are all equally long, so that two transactions that
//! would give one address to two hosts contradict each other in that key. Everything is level: a [`Registry`] is read
//! from a whole listing, [`claim`] says what is to be done about it, and after a transaction that did not happen the
//! listing is read again.

mod candidates;
mod claim;
mod edit;
mod id;
mod record;
mod refused;
mod registry;
mod transaction;

pub use candidates::{Full, PassedOver};
pub use claim::{Claim, Claimant, claim};
pub use edit::{keep_listed, list, next_free, release, remove, reserve, set_up};
pub use id::{BadHostId, HostId};
pub use record::{
    AliveRecord, ClusterRecord, HostRecord, Lengths, ListedRecord, SubnetRecord, USES_MAX, Use, UsesRecord,
    cluster_key,
};
pub use refused::Refused;
pub use registry::{Change, Entry, Garbage, Listing, Registry, Stored};
pub use transaction::{Put, Transaction, Unchanged};
