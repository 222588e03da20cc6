//! Everything that the agent looks at and changes, gathered: look whole, then do a plan's steps in order.

use byway_api::metrics::{Done, Thing};
use byway_fabric::docker::{Backend, Flavour, Seen};
use byway_fabric::firewalld::Firewalld;
use byway_fabric::observed::Observed;
use byway_fabric::plan::{Plan, Step};
use byway_fabric::table::{Element, Table};

use crate::edge::conntrack::{self, Pairs};
use crate::edge::docker::Engine;
use crate::edge::netlink::{Netlink, NetlinkError, Refusal};
use crate::edge::nft::{self, script};
use crate::edge::program::Runs;
use crate::edge::{chains, look, route, sysctls, tunnel, veths};
use crate::error::AgentError;

/// Reading our table means running `nft`, and every change of it is told in a notice; so it is read when it was
/// touched, and at the slow timer.
#[derive(Debug, Default)]
enum KnownTable {
    #[default]
    Unknown,
    Read(Option<Table>),
}

/// The host, as far as Byway has to do with it.
#[derive(Debug)]
pub struct World {
    netlink: Netlink,
    runs: Runs,
    /// Our table as it was last read.
    table: KnownTable,
    /// Docker, as it last said of itself.
    engine: Option<Engine>,
    /// Docker and its chains, as they were last read; none after somebody's ruleset changed.
    docker: Option<Seen>,
    /// The iptables that Docker was last seen to write with.
    flavour: Option<Flavour>,
    /// firewalld, as it last said of itself.
    firewalld: Option<Firewalld>,
    /// What came of steps since somebody asked.
    done: Done,
}

impl World {
    /// Opens what is needed to look and to change.
    ///
    /// # Errors
    /// When there is no netlink.
    pub fn open() -> Result<Self, AgentError> {
        let netlink =
            Netlink::open().map_err(|cause| AgentError::Netlink { doing: "talk to the kernel", cause })?;
        Ok(Self {
            netlink,
            runs: Runs::default(),
            table: KnownTable::Unknown,
            engine: None,
            docker: None,
            flavour: None,
            firewalld: None,
            done: Done::default(),
        })
    }

    /// Forgets what is known of the table: somebody touched it, or it may have been.
    pub fn doubt_table(&mut self) {
        self.table = KnownTable::Unknown;
    }

    /// Forgets what is known of the chains that Docker shares: somebody's ruleset changed.
    pub fn doubt_chains(&mut self) {
        self.docker = None;
    }

    /// Takes in what Docker says of itself. When it goes, what it left stays as it was last known: its rules, its
    /// bridges and, with live-restore, its containers.
    pub fn hear_docker(&mut self, engine: Option<Engine>) {
        self.engine = engine.or(self.engine.take());
        self.docker = None;
    }

    /// Takes in what firewalld says of itself.
    pub fn hear_firewalld(&mut self, firewalld: Option<Firewalld>) {
        self.firewalld = firewalld;
    }

    /// Whether Docker runs here.
    #[must_use]
    pub fn knows_docker(&self) -> bool {
        self.engine.is_some()
    }

    /// Whether changes of Docker's chains are told in no notice (iptables-legacy).
    #[must_use]
    pub fn must_poll(&self) -> bool {
        let backend = self.docker.as_ref().map(|docker| docker.engine.backend);
        backend == Some(Backend::Iptables(Flavour::Legacy))
    }

    /// Whether a netlink port is one by which we change things.
    #[must_use]
    pub fn is_own(&self, port: u32) -> bool {
        port != 0 && (port == self.netlink.port() || self.runs.is_own(port))
    }

    /// Looks at everything, whole.
    ///
    /// # Errors
    /// When anything could not be read whole.
    pub async fn look(&mut self) -> Result<Observed, AgentError> {
        let failed = |doing| move |cause| AgentError::Netlink { doing, cause };
        let links = look::links(&mut self.netlink).map_err(failed("list the links"))?;
        let routes = look::routes(&mut self.netlink).map_err(failed("list the routes"))?;
        let entries =
            tunnel::entries(&mut self.netlink, &links).map_err(failed("list what the tunnels know"))?;
        let sysctls = sysctls::read(&links)?;
        let table = match &self.table {
            KnownTable::Read(table) => table.clone(),
            KnownTable::Unknown => {
                let table = nft::read(&mut self.runs).await?;
                self.table = KnownTable::Read(table.clone());
                table
            }
        };
        let docker = self.look_at_docker().await?;
        Ok(Observed { links, routes, entries, sysctls, table, docker, firewalld: self.firewalld.clone() })
    }

    async fn look_at_docker(&mut self) -> Result<Option<Seen>, AgentError> {
        if self.docker.is_none()
            && let Some(engine) = &self.engine
        {
            let mut docker =
                chains::look(&mut self.runs, engine, self.flavour).await.map_err(AgentError::Chains)?;
            if let Backend::Iptables(flavour) = docker.engine.backend {
                self.flavour = Some(flavour);
            }
            self.find_veths(&mut docker);
            self.docker = Some(docker);
        }
        Ok(self.docker.clone())
    }

    /// Whoever is not found (a kernel before 4.20, a container that is ending) is known without its veth.
    fn find_veths(&mut self, docker: &mut Seen) {
        let veths = veths::by_other_end(&mut self.netlink).unwrap_or_default();
        for endpoint in &mut docker.endpoints {
            endpoint.veth = veths.get(&endpoint.mac).cloned();
        }
    }

    /// Ends connections of the cluster that began while somebody rewrote their source addresses, and says how many.
    pub fn end_rewritten(&mut self, table: &Table) -> usize {
        let members = |names: [&str; 2]| {
            let sets = names.into_iter().filter_map(|name| table.sets.get(name));
            sets.flat_map(|set| &set.elements).filter_map(Element::prefix).collect()
        };
        let pairs = Pairs { local: members(["local4", "local6"]), peers: members(["peers4", "peers6"]) };
        conntrack::end_rewritten(&pairs).unwrap_or_else(|error| {
            tracing::warn!(
                error = crate::error::chain(&error),
                "connections that began before stay as they are"
            );
            0
        })
    }

    /// Does the steps in their order. A step that fails does not keep the others from being tried: a host with
    /// one route less is better than one with none.
    ///
    /// # Errors
    /// The first that failed.
    pub async fn apply(&mut self, plan: &Plan) -> Result<(), AgentError> {
        let mut first_error = None;
        for group in plan.steps.chunk_by(|one, other| Thing::of(one) == Thing::of(other)) {
            let Some(thing) = group.first().map(Thing::of) else { continue };
            let outcome = self.apply_group(thing, group).await;
            let failed = outcome.as_ref().map_or_else(|failure| failure.steps.min(group.len()), |()| 0);
            self.done.applied.add(thing, (group.len() - failed) as u64);
            self.done.failed.add(thing, failed as u64);
            if let Err(Failure { first, .. }) = outcome {
                tracing::warn!(error = crate::error::chain(&first), "a step failed");
                first_error.get_or_insert(first);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    /// What came of steps since this was last asked.
    pub fn take_done(&mut self) -> Done {
        std::mem::take(&mut self.done)
    }

    async fn apply_group(&mut self, thing: Thing, steps: &[Step]) -> Result<(), Failure> {
        match thing {
            Thing::Table => {
                self.table = KnownTable::Unknown;
                let all: String = steps.iter().filter_map(script).collect();
                let doing = steps.iter().map(Step::what).next().unwrap_or_default();
                let done = nft::apply(&mut self.runs, &all, &doing).await;
                // One transaction: all of it or nothing.
                done.map_err(|error| Failure { steps: steps.len(), first: error.into() })
            }
            Thing::DockerChain => self.apply_to_chains(steps).await,
            Thing::Setting => apply_sysctls(steps),
            Thing::Tunnel => {
                let refusals = tunnel::apply(&mut self.netlink, steps);
                refused(steps, "change tunnels", refusals)
            }
            Thing::Route => {
                let refusals = route::apply(&mut self.netlink, steps);
                refused(steps, "change routes", refusals)
            }
        }
    }

    async fn apply_to_chains(&mut self, steps: &[Step]) -> Result<(), Failure> {
        self.docker = None;
        let mut errors = Vec::new();
        for step in steps {
            errors.extend(chains::apply(&mut self.runs, step).await.err());
        }
        Failure::of(errors.into_iter().map(|error| AgentError::Chains(error.into())))
    }
}

/// What the kernel's refusals of steps mean; `doing` says what was asked of it.
fn refused(
    steps: &[Step],
    doing: &'static str,
    refusals: Result<Vec<(String, Refusal)>, NetlinkError>,
) -> Result<(), Failure> {
    let refusals = refusals
        .map_err(|cause| Failure { steps: steps.len(), first: AgentError::Netlink { doing, cause } })?;
    let failed = refusals.len();
    match refusals.into_iter().next() {
        Some((what, refusal)) => {
            let first = AgentError::Refused { what, others: failed - 1, cause: refusal.cause };
            Err(Failure { steps: failed, first })
        }
        None => Ok(()),
    }
}

fn apply_sysctls(steps: &[Step]) -> Result<(), Failure> {
    let write = |step: &Step| match step {
        Step::PutSysctl { sysctl, to, .. } => sysctls::write(sysctl, to).err(),
        _ => None,
    };
    Failure::of(steps.iter().filter_map(write).map(AgentError::from))
}

/// Steps of one sort that failed.
struct Failure {
    steps: usize,
    first: AgentError,
}

impl Failure {
    fn of(mut errors: impl Iterator<Item = AgentError>) -> Result<(), Self> {
        errors.next().map_or(Ok(()), |first| Err(Self { steps: 1 + errors.count(), first }))
    }
}
