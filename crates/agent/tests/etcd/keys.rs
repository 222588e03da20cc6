//! What is written is read, all or nothing.

use byway_agent::edge::etcd::{Condition, EtcdError, OPERATIONS_MAX, Outcome, Transaction};
use futures_util::future::join_all;

use super::{claim, connect, done, one_member, options, patiently, put};

#[tokio::test]
async fn what_is_written_is_read_below_the_prefix_and_nowhere_else() {
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    assert_eq!(etcd.get("host/a").await.unwrap(), None);
    let revision = put(&etcd, "host/a", "10.0.0.1").await;
    members.ctl(&["put", "/byway/test2/host/b", "somebody else's"]).unwrap();
    let entry = etcd.get("host/a").await.unwrap().unwrap();
    assert_eq!((&entry.key[..], &entry.value[..]), (&b"host/a"[..], &b"10.0.0.1"[..]));
    assert_eq!((entry.created, entry.changed, entry.version, entry.lease), (revision, revision, 1, None));
    let listing = etcd.list("").await.unwrap();
    assert_eq!(listing.entries, [entry]);
    assert!(listing.revision > revision);
    assert!(members.ctl(&["get", "/byway/test/host/a"]).unwrap().contains("10.0.0.1"));
    done(etcd.commit(&Transaction::new("forget").delete("host/a")).await.unwrap());
    assert_eq!(etcd.get("host/a").await.unwrap(), None);
}

#[tokio::test]
async fn who_claims_first_has_it_and_who_claims_second_hears_who() {
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    done(etcd.commit(&claim("subnet/10.7.1.0", "a")).await.unwrap());
    let Outcome::Not { found, .. } = etcd.commit(&claim("subnet/10.7.1.0", "b")).await.unwrap() else {
        panic!("claimed twice");
    };
    assert_eq!(found[0][0].value, b"a");
}

#[tokio::test]
async fn a_transaction_counts_only_if_all_is_as_it_was_read() {
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    let first = put(&etcd, "a", "1").await;
    let change = |condition| {
        let transaction = Transaction::new("change").when("a", condition).put("a", "2", None).delete("b");
        transaction.otherwise_list("")
    };
    done(etcd.commit(&change(Condition::ChangedAt(first))).await.unwrap());
    for stale in [Condition::ChangedAt(first), Condition::Version(1), Condition::Absent] {
        let Outcome::Not { found, .. } = etcd.commit(&change(stale)).await.unwrap() else {
            panic!("changed")
        };
        assert_eq!((&found[0][0].value[..], found[0][0].version), (&b"2"[..], 2));
    }
    done(etcd.commit(&change(Condition::Version(2))).await.unwrap());
}

#[tokio::test]
async fn of_sixteen_who_claim_at_once_exactly_one_has_it() {
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    for round in 0..5 {
        let key = format!("subnet/{round}");
        let claims: Vec<_> = (0..16).map(|who| claim(&key, &format!("host {who}"))).collect();
        let outcomes = patiently(join_all(claims.iter().map(|claim| etcd.commit(claim)))).await;
        let won = outcomes.into_iter().filter(|outcome| matches!(outcome, Ok(Outcome::Done(_)))).count();
        assert_eq!(won, 1);
    }
}

#[tokio::test]
async fn a_list_of_many_pages_is_whole_and_in_order() {
    const KEYS: usize = 1203;
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    let names: Vec<String> = (0..KEYS).map(|nth| format!("host/{nth:05}")).collect();
    for some in names.chunks(100) {
        let put = |all: Transaction, name: &String| all.put(name.as_str(), name.as_str(), None);
        done(etcd.commit(&some.iter().fold(Transaction::new("fill"), put)).await.unwrap());
    }
    put(&etcd, "hostile", "not below host/").await;
    let listing = etcd.list("host/").await.unwrap();
    let read: Vec<_> = listing.entries.iter().map(|entry| String::from_utf8_lossy(&entry.key)).collect();
    assert_eq!(read, names);
}

#[tokio::test]
async fn a_transaction_that_etcd_would_not_take_is_not_sent() {
    let members = one_member();
    let etcd = connect(&options(&members)).await;
    let many = (0..=OPERATIONS_MAX).fold(Transaction::new("fill"), |all, nth| all.delete(nth.to_string()));
    let error = etcd.commit(&many).await.unwrap_err();
    assert!(matches!(error, EtcdError::TooMuch { .. }) && !error.may_be_done(), "{error}");
    // Etcd itself says what else it does not take.
    let error =
        etcd.commit(&Transaction::new("twice").put("a", "", None).put("a", "", None)).await.unwrap_err();
    assert!(matches!(error, EtcdError::Refused { .. }) && !error.may_be_done(), "{error}");
}
