//! What is told of an SPI that is asked for: why, how far it is, how it ended.

use crate::group::EspSpi;
use crate::member::histogram::Histogram;
use std::time::{Duration, Instant};

/// Whether an SPI looks as if the key server had drawn it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plausibility {
    /// It does.
    Plausible,
    /// It does not. Such SPIs are asked for at a trickle, so that nothing depends on the test.
    Implausible,
    /// Nobody can tell: the key server draws its SPIs like any other.
    Unverifiable,
}

/// Why an SPI is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// Its keys came without a policy (S3).
    KeysWithoutPolicy,
    /// Its policy came without keys.
    PolicyWithoutKeys,
    /// It had found no room, and now there may be some.
    RoomAppeared,
    /// Packets came with it (S8).
    Packets(Plausibility),
}

impl Cause {
    pub(super) fn class(self) -> Class {
        match self {
            Self::KeysWithoutPolicy | Self::PolicyWithoutKeys | Self::RoomAppeared => Class::Told,
            Self::Packets(Plausibility::Implausible) => Class::Implausible,
            Self::Packets(_) => Class::Seen,
        }
    }

    /// Whether to register when asking has led to nothing. A forger must not be able to bring that about
    /// by any random SPI, and a policy whose keys never came may simply be gone.
    pub(super) fn is_worth_a_registration(self) -> bool {
        matches!(
            self,
            Self::KeysWithoutPolicy | Self::Packets(Plausibility::Plausible | Plausibility::Unverifiable)
        )
    }
}

/// What shares a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// The key server named the SPI.
    Told,
    Seen,
    Implausible,
}

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Send INVALID-SPI for this SPI; it is the given try, from 1.
    Ask(EspSpi, u32),
    /// Register, with the next key server: asking has led to nothing.
    Register,
}

/// How asking for an SPI ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The SA is here.
    Recovered,
    /// No answer came, or a registration did not bring it: the SPI is left alone for a while.
    Unknown,
    /// The SA came, and this member cannot use it.
    Refused,
    /// No packet came with it any more while the key servers could not be reached.
    Abandoned,
}

/// An SPI that was asked for, at the end: one line for the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// The SPI.
    pub spi: EspSpi,
    /// Why it was asked for.
    pub cause: Cause,
    /// How it ended.
    pub end: End,
    /// Since when it was missing.
    pub since: Instant,
    /// How long that was.
    pub after: Duration,
    /// INVALID-SPI sent.
    pub tries: u32,
}

/// What happened so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryStatistics {
    /// From first being missed to being there.
    pub times: Histogram,
    /// INVALID-SPI sent.
    pub asked: u64,
    /// Registrations that the ladder led to.
    pub registrations: u64,
    /// Ended as [`End::Recovered`].
    pub recovered: u64,
    /// Ended as [`End::Unknown`].
    pub unknown: u64,
    /// Ended as [`End::Refused`].
    pub refused: u64,
    /// Ended as [`End::Abandoned`].
    pub abandoned: u64,
    /// Reports of an SPI that was being asked for.
    pub already_asked: u64,
    /// Reports of an SPI that is remembered as unknown.
    pub remembered: u64,
    /// Reports of an SPI that had to wait for the budget, or did not get any.
    pub no_budget: u64,
}

/// An SPI that is being asked for, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The SPI.
    pub spi: EspSpi,
    /// Why.
    pub cause: Cause,
    /// Since when it is missing.
    pub since: Instant,
    /// INVALID-SPI sent.
    pub tries: u32,
    /// Whether asking has led to nothing and a registration is to bring it.
    pub awaits_registration: bool,
}

#[derive(Debug)]
pub(super) struct Episode {
    pub(super) cause: Cause,
    pub(super) since: Instant,
    pub(super) last_seen: Instant,
    /// INVALID-SPI sent.
    pub(super) tries: u32,
    /// How far up the ladder that is: a try that there was no budget for counts, one that was made again
    /// over a new phase 1 does not.
    pub(super) rung: u32,
    /// The next try, or the end of waiting for the last one.
    pub(super) next: Instant,
    pub(super) awaits_registration: bool,
}

impl Episode {
    pub(super) fn new(cause: Cause, since: Instant, now: Instant) -> Self {
        Self { cause, since, last_seen: now, tries: 0, rung: 0, next: now, awaits_registration: false }
    }

    /// Whether INVALID-SPI was sent as often as the ladder has it by now. More often, where a new phase 1
    /// came in between.
    pub(super) fn is_fully_asked(&self) -> bool {
        self.tries >= self.rung
    }
}
