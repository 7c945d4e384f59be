//! How rekeys get to the members: paced, sent again to those that have not acknowledged, by multicast as
//! a whole, and to one member that has asked.
//!
//! A rekey is one message under each Rekey SA that members may listen to: the one that a member is known
//! to have, and those that have replaced it since. Each is signed once and is the same datagram for all,
//! also when it is sent again. A newer rekey takes the place of one under way.

mod lag;

use super::super::counters::Count;
use super::super::event::{AskOutcome, What, Why};
use super::super::limit::TokenBucket;
use super::super::member::{Acknowledged, Member, MemberId};
use super::super::outbox::Action;
use super::super::push::PushMessage;
use super::super::settings::Transport;
use super::super::time::ServerTime;
use super::{Context, Group};
use getvpn_gdoi::group::{KekSpi, Rekey};
use getvpn_gdoi::member::histogram::Histogram;
use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// For so long one rekey answers those that ask, each at most once.
const SHARED_ANSWER: Duration = Duration::from_secs(1);

/// Multicast rekeys that answer askers: two at once, then one in this time.
const MULTICAST_ANSWER_INTERVAL: Duration = Duration::from_millis(100);

/// What is on its way to the members of a group.
#[derive(Debug)]
pub(super) struct Dispatch {
    /// Numbers rekeys within this run of the server.
    serial: u64,
    latest: Option<Push>,
    targets: HashMap<MemberId, Target>,
    /// When something is due for a target.
    queue: BTreeSet<(ServerTime, MemberId)>,
    pace: TokenBucket,
    paused_until: ServerTime,
    copies: Vec<Copies>,
    running: Option<Running>,
    answers: TokenBucket,
    answer_due: Option<ServerTime>,
    /// How long acknowledgements took.
    acknowledged_after: Histogram,
}

/// A rekey: one message for each Rekey SA, made when the first member needs it.
#[derive(Debug)]
struct Push {
    serial: u64,
    version: u64,
    made: ServerTime,
    messages: Vec<Arc<PushMessage>>,
}

/// A member that has not got the rekey yet, as far as is known.
#[derive(Debug)]
struct Target {
    messages: Vec<Arc<PushMessage>>,
    /// How often it is still sent.
    tries: u32,
    due: ServerTime,
    /// When it was sent for the first time.
    sent: Option<ServerTime>,
    /// Whether it counts when no acknowledgement comes.
    counts: bool,
}

/// A message that is sent several times whatever is acknowledged: by multicast, or to a member that has
/// been removed.
#[derive(Debug)]
struct Copies {
    from: SocketAddr,
    to: SocketAddr,
    message: Arc<PushMessage>,
    left: u32,
    due: ServerTime,
    farewell: bool,
}

/// The rekey of all members that is under way.
#[derive(Clone, Copy, Debug)]
struct Running {
    why: Why,
    acknowledged: u32,
    missed: u32,
}

impl Default for Dispatch {
    fn default() -> Self {
        Self {
            serial: 0,
            latest: None,
            targets: HashMap::new(),
            queue: BTreeSet::new(),
            pace: TokenBucket::new(1, Duration::ZERO),
            paused_until: ServerTime::ZERO,
            copies: Vec::new(),
            running: None,
            answers: TokenBucket::new(2, MULTICAST_ANSWER_INTERVAL),
            answer_due: None,
            acknowledged_after: Histogram::default(),
        }
    }
}

impl Dispatch {
    pub(super) fn next_time(&self) -> ServerTime {
        let queued = self.queue.first().map(|&(due, _)| due.max(self.paused_until));
        let copies = self.copies.iter().map(|copies| copies.due);
        copies.chain(queued).chain(self.answer_due).min().unwrap_or(ServerTime::NEVER)
    }

    fn is_idle(&self) -> bool {
        self.targets.is_empty() && self.copies.is_empty()
    }

    fn enqueue(&mut self, id: MemberId, target: Target) {
        self.forget(id);
        self.queue.insert((target.due, id));
        self.targets.insert(id, target);
    }

    fn forget(&mut self, id: MemberId) -> Option<Target> {
        let target = self.targets.remove(&id)?;
        self.queue.remove(&(target.due, id));
        Some(target)
    }
}

impl Group {
    /// Sends the state of the group to all members.
    pub(super) fn rekey_all(&mut self, why: Why, context: &mut Context<'_>) {
        let (now, rekey) = (context.now, self.settings.rekey);
        self.finish(context);
        self.new_push(now);
        let gap = Duration::from_secs(1) / rekey.rate.max(1);
        self.dispatch.pace = TokenBucket::new((rekey.rate / 20).max(1), gap);
        self.dispatch.targets.clear();
        self.dispatch.queue.clear();
        self.dispatch.copies.retain(|copies| copies.farewell);
        let checked = now.after(self.timing().reach + rekey.interval);
        let mut targets = Vec::new();
        for member in self.members.iter().filter(|member| !member.is_silent()) {
            let listens: Vec<_> = self.listens(member).collect();
            let by_unicast = listens.iter().any(|&at| self.keks[at].kek.transport == Transport::Unicast);
            let (tries, due, sent) =
                if by_unicast { (rekey.retransmits + 1, now, None) } else { (0, checked, Some(now)) };
            if by_unicast || (!listens.is_empty() && rekey.acknowledge.is_some()) {
                targets.push((member.id, Target { messages: Vec::new(), tries, due, sent, counts: true }));
            }
        }
        let members = targets.len();
        targets.into_iter().for_each(|(id, target)| self.dispatch.enqueue(id, target));
        let sent = self.multicast(rekey.retransmits + 1, context);
        if members > 0 || sent {
            self.dispatch.running = Some(Running { why, acknowledged: 0, missed: 0 });
            context.out.counters.add(Count::Rekeys);
            self.log(context, What::RekeyBegun { why, members });
        }
        self.dispatch(context);
    }

    /// Whether a member has not acknowledged a rekey that it has been or is to be sent.
    #[must_use]
    pub fn awaits(&self, id: MemberId) -> bool {
        self.dispatch.targets.get(&id).is_some_and(|target| target.counts)
    }

    /// Whether a rekey has begun since the server's start.
    pub(super) fn has_rekeyed(&self) -> bool {
        self.dispatch.serial > 0
    }

    /// Whether everything has been sent.
    pub(in crate::core) fn is_quiet(&self) -> bool {
        self.dispatch.is_idle()
    }

    fn new_push(&mut self, now: ServerTime) {
        self.dispatch.serial += 1;
        let (serial, version) = (self.dispatch.serial, self.version);
        self.dispatch.latest = Some(Push { serial, version, made: now, messages: Vec::new() });
    }

    /// The places of the Rekey SAs that a member may listen to.
    fn listens(&self, member: &Member) -> impl Iterator<Item = usize> + use<> {
        let known = self.keks.iter().position(|entry| entry.kek.spi == member.kek);
        let same_line = |line: u32| self.keks.iter().position(|entry| entry.line == line);
        let first = known.or_else(|| same_line(member.line)).unwrap_or(self.keks.len());
        let line = member.line;
        let places: Vec<_> =
            (first..self.keks.len()).filter(|&place| self.keks[place].line == line).collect();
        places.into_iter()
    }

    /// The latest rekey's message under the Rekey SA at this place.
    fn message(&mut self, place: usize, context: &mut Context<'_>) -> Option<Arc<PushMessage>> {
        let spi = self.keks.get(place)?.kek.spi;
        let latest = self.dispatch.latest.as_ref()?;
        if let Some(made) = latest.messages.iter().find(|message| message.kek.spi == spi) {
            return Some(Arc::clone(made));
        }
        let sequence = self.next_sequence(place, context)?;
        let rekey = self.rekey_under(&self.keks[place], sequence, context.now);
        let message = self.push_message(place, rekey, context);
        self.dispatch.latest.as_mut()?.messages.push(Arc::clone(&message));
        Some(message)
    }

    fn next_sequence(&mut self, place: usize, context: &mut Context<'_>) -> Option<u32> {
        let id = self.id();
        let entry = self.keks.get_mut(place)?;
        let reserved = entry.sequence.reserved();
        let sequence = entry.sequence.take()?;
        if entry.sequence.reserved() != reserved {
            context.out.touch_kek(id, entry.kek.spi);
        }
        Some(sequence)
    }

    fn push_message(&self, place: usize, rekey: Rekey, context: &mut Context<'_>) -> Arc<PushMessage> {
        context.out.counters.add(Count::PushesMade);
        let (kek, source) = (Arc::clone(&self.keks[place].kek), self.settings.rekey.source);
        Arc::new(PushMessage::new(kek, rekey, source, self.settings.compat))
    }

    /// Sends what is due.
    pub(super) fn dispatch(&mut self, context: &mut Context<'_>) {
        self.send_copies(context);
        while let Some(&(due, id)) = self.dispatch.queue.first() {
            if due > context.now {
                break;
            }
            let Some(tries) = self.dispatch.targets.get(&id).map(|target| target.tries) else {
                self.dispatch.queue.remove(&(due, id));
                continue;
            };
            if tries == 0 {
                self.give_up(id, context);
            } else if self.dispatch.pace.take(context.now) {
                self.send_next(id, context);
            } else {
                self.dispatch.paused_until = self.dispatch.pace.next(context.now);
                break;
            }
        }
        if self.dispatch.answer_due.is_some_and(|due| due <= context.now) {
            self.dispatch.answer_due = None;
            self.dispatch.answers.take(context.now);
            self.answer_by_multicast(context);
        }
        if self.dispatch.is_idle() {
            self.finish(context);
        }
    }

    fn finish(&mut self, context: &mut Context<'_>) {
        if let Some(Running { why, acknowledged, missed }) = self.dispatch.running.take() {
            self.log(context, What::RekeyEnded { why, acknowledged, missed });
        }
    }

    fn send_next(&mut self, id: MemberId, context: &mut Context<'_>) {
        let Some(mut target) = self.dispatch.forget(id) else { return };
        let messages = std::mem::take(&mut target.messages);
        target.messages = if messages.is_empty() { self.messages_for(id, true, context) } else { messages };
        self.send_to(id, &target.messages, context);
        target.sent = target.sent.or(Some(context.now));
        target.tries -= 1;
        target.due = context.now.after(self.settings.rekey.interval);
        if target.tries > 0 || self.settings.rekey.acknowledge.is_some() {
            self.dispatch.enqueue(id, target);
        }
    }

    /// The latest rekey's messages for one member: those that go by unicast, or those that go by multicast.
    fn messages_for(
        &mut self,
        id: MemberId,
        by_unicast: bool,
        context: &mut Context<'_>,
    ) -> Vec<Arc<PushMessage>> {
        let Some(member) = self.members.get(id) else { return Vec::new() };
        let places = self.listens(member);
        let serial = self.dispatch.serial;
        let messages = places
            .filter(|&place| (self.keks[place].kek.transport == Transport::Unicast) == by_unicast)
            .collect::<Vec<_>>()
            .into_iter()
            .filter_map(|place| self.message(place, context))
            .collect();
        if let Some(member) = self.members.get_mut(id) {
            member.last_push = serial;
        }
        messages
    }

    fn send_to(&self, id: MemberId, messages: &[Arc<PushMessage>], context: &mut Context<'_>) {
        let Some(member) = self.members.get(id) else { return };
        for push in messages {
            context.out.counters.add(Count::PushesSent);
            let (from, to) = (member.local, member.address);
            context.out.act(Action::Send { from, to, push: Arc::clone(push) });
        }
    }

    fn give_up(&mut self, id: MemberId, context: &mut Context<'_>) {
        let Some(target) = self.dispatch.forget(id) else { return };
        let group = self.id();
        let Some(member) = self.members.get_mut(id).filter(|_| target.counts) else { return };
        member.missed = member.missed.saturating_add(1);
        let name = member.is_silent().then(|| member.key.to_string());
        context.out.note_member(group, id);
        context.out.counters.add(Count::MissedRekeys);
        if let Some(running) = &mut self.dispatch.running {
            running.missed += 1;
        }
        if let Some(name) = name {
            self.log(context, What::Silent { member: id, name });
        }
    }

    /// Sends the latest rekey to the group addresses; whether there are any.
    fn multicast(&mut self, times: u32, context: &mut Context<'_>) -> bool {
        let from = self.settings.rekey.source;
        let places = 0..self.keks.len();
        let mut any = false;
        for place in places {
            let Transport::Multicast(to) = self.keks[place].kek.transport else { continue };
            let Some(message) = self.message(place, context) else { continue };
            any = true;
            // What is still to be sent of an older one is sent of this one.
            let older = |copies: &&mut Copies| !copies.farewell && copies.message.kek.spi == message.kek.spi;
            let left = times + self.dispatch.copies.iter_mut().find(older).map_or(0, |copies| copies.left);
            self.dispatch
                .copies
                .retain(|copies| copies.farewell || copies.message.kek.spi != message.kek.spi);
            let due = context.now;
            self.dispatch.copies.push(Copies { from, to, message, left, due, farewell: false });
        }
        any
    }

    fn send_copies(&mut self, context: &mut Context<'_>) {
        let interval = self.settings.rekey.interval;
        for copies in self.dispatch.copies.iter_mut().filter(|copies| copies.due <= context.now) {
            context.out.counters.add(Count::PushesSent);
            let push = Arc::clone(&copies.message);
            context.out.act(Action::Send { from: copies.from, to: copies.to, push });
            copies.left = copies.left.saturating_sub(1);
            copies.due = context.now.after(interval);
        }
        self.dispatch.copies.retain(|copies| copies.left > 0);
    }

    /// Tells a member that is one no longer to delete what it has: under the Rekey SAs that it listens
    /// to, so far as they are not everybody's.
    pub(super) fn say_farewell(&mut self, member: &Member, context: &mut Context<'_>) {
        self.dispatch.forget(member.id);
        for place in self.listens(member).collect::<Vec<_>>() {
            if self.keks[place].kek.transport != Transport::Unicast {
                continue;
            }
            let Some(sequence) = self.next_sequence(place, context) else { continue };
            let rekey = super::state::farewell(self.keks[place].kek.spi, sequence);
            let message = self.push_message(place, rekey, context);
            let (from, to, due) = (member.local, member.address, context.now);
            let left = self.settings.rekey.retransmits + 1;
            self.dispatch.copies.push(Copies { from, to, message, left, due, farewell: true });
        }
    }

    /// Rule S4: the next rekey goes to a member at once. It is sent once: the member asks again.
    pub(in crate::core) fn answer(&mut self, id: MemberId, context: &mut Context<'_>) -> AskOutcome {
        let Some(member) = self.members.get(id) else { return AskOutcome::Unreachable };
        let Some(last) = self.listens(member).last() else { return AskOutcome::Unreachable };
        if matches!(self.keks[last].kek.transport, Transport::Multicast(_)) {
            if self.dispatch.answer_due.is_some() {
                return AskOutcome::Coalesced;
            }
            if !self.dispatch.answers.take(context.now) {
                self.dispatch.answer_due = Some(self.dispatch.answers.next(context.now));
                return AskOutcome::Coalesced;
            }
            self.answer_by_multicast(context);
            // To itself too: that multicast does not get there may be why it asks.
            let messages = self.messages_for(id, false, context);
            self.send_to(id, &messages, context);
            return AskOutcome::Answered;
        }
        self.freshen(id, context.now);
        let messages = self.messages_for(id, true, context);
        self.send_to(id, &messages, context);
        let due = context.now.after(self.settings.rekey.interval);
        let target = match self.dispatch.forget(id) {
            Some(target) => Target { messages, tries: target.tries.saturating_sub(1), due, ..target },
            None => Target { messages, tries: 0, due, sent: Some(context.now), counts: false },
        };
        if target.tries > 0 || self.settings.rekey.acknowledge.is_some() {
            self.dispatch.enqueue(id, target);
        }
        AskOutcome::Answered
    }

    /// A member has registered with what is no longer the policy: it gets what is, and again until it
    /// acknowledges.
    pub(in crate::core) fn follow_up(&mut self, id: MemberId, context: &mut Context<'_>) {
        let Some(member) = self.members.get(id) else { return };
        let Some(last) = self.listens(member).last() else { return };
        if matches!(self.keks[last].kek.transport, Transport::Multicast(_)) {
            self.answer(id, context);
            return;
        }
        self.freshen(id, context.now);
        let tries = self.settings.rekey.retransmits + 1;
        let target = Target { messages: Vec::new(), tries, due: context.now, sent: None, counts: true };
        self.dispatch.enqueue(id, target);
        self.dispatch(context);
    }

    /// A member has registered with what is the policy: it needs no rekey that says so.
    pub(in crate::core) fn is_up_to_date(&mut self, id: MemberId, context: &mut Context<'_>) {
        self.dispatch.forget(id);
        self.dispatch(context);
    }

    /// Makes the latest rekey one that this member has not been sent and that states what holds now.
    fn freshen(&mut self, id: MemberId, now: ServerTime) {
        let window = SHARED_ANSWER.min(self.timing().reach);
        let sent = self.members.get(id).map_or(0, |member| member.last_push);
        let fresh = self.dispatch.latest.as_ref().is_some_and(|latest| {
            latest.version == self.version && latest.serial > sent && now.since(latest.made) < window
        });
        if !fresh {
            self.new_push(now);
        }
    }

    fn answer_by_multicast(&mut self, context: &mut Context<'_>) {
        self.new_push(context.now);
        self.multicast(1, context);
        self.send_copies(context);
    }

    /// A member says that it has a rekey; its authenticity has been verified.
    pub(in crate::core) fn acknowledge(
        &mut self,
        from: SocketAddr,
        kek: KekSpi,
        sequence: u32,
        context: &mut Context<'_>,
    ) -> Count {
        let Some(id) = self.members.at(from) else { return Count::AckUnknown };
        let is_it =
            |message: &&Arc<PushMessage>| message.rekey.kek == kek && message.rekey.sequence == sequence;
        let unicast = self.dispatch.targets.get(&id).and_then(|target| target.messages.iter().find(is_it));
        let latest = || self.dispatch.latest.as_ref()?.messages.iter().find(is_it);
        let pending = self.dispatch.targets.contains_key(&id);
        let Some(message) = unicast.or_else(|| latest().filter(|_| pending)).cloned() else {
            return Count::AckStale;
        };
        let Some(target) = self.dispatch.forget(id) else { return Count::AckStale };
        self.dispatch.took(&target, context.now);
        if let Some(running) = self.dispatch.running.as_mut().filter(|_| target.counts) {
            running.acknowledged += 1;
        }
        let group = self.id();
        let Some(member) = self.members.get_mut(id) else { return Count::AckUnknown };
        if let Some(learned) = &message.rekey.policy.kek {
            member.kek = learned.spi;
        }
        member.acknowledged = Some(Acknowledged { kek: kek.0, sequence, unix: context.unix });
        context.out.note_member(group, id);
        self.heard(id, context);
        self.dispatch(context);
        Count::Acknowledgements
    }

    /// A member has been heard from.
    pub(in crate::core) fn heard(&mut self, id: MemberId, context: &mut Context<'_>) {
        let group = self.id();
        let Some(member) = self.members.get_mut(id) else { return };
        let was_silent = member.is_silent();
        if member.missed > 0 {
            context.out.note_member(group, id);
        }
        (member.missed, member.heard) = (0, context.now);
        if was_silent {
            self.log(context, What::HeardAgain { member: id });
        }
    }
}
