//! A bounded ring of small messages from one worker to the control thread. Neither side waits for the
//! other, and neither writes what the other writes: the words of a message are plain atomics, ordered by
//! the two positions.

use std::sync::Arc;

use crossbeam::utils::CachePadded;

use crate::sync::{AtomicU64, Ordering};

/// Makes a ring for `capacity` messages of `WORDS` words, or for a few more: a power of two.
pub(crate) fn ring<const WORDS: usize>(capacity: usize) -> (Producer<WORDS>, Consumer<WORDS>) {
    let cell = || std::array::from_fn(|_| AtomicU64::new(0));
    let shared = Arc::new(Shared {
        cells: (0..capacity.max(1).next_power_of_two()).map(|_| cell()).collect(),
        written: CachePadded::new(AtomicU64::new(0)),
        taken: CachePadded::new(AtomicU64::new(0)),
    });
    (Producer { shared: Arc::clone(&shared), written: 0, taken: 0 }, Consumer { shared, taken: 0 })
}

#[derive(Debug)]
struct Shared<const WORDS: usize> {
    /// Message n is in cell n modulo their number. Written by the producer, and only while `taken` says
    /// that the consumer is done with what was there.
    cells: Box<[[AtomicU64; WORDS]]>,
    /// How many messages were ever written. Written by the producer.
    written: CachePadded<AtomicU64>,
    /// How many messages were ever taken. Written by the consumer.
    taken: CachePadded<AtomicU64>,
}

impl<const WORDS: usize> Shared<WORDS> {
    #[expect(clippy::cast_possible_truncation, reason = "what is cut off is masked anyway")]
    fn cell(&self, number: u64) -> &[AtomicU64; WORDS] {
        &self.cells[number as usize & (self.cells.len() - 1)]
    }
}

/// The worker's end.
#[derive(Debug)]
pub(crate) struct Producer<const WORDS: usize> {
    shared: Arc<Shared<WORDS>>,
    written: u64,
    /// What `taken` was when it was looked at last.
    taken: u64,
}

impl<const WORDS: usize> Producer<WORDS> {
    /// Whether `messages` fit now: then as many can be pushed, whatever the consumer does.
    pub(crate) fn has_room(&mut self, messages: usize) -> bool {
        let capacity = self.shared.cells.len() as u64;
        let wanted = messages as u64;
        if self.written - self.taken + wanted <= capacity {
            return true;
        }
        // Acquire: as for push().
        self.taken = self.shared.taken.load(Ordering::Acquire);
        self.written - self.taken + wanted <= capacity
    }

    /// Adds a message; false, with nothing done, when the ring is full.
    pub(crate) fn push(&mut self, message: &[u64; WORDS]) -> bool {
        let capacity = self.shared.cells.len() as u64;
        if self.written - self.taken == capacity {
            // Acquire: the consumer has read the words that are overwritten now.
            self.taken = self.shared.taken.load(Ordering::Acquire);
            if self.written - self.taken == capacity {
                return false;
            }
        }
        for (word, value) in self.shared.cell(self.written).iter().zip(message) {
            word.store(*value, Ordering::Relaxed);
        }
        self.written += 1;
        // Release: who sees this number sees the words.
        self.shared.written.store(self.written, Ordering::Release);
        true
    }
}

/// The control thread's end.
#[derive(Debug)]
pub(crate) struct Consumer<const WORDS: usize> {
    shared: Arc<Shared<WORDS>>,
    taken: u64,
}

impl<const WORDS: usize> Consumer<WORDS> {
    /// Takes the messages that are there now, oldest first, and none that come meanwhile.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = [u64; WORDS]> {
        let until = self.shared.written.load(Ordering::Acquire);
        std::iter::from_fn(move || {
            if self.taken == until {
                return None;
            }
            let cell = self.shared.cell(self.taken);
            let message = std::array::from_fn(|i| cell[i].load(Ordering::Relaxed));
            self.taken += 1;
            // Release: the words are read before they may be overwritten.
            self.shared.taken.store(self.taken, Ordering::Release);
            Some(message)
        })
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::ring;
    use proptest::prelude::*;
    use std::collections::VecDeque;
    use std::thread;

    proptest! {
        #[test]
        fn it_holds_what_a_bounded_queue_holds(
            capacity in 0_usize..9,
            steps in prop::collection::vec(prop::option::of(any::<u64>()), 0..200),
        ) {
            let (mut producer, mut consumer) = ring::<2>(capacity);
            let room = capacity.max(1).next_power_of_two();
            let mut queue = VecDeque::new();
            for step in steps {
                match step {
                    Some(n) => {
                        let fits = queue.len() < room;
                        prop_assert_eq!(producer.push(&[n, !n]), fits);
                        queue.extend(fits.then_some([n, !n]));
                    }
                    None => prop_assert_eq!(consumer.drain().collect::<Vec<_>>(), queue.drain(..).collect::<Vec<_>>()),
                }
            }
        }
    }

    #[test]
    fn room_is_said_for_as_many_as_fit() {
        let (mut producer, mut consumer) = ring::<1>(4);
        assert!(producer.has_room(4) && !producer.has_room(5));
        assert!(producer.push(&[0]) && producer.has_room(3) && !producer.has_room(4));
        assert_eq!(consumer.drain().count(), 1);
        assert!(producer.has_room(4) && !producer.has_room(5));
    }

    #[test]
    fn a_drain_that_is_given_up_leaves_the_rest_in_order() {
        let (mut producer, mut consumer) = ring::<1>(4);
        (0..4).for_each(|n| assert!(producer.push(&[n])));
        assert_eq!(consumer.drain().next(), Some([0]));
        assert!(producer.push(&[4]));
        assert_eq!(consumer.drain().flatten().collect::<Vec<_>>(), [1, 2, 3, 4]);
    }

    #[test]
    fn messages_between_threads_are_whole_and_in_order() {
        const MESSAGES: u64 = 100_000;
        let (mut producer, mut consumer) = ring::<3>(8);
        thread::scope(|scope| {
            scope.spawn(move || {
                for n in 0..MESSAGES {
                    while !producer.push(&[n, n * 3, !n]) {
                        thread::yield_now();
                    }
                }
            });
            let mut next = 0;
            while next < MESSAGES {
                for message in consumer.drain() {
                    assert_eq!(message, [next, next * 3, !next]);
                    next += 1;
                }
                thread::yield_now();
            }
        });
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_tests {
    use super::ring;
    use loom::thread;

    #[test]
    fn loom_messages_are_whole_in_order_and_never_overwritten_unread() {
        loom::model(|| {
            let (mut producer, mut consumer) = ring::<2>(2);
            let worker = thread::spawn(move || {
                let sent = (1..=3).filter(|n| producer.push(&[*n, !*n])).collect::<Vec<u64>>();
                (producer, sent)
            });
            let mut came = Vec::new();
            for _ in 0..2 {
                came.extend(consumer.drain());
            }
            let (producer, sent) = worker.join().expect("the worker");
            came.extend(consumer.drain());
            drop(producer);
            // What did not fit was refused; of the rest nothing is lost, torn or out of order.
            assert!(sent.len() >= 2);
            assert_eq!(came, sent.iter().map(|n| [*n, !n]).collect::<Vec<_>>());
        });
    }

    #[test]
    fn loom_room_that_was_promised_is_there() {
        loom::model(|| {
            let (mut producer, mut consumer) = ring::<1>(2);
            assert!(producer.push(&[1]));
            let control = thread::spawn(move || {
                let taken: Vec<_> = consumer.drain().flatten().collect();
                (consumer, taken)
            });
            let room = producer.has_room(2);
            if room {
                assert!(producer.push(&[2]) && producer.push(&[3]));
            }
            let (mut consumer, taken) = control.join().expect("the control thread");
            let rest: Vec<_> = consumer.drain().flatten().collect();
            assert_eq!([taken, rest].concat(), if room { vec![1, 2, 3] } else { vec![1] });
        });
    }

    #[test]
    fn loom_a_full_ring_takes_more_once_something_was_taken() {
        loom::model(|| {
            let (mut producer, mut consumer) = ring::<1>(1);
            assert!(producer.push(&[1]));
            let control = thread::spawn(move || {
                let taken: Vec<_> = consumer.drain().flatten().collect();
                (consumer, taken)
            });
            let went = producer.push(&[2]);
            let (mut consumer, taken) = control.join().expect("the control thread");
            let rest: Vec<_> = consumer.drain().flatten().collect();
            let all = [taken, rest].concat();
            assert_eq!(all, if went { vec![1, 2] } else { vec![1] });
            assert!(producer.push(&[3]));
        });
    }
}
