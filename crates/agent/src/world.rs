//! Everything that the agent looks at and changes, gathered: look whole, then do a plan's steps in order.

use byway_fabric::docker::{Backend, Flavour, Seen};
use byway_fabric::firewalld::Firewalld;
use byway_fabric::observed::Observed;
use byway_fabric::plan::{Plan, Step};
use byway_fabric::table::{Element, Table};

use crate::edge::conntrack::{self, Pairs};
use crate::edge::docker::Engine;
use crate::edge::netlink::Netlink;
use crate::edge::nft::{self, script};
use crate::edge::program::Runs;
use crate::edge::{chains, look, route, sysctls, veths};
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
        Ok(Observed { links, routes, sysctls, table, docker, firewalld: self.firewalld.clone() })
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
        for group in plan.steps.chunk_by(|one, other| hand(one) == hand(other)) {
            if let Err(error) = self.apply_group(group).await {
                tracing::warn!(error = crate::error::chain(&error), "a step failed");
                first_error.get_or_insert(error);
            }
        }
        first_error.map_or(Ok(()), Err)
    }

    async fn apply_group(&mut self, steps: &[Step]) -> Result<(), AgentError> {
        match steps.first().map(hand) {
            Some(Hand::Nft) => {
                self.table = KnownTable::Unknown;
                let all: String = steps.iter().filter_map(script).collect();
                let doing = steps.iter().map(Step::what).next().unwrap_or_default();
                Ok(nft::apply(&mut self.runs, &all, &doing).await?)
            }
            Some(Hand::Chain) => {
                self.docker = None;
                chains::apply(&mut self.runs, steps).await.map_err(|error| AgentError::Chains(error.into()))
            }
            Some(Hand::Sysctl) => apply_sysctls(steps),
            Some(Hand::Route) => self.apply_routes(steps),
            None => Ok(()),
        }
    }

    fn apply_routes(&mut self, steps: &[Step]) -> Result<(), AgentError> {
        let refusals = route::apply(&mut self.netlink, steps)
            .map_err(|cause| AgentError::Netlink { doing: "change routes", cause })?;
        let others = refusals.len().saturating_sub(1);
        match refusals.into_iter().next() {
            Some((what, refusal)) => Err(AgentError::Refused { what, others, cause: refusal.cause }),
            None => Ok(()),
        }
    }
}

fn apply_sysctls(steps: &[Step]) -> Result<(), AgentError> {
    let mut first_error = None;
    for step in steps {
        if let Step::PutSysctl { sysctl, to, .. } = step
            && let Err(error) = sysctls::write(sysctl, to)
        {
            first_error.get_or_insert(error);
        }
    }
    first_error.map_or(Ok(()), |error| Err(error.into()))
}

/// By what a step is done.
#[derive(PartialEq)]
enum Hand {
    Nft,
    Chain,
    Sysctl,
    Route,
}

fn hand(step: &Step) -> Hand {
    match step {
        Step::PutTable { .. }
        | Step::PutElements { .. }
        | Step::DelElements { .. }
        | Step::DelTable { .. } => Hand::Nft,
        Step::MendChain { .. } => Hand::Chain,
        Step::PutSysctl { .. } => Hand::Sysctl,
        Step::PutRoute { .. } | Step::DelRoute { .. } => Hand::Route,
    }
}
