//! The one parse: an Ethernet frame, or an IP packet from inside ESP, into [`Headers`]. Runs on the
//! workers for every packet; never panics for any octets and looks at nothing behind the ports.

use super::ethernet::{self, Untagged};
use super::headers::Headers;
use super::{ipv4, ipv6, protocol};
use crate::DropReason;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// Not IP: ARP, LLDP, IEEE 802.3 length frames and all else. It crosses the link unchanged.
    NotIp,
    /// An IP packet.
    Ip(Headers),
    /// Says that it is IP, but cannot be; or is IP where policy cannot be applied to it.
    Malformed(DropReason),
}

/// Parses a whole frame, from the destination address on, without FCS. It must be contiguous: what is
/// not in the slice counts as missing. Octets behind the IP packet are padding and are not looked at.
#[inline]
#[must_use]
pub fn parse(frame: &[u8]) -> Parsed {
    let Some((header, packet)) = frame.split_first_chunk::<{ ethernet::HEADER }>() else {
        return Parsed::Malformed(DropReason::FrameTruncated);
    };
    match u16::from_be_bytes([header[12], header[13]]) {
        ethernet::IPV4 => ipv4::parse(packet, 14).into(),
        ethernet::IPV6 => ipv6::parse(packet, 14).into(),
        ethertype if ethernet::is_tag(ethertype) => tagged(frame),
        _ => Parsed::NotIp,
    }
}

/// Parses an IP packet that stands alone, as in tunnel mode. Octets behind it are padding for
/// traffic-flow confidentiality (RFC 4303 section 2.7).
///
/// # Errors
/// What is wrong with it.
#[inline]
pub fn parse_ip(packet: &[u8]) -> Result<Headers, DropReason> {
    match packet.first() {
        Some(octet) if octet >> 4 == 6 => ipv6::parse(packet, 0),
        Some(_) => ipv4::parse(packet, 0),
        None => Err(DropReason::FrameTruncated),
    }
}

#[inline(never)]
fn tagged(frame: &[u8]) -> Parsed {
    let Some(Untagged { ethertype, tags, payload }) = ethernet::untag(frame) else {
        return Parsed::Malformed(DropReason::FrameTruncated);
    };
    match (ethertype, tags) {
        (ethernet::IPV4, 1) => ipv4::parse(payload, 18).into(),
        (ethernet::IPV6, 1) => ipv6::parse(payload, 18).into(),
        (ethernet::IPV4, 2) => ipv4::parse(payload, 22).into(),
        (ethernet::IPV6, 2) => ipv6::parse(payload, 22).into(),
        (ethernet::IPV4 | ethernet::IPV6, _) => Parsed::Malformed(DropReason::VlanTags),
        _ => Parsed::NotIp,
    }
}

/// Source and destination port at the start of an upper-layer header; zeros for a protocol without
/// ports.
#[inline]
pub(super) fn ports(protocol: u8, upper: &[u8]) -> Result<[u8; 4], DropReason> {
    if !protocol::has_ports(protocol) {
        return Ok([0; 4]);
    }
    upper.first_chunk().copied().ok_or(DropReason::FrameTruncated)
}

impl From<Result<Headers, DropReason>> for Parsed {
    #[inline]
    fn from(result: Result<Headers, DropReason>) -> Self {
        match result {
            Ok(headers) => Parsed::Ip(headers),
            Err(reason) => Parsed::Malformed(reason),
        }
    }
}

#[cfg(test)]
mod tests;
