//! What is told of a connection beside its statements: logins, TLS, compression, what could not be seen.

use std::collections::BTreeMap;

use byway_wire::mysql::text::{Charset, print};
use byway_wire::mysql::{Compression, Event, LoggedIn, MissedWhat, News, Peers, Role, ServerError};
use byway_wire::stream::{End, Missing};

/// One thing about a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) peers: Peers,
    /// In nanoseconds since 1970, if it has a time of its own.
    pub(super) time_ns: Option<u64>,
    /// What it is about, for programs.
    pub(super) kind: &'static str,
    /// The same for people.
    pub(super) text: String,
    /// What a client tells of itself, by name.
    pub(super) attributes: BTreeMap<String, String>,
}

impl Note {
    /// What is worth a line of its own.
    pub(super) fn of(peers: &Peers, news: &News<'_>) -> Option<Self> {
        let (time_ns, kind, text) = match news {
            News::Said(event, _) => of_event(event)?,
            News::Agreed(agreed) => (None, "tls", agreed.to_string()),
            News::Sealed(why) => (None, "sealed", format!("its TLS is not read: {why}")),
            News::Over(End::Reset { .. }, _) => (None, "reset", "broken off by a reset".to_owned()),
            News::Over(..) | News::Timing(..) => return None,
        };
        Some(Self { peers: *peers, time_ns, kind, text, attributes: attributes(news) })
    }

    /// Whether all is well: who looks for slow statements or errors does not want to know.
    pub(super) fn is_ordinary(&self) -> bool {
        matches!(self.kind, "login" | "logged_in" | "compressed")
    }
}

fn attributes(news: &News<'_>) -> BTreeMap<String, String> {
    let News::Said(Event::Login(login, _), _) = news else { return BTreeMap::new() };
    login.attributes.iter().map(|(name, value)| (printed(name), printed(value))).collect()
}

type Told = (Option<u64>, &'static str, String);

fn of_event(event: &Event<'_>) -> Option<Told> {
    Some(match event {
        Event::Login(login, mark) => {
            let program = login
                .attributes
                .iter()
                .find(|(name, _)| *name == b"program_name" || *name == b"_client_name");
            let by = program.map_or_else(String::new, |(_, value)| format!(" by {}", printed(value)));
            (Some(mark.time_ns), "login", format!("login as {}{by}", printed(login.user)))
        }
        Event::LoggedIn(LoggedIn { context, refused, plugin, .. }, mark) => {
            let who = context.user.map_or_else(|| "somebody".to_owned(), printed);
            let text = match refused {
                None => {
                    let database = context.database.filter(|name| !name.is_empty());
                    let database = database.map_or_else(String::new, |name| format!(" in {}", printed(name)));
                    let server = context
                        .version
                        .map_or_else(String::new, |name| format!(", server {}", printed(version(name))));
                    let plugin =
                        if plugin.is_empty() { String::new() } else { format!(", {}", printed(plugin)) };
                    format!("logged in as {who}{database}{server}{plugin}")
                }
                Some(error) => format!("login as {who} refused: {}", words(error)),
            };
            (Some(mark.time_ns), if refused.is_some() { "refused" } else { "logged_in" }, text)
        }
        Event::Encrypted(from) => (Some(from.time_ns), "encrypted", "encrypted from here on".to_owned()),
        Event::Compressed(how) => {
            let how = match how {
                Compression::Zlib => "zlib",
                Compression::Zstd => "zstd",
            };
            (None, "compressed", format!("compressed from here on, by {how}"))
        }
        Event::Unasked(error, mark) => {
            (Some(mark.time_ns), "unasked", format!("the server says: {}", words(error)))
        }
        Event::Missed(missed) => {
            let whose = if missed.role == Role::Client { "client" } else { "server" };
            let text = format!("{} bytes of the {whose} {}", missed.bytes, why(missed.what));
            (Some(missed.at.time_ns), "missed", text)
        }
        Event::Greeting(..) | Event::Asked(_) | Event::Statement(_) => return None,
    })
}

/// `MariaDB` greets as 5.5.5, and with its own version behind that, for old replicas that read one digit.
fn version(greeted: &[u8]) -> &[u8] {
    let own = greeted.strip_prefix(b"5.5.5-").filter(|own| own.windows(7).any(|word| word == b"MariaDB"));
    own.unwrap_or(greeted)
}

/// Why bytes could not be read, in words.
pub(super) fn why(what: MissedWhat) -> &'static str {
    match what {
        MissedWhat::Gap(Missing::Lost) => "were not seen",
        MissedWhat::Gap(Missing::Cut) => "were cut off when they were captured",
        MissedWhat::Gap(Missing::GivenUp) => "were given up as too much waited for them",
        MissedWhat::Unaligned => "stand where it was not known where a message begins",
        MissedWhat::WithoutRequest => "answer requests that were not seen",
        MissedWhat::Damaged => "were compressed and could not be opened",
    }
}

/// An error of the server in a line: `1146 (42S02): Table 'a.b' doesn't exist`.
fn words(error: &ServerError<'_>) -> String {
    let state = if error.state.is_empty() { String::new() } else { format!(" ({})", printed(error.state)) };
    format!("{}{state}: {}", error.code, printed(error.message))
}

/// A name of the protocol as people read it.
pub(super) fn printed(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    print(bytes, Charset::default(), &mut out);
    String::from_utf8_lossy(&out).into_owned()
}
