//! Tells the control thread about unknown SPIs: small messages over a bounded ring from each worker. A
//! worker reports an SPI at most once an interval and never waits. What nobody can have given out, and what
//! cannot be told from that, gets through at a trickle only, so that a flood of forged SPIs crowds out
//! neither a real one nor the control thread.

#[cfg(all(test, not(feature = "loom")))]
mod tests;

use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    mem,
    net::IpAddr,
};

use crate::plausibility::Plausibility;
use crate::ring::{Consumer, Producer, ring};
use crate::words::{address, address_words, halves};

/// One message: packets came with an SPI that no SA has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Punt {
    /// The SPI.
    pub spi: u32,
    /// What the worker could say of it.
    pub plausibility: Plausibility,
    /// The source address of the last of these packets.
    pub source: IpAddr,
    /// The destination address of the last of these packets.
    pub destination: IpAddr,
    /// Index of the link where it arrived.
    pub link: u16,
    /// Index of the worker that reports.
    pub worker: u16,
    /// When the last of these packets came, in cycles of the time-stamp counter.
    pub at: u64,
    /// How many packets with this SPI came to this worker since its last message about it, this one
    /// included, as far as it could keep count.
    pub count: u32,
}

/// What became of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Punted {
    /// Sent to the control thread.
    Sent,
    /// The control thread was told within the interval.
    Told,
    /// There are too many different SPIs at once for this one to be told.
    Suppressed,
    /// The ring is full: the control thread is behind.
    Lost,
}

/// Makes a sender for each of `workers` workers and the receiver. Each sender has room for `capacity`
/// messages (at least 1, rounded up to a power of two); `interval` is in cycles of the time-stamp counter.
/// A worker sends at most 1,024 messages an interval, of them [`UNVERIFIABLE`] of SPIs that cannot be told
/// from others and [`IMPLAUSIBLE`] of SPIs that nobody has given out.
#[must_use]
pub fn channel(workers: u16, capacity: usize, interval: u64) -> (Vec<PuntSender>, PuntReceiver) {
    let (producers, rings) = (0..workers).map(|_| ring(capacity)).unzip::<_, _, Vec<_>, _>();
    let senders =
        producers.into_iter().zip(0..).map(|(ring, worker)| PuntSender::new(ring, worker, interval));
    (senders.collect(), PuntReceiver { rings })
}

/// Messages that a worker sends in an interval about SPIs that cannot be told from others. The second half
/// of them is for SPIs of which a second packet comes: in a flood of random ones that is a real one.
pub const UNVERIFIABLE: u16 = 32;

/// Messages that a worker sends in an interval about SPIs that nobody has given out: nothing must depend on
/// the test of SPIs. Who comes first gets them: what else comes costs next to nothing.
pub const IMPLAUSIBLE: u16 = 8;

/// The worker's end.
#[derive(Debug)]
pub struct PuntSender {
    ring: Producer<WORDS>,
    worker: u16,
    interval: u64,
    /// Random and odd, so that nobody can choose SPIs that crowd out another.
    multiplier: u64,
    recent: Box<[Set; SETS]>,
    candidates: Box<[u32; CANDIDATES]>,
    unverifiable: Trickle,
    implausible: Trickle,
}

/// Recently reported SPIs are kept in this many sets ...
const SETS: usize = 256;
/// ... of this many.
const WAYS: usize = 4;

/// SPIs of which one packet came while messages are short, each where its hash says, the last one: so a flood
/// of others must bring as many within the time between two packets of a real one to hide it. Few enough for
/// the first-level cache.
const CANDIDATES: usize = 2048;

/// One cache line.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Set([Recent; WAYS]);

/// An SPI that is reported now and then. One that was never used looks like SPI 0 without packets.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    spi: u32,
    /// Packets since the last message.
    hits: u32,
    /// When the next message may be sent; 0 before the first.
    due: u64,
}

impl PuntSender {
    fn new(ring: Producer<WORDS>, worker: u16, interval: u64) -> Self {
        let multiplier = RandomState::new().build_hasher().finish() | 1;
        let recent = Box::new([Set::default(); SETS]);
        let candidates = Box::new([0; CANDIDATES]);
        let unverifiable = Trickle::new(UNVERIFIABLE, interval);
        let implausible = Trickle::new(IMPLAUSIBLE, interval);
        Self { ring, worker, interval, multiplier, recent, candidates, unverifiable, implausible }
    }

    /// Reports a packet with an unknown SPI that came at `now` (cycles). `addresses` gives source and
    /// destination; it is asked only when there is something to send.
    pub fn unknown_spi(
        &mut self,
        spi: u32,
        plausibility: Plausibility,
        link: u16,
        now: u64,
        addresses: impl FnOnce() -> (IpAddr, IpAddr),
    ) -> Punted {
        if plausibility == Plausibility::Implausible && !self.implausible.has(true, now) {
            return Punted::Suppressed;
        }
        let hash = u64::from(spi).wrapping_mul(self.multiplier);
        let Set(set) = &mut self.recent[top_bits(hash, SETS)];
        let rationed = plausibility == Plausibility::Unverifiable;
        let entry = if let Some(known) = set.iter().position(|entry| entry.spi == spi) {
            &mut set[known]
        } else {
            let mut came_before = 0;
            if rationed && !self.unverifiable.has(false, now) {
                let candidate = &mut self.candidates[top_bits(hash, CANDIDATES)];
                if mem::replace(candidate, spi) != spi {
                    return Punted::Suppressed;
                }
                (*candidate, came_before) = (0, 1);
            }
            // An entry within its interval is never given away.
            let oldest = set.iter_mut().min_by_key(|entry| entry.due).filter(|oldest| oldest.due <= now);
            let Some(oldest) = oldest else { return Punted::Suppressed };
            *oldest = Recent { spi, hits: came_before, due: 0 };
            oldest
        };
        entry.hits = entry.hits.saturating_add(1);
        if now < entry.due {
            return Punted::Told;
        }
        if rationed && !self.unverifiable.has(true, now) {
            return Punted::Suppressed;
        }
        let (source, destination) = addresses();
        let worker = self.worker;
        let punt = Punt { spi, plausibility, source, destination, link, worker, at: now, count: entry.hits };
        // When the ring is full the entry keeps its count and time, so that the next packet tries again.
        if !self.ring.push(&punt.to_words()) {
            return Punted::Lost;
        }
        match plausibility {
            Plausibility::Plausible => {}
            Plausibility::Unverifiable => self.unverifiable.take(now),
            Plausibility::Implausible => self.implausible.take(now),
        }
        (entry.hits, entry.due) = (0, now + self.interval);
        Punted::Sent
    }

    /// Packets with this SPI have found an SA: if it is missing again, that is news at once.
    pub(crate) fn forget(&mut self, spi: u32) {
        let hash = u64::from(spi).wrapping_mul(self.multiplier);
        let Set(set) = &mut self.recent[top_bits(hash, SETS)];
        set.iter_mut().filter(|entry| entry.spi == spi).for_each(|entry| *entry = Recent::default());
    }
}

/// Where a hash belongs among `places`, a power of two: a multiplication mixes the top bits best.
#[expect(clippy::cast_possible_truncation, reason = "below `places`")]
fn top_bits(hash: u64, places: usize) -> usize {
    (hash >> (u64::BITS - places.ilog2())) as usize
}

/// So many messages an interval, with as many in store.
#[derive(Debug)]
struct Trickle {
    /// Cycles a message.
    gap: u64,
    /// Cycles' worth of messages in store at the most.
    depth: u64,
    /// When the store is full again.
    full_at: u64,
}

impl Trickle {
    fn new(messages: u16, interval: u64) -> Self {
        let gap = interval.div_ceil(u64::from(messages)).max(1);
        Trickle { gap, depth: gap * u64::from(messages), full_at: 0 }
    }

    /// Whether a message may be sent: while less than half is left, only for an SPI that comes again.
    fn has(&self, again: bool, now: u64) -> bool {
        let wanted = if again { self.gap } else { self.depth / 2 + self.gap };
        self.full_at.saturating_sub(now) + wanted <= self.depth
    }

    fn take(&mut self, now: u64) {
        self.full_at = self.full_at.max(now) + self.gap;
    }
}

/// The control thread's end.
#[derive(Debug)]
pub struct PuntReceiver {
    rings: Vec<Consumer<WORDS>>,
}

impl PuntReceiver {
    /// Takes the messages that are there now; at most one ring full of each worker, so that a flood cannot
    /// hold the control thread here.
    pub fn drain(&mut self) -> impl Iterator<Item = Punt> {
        self.rings.iter_mut().flat_map(Consumer::drain).map(|words| Punt::from_words(&words))
    }
}

/// Words of a message on the ring: SPI and count, time, the small fields, two addresses.
const WORDS: usize = 7;

impl Punt {
    fn to_words(self) -> [u64; WORDS] {
        let likeness = match self.plausibility {
            Plausibility::Plausible => 0,
            Plausibility::Unverifiable => 1,
            Plausibility::Implausible => 2,
        };
        let ([s0, s1], source_is_v4) = address_words(self.source);
        let ([d0, d1], destination_is_v4) = address_words(self.destination);
        let [l0, l1] = self.link.to_be_bytes();
        let [w0, w1] = self.worker.to_be_bytes();
        let small = [l0, l1, w0, w1, likeness, source_is_v4.into(), destination_is_v4.into(), 0];
        let counts = u64::from(self.spi) << 32 | u64::from(self.count);
        [counts, self.at, u64::from_be_bytes(small), s0, s1, d0, d1]
    }

    fn from_words(&[counts, at, small, s0, s1, d0, d1]: &[u64; WORDS]) -> Self {
        let [l0, l1, w0, w1, likeness, source_is_v4, destination_is_v4, _] = small.to_be_bytes();
        let [spi, count] = halves(counts);
        Punt {
            spi,
            plausibility: match likeness {
                0 => Plausibility::Plausible,
                1 => Plausibility::Unverifiable,
                _ => Plausibility::Implausible,
            },
            source: address([s0, s1], source_is_v4 != 0),
            destination: address([d0, d1], destination_is_v4 != 0),
            link: u16::from_be_bytes([l0, l1]),
            worker: u16::from_be_bytes([w0, w1]),
            at,
            count,
        }
    }
}
