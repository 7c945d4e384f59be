//! getvpn's data plane: everything that touches a packet. Poll-mode workers encrypt and decrypt ESP
//! (RFC 4303) between the LAN and WAN ports of their links; a control thread publishes SAs and policy
//! to them. Knows nothing of GDOI, of configuration files or of sockets.

pub mod counters;
pub mod packet;
pub mod publish;
pub mod punt;
pub mod replay;
pub mod sender;
pub mod spi_table;
mod sync;
pub mod transform;
mod verdict;

pub use verdict::{DropReason, Verdict};
