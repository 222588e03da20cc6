//! Bytes that nobody can guess, from the kernel (`random(4)`).

use std::fs::File;
use std::io::{self, Read as _};

/// So many of them.
///
/// # Errors
/// When the kernel gives none.
pub fn bytes<const COUNT: usize>() -> io::Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
