//! A real `MariaDB`, real clients and the real tcpdump, and what was really said: what decoding is compared with.
//!
//! ```text
//!   c41 ──── docker41 ════════════ docker42 ──── c42      two hosts of the lab, a container on each
//!   clients                                      mariadbd, which writes every statement into its log
//!      └─ tcpdump on any interface of the way ─┘
//! ```
//!
//! A [`stage::Stage`] is the lab with the server in it. A [`script::Script`] says who does what and where it is
//! captured; playing it makes a [`scene::Scene`]: captures, the secrets of encrypted connections, and the truth.
//! [`rewrite::Recording`] makes imperfect captures of it, and [`told::Told`] is what the program tells of any. All of it is gone with the lab, whatever happens.

#![allow(dead_code, unreachable_pub, reason = "each program uses its part")]

pub mod clients;
pub mod log;
pub mod rewrite;
pub mod scene;
pub mod script;
pub mod stage;
pub mod threads;
pub mod told;
