//! What a group tells: the policy of this moment with its keys, for a registration or a rekey.

use super::super::access::Peer;
use super::super::kek::{Fate, Kek, KekEntry};
use super::super::schedule::registration_allowance;
use super::super::tek::{Tek, stated};
use super::super::time::ServerTime;
use super::Group;
use getvpn_gdoi::group::{Deletion, GroupAssociatedPolicy, GroupKeys, GroupPolicy, KekPolicy, KekSpi, Rekey};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// What the second message of a registration offered, so that the fourth keys exactly that.
#[derive(Debug)]
pub struct Snapshot {
    /// The group's version.
    pub version: u64,
    /// The line of the Rekey SA.
    pub line: u32,
    /// The Rekey SA.
    pub kek: Arc<Kek>,
    /// The last SEQ of it.
    pub sequence: u32,
    /// The Data-Security SAs.
    pub teks: Vec<Arc<Tek>>,
    /// Whether they need sender IDs.
    pub sender_ids: bool,
    /// How long what was offered holds.
    pub allowance: Duration,
}

impl Snapshot {
    /// The keys of what was offered, without sender IDs.
    #[must_use]
    pub fn keys(&self) -> GroupKeys {
        GroupKeys {
            teks: self.teks.iter().map(|tek| (tek.spi, tek.keys.clone())).collect(),
            kek: Some((self.kek.spi, self.kek.keys.clone())),
            sender_ids: None,
        }
    }
}

impl Group {
    /// What is offered to a member that registers; `None` while there is no Rekey SA.
    pub(in crate::core) fn offer(&self, now: ServerTime, peer: &Peer) -> Option<(Snapshot, GroupPolicy)> {
        let current = self.current()?;
        let mut policies = Vec::new();
        let mut teks = Vec::new();
        let mut holds = registration_allowance(self.settings.kek.lifetime);
        for tek in &self.teks {
            let for_it = registration_allowance(tek.lifetime);
            if let Some(policy) = tek.policy(now, for_it) {
                holds = holds.min(for_it);
                policies.push(policy);
                teks.push(Arc::clone(tek));
            }
        }
        let kek = self.kek_policy(current, now, holds, peer.local)?;
        let sender_ids = teks.iter().any(|tek| !tek.receive_only && tek.shape.transform.is_counter_mode());
        let snapshot = Snapshot {
            version: self.version,
            line: current.line,
            kek: Arc::clone(&current.kek),
            sequence: current.sequence.last(),
            teks,
            sender_ids,
            allowance: holds,
        };
        let spi_key = peer.is_getvpn.then(|| self.spi_key.clone());
        Some((snapshot, GroupPolicy { kek: Some(kek), gap: self.gap(now), spi_key, teks: policies }))
    }

    /// The version of what members are told.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// What a rekey under the Rekey SA at this place says, but for its SEQ. It may arrive up to the
    /// schedule's allowance later.
    pub(super) fn rekey_under(&self, entry: &KekEntry, sequence: u32, now: ServerTime) -> Rekey {
        let kek = entry.kek.spi;
        if self.closing {
            return farewell(kek, sequence);
        }
        let current = match (entry.fate, self.current()) {
            (Fate::Open, Some(current)) => current,
            _ => return bare(kek, sequence, vec![Deletion::Kek]),
        };
        let timing = self.timing();
        let mut policy = GroupPolicy { gap: self.gap(now), ..GroupPolicy::default() };
        let mut keys = GroupKeys::default();
        for tek in &self.teks {
            if let Some(tek_policy) = tek.policy(now, timing.rekey_allowance(tek.lifetime)) {
                policy.teks.push(tek_policy);
                keys.teks.push((tek.spi, tek.keys.clone()));
            }
        }
        let allowance = timing.rekey_allowance(self.settings.kek.lifetime);
        policy.kek = self.kek_policy(current, now, allowance, self.settings.rekey.source);
        if policy.kek.is_some() {
            keys.kek = Some((current.kek.spi, current.kek.keys.clone()));
        }
        let deletions = self.withdrawn.iter().map(|&(spi, _)| Deletion::Tek(spi)).collect();
        Rekey { kek, sequence, deletions, policy, keys }
    }

    fn kek_policy(
        &self,
        entry: &KekEntry,
        now: ServerTime,
        allowance: Duration,
        source: SocketAddr,
    ) -> Option<KekPolicy> {
        let lifetime = stated(entry.ends, now, allowance)?;
        Some(entry.kek.policy(lifetime, source, self.settings.rekey.acknowledge))
    }

    /// While members register again, those that have wait for the others.
    fn gap(&self, now: ServerTime) -> GroupAssociatedPolicy {
        let mut gap = self.settings.gap;
        if let Some(at) = self.switch_at {
            let wait = at.since(now);
            let wait = Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0));
            gap.activation_delay = gap.activation_delay.max(wait);
            // Those that switch last still send with the old SA at that moment.
            gap.deactivation_delay += wait;
        }
        gap
    }
}

/// What a member that is one no longer is told.
pub(super) fn farewell(kek: KekSpi, sequence: u32) -> Rekey {
    bare(kek, sequence, vec![Deletion::AllTeks, Deletion::Kek])
}

fn bare(kek: KekSpi, sequence: u32, deletions: Vec<Deletion>) -> Rekey {
    Rekey { kek, sequence, deletions, policy: GroupPolicy::default(), keys: GroupKeys::default() }
}
