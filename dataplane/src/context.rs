//! What a worker's pipelines share while they work on one burst: the snapshot they see, where they
//! count, where buffers come from. Owned by one worker.

use arrayvec::ArrayVec;
use dpdk::{BURST, Burst, Mbuf, Mempool};

use crate::counters::Tally;
use crate::meter::Meter;
use crate::offender::{Offender, Offenders, Seen};
use crate::packet::Headers;
use crate::parking::Lot;
use crate::policy::Subject;
use crate::probe::Tap;
use crate::punt::PuntSender;
use crate::snapshot::Snapshot;
use crate::verdict::DropReason;

/// The side of a link that a frame came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The cleartext side: the frame is on its way out.
    Lan,
    /// The ciphertext side: on its way in.
    Wan,
}

/// A worker's surroundings during one burst.
pub struct Context<'a> {
    /// Number of the worker, from 0: it seals with the sender ID of this place.
    pub worker: usize,
    /// Number of the link that the burst came from.
    pub link: u16,
    /// The side of the link that it came from.
    pub origin: Origin,
    /// When the burst was received, in cycles.
    pub now: u64,
    /// The SAs and policy in force for the whole burst.
    pub snapshot: &'a Snapshot,
    /// Counters of this worker and link.
    pub tally: &'a mut Tally,
    /// Where a dropped packet is shown.
    pub offenders: &'a mut Offenders,
    /// Where time is measured.
    pub meter: &'a mut Meter,
    /// Frames dropped during the burst, freed together.
    pub bin: &'a mut Burst,
    /// Where unknown SPIs are reported.
    pub punts: &'a mut PuntSender,
    /// Where packets with an unknown SPI wait.
    pub lot: &'a mut Lot<Arrived>,
    /// Where a probe looks at packets.
    pub tap: &'a mut Tap,
    /// Buffers of ordinary frames.
    pub pool: &'a Mempool,
    /// Buffers that hold the largest packet in one segment.
    pub large: &'a Mempool,
}

/// An IP packet on its way through a pipeline, in one segment.
#[derive(Debug)]
pub struct Arrived {
    pub(crate) mbuf: Mbuf,
    pub(crate) headers: Headers,
    /// Received frames that it stands for.
    pub(crate) frames: u16,
}

impl Arrived {
    /// What policy classifies.
    pub(crate) fn subject(&self) -> Subject<'_> {
        (&self.headers, self.mbuf.data())
    }
}

/// The packets of a burst that go the same way: the nth of each list is of the nth packet. What is in
/// them is looked at where it lies; to move a packet with its headers costs more than most stages.
#[derive(Debug, Default)]
pub(crate) struct Lane {
    pub(crate) mbufs: Burst,
    pub(crate) headers: ArrayVec<Headers, BURST>,
    /// Received frames that each stands for.
    pub(crate) frames: ArrayVec<u16, BURST>,
}

impl Lane {
    #[inline]
    pub(crate) fn new() -> Self {
        Lane { mbufs: Burst::new(), headers: ArrayVec::new(), frames: ArrayVec::new() }
    }

    /// Adds a packet; there must be room.
    #[inline(always)]
    pub(crate) fn push(&mut self, mbuf: Mbuf, headers: Headers, frames: u16) {
        self.mbufs.push(mbuf);
        self.headers.push(headers);
        self.frames.push(frames);
    }

    /// The same for a packet that was held; there must be room.
    pub(crate) fn admit(&mut self, Arrived { mbuf, headers, frames }: Arrived) {
        self.push(mbuf, headers, frames);
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.mbufs.is_empty()
    }

    /// Every packet.
    #[inline(always)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Mbuf, &Headers)> {
        self.mbufs.iter().zip(&self.headers)
    }

    /// What policy classifies.
    #[inline(always)]
    pub(crate) fn subjects(&self) -> impl Iterator<Item = Subject<'_>> {
        self.iter().map(|(mbuf, headers)| (headers, mbuf.data()))
    }

    /// Takes the packets out, each with its headers and the frames that it stands for.
    #[inline(always)]
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (Mbuf, &Headers, u16)> {
        let details = self.headers.iter().zip(&self.frames);
        self.mbufs.drain(..).zip(details).map(|(mbuf, (headers, frames))| (mbuf, headers, *frames))
    }
}

impl Context<'_> {
    /// Ends a packet that stands for one received frame.
    #[inline]
    pub(crate) fn drop(&mut self, mbuf: Mbuf, reason: DropReason) {
        self.drop_frames(mbuf, reason, 1);
    }

    /// Ends a packet that stands for `frames` received frames.
    #[inline]
    pub(crate) fn drop_frames(&mut self, mbuf: Mbuf, reason: DropReason, frames: u16) {
        self.tally.count_drops(reason, u64::from(frames));
        self.last_look(&mbuf, reason, frames);
        self.discard(mbuf);
    }

    /// Whoever looks at what is dropped sees the packet.
    #[inline(always)]
    pub(crate) fn last_look(&mut self, mbuf: &Mbuf, reason: DropReason, frames: u16) {
        self.accuse(mbuf, reason);
        if self.tap.sees_drops(reason) {
            self.probe_drops(mbuf, reason, frames);
        }
    }

    /// Shows the packet that is dropped for `reason`, if none was just now.
    #[inline(always)]
    pub(crate) fn accuse(&mut self, mbuf: &Mbuf, reason: DropReason) {
        if self.offenders.is_due(reason, self.now) {
            let seen = Seen::of(mbuf.data());
            self.show(seen, mbuf.pkt_len(), reason);
        }
    }

    /// Shows what was seen of a packet that is dropped for `reason`.
    #[cold]
    #[inline(never)]
    pub(crate) fn show(&mut self, seen: Seen, octets: usize, reason: DropReason) {
        let octets = u16::try_from(octets).unwrap_or(u16::MAX);
        let offender = Offender { at: self.now, link: self.link, origin: self.origin, octets, seen };
        self.offenders.show(reason, &offender);
    }

    /// Frees a frame whose verdict others bear, with the rest of the burst's.
    #[inline]
    pub(crate) fn discard(&mut self, mbuf: Mbuf) {
        if self.bin.is_full() {
            dpdk::free_burst(self.bin);
        }
        self.bin.push(mbuf);
    }

    /// The packet in one segment; drops it, counted, when that cannot be had.
    #[inline]
    pub(crate) fn contiguous(&mut self, mbuf: Mbuf, frames: u16) -> Option<Mbuf> {
        if mbuf.is_contiguous() {
            return Some(mbuf);
        }
        self.gather(mbuf, frames)
    }

    #[cold]
    fn gather(&mut self, mbuf: Mbuf, frames: u16) -> Option<Mbuf> {
        match mbuf.to_contiguous(self.large) {
            Ok(mbuf) => Some(mbuf),
            Err(mbuf) => {
                let too_long = mbuf.pkt_len() > usize::from(self.large.data_room());
                let reason = if too_long { DropReason::FrameTooLong } else { DropReason::NoBuffers };
                self.drop_frames(mbuf, reason, frames);
                None
            }
        }
    }
}
