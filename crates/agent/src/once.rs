//! What commands do by themselves when no agent runs: one look, or one way back.

use byway_api::{DownReport, PlanReport, Status};
use byway_fabric::desired::desired;
use byway_fabric::plan::plan;
use jiff::Timestamp;

use crate::edge::only_one::OnlyOne;
use crate::edge::privileges;
use crate::error::AgentError;
use crate::keep::{Settings, take_out};
use crate::report::{self, Findings};
use crate::state::State;
use crate::store::Store;
use crate::world::World;

async fn look(settings: &Settings) -> Result<(Store, Findings), AgentError> {
    privileges::check()?;
    let store = Store::open(&settings.inventory, &settings.host, None, Timestamp::now())?;
    let observed = World::open()?.look().await?;
    let desired = desired(store.cluster(), store.me(), &settings.choices, &observed);
    let plan = plan(&desired, &observed);
    Ok((store, Findings { desired, observed, plan }))
}

/// How the host stands.
///
/// # Errors
/// When the inventory or the host cannot be read.
pub async fn status(settings: &Settings) -> Result<Status, AgentError> {
    let (store, findings) = look(settings).await?;
    Ok(report::status(&store, &findings, None))
}

/// What an agent would change.
///
/// # Errors
/// When the inventory or the host cannot be read.
pub async fn plan_report(settings: &Settings) -> Result<PlanReport, AgentError> {
    let (store, findings) = look(settings).await?;
    Ok(PlanReport { host: store.me().name.clone(), by_agent: false, plan: findings.plan })
}

/// Takes out what an agent left.
///
/// # Errors
/// When an agent runs, or a step failed.
pub async fn down(settings: &Settings) -> Result<DownReport, AgentError> {
    privileges::check()?;
    let _no_agent_meanwhile = OnlyOne::take(&settings.run_dir)?;
    let mut state = State::load(&settings.state_dir)?;
    take_out(&mut World::open()?, &mut state).await
}
