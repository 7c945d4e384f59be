//! Traffic selectors (RFC 4301 section 4.4.1.1): which packets an SA or a policy rule is for.
//! Built by the control thread; matched by workers, on the packet inside the ESP.

use std::fmt;
use std::net::IpAddr;
use std::ops::BitAnd;

use crate::packet::{Fragment, Headers, Version};

/// An address prefix. Bits beyond its length are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Prefix {
    address: IpAddr,
    length: u8,
}

impl Prefix {
    /// A prefix of `length` bits; `None` if `length` exceeds the address's or a bit beyond it is set.
    #[must_use]
    pub fn new(address: IpAddr, length: u8) -> Option<Self> {
        let masked = Self::truncated(address, length)?;
        (masked.address == address).then_some(masked)
    }

    /// The prefix of `length` bits that holds `address`; `None` if `length` exceeds the address's.
    #[must_use]
    pub fn truncated(address: IpAddr, length: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(a) if length <= 32 => IpAddr::V4((a.to_bits() & mask4(length)).into()),
            IpAddr::V6(a) if length <= 128 => IpAddr::V6((a.to_bits() & mask6(length)).into()),
            _ => return None,
        };
        Some(Prefix { address, length })
    }

    /// The first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// The number of leading bits that count.
    #[must_use]
    pub fn length(&self) -> u8 {
        self.length
    }

    /// Whether this is an IPv4 prefix.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

/// An inclusive range of ports.
pub type Ports = (u16, u16);

/// Every port, and protocols that have none.
pub const ANY_PORT: Ports = (0, u16::MAX);

/// A 5-tuple of ranges. Source and destination are of the same address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    /// Source address.
    pub src: Prefix,
    /// Destination address.
    pub dst: Prefix,
    /// Upper-layer protocol number, or any.
    pub protocol: Option<u8>,
    /// Source port; [`ANY_PORT`] for any, and for protocols without ports.
    pub src_port: Ports,
    /// Destination port, likewise.
    pub dst_port: Ports,
}

impl Selector {
    /// Everything between two prefixes.
    #[must_use]
    pub fn between(src: Prefix, dst: Prefix) -> Self {
        Selector { src, dst, protocol: None, src_port: ANY_PORT, dst_port: ANY_PORT }
    }

    /// Whether it looks at ports, which a later fragment does not carry.
    #[must_use]
    pub fn has_ports(&self) -> bool {
        self.src_port != ANY_PORT || self.dst_port != ANY_PORT
    }

    /// The same without regard to ports: what can be told of a later fragment.
    #[must_use]
    pub fn without_ports(&self) -> Self {
        Selector { src_port: ANY_PORT, dst_port: ANY_PORT, ..*self }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.src, self.dst)?;
        if let Some(protocol) = self.protocol {
            write!(f, " protocol {protocol}")?;
        }
        for (name, (low, high)) in [("source", self.src_port), ("destination", self.dst_port)] {
            match (low, high) {
                ANY_PORT => {}
                _ if low == high => write!(f, " {name} port {low}")?,
                _ => write!(f, " {name} port {low}-{high}")?,
            }
        }
        Ok(())
    }
}

/// An SA's selectors in the form that a worker matches: masks ready, one list for each family.
#[derive(Debug)]
pub(crate) struct SelectorSet {
    v4: Box<[Compiled<u32>]>,
    v6: Box<[Compiled<u128>]>,
}

#[derive(Debug)]
struct Compiled<A> {
    src: A,
    src_mask: A,
    dst: A,
    dst_mask: A,
    protocol: Option<u8>,
    /// Whether ports matter at all.
    has_ports: bool,
    src_port: Ports,
    dst_port: Ports,
}

impl SelectorSet {
    pub(crate) fn new(selectors: &[Selector]) -> Self {
        let mut v4 = Vec::new();
        let mut v6 = Vec::new();
        for s in selectors {
            match (s.src.address, s.dst.address) {
                (IpAddr::V4(src), IpAddr::V4(dst)) => v4.push(Compiled {
                    src: src.to_bits(),
                    src_mask: mask4(s.src.length),
                    dst: dst.to_bits(),
                    dst_mask: mask4(s.dst.length),
                    protocol: s.protocol,
                    has_ports: s.has_ports(),
                    src_port: s.src_port,
                    dst_port: s.dst_port,
                }),
                (IpAddr::V6(src), IpAddr::V6(dst)) => v6.push(Compiled {
                    src: src.to_bits(),
                    src_mask: mask6(s.src.length),
                    dst: dst.to_bits(),
                    dst_mask: mask6(s.dst.length),
                    protocol: s.protocol,
                    has_ports: s.has_ports(),
                    src_port: s.src_port,
                    dst_port: s.dst_port,
                }),
                // A selector of mixed families matches nothing; configuration refuses it.
                _ => {}
            }
        }
        SelectorSet { v4: v4.into(), v6: v6.into() }
    }

    /// Whether any selector matches the packet that `headers` were parsed from. A later fragment has no
    /// ports, so they are not looked at.
    #[inline(always)]
    pub(crate) fn matches(&self, headers: &Headers, octets: &[u8]) -> bool {
        match headers.version {
            Version::V4 => {
                let (src, dst) = headers.addresses4(octets);
                self.v4.iter().any(|s| s.matches(src, dst, headers, octets))
            }
            Version::V6 => self.matches6(headers, octets),
        }
    }

    #[inline(never)]
    fn matches6(&self, headers: &Headers, octets: &[u8]) -> bool {
        let (src, dst) = headers.addresses6(octets);
        self.v6.iter().any(|s| s.matches(src, dst, headers, octets))
    }
}

impl<A: Copy + PartialEq + BitAnd<Output = A>> Compiled<A> {
    #[inline(always)]
    fn matches(&self, src: A, dst: A, headers: &Headers, octets: &[u8]) -> bool {
        src & self.src_mask == self.src
            && dst & self.dst_mask == self.dst
            && self.protocol.is_none_or(|p| p == headers.protocol)
            && (!self.has_ports
                || headers.fragment == Fragment::Later
                || self.ports_match(headers.ports(octets)))
    }

    #[inline(never)]
    fn ports_match(&self, (src, dst): (u16, u16)) -> bool {
        let within = |port: u16, (low, high): Ports| (low..=high).contains(&port);
        within(src, self.src_port) && within(dst, self.dst_port)
    }
}

fn mask4(length: u8) -> u32 {
    u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0)
}

fn mask6(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}
