//! One sender's replay window, shared by all workers. A worker reads it before opening a packet and
//! writes it after; it never waits for another worker.
//!
//! Sequence numbers lie in blocks of 32; block b has the word b mod the number of words, which holds
//! the block's number (upper half) and one bit for each number accepted (lower half). A word only ever
//! moves to a later block, and within a block bits are only set, so one compare-and-swap decides for
//! good: whoever sets a bit has accepted that number, and nobody can again. A word is reused only for
//! a block so late that all numbers of the old one are out of the window.

use super::{ReplayError, ReplaySizeError};
use crate::sync::{AtomicU64, Ordering};
use crossbeam::utils::CachePadded;
use std::cmp;

/// Sequence numbers a word.
const BLOCK: u32 = 32;

/// A window over the sequence numbers of one sender.
#[derive(Debug)]
pub struct Window {
    top: CachePadded<AtomicU64>,
    words: Box<[AtomicU64]>,
    shape: Shape,
}

impl Window {
    /// A window over the `size` highest sequence numbers, 64 to 65,536, in which nothing has been
    /// received. Takes 8 octets for 32 sequence numbers, rounded up to a power of two.
    ///
    /// # Errors
    /// `size` is out of range.
    pub fn new(size: u32) -> Result<Self, ReplaySizeError> {
        let shape = Shape::new(size)?;
        let words = (0..shape.words()).map(|_| AtomicU64::new(0)).collect();
        Ok(Self { top: CachePadded::new(AtomicU64::new(0)), words, shape })
    }

    /// Whether `seq` could be accepted now. Changes nothing.
    ///
    /// # Errors
    /// It is older than the window, or has been accepted before.
    #[inline]
    pub fn check(&self, seq: u32) -> Result<(), ReplayError> {
        self.view().check(seq)
    }

    /// Accepts `seq`, at most once whoever calls.
    ///
    /// # Errors
    /// As [`Window::check`].
    #[inline]
    pub fn commit(&self, seq: u32) -> Result<(), ReplayError> {
        self.view().commit(seq)
    }

    /// As [`Window::commit`] for one of `seqs` after the other, cheaper where neighbours follow each
    /// other. As far as the shorter of the two slices goes.
    #[inline]
    pub fn commit_burst(&self, seqs: &[u32], out: &mut [Result<(), ReplayError>]) {
        self.view().commit_burst(seqs, out);
    }

    /// The highest sequence number accepted, 0 if none.
    #[must_use]
    pub fn highest(&self) -> u32 {
        self.view().highest()
    }

    fn view(&self) -> View<'_> {
        View { top: &self.top, words: &self.words, size: self.shape.size, mask: self.shape.mask }
    }
}

/// The measures of a window, checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Sequence numbers, 64 to 65,536.
    pub(super) size: u32,
    /// Words, a power of two, less one.
    pub(super) mask: u32,
}

impl Shape {
    pub(super) fn new(size: u32) -> Result<Self, ReplaySizeError> {
        if (64..=65_536).contains(&size) { Ok(Self::of(size)) } else { Err(ReplaySizeError::Window(size)) }
    }

    /// The window begins anywhere within a block, so it touches one block more than it fills.
    fn of(size: u32) -> Self {
        Self { size, mask: (size + BLOCK - 1).div_ceil(BLOCK).next_power_of_two() - 1 }
    }

    pub(super) fn words(self) -> usize {
        self.mask as usize + 1
    }
}

/// A window wherever its parts are kept. They start as zeros.
#[derive(Clone, Copy, Debug)]
pub(super) struct View<'a> {
    /// The highest block with a number accepted, at least as soon as that commit has returned. Kept
    /// beside the words so that finding the right edge takes one look, and written once a block.
    pub(super) top: &'a AtomicU64,
    pub(super) words: &'a [AtomicU64],
    pub(super) size: u32,
    pub(super) mask: u32,
}

impl View<'_> {
    #[inline]
    pub(super) fn check(self, seq: u32) -> Result<(), ReplayError> {
        if self.is_stale(seq, self.highest()) {
            return Err(ReplayError::Stale);
        }
        let (block, bit) = place(seq);
        let word = self.word(block).load(Ordering::Relaxed);
        if fresh(word, block, bit)? == 0 { Err(ReplayError::Duplicate) } else { Ok(()) }
    }

    #[inline]
    pub(super) fn commit(self, seq: u32) -> Result<(), ReplayError> {
        if self.is_stale(seq, self.highest()) {
            return Err(ReplayError::Stale);
        }
        let (block, bit) = place(seq);
        if self.commit_block(block, bit)? == 0 { Err(ReplayError::Duplicate) } else { Ok(()) }
    }

    /// Commits one number after the other, but those of a block by one compare-and-swap.
    #[inline]
    pub(super) fn commit_burst(self, mut seqs: &[u32], mut out: &mut [Result<(), ReplayError>]) {
        let mut highest = self.highest();
        while let Some(&first) = seqs.first() {
            let (block, _) = place(first);
            let (mut bits, mut run) = (0, 0);
            for (&seq, out) in seqs.iter().zip(out.iter_mut()).take_while(|(seq, _)| place(**seq).0 == block)
            {
                let (_, bit) = place(seq);
                *out = if self.is_stale(seq, highest) {
                    Err(ReplayError::Stale)
                } else if bits & bit != 0 {
                    Err(ReplayError::Duplicate)
                } else {
                    bits |= bit;
                    highest = highest.max(seq);
                    Ok(())
                };
                run += 1;
            }
            if run == 0 {
                return;
            }
            let accepted = if bits == 0 { Ok(0) } else { self.commit_block(block, bits) };
            let (done, rest) = out.split_at_mut(run);
            if accepted != Ok(bits) {
                for (&seq, out) in seqs.iter().zip(done).filter(|(_, out)| out.is_ok()) {
                    *out = match accepted {
                        Ok(accepted) if accepted & place(seq).1 == 0 => Err(ReplayError::Duplicate),
                        Ok(_) => Ok(()),
                        Err(error) => Err(error),
                    };
                }
            }
            (seqs, out) = (&seqs[run..], rest);
        }
    }

    /// Accepts those of the numbers `bits` of `block` that nobody has, and says which these are; or
    /// none, when the block has left the window. The only writer of words.
    #[inline]
    fn commit_block(self, block: u32, bits: u32) -> Result<u32, ReplayError> {
        let word = self.word(block);
        let mut before = word.load(Ordering::Relaxed);
        let accepted = loop {
            let accepted = fresh(before, block, bits)?;
            if accepted == 0 {
                return Ok(0);
            }
            let (of, kept) = split(before);
            let after = join(block, if of == block { kept | bits } else { bits });
            // Relaxed: one word decides. A retry means that another worker has accepted a number of
            // this block or a later one.
            match word.compare_exchange_weak(before, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => break accepted,
                Err(now) => before = now,
            }
        };
        if u64::from(block) > self.top.load(Ordering::Relaxed) {
            // Release: whoever sees the new top also sees the bits that were set above.
            self.top.fetch_max(u64::from(block), Ordering::Release);
        }
        Ok(accepted)
    }

    /// The highest number accepted: the top block's highest bit.
    #[inline]
    pub(super) fn highest(self) -> u32 {
        let top = self.top.load(Ordering::Acquire);
        #[expect(clippy::cast_possible_truncation, reason = "a block's number has 27 bits")]
        let word = self.word(top as u32).load(Ordering::Relaxed);
        let (block, bits) = split(word);
        // Without any bit this is block 0, untouched: its first number, 0, is never accepted.
        block * BLOCK + (bits | 1).ilog2()
    }

    #[inline]
    fn is_stale(self, seq: u32, highest: u32) -> bool {
        seq == 0 || highest.saturating_sub(seq) >= self.size
    }

    #[inline]
    fn word(&self, block: u32) -> &AtomicU64 {
        &self.words[(block & self.mask) as usize]
    }
}

/// Those of the numbers `bits` of `block` that `word` says nobody has accepted.
#[inline]
fn fresh(word: u64, block: u32, bits: u32) -> Result<u32, ReplayError> {
    let (of, taken) = split(word);
    match of.cmp(&block) {
        cmp::Ordering::Less => Ok(bits),
        cmp::Ordering::Equal => Ok(bits & !taken),
        cmp::Ordering::Greater => Err(ReplayError::Stale),
    }
}

/// A sequence number's block, and its bit there.
#[inline]
fn place(seq: u32) -> (u32, u32) {
    (seq / BLOCK, 1 << (seq % BLOCK))
}

/// A word of a block number and bits.
#[inline]
fn join(block: u32, bits: u32) -> u64 {
    u64::from(block) << 32 | u64::from(bits)
}

/// A word's block number and bits.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "halves of a word")]
fn split(word: u64) -> (u32, u32) {
    ((word >> 32) as u32, word as u32)
}

#[cfg(all(test, not(feature = "loom")))]
pub(super) mod tests {
    use super::{ReplayError, ReplaySizeError, Window};
    use proptest::prelude::*;
    use std::{
        collections::BTreeSet,
        sync::atomic::{AtomicU32, Ordering},
        thread,
    };

    /// RFC 4303 section 3.4.3 in the plainest words: a set of all numbers ever accepted.
    pub(in super::super) struct Model {
        size: u32,
        accepted: BTreeSet<u32>,
    }

    impl Model {
        pub(in super::super) fn new(size: u32) -> Self {
            Self { size, accepted: BTreeSet::new() }
        }

        pub(in super::super) fn check(&self, seq: u32) -> Result<(), ReplayError> {
            let top = self.accepted.last().copied().unwrap_or(0);
            if seq == 0 || u64::from(seq) + u64::from(self.size) <= u64::from(top) {
                return Err(ReplayError::Stale);
            }
            if self.accepted.contains(&seq) { Err(ReplayError::Duplicate) } else { Ok(()) }
        }

        pub(in super::super) fn commit(&mut self, seq: u32) -> Result<(), ReplayError> {
            self.check(seq)?;
            self.accepted.insert(seq);
            Ok(())
        }
    }

    #[test]
    fn sizes_from_64_to_65536_are_allowed_and_no_others() {
        for size in [64, 65, 1000, 65_536] {
            assert!(Window::new(size).is_ok());
        }
        for size in [0, 63, 65_537, u32::MAX] {
            assert_eq!(Window::new(size).unwrap_err(), ReplaySizeError::Window(size));
        }
    }

    #[test]
    fn the_first_number_is_1_and_0_is_never_accepted() {
        let window = Window::new(64).unwrap();
        assert_eq!(window.check(0), Err(ReplayError::Stale));
        assert_eq!(window.commit(0), Err(ReplayError::Stale));
        assert_eq!((window.highest(), window.commit(1), window.highest()), (0, Ok(()), 1));
    }

    #[test]
    fn the_left_edge_is_exact() {
        let window = Window::new(64).unwrap();
        window.commit(1000).unwrap();
        assert_eq!(window.check(1000 - 64), Err(ReplayError::Stale));
        assert_eq!(window.commit(1000 - 63), Ok(()));
    }

    #[test]
    fn the_last_number_of_all_is_accepted_once() {
        let window = Window::new(1024).unwrap();
        assert_eq!(window.commit(u32::MAX), Ok(()));
        assert_eq!(window.commit(u32::MAX), Err(ReplayError::Duplicate));
        assert_eq!(window.commit(u32::MAX - 1023), Ok(()));
        assert_eq!(window.commit(u32::MAX - 1024), Err(ReplayError::Stale));
    }

    #[test]
    fn a_check_changes_nothing() {
        let window = Window::new(64).unwrap();
        for _ in 0..2 {
            assert_eq!(window.check(u32::MAX), Ok(()));
        }
        assert_eq!(window.commit(1), Ok(()));
    }

    #[test]
    fn four_threads_that_commit_the_same_numbers_accept_each_one_once_and_lose_none() {
        const NUMBERS: u32 = 60_000;
        let window = Window::new(65_536).unwrap();
        let accepted: Vec<AtomicU32> = (0..NUMBERS).map(|_| AtomicU32::new(0)).collect();
        thread::scope(|scope| {
            for id in 0..4_u32 {
                let (window, accepted) = (&window, &accepted);
                scope.spawn(move || {
                    for n in 1..NUMBERS {
                        // Each thread in an order of its own, within the window.
                        let seq = n ^ (id * 5) & 0xf;
                        if seq < NUMBERS && window.commit(seq).is_ok() {
                            accepted[seq as usize].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert_eq!(accepted[0].load(Ordering::Relaxed), 0);
        assert!(accepted[1..].iter().all(|times| times.load(Ordering::Relaxed) == 1));
        assert!((1..NUMBERS).all(|seq| window.check(seq) == Err(ReplayError::Duplicate)));
    }

    #[test]
    fn threads_that_race_far_ahead_of_each_other_never_accept_a_number_twice() {
        const NUMBERS: u32 = 100_000;
        let window = Window::new(64).unwrap();
        let accepted: Vec<AtomicU32> = (0..NUMBERS).map(|_| AtomicU32::new(0)).collect();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    for seq in 1..NUMBERS {
                        if window.commit(seq).is_ok() {
                            accepted[seq as usize].fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
        });
        assert!(accepted.iter().all(|times| times.load(Ordering::Relaxed) <= 1));
        assert_eq!(window.highest(), NUMBERS - 1);
    }

    proptest! {
        #[test]
        fn a_burst_decides_as_its_numbers_one_by_one(
            size in prop_oneof![64_u32..200, Just(1024)],
            bursts in prop::collection::vec(prop::collection::vec(0_u32..300, 0..40), 1..20),
        ) {
            let (window, mut model) = (Window::new(size).unwrap(), Model::new(size));
            for (n, burst) in bursts.iter().enumerate() {
                let seqs: Vec<u32> = burst.iter().map(|seq| seq + 40 * u32::try_from(n).unwrap()).collect();
                let mut out = vec![Ok(()); seqs.len()];
                window.commit_burst(&seqs, &mut out);
                let expected: Vec<_> = seqs.iter().map(|&seq| model.commit(seq)).collect();
                prop_assert_eq!(out, expected, "{:?}", seqs);
            }
        }

        #[test]
        fn it_decides_as_the_plain_model_does(
            size in prop_oneof![64_u32..200, Just(1024), Just(65_536)],
            start in prop_oneof![Just(0_u32), Just(u32::MAX - 200_000), any::<u32>()],
            steps in prop::collection::vec((any::<bool>(), prop_oneof![0..64, -2000..2000, -70_000..140_000]), 1..200),
        ) {
            let (window, mut model) = (Window::new(size).unwrap(), Model::new(size));
            let mut at = start;
            for (commit, step) in steps {
                let seq = at.saturating_add_signed(step);
                if commit {
                    prop_assert_eq!(window.commit(seq), model.commit(seq), "commit {}", seq);
                    at = at.max(seq);
                }
                prop_assert_eq!(window.check(seq), model.check(seq), "check {}", seq);
            }
        }
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_tests;
