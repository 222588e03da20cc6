//! Installs what a task needs, then runs it.
fn main() {}
