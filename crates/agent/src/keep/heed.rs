//! What a wake leads to.

use std::collections::BTreeSet;
use std::time::Instant;

use byway_api::Change;
use byway_api::metrics::Thing;
use byway_fabric::cluster::HostName;
use byway_fabric::firewalld::Firewalld;
use jiff::Timestamp;

use super::count::{self, Why};
use super::listen::Wake;
use super::{Keeper, say};
use crate::edge::notices::{Notice, Touch};
use crate::serve::Ask;

impl Keeper {
    /// Does what a wake asks for; whether to go on.
    pub(super) async fn heed(&mut self, wake: Wake) -> bool {
        match wake {
            Wake::Changed(notices) => {
                let heard = Instant::now();
                if self.take_in(notices) {
                    self.converge(heard, Why::Doubt).await;
                }
            }
            Wake::Docker(engine) => {
                self.world.hear_docker(engine);
                self.converge(Instant::now(), Why::Doubt).await;
            }
            Wake::Ways(by_router) => self.hear_ways(&by_router).await,
            Wake::Health => self.converge(Instant::now(), Why::Health).await,
            Wake::Firewalld(firewalld) => self.hear_firewalld(firewalld).await,
            Wake::Store => self.refresh_store().await,
            Wake::Timer => {
                self.world.doubt_table();
                self.world.doubt_chains();
                self.damper.looked_at_everything(Instant::now());
                self.refresh_store().await;
                self.converge(Instant::now(), Why::Doubt).await;
            }
            Wake::Ask(ask) => return self.answer(ask).await,
            Wake::Alive => say::alive(),
            Wake::Stop(signal) => {
                tracing::info!(signal, "stopping; routes and rules stay, `byway down` takes them out");
                self.refuse_nobody().await;
                return false;
            }
        }
        true
    }

    /// Answers a command; whoever asked may have gone, and then nobody misses the answer.
    async fn answer(&mut self, ask: Ask) -> bool {
        match ask {
            Ask::Status(answer) => {
                self.refresh_store().await;
                self.converge(Instant::now(), Why::Doubt).await;
                let _ = answer.send(self.last_status());
            }
            Ask::Plan(answer) => drop(answer.send(self.plan_report().await)),
            Ask::Down(answer) => {
                let report = self.take_down().await;
                let done = report.is_ok();
                let _ = answer.send(report);
                return !done;
            }
        }
        true
    }

    /// Learns from notices; returns whether there is a reason to look.
    fn take_in(&mut self, notices: Vec<Notice>) -> bool {
        let mut look = false;
        for notice in notices {
            match notice {
                Notice::Kernel => look = true,
                Notice::Ruleset => look |= self.note_ruleset(),
                Notice::OurRoute(touch) => look |= self.note_touch(touch, Thing::Route),
                Notice::OurTable(touch) => {
                    let foreign = self.note_touch(touch, Thing::Table);
                    if foreign {
                        self.world.doubt_table();
                        // A flush of everything is told as a change of our table.
                        self.world.doubt_chains();
                    }
                    look |= foreign;
                }
                Notice::Lost => {
                    tracing::warn!("the kernel had more notices than we could take; looking at everything");
                    self.world.doubt_table();
                    self.world.doubt_chains();
                    look = true;
                }
            }
        }
        look
    }

    /// Routers began or ceased to carry packets of containers.
    async fn hear_ways(&mut self, by_router: &BTreeSet<HostName>) {
        if self.by_router != *by_router {
            self.by_router.clone_from(by_router);
            self.converge(Instant::now(), Why::Doubt).await;
        }
    }

    /// firewalld may have taken what others wrote, and Docker writes it again, a moment after.
    async fn hear_firewalld(&mut self, firewalld: Option<Firewalld>) {
        self.world.hear_firewalld(firewalld);
        self.world.doubt_table();
        self.world.doubt_chains();
        self.damper.others_write(Instant::now());
        self.converge(Instant::now(), Why::Doubt).await;
    }

    /// Somebody's rules changed; that matters where Docker is, as ours stand among them.
    fn note_ruleset(&mut self) -> bool {
        self.world.doubt_chains();
        self.world.knows_docker()
    }

    /// Remembers who changed what is ours; returns whether it was somebody else.
    fn note_touch(&mut self, touch: Touch, thing: Thing) -> bool {
        if self.world.is_own(touch.port) {
            return false;
        }
        tracing::warn!(who = touch.who, "somebody {}", touch.what);
        self.metrics.note(|numbers| numbers.was_changed(thing, count::by(&touch, thing)));
        self.agent.last_change = Some(Change { at: Timestamp::now(), what: touch.what, who: touch.who });
        true
    }
}
