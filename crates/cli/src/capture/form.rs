//! How what was seen is shown.

use clap::{Args, ValueEnum};

use crate::settings::Common;

/// The flags, which are tshark's.
#[derive(Debug, Args)]
pub(crate) struct Form {
    /// How it is shown [default: text]
    #[arg(short = 'T', long = "type", value_name = "TYPE")]
    pub(crate) kind: Option<ShowAs>,
    /// Show this field, by tshark's name; more than one is told by `-e` once more, or with commas
    #[arg(short = 'e', long = "field", value_name = "FIELD", value_delimiter = ',')]
    pub(crate) fields: Vec<String>,
    /// How fields are printed, as with tshark: header=y, separator=,, occurrence=f|l|a, aggregator=;, quote=d|s|n
    #[arg(short = 'E', long = "format", value_name = "KEY=VALUE")]
    pub(crate) format: Vec<String>,
    /// List all fields that are known
    #[arg(long)]
    pub(crate) list_fields: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShowAs {
    /// A line for people
    Text,
    /// The fields of `-e`, as tshark prints them
    Fields,
    /// A line of JSON
    Json,
}

impl Form {
    /// As `-T` says, or `--json`.
    pub(crate) fn kind(&self, common: &Common) -> ShowAs {
        self.kind.unwrap_or(if common.json { ShowAs::Json } else { ShowAs::Text })
    }
}
