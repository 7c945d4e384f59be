//! From when on `counters` counts: since the daemon's start, or since an operator's reset. A daemon's own counters,
//! which its metrics show, are never touched.

use crate::reply::{Counters, CountersReset, Drops};
use std::time::Instant;

/// Where counting starts.
#[derive(Clone, Debug)]
pub struct Baseline {
    since: Instant,
    counters: Option<Counters>,
}

impl Baseline {
    /// At the daemon's start.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self { since: now, counters: None }
    }

    /// Here and now: `counters` are those since the daemon's start, of each worker too.
    pub fn reset(&mut self, counters: Counters, now: Instant) -> CountersReset {
        let counted_s = now.saturating_duration_since(self.since).as_secs();
        *self = Self { since: now, counters: Some(counters) };
        CountersReset { counted_s }
    }

    /// What has been counted of `counters`, which are those since the daemon's start.
    #[must_use]
    pub fn of(&self, counters: Counters, now: Instant) -> Counters {
        let Some(before) = &self.counters else { return counters };
        let reset_s = now.saturating_duration_since(self.since).as_secs();
        Counters { reset_s: Some(reset_s), ..counters.since(before) }
    }

    /// The same of `drops`; with `all`, also of the reasons that have not happened since.
    #[must_use]
    pub fn of_drops(&self, mut drops: Drops, all: bool) -> Drops {
        let Some(before) = &self.counters else { return drops };
        for each in &mut drops.drops {
            let before = before.total.drops.get(&each.reason).or_else(|| before.key_server.get(&each.reason));
            each.count = each.count.saturating_sub(before.copied().unwrap_or_default());
            each.more = each.more.min(each.count);
        }
        drops.drops.retain(|each| all || each.count > 0);
        drops.drops.sort_by_key(|each| std::cmp::Reverse(each.count));
        drops
    }
}
