//! An established phase 1 at the key server, with the registrations that run over it. Says what to send
//! and what to tell the owner; keeps no timers of its own.

use super::event::{Peer, PullId, ServerEvent};
use super::{MAX_PULLS, ServerError};
use crate::crypto::{HashAlgorithm, Random};
use crate::group::{GroupKeys, GroupPolicy};
use crate::ike::{DeadPeerDetection, DpdAction, IkeError, IkeSa, Iv, MainMode, Notice};
use crate::pull::{PullConfirmed, PullOffer, PullServer};
use crate::wire::{Compat, EncodedChain, ExchangeType, Header};
use std::time::{Duration, Instant};

/// How long a registration may take before it is forgotten; its last reply can be repeated for as long.
const PULL_TIME: Duration = Duration::from_secs(60);
/// A request that comes again sooner than this after its reply is not answered again.
const REPEAT_INTERVAL: Duration = Duration::from_millis(100);
/// How often a reply is repeated.
const MAX_REPEATS: u32 = 20;

/// An established phase 1.
pub(super) struct Session {
    pub(super) peer: Peer,
    sa: Box<IkeSa>,
    dpd: Option<DeadPeerDetection>,
    /// Answers duplicates of main mode's last message.
    lingering: Option<Box<MainMode>>,
    /// Oldest first; at most [`MAX_PULLS`].
    pulls: Vec<Pull>,
}

struct Pull {
    message_id: u32,
    /// Of the exchange's next message, in either direction.
    iv: Iv,
    state: PullState,
    /// Digest of the last request that was taken.
    request: Vec<u8>,
    reply: Option<Reply>,
    until: Instant,
}

struct Reply {
    datagram: Vec<u8>,
    sent: Instant,
    repeats: u32,
}

enum PullState {
    /// Message 1 came; the owner is being asked what to offer.
    Requested(PullServer),
    /// Message 2 was sent.
    Offered(PullOffer),
    /// Message 3 came; the owner is being asked for the keys.
    Confirmed(PullConfirmed),
    /// Message 4 was sent.
    Done,
}

/// What a message led to.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) send: Vec<Vec<u8>>,
    pub(super) events: Vec<ServerEvent>,
    pub(super) repeated: bool,
    /// The peer has deleted the phase 1.
    pub(super) deleted: bool,
}

impl Session {
    pub(super) fn new(
        peer: Peer,
        sa: Box<IkeSa>,
        lingering: Box<MainMode>,
        dpd: Option<DeadPeerDetection>,
    ) -> Self {
        let dpd = dpd.filter(|_| sa.peer().supports_dpd);
        Self { peer, sa, dpd, lingering: Some(lingering), pulls: Vec::new() }
    }

    /// A message of main mode after its end: the peer did not get our last one.
    pub(super) fn main_mode(
        &mut self,
        now: Instant,
        unix_time: u64,
        datagram: &[u8],
        random: &mut dyn Random,
    ) -> Result<Outcome, ServerError> {
        let Some(mode) = &mut self.lingering else { return Err(IkeError::Over.into()) };
        mode.handle(now, unix_time, datagram, random)?;
        Ok(Outcome { send: mode.poll_transmit().into_iter().collect(), repeated: true, ..Outcome::default() })
    }

    pub(super) fn informational(
        &mut self,
        now: Instant,
        datagram: &[u8],
        random: &mut dyn Random,
    ) -> Result<Outcome, ServerError> {
        let notices = self.sa.open_informational(datagram)?;
        let mut outcome = Outcome::default();
        for notice in notices {
            match notice {
                Notice::InvalidSpi(spi) => {
                    outcome.events.push(ServerEvent::InvalidSpi { peer: self.peer.clone(), spi });
                }
                Notice::DeleteIkeSa(cookies) if cookies == self.sa.cookies() => outcome.deleted = true,
                Notice::RUThere(sequence) => {
                    let ack = match &mut self.dpd {
                        Some(dpd) => dpd.question(sequence, now).ok(),
                        None => Some(Notice::RUThereAck(sequence)),
                    };
                    if let Some(ack) = ack {
                        outcome.send.push(self.sa.notify(&[ack], random)?);
                    }
                }
                Notice::RUThereAck(sequence) => {
                    // An answer that nobody asked for proves nothing, and harms nobody.
                    let _ = self.dpd.as_mut().map(|dpd| dpd.answer(sequence, now));
                }
                // What else members may say changes nothing at a key server.
                _ => {}
            }
        }
        self.heard(now);
        Ok(outcome)
    }

    pub(super) fn pull(
        &mut self,
        now: Instant,
        header: &Header,
        datagram: &[u8],
    ) -> Result<Outcome, ServerError> {
        let digest = HashAlgorithm::Sha256.digest(&[datagram]);
        let message_id = header.message_id;
        let outcome = match self.pulls.iter().position(|pull| pull.message_id == message_id) {
            Some(at) if self.pulls.get(at).is_some_and(|pull| pull.request == digest) => {
                return Ok(self.repeat(at, now));
            }
            Some(at) => self.confirm(at, now, datagram, digest)?,
            None => self.request(now, message_id, datagram, digest)?,
        };
        self.heard(now);
        Ok(outcome)
    }

    /// Message 1.
    fn request(
        &mut self,
        now: Instant,
        message_id: u32,
        datagram: &[u8],
        digest: Vec<u8>,
    ) -> Result<Outcome, ServerError> {
        if message_id == 0 {
            return Err(IkeError::Unexpected(1, "a registration without a message ID").into());
        }
        let (opened, next) = self.sa.open(datagram, &self.sa.phase2_iv(message_id))?;
        let (pull, group) =
            PullServer::request(self.sa.prf().clone(), message_id, opened.first_payload, &opened.body)?;
        self.sa.use_message_id(message_id)?;
        if self.pulls.len() >= MAX_PULLS {
            self.pulls.remove(0);
        }
        // There is hardly ever more than one, and thousands of sessions.
        self.pulls.reserve_exact(1);
        self.pulls.push(Pull {
            message_id,
            iv: next,
            state: PullState::Requested(pull),
            request: digest,
            reply: None,
            until: now + PULL_TIME,
        });
        let event = ServerEvent::PullRequested { pull: self.id(message_id), peer: self.peer.clone(), group };
        Ok(Outcome { events: vec![event], ..Outcome::default() })
    }

    /// Message 3.
    fn confirm(
        &mut self,
        at: usize,
        now: Instant,
        datagram: &[u8],
        digest: Vec<u8>,
    ) -> Result<Outcome, ServerError> {
        let id = self.peer.phase1;
        let Some(pull) = self.pulls.get_mut(at) else { return Ok(Outcome::default()) };
        let PullState::Offered(offer) = &pull.state else {
            return Err(IkeError::Unexpected(3, "a registration's message out of its turn").into());
        };
        let (opened, next) = self.sa.open(datagram, &pull.iv)?;
        let (confirmed, sender_ids_wanted) = offer.confirmed(opened.first_payload, &opened.body)?;
        pull.state = PullState::Confirmed(confirmed);
        pull.iv = next;
        pull.request = digest;
        pull.reply = None;
        pull.until = now + PULL_TIME;
        let pull = PullId { phase1: id, message_id: pull.message_id };
        let event = ServerEvent::PullConfirmed { pull, peer: self.peer.clone(), sender_ids_wanted };
        Ok(Outcome { events: vec![event], ..Outcome::default() })
    }

    fn repeat(&mut self, at: usize, now: Instant) -> Outcome {
        let mut outcome = Outcome { repeated: true, ..Outcome::default() };
        let reply = self.pulls.get_mut(at).and_then(|pull| pull.reply.as_mut());
        if let Some(reply) = reply {
            let due = now.saturating_duration_since(reply.sent) >= REPEAT_INTERVAL;
            if due && reply.repeats < MAX_REPEATS {
                (reply.sent, reply.repeats) = (now, reply.repeats + 1);
                outcome.send.push(reply.datagram.clone());
            }
        }
        outcome
    }

    /// Message 2; `None` if the registration does not wait for it.
    pub(super) fn offer(
        &mut self,
        message_id: u32,
        now: Instant,
        policy: &GroupPolicy,
        compat: Compat,
        random: &mut dyn Random,
    ) -> Result<Option<Vec<u8>>, ServerError> {
        let Some(pull) = self.pulls.iter_mut().find(|pull| pull.message_id == message_id) else {
            return Ok(None);
        };
        let PullState::Requested(server) = &pull.state else { return Ok(None) };
        let (offered, message) = server.offer(policy, compat, random)?;
        let datagram = pull.reply(&self.sa, &message, now)?;
        pull.state = PullState::Offered(offered);
        Ok(Some(datagram))
    }

    /// Message 4; `None` if the registration does not wait for it.
    pub(super) fn keys(
        &mut self,
        message_id: u32,
        now: Instant,
        policy: &GroupPolicy,
        keys: &GroupKeys,
        sequence: Option<u32>,
    ) -> Result<Option<Vec<u8>>, ServerError> {
        let Some(pull) = self.pulls.iter_mut().find(|pull| pull.message_id == message_id) else {
            return Ok(None);
        };
        let PullState::Confirmed(confirmed) = &pull.state else { return Ok(None) };
        let message = confirmed.keys(policy, keys, sequence)?;
        let datagram = pull.reply(&self.sa, &message, now)?;
        pull.state = PullState::Done;
        Ok(Some(datagram))
    }

    /// Forgets a registration; true if it was there.
    pub(super) fn abandon(&mut self, message_id: u32) -> bool {
        let before = self.pulls.len();
        self.pulls.retain(|pull| pull.message_id != message_id);
        self.pulls.len() < before
    }

    /// A protected Informational message.
    pub(super) fn notify(
        &mut self,
        notices: &[Notice],
        random: &mut dyn Random,
    ) -> Result<Vec<u8>, ServerError> {
        Ok(self.sa.notify(notices, random)?)
    }

    /// What has to be done by now. `Err` if the phase 1 has ended.
    pub(super) fn handle_timeout(
        &mut self,
        now: Instant,
        random: &mut dyn Random,
    ) -> Result<Outcome, super::EndReason> {
        if now >= self.sa.expires() {
            return Err(super::EndReason::Expired);
        }
        if let Some(mode) = &mut self.lingering {
            // Its only deadline is the end of its patience with duplicates.
            let _ = mode.handle_timeout(now, random);
            if mode.is_over() {
                self.lingering = None;
            }
        }
        let mut outcome = Outcome::default();
        let phase1 = self.peer.phase1;
        self.pulls.retain(|pull| {
            let keep = now < pull.until;
            if !keep && !matches!(pull.state, PullState::Done) {
                outcome
                    .events
                    .push(ServerEvent::PullAbandoned(PullId { phase1, message_id: pull.message_id }));
            }
            keep
        });
        self.pulls.shrink_to_fit();
        match self.dpd.as_mut().map_or(DpdAction::Nothing, |dpd| dpd.handle_timeout(now)) {
            DpdAction::Nothing => {}
            DpdAction::Ask(question) => outcome.send.extend(self.sa.notify(&[question], random).ok()),
            DpdAction::Dead => return Err(super::EndReason::Dead),
        }
        Ok(outcome)
    }

    /// When [`Session::handle_timeout`] is to be called.
    pub(super) fn poll_timeout(&self) -> Instant {
        let lingering = self.lingering.as_ref().and_then(|mode| mode.poll_timeout());
        let dpd = self.dpd.as_ref().map(DeadPeerDetection::poll_timeout);
        let pulls = self.pulls.iter().map(|pull| pull.until);
        pulls.chain(lingering).chain(dpd).fold(self.sa.expires(), Instant::min)
    }

    /// The registrations that the owner still believes in.
    pub(super) fn open_pulls(&self) -> impl Iterator<Item = PullId> + '_ {
        let open = self.pulls.iter().filter(|pull| !matches!(pull.state, PullState::Done));
        open.map(|pull| self.id(pull.message_id))
    }

    pub(super) fn sa(&self) -> &IkeSa {
        &self.sa
    }

    fn id(&self, message_id: u32) -> PullId {
        PullId { phase1: self.peer.phase1, message_id }
    }

    fn heard(&mut self, now: Instant) {
        if let Some(dpd) = &mut self.dpd {
            dpd.heard(now);
        }
    }
}

impl Pull {
    /// Encrypts a reply and keeps it for when its request comes again.
    fn reply(&mut self, sa: &IkeSa, message: &EncodedChain, now: Instant) -> Result<Vec<u8>, ServerError> {
        let exchange = ExchangeType::GroupkeyPull;
        let datagram = sa.seal(exchange, self.message_id, &mut self.iv, message.first, &message.octets)?;
        self.reply = Some(Reply { datagram: datagram.clone(), sent: now, repeats: 0 });
        Ok(datagram)
    }
}
