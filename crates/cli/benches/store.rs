//! A cluster in one etcd: how long until a host that is new there has its route on every other host, and until hosts that
//! start all at once have theirs; by the number of hosts.

#[path = "store/ears.rs"]
mod ears;
#[path = "store/large.rs"]
mod large;
#[path = "../../fabric/benches/verdict/mod.rs"]
mod verdict;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use byway_agent::store::{Records, Shared};
use byway_fabric::cluster::{Host, HostName};
use byway_fabric::lease;
use byway_lab::etcd::{Members, Tls};
use byway_lab::{Lab, Options, Spread};
use ears::Ears;
use ipnet::IpNet;
use verdict::{Samples, Sheet};

/// How many hosts there are.
const SIZES: [usize; 4] = [10, 50, 100, 200];
/// The size to which the limits belong.
const LIMITED: usize = 100;
/// From the commit to the route on another host, in seconds: the median, and what 99 of 100 must keep.
const MEDIAN_LIMIT: f64 = 0.1;
const P99_LIMIT: f64 = 0.5;
/// From the start of the first agent to the last route, in seconds.
const START_LIMIT: f64 = 30.0;
/// How many hosts come, one after the other.
const COMERS: u8 = 20;
/// What may take longest: hundreds of agents that start at once on few processors.
const PATIENCE: Duration = Duration::from_mins(3);
/// The subnets of the lab's hosts lie in them, and those of who comes.
const PREFIXES: &str = "172.0.0.0/8,fd00:172::/32";

fn main() -> Result<ExitCode> {
    let mut sheet = Sheet::new("Hosts of a cluster in one etcd");
    for hosts in SIZES {
        let stage = Stage::raise(hosts)?;
        let started = stage.start()?;
        let name = format!("{hosts} agents started at once: all {} routes present", hosts * (hosts - 1));
        let is_limited = hosts == LIMITED;
        if is_limited {
            sheet.limit_for_all(&name, &Samples::from_iter([started]), START_LIMIT);
        } else {
            sheet.told(&name, &Samples::from_iter([started]));
        }
        let mut seen: Vec<f64> = Vec::new();
        for nth in 0..COMERS {
            seen.extend(stage.one_comes(nth)?);
        }
        seen.sort_by(f64::total_cmp);
        let p99 = Samples::from_iter([seen[seen.len() * 99 / 100]]);
        let all: Samples = seen.into_iter().collect();
        let name = format!("{hosts} hosts: a host committed -> its route in another's kernel");
        if is_limited {
            sheet.limit(&name, &all, MEDIAN_LIMIT);
            sheet.limit_for_all("the same, 99th of 100", &p99, P99_LIMIT);
        } else {
            sheet.told(&name, &all);
            sheet.told("the same, 99th of 100", &p99);
        }
    }
    large::measure(&mut sheet)?;
    Ok(sheet.finish())
}

/// Hosts without agents, and an etcd on one more of them.
struct Stage {
    lab: Lab,
    hosts: Vec<String>,
    store: String,
    shared: Shared,
    _members: Members,
}

impl Stage {
    fn raise(hosts: usize) -> Result<Self> {
        let topology = Spread { hosts: hosts + 1, containers: 0, segments: 1 }.topology();
        let last = topology.hosts.last().context("no host")?;
        let (store, address) = (last.name.clone(), last.addresses[0]);
        let endpoint = format!("http://{address}:2379");
        let byway = env!("CARGO_BIN_EXE_byway");
        let options = Options::private(byway.as_ref()).without_agents();
        let agent = [byway, "agent", "--etcd", &endpoint];
        let lab = Lab::up(&topology, &options.with_agent(agent), |_| {})?;
        let members = Members::start_in(&lab, &store, address, 1, Tls::Without, &[])?;
        let init = ["--etcd", &endpoint, "store", "init", "--prefix", PREFIXES, "--ipv4-length", "16"];
        let done = lab.command(&store, byway).args(init).output()?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        for host in &topology.hosts[..hosts] {
            ears::without_health(&lab, &host.name)?;
        }
        let names = topology.hosts[..hosts].iter().map(|host| host.name.clone());
        let shared = ears::shared(&endpoint)?;
        Ok(Self { hosts: names.collect(), lab, store, shared, _members: members })
    }

    /// Starts all agents, and waits until every host has a route to every other; the seconds.
    fn start(&self) -> Result<f64> {
        let mut ears = Ears::open(&self.lab, &self.hosts)?;
        let begun = Instant::now();
        for host in &self.hosts {
            self.lab.start_agent(host)?;
        }
        let others = self.hosts.len() - 1;
        let last = ears.until(PATIENCE, |heard| heard.routes.len() >= others)?;
        // None must be there twice or to oneself: the kernel would have said more.
        ensure!(
            last.iter().all(|heard| heard.routes.len() == others),
            "a host has routes that it should not have"
        );
        let end = last.iter().filter_map(|heard| heard.last).max().context("no routes")?;
        Ok(end.duration_since(begun).as_secs_f64())
    }

    /// Lists one more host, and waits until all have a route to it: the seconds that each took.
    fn one_comes(&self, nth: u8) -> Result<Vec<f64>> {
        // The lab's own begin with 172.41.
        let subnet: IpNet = format!("172.{nth}.0.0/16").parse()?;
        let host = Host {
            name: HostName::try_from(format!("comer{nth}"))?,
            addresses: vec!["192.168.199.1".parse()?],
            subnets: vec![subnet],
            key: None,
        };
        let mut ears = Ears::open(&self.lab, &self.hosts)?;
        let committed = self.lab.inside(&self.store, || ears::within(commit(&self.shared, &host)))??;
        let wanted = subnet;
        let heard = ears.until(PATIENCE, |heard| heard.routes.contains_key(&wanted))?;
        let seconds = heard.iter().map(|heard| {
            let at = heard.routes.get(&wanted).context("a route that was heard")?;
            Ok(at.saturating_duration_since(committed).as_secs_f64())
        });
        let seconds = seconds.collect::<Result<Vec<_>>>()?;
        self.lab.inside(&self.store, || ears::within(remove(&self.shared, &host.name)))??;
        ears.until(PATIENCE, |heard| !heard.routes.contains_key(&wanted))?;
        Ok(seconds)
    }
}

/// When it was sent, so that what it took to be committed is in the figure.
async fn commit(shared: &Shared, host: &Host) -> Result<Instant> {
    let mut records = Records::open(shared).await?;
    let begun = Instant::now();
    records.change("list a host", |registry| lease::list(registry, host).map(Some)).await?;
    Ok(begun)
}

async fn remove(shared: &Shared, name: &HostName) -> Result<()> {
    let mut records = Records::open(shared).await?;
    records.change("remove a host", |registry| lease::remove(registry, name).map(Some)).await?;
    Ok(())
}
