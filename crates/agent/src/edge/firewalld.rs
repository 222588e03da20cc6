//! Hears firewalld: a reload takes the rules of everybody else, ours among them, and where they are those of iptables-legacy
//! nothing else tells. And asks it what it forwards, as its own chain may have the last word.
//!
//! No bus and no firewalld are normal states; both may come and go. Nothing is ever changed.

use std::collections::{BTreeMap, HashMap};
use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use byway_fabric::firewalld::{Firewalld, Policy, Zone};
use futures_util::FutureExt as _;
use futures_util::stream::{StreamExt as _, select};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::{Connection, DynamicType, MatchRule, Message, MessageStream, OwnedVariant};

/// Where the system bus listens.
const BUS: &str = "/run/dbus/system_bus_socket";
/// What firewalld is called on the bus; its interface is called the same.
const NAME: &str = "org.fedoraproject.FirewallD1";
const PATH: &str = "/org/fedoraproject/FirewallD1";
/// How long we wait before we look for a bus that was not there: a bus is started before the agent, or seldom by hand.
const LOOK_AGAIN: Duration = Duration::from_secs(10);
/// How long one answer may take: firewalld does not answer while it loads its rules.
const ANSWER_MAX: Duration = Duration::from_secs(20);
/// Signals that wait while we ask; a reload makes one for each interface in a zone.
const SIGNALS_MAX: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

/// Hears firewalld for ever, and tells what it says of itself whenever it has done anything; none while it is not there.
pub async fn hear(tell: watch::Sender<Option<Firewalld>>) {
    while !tell.is_closed() {
        if Path::new(BUS).exists()
            && let Err(error) = converse(&tell).await
        {
            tracing::debug!(error = crate::error::chain(&error), "the system bus is not there");
        }
        tell.send_if_modified(|known| known.take().is_some());
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// Asks firewalld once; none if it is not there.
pub async fn ask_once() -> Option<Firewalld> {
    if !Path::new(BUS).exists() {
        return None;
    }
    look(&connect().await.ok()?).await
}

async fn connect() -> zbus::Result<Connection> {
    Builder::address(format!("unix:path={BUS}").as_str()).method_timeout(ANSWER_MAX).build().await
}

/// Returns when the bus has ended.
async fn converse(tell: &watch::Sender<Option<Firewalld>>) -> zbus::Result<()> {
    let bus = connect().await?;
    // The signals come before the look: what changes after the look is heard.
    let mut signals = select(own_signals(&bus).await?, owners(&bus).await?);
    tracing::info!("hearing from the system bus what firewalld does");
    let found = look(&bus).await;
    tell.send_if_modified(|known| {
        let changed = *known != found;
        *known = found;
        changed
    });
    while let Some(signal) = signals.next().await {
        say(&signal?);
        // What else it has done meanwhile is in the same look.
        while let Some(Some(signal)) = signals.next().now_or_never() {
            say(&signal?);
        }
        // Even if it says the same as before: what it did may have taken others' rules.
        tell.send_replace(look(&bus).await);
    }
    Ok(())
}

/// Everything that firewalld itself says. The bus lets nobody else speak by its name.
async fn own_signals(bus: &Connection) -> zbus::Result<MessageStream> {
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(NAME).path(PATH).build()?;
    MessageStream::for_match_rule(rule, bus, Some(SIGNALS_MAX)).await
}

/// That firewalld was started or has ended.
async fn owners(bus: &Connection) -> zbus::Result<MessageStream> {
    const BUS_ITSELF: &str = "org.freedesktop.DBus";
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(BUS_ITSELF).interface(BUS_ITSELF);
    let rule = rule.member("NameOwnerChanged").arg(0, NAME).build()?;
    MessageStream::for_match_rule(rule, bus, Some(SIGNALS_MAX)).await
}

fn say(signal: &Message) {
    let header = signal.header();
    match header.member().map(zbus::names::MemberName::as_str) {
        Some("Reloaded") => tracing::info!("firewalld has reloaded its rules; looking at everything"),
        Some("NameOwnerChanged") => {
            tracing::info!("firewalld was started or has ended; looking at everything");
        }
        _ => tracing::debug!("firewalld has changed something"),
    }
}

/// What firewalld says of itself; none if it is not there, or is too old to have policies (before 0.9).
async fn look(bus: &Connection) -> Option<Firewalld> {
    ask(bus).await.unwrap_or_else(|error| {
        tracing::debug!(error = crate::error::chain(&error), "firewalld is not to be understood");
        None
    })
}

/// Settings by their names, as firewalld says them; what is as it is by default is not among them.
type Settings = HashMap<String, OwnedVariant>;

async fn ask(bus: &Connection) -> zbus::Result<Option<Firewalld>> {
    const BUS_ITSELF: [&str; 3] = ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus"];
    if !call::<bool>(bus, BUS_ITSELF, "NameHasOwner", &NAME).await? {
        return Ok(None);
    }
    let default_zone: String = call(bus, [NAME, PATH, NAME], "getDefaultZone", &()).await?;
    Ok(Some(Firewalld {
        rejects: rejects(bus).await?,
        zones: zones(bus, &default_zone).await?,
        policies: policies(bus).await?,
        default_zone,
    }))
}

/// Its nftables backend, since 1.0: before that a zone's target also said what may go into it.
async fn rejects(bus: &Connection) -> zbus::Result<bool> {
    let (config, of_config) = (format!("{PATH}/config"), format!("{NAME}.config"));
    let backend = property(bus, &config, &of_config, "FirewallBackend").await?;
    let version = property(bus, PATH, NAME, "version").await?;
    Ok(backend == "nftables" && !version.starts_with("0."))
}

async fn property(bus: &Connection, path: &str, interface: &str, name: &str) -> zbus::Result<String> {
    let place = [NAME, path, "org.freedesktop.DBus.Properties"];
    String::try_from(call::<OwnedVariant>(bus, place, "Get", &(interface, name)).await?)
}

async fn zones(bus: &Connection, default: &str) -> zbus::Result<BTreeMap<String, Zone>> {
    let interface = format!("{NAME}.zone");
    let place = [NAME, PATH, interface.as_str()];
    let mut members: HashMap<String, HashMap<String, Vec<String>>> =
        call(bus, place, "getActiveZones", &()).await?;
    members.entry(default.to_owned()).or_default();
    let mut zones = BTreeMap::new();
    for (name, members) in members {
        let settings: Settings = call(bus, place, "getZoneSettings2", &name.as_str()).await?;
        let list = |what: &str| members.get(what).into_iter().flatten();
        let zone = Zone {
            interfaces: list("interfaces").cloned().collect(),
            // Others are hardware addresses and sets of addresses.
            sources: list("sources").filter_map(|source| source.parse().ok()).collect(),
            accepts: accepts(&settings),
            forward: settings.get("forward").is_some_and(|forward| bool::try_from(forward) == Ok(true)),
        };
        zones.insert(name, zone);
    }
    Ok(zones)
}

async fn policies(bus: &Connection) -> zbus::Result<Vec<Policy>> {
    let interface = format!("{NAME}.policy");
    let place = [NAME, PATH, interface.as_str()];
    let mut in_force: HashMap<String, HashMap<String, Vec<String>>> =
        call(bus, place, "getActivePolicies", &()).await?;
    let mut names: Vec<String> = call(bus, place, "getPolicies", &()).await?;
    names.sort();
    let mut policies = Vec::new();
    for name in names {
        let settings: Settings = call(bus, place, "getPolicySettings", &name.as_str()).await?;
        let mut zones = in_force.remove(&name).unwrap_or_default();
        let mut of = |which: &str| zones.remove(which).unwrap_or_default().into_iter().collect();
        let (ingress, egress) = (of("ingress_zones"), of("egress_zones"));
        policies.push(Policy { name, ingress, egress, accepts: accepts(&settings) });
    }
    Ok(policies)
}

fn accepts(settings: &Settings) -> bool {
    settings.get("target").is_some_and(|target| <&str>::try_from(target) == Ok("ACCEPT"))
}

/// Calls a method of `[destination, path, interface]`.
async fn call<Answer: DeserializeOwned + zbus::Type>(
    bus: &Connection,
    [destination, path, interface]: [&str; 3],
    method: &str,
    arguments: &(impl Serialize + DynamicType + Sync),
) -> zbus::Result<Answer> {
    bus.call_method(Some(destination), path, Some(interface), method, arguments).await?.body().deserialize()
}
