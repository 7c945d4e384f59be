//! Sender IDs: who may use which part of a counter mode's IVs (RFC 6407 section 3.5, RFC 6054). Handed
//! out in ascending order, each once; what may have been handed out is on disk before it is.

use getvpn_gdoi::group::SenderIds;
use serde::{Deserialize, Serialize};

/// The SID-counter of a group. It starts again only when all the group's Data-Security SAs have been
/// replaced, which is a counter of its own here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidCounter {
    bits: u8,
    next: u32,
    /// Where the block ends that is reserved on disk.
    reserved: u32,
}

/// A run of sender IDs given to one member.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SidRange {
    /// The first.
    pub first: u32,
    /// How many.
    pub count: u32,
}

/// There are not as many left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted;

impl SidCounter {
    /// A counter that has handed out nothing.
    #[must_use]
    pub fn new(bits: u8) -> Self {
        Self { bits, next: 0, reserved: 0 }
    }

    /// Goes on behind what a stored reservation says may have been handed out.
    #[must_use]
    pub fn restore(bits: u8, reserved: u32) -> Self {
        Self { bits, next: reserved, reserved }
    }

    /// Bits of the IV that a sender ID takes.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// How many there are in all.
    #[must_use]
    pub fn space(&self) -> u32 {
        1 << self.bits.min(16)
    }

    /// How many are left.
    #[must_use]
    pub fn left(&self) -> u32 {
        self.space() - self.next
    }

    /// Whether it is time to start again with new SAs: what is left serves the registrations that are
    /// under way.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.left() <= self.space() / 16
    }

    /// The most that one member is given: a member that wants more has no such number of cores.
    #[must_use]
    pub fn most_for_one(&self) -> u32 {
        self.space() / 4
    }

    /// The end of what is reserved; stored before anything that was handed out leaves.
    #[must_use]
    pub fn reserved(&self) -> u32 {
        self.reserved
    }

    /// Hands out `count`. The reservation has grown if [`SidCounter::reserved`] has.
    ///
    /// # Errors
    /// There are not as many left; nothing has changed.
    pub fn take(&mut self, count: u32) -> Result<SidRange, Exhausted> {
        if count > self.left() {
            return Err(Exhausted);
        }
        let range = SidRange { first: self.next, count };
        self.next += count;
        if self.next > self.reserved {
            let block = (self.space() / 64).max(1);
            self.reserved = self.next.next_multiple_of(block).min(self.space());
        }
        Ok(range)
    }
}

impl SidRange {
    /// As it goes into a KD payload.
    #[must_use]
    pub fn sender_ids(self, bits: u8) -> SenderIds {
        SenderIds { bits, values: (self.first..self.first + self.count).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_is_zero_and_the_last_is_all_ones() {
        let mut counter = SidCounter::new(8);
        assert_eq!(counter.take(1), Ok(SidRange { first: 0, count: 1 }));
        assert_eq!(counter.take(254), Ok(SidRange { first: 1, count: 254 }));
        assert_eq!(counter.take(2), Err(Exhausted));
        assert_eq!(counter.take(1), Ok(SidRange { first: 255, count: 1 }));
        assert_eq!(counter.take(1), Err(Exhausted));
        assert_eq!(counter.take(0), Ok(SidRange { first: 256, count: 0 }));
    }

    proptest! {
        #[test]
        fn none_is_handed_out_twice_over_restarts_at_any_point(
            bits in prop::sample::select(vec![8u8, 12, 16]),
            steps in prop::collection::vec((1u32..20, any::<bool>()), 1..400),
        ) {
            let mut counter = SidCounter::new(bits);
            let mut seen = vec![false; 1 << bits];
            for (count, restart) in steps {
                // What is on disk is at least what it was before the step that the crash undoes.
                if restart {
                    counter = SidCounter::restore(bits, counter.reserved());
                }
                let Ok(range) = counter.take(count) else { continue };
                prop_assert!(range.first + range.count <= counter.reserved());
                for value in range.sender_ids(bits).values {
                    prop_assert!(!std::mem::replace(&mut seen[value as usize], true));
                }
            }
        }
    }
}
