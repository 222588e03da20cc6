//! Members die, hang and talk nonsense: what is asked comes to an end, nothing is lost, and nothing done twice.

use std::net::SocketAddr;
use std::time::Duration;

use byway_agent::edge::etcd::{Etcd, EtcdError, Outcome};
use byway_lab::etcd::{Certificates, Members, Tls};
use futures_util::future::join_all;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};

use super::{PATIENCE, claim, connect, one_member, options, options_at, patiently, put, with_tls};

#[tokio::test]
async fn no_claim_is_lost_or_made_twice_when_the_leader_is_killed() {
    const CLAIMS: usize = 60;
    let mut members = Members::start(3, Tls::With, &[]).unwrap();
    let leader = members.leader().unwrap();
    let mut options = with_tls(options(&members), members.certificates());
    // The leader is asked first, so that it dies with a claim in its hands.
    options.endpoints.rotate_left(leader);
    let etcd = connect(&options).await;
    let until = tokio::time::Instant::now() + PATIENCE;
    for nth in 0..CLAIMS {
        let (key, mine) = (format!("subnet/{nth:02}"), format!("host {nth}"));
        let transaction = claim(&key, &mine);
        let killing = async {
            if nth == CLAIMS / 3 {
                members.kill(leader);
            }
        };
        let (mut outcome, ()) = tokio::join!(etcd.commit(&transaction), killing);
        // Who does not know looks by claiming again: it is mine, or it was not done.
        while outcome.is_err() {
            assert!(tokio::time::Instant::now() < until, "{outcome:?}");
            outcome = etcd.commit(&transaction).await;
        }
        if let Outcome::Not { found, .. } = outcome.unwrap() {
            assert_eq!(found[0][0].value, mine.as_bytes());
        }
    }
    let listing = etcd.list("subnet/").await.unwrap();
    assert_eq!(listing.entries.len(), CLAIMS);
    for (nth, entry) in listing.entries.iter().enumerate() {
        assert_eq!((entry.value.clone(), entry.version), (format!("host {nth}").into_bytes(), 1));
    }
}

#[tokio::test]
async fn endpoints_that_are_of_no_use_are_passed_over() {
    let members = one_member();
    let (silent, _silent) = listen().await;
    let closed = { listen().await.0 };
    let mut endpoints = vec![format!("http://{closed}"), format!("http://{silent}")];
    endpoints.extend(members.endpoints());
    let etcd = connect(&options_at(&endpoints)).await;
    put(&etcd, "a", "1").await;
}

#[tokio::test]
async fn a_member_that_accepts_and_says_nothing_does_not_hold_us() {
    let (address, _listener) = listen().await;
    for scheme in ["http", "https"] {
        let error = unreachable(&format!("{scheme}://{address}")).await;
        assert!(error.to_string().contains("within 3.0 s"), "{error}");
        assert!(error.hint().is_some());
    }
}

#[tokio::test]
async fn however_many_ask_members_that_say_nothing_each_hears_so_in_time() {
    let mut members = one_member();
    let (silent, _listener) = listen().await;
    let endpoints = [members.endpoints(), vec![format!("http://{silent}")]].concat();
    let etcd = connect(&options_at(&endpoints)).await;
    members.kill_all();
    // The clock now jumps whenever there is nothing to do.
    tokio::time::pause();
    let begun = tokio::time::Instant::now();
    for outcome in join_all((0..32).map(|_| etcd.get("a"))).await {
        assert!(matches!(outcome, Err(EtcdError::Unreachable { .. })), "{outcome:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(21), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn garbage_is_no_answer() {
    let garbage: [&[u8]; 4] = [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
        b"\0\0\0\0\0\0\0\0\0",
        &[0xff; 4096],
        // The first words of HTTP/2, and an answer without any of etcd's words.
        b"\0\0\0\x04\0\0\0\0\0\0\0\x01\x01\x05\0\0\0\x01\x88",
    ];
    for bytes in garbage {
        let (address, listener) = listen().await;
        let answering = tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let _ = stream.write_all(bytes).await;
                swallow(stream).await;
            }
        });
        for scheme in ["http", "https"] {
            let error = unreachable(&format!("{scheme}://{address}")).await;
            assert!(error.to_string().contains(&address.to_string()) && error.hint().is_some(), "{error}");
        }
        answering.abort();
    }
}

#[tokio::test]
async fn a_call_to_a_member_that_hangs_is_made_elsewhere_if_it_only_looks() {
    let members = Members::start(3, Tls::Without, &[]).unwrap();
    let leader = members.leader().unwrap();
    let mut options = options(&members);
    options.endpoints.rotate_left((leader + 1) % 3);
    let etcd = connect(&options).await;
    put(&etcd, "a", "1").await;
    members.freeze((leader + 1) % 3).unwrap();
    assert_eq!(patiently(etcd.get("a")).await.unwrap().unwrap().value, b"1");
    // And who asked to change something is told that it may have been done.
    let etcd = connect(&options_at(&members.endpoints()[leader..=leader])).await;
    members.freeze(leader).unwrap();
    let error = patiently(etcd.commit(&claim("b", "mine"))).await.unwrap_err();
    assert!(matches!(error, EtcdError::Unanswered { .. }) && error.may_be_done(), "{error}");
}

#[tokio::test]
async fn members_of_another_cluster_are_not_asked() {
    let (mut one, other) = (one_member(), one_member());
    let endpoints = [one.endpoints(), other.endpoints()].concat();
    let etcd = connect(&options_at(&endpoints)).await;
    put(&etcd, "a", "1").await;
    one.kill_all();
    let error = etcd.get("a").await.unwrap_err();
    assert!(error.to_string().contains("another etcd cluster"), "{error}");
    assert!(error.hint().unwrap().contains("members of one cluster"));
}

async fn listen() -> (SocketAddr, TcpListener) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    (listener.local_addr().unwrap(), listener)
}

/// Reads until the other hangs up.
async fn swallow(stream: TcpStream) {
    let mut bytes = [0; 1024];
    while stream.readable().await.is_ok() {
        match stream.try_read(&mut bytes) {
            Ok(0) => return,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

async fn unreachable(endpoint: &str) -> EtcdError {
    let folder = tempfile::tempdir().unwrap();
    let files = Certificates::make(folder.path(), [127, 0, 0, 1].into()).unwrap();
    let error =
        patiently(Etcd::connect(&with_tls(options_at(&[endpoint.to_owned()]), &files))).await.unwrap_err();
    assert!(matches!(error, EtcdError::Unreachable { .. }) && !error.may_be_done(), "{error}");
    error
}
