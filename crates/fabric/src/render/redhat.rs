//! Red Hat's network-scripts: one route in the words of ip-route(8) per line, one file per family.

use super::{Picture, RenderedFile, forwarding};
use crate::inventory::Family;

pub(super) fn files(picture: &Picture<'_>) -> Vec<RenderedFile> {
    let mut files = Vec::new();
    for (family, name) in [(Family::V4, "route"), (Family::V6, "route6")] {
        // No headline: people compare this file with what they once wrote by hand.
        let text = picture.lines(Some(family), |to, via| format!("{to} via {via}"));
        if !text.is_empty() {
            let path = format!("/etc/sysconfig/network-scripts/{name}-{}", picture.uplink);
            files.push(RenderedFile { path, text });
        }
    }
    files.push(forwarding::file(picture));
    files
}
