//! Hears firewalld: with its iptables backend a reload takes the rules of everybody else, ours among them, and where they
//! are those of iptables-legacy nothing else tells. No bus and no firewalld are normal states; both may come and go.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use futures_util::stream::{StreamExt as _, select};
use tokio::sync::watch;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, MatchRule, MessageStream};

/// Where the system bus listens.
const BUS: &str = "/run/dbus/system_bus_socket";
/// What firewalld is called on the bus; its interface is called the same.
const NAME: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
/// How long we wait before we look for a bus that was not there: a bus is started before the agent, or seldom by hand.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long one answer of the bus may take.
const ANSWER_MAX: Duration = Duration::from_secs(20);

/// What firewalld did last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deed {
    /// Nothing since we hear it.
    #[default]
    Nothing,
    /// It was started, and has put its rules in the place of others.
    Came,
    /// It has put its rules anew.
    Reloaded,
    /// It has ended, and has taken its rules out.
    Went,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "has done nothing",
            Self::Came => "was started",
            Self::Reloaded => "has reloaded its rules",
            Self::Went => "has ended",
        })
    }
}

/// Hears firewalld for ever, and tells each of its deeds.
pub async fn hear(tell: watch::Sender<Deed>) {
    while !tell.is_closed() {
        if Path::new(BUS).exists()
            && let Err(error) = converse(&tell).await
        {
            tracing::debug!(error = crate::error::chain(&error), "the system bus is not there");
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Returns when the bus has ended.
async fn converse(tell: &watch::Sender<Deed>) -> zbus::Result<()> {
    let bus =
        Builder::address(format!("unix:path={BUS}").as_str()).method_timeout(ANSWER_MAX).build().await?;
    let mut signals = select(reloads(&bus).await?, owners(&bus).await?);
    tracing::info!("hearing from the system bus what firewalld does");
    while let Some(signal) = signals.next().await {
        tell.send_replace(deed(&signal?)?);
    }
    Ok(())
}

/// The bus lets nobody else speak as firewalld.
async fn reloads(bus: &Connection) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(NAME).path(PATH);
    let rule = rule.interface(NAME).member("Reloaded").build()?;
    MessageStream::for_match_rule(rule, bus, None).await
}

/// That firewalld was started or has ended.
async fn owners(bus: &Connection) -> zbus::Result<MessageStream> {
    const BUS_ITSELF: &str = "org.freedesktop.DBus";
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(BUS_ITSELF).interface(BUS_ITSELF);
    let rule = rule.member("NameOwnerChanged").arg(0, NAME).build()?;
    MessageStream::for_match_rule(rule, bus, None).await
}

fn deed(signal: &zbus::Message) -> zbus::Result<Deed> {
    if signal.header().member().is_some_and(|member| member == "Reloaded") {
        return Ok(Deed::Reloaded);
    }
    let body = signal.body();
    let (_name, _old, new): (&str, &str, &str) = body.deserialize()?;
    Ok(if new.is_empty() { Deed::Went } else { Deed::Came })
}
