//! Tells the control thread about unknown SPIs: small messages over a bounded ring. A worker reports an
//! SPI at most once an interval and never waits; a flood of forged SPIs fills the worker's own small
//! table and then nothing more gets through until its entries have aged.

use crossbeam::{queue::ArrayQueue, utils::CachePadded};
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
    net::IpAddr,
    sync::Arc,
};

/// One message: packets came with an SPI that no SA has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Punt {
    /// The SPI.
    pub spi: u32,
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
    /// included.
    pub count: u32,
}

/// What became of a report, for the worker's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Punted {
    /// Sent to the control thread.
    Sent,
    /// Reported within the interval already, or too many different SPIs at once.
    Suppressed,
    /// The ring is full: the control thread is behind.
    Lost,
}

/// Makes a sender for each of `workers` workers and the receiver. `capacity` messages (at least 1)
/// find room in the ring; `interval` is in cycles of the time-stamp counter. A worker sends at most 1,024
/// messages an interval.
#[must_use]
pub fn channel(workers: u16, capacity: usize, interval: u64) -> (Vec<PuntSender>, PuntReceiver) {
    let ring = Arc::new(ArrayQueue::new(capacity.max(1)));
    let senders = (0..workers).map(|worker| PuntSender::new(Arc::clone(&ring), worker, interval)).collect();
    (senders, PuntReceiver { ring })
}

/// The worker's end.
#[derive(Debug)]
pub struct PuntSender {
    ring: Arc<ArrayQueue<Punt>>,
    worker: u16,
    interval: u64,
    /// Random and odd, so that nobody can choose SPIs that crowd out another.
    multiplier: u64,
    recent: Box<[CachePadded<[Recent; WAYS]>; SETS]>,
}

/// Recently reported SPIs are kept in this many sets ...
const SETS: usize = 256;
/// ... of this many.
const WAYS: usize = 4;

/// An SPI that is reported now and then. One that was never used looks like SPI 0 without packets.
#[derive(Clone, Copy, Debug, Default)]
struct Recent {
    spi: u32,
    /// Packets since the last message.
    hits: u32,
    /// When the last message was sent, if ever.
    sent: Option<u64>,
}

impl Recent {
    /// Cycles since the last message.
    fn age(&self, now: u64) -> u64 {
        self.sent.map_or(u64::MAX, |sent| now.saturating_sub(sent))
    }
}

impl PuntSender {
    fn new(ring: Arc<ArrayQueue<Punt>>, worker: u16, interval: u64) -> Self {
        let multiplier = RandomState::new().build_hasher().finish() | 1;
        let recent = Box::new([CachePadded::new([Recent::default(); WAYS]); SETS]);
        Self { ring, worker, interval, multiplier, recent }
    }

    /// Reports a packet with an unknown SPI that came at `now` (cycles). `addresses` gives source and
    /// destination; it is asked only when there is something to send.
    pub fn unknown_spi(
        &mut self,
        spi: u32,
        link: u16,
        now: u64,
        addresses: impl FnOnce() -> (IpAddr, IpAddr),
    ) -> Punted {
        let set = &mut self.recent[set_of(spi, self.multiplier)];
        let Some(entry) = choose(set, spi, now, self.interval) else { return Punted::Suppressed };
        if entry.spi != spi {
            *entry = Recent { spi, ..Recent::default() };
        }
        entry.hits = entry.hits.saturating_add(1);
        if entry.age(now) < self.interval {
            return Punted::Suppressed;
        }
        let (source, destination) = addresses();
        let worker = self.worker;
        let punt = Punt { spi, source, destination, link, worker, at: now, count: entry.hits };
        // When the ring is full the entry keeps its count and time, so that the next packet tries again.
        match self.ring.push(punt) {
            Ok(()) => {
                (entry.hits, entry.sent) = (0, Some(now));
                Punted::Sent
            }
            Err(_) => Punted::Lost,
        }
    }
}

/// The set that `spi` belongs to.
#[expect(clippy::cast_possible_truncation, reason = "eight bits are left")]
fn set_of(spi: u32, multiplier: u64) -> usize {
    (u64::from(spi).wrapping_mul(multiplier) >> (u64::BITS - SETS.ilog2())) as usize
}

/// The entry of `spi`, or else the one whose last message is oldest, if that is at least `interval`
/// ago: an entry within its interval is never given away.
fn choose(set: &mut [Recent; WAYS], spi: u32, now: u64, interval: u64) -> Option<&mut Recent> {
    if let Some(known) = set.iter().position(|entry| entry.spi == spi) {
        return set.get_mut(known);
    }
    set.iter_mut().max_by_key(|entry| entry.age(now)).filter(|oldest| oldest.age(now) >= interval)
}

/// The control thread's end.
#[derive(Debug)]
pub struct PuntReceiver {
    ring: Arc<ArrayQueue<Punt>>,
}

impl PuntReceiver {
    /// Takes the messages that are there now; at most one ring full, so that a flood cannot hold the
    /// control thread here.
    pub fn drain(&self) -> impl Iterator<Item = Punt> {
        (0..self.ring.len()).map_while(|_| self.ring.pop())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{Punt, PuntReceiver, PuntSender, Punted, channel};
    use proptest::prelude::*;
    use std::{
        collections::HashMap,
        net::{IpAddr, Ipv4Addr, Ipv6Addr},
    };

    const INTERVAL: u64 = 1000;
    const HERE: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const THERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn one_worker(capacity: usize) -> (PuntSender, PuntReceiver) {
        let (mut senders, receiver) = channel(1, capacity, INTERVAL);
        (senders.remove(0), receiver)
    }

    fn report(sender: &mut PuntSender, spi: u32, now: u64) -> Punted {
        sender.unknown_spi(spi, 3, now, || (HERE, THERE))
    }

    #[test]
    fn a_message_says_who_where_and_when() {
        let (mut sender, receiver) = one_worker(4);
        assert_eq!(report(&mut sender, 0xabcd, 7), Punted::Sent);
        let message =
            Punt { spi: 0xabcd, source: HERE, destination: THERE, link: 3, worker: 0, at: 7, count: 1 };
        assert_eq!(receiver.drain().collect::<Vec<_>>(), [message]);
        assert_eq!(receiver.drain().count(), 0);
    }

    #[test]
    fn within_the_interval_an_spi_is_only_counted() {
        let (mut sender, receiver) = one_worker(4);
        for now in 0..INTERVAL {
            let expected = if now == 0 { Punted::Sent } else { Punted::Suppressed };
            assert_eq!(report(&mut sender, 256, now), expected);
        }
        assert_eq!(report(&mut sender, 256, INTERVAL), Punted::Sent);
        assert_eq!(receiver.drain().map(|punt| punt.count).collect::<Vec<_>>(), [1, 1000]);
    }

    #[test]
    fn workers_report_independently() {
        let (mut senders, receiver) = channel(2, 4, INTERVAL);
        for sender in &mut senders {
            assert_eq!(report(sender, 256, 5), Punted::Sent);
        }
        assert_eq!(receiver.drain().map(|punt| punt.worker).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn when_the_ring_was_full_the_next_packet_tries_again_and_none_goes_uncounted() {
        let (mut sender, receiver) = one_worker(1);
        assert_eq!(report(&mut sender, 256, 0), Punted::Sent);
        assert_eq!(report(&mut sender, 257, 0), Punted::Lost);
        assert_eq!(report(&mut sender, 257, 1), Punted::Lost);
        assert_eq!(receiver.drain().count(), 1);
        assert_eq!(report(&mut sender, 257, 2), Punted::Sent);
        assert_eq!(receiver.drain().map(|punt| punt.count).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_flood_of_different_spis_sends_no_more_than_the_table_holds() {
        let (mut sender, receiver) = one_worker(100_000);
        for spi in 0..100_000 {
            report(&mut sender, spi, u64::from(spi / 200));
        }
        let sent = receiver.drain().count();
        assert_eq!(sent, 1024);
    }

    #[test]
    fn the_same_spi_is_not_sent_again_for_all_the_others_in_between() {
        let (mut sender, receiver) = one_worker(100_000);
        assert_eq!(report(&mut sender, 1_000_000, 0), Punted::Sent);
        for spi in 0..100_000 {
            report(&mut sender, spi, 1);
        }
        assert_eq!(report(&mut sender, 1_000_000, INTERVAL - 1), Punted::Suppressed);
        assert_eq!(receiver.drain().filter(|punt| punt.spi == 1_000_000).count(), 1);
    }

    proptest! {
        #[test]
        fn no_spi_is_sent_twice_within_the_interval_and_counts_never_exceed_what_came(
            packets in prop::collection::vec((0_u32..3000, 0_u64..40), 1..2000),
        ) {
            let (mut sender, receiver) = one_worker(64);
            let (mut now, mut last_sent, mut came) = (0, HashMap::new(), HashMap::<u32, u32>::new());
            for (spi, later) in packets {
                now += later;
                *came.entry(spi).or_default() += 1;
                let outcome = report(&mut sender, spi, now);
                let messages: Vec<Punt> = receiver.drain().collect();
                prop_assert_eq!(messages.len(), usize::from(outcome == Punted::Sent));
                for punt in messages {
                    if let Some(last) = last_sent.insert(spi, now) {
                        prop_assert!(now - last >= INTERVAL);
                    }
                    let came = came.get_mut(&spi).unwrap();
                    prop_assert!(punt.count >= 1 && punt.count <= *came);
                    *came -= punt.count;
                }
            }
        }
    }
}
