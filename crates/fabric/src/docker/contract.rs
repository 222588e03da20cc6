//! The one table of what each engine does to cluster packets, and what we do about it.
//!
//! | engine | in the way of packets from peers | what lets them through |
//! |---|---|---|
//! | to 27 | FORWARD's policy | an accept in `DOCKER-USER` |
//! | 28.0, 28.1 | a drop per bridge; a raw drop per published port | `DOCKER-USER`; an accept at the top of raw PREROUTING |
//! | 28.2 and later | a drop per bridge; a raw drop per container | the same |
//! | 29 with nftables | drops in its own tables, which it rewrites at will | `allow-direct-routing`, `bridge-accept-fwmark` and our mark |
//! | any with `iptables=false` | nothing: outsiders get in too | nothing; our own table masquerades and keeps outsiders out |
//!
//! Sources: moby `libnetwork/drivers/bridge/setup_ip_tables_linux.go` (to 28.0) and `internal/iptabler`,
//! `internal/nftabler` (later); commits 27adcd596b (28.0.0, raw drop per published port), a0ff0a361e (28.2.0, per
//! container), 44a3453d73 (28.2.0, `allow-direct-routing`), cf1695bef1 (29.0.0, `bridge-accept-fwmark`). That each
//! recipe works was tried on engines 20.10.24, 26.1.5, 27.5.1, 28.0.4, 28.5.2 and 29.7.3.
//!
//! Against masquerading, which every engine does, the identity SNAT in our own table helps on all of them.

use serde::Serialize;

use super::{Backend, Engine, Flavour, Version};

/// What an engine asks of us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Contract {
    /// With which iptables our accepts go into Docker's chains; none if there are none to write.
    pub accepts: Option<Accepts>,
    /// Options that the engine must be started with.
    pub daemon_options: &'static [&'static str],
    /// Whether our own table must set the mark that the engine accepts.
    pub mark: bool,
    /// Whether it has a drop of its own in raw for each container, which a flush takes.
    pub container_drops: bool,
    /// What brings Docker's own rules back after somebody flushed them.
    pub way_back: &'static str,
    /// One sentence on why.
    pub because: &'static str,
}

/// Accepts of ours in Docker's chains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Accepts {
    /// The iptables that Docker writes with.
    pub flavour: Flavour,
    /// Also in raw PREROUTING, above Docker's drops.
    pub raw: bool,
}

/// The mark that engines with the nftables backend are told to accept, and its mask.
pub const MARK: u32 = 0x0010_0000;

/// The daemon's options that let marked packets pass Docker's own nftables tables: the first takes away the drops
/// in raw, the second accepts the mark where packets are forwarded.
pub const OPTIONS: [&str; 2] = ["allow-direct-routing", "bridge-accept-fwmark"];

/// What holds for engines that write with iptables, from a version on.
#[derive(Debug, Clone, Copy)]
struct Row {
    from: Version,
    /// Accepts are needed in raw.
    raw: bool,
    container_drops: bool,
    way_back: &'static str,
    because: &'static str,
}

const IPTABLES: [Row; 4] = [
    Row {
        from: Version(28, 2, 0),
        raw: true,
        container_drops: true,
        way_back: RESTART,
        because: "since 28.2 Docker drops packets to every container that come in from outside",
    },
    Row {
        from: Version(28, 0, 0),
        raw: true,
        container_drops: false,
        way_back: RESTART,
        because: "since 28.0 Docker drops packets to published ports that come in from outside",
    },
    Row {
        from: Version(27, 0, 0),
        raw: false,
        container_drops: false,
        way_back: RESTART,
        because: "Docker lets nothing in but published ports",
    },
    OLDEST,
];

const OLDEST: Row = Row {
    from: Version(0, 0, 0),
    raw: false,
    container_drops: false,
    way_back: RESTART_AND_NETWORK,
    because: "Docker lets nothing in but published ports",
};

/// Docker writes its rules only when it starts. With live-restore, which a reload switches on, containers live on.
const RESTART: &str = "only a restart of Docker brings them back; containers go on through it if \"live-restore\": \
                       true is in daemon.json: `systemctl reload docker`, then `systemctl restart docker`";
/// To 26 an engine whose containers live on makes `DOCKER-USER` only with the next network (`setupUserChain` in
/// `NewNetwork`, moby `libnetwork/controller.go`; tried on 20.10 and 26.1.5, and on 27.5.1, which needs none).
const RESTART_AND_NETWORK: &str = "only a restart of Docker brings them back; containers go on through it if \"live-restore\": true is in \
     daemon.json: `systemctl reload docker`, then `systemctl restart docker`, then \
     `docker network create tmp && docker network rm tmp`";

/// What that engine asks of us.
#[must_use]
pub fn contract(engine: &Engine) -> Contract {
    match engine.backend {
        Backend::Off => Contract {
            accepts: None,
            daemon_options: &[],
            mark: false,
            container_drops: false,
            way_back: RESTART,
            because: "Docker writes no rules on this host (iptables=false)",
        },
        Backend::Nftables => Contract {
            accepts: None,
            daemon_options: &OPTIONS,
            mark: true,
            // Which containers have one is decided by its options, and so their absence says nothing.
            container_drops: false,
            way_back: RESTART,
            because: "Docker's own nftables tables can only be passed with options of the daemon",
        },
        Backend::Iptables(flavour) => {
            let row = IPTABLES.into_iter().find(|row| engine.version >= row.from).unwrap_or(OLDEST);
            Contract {
                accepts: Some(Accepts { flavour, raw: row.raw }),
                daemon_options: &[],
                mark: false,
                container_drops: row.container_drops,
                way_back: row.way_back,
                because: row.because,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(version: &str, backend: Backend) -> String {
        let contract = contract(&Engine { version: version.parse().expect("a version"), backend });
        let accepts = match contract.accepts {
            Some(Accepts { raw: true, .. }) => "DOCKER-USER and raw",
            Some(_) => "DOCKER-USER",
            None => "no accepts",
        };
        format!("{version}: {accepts}; {}; mark {}", contract.daemon_options.join(" "), contract.mark)
    }

    #[test]
    fn every_engine_has_its_row() {
        let nft = Backend::Iptables(Flavour::Nft);
        for expected in [
            "20.10.24: DOCKER-USER; ; mark false",
            "23.0.0: DOCKER-USER; ; mark false",
            "27.5.1: DOCKER-USER; ; mark false",
            "28.0.0: DOCKER-USER and raw; ; mark false",
            "28.1.1: DOCKER-USER and raw; ; mark false",
            "28.2.0: DOCKER-USER and raw; ; mark false",
            "29.7.3: DOCKER-USER and raw; ; mark false",
        ] {
            let version = expected.split(':').next().unwrap_or_default();
            assert_eq!(told(version, nft), expected);
        }
        assert_eq!(
            told("29.0.0", Backend::Nftables),
            "29.0.0: no accepts; allow-direct-routing bridge-accept-fwmark; mark true"
        );
        assert_eq!(told("28.5.2", Backend::Off), "28.5.2: no accepts; ; mark false");
    }
}
