//! What a member has asked for by INVALID-SPI, and what became of it. Authority thread; for people, nothing
//! is decided by it.

use super::counters::Count;
use super::event::AskOutcome;
use getvpn_gdoi::group::EspSpi;
use std::time::Duration;

/// A member that asks for the same SPI again within this time goes on with what it began.
const SAME_EPISODE: Duration = Duration::from_secs(60);

/// What one member of one group has asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Asked {
    /// The last that came.
    pub last: Option<LastAsk>,
    /// Since the server's start, in the order of [`AskOutcome::ALL`].
    counts: [u32; AskOutcome::ALL.len()],
}

/// One INVALID-SPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastAsk {
    /// What was asked for.
    pub spi: EspSpi,
    /// When, by the wall clock since 1970.
    pub unix: Duration,
    /// What became of it; not known of one from before the server's start.
    pub outcome: Option<AskOutcome>,
}

impl Asked {
    /// What the store holds of a member.
    #[must_use]
    pub fn restored(last: Option<(EspSpi, Duration)>) -> Self {
        let last = last.map(|(spi, unix)| LastAsk { spi, unix, outcome: None });
        Self { last, ..Self::default() }
    }

    /// Notes one. Whether it says nothing new: the same SPI was asked for a moment ago, with the same outcome.
    pub fn note(&mut self, spi: EspSpi, unix: Duration, outcome: AskOutcome) -> bool {
        let before = self.last.replace(LastAsk { spi, unix, outcome: Some(outcome) });
        let count = &mut self.counts[outcome as usize];
        *count = count.saturating_add(1);
        before.is_some_and(|before| {
            (before.spi, before.outcome) == (spi, Some(outcome))
                && unix.saturating_sub(before.unix) < SAME_EPISODE
        })
    }

    /// How often it had this outcome.
    #[must_use]
    pub fn count(&self, outcome: AskOutcome) -> u32 {
        self.counts[outcome as usize]
    }
}

impl AskOutcome {
    /// All of them, in their order.
    pub const ALL: [AskOutcome; 8] = [
        AskOutcome::Answered,
        AskOutcome::Coalesced,
        AskOutcome::NoSuchSa,
        AskOutcome::Ending,
        AskOutcome::Foreign,
        AskOutcome::MemberLimit,
        AskOutcome::ServerLimit,
        AskOutcome::Unreachable,
    ];

    /// Its name in replies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            AskOutcome::Answered => "answered",
            AskOutcome::Coalesced => "answered-together",
            AskOutcome::NoSuchSa => "unknown",
            AskOutcome::Ending => "ending",
            AskOutcome::Foreign => "not-authorised",
            AskOutcome::MemberLimit => "rate-limited",
            AskOutcome::ServerLimit => "server-limited",
            AskOutcome::Unreachable => "unreachable",
        }
    }

    /// What counts it, of all members together.
    #[must_use]
    pub fn counted_as(self) -> Count {
        match self {
            AskOutcome::Answered => Count::AskedAnswered,
            AskOutcome::Coalesced => Count::AskedCoalesced,
            AskOutcome::NoSuchSa => Count::AskedNoSuchSa,
            AskOutcome::Ending => Count::AskedEnding,
            AskOutcome::Foreign => Count::AskedForeign,
            AskOutcome::MemberLimit => Count::AskedMemberLimit,
            AskOutcome::ServerLimit => Count::AskedServerLimit,
            AskOutcome::Unreachable => Count::AskedUnreachable,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPI: EspSpi = EspSpi(0x1000);

    #[test]
    fn outcomes_stand_in_their_order() {
        assert!(AskOutcome::ALL.iter().enumerate().all(|(place, &outcome)| outcome as usize == place));
    }

    #[test]
    fn the_same_again_within_a_minute_says_nothing_new() {
        let mut asked = Asked::default();
        let at = |s: u64| Duration::from_secs(1_800_000_000 + s);
        assert!(!asked.note(SPI, at(0), AskOutcome::Answered));
        assert!(asked.note(SPI, at(1), AskOutcome::Answered));
        assert!(!asked.note(SPI, at(2), AskOutcome::MemberLimit), "another outcome");
        assert!(!asked.note(EspSpi(0x1001), at(3), AskOutcome::MemberLimit), "another SPI");
        assert!(!asked.note(EspSpi(0x1001), at(63), AskOutcome::MemberLimit), "a minute later");
        assert_eq!((asked.count(AskOutcome::Answered), asked.count(AskOutcome::MemberLimit)), (2, 3));
    }

    #[test]
    fn what_the_store_holds_is_the_last_one_with_an_outcome_that_nobody_knows() {
        let mut asked = Asked::restored(Some((SPI, Duration::from_secs(5))));
        assert_eq!(asked.last.map(|last| (last.spi, last.outcome)), Some((SPI, None)));
        assert!(!asked.note(SPI, Duration::from_secs(6), AskOutcome::Answered));
        assert_eq!(Asked::restored(None), Asked::default());
    }
}
