//! IPv4 (RFC 791): parsing, the outer header of address-preserving tunnel mode, and changes in place.
//! Used by the workers; holds no state.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! |Version|  IHL  |   DSCP    |ECN|         Total Length          |
//! |        Identification         |0 D M     Fragment Offset      |
//! |      TTL      |   Protocol    |        Header Checksum        |
//! |                        Source Address                         |
//! |                      Destination Address                      |
//! ```

use super::checksum;
use super::flow::Key4;
use super::frame::check_ports;
use super::headers::{Fragment, Headers, Version};
use super::protocol;
use crate::DropReason;

/// Octets of the header without options.
pub const HEADER: usize = 20;

const PROTOCOL_AT: u16 = 9;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Parses the packet at the start of `packet`, which stands `l2_len` octets into its frame. Version,
/// lengths, checksum and the extent of a fragment are checked; options are stepped over.
///
/// # Errors
/// What is wrong with it.
#[inline(always)]
pub fn parse(packet: &[u8], l2_len: u16) -> Result<Headers, DropReason> {
    let Some(header) = packet.first_chunk::<HEADER>() else {
        return Err(DropReason::FrameTruncated);
    };
    let ip_len =
        if header[0] == 0x45 && checksum::verifies(header) { 20 } else { check_unusual(packet, header[0])? };
    let total_len = u16::from_be_bytes([header[2], header[3]]);
    if total_len < ip_len {
        return Err(DropReason::Ipv4Header);
    }
    let Some(upper) = packet.get(usize::from(ip_len)..usize::from(total_len)) else {
        return Err(DropReason::IpLength);
    };
    let field = u16::from_be_bytes([header[6], header[7]]);
    let fragment = if field & (MORE_FRAGMENTS | OFFSET) == 0 {
        Fragment::None
    } else {
        check_fragment(field, total_len, upper.len())?
    };
    let protocol = header[9];
    if fragment != Fragment::Later {
        check_ports(protocol, upper)?;
    }
    Ok(Headers {
        l2_len,
        version: Version::V4,
        ip_len,
        total_len: u32::from(total_len),
        protocol,
        protocol_at: l2_len + PROTOCOL_AT,
        transport_insert_at: l2_len + ip_len,
        transport_next_at: l2_len + PROTOCOL_AT,
        fragment_at: 0,
        fragment,
        dont_fragment: field & DONT_FRAGMENT != 0,
    })
}

/// The classification key of the packet at the start of `ip`.
#[inline(always)]
pub(super) fn key(ip: &[u8], protocol: u8, ports: [u8; 4]) -> Key4 {
    let [_, _, _, _, _, _, _, _, _, _, _, _, addresses @ ..] =
        ip.first_chunk::<HEADER>().unwrap_or(&[0; HEADER]);
    // In pieces of four octets, which the compiler does not see by itself.
    let (src, dst) = addresses.split_at(4);
    let (mut key, (src_port, dst_port)) = (Key4 { protocol, ..Key4::default() }, ports.split_at(2));
    key.src.copy_from_slice(src);
    key.dst.copy_from_slice(dst);
    key.src_port.copy_from_slice(src_port);
    key.dst_port.copy_from_slice(dst_port);
    key
}

/// The length of a header that has options, or is wrong.
#[cold]
#[inline(never)]
fn check_unusual(packet: &[u8], version_and_ihl: u8) -> Result<u16, DropReason> {
    if !(0x45..=0x4f).contains(&version_and_ihl) {
        return Err(DropReason::Ipv4Header);
    }
    let ip_len = u16::from(version_and_ihl & 0xf) * 4;
    let header = packet.get(..usize::from(ip_len)).ok_or(DropReason::FrameTruncated)?;
    if !checksum::verifies(header) {
        return Err(DropReason::Ipv4Header);
    }
    Ok(ip_len)
}

/// A fragment must carry octets, a multiple of eight unless it is the last, and must end inside the
/// largest datagram that there can be (RFC 791 section 3.2).
#[cold]
#[inline(never)]
fn check_fragment(field: u16, total_len: u16, payload_len: usize) -> Result<Fragment, DropReason> {
    let offset = u32::from(field & OFFSET) * 8;
    let more = field & MORE_FRAGMENTS != 0;
    if payload_len == 0 || (more && !payload_len.is_multiple_of(8)) || offset + u32::from(total_len) > 0xffff
    {
        return Err(DropReason::ReassemblyFailed);
    }
    Ok(if offset == 0 { Fragment::First } else { Fragment::Later })
}

/// Writes the outer header of tunnel mode with address preservation (RFC 5374 section 4.1, RFC 4301
/// section 5.1.2.1): addresses, DSCP, ECN (RFC 6040 section 4.1, normal mode), DF and TTL are the
/// inner header's; no options; not a fragment, even if the inner packet is one; protocol ESP.
/// `total_len` counts this header, ESP and ICV in octets.
#[inline]
pub fn write_outer(outer: &mut [u8; HEADER], inner: &[u8; HEADER], total_len: u16, id: u16) {
    let [len_high, len_low] = total_len.to_be_bytes();
    let [id_high, id_low] = id.to_be_bytes();
    let mut words = [
        [0x45, inner[1], len_high, len_low],
        [id_high, id_low, inner[6] & 0x40, 0],
        [inner[8], protocol::ESP, 0, 0],
        [inner[12], inner[13], inner[14], inner[15]],
        [inner[16], inner[17], inner[18], inner[19]],
    ];
    // Summed before it is written: to read back what was just written in small pieces takes longer.
    [words[2][2], words[2][3]] = checksum::header(&words);
    outer.copy_from_slice(words.as_flattened());
}

/// The ECN field, two bits.
#[inline]
#[must_use]
pub fn ecn(header: &[u8; HEADER]) -> u8 {
    header[1] & 3
}

/// Writes the ECN field; the checksum follows.
#[inline]
pub fn set_ecn(header: &mut [u8; HEADER], ecn: u8) {
    let word = [header[0], header[1] & !3 | ecn & 3];
    set_word::<0>(header, word);
}

/// Takes off DF; the checksum follows.
pub fn clear_dont_fragment(header: &mut [u8; HEADER]) {
    let [high, low] = DONT_FRAGMENT.to_be_bytes();
    let word = [header[6] & !high, header[7] & !low];
    set_word::<6>(header, word);
}

/// Writes the total length in octets; the checksum follows.
#[inline]
pub fn set_total_len(header: &mut [u8; HEADER], total_len: u16) {
    set_word::<2>(header, total_len.to_be_bytes());
}

/// Writes the protocol; the checksum follows.
#[inline]
pub fn set_protocol(header: &mut [u8; HEADER], protocol: u8) {
    let word = [header[8], protocol];
    set_word::<8>(header, word);
}

#[inline]
fn set_word<const AT: usize>(header: &mut [u8; HEADER], new: [u8; 2]) {
    let old = [header[AT], header[AT + 1]];
    let sum = checksum::update([header[10], header[11]], old, new);
    header[AT..AT + 2].copy_from_slice(&new);
    header[10..12].copy_from_slice(&sum);
}

#[cfg(test)]
mod tests;
