//! `--top`: statements are counted instead of shown, and the table is drawn at the end; on a terminal, of interfaces, also
//! every second.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use byway_fabric::mysql::digest::{By, Digests, Sample, Settings};
use byway_fabric::mysql::spoken::{Spoken, writing};
use byway_wire::mysql::{Peers, Request, Statement};
use clap::Args;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::ear::Show;
use super::note::Note;
use super::top::screen::Screen;
use super::top::{self, Detail, Literals, Options, Part, Sort};
use crate::show;

/// How often the table is drawn anew.
const DRAW_EVERY: Duration = Duration::from_secs(1);
/// Lines of a terminal that does not say.
const LINES: usize = 24;

/// What is counted, and how it is shown.
#[derive(Debug, Args)]
pub(super) struct TopArgs {
    /// Count statements that differ in their values only, and show so many kinds [default: 20]
    #[arg(long, value_name = "NUMBER", num_args = 0..=1, default_missing_value = "20", conflicts_with_all = ["kind", "count"])]
    pub(super) top: Option<usize>,
    /// With --top, what the kinds are sorted by
    #[arg(long, value_name = "WHAT", default_value = "time", requires = "top")]
    sort: Sort,
    /// With --top, count apart by this
    #[arg(long, value_name = "WHAT", requires = "top")]
    by: Option<Part>,
    /// With --top, tell all that is known of each kind, with its slowest statement
    #[arg(long, requires = "top")]
    details: bool,
}

/// Counts.
pub(super) struct Counted {
    digests: Digests,
    names: BTreeMap<IpAddr, String>,
    most: usize,
    detail: Detail,
    literals: Literals,
    json: bool,
    /// Where it is drawn while it grows.
    screen: Option<Screen>,
    draw_at: Instant,
    is_over: bool,
}

impl Counted {
    /// `is_live`: whether it is drawn while it grows, if there is a terminal.
    pub(super) fn new(
        args: &TopArgs,
        names: BTreeMap<IpAddr, String>,
        mask: bool,
        json: bool,
        is_live: bool,
        seed: u64,
    ) -> Self {
        let by = args.by.map_or(By::Nothing, By::from);
        let settings = Settings { by, order: args.sort.into(), ..Settings::default() };
        let is_drawn = is_live && !json && io::stdout().is_terminal();
        Self {
            digests: Digests::new(settings, seed),
            names,
            most: args.top.unwrap_or_default(),
            detail: if args.details { Detail::All } else { Detail::Line },
            literals: if mask { Literals::Masked } else { Literals::Shown },
            json,
            screen: is_drawn.then(Screen::default),
            draw_at: Instant::now(),
            is_over: false,
        }
    }

    fn options(&self, detail: Detail) -> Options<'_> {
        let (names, zone) = (&self.names, TimeZone::system());
        Options { names, most: self.most, width: show::columns(), detail, literals: self.literals, zone }
    }

    fn draw(&mut self) {
        let text = top::text(&self.digests, &self.options(Detail::Line));
        let lines = terminal_size::terminal_size_of(io::stdout());
        let lines = lines.map_or(LINES, |(_, height)| usize::from(height.0));
        if let Some(screen) = &mut self.screen {
            show::print(&screen.draw(&text, lines));
        }
    }
}

impl Show for Counted {
    fn counts(&self) -> bool {
        true
    }

    fn counted(&mut self, peers: &Peers, statement: &Statement<'_>) -> io::Result<()> {
        let writing = writing(&statement.context, statement.answer.status);
        let (client, server) = (peers.client.ip(), peers.server);
        let sample = Sample::of(statement, writing.charset, writing.backslashes, client, server);
        if let Some(slowest) = self.digests.note(&sample)
            && matches!(statement.request, Request::Execute { .. })
        {
            let spoken = Spoken::of(*peers, statement);
            self.digests.show(slowest, &spoken.text, writing.charset);
        }
        Ok(())
    }

    fn spoken(&mut self, _: &Spoken<'_>) -> io::Result<()> {
        Ok(())
    }

    fn note(&mut self, _: &Note) -> io::Result<()> {
        Ok(())
    }

    fn learn(&mut self, names: &[(IpAddr, String)]) {
        self.names.extend(names.iter().cloned());
    }

    fn pause(&mut self) -> io::Result<()> {
        if self.screen.is_some() && Instant::now() >= self.draw_at {
            self.draw_at = Instant::now() + DRAW_EVERY;
            self.digests.turn(u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or_default());
            self.draw();
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        if std::mem::replace(&mut self.is_over, true) {
            return Ok(());
        }
        if self.json {
            let mut object = top::json(&self.digests, &self.options(self.detail));
            object["kind"] = "top".into();
            show::print(&format!("{object}\n"));
        } else if self.screen.is_some() && self.detail == Detail::Line {
            self.draw();
        } else {
            show::print(&top::text(&self.digests, &self.options(self.detail)));
        }
        Ok(())
    }
}
