//! What passes between containers on real engines, and from and to the rest of the world.

#![allow(clippy::unwrap_used, reason = "for tests only")]

#[path = "../common/mod.rs"]
mod common;

mod answers;
mod between;
mod bulk;
mod networks;
mod published;
mod servers;
mod shop;
mod versions;
