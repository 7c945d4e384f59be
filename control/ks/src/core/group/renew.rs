//! New generations: which SAs of a group are made anew, and what becomes of those before them.
//!
//! Without a key hierarchy (LKH, RFC 6407 section 5.6.3) a Rekey SA can be replaced in two ways only.
//! *Roll*: a rekey under the old one carries the new one; whoever knows the old one can read it.
//! *Replace*: a rekey under the old one deletes it, and everybody registers again; whoever may not
//! register is out, and so are sender IDs, which start again. The old Data-Security SAs go on meanwhile:
//! members that have registered again receive with them, and send with the new ones from one common
//! moment on.

use super::super::event::{What, Why};
use super::super::kek::{Fate, Kek, KekEntry, Sequence};
use super::super::schedule::registration_allowance;
use super::super::sid::SidCounter;
use super::super::tek::{SlotId, Tek};
use super::super::time::ServerTime;
use super::{Context, Group};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// What is to be made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Renewal {
    /// Data-Security SAs.
    pub teks: TekRenewal,
    /// The Rekey SA.
    pub kek: KekRenewal,
    /// What becomes of the Data-Security SAs that are replaced.
    pub retire: Retire,
    /// Why.
    pub why: Why,
}

/// Which Data-Security SAs are made anew.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TekRenewal {
    /// These.
    Slots(BTreeSet<SlotId>),
    /// All.
    All,
}

/// Whether the Rekey SA is made anew, and how members learn of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum KekRenewal {
    /// It is not.
    Keep,
    /// By a rekey.
    Roll,
    /// By registering again.
    Replace,
}

/// How soon a replaced Data-Security SA ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Retire {
    /// At its time.
    Naturally,
    /// Soon: the policy has changed.
    Soon,
    /// As soon as all have its successor, and members are told to delete it: one that knows it is out.
    Quickly,
}

impl Renewal {
    /// Nothing.
    #[must_use]
    pub fn nothing(why: Why) -> Self {
        Self {
            teks: TekRenewal::Slots(BTreeSet::new()),
            kek: KekRenewal::Keep,
            retire: Retire::Naturally,
            why,
        }
    }

    /// All there is, as for a group that begins.
    #[must_use]
    pub fn everything(why: Why) -> Self {
        Self { teks: TekRenewal::All, kek: KekRenewal::Replace, retire: Retire::Naturally, why }
    }

    fn is_nothing(&self) -> bool {
        self.kek == KekRenewal::Keep && matches!(&self.teks, TekRenewal::Slots(slots) if slots.is_empty())
    }

    /// Both of them.
    fn and(self, other: Self) -> Self {
        let teks = match (self.teks, other.teks) {
            (TekRenewal::Slots(mut slots), TekRenewal::Slots(more)) => {
                slots.extend(more);
                TekRenewal::Slots(slots)
            }
            _ => TekRenewal::All,
        };
        let why = if other.kek > self.kek { other.why } else { self.why };
        Self { teks, kek: self.kek.max(other.kek), retire: self.retire.max(other.retire), why }
    }
}

impl Group {
    /// Makes SAs anew and tells the members. What needs a signing key that is not there waits for it, but
    /// a scheduled generation of Data-Security SAs does not.
    pub(in crate::core) fn renew(&mut self, renewal: Renewal, context: &mut Context<'_>) {
        if renewal.is_nothing() {
            return;
        }
        if renewal.kek != KekRenewal::Keep && self.spare.is_none() {
            let apart = renewal.kek == KekRenewal::Roll && renewal.retire == Retire::Naturally;
            let (now, later) = if apart {
                let now = Renewal { kek: KekRenewal::Keep, ..renewal.clone() };
                (now, Renewal { teks: TekRenewal::Slots(BTreeSet::new()), ..renewal })
            } else {
                (Renewal::nothing(renewal.why), renewal)
            };
            self.wanted = Some(match self.wanted.take() {
                Some(before) => before.and(later),
                None => later,
            });
            self.ask_for_spare(context);
            return self.renew(now, context);
        }
        let whole = renewal.kek == KekRenewal::Replace;
        match renewal.kek {
            KekRenewal::Keep => {}
            KekRenewal::Roll => self.roll_kek(renewal.retire, context),
            KekRenewal::Replace => self.replace_line(&renewal, context),
        }
        let slots: Vec<_> = match &renewal.teks {
            TekRenewal::Slots(slots) if !whole => {
                self.slots.iter().filter(|slot| slots.contains(&slot.id)).cloned().collect()
            }
            _ => self.slots.clone(),
        };
        for slot in slots {
            if !whole {
                self.retire(slot.id, renewal.retire, context);
            }
            let spi = context.spis.draw(self.id(), &mut self.spi_key, context.random);
            let (id, now, lifetime) = (slot.id, context.now, slot.lifetime);
            let tek = Tek::draw(spi, id, &slot.shape, now, lifetime, context.random);
            context.out.touch_tek(self.id(), spi);
            self.log(context, What::TekMade { spi, lifetime });
            self.teks.push(Arc::new(tek));
        }
        self.version += 1;
        context.out.touch_group(self.id());
        self.rekey_all(renewal.why, context);
    }

    /// The generations of a slot give way to the next, or to nothing.
    pub(super) fn retire(&mut self, slot: SlotId, retire: Retire, context: &mut Context<'_>) {
        let (timing, id) = (self.timing(), self.id());
        for tek in self.teks.iter_mut().filter(|tek| tek.slot == slot) {
            let left = match retire {
                Retire::Naturally => Duration::MAX,
                Retire::Soon => timing.retirement(tek.lifetime),
                Retire::Quickly => timing.quick_retirement(tek.lifetime),
            };
            let ends = tek.ends.min(context.now.after(left));
            let tek = Arc::make_mut(tek);
            tek.withdraw |= retire != Retire::Naturally && ends < tek.ends;
            (tek.replaced, tek.ends) = (true, ends);
            context.out.touch_tek(id, tek.spi);
        }
    }

    /// A new Rekey SA of the same line. The old one stays for those that have not heard of it.
    fn roll_kek(&mut self, retire: Retire, context: &mut Context<'_>) {
        if retire == Retire::Quickly {
            let ends = context.now.after(self.timing().quick_retirement(self.settings.kek.lifetime));
            self.shorten_keks(ends, context);
        }
        self.add_kek(context);
    }

    /// A new line: those that know a Rekey SA of the one before are told to register again.
    fn replace_line(&mut self, renewal: &Renewal, context: &mut Context<'_>) {
        let timing = self.timing();
        let members = self.members.len();
        let wait = if members == 0 { Duration::ZERO } else { timing.registering_again() };
        for entry in &mut self.keks {
            entry.fate = Fate::Closed;
        }
        // Long enough to tell everyone, and those that come late too.
        let told = context.now.after(timing.quick_retirement(self.settings.kek.lifetime).max(wait));
        self.shorten_keks(told, context);
        self.line += 1;
        self.sids_spent = false;
        let fresh = SidCounter::new(self.settings.sid_bits);
        self.draining = Some((self.line - 1, std::mem::replace(&mut self.sids, fresh)));
        self.switch_over(context.now.after(wait), members > 0, renewal.retire, context);
        if members > 0 {
            self.log(context, What::AllRegisterAgain { why: renewal.why, members });
        }
        self.add_kek(context);
    }

    /// The old Data-Security SAs are received with until all have switched, and a little longer; not at
    /// all where nobody has them.
    fn switch_over(&mut self, at: ServerTime, in_use: bool, retire: Retire, context: &mut Context<'_>) {
        self.switch_at = in_use.then_some(at);
        let gap = self.settings.gap;
        let longer = gap.deactivation_delay.max(gap.activation_delay) + Duration::from_secs(1);
        let id = self.id();
        for tek in &mut self.teks {
            let tek = Arc::make_mut(tek);
            // Who registers is told of an end that is earlier by this.
            let longer = longer + registration_allowance(tek.lifetime);
            let last = if in_use { at.after(longer) } else { context.now };
            tek.withdraw |= in_use && retire == Retire::Quickly && last < tek.ends;
            (tek.receive_only, tek.replaced, tek.ends) = (true, true, tek.ends.min(last));
            context.out.touch_tek(id, tek.spi);
        }
    }

    fn shorten_keks(&mut self, ends: ServerTime, context: &mut Context<'_>) {
        let id = self.id();
        for entry in &mut self.keks {
            entry.ends = entry.ends.min(ends);
            context.out.touch_kek(id, entry.kek.spi);
        }
    }

    fn add_kek(&mut self, context: &mut Context<'_>) {
        let Some(signing) = self.spare.take() else { return };
        let kek = Kek::draw(&self.settings, signing, context.random);
        let lifetime = self.settings.kek.lifetime;
        context.out.touch_kek(self.id(), kek.spi);
        self.log(context, What::KekMade { spi: kek.spi, lifetime });
        self.keks.push(KekEntry {
            kek: Arc::new(kek),
            line: self.line,
            born: context.now,
            ends: context.now.after(lifetime),
            fate: Fate::Open,
            sequence: Sequence::default(),
        });
        self.ask_for_spare(context);
    }
}
