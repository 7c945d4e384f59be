//! One SA of the SAD, and which of several send: a new SA receives at once and sends after ATD, an old
//! one that it replaces receives until DTD (RFC 5374 section 4.2.1, RFC 6407 section 5.4.1).

use super::SenderUse;
use crate::group::{Direction, EspSpi, GroupAssociatedPolicy, Selector, TekKeys, TekPolicy};
use crate::member::registration::Horizon;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// An SA that is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaEntry {
    /// Its policy. The lifetime in it is what the key server said last; see [`SaEntry::expires`].
    pub policy: TekPolicy,
    /// Its keys.
    pub keys: TekKeys,
    /// What it may be sealed with.
    pub sender: SenderUse,
    /// Grows whenever the data plane has to make the SA anew; otherwise only [`SaEntry::sends`] and the
    /// lifetime change.
    pub revision: u64,
    /// Which key server it came from: its place in the member's list.
    pub key_server: usize,
    /// When it was installed.
    pub installed: Instant,
    /// When ATD is over.
    pub sends_from: Instant,
    /// Whether packets to the WAN may use it now. Of several SAs with the same selectors one does.
    pub sends: bool,
    /// The key server has offered it in a registration and given no keys for it: it has taken it back in
    /// between, and others may not have it any more. It is received with; it is sent with only where there is
    /// nothing else.
    pub withheld: bool,
    /// When it stops receiving because another one has replaced it.
    pub retires: Option<Instant>,
    /// When its life ends.
    pub expires: Instant,
}

/// How an SA stands, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaState {
    /// Receives; sends after ATD.
    Waiting,
    /// Sends, and receives as far as its direction allows.
    Active,
    /// Receives only: that is its direction, or there are no sender IDs for it.
    ReceiveOnly,
    /// Replaced: receives until DTD or the end of its life.
    Retiring,
}

impl SaState {
    /// For replies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Active => "active",
            Self::ReceiveOnly => "receive-only",
            Self::Retiring => "retiring",
        }
    }
}

impl SaEntry {
    /// Its SPI.
    #[must_use]
    pub fn spi(&self) -> EspSpi {
        self.policy.spi
    }

    /// Whether packets from the WAN may use it.
    #[must_use]
    pub fn receives(&self) -> bool {
        self.policy.direction != Direction::SenderOnly
    }

    /// How it stands.
    #[must_use]
    pub fn state(&self, now: Instant) -> SaState {
        if self.sends {
            SaState::Active
        } else if !self.can_send() {
            SaState::ReceiveOnly
        } else if self.sends_from > now {
            SaState::Waiting
        } else {
            SaState::Retiring
        }
    }

    /// How long it lives on.
    #[must_use]
    pub fn lifetime_left(&self, now: Instant) -> Duration {
        self.expires.saturating_duration_since(now)
    }

    /// Whether its direction and its sender IDs allow to send at all.
    #[must_use]
    pub fn can_send(&self) -> bool {
        self.sends_by_direction() && self.sender != SenderUse::Missing
    }

    /// Whether its direction allows to send.
    pub(super) fn sends_by_direction(&self) -> bool {
        self.policy.direction != Direction::ReceiverOnly
    }

    /// When something about it changes next.
    pub(super) fn next_change(&self, now: Instant) -> Instant {
        let waits = self.can_send() && !self.sends && self.retires.is_none() && self.sends_from > now;
        let starts = waits.then_some(self.sends_from);
        [starts, self.retires].into_iter().flatten().fold(self.expires, Instant::min)
    }
}

/// When the first of the selectors is left without an SA to send with, if nothing new comes; without any
/// such SA, when the last one ends.
pub(in crate::member) fn horizon(entries: &[SaEntry]) -> Option<Horizon> {
    let of = |entry: &SaEntry| Horizon { end: entry.expires, life: entry.policy.lifetime };
    let mut last: HashMap<&Selector, Horizon> = HashMap::new();
    let lasts = |entry: &&SaEntry| entry.can_send() && entry.retires.is_none() && !entry.withheld;
    for entry in entries.iter().filter(lasts) {
        for selector in &entry.policy.selectors {
            let horizon = last.entry(selector).or_insert(of(entry));
            if entry.expires > horizon.end {
                *horizon = of(entry);
            }
        }
    }
    let sends = last.into_values().min_by_key(|horizon| horizon.end);
    sends.or_else(|| entries.iter().map(of).max_by_key(|horizon| horizon.end))
}

/// Decides which of the SAs send (oldest first), and when the replaced ones retire. True when a
/// [`SaEntry::sends`] changed.
///
/// The newest SA of a selector sends whose ATD is over. Where there is none, ATD is waived: a member
/// that has nothing else to send with would lose its traffic for that time. What the key server withholds
/// comes last.
pub(super) fn choose_senders(entries: &mut [SaEntry], gap: &GroupAssociatedPolicy, now: Instant) -> bool {
    let mut sender_of: HashMap<Selector, usize> = HashMap::new();
    let mut chosen = vec![false; entries.len()];
    let ready = |entry: &SaEntry| entry.can_send() && !entry.withheld && entry.sends_from <= now;
    let waits = |entry: &SaEntry| entry.can_send() && !entry.withheld && entry.sends_from > now;
    let withheld = |entry: &SaEntry| entry.can_send() && entry.withheld;
    for eligible in [&ready as &dyn Fn(&SaEntry) -> bool, &waits, &withheld] {
        for (at, entry) in entries.iter().enumerate().rev().filter(|(_, entry)| eligible(entry)) {
            let open = entry.policy.selectors.iter().any(|selector| !sender_of.contains_key(selector));
            if open {
                chosen[at] = true;
                for &selector in &entry.policy.selectors {
                    sender_of.entry(selector).and_modify(|other| *other = at.max(*other)).or_insert(at);
                }
            }
        }
    }
    let mut changed = false;
    for at in 0..entries.len() {
        // The newest sender of a selector is used for it, so whoever is that for none stops.
        let sends = chosen[at]
            && entries[at].policy.selectors.iter().any(|selector| sender_of.get(selector) == Some(&at));
        let retires = if sends { None } else { retirement(entries, at, &sender_of, gap, now) };
        let entry = &mut entries[at];
        changed |= entry.sends != sends;
        entry.sends = sends;
        if sends {
            // Also where ATD was waived: the next one waits for its own.
            entry.sends_from = entry.sends_from.min(now);
        }
        entry.retires = retires.map(|until| entry.retires.unwrap_or(until));
    }
    changed
}

/// Until when the SA at `at` receives, if newer ones send for all that it is for.
///
/// DTD counts from the receipt of whichever came later: an SA that had to be asked for is not dropped
/// again at once. Without a DTD, and when another key server replaced it, whose members change over at
/// their own time, an SA lives to its own end.
fn retirement(
    entries: &[SaEntry],
    at: usize,
    sender_of: &HashMap<Selector, usize>,
    gap: &GroupAssociatedPolicy,
    now: Instant,
) -> Option<Instant> {
    let entry = &entries[at];
    if !entry.sends_by_direction() || gap.deactivation_delay.is_zero() {
        return None;
    }
    let mut replaced = entry.installed;
    for selector in &entry.policy.selectors {
        let &newer = sender_of.get(selector).filter(|&&newer| newer > at)?;
        let newer = &entries[newer];
        if newer.key_server != entry.key_server {
            return None;
        }
        replaced = replaced.max(newer.installed);
    }
    // A DTD shorter than ATD would leave packets without a receiver that others still send.
    let until = replaced + gap.deactivation_delay.max(gap.activation_delay);
    Some(until.max(now))
}
