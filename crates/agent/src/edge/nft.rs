//! Talks to nftables through the `nft` program: one script, one transaction; and reads our table back.
//!
//! The table is read as JSON and turned into the words in which fabric writes rules, so that the two can be
//! compared. Anything in it that we would not have written stays what it is (compact JSON) and so differs.

mod words;

use std::collections::VecDeque;
use std::io;
use std::process::Stdio;
use std::time::Duration;

use byway_fabric::plan::Step;
use byway_fabric::table::{TABLE, Table, list};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// How long `nft` may take. A set of 10,000 members takes 0.2 s.
const NFT_TIME_MAX: Duration = Duration::from_secs(30);

/// What can go wrong with `nft`.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// It is not there.
    #[error("run nft: it is not installed (apt install nftables)")]
    Missing(#[source] io::Error),
    /// It could not be run.
    #[error("run nft")]
    Run(#[source] io::Error),
    /// It took too long and was ended.
    #[error("nft did not end within {} s", NFT_TIME_MAX.as_secs())]
    Late,
    /// It said no.
    #[error("nft refused to {doing}: {said}")]
    Refused {
        /// What we wanted.
        doing: String,
        /// Its words, first line.
        said: String,
    },
    /// Its answer cannot be read.
    #[error("understand what nft lists: {0}")]
    Understand(String),
}

/// The `nft` program, and which of its runs were ours.
#[derive(Debug, Default)]
pub struct Nft {
    /// The processes that we started last: notices of their transactions are about our own doing.
    own: VecDeque<u32>,
}

/// How many of our own runs are remembered: far more than can be under way between a change and its notice.
const OWN_RUNS_MAX: usize = 64;

impl Nft {
    /// Our table as it is; none if it is not there.
    ///
    /// # Errors
    /// When `nft` cannot be run or its answer not be read.
    pub async fn read(&mut self) -> Result<Option<Table>, NftError> {
        let mut arguments = vec!["-j", "list", "table"];
        arguments.extend(TABLE.split(' '));
        match self.run(&arguments, "", "list our table").await {
            Ok(json) => words::table(&json).map(Some),
            Err(NftError::Refused { said, .. }) if said.contains("No such file or directory") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Runs a script as one transaction.
    ///
    /// # Errors
    /// When it was not taken; nothing has changed then.
    pub async fn apply(&mut self, script: &str, doing: &str) -> Result<(), NftError> {
        self.run(&["-f", "-"], script, doing).await.map(drop)
    }

    /// Whether that netlink port belonged to one of our own runs.
    #[must_use]
    pub fn is_own(&self, port: u32) -> bool {
        self.own.contains(&port)
    }

    async fn run(&mut self, arguments: &[&str], input: &str, doing: &str) -> Result<Vec<u8>, NftError> {
        let mut command = Command::new("nft");
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A dropped wait must not leave an nft behind.
        command.kill_on_drop(true);
        let spawned = command.spawn();
        let mut child = spawned.map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => NftError::Missing(cause),
            _ => NftError::Run(cause),
        })?;
        self.own.extend(child.id());
        if self.own.len() > OWN_RUNS_MAX {
            self.own.pop_front();
        }
        let stdin = child.stdin.take();
        let feed = async {
            if let Some(mut stdin) = stdin {
                stdin.write_all(input.as_bytes()).await?;
            }
            io::Result::Ok(())
        };
        let both = async { tokio::join!(feed, child.wait_with_output()) };
        let (written, output) = tokio::time::timeout(NFT_TIME_MAX, both).await.map_err(|_| NftError::Late)?;
        let output = output.map_err(NftError::Run)?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let said = said.lines().next().unwrap_or("without a word").to_owned();
            return Err(NftError::Refused { doing: doing.to_owned(), said });
        }
        written.map_err(NftError::Run)?;
        Ok(output.stdout)
    }
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
