//! Tries the ways by routers, beside the loop: what is found out is in a value that the loop hears of when it changes.
//!
//! ```text
//! keep ── which ways are worth a try ──> ways ── to which peers routers carry ──> keep
//!                                         │ ^
//!                                  edge/router_echo.rs
//! ```

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use byway_fabric::cluster::HostName;
use byway_fabric::reach::proof::{Prover, Target};
use tokio::sync::watch;
use tokio::time::sleep_until;

use crate::edge::router_echo::Echoes;

/// How long to wait after a socket broke: it is opened anew, and meanwhile nothing is proven.
const AFTER_FAULT: Duration = Duration::from_secs(10);

/// The loop's end of it.
#[derive(Debug)]
pub(crate) struct Ways {
    targets: watch::Sender<BTreeSet<Target>>,
}

impl Ways {
    /// Starts to try ways, none yet; tells in `found` to which peers routers carry packets of containers.
    pub(crate) fn start() -> (Self, watch::Receiver<BTreeSet<HostName>>) {
        let (targets, meant) = watch::channel(BTreeSet::new());
        let (tell, found) = watch::channel(BTreeSet::new());
        tokio::spawn(prove(meant, tell));
        (Self { targets }, found)
    }

    /// Tries these ways from now on.
    pub(crate) fn aim(&self, targets: &BTreeSet<Target>) {
        self.targets.send_if_modified(|known| {
            let is_new = known != targets;
            if is_new {
                known.clone_from(targets);
            }
            is_new
        });
    }
}

/// Goes on until the loop ends.
async fn prove(mut meant: watch::Receiver<BTreeSet<Target>>, tell: watch::Sender<BTreeSet<HostName>>) {
    loop {
        // No sockets where there is nothing to try, as on most hosts.
        if meant.wait_for(|targets| !targets.is_empty()).await.is_err() {
            return;
        }
        match listen_and_send(&mut meant, &tell).await {
            Ok(End::NothingToTry) => {}
            Ok(End::LoopEnded) => return,
            Err(error) => {
                tracing::warn!(%error, "ways by routers cannot be tried; peers behind routers get tunnels");
                publish(&tell, BTreeSet::new());
                tokio::time::sleep(AFTER_FAULT).await;
            }
        }
    }
}

/// Why there is nothing more to do.
enum End {
    NothingToTry,
    LoopEnded,
}

async fn listen_and_send(
    meant: &mut watch::Receiver<BTreeSet<Target>>,
    tell: &watch::Sender<BTreeSet<HostName>>,
) -> std::io::Result<End> {
    let mut echoes = Echoes::open()?;
    let mut prover = Prover::default();
    let begin = Instant::now();
    prover.aim(meant.borrow_and_update().clone(), Duration::ZERO);
    loop {
        for (target, number) in prover.send(begin.elapsed()) {
            if let Err(error) = echoes.send(&target, number) {
                // A link that went, a router that is none: it counts as a miss, and the loop looks anyway.
                tracing::debug!(%error, peer = %target.peer, gateway = %target.gateway, "no echo was sent");
            }
        }
        publish(tell, prover.by_router(begin.elapsed()));
        let Some(next) = prover.next() else { return Ok(End::NothingToTry) };
        tokio::select! {
            heard = echoes.next() => prover.hear(&heard?, begin.elapsed()),
            () = sleep_until((begin + next).into()) => {}
            changed = meant.changed() => {
                if changed.is_err() {
                    return Ok(End::LoopEnded);
                }
                prover.aim(meant.borrow_and_update().clone(), begin.elapsed());
            }
        }
    }
}

fn publish(tell: &watch::Sender<BTreeSet<HostName>>, found: BTreeSet<HostName>) {
    tell.send_if_modified(|known| {
        let is_new = *known != found;
        if is_new {
            *known = found;
        }
        is_new
    });
}
