//! Leases live as long as somebody keeps them alive.

use std::num::NonZeroI64;
use std::time::Duration;

use byway_agent::edge::etcd::{Change, LeaseId, Refusal, Transaction};

use super::{changes, connect, done, one_member, options};

const SHORT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn what_was_written_with_a_lease_goes_when_it_lapses_and_a_watch_tells() {
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    let lease = etcd.grant(SHORT).await.unwrap();
    assert_eq!(lease.time, SHORT);
    let revision =
        done(etcd.commit(&Transaction::new("come").put("host/a", "here", Some(lease.id))).await.unwrap());
    assert_eq!(etcd.get("host/a").await.unwrap().unwrap().lease, Some(lease.id));
    let mut watch = etcd.watch("host/", revision).await.unwrap();
    let changes = changes(&mut watch).await;
    assert!(matches!(&changes[..], [Change::Gone { key, .. }] if key == b"host/a"), "{changes:?}");
    assert_eq!(etcd.get("host/a").await.unwrap(), None);
    assert_eq!(etcd.remaining(lease.id).await.unwrap(), None);
    assert_eq!(etcd.keep_alive(lease.id).renew().await.unwrap(), None);
}

#[tokio::test]
async fn a_lease_is_kept_alive_until_it_is_revoked() {
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    let lease = etcd.grant(Duration::from_mins(1)).await.unwrap();
    let mut keep = etcd.keep_alive(lease.id);
    for _ in 0..3 {
        assert_eq!(keep.renew().await.unwrap(), Some(lease.time));
    }
    let remaining = etcd.remaining(lease.id).await.unwrap().unwrap();
    assert!(remaining.left <= remaining.granted && remaining.granted == lease.time, "{remaining:?}");
    etcd.revoke(lease.id).await.unwrap();
    assert_eq!(keep.renew().await.unwrap(), None);
    etcd.revoke(lease.id).await.unwrap();
}

#[tokio::test]
async fn a_lease_outlives_a_restart_of_etcd_if_it_is_kept_alive_again() {
    let mut members = one_member();
    let etcd = connect(&options(&members)).await;
    let lease = etcd.grant(Duration::from_mins(1)).await.unwrap();
    let mut keep = etcd.keep_alive(lease.id);
    keep.renew().await.unwrap().unwrap();
    members.kill_all();
    keep.renew().await.unwrap_err();
    members.start_all().unwrap();
    assert_eq!(keep.renew().await.unwrap(), Some(lease.time));
}

#[tokio::test]
async fn nothing_is_written_with_a_lease_that_is_none() {
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    let none = LeaseId(NonZeroI64::new(42).unwrap());
    let error = etcd.commit(&Transaction::new("come").put("host/a", "here", Some(none))).await.unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::NoSuchLease), "{error}");
    assert!(!error.may_be_done());
    assert_eq!(etcd.get("host/a").await.unwrap(), None);
}
