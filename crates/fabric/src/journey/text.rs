//! A journey as lines that a newcomer can read: one for each point in aligned columns, and how it ended.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

use super::{Direction, End, Hop, Journey, Outcome, Seen, Sighting, WatchPoint};

/// The longest label in a column, in characters; interface names have 15 at most, container names rarely more.
const LABEL_CHARS_MAX: usize = 40;
/// What is between two columns.
const GAP: &str = "  ";

impl fmt::Display for Journey {
    /// The packet as it was first seen; a line for each point of its path, seen or not; where else it was
    /// seen; how it ended. Lines have no trailing spaces; the last has no line end.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = self.hops.iter().find_map(|hop| hop.seen.as_ref()) {
            writeln!(f, "{}", plain(&first.first.text))?;
        }
        for line in align(&self.hops.iter().map(Hop::cells).collect::<Vec<_>>()) {
            writeln!(f, "{line}")?;
        }
        for hop in &self.elsewhere {
            writeln!(f, "also seen {hop}")?;
        }
        write!(f, "{}", self.verdict())
    }
}

impl Journey {
    /// How it ended, in one sentence without a full stop.
    #[must_use]
    pub fn verdict(&self) -> String {
        let seen =
            |at: &WatchPoint| self.hops.iter().find(|hop| hop.at == *at).and_then(|hop| hop.seen.as_ref());
        match &self.outcome {
            Outcome::NeverSeen => "seen nowhere on its path".to_owned(),
            Outcome::Arrived => match self.hops.last().and_then(|hop| hop.seen.as_ref()) {
                Some(Seen { first: Sighting { at, ttl, source, .. }, .. }) => {
                    format!("arrived at {} with ttl {ttl} from {source}", at.whereabouts())
                }
                None => "arrived".to_owned(),
            },
            Outcome::Lost { after, before } => {
                let ttl =
                    seen(after).map_or_else(String::new, |seen| format!(" with ttl {}", seen.first.ttl));
                format!("last seen {after}{ttl}; not seen {before}")
            }
        }
    }
}

impl fmt::Display for Hop {
    /// `going out at eth0 on docker41 with ttl 63, routed by docker41 after 11.1 µs`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [.., ttl, story] = self.cells();
        let comma = if story.is_empty() { "" } else { ", " };
        match self.seen {
            Some(_) => write!(f, "{} with {ttl}{comma}{story}", self.at),
            None => write!(f, "{} not seen", self.at),
        }
    }
}

impl Hop {
    /// The columns of its line.
    fn cells(&self) -> [String; 6] {
        let label = |text: &str| plain(text).chars().take(LABEL_CHARS_MAX).collect();
        let container = self.at.container.as_deref().unwrap_or("");
        let ttl = self
            .seen
            .as_ref()
            .map_or_else(|| "not seen".to_owned(), |seen| format!("ttl {}", seen.first.ttl));
        [
            label(self.at.host.as_str()),
            label(container),
            label(&self.at.interface),
            self.at.direction.to_string(),
            ttl,
            self.seen.as_ref().map_or_else(String::new, Seen::story),
        ]
    }
}

impl Seen {
    /// What happened to it since it was last seen, in words.
    fn story(&self) -> String {
        let mut parts: Vec<String> = self.changes.iter().map(|change| plain(&change.to_string())).collect();
        if self.times > 1 {
            parts.push(format!("seen {} times", self.times));
        }
        if self.ttl_lowest < self.first.ttl {
            parts.push(format!("went in a circle down to ttl {}", self.ttl_lowest));
        }
        let mut story = parts.join(", ");
        if let Some(took) = self.since_previous_ns {
            let space = if story.is_empty() { "" } else { " " };
            // Writing to a string does not fail.
            let _ = write!(story, "{space}after {}", Duration(took));
        }
        story
    }
}

/// Pads every column but the last to its longest cell; columns without any text vanish.
fn align<const N: usize>(rows: &[[String; N]]) -> Vec<String> {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..N).map(width).collect();
    let line = |row: &[String; N]| {
        let used = row.iter().zip(&widths).filter(|(_, width)| **width > 0);
        let cells: Vec<String> = used.map(|(cell, width)| format!("{cell:<width$}")).collect();
        cells.join(GAP).trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// Without control characters: names of interfaces and containers are chosen by strangers, and the kernel
/// allows escape sequences in them.
fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// A duration with its unit and three digits or so.
struct Duration(u64);

impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ns @ 0..1_000 => write!(f, "{ns} ns"),
            ns @ 1_000..1_000_000 => write!(f, "{}.{} µs", ns / 1_000, ns % 1_000 / 100),
            ns @ 1_000_000..1_000_000_000 => write!(f, "{}.{} ms", ns / 1_000_000, ns % 1_000_000 / 100_000),
            ns => write!(f, "{}.{} s", ns / 1_000_000_000, ns % 1_000_000_000 / 100_000_000),
        }
    }
}

impl WatchPoint {
    /// The place without the direction: `eth0 in c42 on docker42`.
    fn whereabouts(&self) -> String {
        let container = self.container.as_ref().map_or_else(String::new, |name| format!(" in {name}"));
        plain(&format!("{}{container} on {}", self.interface, self.host))
    }
}

impl fmt::Display for WatchPoint {
    /// `coming in at eth0 in c42 on docker42`, `going out at eth0 on docker41`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.direction {
            Direction::In => "coming in",
            Direction::Out => "going out",
        };
        write!(f, "{way} at {}", self.whereabouts())
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::In => "in",
            Self::Out => "out",
        })
    }
}

impl fmt::Display for End {
    /// `10.0.0.1`, `10.0.0.1:80`, `[fd00::1]:80`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}", SocketAddr::new(self.address, port)),
            None => write!(f, "{}", self.address),
        }
    }
}
