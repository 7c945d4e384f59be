//! Unknown SPIs that wait for the budget to ask. A flood brings many SPIs a few times each, a lost SA
//! brings one SPI again and again: the one that most packets came with is next. The table is of fixed size; when it
//! is full a new SPI takes the place, and the count, of the one seen least ("Space-Saving"), so that no
//! flood pushes out one that makes up more than its share.

use crate::group::EspSpi;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How many wait.
pub(super) const CAPACITY: usize = 128;

/// An SPI that has not been seen for so long needs nothing any more.
const STALE: Duration = Duration::from_secs(2);

#[derive(Debug, Default)]
pub(super) struct Contenders {
    table: BTreeMap<EspSpi, Contender>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Contender {
    pub(super) first_seen: Instant,
    pub(super) last_seen: Instant,
    count: u64,
}

impl Contenders {
    /// Takes note of an SPI that so many packets came with.
    pub(super) fn see(&mut self, spi: EspSpi, packets: u32, now: Instant) {
        if let Some(contender) = self.table.get_mut(&spi) {
            contender.count += u64::from(packets);
            contender.last_seen = now;
            return;
        }
        let mut count = u64::from(packets);
        if self.table.len() >= CAPACITY {
            let least = self.table.iter().min_by_key(|(_, contender)| contender.count);
            if let Some((&least, contender)) = least {
                count += contender.count;
                self.table.remove(&least);
            }
        }
        self.table.insert(spi, Contender { first_seen: now, last_seen: now, count });
    }

    /// Takes out the one that was seen most often and passes `may`. Whoever was not seen lately is
    /// forgotten.
    pub(super) fn take(
        &mut self,
        now: Instant,
        mut may: impl FnMut(EspSpi) -> bool,
    ) -> Option<(EspSpi, Contender)> {
        self.table.retain(|_, contender| now.saturating_duration_since(contender.last_seen) < STALE);
        let best = self.table.iter().filter(|(spi, _)| may(**spi)).max_by_key(|(_, c)| c.count);
        let (&spi, &contender) = best?;
        self.table.remove(&spi);
        Some((spi, contender))
    }

    /// An SPI needs nothing any more.
    pub(super) fn forget(&mut self, spi: EspSpi) {
        self.table.remove(&spi);
    }

    pub(super) fn spis(&self) -> impl Iterator<Item = EspSpi> {
        self.table.keys().copied()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}
