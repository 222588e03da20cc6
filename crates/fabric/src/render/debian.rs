//! Debian's ifupdown: interfaces(5), ifup(8).
//!
//! A script in `if-up.d`, not a stanza: a second `iface` stanza in `interfaces.d` would run before the one that
//! brings the address, because `source` stands at the top of Debian's `/etc/network/interfaces`.

use super::{Format, Picture, RenderedFile, forwarding, indented, shell};
use crate::inventory::Family;

/// `run-parts` takes no names with a dot.
const PATH: &str = "/etc/network/if-up.d/byway";

pub(super) fn files(picture: &Picture<'_>) -> Vec<RenderedFile> {
    let (headline, uplink) = (picture.headline(Format::Interfaces), picture.uplink);
    let routes = |family| {
        let lines = picture.lines(Some(family), |to, via| shell::command(to, via, uplink));
        indented(&lines, "    ")
    };
    let (ipv4, ipv6) = (routes(Family::V4), routes(Family::V6));
    let text = format!(
        "\
#!/bin/sh
{headline}\
# ifup runs it behind each stanza `iface {uplink} inet …` and `iface {uplink} inet6 …` in
# /etc/network/interfaces; it must be executable (chmod 755). When the interface goes down, the kernel removes
# the routes.
set -e
[ \"$IFACE\" = \"{uplink}\" ] || exit 0

case \"$ADDRFAM\" in
inet)
{ipv4}    ;;
inet6)
{ipv6}    ;;
esac
"
    );
    vec![RenderedFile { path: PATH.into(), text }, forwarding::file(picture)]
}
