//! The SAD of one group as the control thread keeps it: pending records, SAs, what was refused for want
//! of room. Pure data, time is passed in. Nobody but an authenticated key server or the operator changes
//! it; what they bring is bounded here.

mod ends;
mod entry;
mod limits;
mod sender_ids;

pub(super) use entry::horizon;
pub use entry::{SaEntry, SaState};
pub use limits::{Refusal, RefusedSa, SadLimits};
pub use sender_ids::{SenderIdsError, SenderUse};

use crate::group::{
    Deletion, Direction, EspSpi, GroupAssociatedPolicy, GroupKeys, GroupPolicy, Rekey, Selector, SenderIds,
    TekPolicy,
};
use ends::Ends;
use sender_ids::UsedIds;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

/// A policy that was offered and has no keys yet (rule S1). Its lifetime does not run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pending {
    /// The policy.
    pub policy: TekPolicy,
    /// When it was offered.
    pub since: Instant,
}

/// What a KD payload led to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// SAs that are new (S2, S6).
    pub installed: Vec<EspSpi>,
    /// SAs whose lifetime was refreshed (S6).
    pub refreshed: Vec<EspSpi>,
    /// SPIs with keys and no policy: to be asked for (S3).
    pub unmatched: Vec<EspSpi>,
    /// SPIs with policy and no keys: they stay pending, or are not sent with any more, and are to be asked for.
    pub unkeyed: Vec<EspSpi>,
    /// SAs that are not used, and why.
    pub refused: Vec<RefusedSa>,
    /// SPIs that the key server had deleted (RFC 6407 section 5.9).
    pub deleted: Vec<EspSpi>,
}

/// Why an SA left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Left {
    /// Its life ended (S7).
    Expired,
    /// Another one has replaced it, and DTD is over.
    Replaced,
}

/// The SAs of one group.
#[derive(Debug)]
pub struct Sad {
    limits: SadLimits,
    gap: GroupAssociatedPolicy,
    ends: Ends,
    /// Oldest first.
    entries: Vec<SaEntry>,
    /// The SPIs of `entries`, to answer for a flood of unknown ones.
    spis: BTreeSet<EspSpi>,
    pending: BTreeMap<EspSpi, Pending>,
    /// The SPIs of the present registration's offer, in its order.
    offer: Vec<EspSpi>,
    /// SPIs of the present registration that were refused: their keys are no surprise.
    offered_in_vain: BTreeSet<EspSpi>,
    /// What the policy of the present registration's offer is for, refused or not.
    offered: Vec<Selector>,
    /// The same of the last policy that was taken over.
    protected: Vec<Selector>,
    /// SPIs that found no room.
    no_room: BTreeMap<EspSpi, Waiting>,
    /// By key server: what one gave is worth nothing under another one's keys.
    sender_ids: BTreeMap<usize, SenderIds>,
    used: UsedIds,
    changed: bool,
}

impl Sad {
    /// An empty one.
    #[must_use]
    pub fn new(limits: SadLimits) -> Self {
        Self {
            limits,
            gap: GroupAssociatedPolicy::default(),
            ends: Ends::default(),
            entries: Vec::new(),
            spis: BTreeSet::new(),
            pending: BTreeMap::new(),
            offer: Vec::new(),
            offered_in_vain: BTreeSet::new(),
            offered: Vec::new(),
            protected: Vec::new(),
            no_room: BTreeMap::new(),
            sender_ids: BTreeMap::new(),
            used: UsedIds::default(),
            changed: false,
        }
    }

    /// Rule S1: takes note of the policy that message 2 of a registration offers. Nothing is installed.
    /// `unusable` are the SPIs whose policy could not even be read. Returns what this member refuses.
    pub fn offer(&mut self, policy: &GroupPolicy, unusable: &[EspSpi], now: Instant) -> Vec<RefusedSa> {
        self.pending.clear();
        self.offer.clear();
        self.offered_in_vain = unusable.iter().copied().collect();
        self.gap = policy.gap;
        self.offered = selectors(policy);
        let mut refused = Vec::new();
        for (place, tek) in policy.teks.iter().enumerate() {
            let room = if place < self.limits.sas { Ok(()) } else { Err(Refusal::NoRoom(self.limits.sas)) };
            match self.limits.check_policy(place, tek).and(room) {
                Ok(()) => {
                    self.offer.push(tek.spi);
                    self.pending
                        .entry(tek.spi)
                        .or_insert_with(|| Pending { policy: tek.clone(), since: now });
                }
                Err(why) => {
                    self.offered_in_vain.insert(tek.spi);
                    refused.push(RefusedSa { spi: tek.spi, why });
                }
            }
        }
        refused
    }

    /// The registration that made the offer has failed.
    pub fn withdraw_offer(&mut self) {
        self.pending.clear();
        self.offer.clear();
        self.offered_in_vain.clear();
        self.offered.clear();
    }

    /// Rules S2 and S3: what message 4 keys becomes SAs if it was offered, in the order of the offer.
    pub fn download(&mut self, keys: &GroupKeys, key_server: usize, now: Instant) -> Outcome {
        let offer = std::mem::take(&mut self.offer);
        let pending = offer.iter().filter_map(|spi| self.pending.remove(spi));
        let policies = pending.map(|pending| pending.policy).collect();
        let in_vain = std::mem::take(&mut self.offered_in_vain);
        let offered = std::mem::take(&mut self.offered);
        self.protect(offered);
        let mut outcome = Outcome::default();
        self.take(policies, &keys.teks, Source { key_server, rekey: false }, now, &mut outcome);
        outcome.unmatched.retain(|spi| !in_vain.contains(spi));
        self.settle(now);
        outcome
    }

    /// Whether a key server, as those of this make do, never puts off an SA's end by a PUSH.
    pub fn set_firm_ends(&mut self, key_server: usize, firm: bool) {
        self.ends.set_firm(key_server, firm);
    }

    /// What [`Sad::set_firm_ends`] was told.
    #[must_use]
    pub fn ends_are_firm(&self, key_server: usize) -> bool {
        self.ends.are_firm(key_server)
    }

    /// Rule S6: deletes what the PUSH deletes, refreshes what is here, stores what is not. A pending
    /// record counts as policy. `unusable` as for [`Sad::offer`].
    pub fn rekey(&mut self, rekey: &Rekey, unusable: &[EspSpi], key_server: usize, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        for deletion in &rekey.deletions {
            match *deletion {
                Deletion::Tek(spi) => {
                    self.pending.remove(&spi);
                    self.no_room.remove(&spi);
                    if self.remove(spi).is_some() {
                        outcome.deleted.push(spi);
                    }
                }
                Deletion::AllTeks => {
                    outcome.deleted.extend(self.entries.drain(..).map(|entry| entry.spi()));
                    self.spis.clear();
                    self.pending.clear();
                    self.no_room.clear();
                }
                Deletion::Kek => {}
            }
        }
        self.changed |= !outcome.deleted.is_empty();
        if !rekey.policy.teks.is_empty() {
            self.gap = rekey.policy.gap;
            self.protect(selectors(&rekey.policy));
        }
        let mut in_vain: BTreeSet<EspSpi> = unusable.iter().copied().collect();
        let mut policies: Vec<TekPolicy> = Vec::new();
        for (place, tek) in rekey.policy.teks.iter().enumerate() {
            match self.limits.check_policy(place, tek) {
                Ok(()) => policies.push(tek.clone()),
                Err(why) => {
                    in_vain.insert(tek.spi);
                    outcome.refused.push(RefusedSa { spi: tek.spi, why });
                }
            }
        }
        let mut named: BTreeSet<EspSpi> = policies.iter().map(|tek| tek.spi).collect();
        for (spi, _) in &rekey.keys.teks {
            if let Some(pending) = self.pending.remove(spi)
                && named.insert(*spi)
            {
                policies.push(pending.policy);
            }
        }
        self.take(policies, &rekey.keys.teks, Source { key_server, rekey: true }, now, &mut outcome);
        outcome.unmatched.retain(|spi| !in_vain.contains(spi));
        self.settle(now);
        outcome
    }

    /// Rule S7 and the delays: takes out what is over, lets start what may. Call it at
    /// [`Sad::next_change`] or later.
    pub fn advance(&mut self, now: Instant) -> Vec<(EspSpi, Left)> {
        let mut left: Vec<(EspSpi, Left)> = Vec::new();
        left.extend(self.entries.extract_if(.., |e| e.expires <= now).map(|e| (e.spi(), Left::Expired)));
        self.changed |= entry::choose_senders(&mut self.entries, &self.gap, now);
        let over = |entry: &mut SaEntry| entry.retires.is_some_and(|at| at <= now);
        left.extend(self.entries.extract_if(.., over).map(|e| (e.spi(), Left::Replaced)));
        for (spi, _) in &left {
            self.spis.remove(spi);
        }
        self.changed |= !left.is_empty();
        self.pending.retain(|_, pending| pending.since + pending.policy.lifetime > now);
        self.used.tidy(4 * self.limits.sas, now);
        self.ends.tidy(4 * self.limits.sas);
        left
    }

    /// When [`Sad::advance`] has something to do.
    #[must_use]
    pub fn next_change(&self, now: Instant) -> Option<Instant> {
        let entries = self.entries.iter().map(|entry| entry.next_change(now));
        let pending = self.pending.values().map(|pending| pending.since + pending.policy.lifetime);
        entries.chain(pending).min()
    }

    /// The operator, or an authenticated Delete, takes an SA out.
    pub fn delete(&mut self, spi: EspSpi, now: Instant) -> bool {
        let found = self.remove(spi).is_some();
        self.changed |= found;
        self.settle(now);
        found
    }

    /// The data plane could not create the SA. It is asked for again when there may be room.
    pub fn refuse(&mut self, spi: EspSpi, reason: &str, now: Instant) -> Option<RefusedSa> {
        let entry = self.remove(spi)?;
        if matches!(entry.sender, SenderUse::Fresh(_)) {
            self.used.never_used(spi);
        }
        self.changed = true;
        self.remember_refused(&entry.policy, now + self.limits.retry_refused);
        self.settle(now);
        Some(RefusedSa { spi, why: Refusal::DataPlane(reason.to_owned()) })
    }

    /// SPIs that found no room and for which there may be some now: to be asked for. Each comes once.
    pub fn take_retries(&mut self, now: Instant) -> Vec<EspSpi> {
        let (mut sas, mut selectors) = self.room();
        let due = self.no_room.extract_if(.., |_, waiting| {
            let fits = waiting.retry <= now && sas > 0 && waiting.selectors <= selectors;
            if fits {
                (sas, selectors) = (sas - 1, selectors - waiting.selectors);
            }
            fits
        });
        due.map(|(spi, _)| spi).collect()
    }

    /// When [`Sad::take_retries`] has something to say.
    #[must_use]
    pub fn next_retry(&self) -> Option<Instant> {
        let (sas, selectors) = self.room();
        let fits = self.no_room.values().filter(|waiting| sas > 0 && waiting.selectors <= selectors);
        fits.map(|waiting| waiting.retry).min()
    }

    /// How many SAs may still come, and how many selectors these may have.
    fn room(&self) -> (usize, usize) {
        let held: usize = self.entries.iter().map(|entry| entry.policy.selectors.len()).sum();
        (self.limits.sas.saturating_sub(self.entries.len()), self.limits.selectors.saturating_sub(held))
    }

    /// Packets have come with an SA before it was here: for others ATD is over, so it is for this member. If it
    /// waited on, it would send for so much longer with what the others are about to drop.
    pub fn others_send_with(&mut self, spi: EspSpi, now: Instant) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.policy.spi == spi) {
            entry.sends_from = entry.sends_from.min(now);
            self.settle(now);
        }
    }

    /// The sender IDs of a new registration: for this key server's SAs that are installed from now on,
    /// and for those that have none or used them up. The others keep theirs.
    ///
    /// # Errors
    /// When they would let an IV come twice; then they are not used at all.
    pub fn set_sender_ids(
        &mut self,
        key_server: usize,
        ids: SenderIds,
        now: Instant,
    ) -> Result<(), SenderIdsError> {
        sender_ids::check(&ids, self.limits.sender_ids)?;
        let missing = |entry: &&mut SaEntry| {
            entry.key_server == key_server && entry.sender == SenderUse::Missing && entry.sends_by_direction()
        };
        for entry in self.entries.iter_mut().filter(missing) {
            let until = entry.expires + self.limits.lifetime;
            entry.sender = self.used.assign(entry.policy.spi, &entry.keys, Some(&ids), until);
            if entry.sender != SenderUse::Missing {
                entry.revision += 1;
                self.changed = true;
            }
        }
        self.sender_ids.insert(key_server, ids);
        self.settle(now);
        Ok(())
    }

    /// Sender IDs are about to come that go with what a key server offers: none of them is for an SA that
    /// it does not offer to send with, which was made when it gave sender IDs from the start. Such an SA
    /// that has none is from now on received with only.
    pub fn keep_senders(&mut self, key_server: usize, policy: &GroupPolicy) {
        let sends = |tek: &&TekPolicy| tek.direction != Direction::ReceiverOnly;
        let offered: BTreeSet<EspSpi> = policy.teks.iter().filter(sends).map(|tek| tek.spi).collect();
        for entry in self.entries.iter_mut().filter(|entry| entry.key_server == key_server) {
            if entry.sender == SenderUse::Missing && !offered.contains(&entry.policy.spi) {
                entry.policy.direction = Direction::ReceiverOnly;
                self.changed = true;
            }
        }
    }

    /// The sender IDs that SAs of a key server are installed with.
    #[must_use]
    pub fn sender_ids(&self, key_server: usize) -> Option<&SenderIds> {
        self.sender_ids.get(&key_server)
    }

    /// A key server has begun anew: the sender IDs that it gave may be somebody else's under keys that
    /// come from now on.
    pub fn forget_sender_ids(&mut self, key_server: usize) {
        self.sender_ids.remove(&key_server);
    }

    /// The data plane has used up the sender IDs of an SA: nothing seals with it until
    /// [`Sad::set_sender_ids`] brings new ones. False when the SA needs none or is not here.
    pub fn sender_ids_exhausted(&mut self, spi: EspSpi, now: Instant) -> bool {
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.policy.spi == spi) else { return false };
        if entry.sender == SenderUse::NotNeeded {
            return false;
        }
        self.used.exhaust(spi);
        entry.sender = SenderUse::Missing;
        entry.revision += 1;
        self.changed = true;
        self.settle(now);
        true
    }

    /// Whether an SA cannot be sent with for want of sender IDs. One that newer ones have replaced needs none.
    #[must_use]
    pub fn lacks_sender_ids(&self) -> bool {
        let lacks = |entry: &SaEntry| entry.sends_by_direction() && entry.sender == SenderUse::Missing;
        self.entries.iter().any(|entry| lacks(entry) && entry.retires.is_none())
    }

    /// The SAs, the oldest first.
    #[must_use]
    pub fn entries(&self) -> &[SaEntry] {
        &self.entries
    }

    /// What the key server's last policy is for, also as far as this member refused it: a group that fails
    /// closed must not let that through in the clear.
    #[must_use]
    pub fn protected(&self) -> &[Selector] {
        &self.protected
    }

    /// The SA of an SPI.
    #[must_use]
    pub fn find(&self, spi: EspSpi) -> Option<&SaEntry> {
        self.entries.iter().find(|entry| entry.policy.spi == spi)
    }

    /// Whether an SPI has an SA.
    #[must_use]
    pub fn contains(&self, spi: EspSpi) -> bool {
        self.spis.contains(&spi)
    }

    /// Whether an SPI is known and found no room, so that asking for it is of no use at present.
    #[must_use]
    pub fn waits_for_room(&self, spi: EspSpi) -> bool {
        self.no_room.contains_key(&spi)
    }

    /// What was offered and has no keys.
    #[must_use]
    pub fn pending(&self) -> impl ExactSizeIterator<Item = &Pending> {
        self.pending.values()
    }

    /// Gives up on a pending record: the key server does not know it any more.
    pub fn drop_pending(&mut self, spi: EspSpi) -> bool {
        self.pending.remove(&spi).is_some()
    }

    /// Whether the data plane has to be told something. Resets it.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    /// A policy without SAs says nothing about what to protect.
    fn protect(&mut self, selectors: Vec<Selector>) {
        if !selectors.is_empty() && self.protected != selectors {
            self.protected = selectors;
            self.changed = true;
        }
    }

    fn remove(&mut self, spi: EspSpi) -> Option<SaEntry> {
        let at = self.entries.iter().position(|entry| entry.policy.spi == spi)?;
        self.spis.remove(&spi);
        Some(self.entries.remove(at))
    }

    fn settle(&mut self, now: Instant) {
        self.changed |= entry::choose_senders(&mut self.entries, &self.gap, now);
    }

    fn remember_refused(&mut self, policy: &TekPolicy, retry: Instant) {
        if self.no_room.len() < self.limits.refused || self.no_room.contains_key(&policy.spi) {
            self.no_room.insert(policy.spi, Waiting { retry, selectors: policy.selectors.len() });
        }
    }
}

/// What all SAs of a policy are for, each once. Whoever reads policies bounds their number.
fn selectors(policy: &GroupPolicy) -> Vec<Selector> {
    let mut seen = HashSet::new();
    let all = policy.teks.iter().flat_map(|tek| &tek.selectors).copied();
    all.filter(|&selector| seen.insert(selector)).collect()
}

/// What an SA that found no room needs.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// When to try again, if room was there all the time.
    retry: Instant,
    selectors: usize,
}

/// Where SAs come from.
#[derive(Clone, Copy)]
struct Source {
    key_server: usize,
    rekey: bool,
}

mod take;

#[cfg(test)]
mod tests;
