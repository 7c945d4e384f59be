//! A group member among an honest key server, whose keys the harness has, and strangers.

use std::collections::VecDeque;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use getvpn_gdoi::crypto::SeededRandom;
use getvpn_gdoi::group::EspSpi;
use getvpn_gdoi::member::budget::SharedBudget;
use getvpn_gdoi::member::{GroupMember, KeyServerConfig, MemberConfig, MemberEvent};
use getvpn_gdoi::pull::PullServer;
use getvpn_gdoi::wire::{Compat, ExchangeType, Header, MAX_DATAGRAM};

use crate::exchange::{Chain, Iv};
use crate::group::{GROUP, keys, policy};
use crate::handshake::{Auth, Handshake, START, UNIX_TIME, initiator_config, member_address, server_address};
use crate::registration::nonce;
use crate::{Input, rekey};

/// What one call may lead to: as many SPIs are asked for at once as the budget of all groups has room for.
const MAX_OUTPUT: usize = 256;
/// And as many events as a rekey can have SAs, selectors and parts that are refused.
const MAX_EVENTS: usize = 4096;
/// Timeouts that are waited for at the end.
const TIMEOUTS: usize = 64;
/// How many of them may be due at one time, one after the other.
const MAX_AT_ONCE: usize = 8;

/// The member's registration as it went once, for the harness to repeat.
struct Recording {
    /// What the member received: messages 2, 4 and 6 of main mode, 2 and 4 of GROUPKEY-PULL.
    received: Vec<Vec<u8>>,
    handshake: Handshake,
    /// The exchange of the registration: its message ID; then for each message that the member awaits, the
    /// IV and what the HASH covers besides.
    message_id: u32,
    awaited: [(Iv, Vec<u8>); 2],
}

/// A member, brought to some state.
struct Attack {
    member: GroupMember,
    random: SeededRandom,
    now: Instant,
    recording: &'static Recording,
    /// IV and nonces of the registration's next message.
    exchange: (Iv, Vec<u8>),
    established: usize,
    sent: VecDeque<Vec<u8>>,
}

/// The first octet says how much of its registration the member has behind it. Then each piece is a message
/// or what its owner does: its first octet says what and how much of it is right, its second after how many
/// times 64 ms.
///
/// Never panics; without the key server's keys nothing is established or changed; and what is kept, sent and
/// told is bounded.
pub fn attack(mut input: Input<'_>) {
    static RECORDING: LazyLock<Recording> = LazyLock::new(record);
    let recording = &*RECORDING;
    let mut attack = Attack::new(recording);
    let received = usize::from(input.octet()) % (recording.received.len() + 1);
    recording.received.iter().take(received).for_each(|datagram| attack.receive(datagram, false));
    if received == 4 {
        attack.exchange = recording.awaited[1].clone();
    }
    for piece in input.pieces() {
        attack.piece(Input::new(piece));
    }
    attack.wait();
}

impl Attack {
    fn new(recording: &'static Recording) -> Self {
        let (member, random) = member();
        let exchange = recording.awaited[0].clone();
        let (now, sent) = (*START, VecDeque::new());
        let mut attack = Self { member, random, now, recording, exchange, established: 0, sent };
        attack.timeout();
        attack
    }

    fn piece(&mut self, mut piece: Input<'_>) {
        let (form, delay) = (piece.octet(), piece.octet());
        self.now += Duration::from_millis(u64::from(delay) * 64);
        self.timeout();
        let (before, sas) = (self.established, self.spis());
        let (handshake, session) = (&self.recording.handshake, &self.recording.handshake.session);
        let mut authentic = true;
        let datagram = match form & 7 {
            3 => session.informational(u32::from(piece.number()), Chain::fuzzed(piece.rest())),
            4 => return self.pull(&Chain::fuzzed(piece.rest())),
            5 => rekey::signed(&Chain::fuzzed(piece.rest()), Compat::Standard),
            6 => return self.owner(piece),
            forged => {
                authentic = false;
                match forged {
                    0 => piece.rest().to_vec(),
                    1 => handshake.clear(&Chain::fuzzed(piece.rest())),
                    2 => handshake.encrypted(&Chain::fuzzed(piece.rest())),
                    _ => rekey::encrypted(&Chain::fuzzed(piece.rest())),
                }
            }
        };
        self.receive(&datagram, form & 8 != 0);
        assert_eq!(self.established, before, "a stranger was authenticated");
        assert!(authentic || self.spis() == sas, "a stranger has changed the SAs");
    }

    /// A message of the registration that is encrypted and has the right HASH.
    fn pull(&mut self, chain: &Chain) {
        let Recording { handshake, message_id, .. } = self.recording;
        let (mut iv, covered) = self.exchange.clone();
        let authentic = handshake.session.authentic(*message_id, &[&covered], chain.clone());
        let exchange = ExchangeType::GroupkeyPull;
        let datagram = handshake.session.seal(exchange, *message_id, &mut iv, &authentic);
        self.sent.clear();
        self.receive(&datagram, false);
        // The member's answer moves the exchange on.
        for sent in &self.sent {
            let header = Header::decode(sent).unwrap();
            if (header.exchange, header.message_id) == (exchange, *message_id) {
                let _ = handshake.session.open(sent, &mut iv);
                let theirs = nonce(authentic.first, &authentic.octets, Compat::Standard).unwrap_or_default();
                self.exchange = (iv, [covered.as_slice(), &theirs].concat());
            }
        }
    }

    /// What the data plane and the operator do.
    fn owner(&mut self, mut piece: Input<'_>) {
        let (now, random) = (self.now, &mut self.random);
        let what = piece.octet();
        let spi = EspSpi(u32::from(piece.number()));
        match what & 7 {
            0 => self.member.resync(now, random),
            1 => drop(self.member.delete_sa(now, spi, random)),
            2 => self.member.refuse_sa(now, spi, "no room", random),
            3 => self.member.sender_ids_exhausted(now, spi, random),
            4 => self.member.stop(now, random),
            _ => (0..u32::from(what)).for_each(|more| self.member.unknown_spi(now, EspSpi(spi.0 + more))),
        }
        self.timeout();
    }

    fn receive(&mut self, datagram: &[u8], stranger: bool) {
        let mut from = server_address();
        if stranger {
            from.set_ip([198, 51, 100, 1].into());
        }
        self.member.handle_datagram(self.now, UNIX_TIME, from, datagram, &mut self.random);
        self.drain();
    }

    fn timeout(&mut self) {
        self.member.handle_timeout(self.now, &mut self.random);
        self.drain();
    }

    /// Nobody says anything any more: time goes on, whatever the member waits for.
    fn wait(&mut self) {
        let mut at_once = 0;
        for _ in 0..TIMEOUTS {
            let Some(due) = self.member.poll_timeout() else { return };
            at_once = if due <= self.now { at_once + 1 } else { 0 };
            assert!(at_once <= MAX_AT_ONCE, "the member waits for the past");
            self.now = self.now.max(due);
            self.timeout();
        }
    }

    fn drain(&mut self) {
        let mut count = 0;
        while let Some(transmit) = self.member.poll_transmit() {
            count += 1;
            assert!(count <= MAX_OUTPUT && transmit.bytes.len() <= MAX_DATAGRAM);
            assert_eq!(transmit.to, server_address());
            self.sent.push_back(transmit.bytes);
            self.sent.truncate(MAX_OUTPUT);
        }
        count = 0;
        while let Some(event) = self.member.poll_event() {
            count += 1;
            assert!(count <= MAX_EVENTS);
            self.established += usize::from(matches!(event, MemberEvent::Phase1 { .. }));
        }
        let status = self.member.status(self.now);
        assert!(self.member.sas().len() <= 4096 && status.pending <= 4096);
        assert!(status.asking.len() <= 4096 && status.remembered <= 4096);
    }

    fn spis(&self) -> Vec<EspSpi> {
        self.member.sas().iter().map(|sa| sa.policy.spi).collect()
    }
}

/// A new member with its randomness, the same each time.
fn member() -> (GroupMember, SeededRandom) {
    let key_server =
        KeyServerConfig { address: server_address(), phase1: Arc::new(initiator_config(Auth::Psk)) };
    let budget = SharedBudget::new(SharedBudget::DEFAULT, *START);
    let config = MemberConfig::new(GROUP, vec![key_server], member_address().ip(), 2, budget);
    (GroupMember::new(config, *START).unwrap(), SeededRandom::new(1))
}

/// Plays the key server once.
fn record() -> Recording {
    let (mut member, mut random) = member();
    member.handle_timeout(*START, &mut random);
    let mut received = Vec::new();
    let mut say = |datagram: Option<Vec<u8>>| {
        if let Some(datagram) = datagram {
            member.handle_datagram(*START, UNIX_TIME, server_address(), &datagram, &mut random);
            received.push(datagram);
        }
        member.poll_transmit().map(|transmit| transmit.bytes).unwrap_or_default()
    };
    let mut handshake = Handshake::answering(Auth::Psk, &mut say);
    let none = say(None);
    assert!(none.is_empty());
    let proof = handshake.received.pop().unwrap();
    let request = say(Some(proof));

    let message_id = Header::decode(&request).unwrap().message_id;
    let session = handshake.session.clone();
    let mut iv = session.phase2_iv(message_id);
    let first = session.open(&request, &mut iv);
    let ni = nonce(first.first, &first.octets, Compat::Standard).unwrap();
    let asked = PullServer::request(session.prf.clone(), message_id, first.first, &first.octets).unwrap().0;
    let mut awaited = vec![(iv, ni.clone())];

    let (offer, second) = asked.offer(&policy(), Compat::Standard, &mut SeededRandom::new(5)).unwrap();
    let nr = nonce(second.first, &second.octets, Compat::Standard).unwrap();
    let second = Chain { first: second.first, octets: second.octets.to_vec() };
    let third = say(Some(session.seal(ExchangeType::GroupkeyPull, message_id, &mut iv, &second)));
    let third = session.open(&third, &mut iv);
    awaited.push((iv, [ni, nr].concat()));
    let fourth = offer.confirmed(third.first, &third.octets).unwrap().0;
    let fourth = fourth.keys(&policy(), &keys(), Some(1)).unwrap();
    let fourth = Chain { first: fourth.first, octets: fourth.octets.to_vec() };
    say(Some(session.seal(ExchangeType::GroupkeyPull, message_id, &mut iv, &fourth)));
    assert_eq!(member.sas().len(), 2);
    Recording { received, handshake, message_id, awaited: awaited.try_into().unwrap() }
}
