//! A script for the shell: ip-route(8) and sysctl(8).

use std::net::IpAddr;

use ipnet::IpNet;

use super::{Format, Picture, RenderedFile, forwarding};

const PATH: &str = "/usr/local/sbin/byway-routes";

pub(super) fn files(picture: &Picture<'_>) -> Vec<RenderedFile> {
    let headline = picture.headline(Format::Ip);
    let routes: String = picture.lines(None, |to, via| command(to, via, picture.uplink));
    let forwarding = forwarding::lines(picture, |key, value| format!("sysctl -q -w {key}={value}"));
    let text = format!(
        "\
#!/bin/sh
{headline}\
# May be run again; a reboot forgets what it does.
set -e

{routes}
# Packets must be allowed to pass between the uplink and the containers.
{forwarding}"
    );
    vec![RenderedFile { path: PATH.into(), text }]
}

/// A route that replaces the one that was there for the same subnet.
pub(super) fn command(to: &IpNet, via: &IpAddr, uplink: &str) -> String {
    let ip = if via.is_ipv4() { "ip" } else { "ip -6" };
    format!("{ip} route replace {to} via {via} dev {uplink} proto static")
}
