//! The SPIs that packets came with and that no SA has, as far as there is room: filled from the punt
//! ring by the control thread, shown by `getvpnctl unknown-spi`. Bounded, whatever arrives; never asks
//! anyone for an SA.

use getvpn_dataplane::punt::Punt;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Instant;

/// SPIs that are remembered.
pub const CAPACITY: usize = 4096;

/// Source addresses that are remembered for each.
const SENDERS: usize = 4;

/// An unknown SPI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// When the first packet was told.
    pub first: Instant,
    /// When the last packet was told.
    pub last: Instant,
    /// Packets, as far as they were told.
    pub count: u64,
    /// The link it came over last.
    pub link: u16,
    /// Some source addresses.
    pub senders: Vec<IpAddr>,
    /// Whether there were more.
    pub more_senders: bool,
    /// The destination address of the last.
    pub destination: IpAddr,
    /// Its place in the order of last being seen.
    touched: u64,
}

/// The table of unknown SPIs. When it is full, the one not seen for longest is forgotten.
#[derive(Debug, Default)]
pub struct UnknownSpis {
    entries: HashMap<u32, Unknown>,
    /// SPIs by when they were last seen: the order of their punts.
    order: BTreeMap<u64, u32>,
    touches: u64,
    evicted: u64,
}

impl UnknownSpis {
    /// Takes note of a punt. True when the SPI was not in the table.
    pub fn record(&mut self, punt: &Punt, now: Instant) -> bool {
        self.touches += 1;
        let touched = self.touches;
        let is_new = !self.entries.contains_key(&punt.spi);
        if is_new && self.entries.len() >= CAPACITY {
            self.evict();
        }
        let entry = self.entries.entry(punt.spi).or_insert_with(|| Unknown {
            first: now,
            last: now,
            count: 0,
            link: punt.link,
            senders: Vec::new(),
            more_senders: false,
            destination: punt.destination,
            touched,
        });
        self.order.remove(&entry.touched);
        self.order.insert(touched, punt.spi);
        entry.touched = touched;
        entry.last = now;
        entry.count += u64::from(punt.count);
        entry.link = punt.link;
        entry.destination = punt.destination;
        if !entry.senders.contains(&punt.source) {
            if entry.senders.len() < SENDERS {
                entry.senders.push(punt.source);
            } else {
                entry.more_senders = true;
            }
        }
        is_new
    }

    /// Forgets an SPI that has an SA now.
    pub fn forget(&mut self, spi: u32) {
        if let Some(entry) = self.entries.remove(&spi) {
            self.order.remove(&entry.touched);
        }
    }

    /// The SPIs, the one seen last first.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &Unknown)> {
        self.order.values().rev().filter_map(|&spi| Some((spi, self.entries.get(&spi)?)))
    }

    /// How many SPIs were forgotten for want of room.
    #[must_use]
    pub fn evicted(&self) -> u64 {
        self.evicted
    }

    fn evict(&mut self) {
        if let Some((_, spi)) = self.order.pop_first() {
            self.entries.remove(&spi);
            self.evicted += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use getvpn_dataplane::Plausibility;
    use proptest::prelude::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn punt(spi: u32, source: u32, count: u32) -> Punt {
        let source = IpAddr::V4(Ipv4Addr::from_bits(source));
        let destination = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let plausibility = Plausibility::Unverifiable;
        Punt { spi, plausibility, source, destination, link: 0, worker: 0, at: 0, count }
    }

    #[test]
    fn an_spi_is_counted_with_its_first_and_last_time_and_a_few_senders() {
        let mut table = UnknownSpis::default();
        let start = Instant::now();
        for i in 0..6 {
            let is_new = table.record(&punt(9, i, 10), start + Duration::from_secs(i.into()));
            assert_eq!(is_new, i == 0);
        }
        let (spi, entry) = table.iter().next().unwrap();
        assert_eq!((spi, entry.count), (9, 60));
        assert_eq!((entry.first, entry.last), (start, start + Duration::from_secs(5)));
        assert_eq!(entry.senders.len(), SENDERS);
        assert!(entry.more_senders);
        table.forget(9);
        assert_eq!(table.iter().count(), 0);
    }

    #[test]
    fn a_flood_fills_the_table_and_no_more_and_who_keeps_coming_stays() {
        let mut table = UnknownSpis::default();
        let now = Instant::now();
        for spi in 1000..1000 + 10 * u32::try_from(CAPACITY).unwrap() {
            table.record(&punt(spi, spi, 1), now);
            if spi % 1000 == 0 {
                table.record(&punt(7, 1, 1), now);
            }
        }
        assert_eq!(table.entries.len(), CAPACITY);
        assert_eq!(table.order.len(), CAPACITY);
        assert!(table.iter().any(|(spi, entry)| spi == 7 && entry.count > 40));
        assert_eq!(table.evicted(), 9 * CAPACITY as u64 + 1);
    }

    proptest! {
        #[test]
        fn the_order_is_that_of_last_being_seen(spis in prop::collection::vec(0..20_u32, 0..100)) {
            let mut table = UnknownSpis::default();
            let now = Instant::now();
            let mut expected: Vec<u32> = Vec::new();
            for &spi in &spis {
                table.record(&punt(spi, 0, 1), now);
                expected.retain(|&s| s != spi);
                expected.insert(0, spi);
            }
            prop_assert_eq!(table.iter().map(|(spi, _)| spi).collect::<Vec<_>>(), expected);
        }
    }
}
