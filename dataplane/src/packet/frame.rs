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
///
/// Match on the result where it is made: then the headers are written to where they are kept. To keep
/// a [`Parsed`] as a whole costs a copy that waits for many small writes, half as long as the parse.
#[inline(always)]
#[must_use]
pub fn parse(frame: &[u8]) -> Parsed {
    match find(frame) {
        Found::NotIp => Parsed::NotIp,
        Found::Ipv4 { packet, l2_len } => {
            ipv4::parse(packet, l2_len).map_or_else(Parsed::Malformed, Parsed::Ip)
        }
        Found::Ipv6 { packet, l2_len } => {
            ipv6::parse(packet, l2_len).map_or_else(Parsed::Malformed, Parsed::Ip)
        }
        Found::Malformed(reason) => Parsed::Malformed(reason),
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

/// What a frame carries, and where.
enum Found<'a> {
    NotIp,
    Ipv4 { packet: &'a [u8], l2_len: u16 },
    Ipv6 { packet: &'a [u8], l2_len: u16 },
    Malformed(DropReason),
}

#[inline(always)]
fn find(frame: &[u8]) -> Found<'_> {
    let Some((header, packet)) = frame.split_first_chunk::<{ ethernet::HEADER }>() else {
        return Found::Malformed(DropReason::FrameTruncated);
    };
    match u16::from_be_bytes([header[12], header[13]]) {
        ethernet::IPV4 => Found::Ipv4 { packet, l2_len: 14 },
        ethernet::IPV6 => Found::Ipv6 { packet, l2_len: 14 },
        ethertype if ethernet::is_tag(ethertype) => find_tagged(frame),
        _ => Found::NotIp,
    }
}

#[inline(never)]
fn find_tagged(frame: &[u8]) -> Found<'_> {
    let Some(Untagged { ethertype, tags, payload }) = ethernet::untag(frame) else {
        return Found::Malformed(DropReason::FrameTruncated);
    };
    let l2_len = match tags {
        0 => 14,
        1 => 18,
        2 => 22,
        _ if matches!(ethertype, ethernet::IPV4 | ethernet::IPV6) => {
            return Found::Malformed(DropReason::VlanTags);
        }
        _ => return Found::NotIp,
    };
    match ethertype {
        ethernet::IPV4 => Found::Ipv4 { packet: payload, l2_len },
        ethernet::IPV6 => Found::Ipv6 { packet: payload, l2_len },
        _ => Found::NotIp,
    }
}

/// A protocol with ports has them at the start of its header.
#[inline]
pub(super) fn check_ports(protocol: u8, upper: &[u8]) -> Result<(), DropReason> {
    const PORTS: usize = 4;
    let complete = upper.len() >= PORTS || !protocol::has_ports(protocol);
    complete.then_some(()).ok_or(DropReason::FrameTruncated)
}

#[cfg(test)]
mod tests;
