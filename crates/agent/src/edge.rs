//! Where the agent touches the world: one file per thing it touches.

pub mod capture_file;
pub mod chains;
pub mod conntrack;
pub mod daemon_options;
pub mod docker;
pub mod firewalld;
pub mod inventory_file;
pub mod iptables;
pub mod look;
pub mod netlink;
pub mod nft;
pub mod notices;
pub mod only_one;
pub mod pcap_filter;
pub mod privileges;
pub mod program;
pub mod protocol_name;
pub mod ring;
pub mod route;
pub mod stop;
pub mod sysctls;
pub mod veths;
pub mod watch;
