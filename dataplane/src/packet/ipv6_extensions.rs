//! The IPv6 extension header chain (RFC 8200 section 4) from the IPv6 header to the upper-layer
//! protocol. Walked by the workers, only for packets that have one; bounded in steps.

use super::headers::Fragment;
use super::{ipv6, protocol};
use crate::DropReason;

/// Extension headers in one packet that we follow. RFC 8200 section 4.1 names six, each at most once
/// or twice; more serve only to hide what follows.
const MAX_HEADERS: usize = 8;

/// Octets of the Fragment header.
const FRAGMENT_HEADER: u16 = 8;

/// What a chain leads to. Offsets count from the IPv6 header.
pub(super) struct Chain {
    /// The upper-layer protocol.
    pub next: u8,
    /// Where it is named.
    pub next_at: u16,
    /// Where it begins.
    pub end: u16,
    /// Where a transport-mode ESP header goes.
    pub insert_at: u16,
    /// Where the octet is that names what stands there now.
    pub insert_next_at: u16,
    /// Where the Fragment header is, or 0.
    pub fragment_at: u16,
    /// Which part of its datagram the packet carries.
    pub fragment: Fragment,
}

impl Chain {
    /// Of a packet without extension headers.
    #[inline]
    pub fn without(next: u8) -> Self {
        Chain {
            next,
            next_at: 6,
            end: 40,
            insert_at: 40,
            insert_next_at: 6,
            fragment_at: 0,
            fragment: Fragment::None,
        }
    }
}

/// Whether IPsec looks behind this header for the upper-layer protocol. RFC 4301 section 4.4.1.1 lists
/// these and says of AH and ESP that they are not among them.
#[inline]
pub(super) const fn is_extension(next: u8) -> bool {
    matches!(
        next,
        protocol::HOP_BY_HOP | protocol::ROUTING | protocol::FRAGMENT | protocol::DESTINATION_OPTIONS
    )
}

/// Follows the chain of `packet`, whose end is that of the IP packet, from the first header `next` on.
#[inline(never)]
pub(super) fn walk(packet: &[u8], next: u8) -> Result<Chain, DropReason> {
    let mut chain = Chain::without(next);
    for _ in 0..MAX_HEADERS {
        let header = packet
            .get(usize::from(chain.end)..)
            .and_then(<[u8]>::first_chunk::<8>)
            .ok_or(DropReason::Ipv6Header)?;
        let at = chain.end;
        let mut len = (u16::from(header[1]) + 1) * 8;
        match chain.next {
            // Only directly behind the IPv6 header (RFC 8200 section 4.1).
            protocol::HOP_BY_HOP if usize::from(at) != ipv6::HEADER => return Err(DropReason::Ipv6Header),
            protocol::FRAGMENT if chain.fragment_at != 0 => return Err(DropReason::Ipv6Header),
            protocol::FRAGMENT => {
                len = FRAGMENT_HEADER;
                chain.fragment_at = at;
                chain.fragment = check_fragment(packet, at, u16::from_be_bytes([header[2], header[3]]))?;
            }
            _ => {}
        }
        let goes_before_esp = chain.next != protocol::DESTINATION_OPTIONS;
        chain.next = header[0];
        chain.next_at = at;
        chain.end = at + len;
        if goes_before_esp {
            (chain.insert_at, chain.insert_next_at) = (chain.end, chain.next_at);
        }
        if usize::from(chain.end) > packet.len() {
            return Err(DropReason::Ipv6Header);
        }
        if chain.fragment == Fragment::Later || !is_extension(chain.next) {
            return Ok(chain);
        }
    }
    Err(DropReason::Ipv6Header)
}

/// A fragment must carry octets, a multiple of eight unless it is the last, and must end inside the
/// largest datagram that there can be (RFC 8200 section 4.5). An atomic one is no fragment (RFC 6946).
fn check_fragment(packet: &[u8], at: u16, field: u16) -> Result<Fragment, DropReason> {
    let (offset, more) = (usize::from(field & !7), field & 1 != 0);
    if offset == 0 && !more {
        return Ok(Fragment::None);
    }
    let data = packet.len() - usize::from(at + FRAGMENT_HEADER);
    let unfragmentable = usize::from(at) - ipv6::HEADER;
    if data == 0 || (more && !data.is_multiple_of(8)) || unfragmentable + offset + data > 0xffff {
        return Err(DropReason::ReassemblyFailed);
    }
    Ok(if offset == 0 { Fragment::First } else { Fragment::Later })
}
