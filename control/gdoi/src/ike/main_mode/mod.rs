//! Main mode (RFC 2409 section 5), either role: six messages that make an [`IkeSa`]. What is the same in every
//! state is here: cookies, duplicates, retransmission, patience. The states themselves are in `initiator` and
//! `responder`.
//!
//! Until the proof of messages 5 and 6 nobody is authenticated, and a message may be anybody's: one that is
//! refused leaves the state as it was, so that the right one can still come.

mod authentication;
mod initiator;
mod message;
mod offer;
mod responder;

use super::retransmission::{Due, Retransmission};
use super::{IkeError, IkeSa, InitiatorConfig, Refusal, ResponderConfig, unprotected_hint};
use crate::crypto::{HashAlgorithm, Random};
use crate::wire::{Cookie, CookiePair, ExchangeType, Flags, Header, NotifyType, split_datagram};
use authentication::Failure;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// Octets of our nonces. RFC 2409 allows 8 to 256; half the longest key is advised.
const NONCE_LEN: usize = 32;

/// How many certificates and signatures that prove nothing are looked at: each costs as much as a right one.
const MAX_UNPROVEN: u32 = 16;

/// How often one request's answer is sent again: a member sends its request 16 times.
const MAX_ANSWERS: u32 = 15;

/// What a message led to.
#[derive(Debug)]
pub enum Progress {
    /// Nothing to tell: it goes on.
    Continue,
    /// The peer, or somebody in its name, says that something is wrong. It changes nothing.
    Hint(NotifyType),
    /// Both sides are authenticated. What [`MainMode::poll_transmit`] still has must be sent.
    Established(Box<IkeSa>),
}

/// One phase 1 in progress.
pub struct MainMode {
    state: State,
    cookies: CookiePair,
    peer: SocketAddr,
    outgoing: Option<Vec<u8>>,
    /// Digests of the messages that were taken.
    taken: Vec<Vec<u8>>,
    /// Digest of the last one that was refused: it is not looked at twice, nor counted.
    last_refused: Option<Vec<u8>>,
    failures: u32,
    /// Why it was, for when nothing better comes.
    refused: Option<IkeError>,
    hint: Option<NotifyType>,
}

enum State {
    Initiator(Arc<InitiatorConfig>, initiator::State, Retransmission),
    Responder(Arc<ResponderConfig>, responder::State, Answer, Instant),
    /// The responder's last message may have to be sent again.
    Lingering(Arc<ResponderConfig>, Answer, Instant),
    Over,
}

/// The answer to the last message that was taken.
struct Answer {
    message: Vec<u8>,
    sent: Instant,
    again: u32,
}

/// What a state may use.
struct Context<'a> {
    now: Instant,
    unix_time: u64,
    peer: SocketAddr,
    random: &'a mut dyn Random,
}

/// What a state makes of a message that it takes.
enum Step {
    Initiator(Vec<u8>, initiator::State),
    Responder(Vec<u8>, responder::State),
    Established(Box<IkeSa>, Option<Vec<u8>>),
}

impl Step {
    fn initiator(reply: Vec<u8>, state: initiator::State) -> Self {
        Self::Initiator(reply, state)
    }

    fn responder(reply: Vec<u8>, state: responder::State) -> Self {
        Self::Responder(reply, state)
    }

    fn established(sa: IkeSa, reply: Option<Vec<u8>>) -> Self {
        Self::Established(Box::new(sa), reply)
    }
}

impl MainMode {
    /// Begins a phase 1 with `peer`. The first message waits in [`poll_transmit`](Self::poll_transmit).
    ///
    /// # Errors
    /// The configuration names no suite.
    pub fn initiate(
        config: Arc<InitiatorConfig>,
        peer: SocketAddr,
        now: Instant,
        random: &mut dyn Random,
    ) -> Result<Self, IkeError> {
        let (state, message) = initiator::begin(&config, cookie(random))?;
        let cookies = state.cookies();
        let retransmission = Retransmission::new(message.clone(), &config.timing, now, random);
        Ok(Self::new(State::Initiator(config, state, retransmission), cookies, peer, message))
    }

    /// Answers an initiator's first message, which came from `from`. The answer waits in
    /// [`poll_transmit`](Self::poll_transmit). Costs no public-key computation. Whether there is room for
    /// another half-open phase 1 is for the caller to see.
    ///
    /// # Errors
    /// The message is malformed or no first one, or nothing that it offers is accepted. Nothing is kept.
    pub fn respond(
        config: Arc<ResponderConfig>,
        from: SocketAddr,
        first_message: &[u8],
        now: Instant,
        random: &mut dyn Random,
    ) -> Result<Self, IkeError> {
        let (header, body) = split_datagram(first_message)?;
        if header.exchange != ExchangeType::IdentityProtection {
            return Err(IkeError::Exchange(header.exchange));
        }
        if header.initiator_cookie == Cookie::ZERO || header.responder_cookie != Cookie::ZERO {
            return Err(IkeError::Cookies);
        }
        let (state, reply) = responder::begin(&config, from.ip(), cookie(random), &header, body)?;
        let cookies = split_datagram(&reply)?.0.cookies();
        let answer = Answer::new(reply.clone(), now);
        let half_open = now + config.timing.half_open;
        let mut mode = Self::new(State::Responder(config, state, answer, half_open), cookies, from, reply);
        mode.taken.push(digest(first_message));
        Ok(mode)
    }

    /// The cookies. An initiator does not know the responder's before message 2: it is zero until then.
    #[must_use]
    pub fn cookies(&self) -> CookiePair {
        self.cookies
    }

    /// The other side's address.
    #[must_use]
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether nothing more will come of it. After [`Progress::Established`] a responder is over only when
    /// duplicates of message 5 are no longer to be expected.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Takes a datagram that has this phase 1's cookies. `unix_time`, in seconds since 1970, is what the
    /// validity of certificates is measured by.
    ///
    /// # Errors
    /// What is wrong with the message. The state is as it was, unless [`is_over`](Self::is_over) says that
    /// the phase 1 has failed.
    pub fn handle(
        &mut self,
        now: Instant,
        unix_time: u64,
        datagram: &[u8],
        random: &mut dyn Random,
    ) -> Result<Progress, IkeError> {
        let (header, body) = split_datagram(datagram)?;
        self.check_cookies(&header)?;
        match header.exchange {
            ExchangeType::IdentityProtection => {}
            ExchangeType::Informational => return self.informational(&header, body, datagram),
            other => return Err(IkeError::Exchange(other)),
        }
        let digest = digest(datagram);
        if self.taken.contains(&digest) || self.last_refused.as_ref() == Some(&digest) {
            self.duplicate(now, &digest);
            return Ok(Progress::Continue);
        }
        let context = &mut Context { now, unix_time, peer: self.peer, random };
        let step = match &self.state {
            State::Initiator(config, state, _) => state.handle(config, context, &header, body),
            State::Responder(config, state, ..) => state.handle(config, context, &header, body),
            State::Lingering(..) | State::Over => return Err(IkeError::Over),
        };
        match step {
            Ok(step) => {
                self.taken.push(digest);
                self.last_refused = None;
                self.refused = None;
                Ok(self.take(step, now, random))
            }
            Err(failure) => Err(self.refuse(failure, digest)),
        }
    }

    /// A message to send to the peer, if there is one.
    pub fn poll_transmit(&mut self) -> Option<Vec<u8>> {
        self.outgoing.take()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is to be called.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        match &self.state {
            State::Initiator(_, _, retransmission) => Some(retransmission.due()),
            State::Responder(_, _, _, deadline) | State::Lingering(_, _, deadline) => Some(*deadline),
            State::Over => None,
        }
    }

    /// Sends again what was not answered, or gives up.
    ///
    /// # Errors
    /// The phase 1 is over because the peer did not go on: why, as far as is known.
    pub fn handle_timeout(&mut self, now: Instant, random: &mut dyn Random) -> Result<(), IkeError> {
        let failed = match &mut self.state {
            State::Initiator(config, _, retransmission) => {
                match retransmission.at(now, &config.timing, random) {
                    Due::NotYet => return Ok(()),
                    Due::Again(message) => {
                        self.outgoing = Some(message);
                        return Ok(());
                    }
                    Due::GiveUp(tries) => {
                        let no_answer = IkeError::NoAnswer { tries, hint: self.hint };
                        Err(self.refused.take().unwrap_or(no_answer))
                    }
                }
            }
            State::Responder(_, state, _, deadline) if now >= *deadline => {
                let half_open = IkeError::HalfOpen(state.last_message());
                Err(self.refused.take().unwrap_or(half_open))
            }
            State::Lingering(_, _, deadline) if now >= *deadline => Ok(()),
            _ => return Ok(()),
        };
        self.state = State::Over;
        failed
    }

    /// Why it got no further, as far as is known, for when there is no more time for it. It is over then.
    pub fn give_up(&mut self) -> IkeError {
        let why = match &self.state {
            State::Initiator(_, _, retransmission) => {
                IkeError::NoAnswer { tries: retransmission.sent(), hint: self.hint }
            }
            State::Responder(_, state, ..) => IkeError::HalfOpen(state.last_message()),
            State::Lingering(..) | State::Over => IkeError::Over,
        };
        self.state = State::Over;
        self.refused.take().unwrap_or(why)
    }

    fn new(state: State, cookies: CookiePair, peer: SocketAddr, outgoing: Vec<u8>) -> Self {
        Self {
            state,
            cookies,
            peer,
            outgoing: Some(outgoing),
            taken: Vec::new(),
            last_refused: None,
            failures: 0,
            refused: None,
            hint: None,
        }
    }

    /// An initiator learns the responder's cookie from message 2; a duplicate of message 1 has none.
    fn check_cookies(&self, header: &Header) -> Result<(), IkeError> {
        let unknown = match &self.state {
            State::Initiator(_, initiator::State::Choice(_), _) => true,
            State::Responder(..) | State::Lingering(..) => header.responder_cookie == Cookie::ZERO,
            _ => false,
        };
        let responder_fits = unknown || header.responder_cookie == self.cookies.responder;
        if header.initiator_cookie == self.cookies.initiator && responder_fits {
            Ok(())
        } else {
            Err(IkeError::Cookies)
        }
    }

    fn take(&mut self, step: Step, now: Instant, random: &mut dyn Random) -> Progress {
        match (step, std::mem::replace(&mut self.state, State::Over)) {
            (Step::Initiator(reply, state), State::Initiator(config, ..)) => {
                self.cookies = state.cookies();
                let retransmission = Retransmission::new(reply.clone(), &config.timing, now, random);
                self.state = State::Initiator(config, state, retransmission);
                self.outgoing = Some(reply);
                Progress::Continue
            }
            (Step::Responder(reply, state), State::Responder(config, ..)) => {
                let half_open = now + config.timing.half_open;
                self.state = State::Responder(config, state, Answer::new(reply.clone(), now), half_open);
                self.outgoing = Some(reply);
                Progress::Continue
            }
            (Step::Established(sa, Some(reply)), State::Responder(config, ..)) => {
                let until = now + config.timing.half_open;
                self.state = State::Lingering(config, Answer::new(reply.clone(), now), until);
                self.outgoing = Some(reply);
                Progress::Established(sa)
            }
            (Step::Established(sa, _), _) => Progress::Established(sa),
            // A state makes only its own role's steps.
            _ => Progress::Continue,
        }
    }

    fn refuse(&mut self, failure: Failure, digest: Vec<u8>) -> IkeError {
        match failure {
            Failure::Final(error) => {
                self.state = State::Over;
                error
            }
            Failure::Unproven(error) => {
                self.last_refused = Some(digest);
                let costly = matches!(error.refusal(), Refusal::Signature | Refusal::Certificate);
                self.failures += u32::from(costly);
                if self.failures >= MAX_UNPROVEN {
                    self.state = State::Over;
                }
                self.refused = Some(error.clone());
                error
            }
        }
    }

    /// The peer did not get the answer to its last message, or the network doubled it.
    fn duplicate(&mut self, now: Instant, digest: &Vec<u8>) {
        let (config, answer) = match &mut self.state {
            State::Responder(config, _, answer, _) | State::Lingering(config, answer, _) => (config, answer),
            _ => return,
        };
        let due = now.saturating_duration_since(answer.sent) >= config.timing.answer_interval;
        if self.taken.last() == Some(digest) && due && answer.again < MAX_ANSWERS {
            answer.sent = now;
            answer.again += 1;
            self.outgoing = Some(answer.message.clone());
        }
    }

    fn informational(&mut self, header: &Header, body: &[u8], datagram: &[u8]) -> Result<Progress, IkeError> {
        let hint = match &self.state {
            State::Over => return Err(IkeError::Over),
            State::Initiator(_, state, _) if header.flags == Flags::ENCRYPTED => {
                state.protected_hint(datagram)
            }
            _ => unprotected_hint(header, body),
        };
        let hint = hint.ok_or(IkeError::Unexpected(0, "an Informational message that cannot be read"))?;
        self.hint = Some(hint);
        Ok(Progress::Hint(hint))
    }
}

impl Answer {
    fn new(message: Vec<u8>, sent: Instant) -> Self {
        Self { message, sent, again: 0 }
    }
}

impl fmt::Debug for MainMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Initiator(..) => "initiator",
            State::Responder(..) => "responder",
            State::Lingering(..) => "established",
            State::Over => "over",
        };
        f.debug_struct("MainMode")
            .field("cookies", &self.cookies)
            .field("peer", &self.peer)
            .field("state", &state)
            .finish()
    }
}

/// A cookie: random, and not zero. Since it is what a later message must hold, nobody who cannot see our
/// messages can go on in another's name.
fn cookie(random: &mut dyn Random) -> Cookie {
    let mut cookie = Cookie::ZERO;
    while cookie == Cookie::ZERO {
        random.fill(&mut cookie.0);
    }
    cookie
}

fn nonce(random: &mut dyn Random) -> Vec<u8> {
    let mut nonce = vec![0; NONCE_LEN];
    random.fill(&mut nonce);
    nonce
}

fn digest(datagram: &[u8]) -> Vec<u8> {
    HashAlgorithm::Sha256.digest(&[datagram])
}

#[cfg(test)]
pub(super) mod tests;
