//! Who reads the metrics over TCP, and who only holds a connection.

#![allow(clippy::unwrap_used, reason = "for tests only")]

use std::net::SocketAddr;
use std::time::Duration;

use byway_api::metrics::Started;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::Metrics;
use super::listen::{CONNECTIONS_MAX, take};

/// How long anything may take on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(20);
const ASK: &[u8] = b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n";

/// A place where metrics can be read, for as long as the test's runtime lives.
async fn place() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (version, host) = ("0".to_owned(), "a\"b".to_owned());
    let started = Started { version, host, at: Timestamp::UNIX_EPOCH, hands_off: true };
    tokio::spawn(take(listener, Metrics::new(started)));
    at
}

/// What is said until the other side hangs up; a reset is an end too.
async fn rest(stream: &mut TcpStream) -> String {
    let mut said = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut said)).await.unwrap();
    String::from_utf8(said).unwrap()
}

async fn ask(at: SocketAddr, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.unwrap();
    stream.write_all(request).await.unwrap();
    rest(&mut stream).await
}

#[tokio::test]
async fn metrics_are_read_and_nothing_else() {
    let at = place().await;
    let answer = ask(at, ASK).await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("content-type: text/plain; version=0.0.4; charset=utf-8\r\n"), "{answer}");
    assert!(answer.contains("\nbyway_build_info{version=\"0\",host=\"a\\\"b\"} 1\n"), "{answer}");
    for (request, status) in [
        ("GET /v1/status HTTP/1.1\r\nhost: x\r\n\r\n", "404"),
        ("POST /v1/down HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", "404"),
        ("POST /metrics HTTP/1.1\r\nhost: x\r\ncontent-length: 9999999999\r\n\r\nx", "405"),
        ("GET /metrics/ HTTP/1.1\r\nhost: x\r\n\r\n", "404"),
        ("\x16\x03\x01 hello\r\n\r\n", "400"),
    ] {
        let answer = ask(at, request.as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{request}: {answer}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let at = place().await;
    let answer = ask(at, format!("GET /metrics HTTP/1.1\r\nx: {}", "x".repeat(9 << 10)).as_bytes()).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
    let many = "x: 1\r\n".repeat(40);
    let answer = ask(at, format!("GET /metrics HTTP/1.1\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
}

#[tokio::test]
async fn whoever_has_been_here_longest_makes_room_for_whoever_asks() {
    let at = place().await;
    let mut holding = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        let mut stream = TcpStream::connect(at).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nx: ").await.unwrap();
        holding.push(stream);
    }
    assert!(ask(at, ASK).await.contains("byway_build_info"));
    assert_eq!(rest(&mut holding[0]).await, "", "it was hung up on");
    let last = holding.last_mut().unwrap();
    last.write_all(b"1\r\n\r\n").await.unwrap();
    assert!(rest(last).await.contains("byway_build_info"), "the others are still here");
}
