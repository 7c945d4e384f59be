//! SPIs that asking for is of no use for a while: the key server does not know them, or this member
//! cannot use them. Bounded; an SPI gets in only after it was asked for, which a flood cannot hasten.

use crate::group::EspSpi;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

#[derive(Debug)]
pub(super) struct Remembered {
    until: BTreeMap<EspSpi, (Instant, Why)>,
    order: BTreeSet<(Instant, EspSpi)>,
    capacity: usize,
}

/// Why an SPI is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// The key server does not know it.
    Unknown,
    /// It was not answered, and its turn comes with the next registration.
    Unanswered,
    /// This member cannot use its SA now, and may once there is room.
    Refused,
}

impl Remembered {
    pub(super) fn new(capacity: usize) -> Self {
        Self { until: BTreeMap::new(), order: BTreeSet::new(), capacity }
    }

    /// Remembers an SPI. When there is no room, the one that would be forgotten soonest goes.
    pub(super) fn insert(&mut self, spi: EspSpi, why: Why, until: Instant) {
        self.forget(spi);
        if self.until.len() >= self.capacity
            && let Some((_, soonest)) = self.order.pop_first()
        {
            self.until.remove(&soonest);
        }
        self.until.insert(spi, (until, why));
        self.order.insert((until, spi));
    }

    /// Whether an SPI is remembered.
    pub(super) fn contains(&mut self, spi: EspSpi, now: Instant) -> bool {
        match self.until.get(&spi) {
            Some(&(until, _)) if until > now => true,
            Some(_) => {
                self.forget(spi);
                false
            }
            None => false,
        }
    }

    pub(super) fn forget(&mut self, spi: EspSpi) {
        if let Some((until, _)) = self.until.remove(&spi) {
            self.order.remove(&(until, spi));
        }
    }

    /// Those that the key server does not know.
    pub(super) fn unknown(&self, now: Instant) -> impl Iterator<Item = EspSpi> {
        let unknown = move |(until, why): &(Instant, Why)| *until > now && *why == Why::Unknown;
        self.until.iter().filter(move |(_, memory)| unknown(memory)).map(|(&spi, _)| spi)
    }

    pub(super) fn len(&self) -> usize {
        self.until.len()
    }
}
