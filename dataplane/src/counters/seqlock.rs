//! A block of words with one writer (a worker) and any number of readers (the control thread):
//! every read sees all of them as of one instant. The writer never waits; a reader that meets a write
//! reads again.

use crate::sync::{AtomicU64, Ordering, fence, yield_now};
use std::array;

/// `HOT` numbers that change all the time and `COLD` ones that change seldom.
#[derive(Debug)]
pub(crate) struct SeqLock<const HOT: usize, const COLD: usize> {
    /// Odd while a write is under way. Written by the writer only.
    version: AtomicU64,
    hot: [AtomicU64; HOT],
    cold: [AtomicU64; COLD],
}

impl<const HOT: usize, const COLD: usize> SeqLock<HOT, COLD> {
    pub(crate) fn new() -> Self {
        Self {
            version: AtomicU64::new(0),
            hot: array::from_fn(|_| AtomicU64::new(0)),
            cold: array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Stores `hot`, and `cold` where given. One thread only.
    #[inline]
    pub(crate) fn write(&self, hot: &[u64; HOT], cold: Option<&[u64; COLD]>) {
        let version = self.version.load(Ordering::Relaxed);
        self.version.store(version.wrapping_add(1), Ordering::Relaxed);
        // A reader that sees any store below also sees the odd version above.
        fence(Ordering::Release);
        for (cell, value) in self.hot.iter().zip(hot) {
            cell.store(*value, Ordering::Relaxed);
        }
        if let Some(cold) = cold {
            for (cell, value) in self.cold.iter().zip(cold) {
                cell.store(*value, Ordering::Relaxed);
            }
        }
        self.version.store(version.wrapping_add(2), Ordering::Release);
    }

    /// All numbers as of one instant.
    pub(crate) fn read(&self) -> ([u64; HOT], [u64; COLD]) {
        loop {
            let before = self.version.load(Ordering::Acquire);
            if before & 1 == 0 {
                let hot = array::from_fn(|i| self.hot[i].load(Ordering::Relaxed));
                let cold = array::from_fn(|i| self.cold[i].load(Ordering::Relaxed));
                fence(Ordering::Acquire);
                if self.version.load(Ordering::Relaxed) == before {
                    return (hot, cold);
                }
            }
            yield_now();
        }
    }

    /// The writer's own look at what it last stored.
    #[inline]
    pub(crate) fn last_hot(&self, index: usize) -> u64 {
        self.hot[index].load(Ordering::Relaxed)
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_tests {
    use super::SeqLock;
    use loom::thread;
    use std::sync::Arc;

    #[test]
    fn loom_every_read_is_of_one_instant() {
        loom::model(|| {
            let shared = Arc::new(SeqLock::<1, 1>::new());
            let writer = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.write(&[1], Some(&[1]));
                    shared.write(&[2], Some(&[2]));
                })
            };
            let (hot, cold) = shared.read();
            assert_eq!(hot, cold);
            writer.join().expect("the writer");
            assert_eq!(shared.read(), ([2], [2]));
        });
    }

    #[test]
    fn loom_cold_numbers_stay_when_only_hot_ones_are_written() {
        loom::model(|| {
            let shared = Arc::new(SeqLock::<1, 1>::new());
            let writer = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    shared.write(&[1], Some(&[7]));
                    shared.write(&[2], None);
                })
            };
            let (hot, cold) = shared.read();
            assert_eq!(cold[0], if hot[0] == 0 { 0 } else { 7 });
            writer.join().expect("the writer");
        });
    }
}
