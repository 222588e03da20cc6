//! MySQL and MariaDB, decoded from the bytes of a connection.
//!
//! ```text
//! Piece | Gap ──> Watcher ──> Session ──> Direction (one each) ──> Conversation ──> Event
//!                   │                       │ compressed frames      │ login, commands, answers
//!                   └ is it MySQL? who is   └ packets to messages    └ parameters, prepared statements
//!                     the server?
//! ```
//!
//! An event borrows what was on the wire: texts are bytes, with the collation of the connection beside them. What
//! authenticates somebody is stepped over and in no event. Everything has a bound ([`Limits`]), and every statement says how
//! sure it is ([`Sureness`]).

mod answer;
mod bytes;
mod capabilities;
mod command;
mod complete;
mod compressed;
mod conversation;
mod dialogue;
mod direction;
mod event;
mod framing;
mod greeting;
mod identity;
mod listener;
mod parameters;
mod pending;
mod place;
mod session;
mod shape;
mod speech;
mod statements;
mod sureness;
pub mod text;
mod timing;
pub mod value;
mod watcher;

pub use capabilities::Capabilities;
pub use command::Command;
pub use compressed::Compression;
pub use dialogue::{Hear, News, Peers};
pub use event::{
    Answer, Asked, Context, Encrypted, Event, LoggedIn, Missed, MissedWhat, Outcome, Prepared, Request, Role,
    ServerError, Statement, Text,
};
pub use greeting::{Attributes, Greeting, Login};
pub use listener::{Bounds, Listener, Options, PORT};
pub use parameters::{Kind, LongData, Parameters, Rows};
pub use place::{Hole, Mark, Span};
pub use session::{Limits, Session, Start};
pub use sureness::{Doubt, Sureness};
pub use timing::{Timed, Timing};
pub use watcher::{Verdict, Watcher};
