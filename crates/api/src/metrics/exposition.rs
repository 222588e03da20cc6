//! The text format that Prometheus reads, version 0.0.4:
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>.
//!
//! Its rules that are kept here: all samples of a family stand together below one `HELP` and one `TYPE`, in values of
//! labels `\`, `"` and line breaks are escaped, in help texts `\` and line breaks, and every line ends with a line feed.

use std::fmt::Write as _;

use super::histogram::Histogram;

/// What the page is, for the `Content-Type` of the answer.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What sort of numbers a family has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 when the agent starts.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

impl Kind {
    /// As the format calls it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A name, and what it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Family {
    /// The name.
    pub name: &'static str,
    /// The sort.
    pub kind: Kind,
    /// What it means, in one sentence.
    pub help: &'static str,
    /// The names of its labels, apart from a histogram's `le`.
    pub labels: &'static [&'static str],
}

/// A page that is being written.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// Begins a family.
    pub(super) fn family(&mut self, family: &Family) {
        let help = family.help.replace('\\', "\\\\").replace('\n', "\\n");
        self.text += &format!(
            "# HELP {name} {help}\n# TYPE {name} {kind}\n",
            name = family.name,
            kind = family.kind.word()
        );
    }

    /// A number of a family, with the values of its labels in the family's order.
    pub(super) fn sample(&mut self, family: &Family, values: &[&str], number: impl std::fmt::Display) {
        let labels = family.labels.iter().zip(values);
        let labels: Vec<String> =
            labels.map(|(label, value)| format!("{label}=\"{}\"", escaped(value))).collect();
        let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
        // Writing to a string does not fail.
        let _ = writeln!(self.text, "{}{labels} {number}", family.name);
    }

    /// All numbers of a histogram without labels.
    pub(super) fn histogram(&mut self, family: &Family, histogram: &Histogram) {
        let name = family.name;
        for (bound, count) in histogram.cumulative() {
            self.text += &format!("{name}_bucket{{le=\"{bound}\"}} {count}\n");
        }
        let (sum, count) = (histogram.sum().as_secs_f64(), histogram.count());
        self.text += &format!("{name}_sum {sum}\n{name}_count {count}\n");
    }

    /// The whole page.
    pub(super) fn text(self) -> String {
        self.text
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_a_value_or_a_help_ends_it_early() {
        let family = Family {
            name: "byway_x",
            kind: Kind::Gauge,
            help: "Back\\slash \"quoted\"\nand more.",
            labels: &["one", "two"],
        };
        let mut page = Page::default();
        page.family(&family);
        page.sample(&family, &["a\\\"b\"} 7\nbyway_y 8", "ü"], 0.5);
        let expected = "# HELP byway_x Back\\\\slash \"quoted\"\\nand more.\n# TYPE byway_x gauge\n\
                        byway_x{one=\"a\\\\\\\"b\\\"} 7\\nbyway_y 8\",two=\"ü\"} 0.5\n";
        assert_eq!(page.text(), expected);
    }
}
