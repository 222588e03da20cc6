//! The beginning of a connection: greeting, login, and what proves who it is, which is stepped over.

use super::{Conversation, Emit, Flow, Phase};
use crate::mysql::answer::{self, Answering};
use crate::mysql::bytes::Bytes;
use crate::mysql::capabilities::Capabilities;
use crate::mysql::command::Command;
use crate::mysql::compressed::Compression;
use crate::mysql::event::{Encrypted, Event, LoggedIn, ServerError};
use crate::mysql::framing::Message;
use crate::mysql::greeting::{FirstWords, Greeting, Login};
use crate::mysql::identity::name;
use crate::mysql::place::Mark;
use crate::mysql::speech::Speech;

impl Conversation {
    pub(super) fn greeting(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Flow {
        let bytes = message.payload.bytes();
        if let Some(error) = answer::error(bytes) {
            return self.refused(error, message.span.last, emit);
        }
        let Some(greeting) = Greeting::read(bytes) else { return Flow::Lost };
        self.server = (greeting.capabilities, message.span.last.offset + 1);
        self.identity.version = Some(name(greeting.version));
        self.phase = Phase::Login;
        emit(Event::Greeting(greeting, message.span.first));
        Flow::On
    }

    pub(super) fn login(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Flow {
        match FirstWords::read(message.payload.bytes()) {
            Some(FirstWords::Login(login)) => {
                self.logs_in(&login);
                emit(Event::Login(login, message.span.last));
                Flow::On
            }
            Some(FirstWords::TlsPlease(capabilities)) => {
                let client_from = message.span.last.offset + 1;
                let time_ns = message.span.last.time_ns;
                emit(Event::Encrypted(Encrypted {
                    client_from,
                    server_from: self.server.1,
                    time_ns,
                    capabilities,
                }));
                Flow::Encrypted
            }
            None => Flow::Lost,
        }
    }

    pub(super) fn logs_in(&mut self, login: &Login<'_>) {
        // A MariaDB client leaves MySQL's flag out, and a MySQL client knows nothing of MariaDB's.
        self.speech = Speech::agreed(login.capabilities.both(self.server.0));
        self.identity.logs_in(login.user, login.database, Some(u16::from(login.collation)));
        self.phase = Phase::Auth { plugin: name(login.plugin), rounds: 0 };
    }

    pub(super) fn authentication(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Flow {
        let bytes = message.payload.bytes();
        if let Some(error) = answer::error(bytes) {
            return self.refused(error, message.span.last, emit);
        }
        let Phase::Auth { plugin, rounds } = &mut self.phase else { return Flow::Lost };
        *rounds = rounds.saturating_add(1);
        match bytes.first() {
            Some(0) => self.accepted(message, emit),
            Some(0xfe) => {
                if let Some(other) = Bytes(&bytes[1..]).until_nul() {
                    *plugin = name(other);
                }
                Flow::On
            }
            Some(1) => Flow::On,
            _ => Flow::Lost,
        }
    }

    pub(super) fn accepted(&mut self, message: &Message<'_>, emit: Emit<'_>) -> Flow {
        let mut answering = Answering::default();
        let _ = answering.message(Command::Ping, message, &mut self.speech);
        if let Some(database) = answering.database {
            self.identity.goes_to(&database);
        }
        self.logged_in(None, message.span.last, emit);
        self.phase = Phase::Commands;
        self.agreed_compression()
    }

    pub(super) fn agreed_compression(&self) -> Flow {
        let capabilities = self.speech.capabilities;
        if capabilities.has(Capabilities::COMPRESS) {
            Flow::Compressed(Compression::Zlib)
        } else if capabilities.has(Capabilities::ZSTD_COMPRESSION) {
            Flow::Compressed(Compression::Zstd)
        } else {
            Flow::On
        }
    }

    pub(super) fn refused(&mut self, error: ServerError<'_>, at: Mark, emit: Emit<'_>) -> Flow {
        self.logged_in(Some(error), at, emit);
        self.phase = Phase::Over;
        Flow::On
    }

    pub(super) fn logged_in(&self, refused: Option<ServerError<'_>>, at: Mark, emit: Emit<'_>) {
        let (plugin, rounds) = match &self.phase {
            Phase::Auth { plugin, rounds } => (plugin.as_slice(), *rounds),
            _ => (&[][..], 0),
        };
        let context = self.identity.context();
        let capabilities = self.speech.capabilities;
        emit(Event::LoggedIn(LoggedIn { context, refused, plugin, rounds, capabilities }, at));
    }

    /// Part of the login was lost: goes on with commands, with what is known of how they look.
    ///
    /// Gives what follows if that was agreed on before.
    pub(in crate::mysql) fn skip_login(&mut self) -> Flow {
        match self.phase {
            Phase::Commands | Phase::Over => Flow::On,
            Phase::Greeting | Phase::Login => {
                (self.phase, self.is_midstream) = (Phase::Commands, true);
                Flow::On
            }
            Phase::Auth { .. } => {
                self.phase = Phase::Commands;
                self.agreed_compression()
            }
        }
    }
}
