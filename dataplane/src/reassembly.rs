//! Fragments wait here for the rest of their datagram, bounded in number and age. Each receive queue
//! has its own; owned by one worker. What is held counts as parked.

use dpdk::{Mbuf, Reassembler, Reassembly};

use crate::context::{Arrived, Context};
use crate::offender::Seen;
use crate::packet::{Headers, Parsed, Version, parse};
use crate::verdict::DropReason;

/// The fragments of a receive queue.
#[derive(Debug)]
pub struct Fragments {
    table: Reassembler,
}

impl Fragments {
    /// Holds fragments in `table`.
    #[must_use]
    pub fn new(table: Reassembler) -> Self {
        Fragments { table }
    }

    /// Takes a fragment in. Returns the datagram when it is complete.
    #[cold]
    pub(crate) fn push(
        &mut self,
        mut mbuf: Mbuf,
        headers: &Headers,
        cx: &mut Context<'_>,
    ) -> Option<Arrived> {
        // Padding would come to lie inside the datagram.
        let padding = mbuf.data().len().saturating_sub(headers.end());
        if !mbuf.trim_back(padding) {
            cx.drop(mbuf, DropReason::ReassemblyFailed);
            return None;
        }
        let held = self.table.held();
        let (failed, octets) = (DropReason::ReassemblyFailed, mbuf.pkt_len());
        let seen = cx.offenders.is_due(failed, cx.now).then(|| Seen::of(mbuf.data()));
        let outcome = match headers.version {
            Version::V4 => self.table.push_v4(mbuf, headers.l2_len, cx.now),
            Version::V6 => self.table.push_v6(mbuf, headers.l2_len, cx.now),
        };
        let died = self.table.take_dead();
        cx.tally.count_drops(failed, died);
        // The fragment that came is the one that the others of its datagram died for.
        if let Some(seen) = seen.filter(|_| died > 0) {
            cx.show(seen, octets, failed);
        }
        cx.tally.parked = (cx.tally.parked + self.table.held()).saturating_sub(held);
        let mbuf = match outcome {
            Reassembly::Done(mbuf) => mbuf,
            Reassembly::Held => return None,
            Reassembly::Refused(mbuf) => {
                cx.drop(mbuf, DropReason::ReassemblyFailed);
                return None;
            }
        };
        let frames = u16::try_from(mbuf.segments()).unwrap_or(u16::MAX);
        let mbuf = cx.contiguous(mbuf, frames)?;
        match parse(mbuf.data()) {
            Parsed::Ip(headers) => Some(Arrived { mbuf, headers, frames }),
            Parsed::Malformed(reason) => {
                cx.drop_frames(mbuf, reason, frames);
                None
            }
            Parsed::NotIp => {
                cx.drop_frames(mbuf, DropReason::ReassemblyFailed, frames);
                None
            }
        }
    }

    /// Drops fragments whose datagram has waited too long.
    #[inline]
    pub(crate) fn expire(&mut self, cx: &mut Context<'_>) {
        if self.table.held() > 0 {
            self.bury(cx.now, DropReason::ReassemblyTimeout, cx);
        }
    }

    /// Drops everything that is held.
    pub(crate) fn drain(&mut self, cx: &mut Context<'_>) {
        let mut before = u64::MAX;
        while self.table.held() > 0 && self.table.held() < before {
            before = self.table.held();
            self.bury(u64::MAX, DropReason::Shutdown, cx);
        }
    }

    fn bury(&mut self, older_than: u64, reason: DropReason, cx: &mut Context<'_>) {
        self.table.expire(older_than, |fragment| cx.last_look(fragment, reason, 1));
        let died = self.table.take_dead();
        cx.tally.count_drops(reason, died);
        cx.tally.parked = cx.tally.parked.saturating_sub(died);
    }
}
