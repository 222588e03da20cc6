//! systemd-networkd: systemd.network(5), networkd.conf(5).
//!
//! A drop-in, as a second `.network` file would take the interface away from the first.

use super::{Format, Picture, RenderedFile, forwarding};

pub(super) fn files(picture: &Picture<'_>) -> Vec<RenderedFile> {
    let (headline, uplink) = (picture.headline(Format::Networkd), picture.uplink);
    let routes = picture.lines(None, |to, via| format!("\n[Route]\nDestination={to}\nGateway={via}"));
    let text = format!(
        "\
{headline}\
# A drop-in for {uplink}.network: if `networkctl status {uplink}` names another file, rename this folder after
# that one. Then `networkctl reload`.
# The routes are networkd's own then. Those of others it removes when it restarts, unless networkd.conf says
# ManageForeignRoutes=no.
# Forwarding is in sysctl.d: IPv4Forwarding= came with version 256, and Docker's bridges are not networkd's.
{routes}"
    );
    let path = format!("/etc/systemd/network/{uplink}.network.d/byway.conf");
    vec![RenderedFile { path, text }, forwarding::file(picture)]
}
