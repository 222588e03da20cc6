//! The sysctls that let packets pass from the uplink to the containers and back.

use super::{Picture, RenderedFile};
use crate::inventory::Family;

/// Read by systemd-sysctl and by procps at boot; interfaces that appear later get theirs from udev.
const PATH: &str = "/etc/sysctl.d/60-byway.conf";

/// The settings that are needed, with the comments that belong to them. `write` makes a line of a key and a value.
///
/// IPv4 asks the interface by which a packet comes in. IPv6 asks the switch for all interfaces alone
/// (kernel documentation, ip-sysctl, `conf/all/forwarding`).
pub(super) fn lines(picture: &Picture<'_>, write: impl Fn(&str, u8) -> String) -> String {
    let mut lines = Vec::new();
    if is_needed(picture, Family::V4) {
        lines.extend(
            interfaces(picture).into_iter().map(|interface| write(&key("ipv4", interface, "forwarding"), 1)),
        );
    }
    if is_needed(picture, Family::V6) {
        let uplink = picture.uplink;
        lines.push(
            "# IPv6 has one switch for all interfaces. With it on, an interface no longer heeds router"
                .into(),
        );
        lines.push(format!(
            "# advertisements: if {uplink} has its default route from one, add this line too:"
        ));
        lines.push(format!("# {}", write(&key("ipv6", uplink, "accept_ra"), 2)));
        lines.push(write(&key("ipv6", "all", "forwarding"), 1));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}

/// The settings as a file.
pub(super) fn file(picture: &Picture<'_>) -> RenderedFile {
    let lines = lines(picture, |key, value| format!("{key} = {value}"));
    let text = format!("# Lets packets pass between {} and the containers.\n{lines}", picture.uplink);
    RenderedFile { path: PATH.into(), text }
}

/// Whether packets of that family can come from another host, or go to one, at all.
fn is_needed(picture: &Picture<'_>, family: Family) -> bool {
    let has_address = picture.host.addresses.iter().any(|address| Family::of(*address) == family);
    let has_containers = picture.host.subnets.iter().any(|subnet| Family::of(subnet.addr()) == family);
    has_address && (has_containers || picture.has_routes(family))
}

fn interfaces<'a>(picture: &'a Picture<'_>) -> Vec<&'a str> {
    if picture.bridges.is_empty() {
        return vec!["all"];
    }
    std::iter::once(picture.uplink).chain(picture.bridges.iter().map(String::as_str)).collect()
}

/// A name with dots, as a VLAN's, is only clear with slashes (sysctl.d(5), sysctl(8)).
fn key(family: &str, interface: &str, setting: &str) -> String {
    let separator = if interface.contains('.') { "/" } else { "." };
    ["net", family, "conf", interface, setting].join(separator)
}
