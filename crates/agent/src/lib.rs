//! Hears the world (the inventory, the kernel), asks fabric, does the steps.
//!
//! Everything that names a system call, a file of the kernel or a program of the host is under [`edge`];
//! the rest of this room only carries values between the edge and fabric.

pub mod edge;
pub mod error;
mod health;
pub mod keep;
pub mod key;
mod metrics;
pub mod once;
pub mod peers;
pub mod posts;
pub mod report;
mod serve;
pub mod state;
pub mod store;
pub mod trace;
mod ways;
pub mod world;
