//! The group member daemon: reads its configuration, starts the data plane, and keeps its SAs. All of
//! it runs on the control thread; nothing here touches a packet.

pub mod config;

pub mod reserve;
pub mod sad;
pub mod unknown;
