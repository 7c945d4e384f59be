//! A port's way out: frames collect here during a burst and leave together, and only then is their
//! verdict counted. Owned by one worker.

use std::hint::spin_loop;

use arrayvec::ArrayVec;
use dpdk::{BURST, Burst, Mbuf, TxQueue, cycles};

use crate::context::Context;
use crate::counters::Tally;
use crate::verdict::DropReason;

/// What a frame that leaves is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outgoing {
    /// A received packet, opened.
    Decrypted,
    /// A received packet, sealed.
    Encrypted,
    /// A received frame, unchanged.
    Bypassed,
    /// One more fragment of a packet that another frame stands for.
    Fragment,
    /// An ICMP error of our own.
    Icmp,
    /// A frame of this machine itself.
    Own,
}

/// What is counted when a frame has left, or has not.
#[derive(Clone, Copy, Debug)]
struct Note {
    outgoing: Outgoing,
    /// Received frames that this one stands for: 0 for our own, several for a reassembled packet.
    frames: u16,
    octets: usize,
}

/// A transmit queue and what waits for it.
#[derive(Debug)]
pub struct Egress {
    queue: TxQueue,
    frames: Burst,
    notes: ArrayVec<Note, BURST>,
    /// How long a full queue is tried again, in cycles.
    patience: u64,
}

impl Egress {
    /// A way out through `queue`. A full queue is tried again for `patience` cycles.
    #[must_use]
    pub fn new(queue: TxQueue, patience: u64) -> Self {
        Egress { queue, frames: Burst::new(), notes: ArrayVec::new(), patience }
    }

    /// Adds a frame; sends what has collected when there is no room.
    #[inline(always)]
    pub(crate) fn push(&mut self, mbuf: Mbuf, outgoing: Outgoing, frames: u16, cx: &mut Context<'_>) {
        if self.frames.is_full() {
            self.make_room(cx);
        }
        let octets = mbuf.pkt_len();
        self.frames.push(mbuf);
        self.notes.push(Note { outgoing, frames, octets });
    }

    /// Adds a frame that crosses unchanged.
    #[inline]
    pub(crate) fn bypass(&mut self, mbuf: Mbuf, frames: u16, cx: &mut Context<'_>) {
        self.push(mbuf, Outgoing::Bypassed, frames, cx);
    }

    /// Sends everything that has collected. What the port does not take in time is dropped.
    #[inline]
    pub fn flush(&mut self, cx: &mut Context<'_>) {
        if cx.tap.follows() {
            cx.probe_sends(&self.frames, self.notes.iter().map(|note| (note.outgoing, note.frames)));
        }
        let mut deadline = None;
        while !self.frames.is_empty() {
            let sent = self.queue.burst(&mut self.frames);
            for note in self.notes.drain(..sent) {
                note.left(cx.tally);
            }
            if sent > 0 {
                deadline = None;
            } else if cycles() >= *deadline.get_or_insert_with(|| cycles() + self.patience) {
                self.give_up(cx);
            } else {
                spin_loop();
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, cx: &mut Context<'_>) {
        self.flush(cx);
    }

    #[cold]
    fn give_up(&mut self, cx: &mut Context<'_>) {
        for (note, mbuf) in self.notes.drain(..).zip(&self.frames) {
            // Our own frames and further fragments stand for none that was received.
            if note.frames > 0 {
                cx.tally.count_drops(DropReason::TxFull, u64::from(note.frames));
                cx.accuse(mbuf, DropReason::TxFull);
            }
            if cx.tap.sees_drops(DropReason::TxFull) {
                cx.probe_drops(mbuf, DropReason::TxFull, note.frames);
            }
        }
        dpdk::free_burst(&mut self.frames);
    }
}

impl Note {
    #[inline]
    fn left(self, tally: &mut Tally) {
        tally.tx += 1;
        tally.tx_octets += self.octets as u64;
        let frames = u64::from(self.frames);
        match self.outgoing {
            Outgoing::Decrypted => tally.decrypted += frames,
            Outgoing::Encrypted => tally.encrypted += frames,
            Outgoing::Bypassed => tally.bypassed += frames,
            Outgoing::Fragment => tally.fragments += 1,
            Outgoing::Icmp => tally.icmp += 1,
            Outgoing::Own => tally.from_exception += 1,
        }
    }
}
