//! A gigabyte arrives as it was sent.

use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::thread;

use byway_lab::Lab;

use crate::common::PATIENCE;
use crate::common::engines::{C41, C42, PAIRS, addresses};
use crate::networks::On;

const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS: u64 = 1 << 10;

/// A sum over words that tells their order too.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    words: u64,
    sum: u64,
}

impl Sum {
    fn add(&mut self, chunk: &[u8]) {
        for word in chunk.as_chunks().0 {
            self.sum = self.sum.rotate_left(5).wrapping_mul(3) ^ u64::from_ne_bytes(*word);
            self.words += 1;
        }
    }
}

/// No two chunks are the same.
fn send(mut to: TcpStream) -> Sum {
    let mut sum = Sum::default();
    let mut chunk: Vec<u8> = (0..=250).cycle().take(CHUNK_BYTES).collect();
    for nth in 0..CHUNKS {
        chunk[..8].copy_from_slice(&nth.to_ne_bytes());
        to.write_all(&chunk).unwrap();
        sum.add(&chunk);
    }
    sum
}

fn receive(mut from: impl Read) -> Sum {
    let mut sum = Sum::default();
    let mut chunk = vec![0; CHUNK_BYTES];
    for _ in 0..CHUNKS {
        from.read_exact(&mut chunk).unwrap();
        sum.add(&chunk);
    }
    assert_eq!(from.read(&mut chunk).unwrap(), 0, "there is more than was sent");
    sum
}

fn check(lab: &Lab, from: &str, to: &str, at: IpAddr) {
    let listener = lab.inside(to, || TcpListener::bind((at, 0))).unwrap().unwrap();
    let there = listener.local_addr().unwrap();
    let near = lab.inside(from, || TcpStream::connect_timeout(&there, PATIENCE)).unwrap().unwrap();
    let (far, _) = listener.accept().unwrap();
    far.set_read_timeout(Some(PATIENCE)).unwrap();
    near.set_write_timeout(Some(PATIENCE)).unwrap();
    let sender = thread::spawn(|| send(near));
    let received = receive(far);
    assert_eq!(received.words * 8, 1 << 30);
    assert_eq!(received, sender.join().unwrap());
}

#[test]
fn a_gigabyte_over_tcp_arrives_as_it_was_sent() {
    for pair in PAIRS {
        let lab = On::Docker0.cluster(pair);
        check(&lab, C41, C42, addresses(&lab, C42)[0]);
        if pair == PAIRS[2] {
            check(&lab, C42, C41, addresses(&lab, C41)[1]);
        }
    }
}
