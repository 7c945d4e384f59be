//! Dead peer detection (RFC 3706), both roles. A peer is asked only when it has been silent: whatever
//! authenticated message comes from it proves that it lives.

use super::Notice;
use crate::crypto::Random;
use std::time::{Duration, Instant};
use thiserror::Error;

/// How patient dead peer detection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DpdTiming {
    /// A peer that was silent for so long is asked.
    pub idle: Duration,
    /// A question that got no answer for so long is asked again.
    pub retry: Duration,
    /// A peer that did not answer so many questions is dead.
    pub tries: u32,
}

impl Default for DpdTiming {
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), retry: Duration::from_secs(3), tries: 4 }
    }
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DpdAction {
    /// Nothing.
    Nothing,
    /// Send this over the phase 1.
    Ask(Notice),
    /// The peer is dead: it answered none of the questions.
    Dead,
}

/// Why a DPD message changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum DpdError {
    /// An old question, or one that was answered.
    #[error("R-U-THERE with sequence number {0}, which is not the next one")]
    Question(u32),
    /// An answer to another question.
    #[error("R-U-THERE-ACK with sequence number {0}, which nobody asked")]
    Answer(u32),
}

/// The state of one phase 1's dead peer detection.
#[derive(Debug)]
pub struct DeadPeerDetection {
    timing: DpdTiming,
    /// The number of the last question that we asked, or one below the first.
    asked: u32,
    /// How many questions are open.
    unanswered: u32,
    due: Instant,
    /// The number of the last question that the peer asked.
    answered: Option<u32>,
}

impl DeadPeerDetection {
    /// For a phase 1 that was just established. Questions are numbered from a random number below 2^31
    /// (RFC 3706 section 6.2).
    pub fn new(timing: DpdTiming, now: Instant, random: &mut dyn Random) -> Self {
        let mut octets = [0; 4];
        random.fill(&mut octets);
        Self {
            timing,
            asked: u32::from_be_bytes(octets) >> 1,
            unanswered: 0,
            due: now + timing.idle,
            answered: None,
        }
    }

    /// An authenticated message came from the peer.
    pub fn heard(&mut self, now: Instant) {
        self.unanswered = 0;
        self.due = now + self.timing.idle;
    }

    /// The peer asks. Its numbers go up by one (RFC 3706 section 5.5); a lost question leaves a gap, which is
    /// accepted, while a number that is not greater is an old message.
    ///
    /// # Errors
    /// An old number. It proves nothing and is not answered.
    pub fn question(&mut self, sequence: u32, now: Instant) -> Result<Notice, DpdError> {
        // The distance in serial arithmetic, since numbers wrap.
        let newer = |last: u32| (1..=u32::MAX / 2).contains(&sequence.wrapping_sub(last));
        if !self.answered.is_none_or(newer) {
            return Err(DpdError::Question(sequence));
        }
        self.answered = Some(sequence);
        self.heard(now);
        Ok(Notice::RUThereAck(sequence))
    }

    /// The peer answers.
    ///
    /// # Errors
    /// Not the number of an open question.
    pub fn answer(&mut self, sequence: u32, now: Instant) -> Result<(), DpdError> {
        if self.asked.wrapping_sub(sequence) >= self.unanswered {
            return Err(DpdError::Answer(sequence));
        }
        self.heard(now);
        Ok(())
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Instant {
        self.due
    }

    /// The next question, or the verdict, if it is time for one.
    pub fn handle_timeout(&mut self, now: Instant) -> DpdAction {
        if now < self.due {
            return DpdAction::Nothing;
        }
        if self.unanswered >= self.timing.tries {
            return DpdAction::Dead;
        }
        DpdAction::Ask(self.ask(now))
    }

    /// A question out of turn: something makes it doubtful that the peer still has this phase 1.
    pub fn ask(&mut self, now: Instant) -> Notice {
        self.asked = self.asked.wrapping_add(1);
        self.unanswered = self.unanswered.saturating_add(1);
        self.due = now + self.timing.retry;
        Notice::RUThere(self.asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::SeededRandom;

    const TIMING: DpdTiming =
        DpdTiming { idle: Duration::from_secs(10), retry: Duration::from_secs(2), tries: 3 };

    fn new(now: Instant) -> DeadPeerDetection {
        DeadPeerDetection::new(TIMING, now, &mut SeededRandom::new(1))
    }

    fn ask(dpd: &mut DeadPeerDetection, now: Instant) -> u32 {
        match dpd.handle_timeout(now) {
            DpdAction::Ask(Notice::RUThere(sequence)) => sequence,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_peer_that_talks_is_never_asked() {
        let mut now = Instant::now();
        let mut dpd = new(now);
        for _ in 0..10 {
            now += Duration::from_secs(9);
            assert_eq!(dpd.handle_timeout(now), DpdAction::Nothing);
            dpd.heard(now);
        }
        assert_eq!(dpd.poll_timeout(), now + TIMING.idle);
    }

    #[test]
    fn a_silent_peer_is_asked_with_rising_numbers_and_then_dead() {
        let start = Instant::now();
        let mut dpd = new(start);
        let first = ask(&mut dpd, start + TIMING.idle);
        assert_eq!(dpd.handle_timeout(start + TIMING.idle), DpdAction::Nothing);
        assert_eq!(ask(&mut dpd, start + TIMING.idle + TIMING.retry), first + 1);
        assert_eq!(ask(&mut dpd, start + TIMING.idle + 2 * TIMING.retry), first + 2);
        assert_eq!(dpd.handle_timeout(start + TIMING.idle + 3 * TIMING.retry), DpdAction::Dead);
    }

    #[test]
    fn an_answer_to_any_open_question_proves_life_and_no_other_number_does() {
        let start = Instant::now();
        let mut dpd = new(start);
        let first = ask(&mut dpd, start + TIMING.idle);
        let second = ask(&mut dpd, start + TIMING.idle + TIMING.retry);
        let now = start + TIMING.idle + TIMING.retry;
        assert_eq!(dpd.answer(second + 1, now), Err(DpdError::Answer(second + 1)));
        assert_eq!(dpd.answer(first - 1, now), Err(DpdError::Answer(first - 1)));
        assert_eq!(dpd.answer(first, now), Ok(()));
        assert_eq!(dpd.answer(first, now), Err(DpdError::Answer(first)), "a replayed answer proves nothing");
        assert_eq!(dpd.poll_timeout(), now + TIMING.idle);
    }

    #[test]
    fn a_question_out_of_turn_counts_like_any_other() {
        let start = Instant::now();
        let mut dpd = new(start);
        assert!(matches!(dpd.ask(start), Notice::RUThere(_)));
        assert_eq!(dpd.poll_timeout(), start + TIMING.retry);
        ask(&mut dpd, start + TIMING.retry);
        ask(&mut dpd, start + 2 * TIMING.retry);
        assert_eq!(dpd.handle_timeout(start + 3 * TIMING.retry), DpdAction::Dead);
    }

    #[test]
    fn a_question_is_answered_once_and_only_if_it_is_newer() {
        let now = Instant::now();
        let mut dpd = new(now);
        assert_eq!(dpd.question(u32::MAX, now), Ok(Notice::RUThereAck(u32::MAX)));
        assert_eq!(dpd.question(u32::MAX, now), Err(DpdError::Question(u32::MAX)));
        assert_eq!(
            dpd.question(1, now),
            Ok(Notice::RUThereAck(1)),
            "numbers wrap, and a gap is a lost question"
        );
        assert_eq!(dpd.question(0, now), Err(DpdError::Question(0)));
    }
}
