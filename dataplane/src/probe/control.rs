//! The control thread's end of the probe: turns it on and off, and takes what workers tell.

use std::sync::Arc;

use crossbeam::utils::CachePadded;

use super::event::Reader;
use super::filter::Compiled;
use super::{Counts, Event, ProbeCounts, ProbeSpec, Program, WORDS};
use crate::publish::Publisher;
use crate::ring::Consumer;
use crate::sync::Ordering;

/// One probe at a time, of all workers.
#[derive(Debug)]
pub struct Probe {
    publisher: Publisher<Program>,
    rings: Vec<Consumer<WORDS>>,
    readers: Vec<Reader>,
    counts: Vec<Arc<CachePadded<Counts>>>,
    /// The number of the one that is on, or was last.
    id: u16,
    on: bool,
    /// What had been counted when it was turned on.
    before: ProbeCounts,
}

impl Probe {
    pub(super) fn new(
        publisher: Publisher<Program>,
        rings: Vec<Consumer<WORDS>>,
        counts: Vec<Arc<CachePadded<Counts>>>,
    ) -> Self {
        let readers = rings.iter().map(|_| Reader::default()).collect();
        Probe { publisher, rings, readers, counts, id: 0, on: false, before: ProbeCounts::default() }
    }

    /// Turns it on; what was on ends.
    pub fn start(&mut self, spec: &ProbeSpec) {
        self.id = self.id.checked_add(1).unwrap_or(1);
        self.on = true;
        self.before = self.total();
        let (filter, snaplen, budget) = (Compiled::new(&spec.filter), spec.snaplen, spec.budget);
        self.publisher.publish(&Arc::new(Program { id: self.id, filter, snaplen, budget }));
    }

    /// Turns it off. What workers have told already can still be taken.
    pub fn stop(&mut self) {
        if std::mem::take(&mut self.on) {
            self.publisher.publish(&Arc::new(Program::OFF));
        }
    }

    /// Whether it is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.on
    }

    /// What workers have told since the last call, those of each in order.
    pub fn take(&mut self, mut event: impl FnMut(Event)) {
        self.publisher.reap();
        for ((ring, reader), worker) in self.rings.iter_mut().zip(&mut self.readers).zip(0..) {
            for record in ring.drain() {
                if let Some(told) = reader.take(worker, &record).filter(|told| told.probe == self.id) {
                    event(told);
                }
            }
        }
    }

    /// How much it has met since it was turned on.
    #[must_use]
    pub fn counts(&self) -> ProbeCounts {
        let total = self.total();
        ProbeCounts {
            matched: total.matched - self.before.matched,
            skipped: total.skipped - self.before.skipped,
            not_looked_at: total.not_looked_at - self.before.not_looked_at,
        }
    }

    fn total(&self) -> ProbeCounts {
        let sum = |of: fn(&Counts) -> &crate::sync::AtomicU64| {
            self.counts.iter().map(|counts| of(counts).load(Ordering::Relaxed)).sum()
        };
        ProbeCounts {
            matched: sum(|counts| &counts.matched),
            skipped: sum(|counts| &counts.skipped),
            not_looked_at: sum(|counts| &counts.not_looked_at),
        }
    }
}
