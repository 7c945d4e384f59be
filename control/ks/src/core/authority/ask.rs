//! Rule S4: a member tells of an SPI that it has no SA for. If there is a live SA, the member gets the
//! next rekey, under the Rekey SA that it is known to have; if there is none, nothing happens and it is
//! counted. Nothing is ever deleted.

use super::super::access::Peer;
use super::super::counters::Last;
use super::super::event::{AskOutcome, Event, What};
use super::super::member::{MemberId, MemberKey};
use super::super::time::Now;
use super::Authority;
use getvpn_gdoi::crypto::Random;
use getvpn_gdoi::group::{EspSpi, GroupId};

impl Authority {
    /// An INVALID-SPI that phase 1 has authenticated.
    pub fn invalid_spi(&mut self, now: Now, peer: &Peer, spi: EspSpi, random: &mut dyn Random) -> AskOutcome {
        let outcome = self.ask(now, peer, spi, random);
        let last = Last { from: peer.address, spi: Some(spi), at: now.instant };
        self.out.counters.add_of(outcome.counted_as(), last);
        outcome
    }

    fn ask(&mut self, now: Now, peer: &Peer, spi: EspSpi, random: &mut dyn Random) -> AskOutcome {
        let Ok(key) = self.access.identify(peer) else { return AskOutcome::Foreign };
        let Some(id) = self.spis.group(spi) else {
            self.note_everywhere(now, &key, spi, AskOutcome::NoSuchSa);
            self.hear_everywhere(now, &key, random);
            return AskOutcome::NoSuchSa;
        };
        let member = self.groups.get(&id).and_then(|group| group.members().find(&key));
        let Some(member) = member else {
            self.note_everywhere(now, &key, spi, AskOutcome::Foreign);
            return AskOutcome::Foreign;
        };
        let outcome = self.answer(now, id, member, spi, random);
        if let Some(group) = self.groups.get_mut(&id) {
            let record = group.members.get_mut(member);
            let again = record.is_some_and(|record| record.asked.note(spi, now.unix, outcome));
            let what = What::Asked { member, spi, outcome, again };
            self.out.log(Event { group: group.settings().name.as_str().into(), what });
        }
        outcome
    }

    /// An SPI that belongs to no group of the member is noted in each of its groups: none is meant more than
    /// the others.
    fn note_everywhere(&mut self, now: Now, key: &MemberKey, spi: EspSpi, outcome: AskOutcome) {
        for group in self.groups.values_mut() {
            if let Some(member) = group.members.find(key).and_then(|id| group.members.get_mut(id)) {
                member.asked.note(spi, now.unix, outcome);
            }
        }
    }

    fn answer(
        &mut self,
        now: Now,
        id: GroupId,
        member: MemberId,
        spi: EspSpi,
        random: &mut dyn Random,
    ) -> AskOutcome {
        let time = self.clock.at(now.instant);
        let asks = &mut self.asks;
        let Some(group) = self.groups.get_mut(&id) else { return AskOutcome::NoSuchSa };
        let allowance = |lifetime| group.timing().rekey_allowance(lifetime);
        let Some(tek) = group.teks().find(|tek| tek.spi == spi) else { return AskOutcome::NoSuchSa };
        let ending = tek.policy(time, allowance(tek.lifetime)).is_none();
        let Some(record) = group.members.get_mut(member) else { return AskOutcome::Foreign };
        if !record.asks.take(time) {
            return AskOutcome::MemberLimit;
        }
        self.out.note_member(id, member);
        if ending {
            return AskOutcome::Ending;
        }
        if !asks.take(time) {
            return AskOutcome::ServerLimit;
        }
        let outcome = self.with_group(now, id, random, |group, context| {
            group.heard(member, context);
            group.answer(member, context)
        });
        outcome.unwrap_or(AskOutcome::NoSuchSa)
    }

    /// A silent member is one no longer, whatever it has to say.
    fn hear_everywhere(&mut self, now: Now, key: &MemberKey, random: &mut dyn Random) {
        let silent = |group: &super::Group| {
            let member = group.members().find(key).and_then(|id| group.members().get(id));
            member.filter(|member| member.is_silent()).map(|member| (group.id(), member.id))
        };
        let silent: Vec<_> = self.groups.values().filter_map(silent).collect();
        for (id, member) in silent {
            self.with_group(now, id, random, |group, context| group.heard(member, context));
        }
    }
}
