//! ICMP errors towards the LAN about packets that do not fit: "fragmentation needed" (RFC 1191) and
//! "packet too big" (RFC 8201), rate-limited. Owned by one worker.

use dpdk::Mbuf;

use crate::context::Context;
use crate::packet::{Headers, Version, icmp};

/// The smallest MTU of an IPv6 link (RFC 8200 section 5), in octets.
const IPV6_MIN_MTU: usize = 1280;

/// Answers packets that are too big; at most `PER_SECOND`, `BURST` at once (RFC 1812 section 4.3.2.8).
#[derive(Debug)]
pub(crate) struct TooBig {
    /// When the bucket was full last, in cycles; running ahead of it by one interval costs one error.
    empty_at: u64,
    interval: u64,
}

const PER_SECOND: u64 = 1000;
const BURST: u64 = 100;

impl TooBig {
    pub(crate) fn new() -> Self {
        TooBig { empty_at: 0, interval: dpdk::cycles_hz() / PER_SECOND }
    }

    /// The ICMP error about the frame in `mbuf`, which may have `max_packet` octets from its IP header
    /// on; `None` if there must be none, or none more just now.
    pub(crate) fn answer(
        &mut self,
        mbuf: &Mbuf,
        headers: &Headers,
        max_packet: usize,
        cx: &mut Context<'_>,
    ) -> Option<Mbuf> {
        if !icmp::may_answer(mbuf.data(), headers) || !self.take(cx.now) {
            return None;
        }
        let mut error = Mbuf::alloc(cx.pool)?;
        error.set_mark(0);
        let mtu = u16::try_from(max_packet).unwrap_or(u16::MAX);
        let room = error.append(icmp::MAX_FRAME)?;
        let written = match headers.version {
            Version::V4 => icmp::ipv4_fragmentation_needed(mbuf.data(), headers, mtu, room),
            Version::V6 => icmp::ipv6_packet_too_big(mbuf.data(), headers, u32::from(mtu), room),
        }?;
        let unused = error.data().len().checked_sub(written)?;
        error.trim_back(unused).then_some(error)
    }

    fn take(&mut self, now: u64) -> bool {
        let floor = now.saturating_sub(BURST * self.interval);
        let next = self.empty_at.max(floor) + self.interval;
        let granted = next <= now;
        if granted {
            self.empty_at = next;
        }
        granted
    }
}

/// The MTU to report: a host may ignore less than IPv6's minimum, so what is smaller is fragmented
/// behind the encryption instead.
pub(crate) fn reported_mtu(max_packet: usize, version: Version) -> usize {
    match version {
        Version::V4 => max_packet,
        Version::V6 => max_packet.max(IPV6_MIN_MTU),
    }
}
