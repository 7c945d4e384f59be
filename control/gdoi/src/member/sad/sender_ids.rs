//! Which sender IDs an SA seals with, such that no IV ever comes twice under its keys (RFC 6054 section
//! 3): what was sealed with outlives the SA, since a key server may bring the same SA back.

use crate::crypto::HashAlgorithm;
use crate::group::{EspSpi, SenderIds, TekKeys};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use thiserror::Error;

/// How an SA may be sealed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SenderUse {
    /// Its transform needs no sender ID.
    NotNeeded,
    /// It needs one and there is none that was not used up: it must not be sealed with (RFC 6407
    /// section 4.4).
    Missing,
    /// These were never used with its keys: counters start at their beginning.
    Fresh(SenderIds),
    /// These were used with its keys before, when the same SA was in the SAD and was taken out. Whoever
    /// seals goes on behind the last counter, or, if that is not known any more, says that the sender
    /// IDs are exhausted.
    Resumed(SenderIds),
}

/// Sender IDs that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SenderIdsError {
    /// RFC 6407 section 5.4.2 has 8, 12 and 16.
    #[error("sender IDs have 8, 12 or 16 bits, not {0}")]
    Bits(u8),
    /// It spills over.
    #[error("sender ID {value} does not fit {bits} bits")]
    Value {
        /// The sender ID.
        value: u32,
        /// The bits.
        bits: u8,
    },
    /// Two workers would make the same IVs.
    #[error("sender ID {0} comes twice")]
    Twice(u32),
    /// None, or more than the limit.
    #[error("{0} sender IDs are too few or too many")]
    Number(usize),
}

/// Checks what a registration gave.
pub(super) fn check(ids: &SenderIds, limit: usize) -> Result<(), SenderIdsError> {
    if !matches!(ids.bits, 8 | 12 | 16) {
        return Err(SenderIdsError::Bits(ids.bits));
    }
    if ids.values.is_empty() || ids.values.len() > limit {
        return Err(SenderIdsError::Number(ids.values.len()));
    }
    let mut seen = BTreeSet::new();
    for &value in &ids.values {
        if value >> ids.bits != 0 {
            return Err(SenderIdsError::Value { value, bits: ids.bits });
        }
        if !seen.insert(value) {
            return Err(SenderIdsError::Twice(value));
        }
    }
    Ok(())
}

/// How often the sender IDs of one SA may be exchanged for new ones.
const SETS_PER_SA: usize = 64;

/// What was sealed with, by SPI.
#[derive(Debug, Default)]
pub(super) struct UsedIds {
    records: BTreeMap<EspSpi, Record>,
}

#[derive(Debug)]
struct Record {
    keys: Fingerprint,
    /// The last is the current one.
    sets: Vec<SenderIds>,
    exhausted: bool,
    until: Instant,
}

/// Tells one SA's keys from another's without being of use to anybody who reads it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint(Vec<u8>);

impl Fingerprint {
    fn of(keys: &TekKeys) -> Self {
        Self(HashAlgorithm::Sha256.digest(&[&keys.cipher, &keys.integrity]))
    }
}

impl UsedIds {
    /// Lets an SA seal with `ids`, and remembers that until `until`.
    pub(super) fn assign(
        &mut self,
        spi: EspSpi,
        keys: &TekKeys,
        ids: Option<&SenderIds>,
        until: Instant,
    ) -> SenderUse {
        let Some(ids) = ids else { return SenderUse::Missing };
        let fingerprint = Fingerprint::of(keys);
        let record = self.records.get_mut(&spi).filter(|record| record.keys == fingerprint);
        let Some(record) = record else {
            let sets = vec![ids.clone()];
            self.records.insert(spi, Record { keys: fingerprint, sets, exhausted: false, until });
            return SenderUse::Fresh(ids.clone());
        };
        record.until = record.until.max(until);
        if record.sets.last() == Some(ids) && !record.exhausted {
            return SenderUse::Resumed(ids.clone());
        }
        if record.sets.len() >= SETS_PER_SA || record.sets.iter().any(|used| overlap(used, ids)) {
            return SenderUse::Missing;
        }
        record.sets.push(ids.clone());
        record.exhausted = false;
        SenderUse::Fresh(ids.clone())
    }

    /// The current sender IDs of an SA are used up.
    pub(super) fn exhaust(&mut self, spi: EspSpi) {
        if let Some(record) = self.records.get_mut(&spi) {
            record.exhausted = true;
        }
    }

    /// An SA never came to seal.
    pub(super) fn never_used(&mut self, spi: EspSpi) {
        if let Some(record) = self.records.get_mut(&spi) {
            // An older set may have been sealed with.
            if record.sets.len() == 1 {
                self.records.remove(&spi);
            }
        }
    }

    /// An SA lives longer than was thought.
    pub(super) fn keep_until(&mut self, spi: EspSpi, until: Instant) {
        if let Some(record) = self.records.get_mut(&spi) {
            record.until = record.until.max(until);
        }
    }

    /// Forgets what is over, and if more than `limit` are left, those that are over soonest.
    pub(super) fn tidy(&mut self, limit: usize, now: Instant) {
        if self.records.len() <= limit {
            return;
        }
        self.records.retain(|_, record| record.until > now);
        while self.records.len() > limit {
            let soonest = self.records.iter().min_by_key(|(_, record)| record.until);
            let Some((&spi, _)) = soonest else { return };
            self.records.remove(&spi);
        }
    }
}

/// Whether some IV could be made from either. A sender ID of 8 bits stands for 256 ones of 16 bits.
fn overlap(a: &SenderIds, b: &SenderIds) -> bool {
    let bits = a.bits.min(b.bits);
    let top = |ids: &SenderIds| {
        let down = ids.bits - bits;
        ids.values.iter().map(move |value| value >> down).collect::<BTreeSet<_>>()
    };
    !top(a).is_disjoint(&top(b))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::Secret;
    use std::time::Duration;

    const SPI: EspSpi = EspSpi(0x1000);

    fn ids(bits: u8, values: &[u32]) -> SenderIds {
        SenderIds { bits, values: values.to_vec() }
    }

    fn keys(octet: u8) -> TekKeys {
        TekKeys { cipher: Secret::new(vec![octet; 20]), integrity: Secret::default() }
    }

    #[test]
    fn ids_that_would_make_two_workers_seal_alike_are_refused() {
        assert_eq!(check(&ids(16, &[1, 2, 65_535]), 4), Ok(()));
        assert_eq!(check(&ids(16, &[1, 2, 1]), 4), Err(SenderIdsError::Twice(1)));
        assert_eq!(check(&ids(8, &[256]), 4), Err(SenderIdsError::Value { value: 256, bits: 8 }));
        assert_eq!(check(&ids(13, &[1]), 4), Err(SenderIdsError::Bits(13)));
        assert_eq!(check(&ids(16, &[]), 4), Err(SenderIdsError::Number(0)));
        assert_eq!(check(&ids(16, &[1, 2, 3]), 2), Err(SenderIdsError::Number(3)));
    }

    #[test]
    fn an_sa_that_comes_back_goes_on_where_it_was() {
        let (mut used, now) = (UsedIds::default(), Instant::now());
        let first = ids(16, &[7, 8]);
        assert_eq!(used.assign(SPI, &keys(1), Some(&first), now), SenderUse::Fresh(first.clone()));
        assert_eq!(used.assign(SPI, &keys(1), Some(&first), now), SenderUse::Resumed(first.clone()));
        // Other keys are another SA, whatever its SPI.
        assert_eq!(used.assign(SPI, &keys(2), Some(&first), now), SenderUse::Fresh(first));
    }

    #[test]
    fn ids_that_are_used_up_never_come_back() {
        let (mut used, now) = (UsedIds::default(), Instant::now());
        let (first, second) = (ids(16, &[7, 8]), ids(16, &[9, 10]));
        used.assign(SPI, &keys(1), Some(&first), now);
        used.exhaust(SPI);
        assert_eq!(used.assign(SPI, &keys(1), Some(&first), now), SenderUse::Missing);
        assert_eq!(used.assign(SPI, &keys(1), Some(&ids(16, &[8, 9])), now), SenderUse::Missing);
        // 16-bit IDs 0x0007 and 0x0008 lie within the 8-bit ID 0.
        assert_eq!(used.assign(SPI, &keys(1), Some(&ids(8, &[0])), now), SenderUse::Missing);
        assert_eq!(used.assign(SPI, &keys(1), Some(&second), now), SenderUse::Fresh(second));
        assert_eq!(used.assign(SPI, &keys(1), Some(&first), now), SenderUse::Missing);
        assert_eq!(used.assign(SPI, &keys(1), None, now), SenderUse::Missing);
    }

    #[test]
    fn the_record_is_bounded_and_the_longest_living_stay() {
        let (mut used, now) = (UsedIds::default(), Instant::now());
        for i in 0..100_u32 {
            let until = now + Duration::from_secs(u64::from(i) + 1);
            used.assign(EspSpi(1000 + i), &keys(1), Some(&ids(16, &[1])), until);
            used.tidy(10, now);
        }
        assert_eq!(used.records.len(), 10);
        assert!(used.records.contains_key(&EspSpi(1099)));
        used.tidy(9, now + Duration::from_secs(200));
        assert!(used.records.is_empty());
    }
}
