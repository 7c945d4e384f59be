//! What the key server's endpoint counts.

use crate::ike::Refusal;
use std::net::SocketAddr;
use std::time::Instant;

/// Declares [`ServerCounters`] with each one's name and meaning, so that none can be forgotten where they are shown.
macro_rules! server_counters {
    ($($field:ident, $name:literal, $meaning:literal;)*) => {
        /// Totals since the start. Every datagram that comes is in `received`, every one that changed nothing also
        /// under its reason.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct ServerCounters {
            $(#[doc = $meaning] pub $field: u64,)*
            /// Messages and phase 1s refused, in the order of [`Refusal::ALL`].
            refused: [u64; Refusal::ALL.len()],
            /// Whose the last of each was, and when.
            last: [Option<(SocketAddr, Instant)>; Refusal::ALL.len()],
        }

        impl ServerCounters {
            /// Each but the refusals, with its name in replies and what it counts.
            pub fn iter(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
                [$(($name, $meaning, self.$field),)*].into_iter()
            }

            /// Adds another endpoint's.
            pub fn add(&mut self, other: &ServerCounters) {
                $(self.$field += other.$field;)*
                for (mine, theirs) in self.refused.iter_mut().zip(other.refused) {
                    *mine += theirs;
                }
                for (mine, theirs) in self.last.iter_mut().zip(other.last) {
                    *mine = [*mine, theirs].into_iter().flatten().max_by_key(|(_, at)| *at);
                }
            }
        }
    };
}

server_counters! {
    received, "datagrams-received", "Datagrams received.";
    sent, "datagrams-sent", "Datagrams sent, but for rekeys.";
    established, "phase1-established", "Phase 1s established.";
    pulls_requested, "pulls-requested", "Registrations begun: message 1 verified.";
    pulls_completed, "pulls-completed", "Registrations whose fourth message was sent.";
    repeated, "repeated", "Requests that came again and were answered from memory.";
    invalid_spi, "invalid-spi", "INVALID-SPI notifications that verified.";
    half_open_evicted, "phase1-half-open-evicted", "Half-open phase 1s that made room for newer ones.";
    half_open_refused, "phase1-half-open-refused", "First messages refused: their source has too many half-open phase 1s.";
    hints, "hints", "Unprotected notifications, which change nothing.";
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
}
