//! When the lives of SAs end by what their key server said, also of those that have left the SAD. A PUSH states
//! what was left of a life when it was made, and may have been held back since with a number that is still
//! good: it must not let an SA live on beyond its end, nor bring back one that is over.

use crate::group::EspSpi;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

#[derive(Debug, Default)]
pub(super) struct Ends {
    /// The key servers that never put off an SA's end by a PUSH.
    firm: BTreeSet<usize>,
    /// With the key server that said so.
    ends: BTreeMap<EspSpi, (usize, Instant)>,
}

impl Ends {
    pub(super) fn set_firm(&mut self, key_server: usize, firm: bool) {
        match firm {
            true => self.firm.insert(key_server),
            false => self.firm.remove(&key_server),
        };
    }

    pub(super) fn are_firm(&self, key_server: usize) -> bool {
        self.firm.contains(&key_server)
    }

    /// When an SA ends of which a PUSH says so: not after what was known before, if the key server's ends are firm.
    pub(super) fn by_push(&self, spi: EspSpi, key_server: usize, stated: Instant) -> Instant {
        match self.ends.get(&spi) {
            Some(&(from, end)) if from == key_server && self.are_firm(key_server) => end.min(stated),
            _ => stated,
        }
    }

    /// An SA ends then.
    pub(super) fn remember(&mut self, spi: EspSpi, key_server: usize, end: Instant) {
        self.ends.insert(spi, (key_server, end));
    }

    /// Of more than `limit`, forgets those that ended first: their PUSHes are the least likely to come still.
    pub(super) fn tidy(&mut self, limit: usize) {
        if self.ends.len() <= limit {
            return;
        }
        let mut by_end: Vec<(Instant, EspSpi)> =
            self.ends.iter().map(|(&spi, &(_, end))| (end, spi)).collect();
        by_end.sort_unstable();
        for (_, spi) in &by_end[..by_end.len() - limit] {
            self.ends.remove(spi);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn what_is_remembered_is_bounded_and_the_latest_ends_stay() {
        let (mut ends, now) = (Ends::default(), Instant::now());
        ends.set_firm(0, true);
        let end = |i: u32| now + Duration::from_secs(u64::from(i % 7 * 100 + i));
        for i in 0..100 {
            ends.remember(EspSpi(1000 + i), 0, end(i));
            ends.tidy(10);
        }
        assert_eq!(ends.ends.len(), 10);
        let stated = now + Duration::from_secs(10_000);
        assert_eq!(ends.by_push(EspSpi(1097), 0, stated), end(97));
        assert_eq!(ends.by_push(EspSpi(1000), 0, stated), stated);
    }
}
