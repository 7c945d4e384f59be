//! Packets as octets: one parse of a received frame into offsets that cannot be wrong, and what is
//! written back (ESP, outer headers, ICMP errors). Runs on the workers; holds no state, never
//! allocates, never panics whatever the octets are, and knows nothing of mbufs.

pub mod checksum;
pub mod ecn;
pub mod esp;
pub mod ethernet;
pub mod flow;
pub mod frame;
pub mod headers;
pub mod icmp;
pub mod ipv4;
pub mod ipv6;
mod ipv6_extensions;
#[cfg(test)]
mod oracle;
pub mod protocol;

pub use flow::{Flow, Key4, Key6};
pub use frame::{Parsed, parse, parse_ip};
pub use headers::{Fragment, Headers, Version};
