//! The key server against members made of the protocol library's other side, over a network in memory:
//! real messages, signatures and HASHes.

use super::*;
use crate::core::{Count, Now, RekeyWhat, Settings, What};
use crate::store::{Fault, FileStore, MemoryStore, Store};
use getvpn_gdoi::crypto::x509::PeerCertificate;
use getvpn_gdoi::crypto::{Secret, SeededRandom};
use getvpn_gdoi::group::*;
use getvpn_gdoi::ike::*;
use getvpn_gdoi::pull::PullClient;
use getvpn_gdoi::push::{self, Ack};
use getvpn_gdoi::server::ServerConfig;
use getvpn_gdoi::wire::{Compat, Doi, ExchangeType};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::tests::settings;

const PSK: &[u8] = b"between the two of us";

struct Anyone;

impl Peers for Anyone {
    fn pre_shared_key(&self, _: IpAddr) -> Option<Secret> {
        Some(Secret::from(PSK))
    }

    fn admit(&self, _: &PeerInfo, _: Option<&PeerCertificate>) -> Option<PeerTag> {
        Some(PeerTag(u64::MAX))
    }
}

fn endpoint() -> ServerConfig {
    ServerConfig {
        phase1: Arc::new(ResponderConfig {
            suites: vec!["aes128-sha256-ecp256".parse().unwrap()],
            lifetime: Duration::from_secs(3600),
            accept_ipsec_doi: false,
            identity: "10.0.0.1".parse().unwrap(),
            certificate: None,
            peers: Arc::new(Anyone),
            timing: Timing::default(),
        }),
        dpd: None,
        max_half_open: 64,
        max_half_open_per_address: 4,
        max_established: 64,
    }
}

fn server_address() -> SocketAddr {
    "10.0.0.1:848".parse().unwrap()
}

struct Bench {
    key_server: KeyServer,
    store: MemoryStore,
    now: Now,
    random: SeededRandom,
}

impl Bench {
    fn new() -> Self {
        let store = MemoryStore::default();
        let mut random = SeededRandom::new(5);
        let now = Now { instant: Instant::now(), unix: Duration::from_secs(1_800_000_000), uptime: None };
        let key_server = start(Box::new(store.clone()), now, &mut random);
        Self { key_server, store, now, random }
    }

    fn restart(&mut self) {
        self.key_server = start(Box::new(self.store.clone()), self.now, &mut self.random);
    }

    fn send(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<Vec<u8>> {
        let sent =
            self.key_server.handle_datagram(self.now, server_address(), from, datagram, &mut self.random);
        sent.unwrap();
        self.sent_to(from)
    }

    fn sent_to(&mut self, to: SocketAddr) -> Vec<Vec<u8>> {
        let sent = std::iter::from_fn(|| self.key_server.poll_transmit());
        sent.filter(|transmit| transmit.to == to).map(|transmit| transmit.datagram).collect()
    }

    fn count(&self, count: Count) -> u64 {
        self.key_server.authority().counters().get(count)
    }
}

fn start(store: Box<dyn Store>, now: Now, random: &mut SeededRandom) -> KeyServer {
    let group = settings::group();
    let settings = Settings {
        access: settings::access(&[group.id]),
        groups: vec![group],
        limits: crate::core::Limits::default(),
    };
    KeyServer::new(endpoint(), Arc::new(Directory::default()), settings, store, now, random).unwrap()
}

/// A member after its registration.
struct Member {
    from: SocketAddr,
    sa: IkeSa,
    kek: (KekPolicy, KekKeys),
    last: u32,
    teks: Vec<EspSpi>,
    sids: Vec<u32>,
}

impl Member {
    fn connect(bench: &mut Bench, host: u8) -> (SocketAddr, IkeSa) {
        let from = SocketAddr::from(([10, 0, 1, host], 848));
        let config = InitiatorConfig {
            suites: vec!["aes128-sha256-ecp256".parse().unwrap()],
            lifetime: Duration::from_secs(3600),
            doi: Doi::Gdoi,
            identity: Identity::Address(from.ip()),
            credentials: Credentials::Psk(Secret::from(PSK)),
            peer_identity: None,
            initial_contact: false,
            timing: Timing::default(),
        };
        let (now, unix) = (bench.now.instant, bench.now.unix.as_secs());
        let mut mode =
            MainMode::initiate(Arc::new(config), server_address(), now, &mut bench.random).unwrap();
        loop {
            let message = mode.poll_transmit().unwrap();
            let reply = bench.send(from, &message).remove(0);
            match mode.handle(now, unix, &reply, &mut bench.random).unwrap() {
                Progress::Continue => {}
                Progress::Established(sa) => return (from, *sa),
                Progress::Hint(_) => panic!("a hint"),
            }
        }
    }

    fn register(bench: &mut Bench, host: u8) -> Self {
        let (from, mut sa) = Self::connect(bench, host);
        let id = sa.new_message_id(&mut bench.random);
        let prf = sa.prf().clone();
        let (client, body) =
            PullClient::start(prf, id, settings::GROUP, Compat::Standard, &mut bench.random).unwrap();
        let mut iv = sa.phase2_iv(id);
        let mut exchange = |bench: &mut Bench, body: getvpn_gdoi::wire::EncodedChain| {
            let message = sa.seal(ExchangeType::GroupkeyPull, id, &mut iv, body.first, &body.octets).unwrap();
            let reply = bench.send(from, &message).remove(0);
            let (opened, next) = sa.open(&reply, &iv).unwrap();
            iv = next;
            opened
        };
        let opened = exchange(bench, body);
        let offered = client.policy(opened.first_payload, &opened.body).unwrap();
        let opened = exchange(bench, offered.accept.confirm(Some(2)).unwrap());
        let pulled = offered.accept.keys(None, opened.first_payload, &opened.body).unwrap();
        let kek = (offered.policy.kek.unwrap(), pulled.keys.kek.unwrap().1);
        let teks = pulled.keys.teks.iter().map(|(spi, _)| *spi).collect();
        let sids = pulled.keys.sender_ids.unwrap().values;
        Self { from, sa, kek, last: pulled.sequence.unwrap(), teks, sids }
    }

    /// Opens a PUSH, learns from it and makes its acknowledgement.
    fn open(&mut self, datagram: &[u8]) -> Option<(Rekey, Vec<u8>)> {
        let opened = push::open(&self.kek.0, &self.kek.1, self.last, datagram, Compat::Standard).ok()?;
        let rekey = opened.rekey;
        self.last = rekey.sequence;
        let ack = Ack { kek: rekey.kek, sequence: rekey.sequence, member: self.from.ip() };
        let ack = ack.build(&self.kek.1, AckRequest::KekSha256).unwrap();
        self.teks.extend(rekey.keys.teks.iter().map(|(spi, _)| *spi));
        if let Some(policy) = rekey.policy.kek.clone().filter(|policy| policy.spi != self.kek.0.spi) {
            self.kek = (policy, rekey.keys.kek.clone().unwrap().1);
            self.last = 0;
        }
        Some((rekey, ack))
    }

    fn ask(&mut self, bench: &mut Bench, spi: EspSpi) -> Vec<Vec<u8>> {
        let message = self.sa.notify(&[Notice::InvalidSpi(spi)], &mut bench.random).unwrap();
        bench.send(self.from, &message)
    }
}

fn rekey(bench: &mut Bench, what: RekeyWhat) {
    let now = bench.now;
    let command = |authority: &mut crate::core::Authority, random: &mut dyn getvpn_gdoi::crypto::Random| {
        authority.rekey(now, settings::GROUP, what, random)
    };
    bench.key_server.command(now, &mut bench.random, command).unwrap().unwrap();
}

#[test]
fn a_member_registers_is_rekeyed_and_acknowledges_over_real_messages() {
    let mut bench = Bench::new();
    let mut member = Member::register(&mut bench, 1);
    assert_eq!((member.last, member.sids.as_slice()), (0, &[0, 1][..]));
    for what in [RekeyWhat::Teks, RekeyWhat::TeksAndKek, RekeyWhat::Teks] {
        rekey(&mut bench, what);
        let push = bench.sent_to(member.from).remove(0);
        let (said, ack) = member.open(&push).unwrap();
        assert!(said.policy.teks.len() >= 2 && said.policy.kek.is_some());
        assert!(member.open(&push).is_none(), "a replay");
        bench.send(member.from, &ack);
        bench.now.instant += Duration::from_secs(1);
    }
    assert_eq!(bench.count(Count::Acknowledgements), 3);
    let mut forged = member.ask_ack();
    *forged.last_mut().unwrap() ^= 1;
    bench.send(member.from, &forged);
    assert_eq!(bench.count(Count::AckForged), 1);
}

impl Member {
    fn ask_ack(&self) -> Vec<u8> {
        let ack = Ack { kek: self.kek.0.spi, sequence: self.last, member: self.from.ip() };
        ack.build(&self.kek.1, AckRequest::KekSha256).unwrap()
    }
}

#[test]
fn sync_04_invalid_spi_over_phase_1_is_answered_by_a_push_that_carries_the_sa() {
    let mut bench = Bench::new();
    let mut member = Member::register(&mut bench, 1);
    let spi = member.teks[0];
    let pushes = member.ask(&mut bench, spi);
    let (said, _) = member.open(&pushes[0]).unwrap();
    assert!(said.policy.teks.iter().any(|tek| tek.spi == spi && tek.lifetime > Duration::from_secs(50)));
    assert!(member.ask(&mut bench, EspSpi(0x7777_7777)).is_empty());
    assert_eq!(bench.count(Count::AskedNoSuchSa), 1);
}

#[test]
fn after_a_restart_a_member_that_did_not_register_again_opens_the_next_push() {
    let mut bench = Bench::new();
    let mut member = Member::register(&mut bench, 1);
    rekey(&mut bench, RekeyWhat::Teks);
    let first = bench.sent_to(member.from).remove(0);
    member.open(&first).unwrap();
    bench.restart();
    let pushes = bench.sent_to(member.from);
    let (said, _) = member.open(&pushes[0]).expect("SEQ goes on");
    assert!(said.sequence > 1);
    let other = Member::register(&mut bench, 2);
    assert!(other.sids.iter().all(|sid| !member.sids.contains(sid)));
}

#[test]
fn when_the_store_fails_nothing_is_sent_and_when_it_works_again_everything_is() {
    let mut bench = Bench::new();
    let mut member = Member::register(&mut bench, 1);
    bench.store.set_fault(Fault::Refused);
    let now = bench.now;
    let failed = bench.key_server.command(now, &mut bench.random, |authority, random| {
        authority.rekey(now, settings::GROUP, RekeyWhat::Teks, random)
    });
    assert!(failed.is_err());
    assert!(bench.sent_to(member.from).is_empty());
    bench.store.set_fault(Fault::None);
    bench.key_server.settle(now, &mut bench.random).unwrap();
    let pushes = bench.sent_to(member.from);
    assert!(member.open(&pushes[0]).is_some());
}

#[test]
fn a_store_in_a_file_carries_a_server_over_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store");
    let mut bench = Bench::new();
    let file = FileStore::open(&path).unwrap();
    bench.key_server = start(Box::new(file), bench.now, &mut bench.random);
    let mut member = Member::register(&mut bench, 1);
    rekey(&mut bench, RekeyWhat::TeksAndKek);
    let push = bench.sent_to(member.from).remove(0);
    let (_, ack) = member.open(&push).unwrap();
    bench.send(member.from, &ack);
    // The old one lets go of the file first.
    bench.key_server = start(Box::new(MemoryStore::default()), bench.now, &mut bench.random);
    let file = FileStore::open(&path).unwrap();
    bench.key_server = start(Box::new(file), bench.now, &mut bench.random);
    let pushes = bench.sent_to(member.from);
    assert!(pushes.iter().any(|push| member.open(push).is_some()));
    assert_eq!(bench.key_server.authority().group(settings::GROUP).unwrap().members().len(), 1);
    let events = std::iter::from_fn(|| bench.key_server.poll_event());
    assert!(events.into_iter().any(|event| matches!(event.what, What::Opened { members: 1, .. })));
}
