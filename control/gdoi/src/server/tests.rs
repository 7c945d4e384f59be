//! The endpoint against a member made of the other side's parts, over a network in memory.

use super::*;
use crate::crypto::x509::PeerCertificate;
use crate::crypto::{Secret, SeededRandom};
use crate::group::{Direction, EspSpi, EspTransform, GroupId, Mode, Selector, SenderIds, TekKeys, TekPolicy};
use crate::ike::{Credentials, Identity, InitiatorConfig, Iv, PeerInfo, PeerTag, Peers, Suite, Timing};
use crate::pull::{Offered, PullClient};
use crate::wire::Doi;
use std::net::IpAddr;

const UNIX_TIME: u64 = 1_800_000_000;
const PSK: &[u8] = b"between the two of us";

struct Known;

impl Peers for Known {
    fn pre_shared_key(&self, _: IpAddr) -> Option<Secret> {
        Some(Secret::from(PSK))
    }

    fn admit(&self, _: &PeerInfo, _: Option<&PeerCertificate>) -> Option<PeerTag> {
        Some(PeerTag(0))
    }
}

fn config() -> ServerConfig {
    let phase1 = ResponderConfig {
        suites: vec!["aes128-sha256-ecp256".parse().unwrap()],
        lifetime: Duration::from_secs(3600),
        accept_ipsec_doi: false,
        identity: Identity::Address([192, 0, 2, 1].into()),
        certificate: None,
        peers: Arc::new(Known),
        timing: Timing::default(),
    };
    ServerConfig {
        phase1: Arc::new(phase1),
        dpd: None,
        max_half_open: 8,
        max_half_open_per_address: 4,
        max_established: 16,
    }
}

fn server_address() -> SocketAddr {
    "192.0.2.1:848".parse().unwrap()
}

fn member_address(n: u8) -> SocketAddr {
    SocketAddr::new([192, 0, 2, n].into(), 848)
}

fn policy() -> GroupPolicy {
    let any = |net: &str| net.parse().unwrap();
    let selector = Selector {
        src: any("10.0.0.0/8"),
        dst: any("10.0.0.0/8"),
        protocol: None,
        src_port: None,
        dst_port: None,
    };
    let tek = TekPolicy {
        spi: EspSpi(0x1234_5678),
        transform: EspTransform::Aes128Gcm,
        mode: Mode::Tunnel,
        direction: Direction::Symmetric,
        selectors: vec![selector],
        lifetime: Duration::from_secs(3600),
    };
    GroupPolicy { teks: vec![tek], ..GroupPolicy::default() }
}

fn keys() -> GroupKeys {
    let cipher = Secret::new(vec![7; 20]);
    let tek = TekKeys { cipher, integrity: Secret::new(Vec::new()) };
    let sender_ids = Some(SenderIds { bits: 16, values: vec![3, 4] });
    GroupKeys { teks: vec![(EspSpi(0x1234_5678), tek)], kek: None, sender_ids }
}

/// The server, its owner's clock, and a network without loss.
struct Bench {
    server: Server,
    now: Instant,
    random: SeededRandom,
}

impl Bench {
    fn new(config: ServerConfig) -> Self {
        Self { server: Server::new(config), now: Instant::now(), random: SeededRandom::new(1) }
    }

    /// What the server sends back for a datagram.
    fn ask(&mut self, from: SocketAddr, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.server.handle_datagram(self.now, UNIX_TIME, server_address(), from, datagram, &mut self.random);
        self.sent(from)
    }

    fn sent(&mut self, to: SocketAddr) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| self.server.poll_transmit())
            .inspect(|sent| assert_eq!((sent.local, sent.to), (server_address(), to)))
            .map(|sent| sent.datagram)
            .collect()
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.server.handle_timeout(self.now, &mut self.random);
    }

    fn events(&mut self) -> Vec<ServerEvent> {
        std::iter::from_fn(|| self.server.poll_event()).collect()
    }

    fn first_message(&mut self) -> (MainMode, Vec<u8>) {
        let config = InitiatorConfig {
            suites: vec!["aes128-sha256-ecp256".parse::<Suite>().unwrap()],
            lifetime: Duration::from_secs(3600),
            doi: Doi::Gdoi,
            identity: Identity::Address([192, 0, 2, 7].into()),
            credentials: Credentials::Psk(Secret::from(PSK)),
            peer_identity: None,
            initial_contact: false,
            timing: Timing::default(),
        };
        let mut mode =
            MainMode::initiate(Arc::new(config), server_address(), self.now, &mut self.random).unwrap();
        let first = mode.poll_transmit().unwrap();
        (mode, first)
    }

    fn connect(&mut self, from: SocketAddr) -> IkeSa {
        let (mut mode, mut message) = self.first_message();
        loop {
            let [reply] = <[Vec<u8>; 1]>::try_from(self.ask(from, &message)).unwrap();
            match mode.handle(self.now, UNIX_TIME, &reply, &mut self.random).unwrap() {
                Progress::Continue => message = mode.poll_transmit().unwrap(),
                Progress::Established(sa) => return *sa,
                Progress::Hint(_) => panic!("a hint"),
            }
        }
    }

    /// Messages 1 and 2.
    fn request(&mut self, from: SocketAddr, sa: &mut IkeSa) -> (Request, PullId) {
        let message_id = sa.new_message_id(&mut self.random);
        let (client, body) = PullClient::start(
            sa.prf().clone(),
            message_id,
            GroupId(1234),
            Compat::Standard,
            &mut self.random,
        )
        .unwrap();
        let mut iv = sa.phase2_iv(message_id);
        let message =
            sa.seal(ExchangeType::GroupkeyPull, message_id, &mut iv, body.first, &body.octets).unwrap();
        assert!(self.ask(from, &message).is_empty(), "the owner has not said anything yet");
        let pull = self
            .events()
            .into_iter()
            .find_map(|event| match event {
                ServerEvent::PullRequested { pull, group, .. } => {
                    assert_eq!(group.id(Compat::Standard), GroupId(1234));
                    Some(pull)
                }
                _ => None,
            })
            .expect("a registration");
        (Request { client, iv, message }, pull)
    }
}

struct Request {
    client: PullClient,
    iv: Iv,
    message: Vec<u8>,
}

impl Request {
    /// Reads message 2 and makes message 3.
    fn confirm(&mut self, sa: &IkeSa, reply: &[u8]) -> (Offered, Vec<u8>) {
        let (opened, next) = sa.open(reply, &self.iv).unwrap();
        let offered = self.client.policy(opened.first_payload, &opened.body).unwrap();
        self.iv = next;
        let body = offered.accept.confirm(Some(2)).unwrap();
        let id = self.client.message_id();
        let message =
            sa.seal(ExchangeType::GroupkeyPull, id, &mut self.iv, body.first, &body.octets).unwrap();
        (offered, message)
    }
}

#[test]
fn a_member_gets_the_policy_and_keys_that_the_owner_gives() {
    let mut bench = Bench::new(config());
    let from = member_address(7);
    let mut sa = bench.connect(from);
    let (mut request, pull) = bench.request(from, &mut sa);
    bench.server.offer(pull, bench.now, &policy(), Compat::Standard, &mut bench.random);
    let reply = bench.sent(from).remove(0);
    let (offered, third) = request.confirm(&sa, &reply);
    assert_eq!(offered.policy, policy());

    assert!(bench.ask(from, &third).is_empty());
    let events = bench.events();
    let [ServerEvent::PullConfirmed { pull: confirmed, sender_ids_wanted, peer }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!((*confirmed, *sender_ids_wanted, peer.info.address), (pull, Some(2), from));
    bench.server.keys(pull, bench.now, &policy(), &keys(), None);
    let fourth = bench.sent(from).remove(0);
    let (opened, _) = sa.open(&fourth, &request.iv).unwrap();
    let pulled = offered.accept.keys(None, opened.first_payload, &opened.body).unwrap();
    assert_eq!(pulled.keys, keys());
    assert_eq!(bench.server.counters().pulls_completed, 1);
}

#[test]
fn a_request_that_comes_again_gets_the_same_reply_and_the_owner_is_not_asked_again() {
    let mut bench = Bench::new(config());
    let from = member_address(7);
    let mut sa = bench.connect(from);
    let (mut request, pull) = bench.request(from, &mut sa);
    assert!(bench.ask(from, &request.message.clone()).is_empty(), "there is no reply yet");
    bench.server.offer(pull, bench.now, &policy(), Compat::Standard, &mut bench.random);
    let reply = bench.sent(from).remove(0);
    assert!(bench.ask(from, &request.message.clone()).is_empty(), "too soon");
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.ask(from, &request.message.clone()).as_slice(), std::slice::from_ref(&reply));

    let (_, third) = request.confirm(&sa, &reply);
    bench.ask(from, &third);
    bench.events();
    bench.server.keys(pull, bench.now, &policy(), &keys(), None);
    let fourth = bench.sent(from).remove(0);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.ask(from, &third), [fourth]);
    assert!(bench.events().is_empty());
    // Message 1 of an exchange that is further on is an old copy.
    assert!(bench.ask(from, &request.message.clone()).is_empty());
    assert!(bench.events().iter().all(|event| matches!(event, ServerEvent::Refused { .. })));
}

#[test]
fn a_member_outside_the_group_gets_an_authenticated_refusal() {
    let mut bench = Bench::new(config());
    let from = member_address(7);
    let mut sa = bench.connect(from);
    let (_, pull) = bench.request(from, &mut sa);
    bench.server.refuse_pull(pull, bench.now, NotifyType::InvalidIdInformation, &mut bench.random);
    let refusal = bench.sent(from).remove(0);
    let notices = sa.open_informational(&refusal).unwrap();
    let [Notice::Other { notify: NotifyType::InvalidIdInformation, .. }] = notices.as_slice() else {
        panic!("{notices:?}")
    };
    bench.server.offer(pull, bench.now, &policy(), Compat::Standard, &mut bench.random);
    assert!(bench.sent(from).is_empty(), "it is over");
}

#[test]
fn a_message_with_one_bit_changed_changes_nothing() {
    let mut bench = Bench::new(config());
    let from = member_address(7);
    let mut sa = bench.connect(from);
    let (mut request, pull) = bench.request(from, &mut sa);
    bench.server.offer(pull, bench.now, &policy(), Compat::Standard, &mut bench.random);
    let reply = bench.sent(from).remove(0);
    let (_, third) = request.confirm(&sa, &reply);
    // Of what is left out no HASH says anything (RFC 6407 section 3.2): the header's version, and in the last
    // block the padding.
    let header = 28;
    for bit in header * 8..(third.len() - 16) * 8 {
        let mut altered = third.clone();
        altered[bit / 8] ^= 1 << (bit % 8);
        bench.ask(from, &altered);
    }
    let told = bench.events();
    assert!(told.iter().all(|event| matches!(event, ServerEvent::Refused { .. })), "{told:?}");
    assert!(told.len() <= REFUSALS_PER_SECOND as usize, "told in bounds");
    bench.ask(from, &third);
    assert!(matches!(bench.events().as_slice(), [ServerEvent::PullConfirmed { .. }]));
}

#[test]
fn invalid_spi_is_told_once_and_a_replay_of_it_is_refused() {
    let mut bench = Bench::new(config());
    let from = member_address(7);
    let mut sa = bench.connect(from);
    bench.events();
    let message = sa.notify(&[Notice::InvalidSpi(EspSpi(0xabcd_0001))], &mut bench.random).unwrap();
    bench.ask(from, &message);
    let events = bench.events();
    let [ServerEvent::InvalidSpi { spi: EspSpi(0xabcd_0001), peer }] = events.as_slice() else {
        panic!("{events:?}")
    };
    assert_eq!(peer.info.address, from);
    bench.ask(from, &message);
    assert!(matches!(bench.events().as_slice(), [ServerEvent::Refused { .. }]));
    assert_eq!(bench.server.counters().invalid_spi, 1);
}

#[test]
fn a_message_from_another_address_is_not_the_members() {
    let mut bench = Bench::new(config());
    let from = member_address(7);
    let mut sa = bench.connect(from);
    bench.events();
    let message = sa.notify(&[Notice::InvalidSpi(EspSpi(0xabcd_0001))], &mut bench.random).unwrap();
    bench.ask(member_address(8), &message);
    assert!(matches!(bench.events().as_slice(), [ServerEvent::Refused { .. }]));
}

#[test]
fn forged_first_messages_take_no_more_room_than_there_is_and_lock_nobody_out() {
    let mut bench = Bench::new(config());
    for n in 0..200 {
        let from = member_address(100 + n % 100);
        let (_, first) = bench.first_message();
        assert_eq!(bench.ask(from, &first).len(), 1);
        assert!(bench.server.phase1s().0 <= 8);
    }
    assert_eq!(bench.server.counters().half_open_evicted, 192);
    bench.connect(member_address(7));
    assert_eq!(bench.server.phase1s(), (7, 1));
    bench.pass(Duration::from_secs(31));
    assert_eq!(bench.server.phase1s(), (0, 1));
    assert!(bench.server.poll_timeout().is_some(), "the established one has its end");
}

#[test]
fn an_address_that_answers_has_only_so_many_half_open() {
    let mut bench = Bench::new(config());
    let from = member_address(7);
    let mut third_messages = 0;
    for _ in 0..6 {
        let (mut mode, first) = bench.first_message();
        let Some(second) = bench.ask(from, &first).pop() else { continue };
        mode.handle(bench.now, UNIX_TIME, &second, &mut bench.random).unwrap();
        let third = mode.poll_transmit().unwrap();
        third_messages += bench.ask(from, &third).len();
    }
    assert_eq!((third_messages, bench.server.phase1s().0), (4, 4));
    assert_eq!(bench.server.counters().half_open_refused, 2);
    bench.pass(Duration::from_secs(31));
    bench.connect(from);
}

#[test]
fn phase_1s_of_a_peer_and_in_all_are_bounded_and_the_oldest_goes() {
    let mut bench = Bench::new(config());
    let sas: Vec<IkeSa> = (0..6).map(|_| bench.connect(member_address(7))).collect();
    assert_eq!(bench.server.phase1s(), (0, MAX_PER_PEER));
    let replaced: Vec<CookiePair> = bench
        .events()
        .into_iter()
        .filter_map(|event| match event {
            ServerEvent::Ended { peer, why: EndReason::Replaced } => Some(peer.phase1),
            _ => None,
        })
        .collect();
    assert_eq!(replaced, [sas[0].cookies(), sas[1].cookies()]);
    for n in 20..60 {
        bench.connect(member_address(n));
    }
    assert_eq!(bench.server.phase1s(), (0, 16));
}

#[test]
fn a_phase_1_ends_with_its_life_by_a_delete_and_when_it_is_closed() {
    let mut bench = Bench::new(config());
    let from = member_address(7);
    let ended = |bench: &mut Bench| {
        bench.events().into_iter().find_map(|event| match event {
            ServerEvent::Ended { why, .. } => Some(why),
            _ => None,
        })
    };
    bench.connect(from);
    bench.pass(Duration::from_secs(3601));
    assert_eq!(ended(&mut bench), Some(EndReason::Expired));

    let mut sa = bench.connect(from);
    let cookies = sa.cookies();
    let delete = sa.notify(&[Notice::DeleteIkeSa(cookies)], &mut bench.random).unwrap();
    bench.ask(from, &delete);
    assert_eq!(ended(&mut bench), Some(EndReason::Deleted));

    let mut sa = bench.connect(from);
    let cookies = sa.cookies();
    bench.server.close_peer(from, &mut bench.random);
    let told = bench.sent(from).remove(0);
    assert_eq!(sa.open_informational(&told).unwrap(), [Notice::DeleteIkeSa(cookies)]);
    assert_eq!(ended(&mut bench), Some(EndReason::Closed));
    assert_eq!(bench.server.poll_timeout(), None, "nothing is left");
}

#[test]
fn a_registration_that_does_not_go_on_is_forgotten_and_the_owner_is_told() {
    let mut bench = Bench::new(config());
    let from = member_address(7);
    let mut sa = bench.connect(from);
    let (_, pull) = bench.request(from, &mut sa);
    bench.pass(Duration::from_secs(61));
    let events = bench.events();
    assert!(matches!(events.as_slice(), [ServerEvent::PullAbandoned(of)] if *of == pull), "{events:?}");
}

#[test]
fn what_a_known_member_says_in_the_clear_is_told_in_bounds_and_changes_nothing() {
    let mut bench = Bench::new(config());
    let from = member_address(7);
    let sa = bench.connect(from);
    bench.events();
    let hint = |cookies| unprotected_notify(cookies, NotifyType::InvalidCertificate).unwrap();
    bench.ask(from, &hint(sa.cookies()));
    let [ServerEvent::Hint { from: named, notify: NotifyType::InvalidCertificate }] = bench.events()[..]
    else {
        panic!("one hint is told")
    };
    assert_eq!(named, from);
    for _ in 0..100 {
        bench.ask(from, &hint(sa.cookies()));
    }
    assert!(bench.events().len() <= REFUSALS_PER_SECOND as usize);
    // Of a phase 1 that there is not, or from somewhere else, it is not even told.
    bench.pass(Duration::from_secs(1));
    let nobody = CookiePair { initiator: Cookie([9; 8]), responder: Cookie([9; 8]) };
    bench.ask(from, &hint(nobody));
    bench.ask(member_address(8), &hint(sa.cookies()));
    assert!(bench.events().iter().all(|event| matches!(event, ServerEvent::Refused { .. })));
    assert_eq!((bench.server.phase1s(), bench.server.counters().hints), ((0, 1), 102));
}

#[test]
fn garbage_of_every_length_is_counted_and_changes_nothing() {
    let mut bench = Bench::new(config());
    for len in 0..200 {
        let mut datagram = vec![0x11; len];
        bench.random.fill(&mut datagram);
        assert!(bench.ask(member_address(7), &datagram).is_empty());
    }
    assert_eq!(bench.server.phase1s(), (0, 0));
    assert_eq!(bench.server.counters().refused().map(|(_, n)| n).sum::<u64>(), 200);
}
