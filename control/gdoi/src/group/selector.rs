//! Which packets an SA is for: what the source and destination identities of an SA TEK payload say.

use ipnet::IpNet;
use std::fmt;

/// One pair of prefixes, with what RFC 6407 section 5.5.1 can say besides: a protocol and single ports.
/// Source and destination are of the same address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// Source addresses.
    pub src: IpNet,
    /// Destination addresses.
    pub dst: IpNet,
    /// The protocol behind the IP header; any when `None`.
    pub protocol: Option<u8>,
    /// Source port; any when `None`.
    pub src_port: Option<u16>,
    /// Destination port; any when `None`.
    pub dst_port: Option<u16>,
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.src, self.dst)?;
        for (what, value) in [
            ("protocol", self.protocol.map(u16::from)),
            ("source port", self.src_port),
            ("destination port", self.dst_port),
        ] {
            if let Some(value) = value {
                write!(f, ", {what} {value}")?;
            }
        }
        Ok(())
    }
}
