//! The ICMP errors of path MTU discovery, sent towards the LAN when a packet does not fit after
//! encryption. Written by the workers into a buffer of theirs; holds no state; does not limit rates.
//!
//! The member is transparent and has no address of its own, so the error comes from the address that
//! the packet was sent to, by its MAC address, as if the destination had complained.

use super::headers::{Fragment, Headers, Version};
use super::{checksum, ethernet, ipv4, ipv6, protocol};
use std::net::IpAddr;

/// Octets of an ICMP error in front of the packet it quotes: type, code, checksum, MTU.
const HEADER: usize = 8;

/// Octets of the longest IPv4 packet that carries an ICMP error (RFC 1812 section 4.3.2.3).
const MAX_IPV4: usize = 576;

/// Octets of the longest IPv6 packet that carries an ICMPv6 error: the minimum MTU (RFC 4443 section
/// 2.4 c).
const MAX_IPV6: usize = 1280;

/// Octets of the longest frame that this module writes.
pub const MAX_FRAME: usize = ethernet::MAX_HEADER + MAX_IPV6;

const HOP_LIMIT: u8 = 64;
/// Precedence "internetwork control" (RFC 1812 section 4.3.2.5).
const IPV4_TOS: u8 = 0xc0;

const DESTINATION_UNREACHABLE: u8 = 3;
const FRAGMENTATION_NEEDED: u8 = 4;
const PACKET_TOO_BIG: u8 = 2;

/// Whether an ICMP error may be sent about this packet (RFC 1122 section 3.2.2, RFC 4443 section 2.4
/// e): never about an ICMP error, a redirect, a later fragment, a packet to or from an address that is
/// not one host's, or a frame to a group. IPv6 would allow Packet Too Big about a multicast packet, but
/// there is no address that it could come from.
#[must_use]
pub fn may_answer(frame: &[u8], headers: &Headers) -> bool {
    headers.fragment != Fragment::Later
        && !ethernet::is_to_group(frame)
        && is_host(headers.source(frame))
        && is_host(headers.destination(frame))
        && !is_error(frame, headers)
}

fn is_host(address: IpAddr) -> bool {
    match address {
        // 0/8, 127/8, and all from 224/4 on: multicast, class E, broadcast.
        IpAddr::V4(address) => !matches!(address.octets()[0], 0 | 127 | 224..),
        IpAddr::V6(address) => !address.is_unspecified() && !address.is_loopback() && !address.is_multicast(),
    }
}

/// Whether the packet is itself an ICMP error or a redirect, or an ICMP message without a type.
fn is_error(frame: &[u8], headers: &Headers) -> bool {
    let is_error: fn(u8) -> bool = match (headers.version, headers.protocol) {
        // Unreachable, source quench, redirect, time exceeded, parameter problem.
        (Version::V4, protocol::ICMP) => |kind| matches!(kind, 3 | 4 | 5 | 11 | 12),
        // All errors, and redirect.
        (Version::V6, protocol::ICMPV6) => |kind| matches!(kind, 0..=127 | 137),
        _ => return false,
    };
    frame.get(headers.upper_at()..headers.end()).and_then(<[u8]>::first).is_none_or(|kind| is_error(*kind))
}

/// Whether the packet says of ESP that it does not fit: a router between the members has met a smaller MTU
/// than the links are configured to (RFC 792, RFC 4443 section 3.2). It is addressed to the host that the
/// packet inside came from, which knows nothing of ESP.
#[must_use]
pub fn is_esp_too_big(frame: &[u8], headers: &Headers) -> bool {
    let upper = frame.get(headers.upper_at()..headers.end()).unwrap_or_default();
    let (Some(&[kind, code, ..]), Some(quoted)) = (upper.first_chunk::<HEADER>(), upper.get(HEADER..)) else {
        return false;
    };
    let protocol_at = match (headers.version, headers.protocol, kind, code) {
        (Version::V4, protocol::ICMP, DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED) => 9,
        (Version::V6, protocol::ICMPV6, PACKET_TOO_BIG, _) => 6,
        _ => return false,
    };
    quoted.get(protocol_at) == Some(&protocol::ESP)
}

/// Writes a frame with "destination unreachable, fragmentation needed and DF set" (RFC 792, RFC 1191
/// section 4) about the IPv4 packet in `frame`. `mtu` is in octets of IP packet. Returns the length of
/// the new frame; `None` if the packet is not IPv4 or `out` is shorter than the frame;
/// [`MAX_FRAME`] octets are always enough.
#[must_use]
pub fn ipv4_fragmentation_needed(frame: &[u8], headers: &Headers, mtu: u16, out: &mut [u8]) -> Option<usize> {
    if headers.version != Version::V4 {
        return None;
    }
    let reply = Reply::start(frame, headers, MAX_IPV4 - ipv4::HEADER - HEADER, out)?;
    let original = reply.quote.first_chunk::<{ ipv4::HEADER }>()?;
    let (ip, rest) = reply.out.split_first_chunk_mut::<{ ipv4::HEADER }>()?;
    let icmp = rest.get_mut(..HEADER + reply.quote.len())?;
    write_error(icmp, [DESTINATION_UNREACHABLE, FRAGMENTATION_NEEDED], u32::from(mtu), reply.quote)?;
    let sum = checksum::of(&[icmp]);
    icmp.get_mut(2..4)?.copy_from_slice(&sum);

    let total_len = u16::try_from(ipv4::HEADER + icmp.len()).ok()?;
    *ip = [0; ipv4::HEADER];
    ip[0] = 0x45;
    ip[1] = IPV4_TOS;
    ip[2..4].copy_from_slice(&total_len.to_be_bytes());
    ip[6] = 0x40; // DF: an atomic datagram needs no unique ID (RFC 6864 section 4.1).
    ip[8] = HOP_LIMIT;
    ip[9] = protocol::ICMP;
    ip[12..16].copy_from_slice(&original[16..20]);
    ip[16..20].copy_from_slice(&original[12..16]);
    let sum = checksum::of(&[ip]);
    ip[10..12].copy_from_slice(&sum);
    Some(usize::from(headers.l2_len) + usize::from(total_len))
}

/// Writes a frame with "packet too big" (RFC 4443 section 3.2) about the IPv6 packet in `frame`. `mtu`
/// is in octets of IP packet and should be at least 1280 (RFC 8201 section 4). Returns the length of
/// the new frame; `None` if the packet is not IPv6 or `out` is shorter than the frame;
/// [`MAX_FRAME`] octets are always enough.
#[must_use]
pub fn ipv6_packet_too_big(frame: &[u8], headers: &Headers, mtu: u32, out: &mut [u8]) -> Option<usize> {
    if headers.version != Version::V6 {
        return None;
    }
    let reply = Reply::start(frame, headers, MAX_IPV6 - ipv6::HEADER - HEADER, out)?;
    let original = reply.quote.first_chunk::<{ ipv6::HEADER }>()?;
    let (ip, rest) = reply.out.split_first_chunk_mut::<{ ipv6::HEADER }>()?;
    let icmp = rest.get_mut(..HEADER + reply.quote.len())?;
    let payload_len = u16::try_from(icmp.len()).ok()?;
    *ip = [0; ipv6::HEADER];
    ip[0] = 0x60;
    ip[4..6].copy_from_slice(&payload_len.to_be_bytes());
    ip[6] = protocol::ICMPV6;
    ip[7] = HOP_LIMIT;
    ip[8..24].copy_from_slice(&original[24..40]);
    ip[24..40].copy_from_slice(&original[8..24]);

    write_error(icmp, [PACKET_TOO_BIG, 0], mtu, reply.quote)?;
    // The pseudo-header of RFC 8200 section 8.1; its order does not matter to a sum.
    let length = payload_len.to_be_bytes();
    let sum = checksum::of(&[&ip[8..40], &length, &[0, protocol::ICMPV6], icmp]);
    icmp.get_mut(2..4)?.copy_from_slice(&sum);
    Some(usize::from(headers.l2_len) + ipv6::HEADER + usize::from(payload_len))
}

/// What both errors begin with.
struct Reply<'a> {
    /// The octets of the packet that fit.
    quote: &'a [u8],
    /// The room behind the Ethernet header, which is written.
    out: &'a mut [u8],
}

impl<'a> Reply<'a> {
    fn start(frame: &'a [u8], headers: &Headers, room: usize, out: &'a mut [u8]) -> Option<Self> {
        let (ethernet, packet) = frame.split_at_checked(usize::from(headers.l2_len))?;
        let quote = packet.get(..room.min(headers.total_len as usize).min(packet.len()))?;
        let (to, out) = out.split_at_mut_checked(ethernet.len())?;
        to.copy_from_slice(ethernet);
        to.get_mut(..6)?.copy_from_slice(ethernet.get(6..12)?);
        to.get_mut(6..12)?.copy_from_slice(ethernet.get(..6)?);
        Some(Reply { quote, out })
    }
}

/// Writes an error with its checksum still zero. An IPv4 MTU has the field's lower half, as RFC 1191
/// has it; the upper half is unused.
fn write_error(icmp: &mut [u8], type_and_code: [u8; 2], mtu: u32, quote: &[u8]) -> Option<()> {
    let (header, body) = icmp.split_first_chunk_mut::<HEADER>()?;
    header[..2].copy_from_slice(&type_and_code);
    header[2..4].fill(0);
    header[4..].copy_from_slice(&mtu.to_be_bytes());
    body.copy_from_slice(quote);
    Some(())
}

#[cfg(test)]
mod tests;
