//! Asks the agent, or does it by ourselves where none runs.

use byway_agent::error::AgentError;
use byway_agent::keep::Settings;
use byway_api::{SOCKET, client};
use serde::de::DeserializeOwned;

use crate::settings::runtime;

/// What is asked of the agent: a path of its API.
#[derive(Clone, Copy)]
pub(crate) enum Question {
    /// Tell something.
    Get(&'static str),
    /// Do something.
    Post(&'static str),
}

/// The agent's answer, or the outcome of `otherwise` where there is no agent.
pub(crate) fn agent_or<T: DeserializeOwned>(
    settings: &Settings,
    question: Question,
    otherwise: impl Future<Output = Result<T, AgentError>>,
) -> anyhow::Result<T> {
    runtime()?.block_on(answer(settings, question, otherwise))
}

/// The same, among other things that are waited for.
pub(crate) async fn answer<T: DeserializeOwned>(
    settings: &Settings,
    question: Question,
    otherwise: impl Future<Output = Result<T, AgentError>>,
) -> anyhow::Result<T> {
    let socket = settings.run_dir.join(SOCKET);
    let answer = match question {
        Question::Get(path) => client::get(&socket, path).await,
        Question::Post(path) => client::post(&socket, path).await,
    };
    match answer {
        Err(error) if error.nobody_listens() => Ok(otherwise.await?),
        answer => Ok(answer?),
    }
}
