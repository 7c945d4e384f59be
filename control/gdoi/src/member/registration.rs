//! When a member registers, and with which of its key servers: in their order, the next one when one
//! does not answer, with pauses that grow and are never the same when none does. Registers nobody
//! itself; says what is due.

use super::recovery::jittered;
use crate::crypto::Random;
use std::fmt;
use std::time::{Duration, Instant};

/// A key server that has less time to answer than that is as good as not asked.
const SHORTEST_TRY: Duration = Duration::from_secs(2);

/// Where all members are told to register at the same moment, each waits for a random time below that.
const SPREAD: Duration = Duration::from_secs(1);

/// The policy of registering.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistrationConfig {
    /// The pause after no key server has answered, at first; doubled each time. Default 1 s.
    pub first_pause: Duration,
    /// The longest pause. Default 60 s.
    pub last_pause: Duration,
    /// A member registers again so long before its SAs end, if no rekey came. Of a short life at most a
    /// quarter. Default 60 s: key servers send their rekeys before that, some of them 90 s before the end.
    pub margin: Duration,
    /// How long one registration may take, with phase 1. Default 20 s.
    pub timeout: Duration,
}

impl Default for RegistrationConfig {
    fn default() -> Self {
        Self {
            first_pause: Duration::from_secs(1),
            last_pause: Duration::from_secs(60),
            margin: Duration::from_secs(60),
            timeout: Duration::from_secs(20),
        }
    }
}

/// Why a member registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It never did.
    Start,
    /// Its SAs are about to end and no rekey came.
    Ending,
    /// The key server has deleted the KEK (RFC 6407 section 5.9).
    KekDeleted,
    /// Its KEK has ended, or was never given.
    NoKek,
    /// A PUSH came under a KEK that it does not have.
    UnknownKek,
    /// INVALID-SPI led to nothing.
    Unanswered,
    /// The key server had lost phase 1, and packets come with SPIs that it would not have drawn before.
    BegunAnew,
    /// It needs new sender IDs.
    SenderIds,
    /// The operator wants it.
    Operator,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Start => "the member has no SAs yet",
            Self::Ending => "its SAs are about to end and no rekey came",
            Self::KekDeleted => "the key server deleted the KEK",
            Self::NoKek => "it has no KEK",
            Self::UnknownKek => "a rekey came under a KEK that it does not have",
            Self::Unanswered => "INVALID-SPI was not answered",
            Self::BegunAnew => "the key server seems to have begun anew",
            Self::SenderIds => "it needs sender IDs",
            Self::Operator => "the operator wants it",
        })
    }
}

/// Something that ends and has to be renewed before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Horizon {
    /// When it ends.
    pub end: Instant,
    /// How long it lived when the key server spoke of it last.
    pub life: Duration,
}

/// Which key server is next, and when.
#[derive(Debug)]
pub struct Registrar {
    config: RegistrationConfig,
    key_servers: usize,
    current: usize,
    /// Key servers that failed since one last succeeded.
    failures: usize,
    pause: Duration,
    state: State,
    scheduled: Option<(Horizon, Instant)>,
    /// When what the registration in progress, or the one that waits, is to renew will have ended.
    ends: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    /// To begin then.
    Waiting(Instant, Reason),
    Registering(Instant, Reason),
}

impl Registrar {
    /// One for so many key servers, at least one. A registration is due at once.
    #[must_use]
    pub fn new(config: RegistrationConfig, key_servers: usize, now: Instant) -> Self {
        Self {
            pause: config.first_pause,
            config,
            key_servers: key_servers.max(1),
            current: 0,
            failures: 0,
            state: State::Waiting(now, Reason::Start),
            scheduled: None,
            ends: None,
        }
    }

    /// A registration is wanted. While one is due, in progress, or waits because no key server answered,
    /// that one will do; only the operator does not wait.
    pub fn want(&mut self, reason: Reason, now: Instant) {
        match self.state {
            State::Idle => self.state = State::Waiting(now, reason),
            State::Waiting(at, _) if reason == Reason::Operator && at > now => {
                self.state = State::Waiting(now, reason);
            }
            _ => {}
        }
    }

    /// A registration is wanted of which all members have just been told: not all at the same moment.
    pub fn want_with_others(&mut self, reason: Reason, now: Instant, random: &mut dyn Random) {
        let mut octets = [0; 2];
        random.fill(&mut octets);
        self.want(reason, now + SPREAD * u32::from(u16::from_be_bytes(octets)) / 65_536);
    }

    /// The present key server does not answer: the next one is next.
    pub fn move_on(&mut self) {
        if !matches!(self.state, State::Registering(..)) {
            self.current = (self.current + 1) % self.key_servers;
        }
    }

    /// When there is something to do: to begin, or to give a registration up.
    #[must_use]
    pub fn next(&self) -> Option<Instant> {
        match self.state {
            State::Idle => self.scheduled.map(|(_, at)| at),
            State::Waiting(at, _) => Some(at),
            State::Registering(since, _) => Some(self.deadline(since)),
        }
    }

    /// Begins a registration if one is due; returns the key server and why.
    pub fn begin(&mut self, now: Instant) -> Option<(usize, Reason)> {
        if let (State::Idle, Some((horizon, at))) = (self.state, self.scheduled)
            && at <= now
        {
            self.scheduled = None;
            self.ends = Some(horizon.end);
            self.state = State::Waiting(at, Reason::Ending);
        }
        match self.state {
            State::Waiting(at, reason) if at <= now => {
                self.state = State::Registering(now, reason);
                Some((self.current, reason))
            }
            _ => None,
        }
    }

    /// Whether the registration in progress takes too long.
    #[must_use]
    pub fn is_overdue(&self, now: Instant) -> bool {
        matches!(self.state, State::Registering(since, _) if self.deadline(since) <= now)
    }

    /// Until when the registration in progress may take. Where SAs are about to end and there is another key
    /// server, only so long that there is as much time left for the other one.
    fn deadline(&self, since: Instant) -> Instant {
        let left = self.ends.filter(|_| self.key_servers > 1).map(|end| end.saturating_duration_since(since));
        let share = left.filter(|left| !left.is_zero()).map(|left| (left / 2).max(SHORTEST_TRY));
        since + share.map_or(self.config.timeout, |share| share.min(self.config.timeout))
    }

    /// Since when a registration is in progress, and why.
    #[must_use]
    pub fn registering(&self) -> Option<(Instant, Reason)> {
        match self.state {
            State::Registering(since, reason) => Some((since, reason)),
            _ => None,
        }
    }

    /// Until when the member pauses because no key server has answered.
    #[must_use]
    pub fn backs_off_until(&self) -> Option<Instant> {
        match self.state {
            State::Waiting(at, _) if self.failures > 0 => Some(at),
            _ => None,
        }
    }

    /// Whether all key servers have failed since one last succeeded.
    #[must_use]
    pub fn all_have_failed(&self) -> bool {
        self.failures >= self.key_servers
    }

    /// The key server that is registered with, or is next.
    #[must_use]
    pub fn current(&self) -> usize {
        self.current
    }

    /// The registration in progress is complete.
    pub fn succeeded(&mut self) {
        self.state = State::Idle;
        self.failures = 0;
        self.pause = self.config.first_pause;
        self.scheduled = None;
        self.ends = None;
    }

    /// The registration in progress has failed: the next key server follows at once, and after a round
    /// of all of them a pause.
    pub fn failed(&mut self, now: Instant, random: &mut dyn Random) {
        let State::Registering(_, reason) = self.state else { return };
        self.current = (self.current + 1) % self.key_servers;
        self.failures += 1;
        let mut at = now;
        if self.failures.is_multiple_of(self.key_servers) {
            at += jittered(self.pause, random);
            self.pause = (self.pause * 2).min(self.config.last_pause);
        }
        self.state = State::Waiting(at, reason);
    }

    /// Tells what ends next, whenever that may have changed: the member registers some time before,
    /// unless it changes again until then.
    pub fn schedule(&mut self, horizon: Option<Horizon>, now: Instant, random: &mut dyn Random) {
        let Some(horizon) = horizon else {
            self.scheduled = None;
            return;
        };
        if self.scheduled.is_some_and(|(known, _)| known == horizon) {
            return;
        }
        let margin = self.config.margin.min(horizon.life / 4);
        let left = horizon.end.saturating_duration_since(now);
        // Not all members at the same moment, and never at once: a registration that brought nothing
        // new is not followed by another one without a pause.
        let before = margin - jittered(margin / 4, random);
        let wait = left.saturating_sub(before).max(left / 2).max(self.config.first_pause);
        self.scheduled = Some((horizon, now + wait));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SeededRandom;
    use crate::member::testing::secs;

    fn registrar(key_servers: usize) -> (Registrar, Instant, SeededRandom) {
        let now = Instant::now();
        (Registrar::new(RegistrationConfig::default(), key_servers, now), now, SeededRandom::new(7))
    }

    #[test]
    fn key_servers_are_tried_in_order_and_then_there_is_a_growing_pause() {
        let (mut registrar, mut now, mut random) = registrar(3);
        let (mut order, mut pauses) = (Vec::new(), Vec::new());
        for _ in 0..30 {
            let at = registrar.next().unwrap();
            if at > now {
                pauses.push(at - now);
                assert_eq!(registrar.backs_off_until(), Some(at));
                assert_eq!(registrar.begin(now), None);
                now = at;
            }
            let (key_server, reason) = registrar.begin(now).unwrap();
            assert_eq!(reason, Reason::Start);
            order.push(key_server);
            registrar.failed(now, &mut random);
        }
        assert_eq!(order[..7], [0, 1, 2, 0, 1, 2, 0]);
        assert_eq!(pauses.len(), 9);
        for (i, pause) in pauses.iter().enumerate() {
            let whole = secs(60.min(1 << i));
            assert!(*pause >= whole * 3 / 4 && *pause <= whole * 5 / 4, "{i}: {pause:?}");
        }
        assert_ne!(pauses[7], pauses[8]);
    }

    #[test]
    fn one_that_answers_is_kept_and_the_pauses_begin_anew() {
        let (mut registrar, now, mut random) = registrar(2);
        registrar.begin(now).unwrap();
        registrar.failed(now, &mut random);
        assert_eq!(registrar.begin(now).unwrap().0, 1);
        registrar.succeeded();
        assert_eq!((registrar.current(), registrar.next()), (1, None));
        registrar.want(Reason::KekDeleted, now);
        assert_eq!(registrar.begin(now), Some((1, Reason::KekDeleted)));
        registrar.failed(now, &mut random);
        assert_eq!(registrar.begin(now).unwrap().0, 0);
    }

    #[test]
    fn nothing_but_the_operator_cuts_a_pause_short() {
        let (mut registrar, now, mut random) = registrar(1);
        registrar.begin(now).unwrap();
        registrar.failed(now, &mut random);
        registrar.want(Reason::UnknownKek, now);
        assert_eq!(registrar.begin(now), None);
        registrar.want(Reason::Operator, now);
        assert_eq!(registrar.begin(now), Some((0, Reason::Operator)));
    }

    #[test]
    fn it_registers_again_before_the_end_if_no_rekey_comes() {
        let (mut registrar, now, mut random) = registrar(1);
        registrar.begin(now).unwrap();
        registrar.succeeded();
        let life = secs(3600);
        registrar.schedule(Some(Horizon { end: now + life, life }), now, &mut random);
        let first = registrar.next().unwrap();
        // Up to a third of the minute later.
        assert!((secs(3540)..secs(3560)).contains(&(first - now)), "{:?}", first - now);
        // Told the same again, it does not draw anew.
        registrar.schedule(Some(Horizon { end: now + life, life }), now + secs(5), &mut random);
        assert_eq!(registrar.next(), Some(first));
        // A rekey comes.
        let later = now + secs(3000);
        registrar.schedule(Some(Horizon { end: later + life, life }), later, &mut random);
        assert_eq!(registrar.begin(first), None);
        let second = registrar.next().unwrap();
        assert_eq!(registrar.begin(second), Some((0, Reason::Ending)));
    }

    #[test]
    fn short_lives_have_short_margins_and_no_registration_follows_another_at_once() {
        let (mut registrar, now, mut random) = registrar(1);
        registrar.begin(now).unwrap();
        registrar.succeeded();
        registrar.schedule(Some(Horizon { end: now + secs(20), life: secs(20) }), now, &mut random);
        assert!((secs(15)..secs(17)).contains(&(registrar.next().unwrap() - now)));
        registrar.succeeded();
        registrar.schedule(Some(Horizon { end: now, life: secs(20) }), now, &mut random);
        assert_eq!(registrar.next(), Some(now + secs(1)));
    }

    #[test]
    fn before_sas_end_a_key_server_gets_half_of_the_time_so_that_the_next_one_has_as_much() {
        let life = secs(24);
        for (key_servers, patience) in [(1, secs(20)), (2, secs(2))] {
            let (mut registrar, now, mut random) = registrar(key_servers);
            registrar.begin(now).unwrap();
            registrar.succeeded();
            registrar.schedule(Some(Horizon { end: now + life, life }), now, &mut random);
            let began = registrar.next().unwrap();
            let left = now + life - began;
            assert_eq!(registrar.begin(began), Some((0, Reason::Ending)));
            let deadline = registrar.next().unwrap();
            assert_eq!(deadline - began, patience.max(if key_servers > 1 { left / 2 } else { patience }));
            assert!(registrar.is_overdue(deadline) && !registrar.is_overdue(deadline - secs(1)));
        }
    }

    #[test]
    fn a_registration_that_takes_too_long_is_overdue() {
        let (mut registrar, now, _) = registrar(1);
        registrar.begin(now).unwrap();
        assert!(!registrar.is_overdue(now + secs(19)));
        assert!(registrar.is_overdue(now + secs(20)));
        assert_eq!(registrar.registering(), Some((now, Reason::Start)));
    }
}
