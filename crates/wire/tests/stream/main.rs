//! Connections put together: segments as text, and the bytes that come out as text; and at random.

#![expect(clippy::unwrap_used, reason = "what is made here is known to be good")]

mod conversation;
mod fragments;
mod random;
mod scene;
mod stories;
