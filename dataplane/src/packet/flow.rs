//! What policy classifies a packet by: protocol, addresses and ports, in network byte order, laid out
//! as the classifier reads them. Made by the parser on the workers, read by the policy lookup.

pub use dpdk::acl::{Key4, Key6};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A packet's classification key. Ports are those of TCP, UDP, UDP-Lite, SCTP and DCCP; they are zero
/// for all other protocols (ICMP type and code are not ports) and for later fragments.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flow {
    /// Of an IPv4 packet.
    V4(Key4),
    /// Of an IPv6 packet.
    V6(Key6),
}

impl Flow {
    /// The source address.
    #[must_use]
    pub fn source(&self) -> IpAddr {
        match self {
            Flow::V4(key) => Ipv4Addr::from(key.src).into(),
            Flow::V6(key) => Ipv6Addr::from(key.src).into(),
        }
    }

    /// The destination address.
    #[must_use]
    pub fn destination(&self) -> IpAddr {
        match self {
            Flow::V4(key) => Ipv4Addr::from(key.dst).into(),
            Flow::V6(key) => Ipv6Addr::from(key.dst).into(),
        }
    }

    /// Source and destination port.
    #[must_use]
    pub fn ports(&self) -> (u16, u16) {
        let (source, destination) = match self {
            Flow::V4(key) => (key.src_port, key.dst_port),
            Flow::V6(key) => (key.src_port, key.dst_port),
        };
        (u16::from_be_bytes(source), u16::from_be_bytes(destination))
    }
}
