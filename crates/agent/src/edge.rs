//! Where the agent touches the world: one file per thing it touches.

pub mod netlink;
