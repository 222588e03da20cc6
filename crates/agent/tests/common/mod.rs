//! Network namespaces that end with their thread, and links in them.

#![allow(dead_code, reason = "each story file takes what it needs")]

use byway_agent::edge::netlink::{Netlink, Request};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoKind, InfoVeth, LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};

/// Runs a test on a thread with a network namespace of its own.
pub(crate) fn in_a_namespace(test: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let own = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET);
            own.expect("a network namespace of its own needs CAP_SYS_ADMIN; run the tests as root");
            test();
        });
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

pub(crate) fn named(name: &str) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.to_owned()));
    link
}

pub(crate) fn change(message: RouteNetlinkMessage, flags: u16) {
    Netlink::open().unwrap().one(Request { message, flags }).unwrap();
}

pub(crate) fn link_up(name: &str) {
    set_up(name, LinkFlags::Up);
}

pub(crate) fn link_down(name: &str) {
    set_up(name, LinkFlags::empty());
}

fn set_up(name: &str, flags: LinkFlags) {
    let mut link = named(name);
    link.header.flags = flags;
    link.header.change_mask = LinkFlags::Up;
    change(RouteNetlinkMessage::SetLink(link), 0);
}

pub(crate) fn remove(name: &str) {
    change(RouteNetlinkMessage::DelLink(named(name)), 0);
}

pub(crate) fn add_veth(one: &str, other: &str) {
    let mut link = named(one);
    let info = InfoData::Veth(InfoVeth::Peer(named(other)));
    link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Veth), LinkInfo::Data(info)]));
    change(RouteNetlinkMessage::NewLink(link), NLM_F_CREATE | NLM_F_EXCL);
    link_up(one);
    link_up(other);
    notice_carrier(one);
    notice_carrier(other);
}

/// Makes the kernel act on the carrier of a new link at once: until it has, it drops what is sent there, and it may
/// show the link as running before. Asking for one link (not for all) is what makes it (`linkwatch_sync_dev`).
pub(crate) fn notice_carrier(name: &str) {
    change(RouteNetlinkMessage::GetLink(named(name)), 0);
}
