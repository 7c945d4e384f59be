//! The IVs and sequence numbers that one worker seals with under one SA. The worker takes from it
//! once a burst; the control thread reads how far it is and raises its limit. Never hands a number
//! out twice, and never goes past what was durably reserved.

use crate::sync::{AtomicU64, Ordering};
use thiserror::Error;

/// Why a [`Sender`] cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SenderError {
    /// RFC 6407 section 5.3.2 offers 8, 12 and 16; any number up to 32 works here.
    #[error("sid_bits is {0}, more than 32")]
    SidBits(u8),
    /// The sender ID would spill into the counter.
    #[error("sender ID {sid} does not fit {sid_bits} bits")]
    Sid {
        /// The sender ID asked for.
        sid: u32,
        /// The width that it must fit.
        sid_bits: u8,
    },
}

/// One IV with its sequence number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Number {
    /// The 64-bit IV of RFC 6054 section 3.1: the sender ID in the top bits, then the counter.
    pub iv: u64,
    /// The ESP sequence number: the counter's low 32 bits.
    pub seq: u32,
}

/// A sender ID and its counter. One for each worker and SA.
#[derive(Debug)]
pub struct Sender {
    /// Bits of the IV that the sender ID takes.
    sid_bits: u8,
    /// The sender ID, shifted to its place. Written by the control thread, and only while `next` is at
    /// its end; read by the worker.
    sid_bits_set: AtomicU64,
    /// One past the last counter that the format allows.
    end: u64,
    /// The next counter. Below the end it is the worker's to write, at the end the control thread's: the
    /// value says whose turn it is, so that neither can undo what the other wrote.
    next: AtomicU64,
    /// One past the last counter reserved. Raised by the control thread, read by the worker.
    limit: AtomicU64,
}

impl Sender {
    /// A sender that starts at counter `first` (at least 1, since the first sequence number of an SA
    /// is 1: RFC 4303 section 3.3.3) and stops before `limit` (`u64::MAX` for none). Unless
    /// `seq_may_wrap`, which only receivers without anti-replay tolerate, it also stops after sequence
    /// number 2^32 - 1.
    ///
    /// # Errors
    /// The sender ID does not fit `sid_bits`, or `sid_bits` is more than 32.
    pub fn new(
        sid: u32,
        sid_bits: u8,
        first: u64,
        limit: u64,
        seq_may_wrap: bool,
    ) -> Result<Self, SenderError> {
        let counter_bits = 64 - u32::from(sid_bits);
        // With no bits for the sender ID the last value of all stays unused, so that `end` fits.
        let counters = 1_u64.checked_shl(counter_bits).unwrap_or(u64::MAX);
        Ok(Self {
            sid_bits,
            sid_bits_set: AtomicU64::new(shifted(sid, sid_bits)?),
            end: if seq_may_wrap { counters } else { counters.min(1 << 32) },
            next: AtomicU64::new(first.max(1)),
            limit: AtomicU64::new(limit),
        })
    }

    /// Takes up to `wanted` numbers; fewer, or none, when the counter has reached its end or limit.
    /// Wait-free. Only the worker that this sender belongs to may call it: two callers at once would
    /// get the same IVs, which breaks the cipher. Debug builds catch that.
    #[inline]
    pub fn take(&self, wanted: usize) -> Numbers {
        let end = self.end.min(self.limit.load(Ordering::Relaxed));
        // Acquire: with a counter that was set back comes the sender ID that it counts for.
        let first = self.next.load(Ordering::Acquire);
        let past = first.saturating_add(wanted as u64).min(end).max(first);
        let sid_bits_set = self.sid_bits_set.load(Ordering::Relaxed);
        if past == first {
            // Nothing to write, and the control thread may be writing.
            return Numbers { sid_bits_set, next: first, past };
        }
        if cfg!(debug_assertions) {
            let replaced = self.next.swap(past, Ordering::Release);
            assert_eq!(replaced, first, "a sender is used by two threads");
        } else {
            // No locked instruction: a single writer needs none, and it would cost 10 ns.
            // Release: who sees the end has a sender ID that is read no more.
            self.next.store(past, Ordering::Release);
        }
        Numbers { sid_bits_set, next: first, past }
    }

    /// The next counter that would be handed out; all below it may have been used.
    #[must_use]
    pub fn next_counter(&self) -> u64 {
        self.next.load(Ordering::Acquire)
    }

    /// How many numbers are left before the counter or the sequence number would wrap, whatever was
    /// reserved. At 0 the SA needs new keys, or the member a new sender ID.
    #[must_use]
    pub fn remaining(&self) -> u64 {
        self.end.saturating_sub(self.next_counter())
    }

    /// Goes on from counter 1 with another sender ID, after all numbers of the one before have been
    /// handed out; false, and nothing changes, while there are numbers left. Called by the control
    /// thread, with a sender ID that nobody has used under this key.
    ///
    /// # Errors
    /// The sender ID does not fit.
    pub fn renew(&self, sid: u32) -> Result<bool, SenderError> {
        let sid_bits_set = shifted(sid, self.sid_bits)?;
        if self.remaining() > 0 {
            return Ok(false);
        }
        self.sid_bits_set.store(sid_bits_set, Ordering::Relaxed);
        self.next.store(1, Ordering::Release);
        Ok(true)
    }

    /// The sender ID.
    #[must_use]
    pub fn sid(&self) -> u32 {
        let shifted = self.sid_bits_set.load(Ordering::Relaxed);
        let sid = shifted.checked_shr(64 - u32::from(self.sid_bits)).unwrap_or(0);
        u32::try_from(sid).unwrap_or(u32::MAX)
    }

    /// Raises the limit to `limit`, after that reservation has become durable. Never lowers it.
    pub fn reserve(&self, limit: u64) {
        self.limit.fetch_max(limit, Ordering::Relaxed);
    }
}

/// A sender ID in its place at the top of the IV.
fn shifted(sid: u32, sid_bits: u8) -> Result<u64, SenderError> {
    if sid_bits > 32 {
        return Err(SenderError::SidBits(sid_bits));
    }
    if u64::from(sid) >> sid_bits != 0 {
        return Err(SenderError::Sid { sid, sid_bits });
    }
    Ok(u64::from(sid).checked_shl(64 - u32::from(sid_bits)).unwrap_or(0))
}

/// Numbers taken from a [`Sender`], each to be used once.
#[derive(Debug)]
pub struct Numbers {
    sid_bits_set: u64,
    next: u64,
    past: u64,
}

impl Iterator for Numbers {
    type Item = Number;

    #[inline]
    fn next(&mut self) -> Option<Number> {
        if self.next == self.past {
            return None;
        }
        let counter = self.next;
        self.next += 1;
        #[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
        let seq = counter as u32;
        Some(Number { iv: self.sid_bits_set | counter, seq })
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = usize::try_from(self.past - self.next).unwrap_or(usize::MAX);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Numbers {}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::{Number, Sender, SenderError};
    use proptest::prelude::*;
    use std::collections::HashSet;

    const UNLIMITED: u64 = u64::MAX;

    #[test]
    fn the_first_number_is_1_under_the_sender_id() {
        let sender = Sender::new(0xabc, 12, 0, UNLIMITED, false).unwrap();
        let first = Number { iv: 0xabc0_0000_0000_0001, seq: 1 };
        assert_eq!(sender.take(2).collect::<Vec<_>>()[0], first);
        assert_eq!(sender.next_counter(), 3);
    }

    #[test]
    fn sequence_numbers_stop_before_they_wrap() {
        let sender = Sender::new(1, 16, (1 << 32) - 2, UNLIMITED, false).unwrap();
        let last: Vec<u32> = sender.take(32).map(|n| n.seq).collect();
        assert_eq!(last, [u32::MAX - 1, u32::MAX]);
        assert_eq!((sender.take(1).len(), sender.remaining()), (0, 0));
    }

    #[test]
    fn sequence_numbers_wrap_where_nobody_checks_them_but_ivs_do_not() {
        let sender = Sender::new(1, 16, (1 << 48) - 1, UNLIMITED, true).unwrap();
        let last: Vec<Number> = sender.take(2).collect();
        assert_eq!(last, [Number { iv: 0x0001_ffff_ffff_ffff, seq: u32::MAX }]);
        let early = Sender::new(1, 16, 1 << 32, UNLIMITED, true).unwrap();
        assert_eq!(early.take(1).next(), Some(Number { iv: 0x0001_0001_0000_0000, seq: 0 }));
    }

    #[test]
    fn a_sender_id_of_no_bits_leaves_all_64_to_the_counter() {
        let sender = Sender::new(0, 0, u64::MAX - 1, UNLIMITED, true).unwrap();
        assert_eq!(sender.take(9).map(|n| n.iv).collect::<Vec<_>>(), [u64::MAX - 1]);
    }

    #[test]
    fn nothing_is_handed_out_beyond_the_reservation() {
        let sender = Sender::new(0, 16, 1, 4, false).unwrap();
        assert_eq!(sender.take(32).map(|n| n.seq).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(sender.take(1).len(), 0);
        sender.reserve(6);
        sender.reserve(2);
        assert_eq!(sender.take(32).map(|n| n.seq).collect::<Vec<_>>(), [4, 5]);
    }

    #[test]
    fn a_sender_that_starts_past_its_end_hands_out_nothing() {
        let sender = Sender::new(0, 16, u64::MAX, UNLIMITED, true).unwrap();
        assert_eq!((sender.take(3).len(), sender.remaining()), (0, 0));
    }

    #[test]
    fn a_sender_that_has_come_to_its_end_goes_on_with_another_sender_id() {
        let sender = Sender::new(1, 16, (1 << 32) - 2, UNLIMITED, false).unwrap();
        assert_eq!(sender.renew(2), Ok(false), "there are numbers left");
        assert_eq!(sender.take(32).len(), 2);
        assert_eq!(sender.renew(0x1_0000), Err(SenderError::Sid { sid: 0x1_0000, sid_bits: 16 }));
        assert_eq!(sender.take(1).len(), 0);
        assert_eq!(sender.renew(2), Ok(true));
        assert_eq!(sender.take(1).next(), Some(Number { iv: 0x0002_0000_0000_0001, seq: 1 }));
        assert_eq!((sender.sid(), sender.renew(3)), (2, Ok(false)));
    }

    #[test]
    fn a_sender_id_that_does_not_fit_is_refused() {
        assert_eq!(Sender::new(0, 33, 1, 9, true).unwrap_err(), SenderError::SidBits(33));
        let too_wide = SenderError::Sid { sid: 256, sid_bits: 8 };
        assert_eq!(Sender::new(256, 8, 1, 9, true).unwrap_err(), too_wide);
        assert!(Sender::new(u32::MAX, 32, 1, 9, true).is_ok());
    }

    proptest! {
        #[test]
        fn no_iv_repeats_across_senders_bursts_and_reservations(
            sid_bits in 1_u8..=16,
            near_end in any::<bool>(),
            steps in prop::collection::vec((0_usize..2, 0_usize..40, 0_u64..40), 1..60),
        ) {
            let last_counter = (1_u64 << (64 - sid_bits)) - 1;
            let first = if near_end { last_counter - 300 } else { 1 };
            let senders: Vec<Sender> =
                (0..2).map(|sid| Sender::new(sid, sid_bits, first, first, true).unwrap()).collect();
            let mut seen = HashSet::new();
            let mut limits = [first; 2];
            for (who, wanted, more) in steps {
                limits[who] += more;
                senders[who].reserve(limits[who]);
                for number in senders[who].take(wanted) {
                    let counter = number.iv & last_counter;
                    prop_assert!(seen.insert(number.iv));
                    prop_assert_eq!(number.iv >> (64 - sid_bits), who as u64);
                    prop_assert!(counter < limits[who]);
                    prop_assert_eq!(u64::from(number.seq), counter & 0xffff_ffff);
                }
            }
        }
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_tests {
    use super::Sender;
    use loom::sync::{Arc, Mutex};
    use loom::thread;
    use std::collections::HashSet;

    /// The worker takes while the control thread renews: no IV comes twice, and none is lost.
    #[test]
    fn loom_a_renewal_beside_the_worker_repeats_no_iv() {
        loom::model(|| {
            let sender = Arc::new(Sender::new(1, 16, (1 << 32) - 1, u64::MAX, false).unwrap());
            let taken = Arc::new(Mutex::new(Vec::new()));
            let worker = {
                let (sender, taken) = (Arc::clone(&sender), Arc::clone(&taken));
                thread::spawn(move || {
                    for _ in 0..3 {
                        let numbers = sender.take(1);
                        taken.lock().unwrap().extend(numbers);
                    }
                })
            };
            let renewed = sender.renew(2).unwrap();
            worker.join().unwrap();
            let taken = taken.lock().unwrap();
            let ivs: HashSet<u64> = taken.iter().map(|number| number.iv).collect();
            assert_eq!(ivs.len(), taken.len(), "an IV came twice");
            assert!(taken.iter().all(|number| match number.iv >> 48 {
                1 => number.seq == u32::MAX,
                sid => sid == 2 && number.seq < 4,
            }));
            assert!(renewed || taken.len() == 1);
        });
    }
}
