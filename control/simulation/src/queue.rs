//! What is going to happen, in the order in which it does. Of things at the same moment the one that was
//! planned first comes first, so nothing depends on addresses or hashes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Instant;

#[derive(Debug)]
pub(crate) struct Queue<T> {
    order: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, T>,
    next: u64,
}

impl<T> Queue<T> {
    pub(crate) fn new() -> Self {
        Self { order: BinaryHeap::new(), events: BTreeMap::new(), next: 0 }
    }

    pub(crate) fn push(&mut self, at: Instant, event: T) {
        self.order.push(Reverse((at, self.next)));
        self.events.insert(self.next, event);
        self.next += 1;
    }

    pub(crate) fn pop(&mut self) -> Option<(Instant, T)> {
        let Reverse((at, number)) = self.order.pop()?;
        self.events.remove(&number).map(|event| (at, event))
    }

    pub(crate) fn len(&self) -> usize {
        self.events.len()
    }
}
