//! The control socket: what `getvpnctl` and the daemons say to each other, the client's end and the
//! daemons' end of it. Knows nothing of packets, of DPDK or of what a command does.
//!
//! PROTOCOL.md beside the sources has the protocol: a line of JSON in each direction.

pub mod access;
mod baseline;
pub mod capture_file;
pub mod client;
pub mod esp_keys;
pub mod pages;
mod permissions;
pub mod probe;
mod protocol;
pub mod rates;
pub mod render;
pub mod reply;
pub mod server;
mod spi;

pub use baseline::Baseline;
pub use permissions::{Peer, Permissions};
pub use protocol::{Command, Fault, FaultCode, MAX_REPLY, MAX_REQUEST, VERSION};
pub use spi::{ParseSpiError, Spi};

/// Where `getvpn-gm` listens unless its configuration says otherwise.
pub const DEFAULT_GM_SOCKET: &str = "/run/getvpn/gm.sock";

/// Where `getvpn-ks` listens unless its configuration says otherwise.
pub const DEFAULT_KS_SOCKET: &str = "/run/getvpn/ks.sock";
