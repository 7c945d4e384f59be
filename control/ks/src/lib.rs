//! The key server daemon: authenticates members, owns the groups' policy and keys, and keeps members in
//! step. Needs no DPDK.

pub mod config;
pub mod core;
pub mod daemon;
pub mod doctor;
pub mod serve;
pub mod store;
