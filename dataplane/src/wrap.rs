//! From a frame to the ESP packet around it, ready to be sealed (RFC 4303 section 3.3, RFC 4301 section
//! 5.1, RFC 5374 section 3.1): room, outer header, ESP header, trailer. Runs on a worker.

use dpdk::Mbuf;

use crate::packet::{Headers, Version, esp, ethernet, ipv4, ipv6, protocol};
use crate::sa::{Mode, Sa};

/// Puts ESP with sequence number `seq` around the packet in `mbuf`; tunnel mode gives an IPv4 outer
/// header the identification `id`. Returns where the ESP begins; the room for its ICV is the frame's end.
/// `None` if the buffer has no room, or IP cannot express the length, and then the frame is as it was but
/// for Ethernet padding.
#[inline]
pub(crate) fn wrap(mbuf: &mut Mbuf, headers: &Headers, sa: &Sa, seq: u32, id: u16) -> Option<usize> {
    let padding = mbuf.data().len().checked_sub(headers.end())?;
    if padding > 0 && !mbuf.trim_back(padding) {
        return None;
    }
    let shape = Shape::of(headers, sa);
    if shape.esp_at - usize::from(headers.l2_len) + sa.esp_len(shape.payload) > usize::from(u16::MAX) {
        return None;
    }
    let trailer = sa.trailer_len(shape.payload);
    let behind = trailer + sa.icv_len();
    if mbuf.headroom() < shape.grows || mbuf.tailroom() < behind {
        return None;
    }
    mbuf.append(behind)?;
    mbuf.prepend(shape.grows)?;
    let data = mbuf.data_mut();
    // What stays in front of the ESP moves up to the front of the new room.
    ethernet::copy_to_front(data, shape.grows, shape.stays);
    let esp_end = data.len();
    let total_len = esp_end - usize::from(headers.l2_len);
    let next_header = match sa.mode() {
        Mode::Tunnel => outer_header(data, headers, shape.grows, total_len, id)?,
        Mode::Transport => {
            let at = usize::from(headers.transport_next_at);
            let carried = *data.get(at)?;
            let written = headers.set_next(data, headers.transport_next_at, protocol::ESP, total_len);
            written.then_some(carried)?
        }
    };
    esp::write_header(data.get_mut(shape.esp_at..)?.first_chunk_mut()?, sa.spi(), seq);
    let payload_at = shape.esp_at + sa.esp_front();
    let trailer_at = payload_at + shape.payload;
    let written = esp::write_trailer(data.get_mut(trailer_at..trailer_at + trailer)?, next_header);
    written.then_some(shape.esp_at)
}

/// Where things go.
struct Shape {
    /// Octets at the frame's front that stay in front of the ESP.
    stays: usize,
    /// Octets that the frame grows by at its front.
    grows: usize,
    /// Where the ESP header comes to lie.
    esp_at: usize,
    /// Octets that become the ESP's payload.
    payload: usize,
}

impl Shape {
    #[inline]
    fn of(headers: &Headers, sa: &Sa) -> Shape {
        let l2 = usize::from(headers.l2_len);
        let total = headers.total_len as usize;
        match sa.mode() {
            Mode::Tunnel => {
                let outer = match headers.version {
                    Version::V4 => ipv4::HEADER,
                    Version::V6 => ipv6::HEADER,
                };
                Shape { stays: l2, grows: outer + sa.esp_front(), esp_at: l2 + outer, payload: total }
            }
            Mode::Transport => {
                let esp_at = usize::from(headers.transport_insert_at);
                Shape { stays: esp_at, grows: sa.esp_front(), esp_at, payload: l2 + total - esp_at }
            }
        }
    }
}

/// Writes the outer header; returns the ESP next header for what is inside.
#[inline]
fn outer_header(data: &mut [u8], headers: &Headers, grows: usize, total_len: usize, id: u16) -> Option<u8> {
    let l2 = usize::from(headers.l2_len);
    let (outer, inner) = data.split_at_mut_checked(l2 + grows)?;
    let total_len = u16::try_from(total_len).ok()?;
    match headers.version {
        Version::V4 => {
            let outer = outer.get_mut(l2..)?.first_chunk_mut()?;
            ipv4::write_outer(outer, inner.first_chunk()?, total_len, id);
            Some(protocol::IPV4)
        }
        Version::V6 => {
            let outer = outer.get_mut(l2..)?.first_chunk_mut()?;
            let payload_len = usize::from(total_len).checked_sub(ipv6::HEADER)?;
            ipv6::write_outer(outer, inner.first_chunk()?, u16::try_from(payload_len).ok()?);
            Some(protocol::IPV6)
        }
    }
}
