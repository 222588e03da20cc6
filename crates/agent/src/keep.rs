//! The loop that keeps the host right.
//!
//! ```text
//! rtnetlink ─┐
//! nftables  ─┤
//! inventory ─┼─> wake ─> look whole ─> plan ─> do the steps ─> look again, until there is nothing to do
//! commands  ─┤             ^                                         │
//! timer …   ─┘             └─────────────────────────────────────────┘
//! ```
//!
//! A wake never says what is true, only that it is time to look. The timer is a safety net.

mod count;
mod damper;
mod heed;
mod listen;
mod say;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use byway_api::metrics::{By, Round, Standing, Started, Thing};
use byway_api::{AgentStatus, Change, DownReport, PlanReport, Repair, SENTENCES_MAX, Status};
use byway_fabric::cluster::HostName;
use byway_fabric::desired::{Choices, desired};
use byway_fabric::plan::{Step, plan, take_down};
use byway_fabric::reach::Reach;
use byway_fabric::table::Table;
use byway_fabric::tunnel::Underlay;
use jiff::Timestamp;
use tokio::sync::mpsc;

use crate::edge::docker::Place;
use crate::edge::only_one::OnlyOne;
use crate::edge::{privileges, protocol_name};
use crate::error::{AgentError, chain};
use crate::health::{Asker, Book, Trials};
use crate::key;
use crate::metrics::{Listening, Metrics};
use crate::peers::{self, Peers};
use crate::report::{self, Findings};
use crate::serve::{self, Ask, Desk};
use crate::state::State;
use crate::store::{self, Known, Shared, Store};
use crate::ways::Ways;
use crate::world::World;
use count::{Deeds, Why};
use damper::Damper;
use listen::Ears;

/// Looks and repairs in a row before the agent believes that somebody works against it, or that a step cannot
/// succeed: one to repair, one to see that it is good, the rest for what changed meanwhile.
const ROUNDS_MAX: usize = 6;

/// How long a router is not believed that lost packets, whatever was found before: until it would have been found out
/// without that (`fabric::reach::proof`), and some.
const DISTRUST: Duration = Duration::from_secs(30);

/// What an agent must know to start.
#[derive(Debug, Clone)]
pub struct Settings {
    /// This host's name in the inventory.
    pub host: HostName,
    /// The inventory.
    pub inventory: PathBuf,
    /// Where the hosts are in etcd; none means that they are in the inventory.
    pub shared: Option<Shared>,
    /// What the operator fixed by hand.
    pub choices: Choices,
    /// For the socket and the lock.
    pub run_dir: PathBuf,
    /// For what must survive a restart.
    pub state_dir: PathBuf,
    /// Docker; none on the host is a normal state.
    pub docker: Place,
    /// The TCP port on which the agents ask each other.
    pub port: u16,
    /// The TCP address at which the metrics can be read; none means only on the local socket.
    pub metrics: Option<SocketAddr>,
    /// Whether peers are tried, and the routes of those that are gone refuse packets.
    pub health: bool,
    /// The safety net: how long the agent goes without a look.
    pub look_every: Duration,
    /// Whether the agent only looks and answers, and changes nothing on this host.
    pub hands_off: bool,
}

/// Runs until it is told to stop. What it put stays, unless it was told to take it out.
///
/// # Errors
/// When it cannot start; a fault later is logged, told in the status and tried again.
pub async fn run(settings: Settings) -> Result<(), AgentError> {
    privileges::check()?;
    let _only_one = OnlyOne::take(&settings.run_dir)?;
    let (asks, asked) = mpsc::channel(serve::ASKS_MAX);
    let (ways, found) = Ways::start();
    // The ears come before the first look: what changes after the look is heard.
    let book = Book::default();
    let mut ears = Ears::open(&settings, asked, found, book.listen())?;
    let mut keeper = Keeper::start(settings, ways, book)?;
    ears.hear_store(&*keeper.store);
    let desk = keeper.desk(asks);
    let server = serve::start(&keeper.settings.run_dir, desk.clone())?;
    keeper.let_peers_ask(desk);
    keeper.let_metrics_be_read();
    keeper.install_protocol_name();
    keeper.converge(Instant::now(), Why::Start).await;
    say::started(&keeper.settings.host);
    loop {
        let wait = keeper.damper.wait(Instant::now(), keeper.world.must_poll());
        let wake = ears.wait(wait).await?;
        keeper.metrics.note(|numbers| count::wake(numbers, &wake));
        if !keeper.heed(wake).await {
            break;
        }
    }
    say::stopping();
    if let Some(peers) = keeper.peers.take() {
        peers.stop();
    }
    server.stop().await;
    Ok(())
}

/// The agent between two wakes.
struct Keeper {
    settings: Settings,
    world: World,
    store: Box<dyn Store>,
    state: State,
    damper: Damper,
    /// To whom routers were found to carry packets of containers.
    by_router: BTreeSet<HostName>,
    /// Those of them to whom nothing arrives any more by their router, whatever was found; until when that is believed.
    distrusted: BTreeMap<HostName, Instant>,
    ways: Ways,
    status: Arc<Mutex<Option<Status>>>,
    agent: AgentStatus,
    peers: Option<Peers>,
    metrics: Metrics,
    listening: Option<Listening>,
    book: Book,
    trials: Option<Trials>,
    ready: bool,
}

impl Keeper {
    fn start(settings: Settings, ways: Ways, book: Book) -> Result<Self, AgentError> {
        let now = Timestamp::now();
        let mut state = State::load(&settings.state_dir)?;
        let store = store::open(&settings, &state.content, now)?;
        store.remember(&mut state.content);
        state.save()?;
        let agent = AgentStatus {
            pid: std::process::id(),
            since: now,
            looks: 0,
            repairs: 0,
            last_look: now,
            last_change: None,
            last_repair: None,
            trouble: None,
            hands_off: settings.hands_off,
        };
        let metrics = Metrics::new(Started {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: settings.host.to_string(),
            at: now,
            hands_off: settings.hands_off,
        });
        let (world, damper) = (World::open()?, Damper::new(settings.look_every, Instant::now()));
        let status = Arc::default();
        let (peers, listening, trials, ready) = (None, None, None, false);
        let (by_router, distrusted) = (BTreeSet::new(), BTreeMap::new());
        Ok(Self {
            settings,
            world,
            store,
            state,
            damper,
            by_router,
            distrusted,
            ways,
            status,
            agent,
            peers,
            metrics,
            listening,
            book,
            trials,
            ready,
        })
    }

    /// Opens the door for other hosts, and begins to try them. Whatever is wrong with it is told in the status.
    fn let_peers_ask(&mut self, desk: Desk) {
        let identity = key::load_or_make(&self.settings.state_dir).map(|(identity, is_new)| {
            if is_new {
                tracing::info!(key = %identity.public(), "made a key for this host");
            }
            identity
        });
        let known = Arc::clone(self.store.known());
        let docker = self.settings.docker.clone();
        let routes = |door: &Arc<_>| peers::routes(door, desk, docker);
        self.peers = Some(Peers::start(identity, self.settings.port, known, routes));
        self.try_peers();
    }

    /// Lets the metrics be read over TCP, where the operator wants it.
    fn let_metrics_be_read(&mut self) {
        self.listening = self.settings.metrics.map(|at| Listening::start(at, self.metrics.clone()));
    }

    fn desk(&self, asks: mpsc::Sender<Ask>) -> Desk {
        let (status, metrics, book) = (self.status.clone(), self.metrics.clone(), self.book.clone());
        Desk { status, asks, metrics, book }
    }

    /// Begins to try the peers, where the operator has not forbidden it.
    fn try_peers(&mut self) {
        if self.settings.health {
            // Whatever is wrong with the key is told by those who let others ask.
            let identity = key::load_or_make(&self.settings.state_dir).ok().map(|(identity, _)| identity);
            self.trials = Trials::start(self.book.clone(), Asker::new(identity, self.settings.port));
        }
    }

    /// At rest all routes are there by which peers can be tried.
    fn tell_whom_to_try(&self, findings: &Findings) {
        if self.trials.is_some() {
            self.book.learn(&self.store.known().cluster, &self.settings.host, findings);
        }
    }

    /// Nobody watches from now on, so no route may go on refusing packets: whoever comes back would stay refused.
    async fn refuse_nobody(&mut self) {
        self.trials = None;
        if self.book.close() {
            self.converge(Instant::now(), Why::Health).await;
        }
    }

    fn install_protocol_name(&mut self) {
        let missing = protocol_name::missing();
        if missing.is_empty() || self.settings.hands_off {
            return;
        }
        self.state.content.made.extend(missing);
        self.state.content.made.dedup();
        self.save_state();
        if let Err(error) = protocol_name::install() {
            tracing::warn!(%error, "`ip route` will show our routes as `proto 172`");
        }
    }

    fn save_state(&self) {
        if let Err(error) = self.state.save() {
            tracing::error!(error = chain(&error), "what must survive a restart could not be written");
        }
    }

    async fn refresh_store(&mut self) {
        if self.store.refresh(Timestamp::now()) {
            let known = Arc::clone(self.store.known());
            tracing::info!(hosts = known.cluster.hosts.len(), "the cluster has changed");
            self.store.remember(&mut self.state.content);
            self.save_state();
            if let Some(peers) = &self.peers {
                peers.learn(known);
            }
            self.converge(Instant::now(), Why::Store).await;
        } else {
            self.publish_inventory();
        }
    }

    /// Looks and repairs until there is nothing to do.
    async fn converge(&mut self, begun: Instant, why: Why) {
        let mut deeds = Deeds::default();
        let mut outcome = Ok(false);
        for _ in 0..ROUNDS_MAX {
            outcome = self.round(&mut deeds).await;
            if !matches!(outcome, Ok(false)) {
                break;
            }
        }
        self.note_outcome(outcome, begun, deeds, why);
    }

    /// One look, and the steps that follow from it. Returns whether there was nothing to do.
    async fn round(&mut self, deeds: &mut Deeds) -> Result<bool, AgentError> {
        let findings = self.look().await?;
        let at_rest = findings.plan.is_empty();
        if at_rest || self.settings.hands_off {
            self.tell_whom_to_try(&findings);
            self.publish(&findings);
            return Ok(true);
        }
        self.publish(&findings);
        self.remember(&findings)?;
        let done = self.world.apply(&findings.plan).await;
        let outcome = self.world.take_done();
        self.metrics.note(|numbers| numbers.stepped(&outcome));
        for step in &findings.plan.steps {
            tracing::info!("{step}");
            deeds.sentences.push(step.to_string());
            deeds.things.insert(Thing::of(step));
        }
        if findings.plan.steps.iter().any(Step::keeps_sources) {
            deeds.sentences.extend(self.end_rewritten(&findings.desired.table));
        }
        done.map(|()| false)
    }

    fn end_rewritten(&mut self, table: &Table) -> Option<String> {
        let ended = self.world.end_rewritten(table);
        let sentence =
            format!("ended {ended} connections because somebody had rewritten their source addresses");
        (ended > 0).then(|| {
            tracing::info!("{sentence}");
            sentence
        })
    }

    async fn look(&mut self) -> Result<Findings, AgentError> {
        let observed = self.world.look().await?;
        self.agent.looks += 1;
        self.agent.last_look = Timestamp::now();
        self.metrics.note(|numbers| numbers.looked(self.agent.last_look));
        self.store.look(&observed);
        let reach = self.reach();
        let Known { me, cluster } = &**self.store.known();
        let desired = desired(cluster, me, &self.settings.choices, &observed, &reach);
        self.ways.aim(&desired.tries);
        let plan = plan(&desired, &observed);
        plan.check(&desired).map_err(|violation| AgentError::BadPlan(violation.to_string()))?;
        Ok(Findings { desired, observed, plan })
    }

    /// What was found out about the ways to peers. Where a router was found to carry and nothing arrives any more, it is the
    /// router that is not believed first: such a peer is tried by its tunnel before it is left alone.
    fn reach(&mut self) -> Reach {
        let (mut reach, now) = (self.book.reach(), Instant::now());
        let lost = self.book.lost();
        for peer in self.by_router.iter().filter(|peer| lost.contains_key(*peer)) {
            self.distrusted.insert(peer.clone(), now + DISTRUST);
        }
        self.distrusted.retain(|peer, until| *until > now && self.by_router.contains(peer));
        let trusted = self.by_router.iter().filter(|peer| !self.distrusted.contains_key(*peer));
        reach.learn_routers(&trusted.cloned().collect());
        reach
    }

    /// Writes down what a plan is about to change, before it does. A setting that we had put before was
    /// changed by somebody; the kernel does not tell by whom.
    fn remember(&mut self, findings: &Findings) -> Result<(), AgentError> {
        let memory = &mut self.state.content.memory;
        let mut something_new = false;
        for step in &findings.plan.steps {
            if memory.note(step, &findings.observed) {
                something_new = true;
            } else if let Step::PutSysctl { sysctl, from, .. } = step
                // What a tunnel begins with was put by nobody.
                && Underlay::named(&sysctl.scope).is_none()
            {
                let (what, who) = (format!("set {sysctl} to {from}"), "somebody".to_owned());
                tracing::warn!("{who} {what}");
                self.metrics.note(|numbers| numbers.was_changed(Thing::Setting, By::Unknown));
                self.agent.last_change = Some(Change { at: Timestamp::now(), what, who });
            }
        }
        if something_new { Ok(self.state.save()?) } else { Ok(()) }
    }

    fn note_outcome(
        &mut self,
        outcome: Result<bool, AgentError>,
        begun: Instant,
        mut deeds: Deeds,
        why: Why,
    ) {
        let now = Instant::now();
        let took = now.duration_since(begun);
        self.agent.trouble = match outcome {
            Ok(true) => None,
            Ok(false) => Some(format!("{ROUNDS_MAX} repairs in a row did not bring this host to rest")),
            Err(error) => Some(chain(&error)),
        };
        let (failed, repaired) = (self.agent.trouble.is_some(), deeds.cause(why));
        self.metrics.note(|numbers| numbers.came_round(Round { took, failed, repaired }));
        if !deeds.sentences.is_empty() {
            deeds.sentences.truncate(SENTENCES_MAX);
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.agent.repairs += 1;
            self.agent.last_repair = Some(Repair { at: Timestamp::now(), micros, steps: deeds.sentences });
            self.damper.repaired(now);
        }
        if let Some(trouble) = &self.agent.trouble {
            tracing::error!(trouble, "this host is not as it should be; it is tried again");
            self.damper.failed(now);
        } else {
            self.damper.at_rest();
            say::at_rest(&mut self.ready);
        }
        self.publish_agent();
    }

    fn publish(&self, findings: &Findings) {
        let mut status = report::status(&*self.store, findings, Some(self.agent.clone()));
        if self.trials.is_some() {
            status.hosts.iter_mut().for_each(|host| host.health = self.book.tell(&host.name));
        }
        if let Some(peers) = &self.peers {
            peers.speak_as(report::speaks_as(findings));
            status.problems.extend(peers.problems());
            status.peers = Some(peers.status());
        }
        status.problems.extend(self.listening.as_ref().and_then(Listening::problem));
        let (expected, present) = report::routes_by_family(findings);
        self.metrics.note(|numbers| {
            numbers.stands(Standing::of(&status, expected, present));
            numbers.has_read(status.inventory.clone());
        });
        say::standing(&status);
        *self.status.lock().unwrap_or_else(PoisonError::into_inner) = Some(status);
    }

    fn publish_agent(&self) {
        if let Some(status) = self.status.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            status.agent = Some(self.agent.clone());
        }
    }

    fn publish_inventory(&self) {
        self.metrics.note(|numbers| numbers.has_read(self.store.status()));
        if let Some(status) = self.status.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            status.inventory = self.store.status();
        }
    }

    fn last_status(&self) -> Option<Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn plan_report(&mut self) -> Result<PlanReport, AgentError> {
        self.world.doubt_table();
        let plan = self.look().await?.plan;
        Ok(PlanReport { host: self.settings.host.clone(), by_agent: true, plan })
    }

    async fn take_down(&mut self) -> Result<DownReport, AgentError> {
        let report = take_out(&mut self.world, &mut self.state).await?;
        self.store.leave().await;
        Ok(report)
    }
}

/// Takes out everything that is ours and forgets what was remembered for it.
///
/// # Errors
/// When a step failed; what was remembered is kept then, so that it can be tried again.
pub async fn take_out(world: &mut World, state: &mut State) -> Result<DownReport, AgentError> {
    world.doubt_table();
    world.doubt_chains();
    let plan = take_down(&state.content.memory, &world.look().await?);
    for step in &plan.steps {
        tracing::info!("{step}");
    }
    world.apply(&plan).await?;
    protocol_name::remove(&state.content.made);
    state.forget()?;
    Ok(DownReport {
        done: plan.steps.iter().map(ToString::to_string).collect(),
        left: plan.problems.iter().map(|problem| problem.what.clone()).collect(),
    })
}
