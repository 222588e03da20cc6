//! A command that is over: what it said, what was answered, and what it has changed.

use std::mem;

use super::answer::Answering;
use super::bytes::Bytes;
use super::command::Command;
use super::conversation::{Conversation, Emit};
use super::event::{Event, Outcome, Request, Statement as Told, Text};
use super::greeting::ChangeUser;
use super::identity::{self, Change};
use super::parameters::{self, Execute, Parameters, Types};
use super::pending::{Pending, Request as Asked};
use super::speech::Speech;
use super::statements::{Statement, Statements};
use super::sureness::{Doubt, Sureness};

impl Conversation {
    /// The command at the front is over.
    pub(super) fn complete(&mut self, outcome: Outcome<'_>, emit: Emit<'_>) {
        let Some(Pending::Request(request)) = self.queue.pop() else { return };
        let answering = mem::take(&mut self.answering);
        let id = self.statements.meant(id_of(&request));
        // The types are lent out, since those of this message may replace them.
        let mut types = self.lend_types(&request, id);
        self.tell(&request, &answering, outcome, id, &mut types, emit);
        self.take_back(&request, id, types);
        self.apply(request, &answering, outcome, id);
    }

    fn lend_types(&mut self, request: &Asked, id: u32) -> Types {
        if !matches!(request.command(), Command::StmtExecute | Command::StmtBulkExecute) {
            return mem::take(&mut self.scratch);
        }
        let max = self.limits.statements_bytes_max;
        let mut types = self.statements.change(id, max, |statement| mem::take(&mut statement.types));
        types.are_fresh = false;
        types
    }

    fn take_back(&mut self, request: &Asked, id: u32, mut types: Types) {
        if !matches!(request.command(), Command::StmtExecute | Command::StmtBulkExecute) {
            self.scratch = types;
            return;
        }
        let (max, losses) = (self.limits.statements_bytes_max, request.losses);
        self.statements.change(id, max, |statement| {
            if !request.holes.is_empty() {
                // Other types may have been in what is missing.
                types.kinds.clear();
            }
            if types.are_fresh {
                statement.types_loss = losses;
            }
            statement.types = types;
        });
    }

    fn tell(
        &self,
        request: &Asked,
        answering: &Answering,
        outcome: Outcome<'_>,
        id: u32,
        types: &mut Types,
        emit: Emit<'_>,
    ) {
        let mut sureness = request.sureness;
        sureness.doubt_if(self.is_midstream, Doubt::Midstream);
        sureness.doubt_if(self.is_context_inferred, Doubt::ContextInferred);
        let reading = Reading { request, answering, id, statements: &self.statements, speech: self.speech };
        let said = reading.request(types, &mut sureness);
        emit(Event::Statement(Told {
            command: request.command(),
            request: said,
            asked: request.span,
            answered: answering.span,
            answer: answering.answer(outcome),
            context: self.identity.context(),
            sureness,
        }));
    }

    fn apply(&mut self, mut request: Asked, answering: &Answering, outcome: Outcome<'_>, id: u32) {
        let is_ok = outcome == Outcome::Ok;
        self.doubt_context(&request, outcome);
        match request.command() {
            Command::StmtPrepare => {
                self.prepared(&mut request, answering);
            }
            Command::StmtExecute | Command::StmtBulkExecute | Command::StmtFetch => {
                self.executed(&request, answering, id);
            }
            Command::StmtSendLongData => self.long_data(&request, id),
            Command::StmtClose => self.statements.close(id),
            Command::StmtReset => {
                self.statements
                    .change(id, self.limits.statements_bytes_max, |statement| statement.longs = Vec::new());
            }
            Command::InitDb if is_ok => self.identity.goes_to(text(&request).bytes),
            Command::Query if is_ok => self.queried(&request),
            Command::ChangeUser if is_ok => self.changed_user(&request),
            Command::ResetConnection if is_ok => {
                self.statements.clear();
                self.identity.collation = self.identity.login_collation;
            }
            _ => {}
        }
        if let Some(database) = &answering.database {
            self.identity.goes_to(database);
        }
        if let Some(charset) = &answering.client_charset {
            self.identity.writes_in(charset);
        }
        self.queue.spare(request.body);
    }

    /// What may have changed the context without being seen, or has set it anew.
    fn doubt_context(&mut self, request: &Asked, outcome: Outcome<'_>) {
        let changes = match request.command() {
            Command::InitDb | Command::ChangeUser | Command::ResetConnection => true,
            Command::Query => identity::change(text(request).bytes).is_some(),
            _ => false,
        };
        if !changes {
            return;
        }
        let is_seen = request.holes.is_empty() && request.sureness.is_certain();
        if outcome == Outcome::Unseen || outcome == Outcome::Ok && !is_seen {
            self.is_context_inferred = true;
        } else if outcome == Outcome::Ok && matches!(request.command(), Command::InitDb | Command::ChangeUser)
        {
            self.is_context_inferred = false;
        }
    }

    fn prepared(&mut self, request: &mut Asked, answering: &Answering) {
        let Some(prepared) = answering.prepared else { return self.statements.none_prepared() };
        let mut sureness = Sureness::default();
        sureness.doubt_if(
            !request.holes.is_empty() || request.sureness.has(Doubt::RequestCut),
            Doubt::PrepareHoled,
        );
        sureness.doubt_if(request.sureness.has(Doubt::RequestTooLong), Doubt::RequestTooLong);
        sureness.doubt_if(request.sureness.has(Doubt::AnswerInferred), Doubt::StatementInferred);
        let (length, losses) = (text(request).length, request.losses);
        let statement = Statement {
            types_loss: losses,
            seen_loss: losses,
            // Not the buffer itself: that has room for more, and statements may be many.
            body: request.body.as_slice().to_vec(),
            text_at: request.text_at,
            length,
            holes: mem::take(&mut request.holes),
            prepared: Some(prepared),
            sureness,
            ..Statement::default()
        };
        self.statements.put(prepared.id, statement, self.limits.statements_bytes_max);
    }

    fn executed(&mut self, request: &Asked, answering: &Answering, id: u32) {
        let is_fetch = request.command() == Command::StmtFetch;
        let losses = request.losses;
        self.statements.change(id, self.limits.statements_bytes_max, |statement| {
            if !is_fetch {
                statement.longs = Vec::new();
                (statement.fetches, statement.rows, statement.seen_loss) = (0, 0, losses);
            }
            statement.fetches = statement.fetches.saturating_add(u32::from(is_fetch));
            statement.rows = statement.rows.saturating_add(answering.rows);
        });
    }

    fn long_data(&mut self, request: &Asked, id: u32) {
        let mut bytes = Bytes(request.arguments());
        let (Some(_), Some(parameter)) = (bytes.u32(), bytes.u16()) else { return };
        let limits = (self.limits.long_data_bytes_max, self.limits.statements_bytes_max);
        self.statements.long_data(id, parameter, bytes.0, request.length.saturating_sub(7), limits);
    }

    fn queried(&mut self, request: &Asked) {
        match identity::change(text(request).bytes) {
            Some(Change::Database(name)) => self.identity.goes_to(name),
            Some(Change::Charset(name)) => self.identity.writes_in(name),
            None => {}
        }
    }

    fn changed_user(&mut self, request: &Asked) {
        self.statements.clear();
        let Some(change) = ChangeUser::read(request.arguments(), self.speech.capabilities) else { return };
        self.identity.logs_in(change.user, change.database, change.collation);
    }
}

/// The text of a command, or what is behind its first byte.
pub(super) fn text(request: &Asked) -> Text<'_> {
    let bytes = request.body.get(request.text_at..).unwrap_or_default();
    Text { bytes, length: request.length.saturating_sub(request.text_at as u64), holes: &request.holes }
}

/// The number of the statement that a command is about; 0, which none has, if it is about none.
fn id_of(request: &Asked) -> u32 {
    match request.command() {
        Command::StmtExecute
        | Command::StmtBulkExecute
        | Command::StmtFetch
        | Command::StmtSendLongData
        | Command::StmtClose
        | Command::StmtReset => Bytes(request.arguments()).u32().unwrap_or(0),
        _ => 0,
    }
}

/// What is needed to read what a command said.
struct Reading<'a> {
    request: &'a Asked,
    answering: &'a Answering,
    id: u32,
    statements: &'a Statements,
    speech: Speech,
}

impl<'a> Reading<'a> {
    fn request(&self, types: &'a mut Types, sureness: &mut Sureness) -> Request<'a> {
        let (id, arguments) = (self.id, self.request.arguments());
        let number = |at: usize| Bytes(arguments.get(at..).unwrap_or_default()).u32().unwrap_or(0);
        match self.request.command() {
            Command::Query => Request::Query { text: text(self.request), attributes: self.attributes(types) },
            Command::StmtPrepare => {
                Request::Prepare { text: text(self.request), prepared: self.answering.prepared }
            }
            Command::StmtExecute => self.execute(types, sureness),
            Command::StmtBulkExecute => self.bulk(types, sureness),
            Command::StmtFetch => self.fetch(number(4), sureness),
            Command::StmtSendLongData => {
                let parameter =
                    arguments.get(4..6).map_or(0, |bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
                Request::LongData { id, parameter, length: self.request.length.saturating_sub(7) }
            }
            Command::StmtClose | Command::StmtReset => Request::Id { id, text: self.statement(sureness) },
            Command::ChangeUser => match ChangeUser::read(arguments, self.speech.capabilities) {
                Some(ChangeUser { user, database, .. }) => Request::ChangeUser { user, database },
                None => Request::Rest(self.request.length.saturating_sub(1)),
            },
            Command::InitDb | Command::FieldList | Command::CreateDb | Command::DropDb => {
                Request::Name(text(self.request))
            }
            Command::BinlogDump => Request::Name(Text {
                // Position (4 bytes), flags (2) and the replica's number (4) are in front of the file's name.
                bytes: arguments.get(10..).unwrap_or_default(),
                length: self.request.length.saturating_sub(11),
                holes: &self.request.holes,
            }),
            Command::ProcessKill => Request::Number(number(0)),
            Command::SetOption => Request::Number(
                arguments.get(..2).map_or(0, |bytes| u32::from(u16::from_le_bytes([bytes[0], bytes[1]]))),
            ),
            _ => Request::Rest(self.request.length.saturating_sub(1)),
        }
    }

    fn attributes(&self, types: &'a mut Types) -> Parameters<'a> {
        // Behind the first byte alone there are none.
        if self.request.text_at <= 3 || !self.request.holes.is_empty() {
            return Parameters::default();
        }
        parameters::query_attributes(self.request.arguments(), types)
            .map_or_else(Parameters::default, |(all, _)| all)
    }

    fn statement(&self, sureness: &mut Sureness) -> Option<Text<'a>> {
        let known = self.statements.get(self.id).and_then(|statement| Some((statement, statement.text()?)));
        let Some((statement, text)) = known else {
            sureness.doubt(Doubt::StatementUnknown);
            return None;
        };
        statement.sureness.iter().for_each(|doubt| sureness.doubt(doubt));
        Some(text)
    }

    /// How many place holders the statement has, if that is known.
    fn place_holders(&self) -> Option<u16> {
        let prepared = self.statements.get(self.id)?.prepared?;
        Some(prepared.place_holders)
    }

    fn execute(&self, types: &'a mut Types, sureness: &mut Sureness) -> Request<'a> {
        let text = self.statement(sureness);
        let place_holders = self.place_holders();
        let execute = Execute::read(self.request.arguments());
        let raw = execute.map_or(&[][..], |execute| execute.raw());
        let longs = self.statements.get(self.id).map_or(&[][..], |statement| &statement.longs);
        let is_readable = self.is_readable(execute.is_some_and(|execute| execute.has_count()));
        let parameters = execute
            .filter(|_| is_readable)
            .and_then(|execute| {
                self.fresh(types, sureness, |types| {
                    execute.parameters(place_holders.unwrap_or(0), types, longs)
                })
            })
            .filter(Parameters::is_whole);
        sureness.doubt_if(parameters.is_none(), Doubt::ParametersUnread);
        Request::Execute {
            id: self.id,
            text,
            parameters,
            place_holders: place_holders.unwrap_or(0),
            opens_cursor: self.answering.opened_cursor(),
            raw,
        }
    }

    fn bulk(&self, types: &'a mut Types, sureness: &mut Sureness) -> Request<'a> {
        let text = self.statement(sureness);
        let place_holders = self.place_holders().unwrap_or(0);
        let arguments = self.request.arguments();
        let rows = if self.is_readable(false) {
            self.fresh(types, sureness, |types| parameters::bulk(arguments, place_holders, types))
        } else {
            None
        };
        sureness.doubt_if(rows.is_none(), Doubt::ParametersUnread);
        Request::Bulk { id: self.id, text, rows }
    }

    /// Whether parameters can be read: their number is known, and nothing is missing.
    fn is_readable(&self, has_count: bool) -> bool {
        let is_whole = self.request.holes.is_empty()
            && !self.request.sureness.has(Doubt::RequestCut)
            && !self.request.sureness.has(Doubt::RequestTooLong);
        is_whole && (has_count || self.place_holders().is_some())
    }

    /// Reads with `types`, and doubts those that are older than a loss of requests.
    fn fresh<R>(
        &self,
        types: &'a mut Types,
        sureness: &mut Sureness,
        read: impl FnOnce(&'a mut Types) -> Option<R>,
    ) -> Option<R> {
        let loss = self.statements.get(self.id).map_or(0, |statement| statement.types_loss);
        let seen = self.statements.get(self.id).map_or(0, |statement| statement.seen_loss);
        let losses = self.request.losses;
        let is_inferred = seen != losses || loss != losses && !self.sends_types();
        sureness.doubt_if(is_inferred && self.place_holders() != Some(0), Doubt::ParametersInferred);
        read(types)
    }

    /// Whether this message brings the types of its parameters.
    fn sends_types(&self) -> bool {
        let mut probe = Types::default();
        let arguments = self.request.arguments();
        let count = self.place_holders().unwrap_or(0);
        if self.request.command() == Command::StmtBulkExecute {
            let _ = parameters::bulk(arguments, count, &mut probe);
        } else if let Some(execute) = Execute::read(arguments) {
            let _ = execute.parameters(count, &mut probe, &[]);
        }
        probe.are_fresh
    }

    fn fetch(&self, wanted: u32, sureness: &mut Sureness) -> Request<'a> {
        let text = self.statement(sureness);
        let (fetches, rows) =
            self.statements.get(self.id).map_or((0, 0), |statement| (statement.fetches, statement.rows));
        let (nth, rows) = (fetches.saturating_add(1), rows.saturating_add(self.answering.rows));
        Request::Fetch { id: self.id, text, wanted, nth, rows }
    }
}
