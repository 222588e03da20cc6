//! `MariaDB` and its clients on the wire, and what the server has logged.

#![allow(clippy::unwrap_used, reason = "for tests only")]

#[path = "../common/mod.rs"]
mod common;

mod chosen;
mod damaged;
mod decoded;
mod imperfect;
mod rig;
mod truth;
mod tshark;
