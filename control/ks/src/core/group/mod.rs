//! One group: its SAs, generation after generation, its members, and what it owes them. Authority
//! thread.
//!
//! A group's *version* counts every change of what a rekey would say. Everything that members are told
//! is made of the group's state at that moment ([`state`]), so that a newer rekey stands in for every
//! older one.

mod change;
mod dispatch;
mod removal;
mod renew;
mod state;

pub use change::{Difference, differences};
pub use renew::{KekRenewal, Renewal, Retire, TekRenewal};
pub use state::Snapshot;

use super::event::{Event, What, Why};
use super::kek::{Fate, FreshKey, KekEntry};
use super::member::{MemberKey, Members};
use super::outbox::{Action, Outbox};
use super::record::{
    Damaged, GroupRecord, KekRecord, Key, MemberRecord, Record, ShapeRecord, SlotRecord, SpiKeyRecord,
    TekRecord,
};
use super::schedule::Timing;
use super::settings::{GroupSettings, TekShape};
use super::sid::SidCounter;
use super::tek::{SlotId, Spis, Tek};
use super::time::ServerTime;
use dispatch::Dispatch;
use getvpn_gdoi::crypto::Random;
use getvpn_gdoi::group::{EspSpi, GroupId, KekSpi, SpiKey};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What a call has at hand.
pub(super) struct Context<'a> {
    pub now: ServerTime,
    pub unix: Duration,
    pub random: &'a mut dyn Random,
    pub out: &'a mut Outbox,
    pub spis: &'a mut Spis,
}

/// A Data-Security SA that the group always has one of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Slot {
    /// Its number.
    pub id: SlotId,
    /// What it protects, and how.
    pub shape: Arc<TekShape>,
    /// How long one lives.
    pub lifetime: Duration,
}

/// A group.
#[derive(Debug)]
pub struct Group {
    settings: GroupSettings,
    /// Its name, for events.
    name: Arc<str>,
    slots: Vec<Slot>,
    next_slot: u32,
    /// All that live, the oldest first.
    teks: Vec<Arc<Tek>>,
    /// All that live, the oldest first; members are told about the last.
    keks: Vec<KekEntry>,
    line: u32,
    sids: SidCounter,
    /// A member wanted more than there are.
    sids_spent: bool,
    /// The counter of the line before, for registrations that were offered what that line has.
    draining: Option<(u32, SidCounter)>,
    version: u64,
    pub(super) members: Members,
    barred: BTreeSet<MemberKey>,
    /// The signing key of the next Rekey SA, made beforehand.
    spare: Option<FreshKey>,
    spare_asked: bool,
    /// What waits for that key.
    wanted: Option<Renewal>,
    /// By what its SPIs are marked.
    spi_key: SpiKey,
    /// SPIs that members are told to delete, until their lives would have ended.
    withdrawn: Vec<(EspSpi, ServerTime)>,
    /// Members are registering again; then those that have switch to what they got.
    switch_at: Option<ServerTime>,
    dispatch: Dispatch,
    /// Not served any longer; gone once its members know.
    closing: bool,
}

impl Group {
    /// A group that there has not been.
    pub(super) fn open(settings: GroupSettings, context: &mut Context<'_>) -> Self {
        let mut group = Self::empty(settings, SpiKey::draw(context.random));
        for tek in group.settings.teks.clone() {
            group.add_slot(Arc::new(tek.shape), tek.lifetime);
        }
        context.out.touch_group(group.id());
        group.renew(Renewal::everything(Why::Scheduled), context);
        group.log(context, What::Opened { id: group.id(), members: 0 });
        group
    }

    fn empty(settings: GroupSettings, spi_key: SpiKey) -> Self {
        Self {
            name: settings.name.as_str().into(),
            slots: Vec::new(),
            next_slot: 0,
            teks: Vec::new(),
            keks: Vec::new(),
            line: 0,
            sids: SidCounter::new(settings.sid_bits),
            sids_spent: false,
            draining: None,
            version: 0,
            members: Members::default(),
            barred: BTreeSet::new(),
            spare: None,
            spare_asked: false,
            wanted: None,
            spi_key,
            withdrawn: Vec::new(),
            switch_at: None,
            dispatch: Dispatch::default(),
            closing: false,
            settings,
        }
    }

    /// A group as a store holds it; its SAs and members follow.
    pub(super) fn restore(mut settings: GroupSettings, record: GroupRecord) -> Result<Self, Damaged> {
        // The counter goes on with the width that its IDs were handed out with; what the configuration
        // says now is a change of policy.
        settings.sid_bits = record.sid_bits;
        let mut group = Self::empty(settings, record.spi_key.restore()?);
        for slot in &record.slots {
            let shape = Arc::new(TekShape::try_from(&slot.shape)?);
            group.slots.push(Slot { id: SlotId(slot.id), shape, lifetime: slot.lifetime });
        }
        group.next_slot = record.next_slot;
        group.line = record.line;
        group.sids = SidCounter::restore(record.sid_bits, record.sids_reserved);
        group.members.restore_next(record.next_member);
        group.barred = record.barred.into_iter().collect();
        group.withdrawn = record.withdrawn.iter().map(|&(spi, until)| (EspSpi(spi), until)).collect();
        group.switch_at = record.switch_at;
        Ok(group)
    }

    pub(super) fn restore_tek(&mut self, tek: Tek) {
        let place = self.teks.partition_point(|other| (other.born, other.slot) <= (tek.born, tek.slot));
        self.teks.insert(place, Arc::new(tek));
    }

    pub(super) fn restore_kek(&mut self, entry: KekEntry) {
        let place = self.keks.partition_point(|other| (other.line, other.born) <= (entry.line, entry.born));
        self.keks.insert(place, entry);
    }

    /// After everything has been restored: goes on where it was, with the settings of now, and tells its
    /// members, some of which may have missed a rekey that the last run did not finish.
    pub(super) fn resume(&mut self, settings: GroupSettings, context: &mut Context<'_>) {
        let members = self.members.len();
        self.log(context, What::Opened { id: self.id(), members });
        self.end_keks(context);
        self.configure(settings, context);
        self.handle_time(context);
        if self.is_ready() && !self.has_rekeyed() {
            self.rekey_all(Why::Restart, context);
        }
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> GroupId {
        self.settings.id
    }

    /// What the operator wants of it.
    #[must_use]
    pub fn settings(&self) -> &GroupSettings {
        &self.settings
    }

    /// Its members.
    #[must_use]
    pub fn members(&self) -> &Members {
        &self.members
    }

    /// Its Data-Security SAs, the oldest first.
    pub fn teks(&self) -> impl Iterator<Item = &Tek> {
        self.teks.iter().map(|tek| &**tek)
    }

    /// Its Rekey SAs, the oldest first.
    #[must_use]
    pub fn keks(&self) -> &[KekEntry] {
        &self.keks
    }

    /// Whom the operator has removed.
    #[must_use]
    pub fn barred(&self) -> &BTreeSet<MemberKey> {
        &self.barred
    }

    /// Sender IDs that are left.
    #[must_use]
    pub fn sids(&self) -> &SidCounter {
        &self.sids
    }

    /// Whether it is being closed.
    #[must_use]
    pub fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether it has a Rekey SA that its members can be told of.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.current().is_some()
    }

    /// The Rekey SA that members are told of.
    fn current(&self) -> Option<&KekEntry> {
        self.keks.last().filter(|entry| entry.fate == Fate::Open)
    }

    /// Whether its members have been told to register again.
    #[must_use]
    pub fn is_registering_again(&self) -> bool {
        self.switch_at.is_some()
    }

    /// When the next generation of one of its SAs is made.
    #[must_use]
    pub fn next_renewal(&self) -> ServerTime {
        self.slots.iter().map(|slot| self.slot_due(slot)).fold(self.kek_due(), ServerTime::min)
    }

    /// The figures of its schedule.
    #[must_use]
    pub fn timing(&self) -> Timing {
        Timing::new(&self.settings, self.members.len())
    }

    fn log(&self, context: &mut Context<'_>, what: What) {
        context.out.log(Event { group: Arc::clone(&self.name), what });
    }

    fn add_slot(&mut self, shape: Arc<TekShape>, lifetime: Duration) -> SlotId {
        let id = SlotId(self.next_slot);
        self.next_slot += 1;
        self.slots.push(Slot { id, shape, lifetime });
        id
    }

    /// Hands in the signing key that was asked for.
    pub(super) fn take_signing_key(&mut self, key: FreshKey, context: &mut Context<'_>) {
        self.spare_asked = false;
        // The configuration may have changed meanwhile.
        if key.key.kind() == self.settings.kek.key {
            self.spare = Some(key);
        } else {
            self.ask_for_spare(context);
        }
        if let Some(renewal) = self.wanted.take() {
            self.renew(renewal, context);
        }
    }

    fn ask_for_spare(&mut self, context: &mut Context<'_>) {
        if !self.spare_asked && self.spare.is_none() && !self.closing {
            self.spare_asked = true;
            let (group, kind) = (self.id(), self.settings.kek.key);
            context.out.act(Action::MakeSigningKey { group, kind });
        }
    }

    /// Does what is due, and sends what is due.
    pub(super) fn handle_time(&mut self, context: &mut Context<'_>) {
        self.end_keks(context);
        self.end_teks(context);
        let over = self.withdrawn.len();
        self.withdrawn.retain(|&(_, until)| until > context.now);
        if self.switch_at.is_some_and(|at| at <= context.now) {
            self.switch_at = None;
            self.draining = None;
            context.out.touch_group(self.id());
        }
        if over != self.withdrawn.len() {
            context.out.touch_group(self.id());
        }
        if !self.closing {
            self.renew_what_is_due(context);
            self.ask_for_spare(context);
        }
        self.dispatch(context);
    }

    fn renew_what_is_due(&mut self, context: &mut Context<'_>) {
        let mut due = Renewal::nothing(Why::Scheduled);
        let slots = self.slots.iter().filter(|slot| self.slot_due(slot) <= context.now);
        due.teks = TekRenewal::Slots(slots.map(|slot| slot.id).collect());
        if self.current().is_none() {
            due.kek = KekRenewal::Replace;
            due.why = Why::KekLost;
        } else if self.settings.needs_sender_ids() && (self.sids.is_low() || self.sids_spent) {
            due.kek = KekRenewal::Replace;
            due.why = Why::SenderIds;
        } else if self.kek_due() <= context.now {
            due.kek = KekRenewal::Roll;
        }
        self.renew(due, context);
    }

    fn slot_due(&self, slot: &Slot) -> ServerTime {
        let newest = self.teks.iter().rev().find(|tek| tek.slot == slot.id && !tek.replaced);
        newest.map_or(ServerTime::ZERO, |tek| tek.ends.before(self.timing().lead(slot.lifetime)))
    }

    fn kek_due(&self) -> ServerTime {
        let lead = self.timing().lead(self.settings.kek.lifetime);
        self.current().map_or(ServerTime::ZERO, |entry| entry.ends.before(lead))
    }

    /// Rule S7: when a lifetime ends, the SA is deleted.
    fn end_teks(&mut self, context: &mut Context<'_>) {
        let (ended, live): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.teks).into_iter().partition(|tek| tek.ends <= context.now);
        self.teks = live;
        let mut withdrawn = false;
        for tek in ended {
            self.forget_tek(&tek, context);
            let natural_end = tek.born.after(tek.lifetime);
            if tek.withdraw && natural_end > context.now {
                self.withdrawn.push((tek.spi, natural_end));
                withdrawn = true;
            }
        }
        if withdrawn {
            self.version += 1;
            context.out.touch_group(self.id());
            self.rekey_all(Why::Withdrawal, context);
        }
    }

    fn forget_tek(&self, tek: &Tek, context: &mut Context<'_>) {
        context.out.touch_tek(self.id(), tek.spi);
        context.out.touched.insert(Key::DeadSpi(tek.spi.0));
        for forgotten in context.spis.bury(tek.spi, context.now) {
            context.out.touched.insert(Key::DeadSpi(forgotten.0));
        }
        self.log(context, What::TekEnded { spi: tek.spi });
    }

    fn end_keks(&mut self, context: &mut Context<'_>) {
        let (ended, live): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.keks).into_iter().partition(|entry| entry.ends <= context.now);
        self.keks = live;
        for entry in ended {
            context.out.touch_kek(self.id(), entry.kek.spi);
            self.log(context, What::KekEnded { spi: entry.kek.spi });
        }
    }

    /// When something is due next.
    #[must_use]
    pub fn next_time(&self) -> ServerTime {
        let mut next = self.dispatch.next_time();
        let mut at = |time: ServerTime| next = next.min(time);
        self.teks.iter().for_each(|tek| at(tek.ends));
        self.keks.iter().for_each(|entry| at(entry.ends));
        self.withdrawn.iter().for_each(|&(_, until)| at(until));
        self.switch_at.into_iter().for_each(&mut at);
        if self.wanted.is_none() && !self.closing {
            self.slots.iter().for_each(|slot| at(self.slot_due(slot)));
            at(self.kek_due());
        }
        next
    }

    /// The record of a part of it; `None` when it has no such part.
    pub(super) fn record(&self, key: &Key) -> Option<Record> {
        match *key {
            Key::Group(_) => Some(Record::Group(self.head())),
            Key::Tek(_, spi) => {
                let tek = self.teks.iter().find(|tek| tek.spi.0 == spi)?;
                Some(Record::Tek(TekRecord::from(&**tek)))
            }
            Key::Kek(_, spi) => {
                let entry = self.keks.iter().find(|entry| entry.kek.spi == KekSpi(spi))?;
                Some(Record::Kek(KekRecord::of(entry)))
            }
            Key::Member(_, id) => {
                let member = self.members.get(super::member::MemberId(id))?;
                Some(Record::Member(MemberRecord::from(member)))
            }
            Key::Clock | Key::DeadSpi(_) => None,
        }
    }

    fn head(&self) -> GroupRecord {
        let slot = |slot: &Slot| SlotRecord {
            id: slot.id.0,
            shape: ShapeRecord::from(&*slot.shape),
            lifetime: slot.lifetime,
        };
        GroupRecord {
            slots: self.slots.iter().map(slot).collect(),
            next_slot: self.next_slot,
            line: self.line,
            sid_bits: self.sids.bits(),
            sids_reserved: self.sids.reserved(),
            spi_key: SpiKeyRecord::from(&self.spi_key),
            next_member: self.members.next_id().0,
            barred: self.barred.iter().cloned().collect(),
            withdrawn: self.withdrawn.iter().map(|&(spi, until)| (spi.0, until)).collect(),
            switch_at: self.switch_at,
        }
    }
}
