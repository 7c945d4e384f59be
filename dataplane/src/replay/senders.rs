//! A replay window for each sender ID, for SAs with many senders (RFC 6054, RFC 6407 section 3.3.2).
//! All workers share it without a lock. A window is claimed only by a packet whose ICV has verified, so
//! nobody without the key can take one up; all memory is there from the start.

use super::{
    ReplayError, ReplaySizeError,
    window::{Shape, View},
};
use crate::sync::{AtomicU64, Ordering};
use std::{
    collections::hash_map::RandomState,
    hash::{BuildHasher, Hasher},
};

/// Most octets that the windows of one SA may take.
const MEMORY: u64 = 1 << 30;

/// The windows of all senders of an SA.
#[derive(Debug)]
pub struct SenderWindows {
    /// Open addressing with linear probing; a power of two, at least twice as many as senders, so that
    /// a search ends soon. Entries are never removed.
    heads: Box<[Head]>,
    /// The words of the window of entry n begin at n times the words of a window.
    words: Box<[AtomicU64]>,
    shape: Shape,
    /// Entries claimed. Written seldom.
    claimed: AtomicU64,
    max_senders: u64,
    sid_shift: u32,
    /// Random and odd, so that nobody can choose sender IDs that collide.
    multiplier: u64,
}

#[derive(Debug)]
struct Head {
    /// The sender ID plus 1, or 0 while the entry is free. Written once.
    key: AtomicU64,
    /// The window's top block.
    top: AtomicU64,
}

impl SenderWindows {
    /// Windows of `size` sequence numbers (64 to 65,536) for up to `max_senders` senders (1 to
    /// 65,536), whose IDs are the top `sid_bits` bits (1 to 32) of the IV.
    ///
    /// When several workers meet new senders at the same instant, the number of senders can exceed
    /// `max_senders` by one less than there are workers.
    ///
    /// # Errors
    /// A number is out of range, or the windows would take more than 1 GiB.
    pub fn new(sid_bits: u8, max_senders: u32, size: u32) -> Result<Self, ReplaySizeError> {
        if !(1..=32).contains(&sid_bits) {
            return Err(ReplaySizeError::SidBits(sid_bits));
        }
        if !(1..=65_536).contains(&max_senders) {
            return Err(ReplaySizeError::Senders(max_senders));
        }
        let shape = Shape::new(size)?;
        let entries = max_senders as usize * 2;
        let entries = entries.next_power_of_two();
        if (entries * shape.words() * size_of::<AtomicU64>()) as u64 > MEMORY {
            return Err(ReplaySizeError::Memory { window: size, senders: max_senders });
        }
        Ok(Self::of(sid_bits, max_senders, shape, entries))
    }

    fn of(sid_bits: u8, max_senders: u32, shape: Shape, entries: usize) -> Self {
        let zero = || AtomicU64::new(0);
        Self {
            heads: (0..entries).map(|_| Head { key: zero(), top: zero() }).collect(),
            words: (0..entries * shape.words()).map(|_| zero()).collect(),
            shape,
            claimed: zero(),
            max_senders: u64::from(max_senders),
            sid_shift: 64 - u32::from(sid_bits),
            multiplier: RandomState::new().build_hasher().finish() | 1,
        }
    }

    /// The sender ID in `iv`.
    #[inline]
    #[must_use]
    #[expect(clippy::cast_possible_truncation, reason = "a sender ID has at most 32 bits")]
    pub fn sid(&self, iv: u64) -> u32 {
        (iv >> self.sid_shift) as u32
    }

    /// Whether `seq` of sender `sid` could be accepted now. Changes nothing.
    ///
    /// # Errors
    /// As [`super::Window::check`], or the sender is new and no window is left.
    #[inline]
    pub fn check(&self, sid: u32, seq: u32) -> Result<(), ReplayError> {
        match self.find(sid) {
            Some(entry) => self.view(entry).check(seq),
            None if seq == 0 => Err(ReplayError::Stale),
            None if self.is_full() => Err(ReplayError::TableFull),
            None => Ok(()),
        }
    }

    /// Accepts `seq` of sender `sid`, at most once whoever calls, and claims a window for a new sender.
    ///
    /// # Errors
    /// As [`SenderWindows::check`].
    #[inline]
    pub fn commit(&self, sid: u32, seq: u32) -> Result<(), ReplayError> {
        let entry = match self.find(sid) {
            Some(entry) => entry,
            None if seq == 0 => return Err(ReplayError::Stale),
            None => self.claim(sid)?,
        };
        self.view(entry).commit(seq)
    }

    /// As [`SenderWindows::commit`] for one number after the other, each with its IV, which names the
    /// sender; cheaper where numbers of a sender follow each other. As far as the shortest slice goes.
    #[inline]
    pub fn commit_burst(&self, ivs: &[u64], seqs: &[u32], out: &mut [Result<(), ReplayError>]) {
        let (mut seqs, mut out) = (seqs, out);
        for run in ivs.chunk_by(|&iv, &next| self.sid(iv) == self.sid(next)) {
            let sid = self.sid(run[0]);
            let run = run.len().min(seqs.len()).min(out.len());
            let (run_out, rest_out) = out.split_at_mut(run);
            match self.find(sid) {
                Some(entry) => self.view(entry).commit_burst(&seqs[..run], run_out),
                None => {
                    for (&seq, out) in seqs.iter().zip(run_out) {
                        *out = self.commit(sid, seq);
                    }
                }
            }
            (seqs, out) = (&seqs[run..], rest_out);
        }
    }

    /// How many senders have a window.
    #[must_use]
    pub fn senders(&self) -> u64 {
        self.claimed.load(Ordering::Relaxed)
    }

    /// Every sender ID that has a window, with the highest sequence number accepted from it.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32)> {
        self.heads.iter().enumerate().filter_map(|(entry, head)| {
            let key = head.key.load(Ordering::Relaxed);
            let sid = u32::try_from(key.checked_sub(1)?).ok()?;
            Some((sid, self.view(entry).highest()))
        })
    }

    #[inline]
    fn view(&self, entry: usize) -> View<'_> {
        let words = self.shape.words();
        View {
            top: &self.heads[entry].top,
            words: &self.words[entry * words..][..words],
            size: self.shape.size,
            mask: self.shape.mask,
        }
    }

    /// The entry of `sid`, if it has one.
    #[inline]
    fn find(&self, sid: u32) -> Option<usize> {
        let wanted = u64::from(sid) + 1;
        for entry in self.probe(sid) {
            match self.heads[entry].key.load(Ordering::Relaxed) {
                0 => return None,
                key if key == wanted => return Some(entry),
                _ => {}
            }
        }
        None
    }

    /// Finds or claims an entry. Workers that claim for the same sender at once end up at the same
    /// entry, since each goes on only past entries that others have.
    #[cold]
    fn claim(&self, sid: u32) -> Result<usize, ReplayError> {
        let wanted = u64::from(sid) + 1;
        for entry in self.probe(sid) {
            let key = &self.heads[entry].key;
            // Acquire, in `is_full`: if another worker took the last window, then we see for whom.
            if key.load(Ordering::Relaxed) == 0 && self.is_full() && key.load(Ordering::Relaxed) == 0 {
                return Err(ReplayError::TableFull);
            }
            match key.compare_exchange(0, wanted, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    self.claimed.fetch_add(1, Ordering::Release);
                    return Ok(entry);
                }
                Err(now) if now == wanted => return Ok(entry),
                Err(_) => {}
            }
        }
        Err(ReplayError::TableFull)
    }

    fn is_full(&self) -> bool {
        self.claimed.load(Ordering::Acquire) >= self.max_senders
    }

    /// All entries, in the order in which `sid` may be there.
    #[inline]
    fn probe(&self, sid: u32) -> impl Iterator<Item = usize> + use<> {
        let mask = self.heads.len() - 1;
        let home = (u64::from(sid).wrapping_mul(self.multiplier) >> 32) as usize;
        (0..=mask).map(move |step| (home + step) & mask)
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::{ReplayError, ReplaySizeError, SenderWindows};
    use crate::replay::window::tests::Model;
    use proptest::prelude::*;
    use std::{collections::HashMap, sync::Barrier, thread};

    #[test]
    fn numbers_out_of_range_are_refused() {
        assert_eq!(SenderWindows::new(0, 1, 64).unwrap_err(), ReplaySizeError::SidBits(0));
        assert_eq!(SenderWindows::new(33, 1, 64).unwrap_err(), ReplaySizeError::SidBits(33));
        assert_eq!(SenderWindows::new(16, 0, 64).unwrap_err(), ReplaySizeError::Senders(0));
        assert_eq!(SenderWindows::new(16, 1, 63).unwrap_err(), ReplaySizeError::Window(63));
        let memory = ReplaySizeError::Memory { window: 65_536, senders: 65_536 };
        assert_eq!(SenderWindows::new(16, 65_536, 65_536).unwrap_err(), memory);
    }

    #[test]
    fn a_check_claims_no_window() {
        let windows = SenderWindows::new(16, 1, 64).unwrap();
        for sid in 0..1000 {
            assert_eq!(windows.check(sid, 1), Ok(()));
        }
        assert_eq!(windows.senders(), 0);
        assert_eq!(windows.commit(7, 0), Err(ReplayError::Stale));
        assert_eq!(windows.senders(), 0);
    }

    #[test]
    fn when_all_windows_are_taken_only_known_senders_go_on() {
        let windows = SenderWindows::new(16, 3, 64).unwrap();
        for sid in [9, 0, 65_535] {
            assert_eq!(windows.commit(sid, 1), Ok(()));
        }
        assert_eq!(windows.check(1, 1), Err(ReplayError::TableFull));
        assert_eq!(windows.commit(1, 1), Err(ReplayError::TableFull));
        assert_eq!(windows.commit(0, 2), Ok(()));
        let mut senders: Vec<_> = windows.iter().collect();
        senders.sort_unstable();
        assert_eq!(senders, [(0, 2), (9, 1), (65_535, 1)]);
    }

    #[test]
    fn the_sender_id_is_the_top_of_the_iv() {
        let sid = |bits: u8| SenderWindows::new(bits, 1, 64).unwrap().sid(0xabcd_ef01_2345_6789);
        assert_eq!((sid(8), sid(12), sid(16), sid(32)), (0xab, 0xabc, 0xabcd, 0xabcd_ef01));
    }

    #[test]
    fn threads_that_bring_the_same_new_senders_share_their_windows() {
        const SENDERS: u32 = 500;
        let windows = SenderWindows::new(16, SENDERS, 64).unwrap();
        let start = Barrier::new(4);
        let accepted: u32 = thread::scope(|scope| {
            let workers: Vec<_> = (0..4_u32)
                .map(|id| {
                    let (windows, start) = (&windows, &start);
                    scope.spawn(move || {
                        start.wait();
                        let own = |sid| u32::from(windows.commit(sid, 10 + id).is_ok());
                        let shared = |sid| u32::from(windows.commit(sid, 1).is_ok());
                        (0..SENDERS).map(|sid| own(sid) + shared(sid)).sum::<u32>()
                    })
                })
                .collect();
            workers.into_iter().map(|worker| worker.join().expect("a worker")).sum()
        });
        assert_eq!(windows.senders(), u64::from(SENDERS));
        assert_eq!(accepted, SENDERS * 5);
    }

    proptest! {
        #[test]
        fn a_burst_decides_as_its_numbers_one_by_one(
            bursts in prop::collection::vec(prop::collection::vec((0_u64..5, 0_u32..200), 0..40), 1..12),
        ) {
            let (burst_wise, one_by_one) =
                (SenderWindows::new(16, 3, 64).unwrap(), SenderWindows::new(16, 3, 64).unwrap());
            for mut burst in bursts {
                burst.sort_by_key(|(sid, seq)| (seq / 20, *sid));
                let (ivs, seqs): (Vec<u64>, Vec<u32>) =
                    burst.iter().map(|(sid, seq)| (sid << 48 | u64::from(*seq), *seq)).unzip();
                let mut out = vec![Ok(()); seqs.len()];
                burst_wise.commit_burst(&ivs, &seqs, &mut out);
                let commit = |(iv, seq): (&u64, &u32)| one_by_one.commit(one_by_one.sid(*iv), *seq);
                prop_assert_eq!(out, ivs.iter().zip(&seqs).map(commit).collect::<Vec<_>>());
            }
        }

        #[test]
        fn it_decides_as_a_plain_model_for_each_sender_does(
            steps in prop::collection::vec((0_u32..6, 0_u32..400, any::<bool>()), 1..300),
        ) {
            let windows = SenderWindows::new(8, 4, 100).unwrap();
            let mut models: HashMap<u32, Model> = HashMap::new();
            for (sid, seq, commit) in steps {
                let full = models.len() >= 4 && !models.contains_key(&sid);
                let expected = match models.get(&sid) {
                    _ if seq == 0 => Err(ReplayError::Stale),
                    None if full => Err(ReplayError::TableFull),
                    None => Ok(()),
                    Some(model) => model.check(seq),
                };
                prop_assert_eq!(windows.check(sid, seq), expected);
                if commit {
                    prop_assert_eq!(windows.commit(sid, seq), expected);
                    if expected.is_ok() {
                        let model = models.entry(sid).or_insert_with(|| Model::new(100));
                        prop_assert_eq!(model.commit(seq), Ok(()));
                    }
                }
            }
        }
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_tests {
    use super::{SenderWindows, Shape};
    use crate::replay::ReplayError;
    use loom::thread;
    use std::sync::Arc;

    fn small(max_senders: u32) -> Arc<SenderWindows> {
        let mut windows = SenderWindows::of(16, max_senders, Shape::new(64).expect("a size"), 2);
        // loom runs the model again and again and must meet the same addresses.
        windows.multiplier = 1;
        Arc::new(windows)
    }

    #[test]
    fn loom_two_workers_with_the_same_new_sender_claim_one_window() {
        loom::model(|| {
            let windows = small(1);
            let other = {
                let windows = Arc::clone(&windows);
                thread::spawn(move || (windows.commit(7, 1), windows.commit(7, 2)))
            };
            let mine = windows.commit(7, 1);
            let (theirs, second) = other.join().expect("the other worker");
            // Never "full": the only window was claimed for this very sender.
            assert!(mine.is_ok() != theirs.is_ok());
            assert_eq!(mine.and(theirs), Err(ReplayError::Duplicate));
            assert_eq!(second, Ok(()));
            assert_eq!(windows.senders(), 1);
        });
    }

    #[test]
    fn loom_two_new_senders_at_once_get_a_window_each() {
        loom::model(|| {
            let windows = small(2);
            let other = {
                let windows = Arc::clone(&windows);
                thread::spawn(move || windows.commit(8, 1))
            };
            assert_eq!(windows.commit(7, 1), Ok(()));
            assert_eq!(other.join().expect("the other worker"), Ok(()));
            assert_eq!(windows.senders(), 2);
            assert_eq!(windows.check(7, 1), Err(ReplayError::Duplicate));
            assert_eq!(windows.check(8, 1), Err(ReplayError::Duplicate));
        });
    }
}
