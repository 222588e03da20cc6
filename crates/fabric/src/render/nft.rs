//! Our nftables table as a file, with the members it has on this host.
//!
//! For `nft -f`, or to be included from `/etc/nftables.conf`. It is the table that the agent keeps.

use std::collections::BTreeSet;

use super::{Picture, RenderError, RenderedFile};
use crate::cluster::Cluster;
use crate::table::{Members, table};

pub(super) fn files(picture: &Picture<'_>, cluster: &Cluster) -> Result<Vec<RenderedFile>, RenderError> {
    let head = format!(
        "# What host {} lets through for the other hosts, by `byway render --format nft`.\n\
         # Load it with `nft -f`, or include it from /etc/nftables.conf.\n",
        picture.host.name
    );
    let text = head + &table_text(picture, cluster)?;
    Ok(vec![RenderedFile { path: "/etc/nftables.d/byway.nft".to_owned(), text }])
}

/// One transaction that puts the table in the place of whatever is there.
pub(super) fn table_text(picture: &Picture<'_>, cluster: &Cluster) -> Result<String, RenderError> {
    if picture.bridges.is_empty() {
        // Without the containers' bridge, the rule against forged addresses would drop the containers' packets.
        return Err(RenderError::NeedsBridge);
    }
    let peers = cluster.hosts.iter().filter(|other| other.name != picture.host.name);
    let inside: BTreeSet<String> = picture.bridges.iter().cloned().collect();
    let members = Members {
        uplinks: [picture.uplink.to_owned()].into(),
        // A file cannot know whether somebody else keeps outsiders out.
        guard: [inside.clone(), inside.clone()],
        inside,
        local: picture.host.subnets.iter().copied().collect(),
        peers: peers.flat_map(|host| host.subnets.iter().copied()).collect(),
        // Nor which peers are behind routers: a file has no tunnels.
        ends: BTreeSet::new(),
    };
    Ok(table(&members).replace_script())
}
