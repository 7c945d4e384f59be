//! A key server for tests: the protocol library's own endpoint, with groups that do what a test says.

use getvpn_gdoi::crypto::x509::PeerCertificate;
use getvpn_gdoi::crypto::{KeyKind, Random, Secret, SeededRandom, SigningKey};
use getvpn_gdoi::group::*;
use getvpn_gdoi::ike::{PeerInfo, PeerTag, Peers, ResponderConfig, Timing};
use getvpn_gdoi::push::{self, KekSigner};
use getvpn_gdoi::server::{PullId, Server, ServerConfig, ServerEvent};
use getvpn_gdoi::wire::Compat;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) const PSK: &[u8] = b"a secret that both know";
pub(super) const UNIX: u64 = 1_800_000_000;

struct Anyone;

impl Peers for Anyone {
    fn pre_shared_key(&self, _: IpAddr) -> Option<Secret> {
        Some(Secret::from(PSK))
    }

    fn admit(&self, _: &PeerInfo, _: Option<&PeerCertificate>) -> Option<PeerTag> {
        Some(PeerTag(1))
    }
}

/// A group as the key server has it.
pub(super) struct ServedGroup {
    pub(super) policy: GroupPolicy,
    kek: KekKeys,
    signing: SigningKey,
    sequence: u32,
}

pub(super) struct KeyServer {
    pub(super) address: SocketAddr,
    pub(super) groups: BTreeMap<u32, ServedGroup>,
    pub(super) asked: Vec<u32>,
    server: Server,
    random: SeededRandom,
    pulls: BTreeMap<PullId, u32>,
    next_sender_id: u32,
}

pub(super) fn selector(src: &str, dst: &str) -> Selector {
    let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
    Selector { src, dst, protocol: None, src_port: None, dst_port: None }
}

pub(super) fn tek(spi: u32, transform: EspTransform, network: u8, life: u64) -> TekPolicy {
    TekPolicy {
        spi: EspSpi(spi),
        transform,
        mode: Mode::Tunnel,
        direction: Direction::Symmetric,
        selectors: vec![selector(&format!("10.{network}.0.0/16"), &format!("10.{network}.0.0/16"))],
        lifetime: Duration::from_secs(life),
    }
}

fn keys_of(tek: &TekPolicy) -> TekKeys {
    let secret = |len| Secret::new(tek.spi.0.to_be_bytes().into_iter().cycle().take(len).collect());
    TekKeys { cipher: secret(tek.transform.key_len()), integrity: secret(tek.transform.integrity_key_len()) }
}

impl KeyServer {
    pub(super) fn new(address: &str) -> Self {
        let phase1 = ResponderConfig {
            suites: vec!["aes256-sha256-ecp256".parse().unwrap()],
            lifetime: Duration::from_secs(86_400),
            accept_ipsec_doi: false,
            identity: "ks1.example.net".parse().unwrap(),
            certificate: None,
            peers: Arc::new(Anyone),
            timing: Timing::default(),
        };
        let config = ServerConfig {
            phase1: Arc::new(phase1),
            dpd: None,
            max_half_open: 64,
            max_half_open_per_address: 8,
            max_established: 64,
        };
        Self {
            address: address.parse().unwrap(),
            groups: BTreeMap::new(),
            asked: Vec::new(),
            server: Server::new(config),
            random: SeededRandom::new(3),
            pulls: BTreeMap::new(),
            next_sender_id: 1,
        }
    }

    pub(super) fn add_group(&mut self, id: u32, teks: Vec<TekPolicy>) {
        let random = &mut self.random;
        let signing = SigningKey::generate(KeyKind::EcdsaP256, random).unwrap();
        let (mut spi, mut iv) = ([0; 16], [0; 16]);
        random.fill(&mut spi);
        random.fill(&mut iv);
        let kek = KekPolicy {
            spi: KekSpi(spi),
            cipher: KekCipher::Aes128Cbc,
            signature: KekSignature::EcdsaP256,
            lifetime: Duration::from_secs(86_400),
            source: self.address,
            destination: "0.0.0.0:848".parse().unwrap(),
            acknowledge: None,
        };
        let keys =
            KekKeys { iv, cipher: Secret::random(16, random), verifying: signing.verifying_key().clone() };
        let gap = GroupAssociatedPolicy {
            activation_delay: Duration::from_secs(15),
            deactivation_delay: Duration::from_secs(30),
        };
        let policy = GroupPolicy { kek: Some(kek), gap, spi_key: None, teks };
        self.groups.insert(id, ServedGroup { policy, kek: keys, signing, sequence: 0 });
    }

    fn keys(group: &ServedGroup) -> GroupKeys {
        let kek = group.policy.kek.as_ref().unwrap();
        GroupKeys {
            teks: group.policy.teks.iter().map(|tek| (tek.spi, keys_of(tek))).collect(),
            kek: Some((kek.spi, group.kek.clone())),
            sender_ids: None,
        }
    }

    /// The group's next PUSH: all that it has.
    pub(super) fn push(&mut self, id: u32) -> Vec<u8> {
        let group = self.groups.get_mut(&id).unwrap();
        group.sequence += 1;
        let keys = Self::keys(group);
        let policy = group.policy.kek.as_ref().unwrap();
        let rekey = Rekey {
            kek: policy.spi,
            sequence: group.sequence,
            deletions: Vec::new(),
            policy: group.policy.clone(),
            keys,
        };
        let signer = KekSigner { policy, keys: &group.kek, signing: &group.signing };
        push::build(signer, &rekey, Compat::Standard, &mut self.random).unwrap()
    }

    /// Takes a datagram of a member; returns what it sends back.
    pub(super) fn handle(&mut self, now: Instant, from: SocketAddr, datagram: &[u8]) -> Vec<Vec<u8>> {
        self.server.handle_datagram(now, UNIX, self.address, from, datagram, &mut self.random);
        let mut out = Vec::new();
        while let Some(event) = self.server.poll_event() {
            match event {
                ServerEvent::PullRequested { pull, group, .. } => {
                    let id = group.id(Compat::Standard).0;
                    self.pulls.insert(pull, id);
                    let policy = self.groups[&id].policy.clone();
                    self.server.offer(pull, now, &policy, Compat::Standard, &mut self.random);
                }
                ServerEvent::PullConfirmed { pull, sender_ids_wanted, .. } => {
                    let group = &self.groups[&self.pulls[&pull]];
                    let mut keys = Self::keys(group);
                    keys.sender_ids = sender_ids_wanted.map(|wanted| {
                        let first = self.next_sender_id;
                        self.next_sender_id += u32::from(wanted);
                        SenderIds { bits: 16, values: (first..self.next_sender_id).collect() }
                    });
                    self.server.keys(pull, now, &group.policy, &keys, Some(group.sequence));
                }
                ServerEvent::InvalidSpi { spi, .. } => {
                    self.asked.push(spi.0);
                    let has = |group: &ServedGroup| group.policy.teks.iter().any(|tek| tek.spi == spi);
                    let found = self.groups.iter().find(|(_, group)| has(group)).map(|(&id, _)| id);
                    out.extend(found.map(|id| self.push(id)));
                }
                _ => {}
            }
        }
        out.extend(std::iter::from_fn(|| self.server.poll_transmit()).map(|transmit| transmit.datagram));
        out
    }
}
