//! Answers what this host would do with a packet now: its routes, next hops, interfaces and listeners.

use std::os::fd::AsFd;

use byway_fabric::evidence::{Listener, RouteAnswer};
use byway_fabric::trace::question::{Answers, INTERFACES_MAX, Question};

use crate::edge::netlink::Netlink;
use crate::edge::{cables, fib, netns};
use crate::error::chain;

/// Answers as well as it can; what cannot be found out is said.
#[must_use]
pub fn answer(question: &Question) -> Answers {
    let mut answers = Answers::default();
    match Netlink::open() {
        Ok(mut netlink) => answers.ask_kernel(question, &mut netlink),
        Err(error) => answers.unknown.push(chain(&error)),
    }
    if let Some((inside, protocol, port)) = question.listeners {
        match listeners(inside, protocol, port) {
            Ok(listeners) => answers.listeners = listeners,
            Err(why) => answers.unknown.push(why),
        }
    }
    answers
}

trait Ask {
    fn ask_kernel(&mut self, question: &Question, netlink: &mut Netlink);
}

impl Ask for Answers {
    fn ask_kernel(&mut self, question: &Question, netlink: &mut Netlink) {
        if let Some(route) = &question.route {
            match fib::route(netlink, route) {
                Ok(answer) => {
                    if let RouteAnswer::Way(way) = &answer
                        && let (Some(dev), false) = (&way.dev, way.is_local)
                    {
                        let hop = way.via.unwrap_or(route.destination);
                        let state = fib::neighbour(netlink, dev, hop).unwrap_or_default();
                        self.next_hop = Some((hop, state));
                    }
                    self.route = Some(answer);
                }
                Err(error) => self.unknown.push(chain(&error)),
            }
        }
        for name in question.interfaces.iter().take(INTERFACES_MAX) {
            match fib::link(netlink, name) {
                Ok(link) => self.interfaces.extend(link),
                Err(error) => self.unknown.push(chain(&error)),
            }
        }
    }
}

/// Who listens at a port, inside of a container or on the host itself; the error is in words.
fn listeners(inside: Option<u64>, protocol: u8, port: u16) -> Result<Vec<Listener>, String> {
    let look = || fib::listeners(protocol, port).map_err(|error| format!("list the sockets: {error}"));
    let Some(inode) = inside else { return look() };
    let plugged = cables::list(&[]).map_err(|error| chain(&error))?;
    let plugged = plugged.iter().find(|plugged| plugged.inode == inode);
    let namespace = plugged.ok_or_else(|| super::TraceError::NoNamespace(inode).to_string())?.namespace.as_fd();
    netns::inside(namespace, look).map_err(|error| chain(&error))?
}
