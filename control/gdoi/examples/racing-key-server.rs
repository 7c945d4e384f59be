//! A key server that changes its policy between messages 2 and 4 of a registration, which ours never does:
//! for the end-to-end tests of rules S3 and S4. One group, pre-shared keys, everything else as RFC 6407 has
//! it. Prints a line of JSON for each thing that happens.
//!
//! `racing-key-server listen=ADDRESS:PORT psk=TEXT group=N race=added|removed|withdrawn|none [answer=yes|no]
//! [from=N]`
//!
//! The first registrations, `from` of them (1), are as usual. With `race=added` an SA comes into being during
//! every later one: the KD names it and the SA payload did not; the other members get it by rekey. With
//! `race=removed` an SA that the SA payload named is gone when the KD is made. With `race=withdrawn` it is
//! gone too, and the other members are told to delete it; a rekey to all has brought it just before the
//! registration began. `answer=no` leaves INVALID-SPI unanswered.

use getvpn_gdoi::crypto::x509::PeerCertificate;
use getvpn_gdoi::crypto::{KeyKind, Random, Secret, SigningKey, SystemRandom};
use getvpn_gdoi::group::{
    AckRequest, Deletion, Direction, EspSpi, EspTransform, GroupAssociatedPolicy, GroupId, GroupKeys,
    GroupPolicy, KekCipher, KekKeys, KekPolicy, KekSignature, KekSpi, Mode, Rekey, Selector, SenderIds,
    TekKeys, TekPolicy,
};
use getvpn_gdoi::ike::{
    DEFAULT_LIFETIME, Identity, PeerInfo, PeerTag, Peers, ResponderConfig, Suite, Timing,
};
use getvpn_gdoi::push::{KekSigner, build};
use getvpn_gdoi::server::{Server, ServerConfig, ServerEvent};
use getvpn_gdoi::wire::{Compat, NotifyType};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::error::Error;
use std::io::{ErrorKind, Write};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// SAs of the policy.
const SAS: usize = 8;

type Failure = Box<dyn Error>;

fn main() -> Result<(), Failure> {
    let options: HashMap<String, String> = std::env::args()
        .skip(1)
        .map(|argument| argument.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect::<Option<_>>()
        .ok_or("arguments are written NAME=VALUE")?;
    let get = |name: &str| options.get(name).ok_or_else(|| format!("{name}= is missing"));
    let listen: SocketAddr = get("listen")?.parse()?;
    let race = match get("race")?.as_str() {
        "none" => Race::None,
        "added" => Race::Added,
        "removed" => Race::Removed,
        "withdrawn" => Race::Withdrawn,
        other => return Err(format!("`{other}` is no race").into()),
    };
    let phase1 = ResponderConfig {
        suites: vec!["aes256-sha256-ecp256".parse::<Suite>()?],
        lifetime: DEFAULT_LIFETIME,
        accept_ipsec_doi: false,
        identity: Identity::Address(listen.ip()),
        certificate: None,
        peers: Arc::new(Anybody(Secret::from(get("psk")?.as_bytes()))),
        timing: Timing::default(),
    };
    let config = ServerConfig {
        phase1: Arc::new(phase1),
        dpd: None,
        max_half_open: 100,
        max_half_open_per_address: 100,
        max_established: 100,
    };
    let socket = UdpSocket::bind(listen)?;
    socket.set_read_timeout(Some(Duration::from_millis(20)))?;
    let mut key_server = KeyServer {
        server: Server::new(config),
        socket,
        listen,
        id: GroupId(get("group")?.parse()?),
        group: Group::new(listen)?,
        race,
        answers: options.get("answer").is_none_or(|answer| answer == "yes"),
        calm: options.get("from").map_or(Ok(1), |from| from.parse())?,
        withdrawn: Vec::new(),
        raced: None,
        members: BTreeSet::new(),
    };
    say(&json!({ "event": "listening" }));
    key_server.serve()
}

/// What happens between messages 2 and 4.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Race {
    None,
    Added,
    Removed,
    Withdrawn,
}

/// Whoever has the key.
struct Anybody(Secret);

impl Peers for Anybody {
    fn pre_shared_key(&self, _: IpAddr) -> Option<Secret> {
        Some(self.0.clone())
    }

    fn admit(&self, _: &PeerInfo, _: Option<&PeerCertificate>) -> Option<PeerTag> {
        Some(PeerTag(0))
    }
}

struct KeyServer {
    server: Server,
    socket: UdpSocket,
    listen: SocketAddr,
    id: GroupId,
    group: Group,
    race: Race,
    answers: bool,
    /// Registrations that are still to be as usual.
    calm: u32,
    /// What the others are told to delete once it is quiet after message 4, and to whom that went.
    withdrawn: Vec<Deletion>,
    raced: Option<SocketAddr>,
    /// Where those are that have registered.
    members: BTreeSet<SocketAddr>,
}

impl KeyServer {
    fn serve(&mut self) -> Result<(), Failure> {
        let mut buffer = vec![0; 65_536];
        loop {
            match self.socket.recv_from(&mut buffer) {
                Ok((len, from)) => {
                    let unix_time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
                    let datagram = buffer.get(..len).unwrap_or_default();
                    let now = Instant::now();
                    self.server.handle_datagram(
                        now,
                        unix_time,
                        self.listen,
                        from,
                        datagram,
                        &mut SystemRandom,
                    );
                }
                // A Delete takes effect at once, so message 4 is to be there first.
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    if !self.withdrawn.is_empty() {
                        let deletions = std::mem::take(&mut self.withdrawn);
                        self.push_to_all_but(self.raced, deletions)?;
                    }
                }
                Err(error) => return Err(error.into()),
            }
            self.server.handle_timeout(Instant::now(), &mut SystemRandom);
            while let Some(event) = self.server.poll_event() {
                self.take(event)?;
            }
            while let Some(transmit) = self.server.poll_transmit() {
                self.socket.send_to(&transmit.datagram, transmit.to)?;
            }
        }
    }

    fn take(&mut self, event: ServerEvent) -> Result<(), Failure> {
        let now = Instant::now();
        match event {
            ServerEvent::PullRequested { pull, group, .. } if group.id(Compat::Standard) == self.id => {
                if self.race == Race::Withdrawn && self.calm == 0 {
                    self.group.add();
                    self.push_to_all_but(None, Vec::new())?;
                }
                let policy = self.group.policy();
                say(&json!({ "event": "offered", "spis": self.group.spis() }));
                self.server.offer(pull, now, &policy, Compat::Standard, &mut SystemRandom);
            }
            ServerEvent::PullRequested { pull, .. } => {
                let why = NotifyType::InvalidIdInformation;
                self.server.refuse_pull(pull, now, why, &mut SystemRandom);
            }
            ServerEvent::PullConfirmed { pull, peer, sender_ids_wanted } => {
                match self.calm.checked_sub(1) {
                    Some(calm) => self.calm = calm,
                    None => self.change(peer.info.address)?,
                }
                let keys = self.group.keys(sender_ids_wanted);
                say(&json!({ "event": "keyed", "spis": self.group.spis(), "member": peer.info.address }));
                let sequence = Some(self.group.sequence);
                self.server.keys(pull, now, &self.group.policy(), &keys, sequence);
                self.members.insert(peer.info.address);
            }
            ServerEvent::InvalidSpi { peer, spi } => {
                let known = self.group.teks.iter().any(|(tek, _)| tek.spi == spi);
                say(&json!({ "event": "invalid_spi", "spi": spi.to_string(), "known": known,
                             "member": peer.info.address }));
                if known && self.answers {
                    self.push(peer.info.address, Vec::new())?;
                }
            }
            ServerEvent::Ack { from, .. } => say(&json!({ "event": "acknowledged", "member": from })),
            ServerEvent::Refused { why, .. } => say(&json!({ "event": "refused", "why": why })),
            _ => {}
        }
        Ok(())
    }

    /// The race: the policy becomes another after it was offered to the member at this address.
    fn change(&mut self, registering: SocketAddr) -> Result<(), Failure> {
        match self.race {
            Race::None => Ok(()),
            Race::Added => {
                self.group.add();
                self.push_to_all_but(Some(registering), Vec::new())
            }
            Race::Removed => {
                self.group.teks.pop();
                Ok(())
            }
            Race::Withdrawn => {
                let gone = self.group.teks.pop();
                self.withdrawn.extend(gone.iter().map(|(tek, _)| Deletion::Tek(tek.spi)));
                self.raced = Some(registering);
                Ok(())
            }
        }
    }

    fn push_to_all_but(&mut self, but: Option<SocketAddr>, deletions: Vec<Deletion>) -> Result<(), Failure> {
        for member in self.members.clone().into_iter().filter(|&member| Some(member) != but) {
            self.push(member, deletions.clone())?;
        }
        Ok(())
    }

    fn push(&mut self, member: SocketAddr, deletions: Vec<Deletion>) -> Result<(), Failure> {
        let datagram = self.group.rekey(deletions)?;
        self.socket.send_to(&datagram, member)?;
        say(&json!({ "event": "pushed", "sequence": self.group.sequence, "spis": self.group.spis(),
                     "member": member }));
        Ok(())
    }
}

/// The group's SAs, and the Rekey SA.
struct Group {
    kek: KekPolicy,
    kek_keys: KekKeys,
    signing: SigningKey,
    sequence: u32,
    teks: Vec<(TekPolicy, TekKeys)>,
    next_sender_id: u32,
}

impl Group {
    fn new(listen: SocketAddr) -> Result<Self, Failure> {
        let random = &mut SystemRandom;
        let signing = SigningKey::generate(KeyKind::EcdsaP256, random)?;
        let (mut spi, mut iv) = ([0; 16], [0; 16]);
        random.fill(&mut spi);
        random.fill(&mut iv);
        let kek = KekPolicy {
            spi: KekSpi(spi),
            cipher: KekCipher::Aes128Cbc,
            signature: KekSignature::EcdsaP256,
            lifetime: Duration::from_secs(86_400),
            source: listen,
            destination: SocketAddr::new([0, 0, 0, 0].into(), listen.port()),
            acknowledge: Some(AckRequest::KekSha256),
        };
        let cipher = Secret::random(kek.cipher.key_len(), random);
        let kek_keys = KekKeys { iv, cipher, verifying: signing.verifying_key().clone() };
        let mut group = Self { kek, kek_keys, signing, sequence: 0, teks: Vec::new(), next_sender_id: 0 };
        group.add();
        group.add();
        Ok(group)
    }

    /// Another SA, with keys and SPI of its own.
    fn add(&mut self) {
        let random = &mut SystemRandom;
        let mut spi = [0; 4];
        random.fill(&mut spi);
        let transform = EspTransform::Aes128Gcm;
        let net = "10.0.0.0/8".parse().unwrap_or_default();
        let tek = TekPolicy {
            spi: EspSpi(u32::from_be_bytes(spi) | 0x100),
            transform,
            mode: Mode::Tunnel,
            direction: Direction::Symmetric,
            selectors: vec![Selector { src: net, dst: net, protocol: None, src_port: None, dst_port: None }],
            lifetime: Duration::from_secs(3600),
        };
        let cipher = Secret::random(transform.key_len(), random);
        self.teks.push((tek, TekKeys { cipher, integrity: Secret::new(Vec::new()) }));
        // Members keep what they have; new ones need no more than the latest.
        let old = self.teks.len().saturating_sub(SAS);
        self.teks.drain(..old);
    }

    fn spis(&self) -> Value {
        self.teks.iter().map(|(tek, _)| tek.spi.to_string()).collect()
    }

    fn policy(&self) -> GroupPolicy {
        GroupPolicy {
            kek: Some(self.kek.clone()),
            gap: GroupAssociatedPolicy::default(),
            spi_key: None,
            teks: self.teks.iter().map(|(tek, _)| tek.clone()).collect(),
        }
    }

    fn keys(&mut self, sender_ids_wanted: Option<u16>) -> GroupKeys {
        let first = self.next_sender_id;
        self.next_sender_id += u32::from(sender_ids_wanted.unwrap_or(1));
        let values = (first..self.next_sender_id).collect();
        GroupKeys { sender_ids: Some(SenderIds { bits: 16, values }), ..self.keys_alone() }
    }

    fn keys_alone(&self) -> GroupKeys {
        GroupKeys {
            teks: self.teks.iter().map(|(tek, keys)| (tek.spi, keys.clone())).collect(),
            kek: Some((self.kek.spi, self.kek_keys.clone())),
            sender_ids: None,
        }
    }

    fn rekey(&mut self, deletions: Vec<Deletion>) -> Result<Vec<u8>, Failure> {
        self.sequence += 1;
        let rekey = Rekey {
            kek: self.kek.spi,
            sequence: self.sequence,
            deletions,
            policy: self.policy(),
            keys: self.keys_alone(),
        };
        let signer = KekSigner { policy: &self.kek, keys: &self.kek_keys, signing: &self.signing };
        Ok(build(signer, &rekey, Compat::Standard, &mut SystemRandom)?)
    }
}

fn say(line: &Value) {
    println!("{line}");
    // Whoever reads this through a pipe wants it now.
    let _ = std::io::stdout().flush();
}
