//! Where the agent touches the world: one file per thing it touches.

pub mod chains;
pub mod docker;
pub mod inventory_file;
pub mod iptables;
pub mod look;
pub mod netlink;
pub mod nft;
pub mod notices;
pub mod only_one;
pub mod privileges;
pub mod program;
pub mod protocol_name;
pub mod route;
pub mod sysctls;
pub mod watch;
