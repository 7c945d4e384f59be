//! The headers of fragments: checked before the library sees them, and set right after it has put a
//! datagram together. Used by the worker that owns the reassembler.

use dpdk_sys as sys;

use super::TAG;
use crate::mbuf::Mbuf;

/// An IPv4 fragment whose header is consistent with its frame.
pub(super) struct Fragment4 {
    /// A copy of the header, without options.
    pub(super) header: sys::rte_ipv4_hdr,
    /// Octets of the header, options included.
    pub(super) header_len: u16,
    pub(super) protocol: u8,
}

impl Fragment4 {
    /// `None` for what is no fragment, or not a valid one in a single segment.
    pub(super) fn parse(frame: &Mbuf, l2_len: u16) -> Option<Fragment4> {
        let ip = packet(frame, l2_len)?;
        let octets = ip.first_chunk::<IPV4>()?;
        let header_len = u16::from(octets[0] & 0xf) * 4;
        let total = u16::from_be_bytes([octets[2], octets[3]]);
        let flags_and_offset = u16::from_be_bytes([octets[6], octets[7]]);
        let valid = octets[0] >> 4 == 4
            && usize::from(header_len) >= IPV4
            && total > header_len
            && usize::from(total) <= ip.len();
        let is_fragment = flags_and_offset & 0x3fff != 0;
        let end = u32::from(flags_and_offset & 0x1fff) * 8 + u32::from(total - header_len.min(total));
        if !valid || !is_fragment || end > MAX_DATAGRAM {
            return None;
        }
        // SAFETY: an IPv4 header is 20 octets without padding, for which every value is valid.
        let header = unsafe { std::mem::transmute_copy::<[u8; IPV4], sys::rte_ipv4_hdr>(octets) };
        Some(Fragment4 { header, header_len, protocol: octets[9] })
    }
}

/// An IPv6 fragment whose headers are consistent with its frame.
pub(super) struct Fragment6 {
    /// A copy of the fixed header, as if there were no extension header but the fragment header: more
    /// the library does not understand.
    pub(super) header: sys::rte_ipv6_hdr,
    /// A copy of the fragment header.
    pub(super) extension: sys::rte_ipv6_fragment_ext,
    /// Octets of all headers up to and with the fragment header.
    pub(super) headers_len: u16,
    /// What the fixed header names as next.
    first: u8,
    /// What the fragment header names as next.
    next: u8,
    /// Where, from the fixed header on, the octet lies that names the fragment header.
    next_at: u16,
}

impl Fragment6 {
    /// `None` for what is no fragment, or not a valid one in a single segment.
    pub(super) fn parse(frame: &Mbuf, l2_len: u16) -> Option<Fragment6> {
        let ip = packet(frame, l2_len)?;
        let fixed = ip.first_chunk::<IPV6>()?;
        let total = usize::from(u16::from_be_bytes([fixed[4], fixed[5]])) + IPV6;
        let ip = ip.get(..total).filter(|_| fixed[0] >> 4 == 6)?;
        let (at, next_at) = find_fragment_header(ip)?;

        let extension = ip.get(at..)?.first_chunk::<FRAGMENT_HEADER>()?;
        let data = u16::try_from(total - at - FRAGMENT_HEADER).ok().filter(|&data| data > 0)?;
        let offset_and_more = u16::from_be_bytes([extension[2], extension[3]]);
        let (offset, more) = (offset_and_more & !7, offset_and_more & 1 != 0);
        let end = u32::from(offset) + u32::from(data);
        if (offset == 0 && !more) || end > MAX_DATAGRAM {
            return None;
        }

        let mut as_if = *fixed;
        as_if[4..6].copy_from_slice(&data.checked_add(8)?.to_be_bytes());
        as_if[6] = FRAGMENT;
        Some(Fragment6 {
            // SAFETY: an IPv6 header is 40 octets without padding, for which every value is valid.
            header: unsafe { std::mem::transmute_copy::<[u8; IPV6], sys::rte_ipv6_hdr>(&as_if) },
            // SAFETY: a fragment header is 8 octets without padding, for which every value is valid.
            extension: unsafe {
                std::mem::transmute_copy::<[u8; FRAGMENT_HEADER], sys::rte_ipv6_fragment_ext>(extension)
            },
            // The library knows lengths of up to 9 bits.
            headers_len: u16::try_from(at + FRAGMENT_HEADER).ok().filter(|&length| length < 512)?,
            first: fixed[6],
            next: extension[0],
            next_at: u16::try_from(next_at).ok()?,
        })
    }

    /// What the datagram's header needs to be set right, if this is its first fragment.
    pub(super) fn tag(&self) -> u32 {
        u32::from(self.first) | u32::from(self.next) << 8 | u32::from(self.next_at) << 16
    }
}

/// Sets the headers of a reassembled IPv6 datagram right; `false` when it is longer than can be said.
pub(super) fn finish_v6(datagram: &mut Mbuf, l2_len: u16) -> bool {
    let [first, next, high, low] = datagram.get::<u32, TAG>().to_le_bytes();
    let next_at = usize::from(u16::from_le_bytes([high, low]));
    let l2 = usize::from(l2_len);
    let payload = datagram.pkt_len().checked_sub(l2 + IPV6).and_then(|payload| u16::try_from(payload).ok());
    let (Some(payload), Some(ip)) = (payload, datagram.data_mut().get_mut(l2..)) else { return false };
    if ip.len() <= next_at.max(6) {
        return false;
    }
    ip[4..6].copy_from_slice(&payload.to_be_bytes());
    ip[6] = first;
    ip[next_at] = next;
    true
}

/// Octets of the IPv4 header behind `l2_len` octets.
pub(super) fn ipv4_header_len(frame: &Mbuf, l2_len: u16) -> usize {
    frame.data().get(usize::from(l2_len)).map_or(0, |first| usize::from(first & 0xf) * 4)
}

/// The offset of the fragment header, and of the octet that names it (RFC 8200 section 4).
fn find_fragment_header(ip: &[u8]) -> Option<(usize, usize)> {
    let (mut at, mut next_at) = (IPV6, 6);
    loop {
        match *ip.get(next_at)? {
            FRAGMENT => return Some((at, next_at)),
            HOP_BY_HOP | ROUTING | DESTINATION_OPTIONS => {
                next_at = at;
                at += (usize::from(*ip.get(at + 1)?) + 1) * 8;
            }
            _ => return None,
        }
    }
}

/// The IP packet of a frame in one segment, and whatever is behind it.
fn packet(frame: &Mbuf, l2_len: u16) -> Option<&[u8]> {
    // The library knows lengths of up to 7 bits.
    if !frame.is_contiguous() || l2_len > 127 {
        return None;
    }
    frame.data().get(usize::from(l2_len)..)
}

/// Octets of the longest datagram, header not counted.
const MAX_DATAGRAM: u32 = 65_535;
const IPV4: usize = 20;
const IPV6: usize = 40;
const FRAGMENT_HEADER: usize = 8;
const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;

const _: () = assert!(
    size_of::<sys::rte_ipv4_hdr>() == IPV4
        && size_of::<sys::rte_ipv6_hdr>() == IPV6
        && size_of::<sys::rte_ipv6_fragment_ext>() == FRAGMENT_HEADER
);
