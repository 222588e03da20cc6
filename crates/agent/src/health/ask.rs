//! Asks a peer's agent over the agents' own channel, and its kernel by TCP along the data path.

use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use byway_api::identity::Identity;
use byway_api::path;
use byway_api::peer::{Bounds, Peer, PeerError};
use byway_fabric::cluster::Host;
use byway_fabric::health::{self, Deed, Said, WITNESS_TIME, Word};
use tokio::net::TcpSocket;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Told;
use crate::error::chain;

/// Questions under way at once: enough for a rack that goes dark, and room in the door of a peer.
const QUESTIONS_MAX: usize = 64;
/// How long an agent may take that nobody waits for.
const ASK_TIME: Duration = Duration::from_secs(1);
/// The longest answer; ours have some hundred bytes.
const ANSWER_BYTES_MAX: usize = 16 << 10;
/// The longest reason that is kept of an agent that does not answer: peers have a say in it.
const WHY_CHARACTERS_MAX: usize = 300;

/// Who asks.
#[derive(Debug)]
pub(crate) struct Asker {
    identity: Option<Identity>,
    port: u16,
    places: Semaphore,
}

/// What is to be asked of whom.
pub(super) struct Question {
    pub(super) peer: Host,
    pub(super) asked: Deed,
    pub(super) words: health::Question,
    /// Along the data path: from this address to that.
    pub(super) way: Option<(IpAddr, IpAddr)>,
}

impl Asker {
    /// One that asks as the one who has this key, on that port; without a key it asks no agents.
    pub(crate) fn new(identity: Option<Identity>, port: u16) -> Self {
        Self { identity, port, places: Semaphore::new(QUESTIONS_MAX) }
    }

    pub(super) async fn ask(&self, question: Question) -> Told {
        let Question { peer, asked, words, way } = question;
        let time = if asked == Deed::Ask { ASK_TIME } else { Duration::from_millis(WITNESS_TIME) };
        let (said, speaks_as) = timeout(time, self.ask_in_turn(&peer, (asked, words), way, time))
            .await
            .unwrap_or_else(|_| (nothing(&format!("no answer within {} ms", time.as_millis())), None));
        Told { peer: peer.name, asked, said, speaks_as }
    }

    async fn ask_in_turn(
        &self,
        peer: &Host,
        (asked, words): (Deed, health::Question),
        way: Option<(IpAddr, IpAddr)>,
        time: Duration,
    ) -> (Said, Option<Vec<IpAddr>>) {
        let Ok(_place) = self.places.acquire().await else { return (nothing("nobody was asked"), None) };
        let agent = self.agent(peer, words, time);
        let Some((from, to)) = way.filter(|_| asked == Deed::AskWitnesses) else { return agent.await };
        let kernel = self.kernel(from, to);
        tokio::pin!(agent, kernel);
        tokio::select! {
            said = &mut agent => match said.0.vouches() {
                None if kernel.await => (Said::Kernel, said.1),
                _ => said,
            },
            true = &mut kernel => (Said::Kernel, None),
            else => (nothing("nobody was asked"), None),
        }
    }

    /// What the agent says, and as what it speaks.
    async fn agent(
        &self,
        peer: &Host,
        words: health::Question,
        time: Duration,
    ) -> (Said, Option<Vec<IpAddr>>) {
        let Some(identity) = &self.identity else {
            return (nothing("this host has no key to ask with"), None);
        };
        let bounds = Bounds { connect: time, handshake: time, answer: time, answer_bytes: ANSWER_BYTES_MAX };
        let mut conversation = match Peer::connect(peer, self.port, identity, bounds).await {
            Ok(conversation) => conversation,
            Err(PeerError::Refused { .. } | PeerError::Version { .. }) => return (Said::NoOpinion, None),
            Err(error) => return (nothing(&chain(&error)), None),
        };
        let speaks_as = conversation.hello().speaks_as.clone();
        let said = match conversation.post::<_, Word>(path::HEALTH, &words).await {
            Ok(word) => Said::Word(word),
            Err(PeerError::Refused { .. }) => Said::NoOpinion,
            Err(error) => nothing(&chain(&error)),
        };
        (said, Some(speaks_as))
    }

    /// Whether the kernel there answers to TCP: nobody listens at that address, and a refusal is an answer.
    async fn kernel(&self, from: IpAddr, to: IpAddr) -> bool {
        let open = if from.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let Ok(socket) = open else { return false };
        if socket.bind(SocketAddr::new(from, 0)).is_err() {
            return false;
        }
        let outcome = socket.connect(SocketAddr::new(to, self.port)).await;
        outcome.map_or_else(|error| error.kind() == ErrorKind::ConnectionRefused, |_| true)
    }
}

fn nothing(why: &str) -> Said {
    Said::Nothing { why: why.chars().take(WHY_CHARACTERS_MAX).collect() }
}
