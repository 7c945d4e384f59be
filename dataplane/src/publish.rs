//! Hands a new immutable value (the SA table, the policy) from the control thread to every worker at
//! once, one `Arc` for each. The control thread publishes and frees; a worker looks once a burst.
//! A worker never waits, never allocates, never frees and never enters the kernel here.
//!
//! Each reader has a slot of its own, so no cache line is written by two workers and there is no
//! epoch to pin: an unchanged value costs one load of a line that the worker already holds. What
//! crossbeam-epoch would add is a pin (a store and a full fence) per burst and a collector that frees
//! on whichever thread comes by; `cargo bench --bench lockfree` puts the two side by side.

use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, TryLockError, yield_now};
use crossbeam::utils::CachePadded;
use std::{mem, sync::Arc};

/// Makes a publisher and one subscriber for each of `readers` workers; all start at `initial`.
#[must_use]
pub fn channel<T>(initial: &Arc<T>, readers: usize) -> (Publisher<T>, Vec<Subscriber<T>>) {
    let slots: Vec<_> = (0..readers).map(|_| Arc::new(CachePadded::new(Slot::new()))).collect();
    let subscribers = slots
        .iter()
        .map(|slot| Subscriber { slot: Arc::clone(slot), current: Arc::clone(initial), seen: 0 })
        .collect();
    (Publisher { slots, version: 0 }, subscribers)
}

/// The worker's end: one for each worker, neither shared nor cloned.
#[derive(Debug)]
pub struct Subscriber<T> {
    slot: Arc<CachePadded<Slot<T>>>,
    current: Arc<T>,
    seen: u64,
}

impl<T> Subscriber<T> {
    /// The newest value that could be had without waiting. Call once a burst: it changes only here,
    /// so a whole burst is treated by one and the same value.
    #[inline]
    pub fn current(&mut self) -> &T {
        self.versioned().0
    }

    /// The same, with a number that grows whenever the value is another one.
    #[inline]
    pub fn versioned(&mut self) -> (&T, u64) {
        // Relaxed: a hint only. What the parcel holds is ordered by its lock.
        if self.slot.version.load(Ordering::Relaxed) != self.seen {
            self.adopt();
        }
        (&self.current, self.seen)
    }

    /// Swaps the value for the one in the slot, leaving the old one there for the publisher to free.
    /// When the publisher has the lock just now, the next burst tries again.
    #[cold]
    #[inline(never)]
    fn adopt(&mut self) {
        let mut parcel = match self.slot.parcel.try_lock() {
            Ok(parcel) => parcel,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return,
        };
        *parcel = match mem::replace(&mut *parcel, Parcel::Empty) {
            Parcel::Fresh(new) => Parcel::Left(mem::replace(&mut self.current, new)),
            other => other,
        };
        // The publisher moves the version only while it holds the lock, as we do now.
        self.seen = self.slot.version.load(Ordering::Relaxed);
        drop(parcel);
        self.slot.seen.store(self.seen, Ordering::Release);
    }
}

impl<T> Drop for Subscriber<T> {
    /// A worker that has ended lags no more.
    fn drop(&mut self) {
        self.slot.seen.store(u64::MAX, Ordering::Release);
    }
}

/// The control thread's end. Dropping it leaves every subscriber its last value.
#[derive(Debug)]
pub struct Publisher<T> {
    slots: Vec<Arc<CachePadded<Slot<T>>>>,
    version: u64,
}

impl<T> Publisher<T> {
    /// Offers `value` to every reader; each adopts it at its next burst. A value that a reader had
    /// not yet adopted is replaced: readers may skip values but never go back.
    pub fn publish(&mut self, value: &Arc<T>) {
        self.version += 1;
        for slot in &self.slots {
            let mut parcel = slot.lock();
            let left = mem::replace(&mut *parcel, Parcel::Fresh(Arc::clone(value)));
            slot.version.store(self.version, Ordering::Relaxed);
            drop(parcel);
            // Freeing a table takes long: never with the lock held.
            drop(left);
        }
    }

    /// Frees what readers left behind since the last call, and says how many values that were.
    pub fn reap(&mut self) -> usize {
        let left_in = |slot: &Arc<CachePadded<Slot<T>>>| {
            let mut parcel = slot.lock();
            match mem::replace(&mut *parcel, Parcel::Empty) {
                Parcel::Left(left) => Some(left),
                other => {
                    *parcel = other;
                    None
                }
            }
        };
        self.slots.iter().filter_map(left_in).map(drop).count()
    }

    /// How many readers have not yet adopted the newest value. Takes no lock, so it may be polled.
    #[must_use]
    pub fn lagging(&self) -> usize {
        self.slots.iter().filter(|slot| slot.seen.load(Ordering::Acquire) < self.version).count()
    }
}

/// What the publisher and one reader share.
#[derive(Debug)]
struct Slot<T> {
    /// Written by the publisher under the lock of `parcel`, read by the reader at every burst.
    version: AtomicU64,
    /// Written by the reader when it has adopted a version, read by the publisher.
    seen: AtomicU64,
    /// Taken by either side for a few instructions.
    parcel: Mutex<Parcel<T>>,
}

#[derive(Debug)]
enum Parcel<T> {
    Empty,
    /// From the publisher, not yet adopted.
    Fresh(Arc<T>),
    /// From the reader, to be freed by the publisher.
    Left(Arc<T>),
}

impl<T> Slot<T> {
    fn new() -> Self {
        let parcel = Mutex::new(Parcel::Empty);
        Self { version: AtomicU64::new(0), seen: AtomicU64::new(0), parcel }
    }

    /// Locks for the publisher. It must not sleep on the lock: a sleeper would turn the worker's
    /// unlock into a system call that wakes it.
    fn lock(&self) -> MutexGuard<'_, Parcel<T>> {
        loop {
            match self.parcel.try_lock() {
                Ok(parcel) => return parcel,
                Err(TryLockError::Poisoned(poisoned)) => return poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => yield_now(),
            }
        }
    }
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::channel;
    use std::{
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        thread::{self, ThreadId},
    };

    #[test]
    fn a_reader_keeps_its_value_until_it_looks_again() {
        let (mut publisher, mut subscribers) = channel(&Arc::new(1), 2);
        assert_eq!(*subscribers[0].current(), 1);
        publisher.publish(&Arc::new(2));
        assert_eq!(publisher.lagging(), 2);
        assert_eq!(*subscribers[0].current(), 2);
        assert_eq!(publisher.lagging(), 1);
        publisher.publish(&Arc::new(3));
        assert_eq!(*subscribers[1].current(), 3);
        assert_eq!(*subscribers[0].current(), 3);
        assert_eq!(publisher.lagging(), 0);
    }

    #[test]
    fn what_a_reader_leaves_is_freed_by_the_publisher() {
        let first = Arc::new(1);
        let (mut publisher, mut subscribers) = channel(&first, 1);
        publisher.publish(&Arc::new(2));
        assert_eq!(publisher.reap(), 0);
        assert_eq!(*subscribers[0].current(), 2);
        assert_eq!(Arc::strong_count(&first), 2);
        assert_eq!(publisher.reap(), 1);
        assert_eq!(Arc::strong_count(&first), 1);
        assert_eq!(publisher.reap(), 0);
        assert_eq!(*subscribers[0].current(), 2);
    }

    #[test]
    fn a_value_that_nobody_adopted_is_freed_when_replaced() {
        let (mut publisher, mut subscribers) = channel(&Arc::new(1), 1);
        let skipped = Arc::new(2);
        publisher.publish(&skipped);
        publisher.publish(&Arc::new(3));
        assert_eq!(Arc::strong_count(&skipped), 1);
        assert_eq!(*subscribers[0].current(), 3);
    }

    #[test]
    fn a_worker_that_ended_does_not_lag() {
        let (mut publisher, subscribers) = channel(&Arc::new(1), 1);
        drop(subscribers);
        publisher.publish(&Arc::new(2));
        assert_eq!(publisher.lagging(), 0);
    }

    /// A value that knows which thread may free it.
    struct Owned {
        serial: u64,
        check: u64,
        owner: ThreadId,
    }

    impl Drop for Owned {
        fn drop(&mut self) {
            assert_eq!(thread::current().id(), self.owner, "freed by a worker");
        }
    }

    #[test]
    fn readers_under_a_stream_of_values_see_whole_ones_in_order_and_free_none() {
        const VALUES: u64 = 20_000;
        let owner = thread::current().id();
        let value = |serial: u64| Arc::new(Owned { serial, check: !serial, owner });
        let (mut publisher, subscribers) = channel(&value(0), 2);
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let readers: Vec<_> = subscribers
                .into_iter()
                .map(|mut subscriber| {
                    let stop = &stop;
                    scope.spawn(move || {
                        let mut last = 0;
                        loop {
                            let stopping = stop.load(Ordering::Acquire);
                            let now = subscriber.current();
                            assert_eq!(now.check, !now.serial);
                            assert!(now.serial >= last);
                            last = now.serial;
                            if stopping && last == VALUES {
                                return subscriber;
                            }
                        }
                    })
                })
                .collect();
            for serial in 1..=VALUES {
                publisher.publish(&value(serial));
                publisher.reap();
            }
            stop.store(true, Ordering::Release);
            for reader in readers {
                drop(reader.join().expect("a reader"));
            }
        });
    }
}

#[cfg(all(test, feature = "loom"))]
mod loom_tests {
    use super::channel;
    use loom::{cell::UnsafeCell, thread};
    use std::sync::Arc;

    /// A value whose every read and whose end loom checks for races: dropping it writes the cell, so
    /// a reader that still looks at it, or that frees it unseen by the publisher, fails the model.
    struct Tracked(UnsafeCell<u64>);

    impl Tracked {
        fn new(serial: u64) -> Arc<Self> {
            Arc::new(Self(UnsafeCell::new(serial)))
        }

        fn serial(&self) -> u64 {
            // The pointer is only compared to others through loom's checked access.
            self.0.with(|serial| serial as usize as u64)
        }
    }

    impl Drop for Tracked {
        fn drop(&mut self) {
            self.0.with_mut(|_| ());
        }
    }

    #[test]
    fn loom_readers_converge_and_never_see_a_freed_value() {
        loom::model(|| {
            let first = Tracked::new(0);
            let (mut publisher, mut subscribers) = channel(&first, 1);
            drop(first);
            let mut subscriber = subscribers.pop().expect("one");
            let reader = thread::spawn(move || {
                for _ in 0..2 {
                    subscriber.current().serial();
                }
                subscriber
            });
            let last = Tracked::new(2);
            publisher.publish(&Tracked::new(1));
            publisher.reap();
            publisher.publish(&last);
            publisher.reap();
            let mut subscriber = reader.join().expect("the reader");
            assert_eq!(subscriber.current().serial(), last.serial());
            publisher.reap();
            assert_eq!(publisher.lagging(), 0);
        });
    }

    #[test]
    fn loom_values_are_whole_and_never_go_backwards() {
        loom::model(|| {
            let (mut publisher, mut subscribers) = channel(&Arc::new((0, 0)), 2);
            let second = subscribers.pop().expect("two");
            let watch = |mut subscriber: super::Subscriber<(u64, u64)>| {
                move || {
                    let mut last = 0;
                    for _ in 0..2 {
                        let (value, twice) = *subscriber.current();
                        assert_eq!(twice, 2 * value);
                        assert!(value >= last);
                        last = value;
                    }
                    subscriber
                }
            };
            let mut readers = vec![thread::spawn(watch(second))];
            let mut first = subscribers.pop().expect("one");
            publisher.publish(&Arc::new((1, 2)));
            publisher.publish(&Arc::new((2, 4)));
            assert_eq!(*first.current(), (2, 4));
            for reader in readers.drain(..) {
                assert_eq!(*reader.join().expect("a reader").current(), (2, 4));
            }
        });
    }
}
