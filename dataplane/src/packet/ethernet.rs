//! Ethernet II and VLAN tags (IEEE 802.3, 802.1Q). Used by the workers; holds no state. Only what it
//! takes to find an IP packet: everything else crosses a link as it came.

/// Octets of the header: destination, source, EtherType.
pub const HEADER: usize = 14;
/// Octets of one VLAN tag: TPID and tag control information.
pub const TAG: usize = 4;
/// Tags that an IP packet may stand behind. One below more of them is not forwarded, since policy
/// could not be applied to it.
pub const MAX_TAGS: usize = 2;
/// Octets of the longest header in front of an IP packet.
pub const MAX_HEADER: usize = HEADER + MAX_TAGS * TAG;

/// EtherType of IPv4.
pub const IPV4: u16 = 0x0800;
/// EtherType of IPv6.
pub const IPV6: u16 = 0x86dd;

/// Whether this EtherType is a TPID: of 802.1Q, of 802.1ad, or 0x9100 of the time before it.
#[inline]
#[must_use]
pub const fn is_tag(ethertype: u16) -> bool {
    matches!(ethertype, 0x8100 | 0x88a8 | 0x9100)
}

/// What stands behind a frame's VLAN tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Untagged<'a> {
    /// The first type that is not a TPID. Below 0x0600 it is an IEEE 802.3 length.
    pub ethertype: u16,
    /// How many tags there were, however many.
    pub tags: usize,
    /// The octets behind the type.
    pub payload: &'a [u8],
}

/// Steps over all VLAN tags. `None` if the frame ends before a type that is none.
#[must_use]
pub fn untag(frame: &[u8]) -> Option<Untagged<'_>> {
    let (_addresses, mut rest) = frame.split_first_chunk::<12>()?;
    let mut tags = 0;
    loop {
        let (ethertype, payload) = rest.split_first_chunk::<2>()?;
        let ethertype = u16::from_be_bytes(*ethertype);
        if !is_tag(ethertype) {
            return Some(Untagged { ethertype, tags, payload });
        }
        tags += 1;
        rest = payload.get(2..)?;
    }
}

/// Copies the first `len` octets of `data` to `to`.
#[inline(always)]
pub fn copy_front(data: &mut [u8], len: usize, to: usize) {
    let (front, back) = data.split_at_mut(to);
    if let (HEADER, Some(header), Some(place)) =
        (len, front.first_chunk::<HEADER>(), back.first_chunk_mut::<HEADER>())
    {
        // Mostly. Of a length known here it needs no call.
        place.copy_from_slice(header);
    } else {
        data.copy_within(..len, to);
    }
}

/// Copies `len` octets at `from` to the front of `data`.
#[inline(always)]
pub fn copy_to_front(data: &mut [u8], from: usize, len: usize) {
    let (front, back) = data.split_at_mut(from);
    if let (HEADER, Some(place), Some(header)) =
        (len, front.first_chunk_mut::<HEADER>(), back.first_chunk::<HEADER>())
    {
        place.copy_from_slice(header);
    } else {
        data.copy_within(from..from + len, 0);
    }
}

/// Whether the destination of the frame is a group address (multicast or broadcast). True also for a
/// frame that ends before it.
#[inline]
#[must_use]
pub fn is_to_group(frame: &[u8]) -> bool {
    frame.first().is_none_or(|octet| octet & 1 != 0)
}
