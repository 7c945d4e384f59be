//! When an SPI is asked for, how often, and what comes after: the ladder of rules S3, S5 and S8. Asks
//! nobody itself; says what is due. What a forger can bring about is bounded by token buckets and tables
//! of fixed size.

mod config;
mod contenders;
mod episode;
mod remembered;

pub use config::RecoveryConfig;
pub use episode::{Asking, Cause, Due, End, Ended, Plausibility, RecoveryStatistics};

use super::budget::{SharedBudget, TokenBucket};
use crate::crypto::Random;
use crate::group::EspSpi;
use contenders::Contenders;
use episode::{Class, Episode};
use remembered::{Remembered, Why};
use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

/// The SPIs of one group that are missing.
#[derive(Debug)]
pub struct Recovery {
    config: RecoveryConfig,
    shared: SharedBudget,
    told: TokenBucket,
    seen: TokenBucket,
    implausible: TokenBucket,
    per_spi: BTreeMap<EspSpi, TokenBucket>,
    episodes: BTreeMap<EspSpi, Episode>,
    contenders: [Contenders; 2],
    remembered: Remembered,
    /// Before that no registration comes out of the ladder.
    register_from: Instant,
    /// How long the next pause between such registrations is.
    pause: Duration,
    ended: VecDeque<Ended>,
    statistics: RecoveryStatistics,
}

/// An SPI waits for a registration for so long after its last packet.
const ABANDON: Duration = Duration::from_secs(300);

/// Events that nobody fetches are forgotten beyond that.
const EVENTS: usize = 1024;

impl Recovery {
    /// Nothing is missing.
    #[must_use]
    pub fn new(config: RecoveryConfig, shared: SharedBudget, now: Instant) -> Self {
        Self {
            shared,
            told: TokenBucket::new(config.told, now),
            seen: TokenBucket::new(config.seen, now),
            implausible: TokenBucket::new(config.implausible, now),
            per_spi: BTreeMap::new(),
            episodes: BTreeMap::new(),
            contenders: Default::default(),
            remembered: Remembered::new(config.remembered),
            register_from: now,
            pause: config.first_pause,
            ended: VecDeque::new(),
            statistics: RecoveryStatistics::default(),
            config,
        }
    }

    /// Rule S8: packets came with an SPI that has no SA. Costs little, however often it is called:
    /// what is to be done about them [`Recovery::poll`] says.
    pub fn packets(&mut self, spi: EspSpi, plausibility: Plausibility, now: Instant) {
        self.many_packets(spi, plausibility, 1, now);
    }

    /// The same for as many packets at once.
    pub fn many_packets(&mut self, spi: EspSpi, plausibility: Plausibility, packets: u32, now: Instant) {
        if let Some(episode) = self.episodes.get_mut(&spi) {
            episode.last_seen = now;
            self.statistics.already_asked += 1;
        } else if self.remembered.contains(spi, now) {
            self.statistics.remembered += 1;
        } else {
            let class = Cause::Packets(plausibility).class();
            self.contenders[usize::from(class == Class::Implausible)].see(spi, packets, now);
            if !self.bucket(class).has(now) {
                self.statistics.no_budget += 1;
            }
        }
    }

    /// Rule S3, and room that appeared: the key server itself has named the SPI.
    pub fn told(&mut self, spi: EspSpi, cause: Cause, now: Instant) {
        self.remembered.forget(spi);
        self.forget_contender(spi);
        if self.episodes.len() < 2 * self.config.episodes {
            self.episodes.entry(spi).or_insert_with(|| Episode::new(cause, now, now));
        } else {
            self.statistics.no_budget += 1;
        }
    }

    /// What is to be done now. Call it until it says `None`; each INVALID-SPI that it asks for counts as
    /// sent.
    pub fn poll(&mut self, now: Instant, random: &mut dyn Random) -> Option<Due> {
        loop {
            self.admit(Plausibility::Unverifiable, now);
            self.admit(Plausibility::Implausible, now);
            let before = self.episodes.len();
            let due = self.poll_episodes(now, random);
            // Where some have ended others find a place.
            if due.is_some() || self.episodes.len() >= before {
                return due;
            }
        }
    }

    fn poll_episodes(&mut self, now: Instant, random: &mut dyn Random) -> Option<Due> {
        // Whoever was not asked for yet comes first, then whoever waits longest.
        let due = self.episodes.iter().filter(|(_, e)| e.next <= now);
        let mut due: Vec<_> = due.map(|(&spi, e)| (e.rung > 0, e.next, spi)).collect();
        due.sort_unstable();
        for (_, _, spi) in due {
            let Some(episode) = self.episodes.get(&spi) else { continue };
            if episode.awaits_registration {
                self.end(spi, End::Abandoned, now);
            } else if episode.rung >= self.config.tries {
                if let Some(due) = self.after_the_last_try(spi, now, random) {
                    return Some(due);
                }
            } else {
                let (first, paid) = (episode.rung == 0, self.pay(spi, now));
                if first && !paid {
                    continue;
                }
                // A repetition that there is no budget for is left out: whoever was not asked for at all
                // must not wait behind repetitions.
                let Some(episode) = self.episodes.get_mut(&spi) else { continue };
                episode.next = now + self.config.interval(episode.rung);
                episode.rung += 1;
                if paid {
                    episode.tries += 1;
                    self.statistics.asked += 1;
                    return Some(Due::Ask(spi, episode.tries));
                }
                self.statistics.no_budget += 1;
            }
        }
        None
    }

    /// When [`Recovery::poll`] has something to say, at the earliest.
    #[must_use]
    pub fn next(&self, now: Instant) -> Option<Instant> {
        let episodes = self.episodes.iter().map(|(spi, episode)| {
            if episode.rung > 0 {
                return episode.next;
            }
            let own = self.per_spi.get(spi).map_or(now, |bucket| bucket.next(now));
            let class = self.bucket(episode.cause.class()).next(now);
            episode.next.max(own).max(class).max(self.shared.next(now))
        });
        let waiting = [(Class::Seen, &self.contenders[0]), (Class::Implausible, &self.contenders[1])];
        let waiting = waiting.into_iter().filter(|(class, _)| self.has_place(*class));
        let waiting = waiting.filter_map(|(class, contenders)| {
            let own = |spi| self.per_spi.get(&spi).map_or(now, |bucket| bucket.next(now));
            let own = contenders.spis().map(own).min()?;
            Some(self.bucket(class).next(now).max(self.shared.next(now)).max(own))
        });
        episodes.chain(waiting).min()
    }

    /// SAs came: whatever was asked for among them is recovered. Why it was asked for, if it was.
    pub fn installed(&mut self, spi: EspSpi, now: Instant) -> Option<Cause> {
        let cause = self.episodes.get(&spi).map(|episode| episode.cause);
        self.remembered.forget(spi);
        self.forget_contender(spi);
        if self.episodes.get(&spi).is_some_and(|episode| episode.awaits_registration) {
            self.pause = self.config.first_pause;
        }
        self.end(spi, End::Recovered, now);
        cause
    }

    /// An SA came that this member cannot use: asking again is of no use for so long.
    pub fn refused(&mut self, spi: EspSpi, until: Instant, now: Instant) {
        self.end(spi, End::Refused, now);
        self.forget_contender(spi);
        self.remembered.insert(spi, Why::Refused, until);
    }

    /// The key server said that it has deleted the SA, or has none.
    pub fn gone(&mut self, spi: EspSpi, now: Instant) {
        self.end(spi, End::Unknown, now);
        self.forget_contender(spi);
        self.remembered.insert(spi, Why::Unknown, now + self.config.unknown_for);
    }

    /// A registration is complete that began at `began`. What was missing then, and has not come with
    /// it, the key server does not know. Call it after [`Recovery::installed`].
    pub fn registered(&mut self, began: Instant, now: Instant) {
        let missing = self.episodes.iter().filter(|(_, e)| e.since <= began || e.awaits_registration);
        for spi in missing.map(|(&spi, _)| spi).collect::<Vec<_>>() {
            self.give_up(spi, Why::Unknown, now + self.config.unknown_for, now);
        }
    }

    /// Phase 1 was lost and is back: what was asked for in vain meanwhile is asked for again at once. Not
    /// for ever: where phase 1 is made anew time and again, the ladder goes on nevertheless.
    pub fn ask_again(&mut self, now: Instant) {
        let tries = self.config.tries;
        let again =
            |e: &&mut Episode| !e.awaits_registration && (1..tries.saturating_mul(2)).contains(&e.tries);
        for episode in self.episodes.values_mut().filter(again) {
            episode.rung = episode.rung.min(tries.saturating_sub(1));
            episode.next = now;
        }
    }

    /// Whether an SPI is being asked for.
    #[must_use]
    pub fn is_asking(&self) -> bool {
        !self.episodes.is_empty()
    }

    /// Whether one is that the key server would not have drawn, as far as is known.
    #[must_use]
    pub fn is_asking_for_implausible(&self) -> bool {
        self.episodes.values().any(|episode| episode.cause.class() == Class::Implausible)
    }

    /// The SPIs that are being asked for.
    pub fn asking(&self) -> impl Iterator<Item = Asking> {
        self.episodes.iter().map(|(&spi, e)| Asking {
            spi,
            cause: e.cause,
            since: e.since,
            tries: e.tries,
            awaits_registration: e.awaits_registration,
        })
    }

    /// When the ladder may lead to a registration again, if that is not now.
    #[must_use]
    pub fn backs_off_until(&self, now: Instant) -> Option<Instant> {
        Some(self.register_from).filter(|&from| from > now)
    }

    /// Whether this SPI is being asked for.
    #[must_use]
    pub fn is_asking_for(&self, spi: EspSpi) -> bool {
        self.episodes.contains_key(&spi)
    }

    /// SPIs that are remembered as unknown to the key server.
    pub fn unknown(&self, now: Instant) -> impl Iterator<Item = EspSpi> {
        self.remembered.unknown(now)
    }

    /// SPIs that are remembered as of no use.
    #[must_use]
    pub fn remembered(&self) -> usize {
        self.remembered.len()
    }

    /// What happened so far.
    #[must_use]
    pub fn statistics(&self) -> &RecoveryStatistics {
        &self.statistics
    }

    /// The next SPI whose asking has ended.
    pub fn poll_ended(&mut self) -> Option<Ended> {
        self.ended.pop_front()
    }

    /// Starts asking for the most frequent contender, if there is a budget.
    fn admit(&mut self, plausibility: Plausibility, now: Instant) {
        let cause = Cause::Packets(plausibility);
        let class = cause.class();
        let table = usize::from(class == Class::Implausible);
        if !self.contenders[table].is_empty() && self.bucket(class).has(now) && self.has_place(class) {
            let per_spi = &self.per_spi;
            let may = |spi| per_spi.get(&spi).is_none_or(|bucket: &TokenBucket| bucket.has(now));
            let Some((spi, contender)) = self.contenders[table].take(now, may) else { return };
            self.episodes.insert(spi, Episode::new(cause, contender.first_seen, now));
        }
    }

    /// Pays for one INVALID-SPI, if all buckets have a token.
    fn pay(&mut self, spi: EspSpi, now: Instant) -> bool {
        let Some(class) = self.episodes.get(&spi).map(|episode| episode.cause.class()) else { return false };
        let own = self.per_spi.get(&spi).is_none_or(|bucket| bucket.has(now));
        if !own || !self.bucket(class).has(now) || !self.shared.take(now) {
            return false;
        }
        match class {
            Class::Told => self.told.take(now),
            Class::Seen => self.seen.take(now),
            Class::Implausible => self.implausible.take(now),
        };
        if self.per_spi.len() >= self.config.remembered {
            self.per_spi.retain(|_, bucket| !bucket.is_full(now));
        }
        let rate = self.config.per_spi;
        self.per_spi.entry(spi).or_insert_with(|| TokenBucket::new(rate, now)).take(now);
        true
    }

    fn after_the_last_try(&mut self, spi: EspSpi, now: Instant, random: &mut dyn Random) -> Option<Due> {
        let episode = self.episodes.get(&spi)?;
        let worth = episode.cause.is_worth_a_registration() && episode.is_fully_asked();
        let awaiting = self.episodes.values().filter(|e| e.awaits_registration).count();
        if worth && awaiting == 0 && now < self.register_from {
            // Nobody has said that the key server does not know it: its turn comes with the next registration.
            let until = self.register_from.min(now + self.config.unknown_for);
            self.give_up(spi, Why::Unanswered, until, now);
            return None;
        }
        if !worth || awaiting >= self.config.episodes / 4 {
            self.give_up(spi, Why::Unknown, now + self.config.unknown_for, now);
            return None;
        }
        let episode = self.episodes.get_mut(&spi)?;
        episode.awaits_registration = true;
        episode.next = episode.last_seen.max(now) + ABANDON;
        if awaiting > 0 {
            return None;
        }
        if now >= self.register_from + self.config.last_pause {
            self.pause = self.config.first_pause;
        }
        self.register_from = now + jittered(self.pause, random);
        self.pause = (self.pause * 2).min(self.config.last_pause);
        self.statistics.registrations += 1;
        Some(Due::Register)
    }

    /// The SPI is left alone until then, if the key server was asked as often as it may be.
    fn give_up(&mut self, spi: EspSpi, why: Why, until: Instant, now: Instant) {
        let fully_asked =
            self.episodes.get(&spi).is_some_and(|e| e.is_fully_asked() || e.awaits_registration);
        self.end(spi, End::Unknown, now);
        if fully_asked {
            self.remembered.insert(spi, why, until);
        }
    }

    fn end(&mut self, spi: EspSpi, end: End, now: Instant) {
        let Some(episode) = self.episodes.remove(&spi) else { return };
        let after = now.saturating_duration_since(episode.since);
        let statistics = &mut self.statistics;
        match end {
            End::Recovered => {
                statistics.recovered += 1;
                statistics.times.record(after);
            }
            End::Unknown => statistics.unknown += 1,
            End::Refused => statistics.refused += 1,
            End::Abandoned => statistics.abandoned += 1,
        }
        if self.ended.len() < EVENTS {
            let Episode { cause, since, tries, .. } = episode;
            self.ended.push_back(Ended { spi, cause, end, since, after, tries });
        }
    }

    fn bucket(&self, class: Class) -> &TokenBucket {
        match class {
            Class::Told => &self.told,
            Class::Seen => &self.seen,
            Class::Implausible => &self.implausible,
        }
    }

    /// Whether another SPI may be asked for: those of a class come one by one, so that the choice is
    /// made as late as possible.
    fn has_place(&self, class: Class) -> bool {
        let episodes = || self.episodes.values().filter(|episode| episode.cause.class() == class);
        episodes().count() < self.config.episodes_of(class) && episodes().all(|episode| episode.rung > 0)
    }

    fn forget_contender(&mut self, spi: EspSpi) {
        self.contenders.iter_mut().for_each(|contenders| contenders.forget(spi));
    }
}

/// Between three and five quarters of `pause`.
pub(super) fn jittered(pause: Duration, random: &mut dyn Random) -> Duration {
    let mut octets = [0; 2];
    random.fill(&mut octets);
    pause * 3 / 4 + pause / 2 * u32::from(u16::from_be_bytes(octets)) / 65_536
}

#[cfg(test)]
mod tests;
