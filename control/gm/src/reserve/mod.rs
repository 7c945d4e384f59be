//! Sees to it that no IV is used twice under a key, whatever ends the process. Control thread only.
//!
//! Counters are reserved on disk before workers may use them: a sender's limit is raised only when the
//! file that says so is durable. After a clean stop the next start goes on exactly where this one
//! ended; after a crash it goes on behind everything that was reserved. Blocks grow with the rate, so
//! that the file is written every few seconds at most and sealing never waits for it.
//!
//! A key that leaves the configuration keeps its entry, because it may come back. Keys from a key
//! server need none of this: it never hands out a sender ID twice.

mod store;
#[cfg(test)]
mod tests;

pub use store::{Fingerprint, StateError};

use getvpn_dataplane::Sa;
use getvpn_dataplane::sender::Sender;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::{Store, Table};

/// The smallest reservation. Half of it lasts a worker that seals 15 million packets a second for
/// 280 ms, which a disk needs at worst; a crash loses at most this of the 2^32 sequence numbers of an
/// SA with replay protection.
const SMALLEST: u64 = 1 << 23;
const LARGEST: u64 = 1 << 30;
/// A reservation should last this long; one used up sooner is followed by a larger one.
const SHORT: Duration = Duration::from_secs(4);
/// One that lasted this long is followed by a smaller one.
const LONG: Duration = Duration::from_secs(60);
/// How long to wait before the disk is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// The reservations of this member.
#[derive(Debug)]
pub struct Reservations {
    store: Arc<Store>,
    /// What is on disk.
    durable: Table,
    senders: Vec<Tracked>,
    writing: bool,
    not_before: Option<Instant>,
}

/// A sender whose limit is raised in time.
#[derive(Debug)]
struct Tracked {
    sa: Arc<Sa>,
    worker: usize,
    key: Fingerprint,
    sid: u32,
    /// The first counter that is not reserved.
    limit: u64,
    block: u64,
    /// When the last block was reserved.
    since: Option<Instant>,
    exhausted: bool,
}

/// A state of the file that shall become durable.
#[derive(Clone, Debug)]
pub struct Pending {
    store: Arc<Store>,
    table: Table,
}

impl Pending {
    /// Makes it durable; blocks on the disk, so not on the control thread while workers run.
    ///
    /// # Errors
    /// When it cannot be written; nothing of it may be used then.
    pub fn write(&self) -> Result<(), StateError> {
        self.store.write(&self.table)
    }
}

/// A sender that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// Its SA.
    pub spi: u32,
    /// Its worker.
    pub worker: usize,
    /// Its sender ID.
    pub sid: u32,
}

impl Reservations {
    /// Takes the state directory and reads what earlier runs reserved.
    ///
    /// # Errors
    /// When it is not certain what has been used; see [`StateError`].
    pub fn open(directory: &Path) -> Result<Self, StateError> {
        let (store, durable) = Store::open(directory)?;
        let store = Arc::new(store);
        Ok(Self { store, durable, senders: Vec::new(), writing: false, not_before: None })
    }

    /// The first counter that none of these senders has used under a key.
    #[must_use]
    pub fn first(&self, key: &Fingerprint, sids: impl Iterator<Item = u32>) -> u64 {
        let used = self.durable.keys.get(key);
        sids.filter_map(|sid| used?.get(&sid)).copied().max().unwrap_or(1)
    }

    /// Follows the senders of an SA that was made to start at [`Reservations::first`] with nothing
    /// reserved. They can seal once [`Reservations::plan`] has become durable.
    pub fn follow(&mut self, sa: &Arc<Sa>, key: &Fingerprint, first_sid: u32) {
        for (worker, (sid, sender)) in (first_sid..).zip(sa.senders()).enumerate() {
            self.senders.push(Tracked {
                sa: Arc::clone(sa),
                worker,
                key: key.clone(),
                sid,
                limit: sender.next_counter(),
                block: SMALLEST,
                since: None,
                exhausted: false,
            });
        }
    }

    /// Follows an SA no more. What was reserved for it stays reserved.
    pub fn forget(&mut self, spi: u32) {
        self.senders.retain(|tracked| tracked.sa.spi() != spi);
    }

    /// What should become durable now, if any sender comes near its limit. Until that has been told to
    /// be [`Reservations::done`], there is no other.
    pub fn plan(&mut self, now: Instant) -> Option<Pending> {
        if self.writing || self.not_before.is_some_and(|at| now < at) {
            return None;
        }
        if !self.senders.iter().any(Tracked::is_near_its_limit) {
            return None;
        }
        let mut table = self.durable.clone();
        for tracked in self.senders.iter_mut().filter(|t| t.is_near_its_limit()) {
            tracked.adapt(now);
            let Some(next) = tracked.sender().map(Sender::next_counter) else { continue };
            let reserved = table.keys.entry(tracked.key.clone()).or_default().entry(tracked.sid).or_default();
            *reserved = (*reserved).max(next.saturating_add(tracked.block));
        }
        self.writing = true;
        Some(Pending { store: Arc::clone(&self.store), table })
    }

    /// Takes note of what became of a plan, and lets workers use what is durable.
    pub fn done(&mut self, pending: Pending, result: &Result<(), StateError>, now: Instant) {
        self.writing = false;
        if result.is_err() {
            self.not_before = Some(now + RETRY);
            return;
        }
        self.not_before = None;
        self.durable = pending.table;
        for tracked in &mut self.senders {
            let reserved = self.durable.keys.get(&tracked.key).and_then(|sids| sids.get(&tracked.sid));
            if let Some(&limit) = reserved.filter(|&&limit| limit > tracked.limit) {
                tracked.limit = limit;
                if let Some(sender) = tracked.sender() {
                    sender.reserve(limit);
                }
            }
        }
    }

    /// Senders that have come to their end since the last call.
    pub fn exhausted(&mut self) -> Vec<Exhausted> {
        let ended = self.senders.iter_mut().filter(|t| !t.exhausted && t.remaining() == 0);
        ended
            .map(|tracked| {
                tracked.exhausted = true;
                Exhausted { spi: tracked.sa.spi(), worker: tracked.worker, sid: tracked.sid }
            })
            .collect()
    }

    /// The first counter of a sender that is not reserved.
    #[must_use]
    pub fn limit(&self, spi: u32, worker: usize) -> Option<u64> {
        let tracked = self.senders.iter().find(|t| t.sa.spi() == spi && t.worker == worker)?;
        Some(tracked.limit)
    }

    /// Writes down exactly how far each sender came. Only after the workers have ended, and after the
    /// last plan is done.
    ///
    /// # Errors
    /// When it cannot be written; the next start then skips what was reserved.
    pub fn finish(mut self) -> Result<(), StateError> {
        for tracked in &self.senders {
            let Some(next) = tracked.sender().map(Sender::next_counter) else { continue };
            if let Some(sids) = self.durable.keys.get_mut(&tracked.key) {
                sids.insert(tracked.sid, next);
            }
        }
        self.store.write(&self.durable)
    }
}

impl Tracked {
    fn sender(&self) -> Option<&Sender> {
        self.sa.senders().nth(self.worker)
    }

    fn remaining(&self) -> u64 {
        self.sender().map_or(0, Sender::remaining)
    }

    fn is_near_its_limit(&self) -> bool {
        let next = self.sender().map_or(u64::MAX, Sender::next_counter);
        let reserved = self.limit.saturating_sub(next);
        reserved < self.block / 2 && reserved < self.remaining()
    }

    /// Finds the size of the next block from how long half of the last one lasted.
    fn adapt(&mut self, now: Instant) {
        let Some(since) = self.since.replace(now) else { return };
        let lasted = now.saturating_duration_since(since);
        if lasted < SHORT / 2 {
            self.block = (self.block * 4).min(LARGEST);
        } else if lasted > LONG {
            self.block = (self.block / 4).max(SMALLEST);
        }
    }
}
