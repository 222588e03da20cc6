//! Talks to nftables through the `nft` program: one script, one transaction; and reads our table back.
//!
//! The table is read as JSON and turned into the words in which fabric writes rules, so that the two can be
//! compared. Anything in it that we would not have written stays what it is (compact JSON) and so differs.

mod words;

use byway_fabric::plan::Step;
use byway_fabric::table::{TABLE, Table, list};

use super::program::{ProgramError, Runs};

/// What can go wrong with `nft`.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// The program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// Its answer cannot be read.
    #[error("understand what nft lists: {0}")]
    Understand(String),
}

/// Our table as it is; none if it is not there.
///
/// # Errors
/// When `nft` cannot be run or its answer not be read.
pub async fn read(runs: &mut Runs) -> Result<Option<Table>, NftError> {
    let name: Vec<&str> = TABLE.split(' ').collect();
    list_table(runs, &name).await?.map(|json| words::table(&json)).transpose()
}

/// A table as JSON, by its family and name; none if it is not there.
///
/// # Errors
/// When `nft` cannot be run.
pub async fn list_table(runs: &mut Runs, table: &[&str]) -> Result<Option<Vec<u8>>, NftError> {
    let arguments = [&["-j", "list", "table"], table].concat();
    match runs.run("nft", &arguments, "", &format!("list table {}", table.join(" "))).await {
        Ok(json) => Ok(Some(json)),
        Err(ProgramError::Refused { said, .. }) if said.contains("No such file or directory") => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Runs a script as one transaction.
///
/// # Errors
/// When it was not taken; nothing has changed then.
pub async fn apply(runs: &mut Runs, script: &str, doing: &str) -> Result<(), NftError> {
    runs.run("nft", &["-f", "-"], script, doing).await?;
    Ok(())
}

/// The script of a step; none if it is not about our table.
#[must_use]
pub fn script(step: &Step) -> Option<String> {
    match step {
        Step::PutTable { table, .. } => Some(table.replace_script()),
        Step::PutElements { set, elements, .. } => {
            Some(format!("add element {TABLE} {set} {{ {} }}\n", list(elements)))
        }
        Step::DelElements { set, elements, .. } => {
            Some(format!("delete element {TABLE} {set} {{ {} }}\n", list(elements)))
        }
        Step::DelTable { .. } => Some(format!("delete table {TABLE}\n")),
        _ => None,
    }
}
