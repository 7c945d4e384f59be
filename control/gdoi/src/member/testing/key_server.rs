//! A key server made of the responders' sides, that does what a test tells it: also what a sane one
//! would not.

use super::*;
use crate::crypto::x509::PeerCertificate;
use crate::crypto::{KeyKind, Random, Secret, SeededRandom, SigningKey};
use crate::group::{AckRequest, Deletion, KekCipher, KekKeys, KekPolicy, KekSignature, SpiKey};
use crate::ike::{
    DEFAULT_LIFETIME, IkeError, IkeSa, Iv, MainMode, Notice, PeerInfo, PeerTag, Peers, Progress,
    ResponderConfig, Timing, unprotected_hint, unprotected_notify,
};
use crate::pull::{PullConfirmed, PullOffer, PullServer};
use crate::push::{self, Ack, KekSigner};
use crate::wire::{Compat, CookiePair, EncodedChain, ExchangeType, Flags, NotifyType, split_datagram};
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

pub(crate) const PSK: &[u8] = b"a secret that both know";

struct Anyone;

impl Peers for Anyone {
    fn pre_shared_key(&self, _: IpAddr) -> Option<Secret> {
        Some(Secret::from(PSK))
    }

    fn admit(&self, _: &PeerInfo, _: Option<&PeerCertificate>) -> Option<PeerTag> {
        Some(PeerTag(1))
    }
}

/// The Rekey SA.
pub(crate) struct RekeySa {
    pub(crate) policy: KekPolicy,
    pub(crate) keys: KekKeys,
    pub(crate) signing: SigningKey,
    pub(crate) expires: Instant,
    pub(crate) sequence: u32,
}

enum Pulling {
    Offered(Box<(PullOffer, GroupPolicy, Iv, Vec<u8>)>),
    Confirmed(Vec<u8>),
}

pub(crate) struct KeyServer {
    pub(crate) address: SocketAddr,
    random: SeededRandom,
    config: Arc<ResponderConfig>,
    modes: Vec<MainMode>,
    phase1s: Vec<IkeSa>,
    pulls: BTreeMap<u32, Pulling>,
    /// Its live SAs, oldest first, and when they end.
    pub(crate) teks: Vec<(TekPolicy, Instant)>,
    pub(crate) gap: GroupAssociatedPolicy,
    /// What it gives in registrations.
    pub(crate) spi_key: Option<SpiKey>,
    pub(crate) kek: Option<RekeySa>,
    /// The Rekey SA before.
    pub(crate) old_kek: Option<RekeySa>,
    /// Whether members acknowledge.
    pub(crate) acknowledge: Option<AckRequest>,
    /// What message 4 has keys for, if that is not what message 2 offers.
    pub(crate) keyed: Option<Vec<u32>>,
    /// What SPIs message 2 leaves out.
    pub(crate) hidden: Vec<u32>,
    /// Refuses registrations with this.
    pub(crate) refuses: Option<NotifyType>,
    /// Whether INVALID-SPI is answered (rule S4).
    pub(crate) answers: bool,
    /// Whether it is reachable.
    pub(crate) up: bool,
    /// Whether it gives sender IDs.
    pub(crate) gives_sender_ids: bool,
    next_sender_id: u32,
    pub(crate) asked: Vec<u32>,
    pub(crate) registrations: u32,
    pub(crate) established: u32,
    pub(crate) acks: Vec<u32>,
    /// What the member said in the clear.
    pub(crate) hints: Vec<NotifyType>,
    pub(crate) wanted_sender_ids: Vec<Option<u16>>,
    out: Vec<Vec<u8>>,
}

impl KeyServer {
    pub(crate) fn new(address: &str, seed: u64, now: Instant) -> Self {
        let config = ResponderConfig {
            suites: vec!["aes256-sha256-ecp256".parse().unwrap()],
            lifetime: DEFAULT_LIFETIME,
            accept_ipsec_doi: false,
            identity: "ks1.example.net".parse().unwrap(),
            certificate: None,
            peers: Arc::new(Anyone),
            timing: Timing::default(),
        };
        let mut key_server = Self {
            address: address.parse().unwrap(),
            random: SeededRandom::new(seed),
            config: Arc::new(config),
            modes: Vec::new(),
            phase1s: Vec::new(),
            pulls: BTreeMap::new(),
            teks: Vec::new(),
            gap: GroupAssociatedPolicy { activation_delay: ATD, deactivation_delay: DTD },
            spi_key: None,
            kek: None,
            old_kek: None,
            acknowledge: Some(AckRequest::KekSha256),
            keyed: None,
            hidden: Vec::new(),
            refuses: None,
            answers: true,
            up: true,
            gives_sender_ids: true,
            next_sender_id: 1,
            asked: Vec::new(),
            registrations: 0,
            established: 0,
            acks: Vec::new(),
            hints: Vec::new(),
            wanted_sender_ids: Vec::new(),
            out: Vec::new(),
        };
        key_server.roll_kek(86_400, now);
        key_server
    }

    pub(crate) fn add(&mut self, spi: u32, life: u64, now: Instant) {
        self.teks.push((tek(spi, life), now + secs(life)));
    }

    pub(crate) fn remove(&mut self, spi: u32) {
        self.teks.retain(|(tek, _)| tek.spi.0 != spi);
    }

    /// A new Rekey SA; the old one is kept for one more PUSH.
    pub(crate) fn roll_kek(&mut self, life: u64, now: Instant) {
        let random = &mut self.random;
        let signing = SigningKey::generate(KeyKind::EcdsaP256, random).unwrap();
        let (mut spi, mut iv) = ([0; 16], [0; 16]);
        random.fill(&mut spi);
        random.fill(&mut iv);
        let policy = KekPolicy {
            spi: KekSpi(spi),
            cipher: KekCipher::Aes128Cbc,
            signature: KekSignature::EcdsaP256,
            lifetime: secs(life),
            source: self.address,
            destination: "0.0.0.0:848".parse().unwrap(),
            acknowledge: self.acknowledge,
        };
        let cipher = Secret::random(16, random);
        let keys = KekKeys { iv, cipher, verifying: signing.verifying_key().clone() };
        let expires = now + secs(life);
        self.old_kek = self.kek.replace(RekeySa { policy, keys, signing, expires, sequence: 0 });
    }

    /// Restarts: the phase 1s are gone.
    pub(crate) fn restart(&mut self) {
        self.modes.clear();
        self.phase1s.clear();
        self.pulls.clear();
    }

    pub(crate) fn policy(&mut self, now: Instant) -> GroupPolicy {
        self.teks.retain(|(_, expires)| *expires > now);
        let left = |(tek, expires): &(TekPolicy, Instant)| TekPolicy {
            lifetime: secs((*expires - now).as_secs().max(1)),
            ..tek.clone()
        };
        let kek = self.kek.as_ref().map(|kek| KekPolicy {
            lifetime: secs(kek.expires.saturating_duration_since(now).as_secs().max(1)),
            ..kek.policy.clone()
        });
        GroupPolicy {
            kek,
            gap: self.gap,
            spi_key: self.spi_key.clone(),
            teks: self.teks.iter().map(left).collect(),
        }
    }

    fn keys(&self, spis: &[u32]) -> GroupKeys {
        let kek = self.kek.as_ref().map(|kek| (kek.policy.spi, kek.keys.clone()));
        GroupKeys { kek, ..keys(spis) }
    }

    /// The next PUSH: all that lives.
    pub(crate) fn push(&mut self, now: Instant) -> Vec<u8> {
        self.push_with(now, &[])
    }

    pub(crate) fn push_with(&mut self, now: Instant, deletions: &[Deletion]) -> Vec<u8> {
        let policy = self.policy(now);
        self.push_of(policy, deletions, false)
    }

    /// The next PUSH under the old Rekey SA: it brings the new one.
    pub(crate) fn push_rollover(&mut self, now: Instant) -> Vec<u8> {
        let policy = self.policy(now);
        self.push_of(policy, &[], true)
    }

    pub(crate) fn push_of(&mut self, policy: GroupPolicy, deletions: &[Deletion], old: bool) -> Vec<u8> {
        let spis: Vec<u32> = policy.teks.iter().map(|tek| tek.spi.0).collect();
        let mut keys = self.keys(&spis);
        if policy.kek.is_none() {
            keys.kek = None;
        }
        let under = if old { self.old_kek.as_mut() } else { self.kek.as_mut() }.unwrap();
        under.sequence += 1;
        let rekey = Rekey {
            kek: under.policy.spi,
            sequence: under.sequence,
            deletions: deletions.to_vec(),
            policy,
            keys,
        };
        let signer = KekSigner { policy: &under.policy, keys: &under.keys, signing: &under.signing };
        push::build(signer, &rekey, Compat::Standard, &mut self.random).unwrap()
    }

    /// Says something over the newest phase 1.
    pub(crate) fn say(&mut self, notice: Notice) -> Vec<u8> {
        let phase1 = self.phase1s.last_mut().unwrap();
        phase1.notify(&[notice], &mut self.random).unwrap()
    }

    pub(crate) fn cookies(&self) -> CookiePair {
        self.phase1s.last().unwrap().cookies()
    }

    /// Takes a datagram of the member; returns what it answers.
    pub(crate) fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Vec<Vec<u8>> {
        if self.up {
            let (header, body) = split_datagram(datagram).unwrap();
            match header.exchange {
                ExchangeType::IdentityProtection => self.handle_phase1(now, from, datagram),
                ExchangeType::GroupkeyPull => self.handle_pull(now, header.message_id, datagram),
                ExchangeType::GroupkeyPushAck => self.handle_ack(datagram),
                ExchangeType::Informational if header.flags == Flags::ENCRYPTED => {
                    self.handle_informational(now, datagram);
                }
                ExchangeType::Informational => self.hints.extend(unprotected_hint(&header, body)),
                other => panic!("{other}"),
            }
        }
        std::mem::take(&mut self.out)
    }

    fn handle_phase1(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) {
        let (header, _) = split_datagram(datagram).unwrap();
        let ours = |mode: &MainMode| mode.cookies().initiator == header.initiator_cookie;
        let found = self.modes.iter_mut().find(|mode| ours(mode));
        let mode = match found {
            Some(mode) => {
                match mode.handle(now, 1_767_225_600, datagram, &mut self.random) {
                    Ok(Progress::Established(sa)) => {
                        self.established += 1;
                        self.phase1s.push(*sa);
                    }
                    Ok(_) => {}
                    // After a restart messages of a half-made phase 1 come.
                    Err(error) => return self.complain(header.cookies(), &error),
                }
                mode
            }
            None => {
                let config = Arc::clone(&self.config);
                match MainMode::respond(config, from, datagram, now, &mut self.random) {
                    Ok(mode) => self.modes.push(mode),
                    Err(error) => return self.complain(header.cookies(), &error),
                }
                self.modes.last_mut().unwrap()
            }
        };
        self.out.extend(mode.poll_transmit());
    }

    /// What a key server says in the clear of what it refuses.
    fn complain(&mut self, cookies: CookiePair, error: &IkeError) {
        self.out.extend(error.notify().and_then(|why| unprotected_notify(cookies, why).ok()));
    }

    fn handle_informational(&mut self, now: Instant, datagram: &[u8]) {
        let cookies = split_datagram(datagram).unwrap().0.cookies();
        let Some(phase1) = self.phase1s.iter_mut().find(|sa| sa.cookies() == cookies) else {
            self.out.push(unprotected_notify(cookies, NotifyType::InvalidCookie).unwrap());
            return;
        };
        let mut wanted = Vec::new();
        for notice in phase1.open_informational(datagram).unwrap() {
            match notice {
                Notice::RUThere(n) => {
                    self.out.push(phase1.notify(&[Notice::RUThereAck(n)], &mut self.random).unwrap());
                }
                Notice::InvalidSpi(spi) => wanted.push(spi.0),
                _ => {}
            }
        }
        let knows = self.teks.iter().any(|(tek, _)| wanted.contains(&tek.spi.0));
        self.asked.extend(wanted);
        if self.answers && knows {
            let push = self.push(now);
            self.out.push(push);
        }
    }

    fn handle_ack(&mut self, datagram: &[u8]) {
        let ack = Ack::parse(datagram).unwrap();
        let keks = [self.kek.as_ref(), self.old_kek.as_ref()];
        let kek = keks.into_iter().flatten().find(|kek| kek.policy.spi == ack.kek()).unwrap();
        let ack = ack.verify(kek.policy.spi, &kek.keys, AckRequest::KekSha256).unwrap();
        self.acks.push(ack.sequence);
    }

    fn handle_pull(&mut self, now: Instant, message_id: u32, datagram: &[u8]) {
        let cookies = split_datagram(datagram).unwrap().0.cookies();
        let Some(at) = self.phase1s.iter().position(|sa| sa.cookies() == cookies) else { return };
        if let Some(notify) = self.refuses {
            let refusal = Notice::about_ike_sa(notify, cookies);
            self.out.push(self.phase1s[at].notify(&[refusal], &mut self.random).unwrap());
            return;
        }
        match self.pulls.remove(&message_id) {
            None => {
                let first = self.phase1s[at].phase2_iv(message_id);
                let (opened, mut iv) = self.phase1s[at].open(datagram, &first).unwrap();
                let prf = self.phase1s[at].prf().clone();
                let (request, _) =
                    PullServer::request(prf, message_id, opened.first_payload, &opened.body).unwrap();
                let mut policy = self.policy(now);
                policy.teks.retain(|tek| !self.hidden.contains(&tek.spi.0));
                let (offer, body) = request.offer(&policy, Compat::Standard, &mut self.random).unwrap();
                let reply = seal(&self.phase1s[at], message_id, &mut iv, &body);
                self.out.push(reply.clone());
                self.pulls.insert(message_id, Pulling::Offered(Box::new((offer, policy, iv, reply))));
            }
            Some(Pulling::Offered(offered)) => {
                let (offer, policy, iv, reply) = *offered;
                let (opened, mut next) = self.phase1s[at].open(datagram, &iv).unwrap();
                let Ok((confirmed, wanted)) = offer.confirmed(opened.first_payload, &opened.body) else {
                    self.out.push(reply.clone());
                    self.pulls.insert(message_id, Pulling::Offered(Box::new((offer, policy, iv, reply))));
                    return;
                };
                self.wanted_sender_ids.push(wanted);
                let body = self.message_4(&confirmed, &policy, wanted);
                let reply = seal(&self.phase1s[at], message_id, &mut next, &body);
                self.registrations += 1;
                self.out.push(reply.clone());
                self.pulls.insert(message_id, Pulling::Confirmed(reply));
            }
            Some(Pulling::Confirmed(reply)) => {
                self.out.push(reply.clone());
                self.pulls.insert(message_id, Pulling::Confirmed(reply));
            }
        }
    }

    fn message_4(
        &mut self,
        confirmed: &PullConfirmed,
        offered: &GroupPolicy,
        wanted: Option<u16>,
    ) -> EncodedChain {
        let spis = self.keyed.clone();
        let spis = spis.unwrap_or_else(|| offered.teks.iter().map(|tek| tek.spi.0).collect());
        let mut keys = self.keys(&spis);
        if self.gives_sender_ids {
            let count = u32::from(wanted.unwrap_or(1));
            let values: Vec<u32> = (self.next_sender_id..self.next_sender_id + count).collect();
            self.next_sender_id += count;
            keys.sender_ids = Some(sender_ids(&values));
        }
        let mut policy = offered.clone();
        // What is not in the offer must still be encoded.
        policy.teks.extend(self.teks.iter().map(|(tek, _)| tek.clone()));
        let sequence = self.kek.as_ref().map(|kek| kek.sequence);
        confirmed.keys(&policy, &keys, sequence).unwrap()
    }
}

fn seal(sa: &IkeSa, message_id: u32, iv: &mut Iv, body: &EncodedChain) -> Vec<u8> {
    sa.seal(ExchangeType::GroupkeyPull, message_id, iv, body.first, &body.octets).unwrap()
}
