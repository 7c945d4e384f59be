//! The authority over all groups. Owner: one thread. Calls change its state at once; what follows from
//! them is taken as a [`Batch`], whose changes are made durable before its actions are carried out.

mod ask;
mod command;
mod register;
mod restore;

pub use command::{CommandError, RekeyWhat, ReloadPlan};

use super::access::Access;
use super::counters::{Count, Counters, Last};
use super::group::{Context, Group};
use super::kek::{FreshKey, Kek};
use super::limit::TokenBucket;
use super::member::MemberId;
use super::outbox::{Action, Batch, Change, Outbox, PullRef};
use super::record::{Key, Record};
use super::settings::GroupSettings;
use super::tek::Spis;
use super::time::{Checkpoint, Clock, Now, ServerTime};
use getvpn_gdoi::crypto::Random;
use getvpn_gdoi::group::{AckRequest, GroupId, KekSpi, NamedGroup};
use getvpn_gdoi::wire::Compat;
use register::{Pending, Waiting};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How often the server's time is saved when nothing else is.
const CHECKPOINT: Duration = Duration::from_secs(10);

/// What the operator wants.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The groups, all with different numbers.
    pub groups: Vec<GroupSettings>,
    /// Who may be in them.
    pub access: Access,
    /// How much others may cause.
    pub limits: Limits,
}

/// How much others may cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Members of all groups together.
    pub members: usize,
    /// INVALID-SPI answered in a second, for one member in one group.
    pub member_invalid_spi_per_s: u32,
    /// The same for all together.
    pub invalid_spi_per_s: u32,
    /// Registrations between their first and last message.
    pub pulls: usize,
    /// Registrations begun in a second.
    pub registrations_per_s: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            members: 100_000,
            member_invalid_spi_per_s: 10,
            invalid_spi_per_s: 2_000,
            pulls: 65_536,
            registrations_per_s: 2_000,
        }
    }
}

/// The authority.
#[derive(Debug)]
pub struct Authority {
    clock: Clock,
    saved: Option<Checkpoint>,
    groups: BTreeMap<GroupId, Group>,
    access: Access,
    limits: Limits,
    spis: Spis,
    out: Outbox,
    pulls: HashMap<PullRef, Pending>,
    /// In the order in which they came, so that old ones are found.
    pull_order: VecDeque<(ServerTime, PullRef)>,
    /// Registrations for groups that have no Rekey SA yet.
    waiting: Vec<Waiting>,
    asks: TokenBucket,
    registrations: TokenBucket,
}

impl Authority {
    /// The group with this number.
    #[must_use]
    pub fn group(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id)
    }

    /// All groups.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Everything that has been counted.
    #[must_use]
    pub fn counters(&self) -> &Counters {
        &self.out.counters
    }

    /// How much others may cause.
    #[must_use]
    pub fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The server's time at `now`.
    #[must_use]
    pub fn time(&self, now: Instant) -> ServerTime {
        self.clock.at(now)
    }

    /// The group that a member means: by its number as the RFC has it, or in the order of octets of
    /// those groups that have another layout.
    #[must_use]
    pub fn named(&self, group: NamedGroup) -> GroupId {
        let other = group.id(Compat::Reference);
        let is_other = self.groups.get(&other).is_some_and(|g| g.settings().compat == Compat::Reference);
        let id = group.id(Compat::Standard);
        if is_other && !self.groups.contains_key(&id) { other } else { id }
    }

    /// A Rekey SA that lives and whose rekeys are acknowledged, with how.
    #[must_use]
    pub fn acknowledged_under(&self, spi: KekSpi) -> Option<(Arc<Kek>, AckRequest)> {
        self.groups.values().find_map(|group| {
            let entry = group.keks().iter().find(|entry| entry.kek.spi == spi)?;
            Some((Arc::clone(&entry.kek), group.settings().rekey.acknowledge?))
        })
    }

    /// Counts something that came to nothing, from `from`.
    pub fn count(&mut self, now: Now, from: SocketAddr, count: Count) {
        self.out.counters.add_of(count, Last { from, spi: None, at: now.instant });
    }

    /// Lets `work` change a group.
    fn with_group<T>(
        &mut self,
        now: Now,
        id: GroupId,
        random: &mut dyn Random,
        work: impl FnOnce(&mut Group, &mut Context<'_>) -> T,
    ) -> Option<T> {
        let group = self.groups.get_mut(&id)?;
        let mut context = Context {
            now: self.clock.at(now.instant),
            unix: now.unix,
            random,
            out: &mut self.out,
            spis: &mut self.spis,
        };
        Some(work(group, &mut context))
    }

    /// The signing key that an action asked for.
    pub fn signing_key(&mut self, now: Now, id: GroupId, key: FreshKey, random: &mut dyn Random) {
        self.with_group(now, id, random, |group, context| group.take_signing_key(key, context));
        self.offer_to_waiting(now);
    }

    /// A rekey acknowledgement, verified with the key of its Rekey SA.
    pub fn acknowledged(
        &mut self,
        now: Now,
        from: SocketAddr,
        kek: KekSpi,
        sequence: u32,
        random: &mut dyn Random,
    ) {
        let known = |group: &&Group| group.keks().iter().any(|entry| entry.kek.spi == kek);
        let group = self.groups.values().find(known).map(Group::id);
        let count = group.and_then(|id| {
            self.with_group(now, id, random, |group, context| group.acknowledge(from, kek, sequence, context))
        });
        self.count(now, from, count.unwrap_or(Count::AckUnknown));
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Now, random: &mut dyn Random) {
        let time = self.clock.at(now.instant);
        let due: Vec<_> =
            self.groups.values().filter(|group| group.next_time() <= time).map(Group::id).collect();
        for id in due {
            self.with_group(now, id, random, |group, context| group.handle_time(context));
        }
        self.drop_closed(time);
        self.drop_old_pulls(time);
        if self.saved.is_none_or(|saved| time.since(saved.time) >= CHECKPOINT) {
            self.out.touched.insert(Key::Clock);
        }
    }

    /// When [`Authority::handle_timeout`] is due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let groups = self.groups.values().map(Group::next_time).min();
        let checkpoint = self.saved.map_or(ServerTime::ZERO, |saved| saved.time.after(CHECKPOINT));
        self.clock.instant(groups.unwrap_or(ServerTime::NEVER).min(checkpoint))
    }

    /// Everything that has to be done since the last batch was taken.
    pub fn take_batch(&mut self, now: Now) -> Batch {
        let mut actions = std::mem::take(&mut self.out.actions);
        let gone = self.out.disconnect.drain(..);
        actions.extend(gone.map(|address| Action::Disconnect { address }));
        let mut touched = std::mem::take(&mut self.out.touched);
        if touched.is_empty() {
            return Batch { changes: Vec::new(), actions };
        }
        touched.insert(Key::Clock);
        touched.append(&mut self.out.later);
        let saved = self.clock.checkpoint(now);
        self.saved = Some(saved);
        let change = |key: Key| Change { key, record: self.record(&key, saved) };
        Batch { changes: touched.into_iter().map(change).collect(), actions }
    }

    fn record(&self, key: &Key, saved: Checkpoint) -> Option<Record> {
        match *key {
            Key::Clock => Some(Record::Clock(saved)),
            Key::DeadSpi(spi) => self.spis.died(getvpn_gdoi::group::EspSpi(spi)).map(Record::DeadSpi),
            Key::Group(id) | Key::Tek(id, _) | Key::Kek(id, _) | Key::Member(id, _) => {
                self.groups.get(&GroupId(id))?.record(key)
            }
        }
    }

    /// Forgets groups that are served no longer, once their members have been told.
    fn drop_closed(&mut self, now: ServerTime) {
        let gone = |group: &&Group| group.is_closing() && group.is_quiet();
        let gone: BTreeSet<_> = self.groups.values().filter(gone).map(Group::id).collect();
        for id in gone {
            let Some(group) = self.groups.remove(&id) else { continue };
            group.forget_everything(now, &mut self.out, &mut self.spis);
        }
    }

    fn members_in_all(&self) -> usize {
        self.groups.values().map(|group| group.members().len()).sum()
    }

    fn forget_member(&mut self, group: GroupId, id: MemberId) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.members.remove(id);
            self.out.touch_member(group.id(), id);
        }
    }
}
