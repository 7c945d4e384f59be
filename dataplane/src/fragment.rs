//! Packets that exceed the MTU are split: before encryption where that may be, so that every piece is a
//! whole ESP packet, or else behind it (RFC 4303 section 3.3.4); and datagrams that came in fragments go
//! on in fragments. Owned by one worker.

use std::hash::{BuildHasher, RandomState};

use arrayvec::ArrayVec;
use dpdk::{FragmentError, Mbuf, fragment_ipv4, fragment_ipv6};

use crate::context::Context;
use crate::egress::{Egress, Outgoing};
use crate::packet::{Headers, Parsed, Version, ethernet, parse};
use crate::verdict::DropReason;

/// Fragments that a packet may become: the largest packet over the smallest IPv6 link.
const MAX_PIECES: usize = 64;

pub(crate) type Pieces = ArrayVec<Mbuf, MAX_PIECES>;

/// Splits packets.
#[derive(Debug)]
pub struct Fragmenter {
    /// Identification of the next IPv6 packet split; starts where nobody can guess (RFC 7739).
    identification: u32,
}

impl Fragmenter {
    /// A fragmenter with an identification of its own to start from.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "any 32 random bits will do")]
    pub fn new() -> Self {
        Fragmenter { identification: RandomState::new().hash_one(0) as u32 }
    }

    /// Sends a packet that stands for `frames` received ones, in pieces of at most `mtu` octets.
    #[cold]
    pub(crate) fn send(
        &mut self,
        mbuf: Mbuf,
        outgoing: Outgoing,
        frames: u16,
        mtu: usize,
        cx: &mut Context<'_>,
        egress: &mut Egress,
    ) {
        let pieces = match parse(mbuf.data()) {
            Parsed::Ip(headers) => self.split(mbuf, &headers, mtu, cx),
            Parsed::NotIp | Parsed::Malformed(_) => Err((mbuf, DropReason::SealFailed)),
        };
        match pieces {
            Err((mbuf, reason)) => cx.drop_frames(mbuf, reason, frames),
            Ok(pieces) => {
                let mut standing = (outgoing, frames);
                for piece in pieces {
                    let (outgoing, frames) = std::mem::replace(&mut standing, (Outgoing::Fragment, 0));
                    egress.push(piece, outgoing, frames, cx);
                }
            }
        }
    }

    /// Sends a datagram that was put together from `frames` fragments: whole if `mtu` allows it, or else in
    /// fragments, as it came. DF on a fragment was no wish to keep the datagram whole, so it is taken off.
    #[cold]
    pub(crate) fn send_reassembled(
        &mut self,
        mut mbuf: Mbuf,
        outgoing: Outgoing,
        frames: u16,
        mtu: usize,
        cx: &mut Context<'_>,
        egress: &mut Egress,
    ) {
        match parse(mbuf.data()) {
            Parsed::Ip(headers) if headers.total_len as usize > mtu => {
                headers.clear_dont_fragment(mbuf.data_mut());
                self.send(mbuf, outgoing, frames, mtu, cx, egress);
            }
            _ => egress.push(mbuf, outgoing, frames, cx),
        }
    }

    /// Splits the packet in a frame into packets of at most `max_packet` octets, each in a frame of its
    /// own.
    pub(crate) fn split(
        &mut self,
        mut mbuf: Mbuf,
        headers: &Headers,
        max_packet: usize,
        cx: &mut Context<'_>,
    ) -> Result<Pieces, (Mbuf, DropReason)> {
        let l2_len = usize::from(headers.l2_len);
        let mut l2 = [0; ethernet::MAX_HEADER];
        let padding = mbuf.data().len().saturating_sub(headers.end());
        let (Some(l2), Some(front)) = (l2.get_mut(..l2_len), mbuf.data().get(..l2_len)) else {
            return Err((mbuf, DropReason::FrameTruncated));
        };
        l2.copy_from_slice(front);
        if !mbuf.trim_front(l2_len) || !mbuf.trim_back(padding) {
            return Err((mbuf, DropReason::FrameTruncated));
        }
        let mut pieces = Pieces::new();
        if let Err(error) = self.split_ip(&mbuf, headers, max_packet, cx, &mut pieces) {
            return Err((mbuf, reason(error)));
        }
        let mark = mbuf.mark();
        cx.discard(mbuf);
        for piece in &mut pieces {
            piece.set_mark(mark);
            if let Some(front) = piece.prepend(l2_len) {
                front.copy_from_slice(l2);
            }
        }
        Ok(pieces)
    }

    fn split_ip(
        &mut self,
        packet: &Mbuf,
        headers: &Headers,
        max_packet: usize,
        cx: &Context<'_>,
        pieces: &mut Pieces,
    ) -> Result<usize, FragmentError> {
        let mtu = u16::try_from(max_packet).unwrap_or(u16::MAX);
        match headers.version {
            Version::V4 => fragment_ipv4(packet, mtu, cx.pool, pieces),
            Version::V6 => {
                self.identification = self.identification.wrapping_add(1);
                // Behind what every fragment must have, in front of final destination options, which are
                // part of the datagram (RFC 8200 section 4.5): where ESP goes too.
                let at = usize::from(headers.transport_insert_at - headers.l2_len);
                let next_at = usize::from(headers.transport_next_at - headers.l2_len);
                fragment_ipv6(packet, at, next_at, self.identification, mtu, cx.pool, pieces)
            }
        }
    }
}

impl Default for Fragmenter {
    fn default() -> Self {
        Self::new()
    }
}

fn reason(error: FragmentError) -> DropReason {
    match error {
        FragmentError::NoBuffer => DropReason::NoBuffers,
        FragmentError::DontFragment | FragmentError::Mtu | FragmentError::TooMany => DropReason::TooBig,
        FragmentError::Malformed => DropReason::SealFailed,
    }
}
