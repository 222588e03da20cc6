//! What should be, what to change, where a packet went.
//!
//! This room only thinks. It knows nothing of netlink, files, clocks or processes: inventories, snapshots
//! of the kernel and times come in as values, and plans, sentences and file texts go out as values.
//!
//! ```text
//! inventory text ──> Inventory ──┐
//!                                ├──> Desired ──┐
//! snapshot ──────> Observed ─────┘              ├──> Plan (steps, each with its reason)
//!                     └─────────────────────────┘
//! ```

pub mod cluster;
pub mod config;
pub mod desired;
pub mod docker;
pub mod evidence;
pub mod firewalld;
pub mod health;
pub mod inventory;
pub mod journey;
pub mod lease;
pub mod lookup;
pub mod mistake;
pub mod mysql;
pub mod observed;
pub mod path;
pub mod plan;
pub mod problem;
pub mod reach;
pub mod render;
pub mod sysctl;
pub mod table;
mod toml_text;
pub mod trace;
pub mod tunnel;
