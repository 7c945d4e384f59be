//! What the key server's endpoint counts.

use crate::ike::Refusal;
use std::net::SocketAddr;
use std::time::Instant;

/// Totals since the start. Every datagram that comes is in `received`, every one that changed nothing also
/// under its reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerCounters {
    /// Datagrams received.
    pub received: u64,
    /// Datagrams sent.
    pub sent: u64,
    /// Phase 1s established.
    pub established: u64,
    /// Registrations begun: message 1 verified.
    pub pulls_requested: u64,
    /// Registrations carried through: message 4 sent.
    pub pulls_completed: u64,
    /// Requests that came again and were answered from memory.
    pub repeated: u64,
    /// INVALID-SPI notifications, verified.
    pub invalid_spi: u64,
    /// Half-open phase 1s that made room for newer ones.
    pub half_open_evicted: u64,
    /// First messages refused because their source has too many half-open phase 1s.
    pub half_open_refused: u64,
    /// Unprotected notifications, which change nothing.
    pub hints: u64,
    /// Messages and phase 1s refused, in the order of [`Refusal::ALL`].
    refused: [u64; Refusal::ALL.len()],
    /// Whose the last of each was, and when.
    last: [Option<(SocketAddr, Instant)>; Refusal::ALL.len()],
}

impl ServerCounters {
    /// Counts a refusal of what came from `from`.
    pub(super) fn refuse(&mut self, refusal: impl Into<Option<Refusal>>, from: SocketAddr, now: Instant) {
        let refusal = refusal.into();
        let rows = Refusal::ALL.iter().zip(&mut self.refused).zip(&mut self.last);
        for ((_, count), last) in rows.filter(|((r, _), _)| Some(**r) == refusal) {
            *count += 1;
            *last = Some((from, now));
        }
    }

    /// From whom and when the last message was that was refused for this.
    #[must_use]
    pub fn last_refused(&self, refusal: Refusal) -> Option<(SocketAddr, Instant)> {
        Refusal::ALL.iter().zip(self.last).find(|(r, _)| **r == refusal).and_then(|(_, last)| last)
    }

    /// Every refusal with how often it happened.
    pub fn refused(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.into_iter().zip(self.refused)
    }

    /// Adds another endpoint's.
    pub fn add(&mut self, other: &ServerCounters) {
        self.received += other.received;
        self.sent += other.sent;
        self.established += other.established;
        self.pulls_requested += other.pulls_requested;
        self.pulls_completed += other.pulls_completed;
        self.repeated += other.repeated;
        self.invalid_spi += other.invalid_spi;
        self.half_open_evicted += other.half_open_evicted;
        self.half_open_refused += other.half_open_refused;
        self.hints += other.hints;
        for (mine, theirs) in self.refused.iter_mut().zip(other.refused) {
            *mine += theirs;
        }
        for (mine, theirs) in self.last.iter_mut().zip(other.last) {
            *mine = [*mine, theirs].into_iter().flatten().max_by_key(|(_, at)| *at);
        }
    }
}
