//! How policies and keys become SAs: the comparison of rules S2, S3 and S6.

use super::limits::check_keys;
use super::{Outcome, Pending, Refusal, RefusedSa, SaEntry, Sad, SenderUse, Source};
use crate::group::{EspSpi, TekKeys, TekPolicy};
use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

impl Sad {
    /// Compares policies (oldest first, checked) with keys by SPI.
    pub(super) fn take(
        &mut self,
        policies: Vec<TekPolicy>,
        keys: &[(EspSpi, TekKeys)],
        source: Source,
        now: Instant,
        outcome: &mut Outcome,
    ) {
        let mut keyed: BTreeMap<EspSpi, Option<&TekKeys>> = BTreeMap::new();
        for (spi, keys) in keys {
            // Two keys for one SPI: nobody knows which one is meant.
            keyed.entry(*spi).and_modify(|k| *k = k.filter(|k| *k == keys)).or_insert(Some(keys));
        }
        let anchors = self.anchors(&policies);
        let mut room = Room::of(self, &policies, &keyed);
        for (policy, anchor) in policies.into_iter().zip(anchors) {
            let spi = policy.spi;
            let here = self.contains(spi);
            match keyed.remove(&spi) {
                Some(Some(keys)) if here => {
                    self.refresh(&policy, Some(keys), source, now, outcome);
                }
                Some(Some(keys)) => {
                    let expires = self.end(&policy, source, now);
                    let admitted = check_keys(policy.transform, keys)
                        .and_then(|()| if expires > now { Ok(()) } else { Err(Refusal::LifeOver) })
                        .and_then(|()| room.admit(policy.selectors.len()));
                    match admitted {
                        Ok(()) => {
                            self.install(policy, keys.clone(), anchor, source.key_server, expires, now);
                            outcome.installed.push(spi);
                        }
                        Err(why) => self.turn_away(&policy, why, now, outcome),
                    }
                }
                Some(None) => outcome.refused.push(RefusedSa { spi, why: Refusal::KeysDiffer }),
                // A PUSH may repeat the policy of what everybody has.
                None if here && source.rekey => self.refresh(&policy, None, source, now, outcome),
                None if here => {
                    self.withhold(spi);
                    outcome.unkeyed.push(spi);
                }
                None => {
                    if self.pending.len() < self.limits.sas {
                        self.pending.insert(spi, Pending { policy, since: now });
                        outcome.unkeyed.push(spi);
                    }
                }
            }
        }
        for (spi, keys) in keyed {
            match (self.find(spi), keys) {
                (None, _) => outcome.unmatched.push(spi),
                (Some(entry), Some(keys)) if entry.keys == *keys => {}
                (Some(_), _) => outcome.refused.push(RefusedSa { spi, why: Refusal::KeysDiffer }),
            }
        }
    }

    /// When an SA's life ends by what a message says. A registration is fresh, and believed.
    fn end(&self, policy: &TekPolicy, source: Source, now: Instant) -> Instant {
        let stated = now + policy.lifetime;
        if source.rekey { self.ends.by_push(policy.spi, source.key_server, stated) } else { stated }
    }

    /// An SA that is here: only its lifetime changes (rule S6).
    fn refresh(
        &mut self,
        policy: &TekPolicy,
        keys: Option<&TekKeys>,
        source: Source,
        now: Instant,
        outcome: &mut Outcome,
    ) {
        let spi = policy.spi;
        self.pending.remove(&spi);
        let expires = self.end(policy, source, now);
        let Some(entry) = self.entries.iter_mut().find(|entry| entry.policy.spi == spi) else { return };
        if keys.is_some_and(|keys| *keys != entry.keys) {
            outcome.refused.push(RefusedSa { spi, why: Refusal::KeysDiffer });
            return;
        }
        if !same_but_for_lifetime(&entry.policy, policy) {
            outcome.refused.push(RefusedSa { spi, why: Refusal::PolicyDiffers });
        }
        entry.withheld = false;
        if expires != entry.expires {
            entry.policy.lifetime = policy.lifetime;
            entry.expires = expires;
        }
        self.ends.remember(spi, source.key_server, expires);
        self.used.keep_until(spi, expires + self.limits.lifetime);
        outcome.refreshed.push(spi);
    }

    /// The key server no longer gives keys for an SA that it offered a moment ago.
    fn withhold(&mut self, spi: EspSpi) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.policy.spi == spi) {
            entry.withheld = true;
        }
    }

    /// A new SA: receives at once, sends after ATD.
    fn install(
        &mut self,
        policy: TekPolicy,
        keys: TekKeys,
        anchor: Option<EspSpi>,
        key_server: usize,
        expires: Instant,
        now: Instant,
    ) {
        let spi = policy.spi;
        self.ends.remember(spi, key_server, expires);
        let sender = if policy.transform.is_counter_mode() {
            let ids = self.sender_ids.get(&key_server);
            self.used.assign(spi, &keys, ids, expires + self.limits.lifetime)
        } else {
            SenderUse::NotNeeded
        };
        let atd = self.gap.activation_delay.min(self.limits.lifetime);
        let entry = SaEntry {
            policy,
            keys,
            sender,
            revision: 0,
            key_server,
            installed: now,
            sends_from: now + atd,
            sends: false,
            withheld: false,
            retires: None,
            expires,
        };
        let at = anchor.and_then(|anchor| self.entries.iter().position(|e| e.policy.spi == anchor));
        self.entries.insert(at.unwrap_or(self.entries.len()), entry);
        self.spis.insert(spi);
        self.pending.remove(&spi);
        self.no_room.remove(&spi);
        self.changed = true;
    }

    fn turn_away(&mut self, policy: &TekPolicy, why: Refusal, now: Instant, outcome: &mut Outcome) {
        let spi = policy.spi;
        self.pending.remove(&spi);
        if why.is_want_of_room() {
            // As soon as there is room.
            self.remember_refused(policy, now);
        }
        outcome.refused.push(RefusedSa { spi, why });
    }

    /// For each policy of the list the next one behind it that has an SA already. Key servers list SAs
    /// by age, so one that had been lost takes its old place and is not mistaken for the newest.
    fn anchors(&self, policies: &[TekPolicy]) -> Vec<Option<EspSpi>> {
        let mut next = None;
        let mut anchors: Vec<_> = policies
            .iter()
            .rev()
            .map(|policy| {
                let anchor = next;
                if self.contains(policy.spi) {
                    next = Some(policy.spi);
                }
                anchor
            })
            .collect();
        anchors.reverse();
        anchors
    }
}

/// How many SAs may still come. When not all find room, the oldest of the list go without.
struct Room {
    skip: usize,
    sas: usize,
    limit: usize,
    selectors: usize,
    selector_limit: usize,
}

impl Room {
    fn of(sad: &Sad, policies: &[TekPolicy], keyed: &BTreeMap<EspSpi, Option<&TekKeys>>) -> Self {
        let is_new = |policy: &&TekPolicy| {
            let keys = keyed.get(&policy.spi).copied().flatten();
            !sad.contains(policy.spi) && keys.is_some_and(|keys| check_keys(policy.transform, keys).is_ok())
        };
        let new = policies.iter().filter(is_new).count();
        let (sas, selectors) = sad.room();
        Self {
            skip: new.saturating_sub(sas),
            sas,
            limit: sad.limits.sas,
            selectors,
            selector_limit: sad.limits.selectors,
        }
    }

    fn admit(&mut self, selectors: usize) -> Result<(), Refusal> {
        if self.skip > 0 || self.sas == 0 {
            self.skip = self.skip.saturating_sub(1);
            return Err(Refusal::NoRoom(self.limit));
        }
        if selectors > self.selectors {
            return Err(Refusal::NoRoomForSelectors(self.selector_limit));
        }
        self.sas -= 1;
        self.selectors -= selectors;
        Ok(())
    }
}

fn same_but_for_lifetime(a: &TekPolicy, b: &TekPolicy) -> bool {
    let selectors = |policy: &TekPolicy| policy.selectors.iter().copied().collect::<HashSet<_>>();
    (a.transform, a.mode, a.direction) == (b.transform, b.mode, b.direction)
        && (a.selectors == b.selectors || selectors(a) == selectors(b))
}
