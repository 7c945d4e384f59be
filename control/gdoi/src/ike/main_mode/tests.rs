//! Both sides in one process, with virtual time, seeded randomness and a network that does what a test wants.

mod captures;
mod established;
mod network;
mod refused;
mod tampered;

use super::*;
use crate::crypto::x509::{PeerCertificate, TrustStore, parse_chain};
use crate::crypto::{Secret, SeededRandom, SigningKey};
use crate::ike::{CertificateCredentials, Credentials, Identity, PeerInfo, PeerTag, Peers, Suite, Timing};
use crate::wire::Doi;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

/// The time of day in all tests: 2026-01-01.
pub(in crate::ike) const UNIX_TIME: u64 = 1_767_225_600;
pub(in crate::ike) const PSK: &[u8] = b"a secret that both know";

pub(in crate::ike) fn ks_address() -> SocketAddr {
    "192.0.2.1:848".parse().unwrap()
}

pub(in crate::ike) fn gm_address() -> SocketAddr {
    "192.0.2.7:848".parse().unwrap()
}

pub(in crate::ike) fn suite(name: &str) -> Suite {
    name.parse().unwrap()
}

pub(in crate::ike) fn identity(name: &str) -> Identity {
    name.parse().unwrap()
}

fn testdata(name: &str) -> Vec<u8> {
    let path = format!("{}/src/ike/testdata/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// A certificate of the test tree with its key, trusting the tree's root and knowing its CRL.
fn certificate(name: &str, key: &str) -> Arc<CertificateCredentials> {
    let chain = parse_chain(&testdata(&format!("{name}.pem"))).unwrap();
    let key = SigningKey::from_pem(&testdata(&format!("{key}.key.pem"))).unwrap();
    let trust = TrustStore::new(&[testdata("root.pem")], &[testdata("root.crl")]).unwrap();
    Arc::new(CertificateCredentials::new(chain, key, Arc::new(trust)).unwrap())
}

/// Knows the key of the test member's address, and members by name.
pub(in crate::ike) struct Known {
    pub(in crate::ike) psk: Option<&'static [u8]>,
    pub(in crate::ike) names: Vec<&'static str>,
}

impl Peers for Known {
    fn pre_shared_key(&self, address: IpAddr) -> Option<Secret> {
        (address == gm_address().ip()).then_some(self.psk).flatten().map(Secret::from)
    }

    fn admit(&self, peer: &PeerInfo, certificate: Option<&PeerCertificate>) -> Option<PeerTag> {
        assert_eq!(certificate.map(|certificate| certificate.subject()), peer.subject);
        let found = self.names.iter().position(|name| identity(name) == peer.identity)?;
        u64::try_from(found).ok().map(PeerTag)
    }
}

pub(in crate::ike) fn gm_config() -> InitiatorConfig {
    InitiatorConfig {
        suites: vec![suite("aes256-sha256-ecp256")],
        lifetime: Duration::from_secs(3600),
        doi: Doi::Gdoi,
        identity: identity("gm1.example.net"),
        credentials: Credentials::Psk(Secret::from(PSK)),
        peer_identity: Some(identity("ks1.example.net")),
        initial_contact: false,
        timing: Timing::default(),
    }
}

pub(in crate::ike) fn ks_config() -> ResponderConfig {
    ResponderConfig {
        suites: vec![suite("aes256-sha256-ecp256")],
        lifetime: Duration::from_secs(86_400),
        accept_ipsec_doi: false,
        identity: identity("ks1.example.net"),
        certificate: None,
        peers: Arc::new(Known { psk: Some(PSK), names: vec!["gm1.example.net"] }),
        timing: Timing::default(),
    }
}

/// Both configurations with certificates of this kind of key.
fn with_certificates(key: &str) -> (InitiatorConfig, ResponderConfig) {
    let gm = InitiatorConfig {
        credentials: Credentials::Certificate(certificate(&format!("gm-{key}"), key)),
        ..gm_config()
    };
    let peers = Arc::new(Known { psk: None, names: vec!["gm1.example.net"] });
    (gm, ResponderConfig { certificate: Some(certificate(&format!("ks-{key}"), key)), peers, ..ks_config() })
}

/// Which side a datagram goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Side {
    Member,
    KeyServer,
}

/// What became of a run.
#[derive(Debug, Default)]
struct Outcome {
    member: Option<Box<IkeSa>>,
    key_server: Option<Box<IkeSa>>,
    /// What either side refused, in order.
    errors: Vec<(Side, IkeError)>,
    hints: Vec<NotifyType>,
    /// Datagrams that were sent by either side.
    sent: Vec<(Side, Vec<u8>)>,
    elapsed: Duration,
}

impl Side {
    fn other(self) -> Self {
        match self {
            Self::Member => Self::KeyServer,
            Self::KeyServer => Self::Member,
        }
    }
}

impl Outcome {
    fn established(&self) -> bool {
        self.member.is_some() && self.key_server.is_some()
    }

    /// The two sides have the same keys: each reads what the other sends.
    fn agreed(&mut self) -> bool {
        let (Some(member), Some(key_server)) = (&mut self.member, &mut self.key_server) else { return false };
        let random = &mut SeededRandom::new(99);
        let notice = [crate::ike::Notice::RUThere(5)];
        let there = member.notify(&notice, random).unwrap();
        let back = key_server.notify(&notice, random).unwrap();
        key_server.open_informational(&there).is_ok_and(|found| found == notice)
            && member.open_informational(&back).is_ok_and(|found| found == notice)
    }

    fn errors_of(&self, side: Side) -> Vec<&IkeError> {
        self.errors.iter().filter(|(of, _)| *of == side).map(|(_, error)| error).collect()
    }
}

/// Runs main mode between both sides. `network` gets each datagram with its number, and says after which
/// delays which datagrams arrive at the other side. A key server answers what it refuses with a
/// notification in the clear, as its owner would.
fn run(
    gm: InitiatorConfig,
    ks: ResponderConfig,
    seed: u64,
    mut network: impl FnMut(usize, Side, &[u8]) -> Vec<(Duration, Vec<u8>)>,
) -> Outcome {
    let random = &mut SeededRandom::new(seed);
    let start = Instant::now();
    let mut now = start;
    let ks = Arc::new(ks);
    let mut member = MainMode::initiate(Arc::new(gm), ks_address(), now, random).unwrap();
    let mut key_server: Option<MainMode> = None;
    let mut outcome = Outcome::default();
    let mut in_flight: BTreeMap<(Instant, usize), (Side, Vec<u8>)> = BTreeMap::new();
    let mut number = 0;
    loop {
        let mut transmit = Vec::new();
        while let Some(message) = member.poll_transmit() {
            transmit.push((Side::Member, message));
        }
        while let Some(message) = key_server.as_mut().and_then(MainMode::poll_transmit) {
            transmit.push((Side::KeyServer, message));
        }
        for (side, message) in transmit {
            for (delay, datagram) in network(outcome.sent.len(), side, &message) {
                in_flight.insert((now + delay, number), (side.other(), datagram));
                number += 1;
            }
            outcome.sent.push((side, message));
        }
        let timeouts = [member.poll_timeout(), key_server.as_ref().and_then(MainMode::poll_timeout)];
        let timeout = timeouts.into_iter().flatten().min();
        let arrival = in_flight.first_key_value().map(|((at, _), _)| *at);
        match (arrival, timeout) {
            (Some(at), timeout) if timeout.is_none_or(|timeout| at <= timeout) => {
                now = at;
                let (_, (side, datagram)) = in_flight.pop_first().unwrap();
                let result = match (side, &mut key_server) {
                    (Side::Member, _) => member.handle(now, UNIX_TIME, &datagram, random),
                    (Side::KeyServer, Some(mode)) => mode.handle(now, UNIX_TIME, &datagram, random),
                    (Side::KeyServer, None) => {
                        match MainMode::respond(Arc::clone(&ks), gm_address(), &datagram, now, random) {
                            Ok(mode) => {
                                key_server = Some(mode);
                                Ok(Progress::Continue)
                            }
                            Err(error) => Err(error),
                        }
                    }
                };
                match result {
                    Ok(Progress::Established(sa)) => match side {
                        Side::Member => outcome.member = Some(sa),
                        Side::KeyServer => outcome.key_server = Some(sa),
                    },
                    Ok(Progress::Hint(hint)) => outcome.hints.push(hint),
                    Ok(Progress::Continue) => {}
                    Err(error) => {
                        if let (Side::KeyServer, Some(notify)) = (side, error.notify()) {
                            let cookies = split_datagram(&datagram).unwrap().0.cookies();
                            let notify = crate::ike::unprotected_notify(cookies, notify).unwrap();
                            in_flight.insert((now, number), (Side::Member, notify));
                            number += 1;
                        }
                        outcome.errors.push((side, error));
                    }
                }
                if outcome.established() && in_flight.is_empty() {
                    break;
                }
            }
            (_, Some(at)) => {
                now = now.max(at);
                if let Err(error) = member.handle_timeout(now, random) {
                    outcome.errors.push((Side::Member, error));
                }
                if let Some(Err(error)) = key_server.as_mut().map(|mode| mode.handle_timeout(now, random)) {
                    outcome.errors.push((Side::KeyServer, error));
                }
            }
            (_, None) => break,
        }
    }
    outcome.elapsed = now - start;
    outcome
}

/// Delivers everything after a millisecond.
fn perfect(_: usize, _: Side, datagram: &[u8]) -> Vec<(Duration, Vec<u8>)> {
    vec![(Duration::from_millis(1), datagram.to_vec())]
}

/// An established pair, for tests of what runs over it: the member's side and the key server's.
pub(in crate::ike) fn pair(gm: InitiatorConfig, ks: ResponderConfig) -> (IkeSa, IkeSa) {
    pair_of_seed(gm, ks, 1)
}

/// One that has other cookies and keys than that of another seed.
pub(in crate::ike) fn pair_of_seed(gm: InitiatorConfig, ks: ResponderConfig, seed: u64) -> (IkeSa, IkeSa) {
    let outcome = run(gm, ks, seed, perfect);
    (*outcome.member.unwrap(), *outcome.key_server.unwrap())
}
