//! Main mode between a side under test and the harness, which plays the other side honestly and so knows
//! the keys. It is run once for each kind; afterwards the side under test is brought to any state again by
//! what it received then, since time and randomness are the same.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use getvpn_gdoi::crypto::x509::{PeerCertificate, TrustStore, parse_chain};
use getvpn_gdoi::crypto::{DhGroup, DhPrivate, Secret, SeededRandom, SigningKey};
use getvpn_gdoi::ike::{
    CertificateCredentials, Credentials, Identity, IkeSa, InitiatorConfig, MainMode, PeerInfo, PeerTag,
    Peers, Progress, ResponderConfig, Role, Timing,
};
use getvpn_gdoi::wire::{
    Body, Compat, CookiePair, Doi, ExchangeType, Flags, HEADER_LEN, Header, PayloadType, split_datagram,
};

use crate::exchange::{Chain, HASH, Iv, SUITE, Session, first_iv, last_block};

/// The time of day: 2026-01-01.
pub const UNIX_TIME: u64 = 1_767_225_600;
/// The beginning of time.
pub static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Where the member is.
pub fn member_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 7], 848))
}

/// Where the key server is.
pub fn server_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 848))
}

/// What both sides authenticate by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// A pre-shared key that both have.
    Psk,
    /// A pre-shared key that the harness has wrong.
    WrongPsk,
    /// ECDSA with certificates of one CA.
    Certificate,
}

const PSK: &[u8] = b"a secret that both know";
/// The harness's nonce.
const NONCE: [u8; 16] = [7; 16];
const MEMBER: &str = "gm1.example.net";
const SERVER: &str = "ks1.example.net";

/// Main mode as it went once.
pub struct Handshake {
    role: Role,
    auth: Auth,
    /// What the side under test received: messages 1, 3, 5 or 2, 4, 6.
    pub received: Vec<Vec<u8>>,
    /// The harness's view of it.
    pub session: Session,
    skeyid: Secret,
    /// What its HASH covers before its identity.
    hashed: Vec<u8>,
    /// What its last message is encrypted from.
    proof_iv: Iv,
}

/// One run of the side under test. Draws the same randomness each time.
pub struct Run {
    /// The phase 1.
    pub mode: MainMode,
    /// Its randomness.
    pub random: SeededRandom,
    /// The last message that it sent.
    pub sent: Vec<u8>,
    /// What it became.
    pub established: Option<Box<IkeSa>>,
}

impl Run {
    /// Takes a datagram that must be accepted.
    fn accept(&mut self, datagram: &[u8]) {
        match self.mode.handle(*START, UNIX_TIME, datagram, &mut self.random) {
            Ok(Progress::Established(sa)) => self.established = Some(sa),
            Ok(_) => {}
            Err(error) => panic!("{error}"),
        }
        self.sent = self.mode.poll_transmit().unwrap_or_default();
    }
}

impl Handshake {
    /// Main mode with a side of this role under test.
    #[must_use]
    pub fn get(role: Role, auth: Auth) -> &'static Self {
        static ALL: LazyLock<Vec<Handshake>> = LazyLock::new(|| {
            let auths = [Auth::Psk, Auth::WrongPsk, Auth::Certificate];
            let both = auths.into_iter().flat_map(|auth| [(Role::Responder, auth), (Role::Initiator, auth)]);
            both.map(|(role, auth)| Handshake::run(role, auth)).collect()
        });
        ALL.iter().find(|found| (found.role, found.auth) == (role, auth)).unwrap()
    }

    /// The side under test after it has received this many messages, three at most; `None` is a responder
    /// that has received none.
    #[must_use]
    pub fn until(&self, messages: usize) -> Option<Run> {
        let mut received = self.received.iter().take(messages);
        let mut run = match self.role {
            Role::Initiator => start(initiate(self.auth)),
            Role::Responder => start(respond(received.next()?)),
        };
        received.for_each(|datagram| run.accept(datagram));
        Some(run)
    }

    /// A message in the clear with the right header.
    #[must_use]
    pub fn clear(&self, chain: &Chain) -> Vec<u8> {
        clear(self.session.cookies, chain)
    }

    /// An encrypted last message of any content.
    #[must_use]
    pub fn encrypted(&self, chain: &Chain) -> Vec<u8> {
        self.session.seal(ExchangeType::IdentityProtection, 0, &mut self.proof_iv.clone(), chain)
    }

    /// The chain behind the harness's identity, any octets, and the right proof for it.
    #[must_use]
    pub fn proof(&self, identity: &[u8], chain: Chain) -> Chain {
        let hash = HASH.prf(&self.skeyid, &[&self.hashed, identity]);
        let chain = chain.behind(PayloadType::Identification, identity);
        if self.auth != Auth::Certificate {
            return chain.behind(PayloadType::Hash, &hash);
        }
        let credentials = credentials(self.harness());
        let scheme = credentials.method().scheme().unwrap();
        let signature = credentials.key().sign(scheme, &hash, &mut SeededRandom::new(0)).unwrap();
        chain.behind(PayloadType::Signature, &signature)
    }

    /// The harness's certificate, as the content of a CERT payload.
    #[must_use]
    pub fn certificate(&self) -> Vec<u8> {
        let der = credentials(self.harness()).chain()[0].clone();
        [&[4], der.as_slice()].concat()
    }

    /// The content of the harness's ID payload.
    #[must_use]
    pub fn identity(&self) -> Vec<u8> {
        // ID_FQDN, no protocol, no port.
        [&[2, 0, 0, 0], self.harness().as_bytes()].concat()
    }

    const fn harness(&self) -> &'static str {
        match self.role {
            Role::Initiator => SERVER,
            Role::Responder => MEMBER,
        }
    }

    /// Plays the harness's side.
    fn run(role: Role, auth: Auth) -> Self {
        let mut handshake = match role {
            Role::Responder => Self::asking(auth),
            Role::Initiator => {
                let mut run = start(initiate(auth));
                Self::answering(auth, &mut |datagram| {
                    datagram.into_iter().for_each(|datagram| run.accept(&datagram));
                    run.sent.clone()
                })
            }
        };
        if auth == Auth::WrongPsk {
            handshake.received.pop();
        } else {
            let run = handshake.until(3).unwrap();
            assert!(run.established.is_some());
            if role == Role::Responder {
                handshake.session.last_block = last_block(&run.sent);
            }
        }
        handshake
    }

    /// Plays the initiator. Its first message is an honest one, made by the library.
    fn asking(auth: Auth) -> Self {
        let first = initiate(auth).0.poll_transmit().unwrap();
        let mut run = start(respond(&first));
        let cookies = split_datagram(&run.sent).unwrap().0.cookies();
        let private = DhGroup::Ecp256.generate(&mut SeededRandom::new(3));
        let third = clear(cookies, &key_exchange(&private));
        run.accept(&third);
        let mut handshake = Self::derive(Role::Responder, auth, cookies, &private, &first, &run.sent);
        handshake.received = vec![first, third, handshake.honest_proof()];
        handshake
    }

    /// Plays the responder up to its last message, which is made and not sent. `say` gives the other side a
    /// message, or none at first, and returns what it sends.
    pub(crate) fn answering(auth: Auth, say: &mut dyn FnMut(Option<Vec<u8>>) -> Vec<u8>) -> Self {
        let first = say(None);
        let second = respond(&first).0.poll_transmit().unwrap();
        let cookies = split_datagram(&second).unwrap().0.cookies();
        let private = DhGroup::Ecp256.generate(&mut SeededRandom::new(3));
        let third = say(Some(second.clone()));
        let fourth = clear(cookies, &key_exchange(&private));
        let mut handshake = Self::derive(Role::Initiator, auth, cookies, &private, &first, &third);
        handshake.proof_iv = last_block(&say(Some(fourth.clone())));
        let sixth = handshake.honest_proof();
        handshake.session.last_block = last_block(&sixth);
        handshake.received = vec![second, fourth, sixth];
        handshake
    }

    fn honest_proof(&self) -> Vec<u8> {
        let none = Chain { first: PayloadType::None, octets: Vec::new() };
        let rest = match self.auth {
            Auth::Certificate => none.behind(PayloadType::Certificate, &self.certificate()),
            _ => none,
        };
        self.encrypted(&self.proof(&self.identity(), rest))
    }

    /// What grows out of messages 3 and 4; `theirs` is the one of the side under test.
    fn derive(
        role: Role,
        auth: Auth,
        cookies: CookiePair,
        private: &DhPrivate,
        first: &[u8],
        theirs: &[u8],
    ) -> Self {
        let offer = content(first, PayloadType::Sa);
        let their_public = content(theirs, PayloadType::KeyExchange);
        let their_nonce = content(theirs, PayloadType::Nonce);
        let (own_public, shared) = (private.public(), private.agree(&their_public).unwrap());
        let (initiator, responder) = (&cookies.initiator.0[..], &cookies.responder.0[..]);
        let (nonces, iv, ckies) = match role {
            Role::Responder => {
                ([&NONCE[..], &their_nonce], first_iv(&[own_public, &their_public]), [initiator, responder])
            }
            Role::Initiator => ([&their_nonce[..], &NONCE], [0; 16], [responder, initiator]),
        };
        let skeyid = match auth {
            Auth::Certificate => HASH.prf(&nonces.concat(), &[&shared]),
            Auth::Psk => HASH.prf(PSK, &nonces),
            Auth::WrongPsk => HASH.prf(b"another secret", &nonces),
        };
        Self {
            role,
            auth,
            received: Vec::new(),
            session: Session::derive(cookies, &skeyid, &shared),
            skeyid: Secret::from(&skeyid[..]),
            hashed: [own_public, &their_public, ckies[0], ckies[1], &offer].concat(),
            proof_iv: iv,
        }
    }
}

fn key() -> SigningKey {
    SigningKey::from_pem(include_bytes!("../../gdoi/src/ike/testdata/p256.key.pem")).unwrap()
}

fn credentials(name: &str) -> Arc<CertificateCredentials> {
    static BOTH: LazyLock<[Arc<CertificateCredentials>; 2]> = LazyLock::new(|| {
        let member = include_bytes!("../../gdoi/src/ike/testdata/gm-p256.pem");
        let server = include_bytes!("../../gdoi/src/ike/testdata/ks-p256.pem");
        let root = include_bytes!("../../gdoi/src/ike/testdata/root.pem");
        let crl = include_bytes!("../../gdoi/src/ike/testdata/root.crl");
        let trust = Arc::new(TrustStore::new(&[root], &[crl]).unwrap());
        [&member[..], server].map(|pem| {
            let chain = parse_chain(pem).unwrap();
            Arc::new(CertificateCredentials::new(chain, key(), Arc::clone(&trust)).unwrap())
        })
    });
    Arc::clone(&BOTH[usize::from(name == SERVER)])
}

fn name(text: &str) -> Identity {
    text.parse().unwrap()
}

/// Knows one member.
struct Known;

impl Peers for Known {
    fn pre_shared_key(&self, address: IpAddr) -> Option<Secret> {
        (address == member_address().ip()).then(|| Secret::from(PSK))
    }

    fn admit(&self, peer: &PeerInfo, certificate: Option<&PeerCertificate>) -> Option<PeerTag> {
        assert_eq!(peer.subject.is_some(), certificate.is_some());
        (peer.identity == name(MEMBER)).then_some(PeerTag(1))
    }
}

/// What an initiator is told.
#[must_use]
pub fn initiator_config(auth: Auth) -> InitiatorConfig {
    InitiatorConfig {
        suites: vec![SUITE.parse().unwrap()],
        lifetime: Duration::from_secs(3600),
        doi: Doi::Gdoi,
        identity: name(MEMBER),
        credentials: match auth {
            Auth::Certificate => Credentials::Certificate(credentials(MEMBER)),
            _ => Credentials::Psk(Secret::from(PSK)),
        },
        peer_identity: Some(name(SERVER)),
        initial_contact: false,
        timing: Timing::default(),
    }
}

/// What a responder is told. It takes both methods; the offer decides.
#[must_use]
pub fn responder_config() -> ResponderConfig {
    ResponderConfig {
        suites: vec![SUITE.parse().unwrap()],
        lifetime: Duration::from_secs(86_400),
        accept_ipsec_doi: false,
        identity: name(SERVER),
        certificate: Some(credentials(SERVER)),
        peers: Arc::new(Known),
        timing: Timing::default(),
    }
}

fn initiate(auth: Auth) -> (MainMode, SeededRandom) {
    let mut random = SeededRandom::new(1);
    let config = Arc::new(initiator_config(auth));
    (MainMode::initiate(config, server_address(), *START, &mut random).unwrap(), random)
}

fn respond(first: &[u8]) -> (MainMode, SeededRandom) {
    let mut random = SeededRandom::new(2);
    let config = Arc::new(responder_config());
    (MainMode::respond(config, member_address(), first, *START, &mut random).unwrap(), random)
}

fn start((mut mode, random): (MainMode, SeededRandom)) -> Run {
    let sent = mode.poll_transmit().unwrap();
    Run { mode, random, sent, established: None }
}

/// The harness's key exchange.
fn key_exchange(private: &DhPrivate) -> Chain {
    Chain { first: PayloadType::None, octets: Vec::new() }
        .behind(PayloadType::Nonce, &NONCE)
        .behind(PayloadType::KeyExchange, private.public())
}

fn clear(cookies: CookiePair, chain: &Chain) -> Vec<u8> {
    let header = Header::new(cookies, chain.first, ExchangeType::IdentityProtection, Flags::NONE, 0);
    header.datagram(&chain.octets).unwrap()
}

/// The content of a payload in a message in the clear.
fn content(datagram: &[u8], payload_type: PayloadType) -> Vec<u8> {
    let header = Header::decode(datagram).unwrap();
    let octets = &datagram[HEADER_LEN..];
    let body = Body::decode(header.next_payload, header.exchange, octets, Compat::Standard).unwrap();
    body.content(body.find(payload_type).unwrap()).to_vec()
}
