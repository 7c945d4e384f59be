//! From an opened ESP packet back to the frame that was sealed (RFC 4303 section 3.4, RFC 4301 section
//! 5.2): trailer, inner packet, selectors, ECN. Runs on a worker, after the ICV has verified.

use dpdk::Mbuf;

use crate::packet::{Headers, Parsed, Version, ecn, esp, ethernet, parse, parse_ip, protocol};
use crate::sa::{Mode, Sa};
use crate::verdict::DropReason;

/// Removes ESP and, in tunnel mode, the outer header from an authentic, opened packet. Returns the
/// length of the packet that was inside, in octets from its IP header on.
///
/// # Errors
/// Why the packet inside must not be let through; the frame's contents are then unspecified.
#[inline]
pub(crate) fn unwrap(mbuf: &mut Mbuf, headers: &Headers, sa: &Sa) -> Result<usize, DropReason> {
    let esp_at = headers.upper_at()..headers.end();
    let front = esp_at.start + sa.esp_front();
    let back = esp_at.end - sa.icv_len();
    let plaintext = mbuf.data().get(front..back).ok_or(DropReason::EspTrailer)?;
    // Of a dummy nothing but the next header need be well-formed (RFC 4303 section 2.6).
    if plaintext.last() == Some(&protocol::NO_NEXT_HEADER) {
        return Err(DropReason::Dummy);
    }
    let (payload, next_header) = esp::strip_trailer(plaintext).ok_or(DropReason::EspTrailer)?;
    match sa.mode() {
        Mode::Tunnel => tunnel(mbuf, headers, sa, next_header, front, payload),
        Mode::Transport => transport(mbuf, headers, sa, next_header, front, payload),
    }
}

/// The inner packet takes the outer one's place behind the link-layer header.
#[inline(always)]
fn tunnel(
    mbuf: &mut Mbuf,
    outer: &Headers,
    sa: &Sa,
    next_header: u8,
    front: usize,
    payload: usize,
) -> Result<usize, DropReason> {
    let version = match next_header {
        protocol::IPV4 => Version::V4,
        protocol::IPV6 => Version::V6,
        _ => return Err(DropReason::EspTrailer),
    };
    let l2 = usize::from(outer.l2_len);
    let data = mbuf.data_mut();
    let packet = data.get(front..front + payload).ok_or(DropReason::EspTrailer)?;
    // Looked at where it is: to move what was just written takes longer than to parse it.
    let parsed = parse_ip(packet);
    let Ok(inner) = &parsed else { return Err(DropReason::InnerPacket) };
    if inner.version != version {
        return Err(DropReason::InnerPacket);
    }
    if !sa.inner.matches(inner, packet) {
        return Err(DropReason::Selectors);
    }
    // What is behind the inner packet's own length is padding for traffic-flow confidentiality
    // (RFC 4303 section 2.7).
    let packet_len = inner.total_len as usize;
    let (outer_ecn, inner_ecn) = (outer.ecn(data), inner.ecn(packet));
    let ecn = ecn::decapsulate(outer_ecn, inner_ecn)?;
    if ecn != inner_ecn {
        inner.set_ecn(data.get_mut(front..).unwrap_or_default(), ecn);
    }
    let start = front - l2;
    ethernet::copy_front(data, l2, start);
    if version != outer.version {
        let ethertype = match version {
            Version::V4 => ethernet::IPV4,
            Version::V6 => ethernet::IPV6,
        };
        data.get_mut(front - 2..front).unwrap_or_default().copy_from_slice(&ethertype.to_be_bytes());
    }
    mbuf.keep(start, l2 + packet_len).then_some(packet_len).ok_or(DropReason::EspTrailer)
}

/// ESP is cut out and the IP header names what it carried (RFC 4303 section 3.1.1).
#[inline(never)]
fn transport(
    mbuf: &mut Mbuf,
    outer: &Headers,
    sa: &Sa,
    next_header: u8,
    front: usize,
    payload: usize,
) -> Result<usize, DropReason> {
    let header_end = outer.upper_at();
    let start = front - header_end;
    let data = mbuf.data_mut();
    data.copy_within(..header_end, start);
    let rebuilt = data.get_mut(start..front + payload).ok_or(DropReason::EspTrailer)?;
    let packet_len = rebuilt.len() - usize::from(outer.l2_len);
    if !outer.set_next(rebuilt, outer.protocol_at, next_header, packet_len) {
        return Err(DropReason::EspTrailer);
    }
    let parsed = parse(rebuilt);
    let Parsed::Ip(inner) = &parsed else { return Err(DropReason::InnerPacket) };
    if !sa.inner.matches(inner, rebuilt) {
        return Err(DropReason::Selectors);
    }
    mbuf.keep(start, header_end + payload).then_some(packet_len).ok_or(DropReason::EspTrailer)
}
