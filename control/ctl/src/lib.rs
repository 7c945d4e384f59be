//! The control socket: what `getvpnctl` and the daemons say to each other, the client's end and the
//! daemons' end of it. Knows nothing of packets, of DPDK or of what a command does.
//!
//! # The protocol
//!
//! A UNIX stream socket, mode 0600. The client sends one JSON object a line (at most
//! [`MAX_REQUEST`] octets with its newline), the daemon answers each with one JSON object a line, in
//! order:
//!
//! ```text
//! -> {"version":1,"command":"sa show","spi":"0x00010001"}
//! <- {"version":1,"ok":true,"reply":{"spi":"0x00010001","group":"finance",...}}
//! -> {"version":1,"command":"sa show","spi":"0x00000999"}
//! <- {"version":1,"ok":false,"error":{"code":"not-found","message":"there is no SA 0x00000999"}}
//! ```
//!
//! A reply may gain fields; the fields that it has keep their names and meaning within a protocol
//! version. After a request that is too long the daemon answers once and closes the connection,
//! because it cannot tell where the next request starts.

pub mod client;
mod protocol;
pub mod render;
pub mod reply;
pub mod server;
mod spi;

pub use protocol::{Command, Fault, FaultCode, MAX_REPLY, MAX_REQUEST, VERSION};
pub use spi::{ParseSpiError, Spi};

/// Where `getvpn-gm` listens unless its configuration says otherwise.
pub const DEFAULT_GM_SOCKET: &str = "/run/getvpn/gm.sock";

/// Where `getvpn-ks` listens unless its configuration says otherwise.
pub const DEFAULT_KS_SOCKET: &str = "/run/getvpn/ks.sock";
