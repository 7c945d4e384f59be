//! A member, its key servers and the network between them, in virtual time.

use super::key_server::{KeyServer, PSK};
use super::*;
use crate::crypto::{Secret, SeededRandom};
use crate::group::GroupId;
use crate::ike::{Credentials, InitiatorConfig, Timing};
use crate::member::budget::SharedBudget;
use crate::member::recovery::{End, Ended};
use crate::member::{GroupMember, KeyServerConfig, MemberConfig, MemberEvent};
use crate::wire::{Doi, ExchangeType, split_datagram};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

/// One way through the network.
pub(crate) const LATENCY: Duration = Duration::from_millis(1);

/// Whose datagram it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum From {
    Member,
    KeyServer(usize),
}

type Filter = Box<dyn FnMut(From, ExchangeType) -> bool>;

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) member: GroupMember,
    pub(crate) key_servers: Vec<KeyServer>,
    pub(crate) events: Vec<MemberEvent>,
    random: SeededRandom,
    wire: Vec<(Instant, From, SocketAddr, Vec<u8>)>,
    /// True for what the network loses.
    pub(crate) loses: Filter,
    /// Datagrams that the member sent.
    pub(crate) sent: usize,
}

pub(crate) fn address(key_server: usize) -> String {
    format!("192.0.2.{}:848", key_server + 1)
}

pub(crate) fn member_address() -> SocketAddr {
    "192.0.2.7:848".parse().unwrap()
}

pub(crate) fn member_config(key_servers: usize, now: Instant) -> MemberConfig {
    let phase1 = Arc::new(InitiatorConfig {
        suites: vec!["aes256-sha256-ecp256".parse().unwrap()],
        lifetime: secs(86_400),
        doi: Doi::Gdoi,
        identity: "gm1.example.net".parse().unwrap(),
        credentials: Credentials::Psk(Secret::from(PSK)),
        peer_identity: None,
        initial_contact: false,
        timing: Timing::default(),
    });
    let key_servers = (0..key_servers).map(|n| {
        let address = address(n).parse().unwrap();
        KeyServerConfig { address, phase1: Arc::clone(&phase1) }
    });
    let budget = SharedBudget::new(SharedBudget::DEFAULT, now);
    MemberConfig::new(GroupId(1234), key_servers.collect(), member_address().ip(), 2, budget)
}

impl World {
    /// A member and key servers that have SAs 0x1001, 0x1002... of an hour, each its own.
    pub(crate) fn new(key_servers: usize) -> Self {
        let now = Instant::now();
        Self::with(member_config(key_servers, now), now)
    }

    pub(crate) fn with(config: MemberConfig, now: Instant) -> Self {
        let key_servers = (0..config.key_servers.len()).map(|n| {
            let seed = 100 + u64::try_from(n).unwrap();
            let mut key_server = KeyServer::new(&address(n), seed, now);
            key_server.add(0x1001 + 0x1000 * u32::try_from(n).unwrap(), 3600, now);
            key_server
        });
        Self {
            now,
            key_servers: key_servers.collect(),
            member: GroupMember::new(config, now).unwrap(),
            events: Vec::new(),
            random: SeededRandom::new(42),
            wire: Vec::new(),
            loses: Box::new(|_, _| false),
            sent: 0,
        }
    }

    /// One that has registered.
    pub(crate) fn registered(key_servers: usize) -> Self {
        let mut world = Self::new(key_servers);
        world.run(secs(1));
        assert_eq!(world.key_servers[0].registrations, 1);
        world.forget();
        world
    }

    /// Forgets what happened.
    pub(crate) fn forget(&mut self) {
        self.events.clear();
        for key_server in &mut self.key_servers {
            (key_server.asked, key_server.acks) = (Vec::new(), Vec::new());
            (key_server.registrations, key_server.established) = (0, 0);
        }
        self.sent = 0;
    }

    pub(crate) fn ks(&mut self) -> &mut KeyServer {
        &mut self.key_servers[0]
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, span: Duration) {
        let end = self.now + span;
        let mut rounds = 0;
        while self.step(end) {
            rounds += 1;
            assert!(rounds < 1_000_000, "no end: {:?}", self.member.status(self.now));
        }
        self.now = end;
    }

    /// Lets time pass until something holds; how long that took.
    pub(crate) fn until(&mut self, most: Duration, mut holds: impl FnMut(&Self) -> bool) -> Duration {
        let start = self.now;
        while !holds(self) {
            assert!(self.step(start + most), "not within {most:?}: {:?}", self.member.status(self.now));
        }
        self.now - start
    }

    /// What a key server sends of its own accord arrives at the member.
    pub(crate) fn deliver(&mut self, from: usize, datagram: Vec<u8>) {
        let address = self.key_servers[from].address;
        self.send(From::KeyServer(from), address, datagram);
    }

    /// Packets with an unknown SPI arrive at the data plane.
    pub(crate) fn packets(&mut self, spi: u32) {
        self.member.unknown_spi(self.now, EspSpi(spi));
        self.member.handle_timeout(self.now, &mut self.random);
        self.collect();
    }

    /// Calls the member.
    pub(crate) fn call<T>(
        &mut self,
        call: impl FnOnce(&mut GroupMember, Instant, &mut SeededRandom) -> T,
    ) -> T {
        let result = call(&mut self.member, self.now, &mut self.random);
        self.collect();
        result
    }

    pub(crate) fn spis(&self) -> Vec<u32> {
        self.member.sas().iter().map(|sa| sa.spi().0).collect()
    }

    pub(crate) fn senders(&self) -> Vec<u32> {
        self.member.sas().iter().filter(|sa| sa.sends).map(|sa| sa.spi().0).collect()
    }

    pub(crate) fn has(&self, spi: u32) -> bool {
        self.spis().contains(&spi)
    }

    pub(crate) fn ended(&self) -> Vec<Ended> {
        let ended = |event: &MemberEvent| match event {
            MemberEvent::SpiEnded(ended) => Some(*ended),
            _ => None,
        };
        self.events.iter().filter_map(ended).collect()
    }

    pub(crate) fn recovered(&self) -> Vec<u32> {
        self.ended().iter().filter(|ended| ended.end == End::Recovered).map(|ended| ended.spi.0).collect()
    }

    fn step(&mut self, end: Instant) -> bool {
        self.collect();
        let arrival = self.wire.iter().map(|(at, ..)| *at).min();
        let due = self.member.poll_timeout().map(|at| at.max(self.now));
        let Some(next) = arrival.into_iter().chain(due).min().filter(|at| *at <= end) else { return false };
        self.now = next;
        if arrival == Some(next) {
            let at = self.wire.iter().position(|(at, ..)| *at == next).unwrap();
            let (_, from, address, datagram) = self.wire.remove(at);
            match from {
                From::Member => {
                    let found = self.key_servers.iter_mut().position(|ks| ks.address == address).unwrap();
                    let answers = self.key_servers[found].handle(next, member_address(), &datagram);
                    for answer in answers {
                        self.send(From::KeyServer(found), address, answer);
                    }
                }
                From::KeyServer(_) => {
                    self.member.handle_datagram(next, 1_767_225_600, address, &datagram, &mut self.random);
                }
            }
        } else {
            self.member.handle_timeout(next, &mut self.random);
            let again = self.member.poll_timeout();
            // A member that is due at once again and again would never let time pass.
            if again.is_some_and(|at| at <= next) {
                self.member.handle_timeout(next, &mut self.random);
                let again = self.member.poll_timeout();
                assert!(again.is_none_or(|at| at > next), "stuck: {:?}", self.member.status(next));
            }
        }
        self.collect();
        true
    }

    fn collect(&mut self) {
        while let Some(transmit) = self.member.poll_transmit() {
            self.sent += 1;
            self.send(From::Member, transmit.to, transmit.bytes);
        }
        while let Some(event) = self.member.poll_event() {
            self.events.push(event);
        }
    }

    fn send(&mut self, from: From, address: SocketAddr, datagram: Vec<u8>) {
        let exchange = split_datagram(&datagram).unwrap().0.exchange;
        if !(self.loses)(from, exchange) {
            self.wire.push((self.now + LATENCY, from, address, datagram));
        }
    }
}
