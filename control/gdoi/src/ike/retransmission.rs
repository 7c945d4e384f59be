//! When a message that nobody answered is sent again: twice as late each time up to a limit, with jitter, so that many
//! members that began at the same moment do not stay in step.

use super::Timing;
use crate::crypto::Random;
use std::time::{Duration, Instant};

/// The last message that waits for an answer.
#[derive(Debug)]
pub(super) struct Retransmission {
    message: Vec<u8>,
    sent: u32,
    wait: Duration,
    due: Instant,
}

/// What is to be done when a message is due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// It is not yet due.
    NotYet,
    /// Send this.
    Again(Vec<u8>),
    /// It was sent this often, and that is enough.
    GiveUp(u32),
}

impl Retransmission {
    /// `message` is being sent for the first time.
    pub(super) fn new(message: Vec<u8>, timing: &Timing, now: Instant, random: &mut dyn Random) -> Self {
        let wait = timing.first_retransmit;
        Self { message, sent: 1, wait, due: now + jittered(wait, random) }
    }

    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// How often it was sent.
    pub(super) fn sent(&self) -> u32 {
        self.sent
    }

    pub(super) fn at(&mut self, now: Instant, timing: &Timing, random: &mut dyn Random) -> Due {
        if now < self.due {
            return Due::NotYet;
        }
        if self.sent >= timing.tries {
            return Due::GiveUp(self.sent);
        }
        self.sent += 1;
        self.wait = self.wait.saturating_mul(2).min(timing.longest_retransmit);
        self.due = now + jittered(self.wait, random);
        Due::Again(self.message.clone())
    }
}

/// From 7/8 to 9/8 of `wait`.
fn jittered(wait: Duration, random: &mut dyn Random) -> Duration {
    let mut octet = [0];
    random.fill(&mut octet);
    wait - wait / 8 + wait / 4 * u32::from(octet[0]) / 255
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SeededRandom;

    #[test]
    fn a_message_is_sent_twice_as_late_each_time_up_to_a_limit_and_then_given_up() {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(3));
        let timing =
            Timing { first_retransmit: first, longest_retransmit: longest, tries: 5, ..Timing::default() };
        let random = &mut SeededRandom::new(3);
        let mut now = Instant::now();
        let mut message = Retransmission::new(vec![1, 2], &timing, now, random);
        for expected in [1, 2, 3, 3] {
            assert_eq!(message.at(now, &timing, random), Due::NotYet);
            let waited = message.due() - now;
            assert!(
                waited >= Duration::from_secs(expected) * 7 / 8
                    && waited <= Duration::from_secs(expected) * 9 / 8
            );
            now = message.due();
            assert_eq!(message.at(now, &timing, random), Due::Again(vec![1, 2]));
        }
        now = message.due();
        assert_eq!(message.at(now, &timing, random), Due::GiveUp(5));
    }

    #[test]
    fn two_that_begin_together_do_not_stay_in_step() {
        let timing = Timing::default();
        let random = &mut SeededRandom::new(4);
        let now = Instant::now();
        let due: std::collections::HashSet<_> =
            (0..20).map(|_| Retransmission::new(Vec::new(), &timing, now, random).due()).collect();
        assert!(due.len() > 10);
    }
}
