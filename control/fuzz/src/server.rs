//! A key server's endpoint among an honest member, whose keys the harness has, and strangers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use getvpn_gdoi::crypto::SeededRandom;
use getvpn_gdoi::ike::{DpdTiming, Role};
use getvpn_gdoi::server::{Server, ServerConfig, ServerEvent};
use getvpn_gdoi::wire::{Compat, ExchangeType, MAX_DATAGRAM, NotifyType, PayloadType};

use crate::exchange::{Chain, Iv};
use crate::group::{GROUP, keys, policy};
use crate::handshake::{Auth, Handshake, START, UNIX_TIME, member_address, responder_config, server_address};
use crate::registration::{nonce, request};
use crate::{Input, Session};

const MAX_HALF_OPEN: usize = 8;
const MAX_ESTABLISHED: usize = 4;
/// What one datagram or timeout may lead to: a message has at most 64 payloads, each of which may tell
/// something, and each phase 1 may have something to say.
const MAX_OUTPUT: usize = 64 + MAX_HALF_OPEN + MAX_ESTABLISHED;

/// A server with what the harness knows about its member.
struct Attack {
    server: Server,
    random: SeededRandom,
    handshake: &'static Handshake,
    now: Instant,
    /// IV of the next message of each exchange, and what its HASH covers besides.
    exchanges: HashMap<u32, (Iv, Vec<u8>)>,
    established: usize,
}

/// The first octet says how many messages of main mode the member has sent, by which credentials, and how
/// many of a registration. Then each piece is a message: its first octet says what of it is right, its second
/// after how many times 64 ms it comes.
///
/// Never panics; nobody is authenticated but the member; and what is kept and sent is bounded.
pub fn attack(mut input: Input<'_>) {
    let choice = input.octet();
    let auth = [Auth::Psk, Auth::WrongPsk, Auth::Certificate][usize::from(choice >> 4) % 3];
    let mut attack = Attack::new(Handshake::get(Role::Responder, auth));
    for datagram in attack.handshake.received.iter().take(usize::from(choice & 3)) {
        attack.receive(datagram, 0);
    }
    let none = Chain { first: PayloadType::None, octets: Vec::new() };
    if choice & 4 != 0 {
        attack.pull(1, request());
    }
    if choice & 8 != 0 {
        attack.pull(1, none);
    }
    for piece in input.pieces() {
        attack.piece(Input::new(piece));
    }
    attack.now += Duration::from_secs(120);
    attack.server.handle_timeout(attack.now, &mut attack.random);
    attack.drain(0);
    assert_eq!(attack.server.phase1s().0, 0, "a half-open phase 1 that nobody ended");
}

impl Attack {
    fn new(handshake: &'static Handshake) -> Self {
        let config = ServerConfig {
            phase1: Arc::new(responder_config()),
            dpd: Some(DpdTiming::default()),
            max_half_open: MAX_HALF_OPEN,
            max_half_open_per_address: 4,
            max_established: MAX_ESTABLISHED,
        };
        Self {
            server: Server::new(config),
            // That of the recorded main mode.
            random: SeededRandom::new(2),
            handshake,
            now: *START,
            exchanges: HashMap::new(),
            established: 0,
        }
    }

    fn piece(&mut self, mut piece: Input<'_>) {
        let (form, delay) = (piece.octet(), piece.octet());
        self.now += Duration::from_millis(u64::from(delay) * 64);
        self.server.handle_timeout(self.now, &mut self.random);
        self.drain(0);
        let before = self.established;
        let (handshake, session, other) = (self.handshake, self.session(), form >> 3);
        let datagram = match form & 7 {
            0 => piece.rest().to_vec(),
            1 => handshake.clear(&Chain::fuzzed(piece.rest())),
            2 => handshake.encrypted(&Chain::fuzzed(piece.rest())),
            3 => session.informational(u32::from(piece.number()), Chain::fuzzed(piece.rest())),
            4 => {
                self.pull(other.into(), Chain::fuzzed(piece.rest()));
                return;
            }
            5 => {
                // A new phase 1 by the member's first message, with another cookie.
                let mut first = handshake.received[0].clone();
                first[..2].copy_from_slice(&[piece.octet(), piece.octet()]);
                first
            }
            _ => {
                let exchange = ExchangeType::from(piece.octet());
                session.seal(exchange, 9, &mut session.phase2_iv(9), &Chain::fuzzed(piece.rest()))
            }
        };
        self.receive(&datagram, other);
        assert_eq!(self.established, before, "a stranger was authenticated");
    }

    fn session(&self) -> &'static Session {
        &self.handshake.session
    }

    /// A message of a registration that is encrypted and has the right HASH.
    fn pull(&mut self, message_id: u32, chain: Chain) {
        let session = self.session();
        let new = || (session.phase2_iv(message_id), Vec::new());
        let (mut iv, covered) = self.exchanges.get(&message_id).cloned().unwrap_or_else(new);
        let chain = session.authentic(message_id, &[&covered], chain);
        let datagram = session.seal(ExchangeType::GroupkeyPull, message_id, &mut iv, &chain);
        let replies = self.receive(&datagram, 0);
        // A reply moves the exchange on.
        for reply in replies.iter().filter(|reply| reply[18] == ExchangeType::GroupkeyPull.number()) {
            let reply = session.open(reply, &mut iv);
            let nonces = [
                nonce(chain.first, &chain.octets, Compat::Standard),
                nonce(reply.first, &reply.octets, Compat::Standard),
            ];
            self.exchanges.insert(message_id, (iv, nonces.into_iter().flatten().flatten().collect()));
        }
    }

    /// Gives the server a datagram from the member, or from another address; what it sends.
    fn receive(&mut self, datagram: &[u8], other: u8) -> Vec<Vec<u8>> {
        let mut from = member_address();
        from.set_port(from.port() + u16::from(other));
        let (now, random) = (self.now, &mut self.random);
        self.server.handle_datagram(now, UNIX_TIME, server_address(), from, datagram, random);
        self.drain(other)
    }

    /// Takes all that the server says, as its owner; what it sends.
    fn drain(&mut self, decision: u8) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        for _ in 0..=MAX_OUTPUT {
            while let Some(transmit) = self.server.poll_transmit() {
                assert!(transmit.datagram.len() <= MAX_DATAGRAM && sent.len() < MAX_OUTPUT);
                sent.push(transmit.datagram);
            }
            let Some(event) = self.server.poll_event() else {
                self.check();
                return sent;
            };
            self.decide(event, decision);
        }
        panic!("events without end");
    }

    fn decide(&mut self, event: ServerEvent, decision: u8) {
        let (now, random) = (self.now, &mut self.random);
        match event {
            ServerEvent::Established(_) => self.established += 1,
            ServerEvent::PullRequested { pull, group, .. } if group.id(Compat::Standard) == GROUP => {
                self.server.offer(pull, now, &policy(), Compat::Standard, random);
            }
            ServerEvent::PullRequested { pull, .. } => {
                self.server.refuse_pull(pull, now, NotifyType::InvalidIdInformation, random);
            }
            ServerEvent::PullConfirmed { pull, .. } => {
                self.server.keys(pull, now, &policy(), &keys(), Some(u32::from(decision)));
            }
            ServerEvent::Refused { why, .. } => assert!(!why.is_empty()),
            _ => {}
        }
    }

    fn check(&self) {
        let (half_open, established) = self.server.phase1s();
        assert!(half_open <= MAX_HALF_OPEN && established <= MAX_ESTABLISHED);
    }
}
