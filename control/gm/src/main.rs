//! The group member daemon.
fn main() {}
