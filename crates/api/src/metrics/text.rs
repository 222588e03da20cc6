//! All families, and the page that holds them.

use std::fmt::Display;

use jiff::Timestamp;

use super::exposition::{Family, Kind, Page};
use super::labels::{By, Counts, Label, Thing};
use super::standing::{ByFamily, Standing};
use super::{Done, Numbers};
use crate::InventoryStatus;

const fn family(
    kind: Kind,
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
) -> Family {
    Family { name, kind, help, labels }
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    family(Kind::Counter, name, labels, help)
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    family(Kind::Gauge, name, labels, help)
}

macro_rules! families {
    ($($family:ident = $value:expr;)+) => {
        $(const $family: Family = $value;)+

        /// All families, in the order of the page.
        pub const FAMILIES: &[Family] = &[$($family,)+];
    };
}

families! {
    BUILD = gauge("byway_build_info", &["version", "host"], "Always 1; the version of Byway, and the host's name in the inventory.");
    START = gauge("byway_start_time_seconds", &[], "When the agent started, in seconds since 1970.");
    HANDS_OFF = gauge("byway_hands_off", &[], "1 if the agent only looks and changes nothing, else 0.");
    EXPECTED = gauge("byway_routes_expected", &["family"], "Routes to subnets of other hosts that should be there.");
    PRESENT = gauge("byway_routes_present", &["family"], "Routes of Byway's that are there and right; the expected ones that are missing were not found or are frozen by a conflict.");
    PEERS = gauge("byway_peers", &["state"], "Other hosts of the inventory, by how they stand.");
    HEALTH = gauge("byway_peers_tried", &["health"], "Other hosts, by how they answer along the data path.");
    TRIPS = gauge("byway_peer_round_trip_seconds", &["of"], "Round trips along the data path: of the peer with the shortest, the one in the middle, and the one with the longest; each is the middle of its last.");
    FLAPS = counter("byway_peer_flaps_total", &[], "How often peers came back after they were gone.");
    CONFLICTS = gauge("byway_conflicts", &[], "Foreign routes to prefixes of the cluster, left alone; also among the problems.");
    PROBLEMS = gauge("byway_problems", &["kind"], "What somebody should look at, by kind.");
    PENDING = gauge("byway_steps_pending", &[], "Changes that were due at the last look.");
    CONTAINERS = gauge("byway_containers", &[], "Interfaces of containers of this host that are on the cluster.");
    REFUSED = gauge("byway_refused_addresses", &[], "Addresses that wanted to ask this host within a day and were refused, at most 32.");
    INVENTORY_READ = gauge("byway_inventory_read_timestamp_seconds", &[], "When the state of the inventory that is in force was first read, in seconds since 1970.");
    INVENTORY_REJECTED = gauge("byway_inventory_rejected", &[], "1 if the inventory as it is now is not taken and the last good state stays in force, else 0.");
    LEASE_RENEWED = gauge("byway_lease_renewed_timestamp_seconds", &[], "When this host was last heard of in etcd, as of the last look, in seconds since 1970.");
    LEASE_SECONDS = gauge("byway_lease_seconds", &[], "How long this host keeps its place in etcd when it is not heard of.");
    LEASE_REFUSED = gauge("byway_lease_refused", &[], "1 if etcd does not let this host in, or not any more, else 0.");
    STORE_ERRORS = counter("byway_store_errors_total", &[], "Conversations with etcd that failed.");
    LOOKS = counter("byway_looks_total", &[], "Looks at the whole host.");
    LAST_LOOK = gauge("byway_last_look_timestamp_seconds", &[], "When the last whole look was made, in seconds since 1970.");
    EVENTS = counter("byway_events_total", &["source"], "What was heard, by source; what Byway itself changed is heard too.");
    LOST = counter("byway_lost_notices_total", &[], "Times that the kernel had more notices than could be taken; everything was looked at then.");
    LOOPS = family(Kind::Histogram, "byway_loop_duration_seconds", &[], "From a wake to the rest: looks and steps until there was nothing to do.");
    FAILED_LOOPS = counter("byway_loop_failures_total", &[], "Wakes after which the host was not as it should be; it is tried again.");
    FAILING = gauge("byway_loop_failing", &[], "1 if that is so since the last wake, else 0.");
    REPAIRS = counter("byway_repairs_total", &["cause"], "Wakes at which something was changed, by what was the cause; the sum is that of all repairs.");
    APPLIED = counter("byway_steps_applied_total", &["kind"], "Steps that were done, by what they changed.");
    FAILED = counter("byway_steps_failed_total", &["kind"], "Steps that were refused, by what they should have changed.");
    CHANGES = counter("byway_foreign_changes_total", &["kind", "by"], "Changes that others made to what is Byway's, by what was changed and by whom.");
}

/// The page: everything that is known, with a line feed at its end.
///
/// What a look finds out is not on it before the first look.
#[must_use]
pub fn text(numbers: &Numbers) -> String {
    let mut page = Page::default();
    let started = &numbers.started;
    page.family(&BUILD);
    page.sample(&BUILD, &[&started.version, &started.host], 1);
    single(&mut page, &START, seconds(started.at));
    single(&mut page, &HANDS_OFF, u8::from(started.hands_off));
    if let Some(standing) = &numbers.standing {
        tell_standing(&mut page, standing);
    }
    if let Some(inventory) = &numbers.inventory {
        tell_inventory(&mut page, inventory);
    }
    tell_loop(&mut page, numbers);
    tell_done(&mut page, numbers);
    page.text()
}

fn tell_standing(page: &mut Page, standing: &Standing) {
    by_family(page, &EXPECTED, standing.expected);
    by_family(page, &PRESENT, standing.present);
    counts(page, &PEERS, &standing.peers);
    counts(page, &HEALTH, &standing.health);
    trips(page, &standing.trips);
    single(page, &FLAPS, standing.flaps);
    single(page, &CONFLICTS, standing.problems.of(byway_fabric::problem::ProblemKind::Conflict));
    counts(page, &PROBLEMS, &standing.problems);
    single(page, &PENDING, standing.pending);
    single(page, &CONTAINERS, standing.containers);
    single(page, &REFUSED, standing.refused);
}

/// Nothing where nobody has answered yet: no time is not a short time.
fn trips(page: &mut Page, trips: &[u32]) {
    let (Some(shortest), Some(longest)) = (trips.first(), trips.last()) else { return };
    page.family(&TRIPS);
    let middle = trips.get(trips.len() / 2).unwrap_or(longest);
    for (of, micros) in [("shortest", shortest), ("middle", middle), ("longest", longest)] {
        page.sample(&TRIPS, &[of], f64::from(*micros) / 1e6);
    }
}

fn tell_inventory(page: &mut Page, inventory: &InventoryStatus) {
    if let Some(at) = inventory.read_at {
        single(page, &INVENTORY_READ, seconds(at));
    }
    single(page, &INVENTORY_REJECTED, u8::from(inventory.rejected.is_some()));
    let Some(lease) = &inventory.lease else { return };
    if let Some(at) = lease.renewed_at {
        single(page, &LEASE_RENEWED, seconds(at));
        single(page, &LEASE_SECONDS, lease.seconds);
    }
    single(page, &LEASE_REFUSED, u8::from(lease.refused.is_some()));
    single(page, &STORE_ERRORS, lease.errors);
}

fn tell_loop(page: &mut Page, numbers: &Numbers) {
    single(page, &LOOKS, numbers.looks);
    if let Some(at) = numbers.last_look {
        single(page, &LAST_LOOK, seconds(at));
    }
    counts(page, &EVENTS, &numbers.events);
    single(page, &LOST, numbers.lost);
    page.family(&LOOPS);
    page.histogram(&LOOPS, &numbers.loops);
    single(page, &FAILED_LOOPS, numbers.failed_loops);
    single(page, &FAILING, u8::from(numbers.is_failing));
}

fn tell_done(page: &mut Page, numbers: &Numbers) {
    let Done { applied, failed } = &numbers.done;
    counts(page, &REPAIRS, &numbers.repairs);
    counts(page, &APPLIED, applied);
    counts(page, &FAILED, failed);
    page.family(&CHANGES);
    for thing in Thing::ALL {
        for by in By::ALL {
            let count = numbers.changes.get(&(*thing, *by)).copied().unwrap_or_default();
            page.sample(&CHANGES, &[thing.word(), by.word()], count);
        }
    }
}

fn single(page: &mut Page, family: &Family, number: impl Display) {
    page.family(family);
    page.sample(family, &[], number);
}

fn counts<L: Label>(page: &mut Page, family: &Family, counts: &Counts<L>) {
    page.family(family);
    for (label, count) in counts.all() {
        page.sample(family, &[label.word()], count);
    }
}

fn by_family(page: &mut Page, family: &Family, numbers: ByFamily) {
    page.family(family);
    page.sample(family, &["ipv4"], numbers.ipv4);
    page.sample(family, &["ipv6"], numbers.ipv6);
}

/// Seconds since 1970, to the millisecond.
fn seconds(at: Timestamp) -> impl Display {
    let millis = at.as_millisecond();
    format!("{}.{:03}", millis.div_euclid(1000), millis.rem_euclid(1000))
}
