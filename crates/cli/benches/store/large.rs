//! One agent among 5,000 hosts: memory, what a change of one host costs, and what it takes when all of them start again.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use byway_agent::store::{Records, Shared};
use byway_fabric::cluster::{Host, HostName};
use byway_fabric::lease;
use byway_lab::etcd::{Members, Tls};
use byway_lab::{Lab, Options, Spread};

use crate::ears::{self, Ears};
use crate::verdict::{Samples, Sheet, Unit};

/// Hosts beside the one that is measured.
const HOSTS: u32 = 5_000;
/// Resident memory of the agent, in MiB.
const MEMORY_LIMIT: f64 = 64.0;
/// CPU time for a change of one host, in seconds.
const CHANGE_LIMIT: f64 = 0.01;
/// How many hosts change, one after the other.
const CHANGES: u32 = 20;
const PATIENCE: Duration = Duration::from_mins(3);
const ADDRESS: &str = "192.168.199.42";

pub(crate) fn measure(sheet: &mut Sheet) -> Result<()> {
    let stage = Stage::raise()?;
    let mut ears = Ears::open(&stage.lab, &["docker41".to_owned()])?;
    stage.lab.start_agent("docker41")?;
    let all = HOSTS as usize;
    ears.until(PATIENCE, |heard| heard.routes.len() >= all)?;
    let pid = stage.lab.agent_pid("docker41")?;
    let mut spent = Samples::default();
    for nth in 0..CHANGES {
        let before = cpu_seconds(pid)?;
        let host = host(HOSTS + nth)?;
        let wanted = host.subnets[0];
        stage.change(&|registry| lease::list(registry, &host).map(Some))?;
        ears.until(PATIENCE, |heard| heard.routes.contains_key(&wanted))?;
        spent.add(at_rest(pid)? - before);
    }
    sheet.limit("one of 5,000 hosts is new: CPU time of an agent", &spent, CHANGE_LIMIT);
    stage.all_start_again()?;
    at_rest(pid)?;
    sheet.unit(Unit::Mebibytes);
    let memory = Samples::from_iter([memory_mebibytes(pid, "VmHWM:")?]);
    sheet.limit_for_all("5,000 hosts, all written anew: the most memory of an agent", &memory, MEMORY_LIMIT);
    sheet.told("and afterwards", &Samples::from_iter([memory_mebibytes(pid, "VmRSS:")?]));
    sheet.unit(Unit::Seconds);
    Ok(())
}

struct Stage {
    lab: Lab,
    shared: Shared,
    _members: Members,
}

fn host(nth: u32) -> Result<Host> {
    Ok(Host {
        name: HostName::try_from(format!("h{nth}"))?,
        addresses: vec![format!("192.168.199.{}", 100 + nth % 100).parse()?],
        subnets: vec![format!("10.{}.{}.0/24", nth / 256, nth % 256).parse()?],
        key: None,
    })
}

impl Stage {
    fn raise() -> Result<Self> {
        let topology = Spread { hosts: 2, containers: 0, segments: 1 }.topology();
        let endpoint = format!("http://{ADDRESS}:2379");
        let byway = env!("CARGO_BIN_EXE_byway");
        let options = Options::private(byway.as_ref()).without_agents();
        let lab = Lab::up(&topology, &options.with_agent([byway, "agent", "--etcd", &endpoint]), |_| {})?;
        let members = Members::start_in(&lab, "docker42", ADDRESS.parse()?, 1, Tls::Without, &[])?;
        let stage = Self { lab, shared: ears::shared(&endpoint)?, _members: members };
        // None of the 5,000 is there; what trying them costs is told by the bench `health`.
        ears::without_health(&stage.lab, "docker41")?;
        let init = ["--etcd", &endpoint, "store", "init", "--prefix", "10.0.0.0/8"];
        let done = stage.lab.command("docker42", byway).args(init).output()?;
        ensure!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        stage.write(&|nth| format!("{{\"addresses\":[\"{ADDRESS}\"],\"key\":null,\"nth\":{nth}}}"))?;
        Ok(stage)
    }

    fn change(
        &self,
        decide: &(dyn Fn(&lease::Registry) -> Result<Option<lease::Transaction>, String> + Sync),
    ) -> Result<()> {
        let work = || {
            ears::within(async {
                let mut records = Records::open(&self.shared).await?;
                records.change("change a host", decide).await?;
                Ok(())
            })
        };
        self.lab.inside("docker42", work)?
    }

    /// Writes what each host says of itself, and its subnet. All of them are at one address: the lab has no 5,000
    /// neighbours, and a route asks for none.
    fn write(&self, value: &(dyn Fn(u32) -> String + Sync)) -> Result<()> {
        use byway_agent::edge::etcd::{Etcd, Transaction};
        /// Two keys each: what etcd takes as one transaction.
        const AT_ONCE: u32 = 60;
        let work = || {
            ears::within(async {
                let etcd = Etcd::connect(&self.shared.options).await?;
                for first in (0..HOSTS).step_by(AT_ONCE as usize) {
                    let all = first..(first + AT_ONCE).min(HOSTS);
                    let transaction = all.fold(Transaction::new("write hosts"), |transaction, nth| {
                        let subnet = format!("subnets/10.{}.{}.0-24", nth / 256, nth % 256);
                        let reserved = format!("{{\"state\":\"reserved\",\"name\":\"h{nth}\"}}");
                        let listed = format!("listed/h{nth}");
                        transaction.put(subnet, reserved, None).put(listed, value(nth), None)
                    });
                    etcd.commit(&transaction).await?;
                }
                Ok(())
            })
        };
        self.lab.inside("docker42", work)?
    }

    fn all_start_again(&self) -> Result<()> {
        self.write(&|nth| format!("{{\"addresses\":[\"{ADDRESS}\"],\"again\":{nth}}}"))
    }
}

/// Waits until it spends no more; what it has spent until then, in seconds.
fn at_rest(pid: u32) -> Result<f64> {
    /// Longer than it waits for anything of its own, but its rounds.
    const QUIET: Duration = Duration::from_millis(200);
    loop {
        let before = cpu_seconds(pid)?;
        std::thread::sleep(QUIET);
        let after = cpu_seconds(pid)?;
        if after - before < 1e-4 {
            return Ok(after);
        }
    }
}

fn cpu_seconds(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat"))?;
    let nanos: u64 = text.split(' ').next().context("an empty schedstat")?.parse()?;
    Ok(Duration::from_nanos(nanos).as_secs_f64())
}

fn memory_mebibytes(pid: u32, field: &str) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let memory = status.lines().find_map(|line| line.strip_prefix(field)).context("no memory in status")?;
    let kibibytes: u32 = memory.trim().trim_end_matches(" kB").parse().context("a number of kB")?;
    Ok(f64::from(kibibytes) / 1024.0)
}
