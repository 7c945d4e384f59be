//! IPv6 (RFC 8200): parsing, the outer header of address-preserving tunnel mode, and changes in place.
//! Used by the workers; holds no state.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |Version| Traffic Class |              Flow Label               |
//! |        Payload Length         |  Next Header  |   Hop Limit   |
//! |                  Source Address, 16 octets                    |
//! |                Destination Address, 16 octets                 |
//! ```

use super::flow::Key6;
use super::frame::check_ports;
use super::headers::{Fragment, Headers, Version};
use super::ipv6_extensions::{self as extensions, Chain};
use super::protocol;
use crate::DropReason;

/// Octets of the header without extension headers.
pub const HEADER: usize = 40;

/// Parses the packet at the start of `packet`, which stands `l2_len` octets into its frame, with its
/// extension headers. A jumbogram (RFC 2675) is malformed: its payload length of 0 leaves no room for
/// the option that would give its length.
///
/// # Errors
/// What is wrong with it.
#[inline(always)]
pub fn parse(packet: &[u8], l2_len: u16) -> Result<Headers, DropReason> {
    let Some(header) = packet.first_chunk::<HEADER>() else {
        return Err(DropReason::FrameTruncated);
    };
    if header[0] >> 4 != 6 {
        return Err(DropReason::Ipv6Header);
    }
    let total_len = u32::from(u16::from_be_bytes([header[4], header[5]])) + 40;
    let Some(packet) = packet.get(..total_len as usize) else {
        return Err(DropReason::IpLength);
    };
    let next = header[6];
    let chain =
        if extensions::is_extension(next) { extensions::walk(packet, next)? } else { Chain::without(next) };
    if chain.fragment != Fragment::Later {
        check_ports(chain.next, packet.get(usize::from(chain.end)..).unwrap_or_default())?;
    }
    Ok(Headers {
        l2_len,
        version: Version::V6,
        ip_len: chain.end,
        total_len,
        protocol: chain.next,
        protocol_at: l2_len + chain.next_at,
        transport_insert_at: l2_len + chain.insert_at,
        transport_next_at: l2_len + chain.insert_next_at,
        fragment_at: if chain.fragment_at == 0 { 0 } else { l2_len + chain.fragment_at },
        fragment: chain.fragment,
        dont_fragment: true,
    })
}

/// The classification key of the packet at the start of `ip`.
#[inline(always)]
pub(super) fn key(ip: &[u8], protocol: u8, ports: [u8; 4]) -> Key6 {
    let header = ip.first_chunk::<HEADER>().unwrap_or(&[0; HEADER]);
    let [_, _, _, _, _, _, _, _, addresses @ ..] = header;
    let (src, dst) = addresses.split_at(16);
    let mut key = Key6 {
        protocol,
        pad: [0; 3],
        src: [0; 16],
        dst: [0; 16],
        src_port: [ports[0], ports[1]],
        dst_port: [ports[2], ports[3]],
    };
    key.src.copy_from_slice(src);
    key.dst.copy_from_slice(dst);
    key
}

/// Writes the outer header of tunnel mode with address preservation (RFC 5374 section 4.1, RFC 4301
/// section 5.1.2.1): addresses, traffic class with ECN (RFC 6040 section 4.1, normal mode), flow label
/// and hop limit are the inner header's; no extension headers; next header ESP. `payload_len` counts
/// ESP and ICV in octets, without this header.
#[inline]
pub fn write_outer(outer: &mut [u8; HEADER], inner: &[u8; HEADER], payload_len: u16) {
    *outer = *inner;
    outer[6] = protocol::ESP;
    set_payload_len(outer, payload_len);
}

/// The ECN field, two bits.
#[inline]
#[must_use]
pub fn ecn(header: &[u8; HEADER]) -> u8 {
    header[1] >> 4 & 3
}

/// Writes the ECN field.
#[inline]
pub fn set_ecn(header: &mut [u8; HEADER], ecn: u8) {
    header[1] = header[1] & !0x30 | (ecn & 3) << 4;
}

/// Writes the payload length in octets, which does not count this header.
#[inline]
pub fn set_payload_len(header: &mut [u8; HEADER], payload_len: u16) {
    header[4..6].copy_from_slice(&payload_len.to_be_bytes());
}

#[cfg(test)]
mod tests;
