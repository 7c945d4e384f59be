//! What operators ask for: a rekey, a member's removal, another configuration.
//!
//! A removed member knows the old Rekey SA. Unicast rekeys carry the new one under the old one, but only
//! to the others: the removed member is out unless it can read what is sent to them. A multicast rekey
//! would reach it as well; there the old Rekey SA is deleted instead and all register again, which it may
//! not. In either case the Data-Security SAs that it knows end as soon as all others have the new ones.

use super::super::event::Why;
use super::super::group::{Difference, Group, KekRenewal, Renewal, Retire, TekRenewal, differences};
use super::super::member::MemberId;
use super::super::time::Now;
use super::restore::bucket;
use super::{Authority, Settings};
use getvpn_gdoi::crypto::Random;
use getvpn_gdoi::group::GroupId;

/// Live Data-Security SAs of one kind, beyond which a rekey on demand has to wait until some have ended.
const MOST_GENERATIONS: usize = 8;

/// Why a command was not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// There is no such group.
    #[error("there is no such group")]
    NoSuchGroup,
    /// There is no such member.
    #[error("there is no such member in the group")]
    NoSuchMember,
    /// Rekeys on demand have come too fast.
    #[error("{0} generations of an SA are alive; wait until older ones have ended")]
    TooManyGenerations(usize),
}

/// What a rekey on demand makes anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RekeyWhat {
    /// The Data-Security SAs.
    Teks,
    /// The Rekey SA as well.
    TeksAndKek,
}

/// What a new configuration would change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ReloadPlan {
    /// Groups that begin.
    pub added: Vec<String>,
    /// Groups that are served no longer.
    pub removed: Vec<String>,
    /// What changes in the others; only groups that something changes in.
    pub changed: Vec<(String, Vec<Difference>)>,
    /// Members that may no longer be in their group.
    pub members_removed: Vec<(String, String)>,
}

impl ReloadPlan {
    /// Whether nothing would change.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Authority {
    /// Makes the SAs of a group anew, now.
    ///
    /// # Errors
    /// When there is no such group, or it has too many live SAs.
    pub fn rekey(
        &mut self,
        now: Now,
        id: GroupId,
        what: RekeyWhat,
        random: &mut dyn Random,
    ) -> Result<(), CommandError> {
        let group = self.groups.get(&id).ok_or(CommandError::NoSuchGroup)?;
        let alive = group.most_generations();
        if alive >= MOST_GENERATIONS {
            return Err(CommandError::TooManyGenerations(alive));
        }
        let kek = match what {
            RekeyWhat::Teks => KekRenewal::Keep,
            RekeyWhat::TeksAndKek => KekRenewal::Roll,
        };
        let renewal = Renewal { teks: TekRenewal::All, kek, retire: Retire::Soon, why: Why::OnDemand };
        self.with_group(now, id, random, |group, context| group.renew(renewal, context));
        Ok(())
    }

    /// Removes a member from a group, and keeps it out until it is readmitted.
    ///
    /// # Errors
    /// When there is no such group or member.
    pub fn remove_member(
        &mut self,
        now: Now,
        id: GroupId,
        member: MemberId,
        random: &mut dyn Random,
    ) -> Result<(), CommandError> {
        let group = self.groups.get(&id).ok_or(CommandError::NoSuchGroup)?;
        group.members().get(member).ok_or(CommandError::NoSuchMember)?;
        self.remove_members(now, id, &[member], true, random);
        Ok(())
    }

    /// Lets a removed member register again; `name` is as the list of removed members shows it.
    ///
    /// # Errors
    /// When there is no such group, or no such member has been removed.
    pub fn readmit_member(&mut self, id: GroupId, name: &str) -> Result<(), CommandError> {
        let group = self.groups.get_mut(&id).ok_or(CommandError::NoSuchGroup)?;
        if !group.readmit(name) {
            return Err(CommandError::NoSuchMember);
        }
        self.out.touch_group(id);
        Ok(())
    }

    pub(super) fn remove_members(
        &mut self,
        now: Now,
        id: GroupId,
        members: &[MemberId],
        bar: bool,
        random: &mut dyn Random,
    ) {
        self.with_group(now, id, random, |group, context| group.remove(members, bar, context));
    }

    /// Members that the configuration does not let into their group any longer are removed.
    pub(super) fn remove_unauthorised(&mut self, now: Now, random: &mut dyn Random) {
        let mut gone = Vec::new();
        for group in self.groups.values().filter(|group| !group.is_closing()) {
            let id = group.id();
            let out = group.members().iter().filter(|member| self.access.allow(&member.key, id).is_err());
            let out: Vec<_> = out.map(|member| member.id).collect();
            if !out.is_empty() {
                gone.push((id, out));
            }
        }
        for (id, members) in gone {
            self.remove_members(now, id, &members, false, random);
        }
    }

    /// What these settings would change.
    #[must_use]
    pub fn plan(&self, settings: &Settings) -> ReloadPlan {
        let mut plan = ReloadPlan::default();
        for new in &settings.groups {
            match self.groups.get(&new.id) {
                None => plan.added.push(new.name.clone()),
                Some(group) => {
                    let differences = differences(group, new);
                    if !differences.is_empty() {
                        plan.changed.push((group.settings().name.clone(), differences));
                    }
                }
            }
        }
        for group in self.groups.values() {
            let name = &group.settings().name;
            if !settings.groups.iter().any(|new| new.id == group.id()) {
                plan.removed.push(name.clone());
                continue;
            }
            let gone = group
                .members()
                .iter()
                .filter(|member| settings.access.allow(&member.key, group.id()).is_err());
            plan.members_removed.extend(gone.map(|member| (name.clone(), member.key.to_string())));
        }
        plan
    }

    /// Does what these settings say from now on. Returns what changed.
    pub fn reload(&mut self, now: Now, settings: Settings, random: &mut dyn Random) -> ReloadPlan {
        let plan = self.plan(&settings);
        let Settings { groups, access, limits } = settings;
        (self.access, self.limits) = (access, limits);
        self.asks = bucket(limits.invalid_spi_per_s);
        self.registrations = bucket(limits.registrations_per_s);
        let closed: Vec<_> = self
            .groups
            .values()
            .filter(|group| !group.is_closing() && !groups.iter().any(|new| new.id == group.id()))
            .map(Group::id)
            .collect();
        for id in closed {
            self.with_group(now, id, random, |group, context| group.close(context));
        }
        for new in groups {
            let id = new.id;
            if self.groups.get(&id).is_some_and(Group::is_closing)
                && let Some(closing) = self.groups.remove(&id)
            {
                closing.forget_everything(self.clock.at(now.instant), &mut self.out, &mut self.spis);
            }
            if self.groups.contains_key(&id) {
                self.with_group(now, id, random, |group, context| group.configure(new, context));
            } else {
                self.start_group(new, now, random);
            }
        }
        self.remove_unauthorised(now, random);
        self.drop_closed(self.clock.at(now.instant));
        plan
    }
}
