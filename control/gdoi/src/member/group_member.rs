//! A member of one group: phase 1, registration, rekeys, SAD and recovery put together. Whoever owns it
//! hands in datagrams and time, sends what it has to send, and makes the data plane like its SAs.

mod carry_out;
mod register;
mod status;

use super::config::MemberConfig;
use super::event::{MemberCounters, MemberEvent, RegistrationError, Transmit};
use super::kek::{KekSource, Keks, Offer, Pushed};
use super::recovery::{Cause, Due, End, Ended, Plausibility, Recovery};
use super::registering::Registering;
use super::registration::{Horizon, Reason, Registrar};
use super::sad::{Left, SaEntry, Sad};
use super::session::{Change, Session};
use crate::crypto::Random;
use crate::group::{EspSpi, GroupKeys, GroupPolicy, KekPolicy, SpiKey};
use crate::ike::{Notice, unprotected_hint};
use crate::push::PushError;
use crate::wire::{ExchangeType, Flags, Header, NotifyType, split_datagram};
use register::Pull;
use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

/// Events that nobody fetches are forgotten beyond that, the newest first.
const EVENTS: usize = 4096;

/// Ended episodes that are kept for people to see.
const SHOWN: usize = 16;

/// Sender IDs that did not come are asked for again after so long.
const SENDER_IDS_PAUSE: Duration = Duration::from_secs(60);

/// PUSH messages under an unknown Rekey SA lead to a registration at most this often, and only while an SPI
/// is asked for.
const UNKNOWN_KEK_PAUSE: Duration = Duration::from_secs(30);

/// A refused PUSH is told at most this often.
const PUSH_REFUSED_PAUSE: Duration = Duration::from_secs(1);

/// The member's side of one group.
///
/// After each call, and at [`poll_timeout`](Self::poll_timeout), fetch what there is to send and to tell.
pub struct GroupMember {
    config: MemberConfig,
    sad: Sad,
    keks: Keks,
    recovery: Recovery,
    registrar: Registrar,
    session: Session,
    pull: Option<Pull>,
    /// By what SPIs of this group are told from random ones.
    spi_key: Option<SpiKey>,
    registered: Option<(Instant, Reason)>,
    last_failure: Option<(Instant, SocketAddr, RegistrationError)>,
    asked: VecDeque<Ended>,
    counters: MemberCounters,
    sender_ids_from: Instant,
    unknown_kek_from: Instant,
    push_refused_from: Instant,
    stopped: bool,
    /// When it was called last.
    now: Instant,
    outgoing: VecDeque<Transmit>,
    events: VecDeque<MemberEvent>,
}

impl GroupMember {
    /// A member that is about to register. `None` if the configuration names no key server.
    #[must_use]
    pub fn new(config: MemberConfig, now: Instant) -> Option<Self> {
        let session = Session::new(0, &config, now)?;
        Some(Self {
            sad: Sad::new(config.limits.clone()),
            keks: Keks::new(config.bad_pushes, now),
            recovery: Recovery::new(config.recovery.clone(), config.budget.clone(), now),
            registrar: Registrar::new(config.registration.clone(), config.key_servers.len(), now),
            session,
            pull: None,
            spi_key: None,
            registered: None,
            last_failure: None,
            asked: VecDeque::new(),
            counters: MemberCounters::default(),
            sender_ids_from: now,
            unknown_kek_from: now,
            push_refused_from: now,
            stopped: false,
            now,
            outgoing: VecDeque::new(),
            events: VecDeque::new(),
            config,
        })
    }

    /// Takes a datagram from the member's GDOI port, unicast or multicast. `unix_time`, in seconds since
    /// 1970, is what certificates are judged by.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        unix_time: u64,
        from: SocketAddr,
        datagram: &[u8],
        random: &mut dyn Random,
    ) {
        self.now = now;
        if self.stopped {
            return;
        }
        match split_datagram(datagram) {
            Ok((header, _)) if header.exchange == ExchangeType::GroupkeyPush => {
                self.handle_push(now, from, datagram, random);
            }
            Ok((header, body)) if from.ip() == self.session.address().ip() => {
                self.handle_isakmp(now, unix_time, (&header, body), datagram, random);
            }
            _ => self.counters.stray += 1,
        }
        self.settle(now, random);
    }

    /// Does what is due. Call it at [`poll_timeout`](Self::poll_timeout), and after a batch of
    /// [`unknown_spi`](Self::unknown_spi).
    pub fn handle_timeout(&mut self, now: Instant, random: &mut dyn Random) {
        self.now = now;
        if self.stopped {
            return;
        }
        if let Some(change) = self.session.handle_timeout(now, random) {
            self.phase1_changed(change, now, random);
        }
        self.pull_timeout(now, random);
        // Before the horizon moves on to what ends later.
        self.begin_registration(now, random);
        for (spi, left) in self.sad.advance(now) {
            self.tell(MemberEvent::SaLeft(spi, left));
            if left == Left::Expired && self.sad.entries().is_empty() {
                self.registrar.want(Reason::Ending, now);
            }
        }
        if self.keks.expire(now) {
            self.registrar.want(Reason::NoKek, now);
        }
        for spi in self.sad.take_retries(now) {
            self.recovery.told(spi, Cause::RoomAppeared, now);
        }
        self.settle(now, random);
    }

    /// Rule S8: packets came with an SPI that the data plane does not know. Cheap, and may be called for
    /// each of a flood; [`handle_timeout`](Self::handle_timeout) does what is to be done about it.
    pub fn unknown_spi(&mut self, now: Instant, spi: EspSpi) {
        self.unknown_spis(now, spi, 1);
    }

    /// The same for so many packets with the SPI, as far as the data plane has counted them: where all that is
    /// told of is a flood, it is the number of packets that sets a real SPI apart.
    pub fn unknown_spis(&mut self, now: Instant, spi: EspSpi, packets: u32) {
        self.now = now;
        if !self.stopped && !self.sad.contains(spi) && !self.sad.waits_for_room(spi) {
            let plausibility = match &self.spi_key {
                Some(key) if key.marks(spi) => Plausibility::Plausible,
                Some(_) => Plausibility::Implausible,
                None => Plausibility::Unverifiable,
            };
            self.recovery.many_packets(spi, plausibility, packets, now);
        }
    }

    /// The data plane has used up the sender IDs that it seals with under this SA.
    pub fn sender_ids_exhausted(&mut self, now: Instant, spi: EspSpi, random: &mut dyn Random) {
        self.now = now;
        self.sad.sender_ids_exhausted(spi, now);
        self.settle(now, random);
    }

    /// The operator deletes an SA here. It comes back when packets come with it, or with the next rekey.
    pub fn delete_sa(&mut self, now: Instant, spi: EspSpi, random: &mut dyn Random) -> bool {
        self.now = now;
        let found = self.sad.delete(spi, now);
        self.settle(now, random);
        found
    }

    /// The data plane could not create an SA.
    pub fn refuse_sa(&mut self, now: Instant, spi: EspSpi, reason: &str, random: &mut dyn Random) {
        self.now = now;
        if let Some(refused) = self.sad.refuse(spi, reason, now) {
            self.tell(MemberEvent::SaRefused(refused));
        }
        self.settle(now, random);
    }

    /// The operator wants a registration now.
    pub fn resync(&mut self, now: Instant, random: &mut dyn Random) {
        self.now = now;
        self.registrar.want(Reason::Operator, now);
        self.settle(now, random);
    }

    /// Leaves: tells the key server that phase 1 ends. Nothing happens after that.
    pub fn stop(&mut self, now: Instant, random: &mut dyn Random) {
        self.now = now;
        self.session.close(random);
        self.collect_outgoing();
        self.pull = None;
        self.stopped = true;
    }

    /// A datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.outgoing.pop_front()
    }

    /// Something to tell.
    pub fn poll_event(&mut self) -> Option<MemberEvent> {
        self.events.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called; the past means at once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.stopped {
            return None;
        }
        let pull = self.pull.as_ref().map(|pull| pull.exchange.due());
        let times = [
            self.session.poll_timeout(),
            pull,
            self.sad.next_change(self.now),
            self.sad.next_retry(),
            self.keks.next_expiry(),
            self.recovery.next(self.now),
            self.registrar.next(),
            self.sender_ids_due(),
            self.phase1_due(),
        ];
        times.into_iter().flatten().min()
    }

    fn handle_isakmp(
        &mut self,
        now: Instant,
        unix_time: u64,
        (header, body): (&Header, &[u8]),
        datagram: &[u8],
        random: &mut dyn Random,
    ) {
        let cookies = header.cookies();
        if header.exchange == ExchangeType::Informational && header.flags == Flags::NONE {
            self.counters.hints += 1;
            let known = self.session.is_of_made(cookies);
            if known && unprotected_hint(header, body) == Some(NotifyType::InvalidCookie) {
                self.session.hint(now, random);
            }
            if !self.session.is_of_making(cookies) {
                return;
            }
        }
        if self.session.is_of_making(cookies) {
            if let Some(change) = self.session.handle_making(now, unix_time, datagram, random) {
                self.phase1_changed(change, now, random);
            }
        } else if !self.session.is_of_made(cookies) {
            self.counters.stray += 1;
        } else if header.exchange == ExchangeType::Informational {
            match self.session.handle_informational(now, datagram, random) {
                Ok(notices) => notices.into_iter().for_each(|notice| self.notice(notice, now, random)),
                Err(_) => self.counters.stray += 1,
            }
        } else if header.exchange == ExchangeType::GroupkeyPull {
            self.handle_pull(header.message_id, datagram, now, random);
        } else {
            self.counters.stray += 1;
        }
    }

    /// Something that the key server says over phase 1.
    fn notice(&mut self, notice: Notice, now: Instant, random: &mut dyn Random) {
        match notice {
            Notice::DeleteIkeSa(cookies) => {
                if let Some(change) = self.session.deleted(cookies) {
                    self.phase1_changed(change, now, random);
                }
            }
            Notice::DeleteEsp(spis) => {
                for spi in spis {
                    self.sad.delete(spi, now);
                    self.recovery.gone(spi, now);
                }
            }
            Notice::DeleteKek(_) => self.delete_kek(self.session.key_server, now, random),
            // Error types lie below 8192 (RFC 2408 section 3.14.1).
            Notice::Other { notify, .. } if self.pull.is_some() && u16::from(notify) < 8192 => {
                self.registration_failed(RegistrationError::Refused(notify), now, random);
            }
            _ => {}
        }
    }

    fn handle_push(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], random: &mut dyn Random) {
        match self.keks.open(datagram, self.config.address, self.config.compat, now) {
            Pushed::Opened(opened, key_server, ack) => {
                self.counters.pushes += 1;
                self.carry_out(*opened, key_server, now, random);
                self.acknowledge(key_server, ack);
            }
            Pushed::Again(key_server, ack) => {
                self.counters.replayed_pushes += 1;
                self.acknowledge(key_server, ack);
            }
            Pushed::Unknown => {
                self.counters.unknown_kek += 1;
                // Anybody can send this, so it counts only where it fits: a KEK that was missed.
                let fits = self.recovery.is_asking() && from.ip() == self.session.address().ip();
                if fits && now >= self.unknown_kek_from {
                    self.unknown_kek_from = now + UNKNOWN_KEK_PAUSE;
                    self.registrar.want(Reason::UnknownKek, now);
                }
            }
            Pushed::Unread => self.counters.unread_pushes += 1,
            Pushed::Refused(error) => {
                match error {
                    PushError::Replay { .. } => self.counters.replayed_pushes += 1,
                    _ => self.counters.bad_pushes += 1,
                }
                if now >= self.push_refused_from {
                    self.push_refused_from = now + PUSH_REFUSED_PAUSE;
                    self.tell(MemberEvent::PushRefused(error));
                }
            }
        }
    }

    fn acknowledge(&mut self, key_server: usize, ack: Option<Vec<u8>>) {
        if let (Some(bytes), Some(config)) = (ack, self.config.key_servers.get(key_server)) {
            self.counters.acknowledgements += 1;
            self.outgoing.push_back(Transmit { to: config.address, bytes });
        }
    }

    fn phase1_changed(&mut self, change: Change, now: Instant, random: &mut dyn Random) {
        let key_server = self.session.address();
        match change {
            Change::Established { anew } => {
                self.counters.phase1 += 1;
                self.tell(MemberEvent::Phase1 { key_server });
                let index = self.session.key_server;
                if let Some(sa) = self.session.sa() {
                    self.sad.set_firm_ends(index, sa.peer().is_getvpn);
                }
                if self.registrar.registering().is_some() {
                    self.begin_pull(now, random);
                } else if anew && self.recovery.is_asking_for_implausible() {
                    // It has begun anew, perhaps with nothing of what it had: by what its SPIs were told from
                    // others may be of no use any more.
                    self.registrar.want(Reason::BegunAnew, now);
                }
                self.recovery.ask_again(now);
            }
            Change::Refused => self.counters.refused_phase1 += 1,
            Change::Failed(error) => {
                self.counters.failed_phase1 += 1;
                if self.registrar.registering().is_none() {
                    self.tell(MemberEvent::Phase1Failed { key_server, why: error });
                } else if self.pull.is_none() {
                    self.registration_failed(error.into(), now, random);
                }
            }
            Change::Lost(why) => {
                self.tell(MemberEvent::Phase1Lost { key_server, why });
                if self.pull.take().is_some()
                    && let Err(error) = self.session.make(now, random)
                {
                    self.registration_failed(error.into(), now, random);
                }
            }
        }
    }

    /// Does what all the rest has made due.
    fn settle(&mut self, now: Instant, random: &mut dyn Random) {
        if self.sender_ids_due().is_some_and(|at| at <= now) {
            self.sender_ids_from = now + SENDER_IDS_PAUSE;
            self.registrar.want(Reason::SenderIds, now);
        }
        while let Some(due) = self.recovery.poll(now, random) {
            match due {
                Due::Ask(spi, tries) => self.ask(spi, tries, now, random),
                Due::Register => {
                    // A key server that speaks over phase 1 and yet does not bring the SA is registered
                    // with again; one that is silent is left for the next.
                    let patience = self.config.recovery.interval * (1 << self.config.recovery.tries.min(8));
                    let heard = self.session.last_heard();
                    if heard.is_none_or(|at| now.saturating_duration_since(at) > patience) {
                        self.registrar.move_on();
                    }
                    self.registrar.want(Reason::Unanswered, now);
                }
            }
        }
        while let Some(ended) = self.recovery.poll_ended() {
            if (ended.cause, ended.end) == (Cause::PolicyWithoutKeys, End::Unknown) {
                self.sad.drop_pending(ended.spi);
            }
            self.asked.push_back(ended);
            if self.asked.len() > SHOWN {
                self.asked.pop_front();
            }
            self.tell(MemberEvent::SpiEnded(ended));
        }
        self.registrar.schedule(self.horizon(), now, random);
        self.begin_registration(now, random);
        if self.phase1_due().is_some_and(|at| at <= now) {
            self.session.make_if_due(now, random);
        }
        self.collect_outgoing();
        if self.sad.take_changed() {
            self.events.retain(|event| *event != MemberEvent::SasChanged);
            self.tell(MemberEvent::SasChanged);
        }
    }

    /// Rules S3 and S8: INVALID-SPI, over phase 1.
    fn ask(&mut self, spi: EspSpi, tries: u32, now: Instant, random: &mut dyn Random) {
        if !self.session.say(Notice::InvalidSpi(spi), tries > 1, now, random) {
            self.session.make_if_due(now, random);
        } else if tries >= self.config.recovery.tries && !self.session.supports_dpd() {
            // Nobody can tell whether it has lost the phase 1.
            self.session.make_if_due(now, random);
        }
    }

    /// What ends next if no rekey comes: the SAs of some selectors, or the Rekey SA.
    fn horizon(&self) -> Option<Horizon> {
        self.registered?;
        let kek = self.keks.current().map(|kek| Horizon { end: kek.expires, life: kek.policy.lifetime });
        super::sad::horizon(self.sad.entries()).into_iter().chain(kek).min_by_key(|horizon| horizon.end)
    }

    fn sender_ids_due(&self) -> Option<Instant> {
        let due = self.registered.is_some()
            && self.registrar.registering().is_none()
            && self.config.sender_ids > 0
            && self.sad.lacks_sender_ids();
        due.then_some(self.sender_ids_from)
    }

    /// A registered member keeps a phase 1, so that INVALID-SPI takes one round trip.
    fn phase1_due(&self) -> Option<Instant> {
        let due = self.registered.is_some()
            && !self.session.is_established()
            && self.registrar.registering().is_none()
            && self.registrar.backs_off_until().is_none();
        due.then(|| self.session.next_make()).flatten()
    }

    /// A Rekey SA that a registration brings, with the number of its last PUSH, or a PUSH.
    fn take_kek(
        &mut self,
        policy: &KekPolicy,
        keys: &GroupKeys,
        registration: Option<u32>,
        key_server: usize,
    ) {
        let keys = keys.kek.as_ref().filter(|(spi, _)| *spi == policy.spi).map(|(_, keys)| keys);
        let source = KekSource {
            key_server,
            sequence: registration.unwrap_or(0),
            end_is_firm: registration.is_none() && self.sad.ends_are_firm(key_server),
        };
        match self.keks.offer(policy, keys, source, self.now) {
            Some(Offer::New) => self.tell(MemberEvent::KekInstalled(policy.spi)),
            Some(Offer::KeysDiffer) => self.tell(MemberEvent::KekRefused(policy.spi)),
            Some(Offer::Known) | None => {}
        }
    }

    fn collect_outgoing(&mut self) {
        let to = self.session.address();
        self.outgoing.extend(self.session.take_outgoing().into_iter().map(|bytes| Transmit { to, bytes }));
    }

    fn tell(&mut self, event: MemberEvent) {
        if self.events.len() < EVENTS {
            self.events.push_back(event);
        }
    }
}

#[cfg(test)]
mod tests;
