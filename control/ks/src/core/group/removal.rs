//! Members that go, and sender IDs for those that come.

use super::super::event::{What, Why};
use super::super::kek::Fate;
use super::super::member::{MemberId, MemberKey};
use super::super::outbox::Refusal;
use super::super::settings::Transport;
use super::super::sid::SidRange;
use super::{Context, Group, KekRenewal, Renewal, Retire, TekRenewal};

impl Group {
    /// Removes members: they are told to delete what they have, and all others get new keys, by a way
    /// that does not go past the removed ones.
    pub(in crate::core) fn remove(&mut self, members: &[MemberId], bar: bool, context: &mut Context<'_>) {
        let id = self.id();
        for &member in members {
            let Some(removed) = self.members.remove(member) else { continue };
            context.out.touch_member(id, member);
            self.say_farewell(&removed, context);
            context.out.disconnect.push(removed.address);
            self.log(context, What::Removed { member, name: removed.key.to_string() });
            if bar {
                self.barred.insert(removed.key);
            }
        }
        context.out.touch_group(id);
        let heard_by_all = |kek: &super::KekEntry| {
            kek.fate == Fate::Open && matches!(kek.kek.transport, Transport::Multicast(_))
        };
        let kek = if self.keks.iter().any(heard_by_all) { KekRenewal::Replace } else { KekRenewal::Roll };
        let why = Why::Removal;
        self.renew(Renewal { teks: TekRenewal::All, kek, retire: Retire::Quickly, why }, context);
    }

    /// Lets a removed member in again; whether there is one of that name.
    pub(in crate::core) fn readmit(&mut self, name: &str) -> bool {
        let named = |key: &&MemberKey| key.to_string() == name;
        let key = self.barred.iter().find(named).cloned();
        key.is_some_and(|key| self.barred.remove(&key))
    }

    /// Sender IDs for a member that was offered the SAs of this line, with their width.
    pub(in crate::core) fn take_sids(&mut self, line: u32, count: u32) -> Result<(SidRange, u8), Refusal> {
        let counter = match &mut self.draining {
            _ if line == self.line => &mut self.sids,
            Some((draining, counter)) if *draining == line => counter,
            _ => return Err(Refusal::OfferEnded),
        };
        if count > counter.most_for_one() {
            return Err(Refusal::TooManySenderIds);
        }
        let bits = counter.bits();
        let taken = counter.take(count).map(|range| (range, bits));
        if taken.is_err() && line == self.line {
            self.sids_spent = true;
        }
        taken.map_err(|_| Refusal::SenderIdsUsedUp)
    }

    /// The most generations that one of its Data-Security SAs has alive.
    #[must_use]
    pub fn most_generations(&self) -> usize {
        let alive = |slot: &super::Slot| self.teks.iter().filter(|tek| tek.slot == slot.id).count();
        self.slots.iter().map(alive).max().unwrap_or(0)
    }
}
