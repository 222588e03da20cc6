//! The one binary: every subcommand, the agent too.
fn main() {}
