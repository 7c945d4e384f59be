//! The authority's start: from what the store holds and what the configuration says.

use super::super::counters::Counters;
use super::super::event::{Event, What};
use super::super::group::{Context, Group};
use super::super::limit::TokenBucket;
use super::super::outbox::Outbox;
use super::super::record::{Damaged, Key, Record};
use super::super::tek::Spis;
use super::super::time::{Clock, Now, ServerTime};
use super::{Authority, Limits, Settings};
use getvpn_gdoi::crypto::Random;
use getvpn_gdoi::group::{EspSpi, GroupId};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

pub(super) fn member_bucket(limits: &Limits) -> TokenBucket {
    bucket(limits.member_invalid_spi_per_s)
}

pub(super) fn bucket(per_s: u32) -> TokenBucket {
    TokenBucket::new(per_s.max(1), Duration::from_secs(1) / per_s.max(1))
}

impl Authority {
    /// Goes on from what the store holds; with an empty one, begins.
    ///
    /// # Errors
    /// When the records do not make sense.
    pub fn new(
        settings: Settings,
        stored: Vec<(Key, Record)>,
        now: Now,
        random: &mut dyn Random,
    ) -> Result<Self, Damaged> {
        let saved = stored.iter().find_map(|(_, record)| match record {
            Record::Clock(saved) => Some(*saved),
            _ => None,
        });
        let mut authority = Self {
            clock: Clock::start(saved.as_ref(), now),
            saved: None,
            groups: BTreeMap::new(),
            access: settings.access,
            limits: settings.limits,
            spis: Spis::default(),
            out: Outbox { counters: Counters::default(), ..Outbox::default() },
            pulls: HashMap::new(),
            pull_order: VecDeque::new(),
            waiting: Vec::new(),
            asks: bucket(settings.limits.invalid_spi_per_s),
            registrations: bucket(settings.limits.registrations_per_s),
        };
        authority.out.touched.insert(Key::Clock);
        let configured: BTreeMap<_, _> =
            settings.groups.iter().map(|group| (group.id, group.clone())).collect();
        authority.restore(stored, &configured, authority.clock.at(now.instant))?;
        for group in settings.groups {
            authority.start_group(group, now, random);
        }
        authority.remove_unauthorised(now, random);
        Ok(authority)
    }

    /// Records come in the order of their keys: a group before its parts.
    fn restore(
        &mut self,
        mut stored: Vec<(Key, Record)>,
        configured: &BTreeMap<GroupId, super::GroupSettings>,
        now: ServerTime,
    ) -> Result<(), Damaged> {
        stored.sort_by_key(|(key, _)| *key);
        for (key, record) in stored {
            match (key, record) {
                (Key::Clock, Record::Clock(_)) => {}
                (Key::DeadSpi(spi), Record::DeadSpi(died)) => {
                    self.spis.bury(EspSpi(spi), died);
                }
                (Key::Group(id), Record::Group(record)) => match configured.get(&GroupId(id)) {
                    Some(settings) => {
                        self.groups.insert(GroupId(id), Group::restore(settings.clone(), record)?);
                    }
                    None => self.lose(key, now),
                },
                (Key::Tek(id, spi), Record::Tek(record)) => match self.groups.get_mut(&GroupId(id)) {
                    Some(group) => {
                        group.restore_tek(record.restore(spi)?);
                        self.spis.restore_live(EspSpi(spi), GroupId(id));
                    }
                    None => self.lose(key, now),
                },
                (Key::Kek(id, spi), Record::Kek(record)) => match self.groups.get_mut(&GroupId(id)) {
                    Some(group) => group.restore_kek(record.restore(spi)?),
                    None => self.lose(key, now),
                },
                (Key::Member(id, member), Record::Member(record)) => {
                    match self.groups.get_mut(&GroupId(id)) {
                        Some(group) => {
                            group.members.insert(record.restore(member, member_bucket(&self.limits)));
                        }
                        None => self.lose(key, now),
                    }
                }
                _ => return Err(Damaged("a record is not of its key's kind")),
            }
        }
        Ok(())
    }

    /// Part of a group that the configuration no longer has.
    fn lose(&mut self, key: Key, now: ServerTime) {
        self.out.touched.insert(key);
        if let Key::Tek(_, spi) = key {
            self.spis.bury(EspSpi(spi), now);
            self.out.touched.insert(Key::DeadSpi(spi));
        }
    }

    /// Serves a group: one that is there already goes on, another begins.
    pub(super) fn start_group(&mut self, settings: super::GroupSettings, now: Now, random: &mut dyn Random) {
        let mut context = Context {
            now: self.clock.at(now.instant),
            unix: now.unix,
            random,
            out: &mut self.out,
            spis: &mut self.spis,
        };
        match self.groups.get_mut(&settings.id) {
            Some(group) => {
                group.resume(settings, &mut context);
            }
            None => {
                let group = Group::open(settings, &mut context);
                self.groups.insert(group.id(), group);
            }
        }
    }
}

impl Group {
    /// The records and SPIs of a group that is served no longer.
    pub(super) fn forget_everything(self, now: ServerTime, out: &mut Outbox, spis: &mut Spis) {
        let id = self.id();
        out.touch_group(id);
        for tek in self.teks() {
            out.touch_tek(id, tek.spi);
            out.touched.insert(Key::DeadSpi(tek.spi.0));
            for forgotten in spis.bury(tek.spi, now) {
                out.touched.insert(Key::DeadSpi(forgotten.0));
            }
        }
        self.keks().iter().for_each(|entry| out.touch_kek(id, entry.kek.spi));
        self.members().iter().for_each(|member| out.touch_member(id, member.id));
        out.log(Event { group: self.settings().name.as_str().into(), what: What::Closed });
    }
}
