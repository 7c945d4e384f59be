//! What a worker counts, declared once with its meaning: per worker and link ([`Tally`]) and per SA
//! ([`SaCounters`]). A worker writes its own and shares them by plain stores; the control thread
//! reads them all, at one instant each. No counter is written by two threads.

pub(crate) mod seqlock;

use crate::{
    sync::{AtomicU64, Ordering},
    verdict::DropReason,
};
use crossbeam::utils::CachePadded;
use seqlock::SeqLock;
use std::ops::AddAssign;

/// Whether a number only grows or goes up and down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// The state now.
    Gauge,
}

/// One row of the table of counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The name used in replies and JSON.
    pub name: &'static str,
    /// The name used in metrics, which ends with the unit.
    pub metric: &'static str,
    /// Counter or gauge.
    pub kind: Kind,
    /// What is counted, in one line.
    pub meaning: &'static str,
}

/// Declares [`Tally`] and the table that replies, metrics and documentation are made from, so that no
/// counter can be forgotten in one of them.
macro_rules! tally {
    ($($field:ident, $kind:ident, $metric:literal, $meaning:literal;)*) => {
        /// What one worker counted on one link. Plain numbers, owned by the worker.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct Tally {
            $(#[doc = $meaning] pub $field: u64,)*
            dropped: u64,
            drops: [u64; DropReason::COUNT],
        }

        impl Tally {
            /// Every counter but the drops, in the order of the table.
            pub const COUNTERS: &'static [Counter] = &[
                $(Counter {
                    name: stringify!($field),
                    metric: $metric,
                    kind: Kind::$kind,
                    meaning: $meaning,
                },)*
            ];

            /// The sum of all drops stands last, as it tells whether any drop counter has changed.
            fn hot(&self) -> [u64; HOT] {
                [$(self.$field,)* self.dropped]
            }

            fn from_parts(hot: &[u64; HOT], drops: [u64; DropReason::COUNT]) -> Self {
                let &[$($field,)* dropped] = hot;
                Self { $($field,)* dropped, drops }
            }
        }
    };
}

tally! {
    rx, Counter, "rx_frames", "frames received";
    rx_octets, Counter, "rx_bytes", "octets received, from the Ethernet header on";
    tx, Counter, "tx_frames", "frames that an egress port took";
    tx_octets, Counter, "tx_bytes", "octets that an egress port took, from the Ethernet header on";
    decrypted, Counter, "decrypted_frames", "frames received from the WAN that were opened and sent to the LAN";
    encrypted, Counter, "encrypted_frames", "frames received from the LAN that were sealed and sent to the WAN";
    bypassed, Counter, "bypassed_frames", "frames that crossed unchanged";
    to_exception, Counter, "to_exception_frames", "frames received from the WAN for this machine itself, handed to the exception port";
    parked, Gauge, "parked_frames", "frames held now: fragments that wait for the rest of their datagram, and packets that wait for an SA with their SPI";
    released, Counter, "released_frames", "frames that waited for their SA and went on when it came";
    fragments, Counter, "fragment_frames", "frames sent beyond the first for a packet that had to be fragmented";
    icmp, Counter, "icmp_error_frames", "ICMP errors that this member originated";
    from_exception, Counter, "from_exception_frames", "frames of this machine itself, from the exception port, sent to the WAN";
    punts, Counter, "unknown_spis_told", "unknown SPIs told to the control thread";
    punts_suppressed, Counter, "unknown_spi_frames_not_told", "packets with an unknown SPI that was told already, or for which there was no room";
    implausible, Counter, "implausible_spi_frames", "packets with an unknown SPI that no key server has given out";
    punts_lost, Counter, "unknown_spis_lost", "unknown SPIs not told because the control thread was behind";
}

/// How many numbers are copied at every publish: the table, and the sum of drops.
const HOT: usize = Tally::COUNTERS.len() + 1;

impl Tally {
    /// Counts one dropped packet.
    #[inline]
    pub fn count_drop(&mut self, reason: DropReason) {
        self.count_drops(reason, 1);
    }

    /// Counts `packets` dropped packets.
    #[inline]
    pub fn count_drops(&mut self, reason: DropReason, packets: u64) {
        self.drops[reason as usize] += packets;
        self.dropped += packets;
    }

    /// Packets dropped for `reason`.
    #[must_use]
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.drops[reason as usize]
    }

    /// Packets dropped for any reason.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Frames received: the left side of the conservation law (DESIGN 4.4).
    #[must_use]
    pub fn received(&self) -> u64 {
        self.rx
    }

    /// Frames that ended in a verdict or are held: the right side of the conservation law. Equal to
    /// [`Tally::received`] in every tally that a worker has published, and in every sum of such.
    #[must_use]
    pub fn accounted(&self) -> u64 {
        self.decrypted + self.encrypted + self.bypassed + self.to_exception + self.parked + self.dropped
    }

    /// Every counter but the drops, with its row of the table.
    pub fn iter(&self) -> impl Iterator<Item = (&'static Counter, u64)> {
        Self::COUNTERS.iter().zip(self.hot())
    }

    /// Every drop reason with its count, zeros included.
    pub fn iter_drops(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL.iter().copied().zip(self.drops)
    }
}

impl Default for Tally {
    fn default() -> Self {
        Self::from_parts(&[0; HOT], [0; DropReason::COUNT])
    }
}

impl AddAssign<&Tally> for Tally {
    fn add_assign(&mut self, other: &Tally) {
        let (mut hot, mut drops) = (self.hot(), self.drops);
        let theirs = other.hot();
        for (sum, more) in hot.iter_mut().zip(&theirs).chain(drops.iter_mut().zip(&other.drops)) {
            *sum += more;
        }
        *self = Self::from_parts(&hot, drops);
    }
}

impl<'a> std::iter::Sum<&'a Tally> for Tally {
    fn sum<I: Iterator<Item = &'a Tally>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |mut sum, tally| {
            sum += tally;
            sum
        })
    }
}

/// A worker's [`Tally`] as others see it. One writer, any number of readers.
#[derive(Debug)]
pub struct SharedTally(CachePadded<SeqLock<HOT, { DropReason::COUNT }>>);

impl SharedTally {
    /// All zeros.
    #[must_use]
    pub fn new() -> Self {
        Self(CachePadded::new(SeqLock::new()))
    }

    /// Shows `tally` to the readers. For the one worker that owns it, at the end of a burst, when the
    /// conservation law holds; wait-free.
    #[inline]
    pub fn publish(&self, tally: &Tally) {
        let drops_changed = self.0.last_hot(HOT - 1) != tally.dropped;
        self.0.write(&tally.hot(), drops_changed.then_some(&tally.drops));
    }

    /// The last tally published, whole.
    #[must_use]
    pub fn read(&self) -> Tally {
        let (hot, drops) = self.0.read();
        Tally::from_parts(&hot, drops)
    }
}

impl Default for SharedTally {
    fn default() -> Self {
        Self::new()
    }
}

/// What one SA carried, in one direction, counted by each worker on a cache line of its own.
#[derive(Debug)]
pub struct SaCounters(Box<[SaCells]>);

/// Sums over an SA's workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaTotals {
    /// Packets sealed, or opened with success.
    pub packets: u64,
    /// Octets of these packets: the inner packet, without ESP header, padding and ICV.
    pub octets: u64,
    /// Packets that failed on this SA: replayed, forged, malformed, or out of IVs.
    pub errors: u64,
}

#[derive(Debug)]
#[repr(align(64))]
struct SaCells {
    packets: AtomicU64,
    octets: AtomicU64,
    errors: AtomicU64,
}

impl SaCounters {
    /// Zeros for `workers` workers. 64 octets each.
    #[must_use]
    pub fn new(workers: usize) -> Self {
        let zero = || AtomicU64::new(0);
        Self((0..workers).map(|_| SaCells { packets: zero(), octets: zero(), errors: zero() }).collect())
    }

    /// Adds packets and their octets. Only worker `worker` may call this; a worker that the SA was
    /// not made for counts nothing.
    #[inline]
    pub fn add(&self, worker: usize, packets: u64, octets: u64) {
        if let Some(cells) = self.0.get(worker) {
            add(&cells.packets, packets);
            add(&cells.octets, octets);
        }
    }

    /// Adds failed packets. Only worker `worker` may call this.
    #[inline]
    pub fn add_errors(&self, worker: usize, errors: u64) {
        if let Some(cells) = self.0.get(worker) {
            add(&cells.errors, errors);
        }
    }

    /// The sums over all workers. Each number is exact as of some instant during the call.
    #[must_use]
    pub fn totals(&self) -> SaTotals {
        let sum = |cell: fn(&SaCells) -> &AtomicU64| {
            self.0.iter().map(|cells| cell(cells).load(Ordering::Relaxed)).sum()
        };
        SaTotals { packets: sum(|c| &c.packets), octets: sum(|c| &c.octets), errors: sum(|c| &c.errors) }
    }
}

/// Adds without a locked instruction, which a single writer does not need.
#[inline]
fn add(cell: &AtomicU64, more: u64) {
    cell.store(cell.load(Ordering::Relaxed).wrapping_add(more), Ordering::Relaxed);
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::{SaCounters, SaTotals, SharedTally, Tally};
    use crate::verdict::DropReason;
    use std::{
        collections::HashSet,
        sync::atomic::{AtomicBool, Ordering},
        thread,
    };

    #[test]
    fn every_counter_is_listed_once_with_its_own_value() {
        let tally = Tally { rx: 3, parked: 2, punts_lost: 9, ..Tally::default() };
        let listed: Vec<_> = tally.iter().map(|(counter, value)| (counter.name, value)).collect();
        let names: HashSet<_> = listed.iter().map(|(name, _)| name).collect();
        assert_eq!(names.len(), Tally::COUNTERS.len());
        assert!(listed.contains(&("rx", 3)));
        assert!(listed.contains(&("parked", 2)));
        assert_eq!(listed.last(), Some(&("punts_lost", 9)));
    }

    #[test]
    fn drops_are_kept_by_reason_and_summed() {
        let mut tally = Tally::default();
        tally.count_drop(DropReason::Policy);
        tally.count_drops(DropReason::Shutdown, 4);
        assert_eq!(tally.drops(DropReason::Policy), 1);
        assert_eq!(tally.dropped(), 5);
        assert_eq!(tally.iter_drops().map(|(_, packets)| packets).sum::<u64>(), 5);
    }

    #[test]
    fn tallies_add_up_number_by_number() {
        let mut first = Tally { rx: 5, tx: 1, decrypted: 4, ..Tally::default() };
        first.count_drop(DropReason::Ecn);
        let mut second = Tally { rx: 2, bypassed: 1, ..Tally::default() };
        second.count_drop(DropReason::Ecn);
        let sum: Tally = [&first, &second].into_iter().sum();
        assert_eq!((sum.rx, sum.tx, sum.decrypted, sum.bypassed), (7, 1, 4, 1));
        assert_eq!(sum.drops(DropReason::Ecn), 2);
        assert_eq!(sum.received(), sum.accounted());
    }

    #[test]
    fn what_is_published_is_what_is_read() {
        let shared = SharedTally::new();
        let mut tally = Tally { rx: 1, ..Tally::default() };
        shared.publish(&tally);
        assert_eq!(shared.read(), tally);
        tally.count_drop(DropReason::Policy);
        shared.publish(&tally);
        assert_eq!(shared.read(), tally);
        tally.rx_octets = 64;
        shared.publish(&tally);
        assert_eq!(shared.read(), tally);
    }

    #[test]
    fn the_conservation_law_holds_in_every_tally_read_while_the_worker_runs() {
        let shared = SharedTally::new();
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                let mut tally = Tally::default();
                let mut burst = 0;
                while !stop.load(Ordering::Relaxed) {
                    burst += 1;
                    tally.rx += 4;
                    tally.decrypted += 2;
                    tally.parked = burst & 1;
                    let reason = DropReason::ALL[usize::try_from(burst).unwrap() % DropReason::COUNT];
                    tally.count_drops(reason, tally.rx - tally.accounted());
                    shared.publish(&tally);
                }
            });
            let mut last = 0;
            for _ in 0..20_000 {
                let tally = shared.read();
                assert_eq!(tally.received(), tally.accounted());
                assert_eq!(tally.iter_drops().map(|(_, packets)| packets).sum::<u64>(), tally.dropped());
                assert!(tally.rx >= last);
                last = tally.rx;
            }
            stop.store(true, Ordering::Relaxed);
        });
    }

    #[test]
    fn an_sa_sums_its_workers_and_ignores_strangers() {
        let counters = SaCounters::new(2);
        counters.add(0, 3, 300);
        counters.add(1, 1, 50);
        counters.add(2, 9, 9);
        counters.add_errors(1, 2);
        counters.add_errors(7, 2);
        assert_eq!(counters.totals(), SaTotals { packets: 4, octets: 350, errors: 2 });
    }
}
