//! Netplan: its YAML reference, <https://netplan.readthedocs.io/en/stable/netplan-yaml/>.

use super::{Format, Picture, RenderedFile, forwarding, indented};

/// Behind the installer's files in the order of names, so that it adds to them.
const PATH: &str = "/etc/netplan/90-byway.yaml";

pub(super) fn files(picture: &Picture<'_>) -> Vec<RenderedFile> {
    let (headline, uplink) = (picture.headline(Format::Netplan), picture.uplink);
    let routes = picture.lines(None, |to, via| format!("- to: \"{to}\"\n  via: \"{via}\""));
    let routes = indented(&routes, "        ");
    let none = if picture.has_route() { "" } else { " []" };
    let text = format!(
        "\
{headline}\
# Adds to what the other files say. For root's eyes only (chmod 600); then `netplan try`.
# If {uplink} is a bond, a bridge or a VLAN, write bonds, bridges or vlans instead of ethernets.
network:
  version: 2
  ethernets:
    \"{uplink}\":
      routes:{none}
{routes}"
    );
    vec![RenderedFile { path: PATH.into(), text }, forwarding::file(picture)]
}
