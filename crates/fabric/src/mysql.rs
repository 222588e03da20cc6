//! What clients and servers of MySQL said to each other, as it is told to people.

pub mod digest;
pub mod said;
pub mod spoken;
