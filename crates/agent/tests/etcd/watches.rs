//! A watch misses nothing, and says how it ends.

use std::time::Duration;

use byway_agent::edge::etcd::{Change, EtcdError, Miss, Refusal, Revision, Told, Transaction};
use byway_lab::etcd::{Members, Tls};

use super::{broken, changes, connect, done, one_member, options, options_at, patiently, put};

#[tokio::test]
async fn a_watch_tells_what_came_after_the_list_in_order() {
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    put(&etcd, "host/a", "1").await;
    let listing = etcd.list("host/").await.unwrap();
    put(&etcd, "host/a", "2").await;
    put(&etcd, "other", "not watched").await;
    let mut watch = etcd.watch("host/", listing.revision).await.unwrap();
    let gone =
        done(etcd.commit(&Transaction::new("go").delete("host/a").put("host/b", "3", None)).await.unwrap());
    let mut told = Vec::new();
    while told.len() < 3 {
        told.extend(changes(&mut watch).await);
    }
    let [Change::Put(first), Change::Gone { key, revision }, Change::Put(last)] = &told[..] else {
        panic!("{told:?}");
    };
    assert_eq!((&first.key[..], &first.value[..]), (&b"host/a"[..], &b"2"[..]));
    assert_eq!((&key[..], *revision), (&b"host/a"[..], gone));
    assert_eq!((&last.key[..], last.changed), (&b"host/b"[..], gone));
}

#[tokio::test]
async fn a_watch_from_before_a_compaction_says_so() {
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    for value in ["1", "2", "3"] {
        put(&etcd, "host/a", value).await;
    }
    let now = put(&etcd, "host/a", "4").await;
    members.ctl(&["compact", &now.to_string()]).unwrap();
    let mut watch = etcd.watch("host/", Revision(1)).await.unwrap();
    let told = patiently(watch.next()).await;
    assert!(matches!(told, Told::Compacted(revision) if revision == now), "{told:?}");
    broken(&mut watch).await;
    etcd.watch("host/", now).await.unwrap();
}

#[tokio::test]
async fn a_watch_breaks_when_all_members_restart_and_can_be_begun_again() {
    let mut members = one_member();
    let etcd = connect(&options(&members)).await;
    let revision = put(&etcd, "host/a", "1").await;
    let mut watch = etcd.watch("host/", revision).await.unwrap();
    members.kill_all();
    let error = broken(&mut watch).await;
    assert!(matches!(error, EtcdError::Ended { .. }), "{error}");
    let error = etcd.watch("host/", revision).await.unwrap_err();
    assert!(matches!(error, EtcdError::Unreachable { .. }), "{error}");
    members.start_all().unwrap();
    let mut watch = etcd.watch("host/", revision).await.unwrap();
    put(&etcd, "host/a", "2").await;
    assert_eq!(changes(&mut watch).await.len(), 1);
}

#[tokio::test]
async fn a_watch_at_a_member_that_lost_the_majority_says_so() {
    let mut members = Members::start(3, Tls::Without, &[]).unwrap();
    let etcd = connect(&options_at(&members.endpoints()[..1])).await;
    let mut watch = etcd.watch("", Revision(1)).await.unwrap();
    members.kill(1);
    members.kill(2);
    let error = broken(&mut watch).await;
    assert_eq!(error.refusal(), Some(Refusal::NoLeader), "{error:?}");
    assert!(error.hint().unwrap().contains("half of etcd's members"));
    let error = etcd.get("a").await.unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::NoLeader), "{error:?}");
}

#[tokio::test]
async fn a_watch_at_a_member_that_says_nothing_more_is_noticed() {
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    let mut watch = etcd.watch("", Revision(1)).await.unwrap();
    members.freeze(0).unwrap();
    // The clock now jumps whenever there is nothing to do.
    tokio::time::pause();
    let error = broken(&mut watch).await;
    assert!(
        matches!(&error, EtcdError::Ended { cause: Miss::Late { .. } | Miss::Broken(_), .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_watch_on_which_nothing_happens_goes_on() {
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    let revision = put(&etcd, "a", "1").await;
    let mut watch = etcd.watch("", revision).await.unwrap();
    for value in ["2", "3"] {
        // As if nothing had come for longer than is believed: etcd is asked for a word, which comes before the change.
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(11)).await;
        tokio::time::resume();
        let (told, _) = tokio::join!(changes(&mut watch), put(&etcd, "a", value));
        assert!(matches!(&told[..], [Change::Put(entry)] if entry.value == value.as_bytes()), "{told:?}");
    }
}
