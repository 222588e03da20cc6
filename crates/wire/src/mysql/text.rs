//! Bytes of a connection as text that people and programs read.
//!
//! A client says in which character set its statements are: by the number of a collation at login, by a name in
//! `SET NAMES`. Three forms come out of it: [`print()`] for people, in which no two statements look the same; [`json`]
//! for programs; [`tshark`] for who had `tshark -T fields -e mysql.query` before.

mod charset;
mod form;

pub use charset::{Bytes, Charset};
pub use form::{json, json_base64, json_characters, parts, print, tshark};
