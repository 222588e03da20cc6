//! What can go wrong in the agent: each says what we were doing to what, and keeps its cause.

use std::io;
use std::path::PathBuf;

use byway_fabric::mistake::Mistakes;

use crate::edge::netlink::NetlinkError;
use crate::edge::nft::NftError;
use crate::edge::only_one::LockError;
use crate::edge::privileges::MissingCapability;
use crate::edge::program::ProgramError;
use crate::edge::sysctls::SysctlError;
use crate::state::StateError;

/// An error of the agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Not allowed.
    #[error("byway may not change the network of this host")]
    MayNot(#[from] MissingCapability),
    /// Another agent is there.
    #[error("this agent does not start")]
    NotAlone(#[from] LockError),
    /// The state is unusable.
    #[error("keep what must survive a restart")]
    State(#[from] StateError),
    /// The inventory cannot be read at all.
    #[error("read the inventory {}", path.display())]
    ReadInventory {
        /// The file.
        path: PathBuf,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// The inventory has mistakes, and no good one is known.
    #[error("the inventory has mistakes")]
    Inventory(#[source] Mistakes),
    /// This host is not listed.
    #[error("{0}")]
    NotListed(String),
    /// No agent has heard from etcd on this host.
    #[error("nothing is known of the cluster in {0}: no agent of this host has heard from it yet")]
    NothingHeard(String),
    /// Without an id this host cannot take part.
    #[error("take part in the cluster")]
    Id(#[from] crate::store::IdError),
    /// The kernel's routes.
    #[error("{doing}")]
    Netlink {
        /// What we were doing.
        doing: &'static str,
        /// The reason.
        #[source]
        cause: NetlinkError,
    },
    /// The kernel refused steps.
    #[error("the kernel refused to {what}{}", if *others > 0 { format!(" and {others} other steps") } else { String::new() })]
    Refused {
        /// The first step that it refused.
        what: String,
        /// How many more.
        others: usize,
        /// The reason for the first.
        #[source]
        cause: io::Error,
    },
    /// A setting.
    #[error("kernel settings")]
    Sysctl(#[from] SysctlError),
    /// The table.
    #[error("nftables")]
    Nft(#[from] NftError),
    /// The chains that Docker shares.
    #[error("Docker's chains")]
    Chains(#[source] NftError),
    /// Something to listen to.
    #[error("listen to {what}")]
    Listen {
        /// To what.
        what: String,
        /// The reason.
        #[source]
        cause: io::Error,
    },
    /// A plan that breaks a rule of the house.
    #[error("the plan would {0}; nothing was done")]
    BadPlan(String),
}

impl AgentError {
    /// What to do about it, if we know.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::ReadInventory { path, cause } if cause.kind() == io::ErrorKind::NotFound => Some(format!(
                "`byway host add NAME --address ADDRESS --subnet SUBNET` writes {} (docs/inventory.md)",
                path.display()
            )),
            Self::NotAlone(LockError::Taken { .. }) => {
                Some("`byway status` asks it; one agent keeps a host".to_owned())
            }
            Self::NothingHeard(_) => {
                Some("start the agent; it writes down what it hears, below its state folder".to_owned())
            }
            Self::NotAlone(LockError::Open { .. }) => Some("run it as root, or with sudo".to_owned()),
            Self::Nft(NftError::Program(ProgramError::Missing { .. })) => {
                Some("apt install nftables".to_owned())
            }
            Self::Chains(NftError::Program(ProgramError::Missing { program, .. })) => {
                let package = if *program == "nft" { "nftables" } else { "iptables" };
                Some(format!("Docker writes its rules with {package}: apt install {package}"))
            }
            _ => None,
        }
    }
}

/// An error and its causes as one line.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    links(error).join(": ")
}

/// An error and its causes, outermost first.
#[must_use]
pub fn links(error: &dyn std::error::Error) -> Vec<String> {
    std::iter::successors(Some(error), |error| error.source()).map(ToString::to_string).collect()
}
