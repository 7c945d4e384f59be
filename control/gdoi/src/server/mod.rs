//! The key server's end of the protocol: the phase 1s of many members, their registrations, what they
//! report. It asks its owner by [`ServerEvent`]s what to offer and which keys to give, and knows nothing of
//! groups itself. No I/O, no clock; one instance for each core, members spread by address.
//!
//! Half-open phase 1s are bounded: those whose source has not proven that it gets our answers make room,
//! oldest first, for newer ones, so that forged first messages lock nobody out for longer than it takes to
//! answer.

mod counters;
mod error;
mod event;
mod session;
mod table;
#[cfg(test)]
mod tests;

pub use counters::ServerCounters;
pub use event::{EndReason, Peer, PullId, ServerEvent, Transmit};

use crate::crypto::Random;
use crate::group::{GroupKeys, GroupPolicy};
use crate::ike::{
    DeadPeerDetection, DpdTiming, IkeError, IkeSa, MainMode, Notice, Progress, ResponderConfig,
    unprotected_hint, unprotected_notify,
};
use crate::wire::{Compat, Cookie, CookiePair, ExchangeType, Flags, NotifyType, split_datagram};
use error::ServerError;
use session::{Outcome, Session};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use table::{Phase1Table, State};

/// Registrations that may run over one phase 1 at a time.
const MAX_PULLS: usize = 4;
/// Phase 1s that one address and port may have at a time.
const MAX_PER_PEER: usize = 4;
/// Refusals and hints that are told by an event, and refusals that are answered by an unprotected notification,
/// in a second.
const REFUSALS_PER_SECOND: u32 = 20;

/// What a key server's endpoint is told.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// How it does phase 1.
    pub phase1: Arc<ResponderConfig>,
    /// Whether and how it asks silent members if they live; it answers such questions in any case.
    pub dpd: Option<DpdTiming>,
    /// Half-open phase 1s at a time.
    pub max_half_open: usize,
    /// Half-open phase 1s of one address at a time, once it has shown that it gets our answers.
    pub max_half_open_per_address: usize,
    /// Established phase 1s at a time; beyond that the one that was longest there makes room.
    pub max_established: usize,
}

/// The key server's endpoint.
pub struct Server {
    config: ServerConfig,
    phase1s: Phase1Table,
    transmits: VecDeque<Transmit>,
    events: VecDeque<ServerEvent>,
    counters: ServerCounters,
    /// The second that refusals are being told in, and how many were.
    refusals: Option<(Instant, u32)>,
}

impl Server {
    /// One without peers.
    #[must_use]
    pub fn new(config: ServerConfig) -> Self {
        Self {
            config,
            phase1s: Phase1Table::default(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
            counters: ServerCounters::default(),
            refusals: None,
        }
    }

    /// Changes what it is told. Phase 1s that exist stay as they are.
    pub fn reconfigure(&mut self, config: ServerConfig) {
        self.config = config;
    }

    /// Takes a datagram that came to `local` from `from`. `unix_time`, in seconds since 1970, is what the
    /// validity of certificates is measured by. Whatever is wrong with it is counted and changes nothing.
    pub fn handle_datagram(
        &mut self,
        now: Instant,
        unix_time: u64,
        local: SocketAddr,
        from: SocketAddr,
        datagram: &[u8],
        random: &mut dyn Random,
    ) {
        self.counters.received += 1;
        if let Err(error) = self.take(now, unix_time, local, from, datagram, random) {
            self.refuse(now, local, from, datagram, &error);
        }
    }

    /// Does what is due by now.
    pub fn handle_timeout(&mut self, now: Instant, random: &mut dyn Random) {
        for cookies in self.phase1s.due(now) {
            self.ring(now, cookies, random);
        }
    }

    /// When [`Server::handle_timeout`] is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.phase1s.next_timer()
    }

    /// A datagram to send.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        let transmit = self.transmits.pop_front()?;
        self.counters.sent += 1;
        Some(transmit)
    }

    /// Something that the owner decides or wants to know.
    pub fn poll_event(&mut self) -> Option<ServerEvent> {
        self.events.pop_front()
    }

    /// What it has counted.
    #[must_use]
    pub fn counters(&self) -> &ServerCounters {
        &self.counters
    }

    /// Half-open and established phase 1s.
    #[must_use]
    pub fn phase1s(&self) -> (usize, usize) {
        self.phase1s.counts()
    }

    /// Answers [`ServerEvent::PullRequested`] with the policy of the group at this moment.
    pub fn offer(
        &mut self,
        pull: PullId,
        now: Instant,
        policy: &GroupPolicy,
        compat: Compat,
        random: &mut dyn Random,
    ) {
        let sealed =
            self.phase1s.session(pull.phase1).map(|s| s.offer(pull.message_id, now, policy, compat, random));
        self.reply(now, pull, sealed);
    }

    /// Answers [`ServerEvent::PullConfirmed`] with the keys of `policy`, which is what was offered. `sequence` is
    /// the number of the last PUSH under the group's Rekey SA, where it has one.
    pub fn keys(
        &mut self,
        pull: PullId,
        now: Instant,
        policy: &GroupPolicy,
        keys: &GroupKeys,
        sequence: Option<u32>,
    ) {
        let session = self.phase1s.session(pull.phase1);
        let sealed = session.map(|s| s.keys(pull.message_id, now, policy, keys, sequence));
        if matches!(sealed, Some(Ok(Some(_)))) {
            self.counters.pulls_completed += 1;
        }
        self.reply(now, pull, sealed);
    }

    /// Refuses a registration by an authenticated notification: the member may not join that group, or the
    /// group is not there.
    pub fn refuse_pull(&mut self, pull: PullId, now: Instant, why: NotifyType, random: &mut dyn Random) {
        let Some(session) = self.phase1s.session(pull.phase1) else { return };
        if session.abandon(pull.message_id) {
            let notice = Notice::about_ike_sa(why, pull.phase1);
            let sealed = session.notify(&[notice], random);
            self.reply(now, pull, Some(sealed.map(Some)));
        }
    }

    /// Deletes the phase 1s of a peer, and tells it so.
    pub fn close(&mut self, phase1: CookiePair, random: &mut dyn Random) {
        if let Some(session) = self.phase1s.session(phase1) {
            let sealed = session.notify(&[Notice::DeleteIkeSa(phase1)], random);
            if let Ok(sealed) = sealed {
                self.send(phase1, sealed);
            }
            self.end(phase1, EndReason::Closed);
        }
    }

    /// Ends all phase 1s of an address and tells the peer.
    pub fn close_peer(&mut self, address: SocketAddr, random: &mut dyn Random) {
        for phase1 in self.phase1s.of_peer(address) {
            self.close(phase1, random);
        }
    }

    // --- datagrams ---------------------------------------------------------------------------

    fn take(
        &mut self,
        now: Instant,
        unix_time: u64,
        local: SocketAddr,
        from: SocketAddr,
        datagram: &[u8],
        random: &mut dyn Random,
    ) -> Result<(), ServerError> {
        let (header, body) = split_datagram(datagram)?;
        if header.exchange == ExchangeType::GroupkeyPushAck {
            self.events.push_back(ServerEvent::Ack { from, datagram: datagram.to_vec() });
            return Ok(());
        }
        let cookies = self.phase1s.find(from, &header);
        if cookies.is_none()
            && header.exchange == ExchangeType::IdentityProtection
            && header.responder_cookie == Cookie::ZERO
        {
            return self.begin(now, local, from, datagram, random);
        }
        let unprotected = header.flags != Flags::ENCRYPTED;
        let Some(cookies) = cookies else {
            if header.exchange == ExchangeType::Informational && unprotected {
                self.counters.hints += 1;
                return Ok(());
            }
            return Err(IkeError::Cookies.into());
        };
        let Some(phase1) = self.phase1s.get_mut(cookies) else { return Err(IkeError::Cookies.into()) };
        // Where a phase 1 is, is part of what was authenticated: a pre-shared key is found by it.
        if phase1.from != from {
            return Err(IkeError::Cookies.into());
        }
        match &mut phase1.state {
            State::Negotiating { mode, .. } => {
                let progress = mode.handle(now, unix_time, datagram, random);
                self.progress(now, cookies, progress, random)
            }
            State::Established(_) if header.exchange == ExchangeType::Informational && unprotected => {
                self.hint(now, from, unprotected_hint(&header, body));
                Ok(())
            }
            State::Established(session) => {
                let outcome = match header.exchange {
                    ExchangeType::IdentityProtection => session.main_mode(now, unix_time, datagram, random),
                    ExchangeType::Informational => session.informational(now, datagram, random),
                    ExchangeType::GroupkeyPull => session.pull(now, &header, datagram),
                    other => Err(IkeError::Exchange(other).into()),
                };
                self.carry_out(cookies, outcome?);
                Ok(())
            }
        }
    }

    /// A first message of main mode.
    fn begin(
        &mut self,
        now: Instant,
        local: SocketAddr,
        from: SocketAddr,
        datagram: &[u8],
        random: &mut dyn Random,
    ) -> Result<(), ServerError> {
        if !self.phase1s.admits(from.ip(), &self.config) {
            self.counters.half_open_refused += 1;
            return Err(ServerError::TooManyHalfOpen(from.ip()));
        }
        let mode = MainMode::respond(Arc::clone(&self.config.phase1), from, datagram, now, random)?;
        let (room, evicted) = self.phase1s.make_room(&self.config);
        self.counters.half_open_evicted += u64::from(evicted);
        if !room {
            self.counters.half_open_refused += 1;
            return Err(ServerError::NoRoom);
        }
        let cookies = mode.cookies();
        self.phase1s.begin(local, from, mode, now);
        self.flush(cookies);
        Ok(())
    }

    fn progress(
        &mut self,
        now: Instant,
        cookies: CookiePair,
        progress: Result<Progress, IkeError>,
        random: &mut dyn Random,
    ) -> Result<(), ServerError> {
        let result = match progress {
            Ok(Progress::Continue) => {
                self.phase1s.prove(cookies);
                Ok(())
            }
            Ok(Progress::Hint(notify)) => {
                let from = self.phase1s.get_mut(cookies).map(|phase1| phase1.from);
                from.into_iter().for_each(|from| self.hint(now, from, Some(notify)));
                Ok(())
            }
            Ok(Progress::Established(sa)) => {
                self.flush(cookies);
                self.establish(now, cookies, sa, random);
                Ok(())
            }
            Err(error) => Err(error.into()),
        };
        self.flush(cookies);
        let phase1 = self.phase1s.get_mut(cookies).map(|phase1| &phase1.state);
        match phase1 {
            Some(State::Negotiating { mode, .. }) if mode.is_over() => drop(self.phase1s.remove(cookies)),
            _ => self.phase1s.set_timer(cookies),
        }
        result
    }

    fn establish(&mut self, now: Instant, cookies: CookiePair, sa: Box<IkeSa>, random: &mut dyn Random) {
        let Some(phase1) = self.phase1s.get_mut(cookies) else { return };
        let (local, from) = (phase1.local, phase1.from);
        let earlier = self.phase1s.of_peer(from);
        let keep = if sa.initial_contact() { 0 } else { MAX_PER_PEER - 1 };
        for &old in earlier.iter().take(earlier.len().saturating_sub(keep)) {
            self.end(old, EndReason::Replaced);
        }
        if self.phase1s.counts().1 >= self.config.max_established.max(1)
            && let Some(oldest) = self.phase1s.oldest()
        {
            self.end(oldest, EndReason::Evicted);
        }
        let peer = Peer { phase1: cookies, local, info: sa.shared_peer() };
        let dpd = self.config.dpd.map(|timing| DeadPeerDetection::new(timing, now, random));
        self.phase1s.establish(cookies, |mode| Session::new(peer.clone(), sa, mode, dpd));
        self.counters.established += 1;
        self.events.push_back(ServerEvent::Established(peer));
    }

    // --- what follows from a message ---------------------------------------------------------

    fn carry_out(&mut self, cookies: CookiePair, outcome: Outcome) {
        self.counters.repeated += u64::from(outcome.repeated);
        for datagram in outcome.send {
            self.send(cookies, datagram);
        }
        for event in outcome.events {
            match &event {
                ServerEvent::PullRequested { .. } => self.counters.pulls_requested += 1,
                ServerEvent::InvalidSpi { .. } => self.counters.invalid_spi += 1,
                _ => {}
            }
            self.events.push_back(event);
        }
        if outcome.deleted {
            self.end(cookies, EndReason::Deleted);
        } else {
            self.phase1s.set_timer(cookies);
        }
    }

    fn reply(&mut self, now: Instant, pull: PullId, sealed: Option<Result<Option<Vec<u8>>, ServerError>>) {
        match sealed {
            Some(Ok(Some(datagram))) => {
                self.send(pull.phase1, datagram);
                self.phase1s.set_timer(pull.phase1);
            }
            // The registration has ended in the meantime.
            None | Some(Ok(None)) => {}
            Some(Err(error)) => {
                let Some(from) = self.phase1s.get_mut(pull.phase1).map(|phase1| phase1.from) else { return };
                self.counters.refuse(error.refusal(), from, now);
                if self.may_tell(now) {
                    self.events.push_back(ServerEvent::Refused { from, why: error.to_string() });
                }
            }
        }
    }

    /// Sends what a main mode has to say.
    fn flush(&mut self, cookies: CookiePair) {
        let Some(phase1) = self.phase1s.get_mut(cookies) else { return };
        if let State::Negotiating { mode, .. } = &mut phase1.state
            && let Some(datagram) = mode.poll_transmit()
        {
            self.transmits.push_back(Transmit { local: phase1.local, to: phase1.from, datagram });
        }
    }

    fn send(&mut self, cookies: CookiePair, datagram: Vec<u8>) {
        if let Some(phase1) = self.phase1s.get_mut(cookies) {
            self.transmits.push_back(Transmit { local: phase1.local, to: phase1.from, datagram });
        }
    }

    fn refuse(
        &mut self,
        now: Instant,
        local: SocketAddr,
        from: SocketAddr,
        datagram: &[u8],
        error: &ServerError,
    ) {
        self.counters.refuse(error.refusal(), from, now);
        if !self.may_tell(now) {
            return;
        }
        // To a first message only: whoever is further on gets it from the state that it is in.
        let header = split_datagram(datagram).ok().map(|(header, _)| header);
        if let (Some(notify), Some(header)) = (error.notify(), header)
            && header.exchange == ExchangeType::IdentityProtection
            && let Ok(datagram) = unprotected_notify(header.cookies(), notify)
        {
            self.transmits.push_back(Transmit { local, to: from, datagram });
        }
        self.events.push_back(ServerEvent::Refused { from, why: error.to_string() });
    }

    /// Somebody says something in the clear in the name of a member that is known.
    fn hint(&mut self, now: Instant, from: SocketAddr, notify: Option<NotifyType>) {
        self.counters.hints += 1;
        if let Some(notify) = notify
            && self.may_tell(now)
        {
            self.events.push_back(ServerEvent::Hint { from, notify });
        }
    }

    /// Whether another refusal may be told in this second.
    fn may_tell(&mut self, now: Instant) -> bool {
        let (since, told) = match self.refusals {
            Some((since, told)) if now.saturating_duration_since(since) < Duration::from_secs(1) => {
                (since, told)
            }
            _ => (now, 0),
        };
        self.refusals = Some((since, told.saturating_add(1)));
        told < REFUSALS_PER_SECOND
    }

    // --- time and ends -----------------------------------------------------------------------

    fn ring(&mut self, now: Instant, cookies: CookiePair, random: &mut dyn Random) {
        let Some(phase1) = self.phase1s.get_mut(cookies) else { return };
        match &mut phase1.state {
            State::Negotiating { mode, .. } => {
                let from = phase1.from;
                let result = mode.handle_timeout(now, random);
                if let Err(error) = result {
                    self.counters.refuse(error.refusal(), from, now);
                    if self.may_tell(now) {
                        self.events.push_back(ServerEvent::Refused { from, why: error.to_string() });
                    }
                    self.phase1s.remove(cookies);
                } else {
                    self.flush(cookies);
                    self.phase1s.set_timer(cookies);
                }
            }
            State::Established(session) => match session.handle_timeout(now, random) {
                Ok(outcome) => self.carry_out(cookies, outcome),
                Err(why) => self.end(cookies, why),
            },
        }
    }

    /// Ends an established phase 1 and tells the owner.
    fn end(&mut self, cookies: CookiePair, why: EndReason) {
        if let Some(session) = self.phase1s.session(cookies) {
            self.events.extend(session.open_pulls().map(ServerEvent::PullAbandoned));
            self.events.push_back(ServerEvent::Ended { peer: session.peer.clone(), why });
            self.phase1s.remove(cookies);
        }
    }
}
