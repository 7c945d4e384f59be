//! Splitting IP packets into fragments, each in one buffer of its own. Used by workers on packets that
//! exceed the MTU.

use arrayvec::ArrayVec;
use dpdk_sys as sys;

use crate::mbuf::{Mbuf, spare_room};
use crate::mempool::Mempool;

/// Why a packet was not split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FragmentError {
    /// Its header says not to (DF).
    #[error("the packet must not be fragmented")]
    DontFragment,
    /// Its header is not all in the first segment, or contradicts itself or the packet's length.
    #[error("the packet's IP header is invalid")]
    Malformed,
    /// The MTU leaves no room for data, or exceeds the pool's buffers.
    #[error("fragments of that size cannot be made")]
    Mtu,
    /// The packet needs more fragments than there is room for in the list.
    #[error("the packet needs too many fragments")]
    TooMany,
    /// The pool is exhausted.
    #[error("no packet buffers left")]
    NoBuffer,
}

/// Splits an IPv4 packet (RFC 791 section 3.2), whose header `packet` begins with, into fragments of at
/// most `mtu` octets, and appends them to `out`; how many. A packet that is a fragment itself is split
/// on. Each result lies in one buffer of `pool` behind its full headroom, with a right checksum. Options
/// not meant for every fragment stay in the first. The identification is the packet's own.
///
/// # Errors
/// See [`FragmentError`]; `out` is then as it was.
pub fn fragment_ipv4<const N: usize>(
    packet: &Mbuf,
    mtu: u16,
    pool: &Mempool,
    out: &mut ArrayVec<Mbuf, N>,
) -> Result<usize, FragmentError> {
    let header = packet.data().first_chunk::<IPV4>().ok_or(FragmentError::Malformed)?;
    let header_len = usize::from(header[0] & 0xf) * 4;
    let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let offset = usize::from(u16::from_be_bytes([header[6], header[7]]) & 0x1fff) * 8;
    if header[0] >> 4 != 4
        || header_len < IPV4
        || header_len > packet.data_len()
        || total != packet.pkt_len()
        || total <= header_len
        || offset + total > usize::from(u16::MAX)
    {
        return Err(FragmentError::Malformed);
    }
    if header[6] & 0x40 != 0 {
        return Err(FragmentError::DontFragment);
    }
    let per_fragment = room_for_data(mtu, header_len, pool)?;
    if (total - header_len).div_ceil(per_fragment) > out.remaining_capacity() {
        return Err(FragmentError::TooMany);
    }

    let room = u16::try_from(out.remaining_capacity()).unwrap_or(u16::MAX);
    let spare = spare_room(out);
    // SAFETY: the call only reads the packet, which is alive and whose header is in its first segment.
    // spare has room for `room` packets, and was checked to suffice; the pool's buffers hold a whole
    // fragment, which the library does not check itself.
    let result = unsafe {
        sys::rte_ipv4_fragment_copy_nonseg_packet(packet.as_ptr(), spare, room, mtu, pool.as_ptr())
    };
    let made = match usize::try_from(result) {
        Ok(made) => made,
        Err(_) if result == NO_MEMORY => return Err(FragmentError::NoBuffer),
        Err(_) => return Err(FragmentError::Mtu),
    };
    let before = out.len();
    // SAFETY: the library has filled that many places with packets that are ours alone.
    unsafe { out.set_len(before + made) };
    out[before..].iter_mut().for_each(write_checksum);
    Ok(made)
}

/// Splits an IPv6 packet (RFC 8200 section 4.5), whose header `packet` begins with, into fragments of at
/// most `mtu` octets, and appends them to `out`; how many. The fragment header goes to octet `at`: behind
/// the fixed header and the extension headers that every fragment must have; `next_at` is the octet that
/// names what follows there. Each result lies in one buffer of `pool` behind its full headroom.
///
/// The library's own function is not used: it knows no extension headers, gives every packet the
/// identification 0, and makes chains of shared buffers.
///
/// # Errors
/// See [`FragmentError`]; `out` is then as it was.
pub fn fragment_ipv6<const N: usize>(
    packet: &Mbuf,
    at: usize,
    next_at: usize,
    identification: u32,
    mtu: u16,
    pool: &Mempool,
    out: &mut ArrayVec<Mbuf, N>,
) -> Result<usize, FragmentError> {
    let headers = packet.data().get(..at).ok_or(FragmentError::Malformed)?;
    let next = *headers.get(next_at).ok_or(FragmentError::Malformed)?;
    if at < IPV6
        || headers[0] >> 4 != 6
        || usize::from(u16::from_be_bytes([headers[4], headers[5]])) + IPV6 != packet.pkt_len()
        || packet.pkt_len() == at
    {
        return Err(FragmentError::Malformed);
    }
    let per_fragment = room_for_data(mtu, at + FRAGMENT_HEADER, pool)?;
    let data = packet.pkt_len() - at;
    let count = data.div_ceil(per_fragment);
    if count > out.remaining_capacity() {
        return Err(FragmentError::TooMany);
    }

    let before = out.len();
    for offset in (0..data).step_by(per_fragment) {
        let part = per_fragment.min(data - offset);
        let more = offset + part < data;
        let header = fragment_header(next, offset, more, identification).ok_or(FragmentError::Malformed);
        match header
            .and_then(|header| ipv6_fragment(packet, (at, next_at), &header, offset..offset + part, pool))
        {
            Ok(fragment) => out.push(fragment),
            Err(error) => {
                out.truncate(before);
                return Err(error);
            }
        }
    }
    Ok(count)
}

/// One fragment: the headers every fragment has, the fragment header, and these octets of the data.
fn ipv6_fragment(
    packet: &Mbuf,
    (at, next_at): (usize, usize),
    header: &[u8; FRAGMENT_HEADER],
    data: std::ops::Range<usize>,
    pool: &Mempool,
) -> Result<Mbuf, FragmentError> {
    let mut fragment = Mbuf::alloc(pool).ok_or(FragmentError::NoBuffer)?;
    let length = at + FRAGMENT_HEADER + data.len();
    let payload = u16::try_from(length - IPV6).map_err(|_| FragmentError::Mtu)?;
    let octets = fragment.append(length).ok_or(FragmentError::Mtu)?;
    octets[..at].copy_from_slice(&packet.data()[..at]);
    octets[4..6].copy_from_slice(&payload.to_be_bytes());
    octets[next_at] = FRAGMENT_PROTOCOL;
    octets[at..at + FRAGMENT_HEADER].copy_from_slice(header);
    if !packet.copy_out(at + data.start, &mut octets[at + FRAGMENT_HEADER..]) {
        return Err(FragmentError::Malformed);
    }
    Ok(fragment)
}

/// RFC 8200 section 4.5: next header, reserved, offset in units of 8 octets with the M flag, and
/// identification. The offset is a multiple of 8 in fact.
fn fragment_header(next: u8, offset: usize, more: bool, id: u32) -> Option<[u8; FRAGMENT_HEADER]> {
    let [high, low] = (u16::try_from(offset).ok()? | u16::from(more)).to_be_bytes();
    let [id0, id1, id2, id3] = id.to_be_bytes();
    Some([next, 0, high, low, id0, id1, id2, id3])
}

/// How many octets of data, a multiple of 8, go into a fragment behind its headers.
fn room_for_data(mtu: u16, headers: usize, pool: &Mempool) -> Result<usize, FragmentError> {
    let room = usize::from(mtu).saturating_sub(headers) / 8 * 8;
    if room == 0 || mtu < LEAST_MTU || mtu > pool.data_room() {
        return Err(FragmentError::Mtu);
    }
    Ok(room)
}

/// Computes the header checksum of an IPv4 packet (RFC 791 section 3.1) whose header is valid else.
pub(crate) fn write_checksum(packet: &mut Mbuf) {
    let data = packet.data_mut();
    let Some(header_len) = data.first().map(|first| usize::from(first & 0xf) * 4) else { return };
    if let Some(header) = data.get_mut(..header_len) {
        checksum_header(header);
    }
}

/// Computes and writes the checksum of an IPv4 header.
pub(crate) fn checksum_header(header: &mut [u8]) {
    if header.len() < IPV4 {
        return;
    }
    header[10..12].fill(0);
    let (words, _) = header.as_chunks::<2>();
    let mut sum: u32 = words.iter().map(|&word| u32::from(u16::from_be_bytes(word))).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    // Fits: folded to 16 bits.
    #[allow(clippy::cast_possible_truncation)]
    let checksum = !(sum as u16);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
}

/// The least MTU that the library splits to (RFC 791 section 3.2).
const LEAST_MTU: u16 = 68;
const IPV4: usize = 20;
const IPV6: usize = 40;
const FRAGMENT_HEADER: usize = 8;
const FRAGMENT_PROTOCOL: u8 = 44;
const NO_MEMORY: i32 = -12;
