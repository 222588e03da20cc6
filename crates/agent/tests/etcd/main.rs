//! The client of etcd against real members: what is asked and told, what is refused, and what breaks.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "what fails here is a failed test")]

mod breaking;
mod keys;
mod leases;
mod refusals;
mod watches;

use std::future::Future;
use std::time::Duration;

use byway_agent::edge::etcd::{
    Change, Condition, Etcd, EtcdError, Login, Options, Outcome, Password, Revision, TlsFiles, Told,
    Transaction, Watch,
};
use byway_lab::etcd::{Certificates, Members, Tls};

/// How long a story may wait for something; it only fails then.
const PATIENCE: Duration = Duration::from_secs(90);

fn one_member() -> Members {
    Members::start(1, Tls::Without, &[]).unwrap()
}

fn options(members: &Members) -> Options {
    options_at(&members.endpoints())
}

fn options_at(endpoints: &[String]) -> Options {
    Options {
        endpoints: endpoints.iter().map(|endpoint| endpoint.parse().unwrap()).collect(),
        tls: TlsFiles::default(),
        login: None,
        prefix: "/byway/test/".to_owned(),
    }
}

fn with_tls(options: Options, files: &Certificates) -> Options {
    let tls =
        TlsFiles { ca: Some(files.ca.clone()), identity: Some(files.client.clone()), server_name: None };
    Options { tls, ..options }
}

fn with_login(options: Options, user: &str, password: &str) -> Options {
    let login = Login { user: user.to_owned(), password: Password(password.to_owned()) };
    Options { login: Some(login), ..options }
}

async fn connect(options: &Options) -> Etcd {
    patiently(Etcd::connect(options)).await.unwrap()
}

async fn patiently<A>(waiting: impl Future<Output = A>) -> A {
    tokio::time::timeout(PATIENCE, waiting).await.expect("this should not take so long")
}

/// Writes one key, whatever was there.
async fn put(etcd: &Etcd, key: &str, value: &str) -> Revision {
    done(etcd.commit(&Transaction::new("put").put(key, value, None)).await.unwrap())
}

fn claim(key: &str, value: &str) -> Transaction {
    Transaction::new(format!("claim {key}"))
        .when(key, Condition::Absent)
        .put(key, value, None)
        .otherwise_get(key)
}

fn done(outcome: Outcome) -> Revision {
    match outcome {
        Outcome::Done(revision) => revision,
        Outcome::Not { revision, found } => panic!("at {revision} there was {found:?}"),
    }
}

async fn changes(watch: &mut Watch) -> Vec<Change> {
    match patiently(watch.next()).await {
        Told::Changes(changes) => changes,
        told => panic!("{told:?}"),
    }
}

async fn broken(watch: &mut Watch) -> EtcdError {
    match patiently(watch.next()).await {
        Told::Broken(error) => error,
        told => panic!("{told:?}"),
    }
}
