//! Packets with an unknown SPI wait here for their SA: for each SPI in the order of arrival, bounded in
//! packets, octets and age. One lot for each worker, which alone uses it; nothing is allocated after the
//! start. Knows nothing of packets but how long they are.

#[cfg(all(test, feature = "loom"))]
mod loom_tests;
#[cfg(all(test, not(feature = "loom")))]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use crossbeam::utils::CachePadded;

use crate::sync::{AtomicU64, Ordering};

/// How much may wait for each worker. Nothing waits when either is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParkingLimits {
    /// Packets.
    pub packets: u32,
    /// Octets of these packets, from the Ethernet header on.
    pub octets: u64,
    /// How long.
    pub age: Duration,
}

impl ParkingLimits {
    /// Nothing waits.
    pub const OFF: ParkingLimits = ParkingLimits { packets: 0, octets: 0, age: Duration::ZERO };
}

impl Default for ParkingLimits {
    /// As many packets as a receive queue holds, of the usual size; and time for a key server to be asked
    /// three times, when the second answer comes after 200 ms and the third after 600 ms.
    fn default() -> Self {
        ParkingLimits { packets: 1024, octets: 2 << 20, age: Duration::from_secs(1) }
    }
}

/// How much waits, in one lot or in all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParkingUse {
    /// Packets that wait now.
    pub packets: u64,
    /// Their octets.
    pub octets: u64,
    /// The most packets that have waited at a time.
    pub most_packets: u64,
    /// The most octets that have waited at a time.
    pub most_octets: u64,
}

impl std::iter::Sum for ParkingUse {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, lot| ParkingUse {
            packets: sum.packets + lot.packets,
            octets: sum.octets + lot.octets,
            most_packets: sum.most_packets + lot.most_packets,
            most_octets: sum.most_octets + lot.most_octets,
        })
    }
}

/// Shows a lot's use. Each number is written by the lot's worker and read by the control thread.
#[derive(Clone, Debug)]
pub(crate) struct UseGauge(Arc<CachePadded<[AtomicU64; 4]>>);

impl UseGauge {
    fn new() -> Self {
        UseGauge(Arc::new(CachePadded::new(std::array::from_fn(|_| AtomicU64::new(0)))))
    }

    fn show(&self, ParkingUse { packets, octets, most_packets, most_octets }: &ParkingUse) {
        for (cell, value) in self.0.iter().zip([packets, octets, most_packets, most_octets]) {
            cell.store(*value, Ordering::Relaxed);
        }
    }

    /// What was shown last; a number may be newer than another.
    pub(crate) fn read(&self) -> ParkingUse {
        let [packets, octets, most_packets, most_octets] =
            std::array::from_fn(|i| self.0[i].load(Ordering::Relaxed));
        ParkingUse { packets, octets, most_packets, most_octets }
    }
}

/// What waits together: packets of one SPI that came over one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bay {
    pub(crate) link: u16,
    pub(crate) spi: u32,
}

/// A worker's packets that wait.
#[derive(Debug)]
pub struct Lot<P> {
    max_octets: u64,
    max_large: u32,
    /// In cycles.
    max_age: u64,
    places: Box<[Place<P>]>,
    /// The first place that is free.
    free: Option<u32>,
    /// What waits, by link and SPI; never empty ones.
    queues: Vec<Queue>,
    /// Whether any packet's SA has come.
    due: bool,
    /// The publication under which the queues were looked at last.
    version: u64,
    /// Packets in large buffers.
    large: u32,
    used: ParkingUse,
    gauge: UseGauge,
}

/// What a packet takes up.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Load {
    /// From the Ethernet header on.
    pub(crate) octets: u32,
    /// Whether its buffer is one of those for the largest packets, of which there are few.
    pub(crate) is_large: bool,
}

/// Room for one packet.
#[derive(Debug)]
struct Place<P> {
    packet: Option<P>,
    /// When it came, in cycles.
    at: u64,
    load: Load,
    /// The next of its queue, or the next that is free.
    next: Option<u32>,
}

#[derive(Debug)]
struct Queue {
    bay: Bay,
    first: u32,
    last: u32,
    /// Whether its SA has come.
    due: bool,
}

impl<P> Lot<P> {
    /// A lot with room for what `limits` allow, and for `max_large` packets in large buffers among them; `hz`
    /// cycles are a second.
    #[must_use]
    pub fn new(limits: &ParkingLimits, max_large: u32, hz: u64) -> Self {
        let off = limits.octets == 0 || limits.age.is_zero();
        let packets = if off { 0 } else { limits.packets };
        let place = |n: u32| Place {
            packet: None,
            at: 0,
            load: Load::default(),
            next: Some(n + 1).filter(|&n| n < packets),
        };
        let age = limits.age.as_nanos() * u128::from(hz) / 1_000_000_000;
        Lot {
            max_octets: limits.octets,
            max_large,
            max_age: u64::try_from(age).unwrap_or(u64::MAX),
            places: (0..packets).map(place).collect(),
            free: Some(0).filter(|_| packets > 0),
            queues: Vec::with_capacity(packets as usize),
            due: false,
            version: 0,
            large: 0,
            used: ParkingUse::default(),
            gauge: UseGauge::new(),
        }
    }

    /// Where the lot shows its use.
    pub(crate) fn gauge(&self) -> UseGauge {
        self.gauge.clone()
    }

    /// Whether packets may wait at all.
    #[inline]
    pub(crate) fn is_open(&self) -> bool {
        !self.places.is_empty()
    }

    /// Whether nothing waits.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used.packets == 0
    }

    /// Whether packets may leave for their SAs.
    #[inline]
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.due
    }

    /// Finds out whose SAs have come, with publication `version`, which `knows` tells of. To be called for
    /// every publication, before packets are looked up under it.
    #[inline]
    pub fn follow(&mut self, version: u64, knows: impl Fn(u32) -> bool) {
        if !self.is_empty() && self.version != version {
            self.look_again(version, knows);
        }
    }

    #[cold]
    #[inline(never)]
    fn look_again(&mut self, version: u64, knows: impl Fn(u32) -> bool) {
        self.version = version;
        for queue in &mut self.queues {
            queue.due = knows(queue.bay.spi);
        }
        self.settle();
    }

    /// Whether packets wait in `bay`.
    #[inline]
    pub(crate) fn holds(&self, bay: Bay) -> bool {
        self.find(bay).is_ok()
    }

    /// Puts a packet behind the others of its bay, at `now` (cycles).
    ///
    /// # Errors
    /// Gives the packet back when there is no room.
    pub(crate) fn park(&mut self, bay: Bay, packet: P, load: Load, now: u64) -> Result<(), P> {
        let octets = self.used.octets + u64::from(load.octets);
        let large = self.large + u32::from(load.is_large);
        let fits = octets <= self.max_octets && (large <= self.max_large || !load.is_large);
        let Some(free) = self.free.filter(|_| fits) else { return Err(packet) };
        let place = &mut self.places[free as usize];
        self.free = place.next;
        *place = Place { packet: Some(packet), at: now, load, next: None };
        match self.find(bay) {
            Ok(found) => {
                let queue = &mut self.queues[found];
                self.places[queue.last as usize].next = Some(free);
                queue.last = free;
            }
            // There is room: as many queues as places.
            Err(at) => self.queues.insert(at, Queue { bay, first: free, last: free, due: false }),
        }
        self.large = large;
        self.used.packets += 1;
        self.used.octets = octets;
        self.used.most_packets = self.used.most_packets.max(self.used.packets);
        self.used.most_octets = self.used.most_octets.max(octets);
        self.gauge.show(&self.used);
        Ok(())
    }

    /// Takes out up to `room` packets of a link whose SAs have come, for each SPI in the order in which they
    /// came.
    pub(crate) fn release(&mut self, link: u16, room: usize, take: impl FnMut(P)) {
        self.take(link, room, |queue, _| queue.due, take);
    }

    /// Takes out up to `room` packets of a link that have waited too long at `now` (cycles).
    pub(crate) fn expire(&mut self, link: u16, now: u64, room: usize, take: impl FnMut(P)) {
        let max_age = self.max_age;
        self.take(link, room, |queue, at| !queue.due && now.saturating_sub(at) >= max_age, take);
    }

    /// Takes out up to `room` packets of a link, whatever they wait for.
    pub(crate) fn drain(&mut self, link: u16, room: usize, take: impl FnMut(P)) {
        self.take(link, room, |_, _| true, take);
    }

    /// Takes out up to `room` packets of a link, from the front of each queue as long as one `leaves`, which
    /// is told its queue and when it came.
    fn take(
        &mut self,
        link: u16,
        mut room: usize,
        leaves: impl Fn(&Queue, u64) -> bool,
        mut take: impl FnMut(P),
    ) {
        let Self { places, free, queues, large, used, .. } = self;
        queues.retain_mut(|queue| {
            if queue.bay.link != link {
                return true;
            }
            loop {
                let place = &mut places[queue.first as usize];
                if room == 0 || !leaves(queue, place.at) {
                    return true;
                }
                room -= 1;
                used.packets -= 1;
                used.octets -= u64::from(place.load.octets);
                *large -= u32::from(place.load.is_large);
                place.packet.take().into_iter().for_each(&mut take);
                let next = std::mem::replace(&mut place.next, *free);
                *free = Some(queue.first);
                match next {
                    Some(next) => queue.first = next,
                    None => return false,
                }
            }
        });
        self.settle();
        self.gauge.show(&self.used);
    }

    fn settle(&mut self) {
        self.due = self.queues.iter().any(|queue| queue.due);
    }

    fn find(&self, bay: Bay) -> Result<usize, usize> {
        self.queues.binary_search_by_key(&bay, |queue| queue.bay)
    }
}
