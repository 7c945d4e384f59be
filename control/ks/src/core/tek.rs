//! One generation of a group's Data-Security SA, and the drawing of SPIs that nobody has seen.

use super::settings::TekShape;
use super::time::ServerTime;
use getvpn_gdoi::crypto::{Random, Secret};
use getvpn_gdoi::group::{Direction, EspSpi, GroupId, SpiKey, TekKeys, TekPolicy};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// SPIs of ended SAs that are kept so that they do not come again soon.
const DEAD_SPIS: usize = 65_536;

/// After so many SPIs in a row that are taken, hardly one is left of those that the key marks.
const TAKEN: u32 = 256;

/// Which of a group's Data-Security SAs: the same for every generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId(pub u32);

/// A Data-Security SA.
#[derive(Clone, Debug)]
pub struct Tek {
    /// Its SPI.
    pub spi: EspSpi,
    /// What it is a generation of.
    pub slot: SlotId,
    /// Transform, mode, direction and selectors.
    pub shape: Arc<TekShape>,
    /// Its keys.
    pub keys: TekKeys,
    /// When it was made.
    pub born: ServerTime,
    /// The life that it was made for, which its end may have been brought forward from.
    pub lifetime: Duration,
    /// When no member has it any longer.
    pub ends: ServerTime,
    /// A newer generation has taken its place, or its slot is gone.
    pub replaced: bool,
    /// Who registers now only receives with it: sender IDs are being handed out from the start again.
    pub receive_only: bool,
    /// At its end members are told to delete it: they may count on a longer life.
    pub withdraw: bool,
}

impl Tek {
    /// Draws the keys of a new one.
    #[must_use]
    pub fn draw(
        spi: EspSpi,
        slot: SlotId,
        shape: &Arc<TekShape>,
        born: ServerTime,
        lifetime: Duration,
        random: &mut dyn Random,
    ) -> Self {
        let keys = TekKeys {
            cipher: Secret::random(shape.transform.key_len(), random),
            integrity: Secret::random(shape.transform.integrity_key_len(), random),
        };
        let (shape, ends) = (Arc::clone(shape), born.after(lifetime));
        Self {
            spi,
            slot,
            shape,
            keys,
            born,
            lifetime,
            ends,
            replaced: false,
            receive_only: false,
            withdraw: false,
        }
    }

    /// What a message that is delivered within `allowance` says about it; `None` when less than a second
    /// of it would be left.
    #[must_use]
    pub fn policy(&self, now: ServerTime, allowance: Duration) -> Option<TekPolicy> {
        let lifetime = stated(self.ends, now, allowance)?;
        let direction = if self.receive_only { Direction::ReceiverOnly } else { self.shape.direction };
        Some(TekPolicy {
            spi: self.spi,
            transform: self.shape.transform,
            mode: self.shape.mode,
            direction,
            selectors: self.shape.selectors.clone(),
            lifetime,
        })
    }
}

/// A lifetime as the wire has it: whole seconds, never more than what is left when the message arrives.
#[must_use]
pub fn stated(ends: ServerTime, now: ServerTime, allowance: Duration) -> Option<Duration> {
    let left = ends.since(now).checked_sub(allowance)?;
    (left >= Duration::from_secs(1)).then(|| Duration::from_secs(left.as_secs()))
}

/// The SPIs of all groups, alive and dead.
#[derive(Debug, Default)]
pub struct Spis {
    live: BTreeMap<EspSpi, GroupId>,
    dead: BTreeMap<EspSpi, ServerTime>,
    order: BTreeSet<(ServerTime, EspSpi)>,
}

impl Spis {
    /// Draws one that `key` marks and that is neither alive nor was of late. When few such are left, draws
    /// another key: until they register again, members take the SPIs that it marks for ones of another make.
    pub fn draw(&mut self, group: GroupId, key: &mut SpiKey, random: &mut dyn Random) -> EspSpi {
        let mut taken = 0;
        loop {
            let mut number = [0; 2];
            random.fill(&mut number);
            let spi = key.spi(u16::from_be_bytes(number));
            if let Some(spi) = spi.filter(|spi| !self.dead.contains_key(spi) && !self.live.contains_key(spi))
            {
                self.live.insert(spi, group);
                return spi;
            }
            taken += 1;
            if taken % TAKEN == 0 {
                *key = SpiKey::draw(random);
            }
        }
    }

    /// Takes one that a store says is alive.
    pub fn restore_live(&mut self, spi: EspSpi, group: GroupId) {
        self.live.insert(spi, group);
    }

    /// The group that has a live SA with it.
    #[must_use]
    pub fn group(&self, spi: EspSpi) -> Option<GroupId> {
        self.live.get(&spi).copied()
    }

    /// Its SA has ended. Returns the dead ones that are now forgotten for want of room, the longest dead
    /// first.
    pub fn bury(&mut self, spi: EspSpi, now: ServerTime) -> Vec<EspSpi> {
        self.live.remove(&spi);
        if let Some(before) = self.dead.insert(spi, now) {
            self.order.remove(&(before, spi));
        }
        self.order.insert((now, spi));
        let mut forgotten = Vec::new();
        while self.dead.len() > DEAD_SPIS {
            let Some((_, oldest)) = self.order.pop_first() else { break };
            self.dead.remove(&oldest);
            forgotten.push(oldest);
        }
        forgotten
    }

    /// When its SA ended, if it has of late.
    #[must_use]
    pub fn died(&self, spi: EspSpi) -> Option<ServerTime> {
        self.dead.get(&spi).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use getvpn_gdoi::crypto::SeededRandom;

    #[test]
    fn neither_a_live_spi_nor_a_dead_one_is_drawn_and_each_bears_the_mark() {
        let mut spis = Spis::default();
        let mut random = SeededRandom::new(1);
        let mut key = SpiKey::draw(&mut random);
        let (first, mut keys) = (key.clone(), 1);
        let mut drawn = BTreeSet::new();
        // More than one key marks.
        for n in 0..70_000 {
            let before = key.clone();
            let spi = spis.draw(GroupId(1), &mut key, &mut random);
            keys += u32::from(key != before);
            assert!(key.marks(spi) && drawn.insert(spi), "{n}");
            if n % 2 == 0 {
                assert!(spis.bury(spi, ServerTime::ZERO).is_empty());
                assert!(spis.died(spi).is_some());
            }
        }
        assert!(keys == 2 && drawn.iter().filter(|&&spi| first.marks(spi)).count() > 58_000, "{keys}");
    }

    #[test]
    fn the_dead_are_bounded_and_the_longest_dead_forgotten_first() {
        let mut spis = Spis::default();
        let moment = |n: u32| ServerTime::ZERO.after(Duration::from_secs(n.into()));
        let most = u32::try_from(DEAD_SPIS).unwrap();
        for n in 0..most {
            assert!(spis.bury(EspSpi(1000 + n), moment(n)).is_empty());
        }
        assert_eq!(spis.bury(EspSpi(1), moment(most)), [EspSpi(1000)]);
        assert!(spis.died(EspSpi(1000)).is_none() && spis.died(EspSpi(1)).is_some());
    }

    #[test]
    fn a_stated_lifetime_never_goes_beyond_the_end() {
        let end = ServerTime::ZERO.after(Duration::from_millis(10_500));
        let allowance = Duration::from_millis(400);
        assert_eq!(stated(end, ServerTime::ZERO, allowance), Some(Duration::from_secs(10)));
        let late = end.before(Duration::from_millis(1_399));
        assert_eq!(stated(end, late, allowance), None);
        assert_eq!(stated(end, end.after(allowance), allowance), None);
    }
}
