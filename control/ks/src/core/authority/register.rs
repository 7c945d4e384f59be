//! Registrations: what the second message offers is kept, and the fourth keys exactly that. A change in
//! between follows as a rekey at once, so the SA/KD race of rule S3 cannot start here.

use super::super::access::{NoAccess, Peer};
use super::super::counters::Count;
use super::super::event::{Event, What};
use super::super::group::Snapshot;
use super::super::member::{Member, MemberKey};
use super::super::outbox::{Action, PullRef, Refusal};
use super::super::sid::SidRange;
use super::super::time::{Now, ServerTime};
use super::Authority;
use super::restore::member_bucket;
use getvpn_gdoi::crypto::Random;
use getvpn_gdoi::group::{GroupId, GroupPolicy};
use std::net::SocketAddr;
use std::time::Duration;

/// A registration that is not done by then is forgotten.
const LONGEST_PULL: Duration = Duration::from_secs(60);

/// A registration that has been offered a policy.
#[derive(Debug)]
pub(super) struct Pending {
    group: GroupId,
    key: MemberKey,
    peer: Peer,
    snapshot: Snapshot,
    policy: GroupPolicy,
    since: ServerTime,
}

/// A registration for a group that has no Rekey SA yet.
#[derive(Debug)]
pub(super) struct Waiting {
    pull: PullRef,
    key: MemberKey,
    peer: Peer,
    group: GroupId,
}

impl Authority {
    /// The first message of a registration.
    pub fn pull_requested(&mut self, now: Now, pull: PullRef, peer: Peer, group: GroupId) {
        let admitted = self.admit(&peer, group).and_then(|key| {
            let may = self.registrations.take(self.clock.at(now.instant));
            if may { Ok(key) } else { Err(Refusal::Busy) }
        });
        match admitted {
            Err(why) => self.refuse(now, pull, &peer, group, why),
            Ok(key) => self.offer(now, Waiting { pull, key, peer, group }),
        }
    }

    fn admit(&self, peer: &Peer, id: GroupId) -> Result<MemberKey, Refusal> {
        let group = self.groups.get(&id).filter(|group| !group.is_closing());
        let group = group.ok_or(Refusal::UnknownGroup)?;
        let key = self.access.identify(peer)?;
        self.access.allow(&key, id)?;
        if group.barred().contains(&key) {
            return Err(Refusal::Removed);
        }
        if !key.is_bounded() {
            return Err(Refusal::NameTooLong);
        }
        if self.pulls.len() + self.waiting.len() >= self.limits.pulls {
            return Err(Refusal::Busy);
        }
        Ok(key)
    }

    fn offer(&mut self, now: Now, pull: Waiting) {
        let time = self.clock.at(now.instant);
        let Some(group) = self.groups.get(&pull.group) else { return };
        let Some((snapshot, policy)) = group.offer(time, &pull.peer) else {
            self.waiting.push(pull);
            return;
        };
        let Waiting { pull, key, peer, group } = pull;
        let offered = policy.clone();
        self.pulls.insert(pull, Pending { group, key, peer, snapshot, policy: offered, since: time });
        self.pull_order.push_back((time, pull));
        let compat = self.groups.get(&group).map(|group| group.settings().compat).unwrap_or_default();
        self.out.act(Action::Offer { pull, policy, compat });
    }

    pub(super) fn offer_to_waiting(&mut self, now: Now) {
        for pull in std::mem::take(&mut self.waiting) {
            self.offer(now, pull);
        }
    }

    /// The third message of a registration, which may want a number of sender IDs, from that address.
    pub fn pull_confirmed(
        &mut self,
        now: Now,
        pull: PullRef,
        from: SocketAddr,
        sender_ids_wanted: Option<u16>,
        random: &mut dyn Random,
    ) {
        let Some(pending) = self.pulls.remove(&pull) else {
            return self.count(now, from, Count::UnknownPull);
        };
        if let Err(why) = self.key(now, pull, &pending, sender_ids_wanted, random) {
            self.refuse(now, pull, &pending.peer, pending.group, why);
            // Sender IDs that are used up start again, for when it comes back.
            self.with_group(now, pending.group, random, |group, context| group.handle_time(context));
        }
    }

    /// The owner has given a registration up.
    pub fn pull_gone(&mut self, pull: PullRef) {
        self.pulls.remove(&pull);
        self.waiting.retain(|waiting| waiting.pull != pull);
    }

    fn key(
        &mut self,
        now: Now,
        pull: PullRef,
        pending: &Pending,
        sender_ids_wanted: Option<u16>,
        random: &mut dyn Random,
    ) -> Result<(), Refusal> {
        let Pending { group: id, key, peer, snapshot, since, .. } = pending;
        // Who was let in a moment ago may have been removed meanwhile.
        self.admit(peer, *id)?;
        let time = self.clock.at(now.instant);
        let group = self.groups.get(id).ok_or(Refusal::UnknownGroup)?;
        if !group.keks().iter().any(|entry| entry.kek.spi == snapshot.kek.spi) {
            return Err(Refusal::OfferEnded);
        }
        // The lifetimes that message 2 stated hold for so long.
        if time.since(*since) > snapshot.allowance {
            return Err(Refusal::OfferEnded);
        }
        let known = group.members().find(key);
        if known.is_none() {
            self.make_room(*id)?;
        }
        let group = self.groups.get_mut(id).ok_or(Refusal::UnknownGroup)?;
        let before = (group.sids().reserved(), group.members().next_id());
        let sids = match snapshot.sender_ids {
            // 0 is what a peer of another make says when it wants the one that it gets anyway.
            true => group.take_sids(snapshot.line, sender_ids_wanted.unwrap_or(1).max(1).into()),
            false => Ok((SidRange::default(), 0)),
        };
        let (sids, bits) = sids?;
        let earlier = known.and_then(|id| group.members().get(id));
        let registrations = earlier.map_or(0, |member| member.registrations).saturating_add(1);
        let member = Member {
            id: known.unwrap_or_else(|| group.members().next_id()),
            key: key.clone(),
            address: peer.address,
            local: peer.local,
            registered_unix: now.unix,
            registrations,
            sids,
            kek: snapshot.kek.spi,
            line: snapshot.line,
            acknowledged: earlier.and_then(|member| member.acknowledged),
            asked: earlier.map(|member| member.asked).unwrap_or_default(),
            marks: Some(peer.is_getvpn),
            missed: 0,
            last_push: 0,
            asks: earlier.map_or_else(|| member_bucket(&self.limits), |member| member.asks),
            heard: time,
        };
        let (id, member_id, name) = (*id, member.id, member.key.to_string());
        group.members.insert(member);
        let moved = group.version() != snapshot.version;
        let name_of_group = group.settings().name.as_str().into();
        self.out.touch_member(id, member_id);
        if before != (group.sids().reserved(), group.members().next_id()) {
            self.out.touch_group(id);
        }
        self.out.counters.add(Count::Registrations);
        let mut keys = snapshot.keys();
        if snapshot.sender_ids {
            keys.sender_ids = Some(sids.sender_ids(bits));
        }
        self.out.act(Action::Keys {
            pull,
            policy: pending.policy.clone(),
            keys,
            sequence: snapshot.sequence,
        });
        let address = peer.address;
        let what = What::Registered { member: member_id, name, address, sids, times: registrations };
        self.out.log(Event { group: name_of_group, what });
        if moved {
            self.out.counters.add(Count::SnapshotsMoved);
        }
        self.with_group(now, id, random, |group, context| {
            if moved {
                group.follow_up(member_id, context);
            } else {
                group.is_up_to_date(member_id, context);
            }
            // Sender IDs may have run low.
            group.handle_time(context);
        });
        Ok(())
    }

    /// A new member needs room: in the place of one that has been silent for longest.
    fn make_room(&mut self, id: GroupId) -> Result<(), Refusal> {
        if self.members_in_all() < self.limits.members {
            return Ok(());
        }
        let silent = self.groups.get(&id).and_then(|group| group.members().longest_silent());
        self.forget_member(id, silent.ok_or(Refusal::GroupFull)?);
        Ok(())
    }

    fn refuse(&mut self, now: Now, pull: PullRef, peer: &Peer, group: GroupId, why: Refusal) {
        self.count(now, peer.address, why.count());
        let name = self.access.identify(peer).map_or_else(|_| peer.proof.to_string(), |key| key.to_string());
        // A group that is not served has no name here, only the number that was asked for.
        let known = self.groups.get(&group).map(|group| group.settings().name.as_str().into());
        let group = known.unwrap_or_else(|| group.to_string().into());
        self.out.log(Event { group, what: What::Refused { peer: peer.address, name, why } });
        self.out.act(Action::Refuse { pull, why });
    }

    pub(super) fn drop_old_pulls(&mut self, now: ServerTime) {
        while let Some(&(since, pull)) = self.pull_order.front() {
            if now.since(since) < LONGEST_PULL {
                break;
            }
            self.pull_order.pop_front();
            // The number may have been used again since.
            if self.pulls.get(&pull).is_some_and(|pending| pending.since == since) {
                self.pulls.remove(&pull);
            }
        }
        // A storm of registrations leaves large tables behind.
        if self.pull_order.is_empty() {
            self.pulls.shrink_to_fit();
            self.pull_order.shrink_to_fit();
        }
    }
}

impl From<NoAccess> for Refusal {
    fn from(no: NoAccess) -> Self {
        match no {
            NoAccess::UnknownPeer => Refusal::UnknownPeer,
            NoAccess::NotItsGroup => Refusal::NotItsGroup,
        }
    }
}

impl Refusal {
    fn count(self) -> Count {
        match self {
            Refusal::UnknownGroup => Count::RefusedUnknownGroup,
            Refusal::UnknownPeer => Count::RefusedUnknownPeer,
            Refusal::NotItsGroup => Count::RefusedNotItsGroup,
            Refusal::Removed => Count::RefusedRemoved,
            Refusal::NameTooLong => Count::RefusedNameTooLong,
            Refusal::TooManySenderIds => Count::RefusedTooManySenderIds,
            Refusal::SenderIdsUsedUp => Count::RefusedSenderIdsUsedUp,
            Refusal::GroupFull => Count::RefusedGroupFull,
            Refusal::Busy => Count::RefusedBusy,
            Refusal::OfferEnded => Count::RefusedOfferEnded,
        }
    }
}
