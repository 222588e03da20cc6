//! One way between two nodes of a lab, with a station at each end.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use byway_lab::Lab;

use crate::processor::Core;
use crate::station::Station;
use crate::traffic::{Addresses, Cost, Door, Kind};

/// How long a way may take until it is open: Swarm's members tell each other where containers are.
const PATIENCE: Duration = Duration::from_secs(20);
/// Between two looks whether it is.
const PACE: Duration = Duration::from_millis(100);

/// One way, open.
#[derive(Debug)]
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) lab: Arc<Lab>,
    near: Station,
    far: Station,
    door: Arc<Door>,
    addresses: Addresses,
    core: Core,
}

/// The two ends of a way: nodes of its lab, and their addresses.
#[derive(Debug)]
pub(crate) struct Ends {
    pub(crate) near: (String, Ipv4Addr),
    pub(crate) far: (String, Ipv4Addr),
}

impl Way {
    pub(crate) fn open(name: &'static str, lab: Lab, ends: &Ends, core: &Core) -> Result<Self> {
        let lab = Arc::new(lab);
        let near = Station::open(&lab, &ends.near.0, core)?;
        let far = Station::open(&lab, &ends.far.0, core)?;
        let at = ends.far.1;
        let door = Arc::new(far.run(move || Door::open(at))?);
        let way = Self { name, lab, near, far, addresses: door.addresses()?, door, core: core.clone() };
        way.await_open(ends.near.1)?;
        Ok(way)
    }

    /// Waits until the far end is reached, and sees the near end's own address.
    fn await_open(&self, own: Ipv4Addr) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let addresses = self.addresses;
        loop {
            let why = match self.near.run(move || addresses.knock()) {
                Ok(_stream) => match self.accept_from()? {
                    from if from == own => return Ok(()),
                    from => format!("{own} arrives as {from}"),
                },
                Err(error) => format!("{error:#}"),
            };
            if Instant::now() > deadline {
                bail!("not open after {} s: {why}", PATIENCE.as_secs());
            }
            sleep(PACE);
        }
    }

    fn accept_from(&self) -> Result<IpAddr> {
        let door = self.door.clone();
        let (_, from) = self.far.run(move || door.accept())?;
        Ok(from.ip())
    }

    /// Sends that traffic, once.
    pub(crate) fn cost(&self, kind: &'static Kind) -> Result<Cost> {
        let (door, addresses, core) = (self.door.clone(), self.addresses, self.core.clone());
        let served = self.far.start(move || kind.serve(&door))?;
        let asked = self.near.start(move || kind.ask(&addresses, &core))?.end()?;
        kind.cost(&served.end()?, asked)
    }

    /// Ends its lab and waits until nothing of it is left.
    pub(crate) fn close(self) -> Result<()> {
        let Self { lab, near, far, .. } = self;
        for station in [near, far] {
            station.close()?;
        }
        Arc::into_inner(lab).context("the lab is still in use")?.down()
    }
}
