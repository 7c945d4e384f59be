//! What is going to happen, in the order in which it does. Of things at the same moment the one that was
//! planned first comes first, so nothing depends on addresses or hashes.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Queue<T> {
    events: BinaryHeap<Reverse<Planned<T>>>,
    next: u64,
}

#[derive(Debug)]
struct Planned<T> {
    at: Instant,
    number: u64,
    event: T,
}

impl<T> Ord for Planned<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl<T> PartialOrd for Planned<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Planned<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl<T> Eq for Planned<T> {}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { events: BinaryHeap::new(), next: 0 }
    }

    pub(crate) fn push(&mut self, at: Instant, event: T) {
        self.events.push(Reverse(Planned { at, number: self.next, event }));
        self.next += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<(Instant, T)> {
        let Reverse(planned) = self.events.pop()?;
        Some((planned.at, planned.event))
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }
}
