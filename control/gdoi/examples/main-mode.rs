//! One phase 1 with another maker's IKE daemon, over a UDP socket: main mode in either role, then dead peer
//! detection over it, then a Delete. Prints a line for each thing that happens. For tests; blocking, and it
//! answers nobody but its peer.
//!
//! `main-mode initiate|respond local=ADDRESS:PORT peer=ADDRESS:PORT identity=ID peer-identity=ID suite=SUITE
//! psk=TEXT` or, instead of the last, `certificate=FILE key=FILE trust=FILE`; with `doi=ipsec` for peers that
//! know no other, and `tries=N` to give up earlier.

use getvpn_gdoi::crypto::x509::{PeerCertificate, TrustStore, parse_chain};
use getvpn_gdoi::crypto::{Secret, SigningKey, SystemRandom};
use getvpn_gdoi::ike::{
    CertificateCredentials, Credentials, DEFAULT_LIFETIME, Identity, IkeSa, InitiatorConfig, MainMode,
    Notice, PeerInfo, PeerTag, Peers, Progress, ResponderConfig, Timing,
};
use getvpn_gdoi::wire::Doi;
use std::collections::HashMap;
use std::error::Error;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a peer has for each part.
const PATIENCE: Duration = Duration::from_secs(15);

/// The number of our one question.
const QUESTION: u32 = 1234;

type Failure = Box<dyn Error>;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("failed: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let role = arguments.next().ok_or("initiate or respond?")?;
    let options: HashMap<String, String> = arguments
        .map(|argument| argument.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect::<Option<_>>()
        .ok_or("arguments are written NAME=VALUE")?;
    let setup = Setup::read(&options)?;
    let socket = UdpSocket::bind(setup.local)?;
    println!("bound: {}", setup.local);
    let mut sa = match role.as_str() {
        "initiate" => initiate(&socket, &setup)?,
        "respond" => respond(&socket, &setup)?,
        other => return Err(format!("`{other}` is neither initiate nor respond").into()),
    };
    question(&socket, &setup, &mut sa)?;
    let delete = sa.notify(&[Notice::DeleteIkeSa(sa.cookies())], &mut SystemRandom)?;
    socket.send_to(&delete, setup.peer)?;
    println!("deleted");
    Ok(())
}

struct Setup {
    local: SocketAddr,
    peer: SocketAddr,
    identity: Identity,
    peer_identity: Identity,
    suites: Vec<getvpn_gdoi::ike::Suite>,
    credentials: Credentials,
    doi: Doi,
    timing: Timing,
}

impl Setup {
    fn read(options: &HashMap<String, String>) -> Result<Self, Failure> {
        let get = |name: &str| options.get(name).ok_or_else(|| format!("{name}= is missing"));
        let file = |name: &str| -> Result<Vec<u8>, Failure> { Ok(std::fs::read(get(name)?)?) };
        let credentials = match options.get("psk") {
            Some(psk) => Credentials::Psk(Secret::from(psk.as_bytes())),
            None => {
                let trust = TrustStore::new(&[file("trust")?], &[] as &[Vec<u8>])?;
                let (chain, key) =
                    (parse_chain(&file("certificate")?)?, SigningKey::from_pem(&file("key")?)?);
                Credentials::Certificate(Arc::new(CertificateCredentials::new(chain, key, Arc::new(trust))?))
            }
        };
        let timing = match options.get("tries") {
            Some(tries) => Timing { tries: tries.parse()?, ..Timing::default() },
            None => Timing::default(),
        };
        Ok(Self {
            timing,
            local: get("local")?.parse()?,
            peer: get("peer")?.parse()?,
            identity: get("identity")?.parse()?,
            peer_identity: get("peer-identity")?.parse()?,
            suites: vec![get("suite")?.parse()?],
            credentials,
            doi: if options.get("doi").is_some_and(|doi| doi == "ipsec") { Doi::Ipsec } else { Doi::Gdoi },
        })
    }

    fn initiator(&self) -> InitiatorConfig {
        InitiatorConfig {
            suites: self.suites.clone(),
            lifetime: DEFAULT_LIFETIME,
            doi: self.doi,
            identity: self.identity.clone(),
            credentials: self.credentials.clone(),
            peer_identity: Some(self.peer_identity.clone()),
            initial_contact: true,
            timing: self.timing,
        }
    }

    fn responder(&self) -> ResponderConfig {
        let (psk, certificate) = match &self.credentials {
            Credentials::Psk(psk) => (Some(psk.clone()), None),
            Credentials::Certificate(certificate) => (None, Some(Arc::clone(certificate))),
        };
        ResponderConfig {
            suites: self.suites.clone(),
            lifetime: DEFAULT_LIFETIME,
            accept_ipsec_doi: self.doi == Doi::Ipsec,
            identity: self.identity.clone(),
            certificate,
            peers: Arc::new(OnePeer { address: self.peer.ip(), identity: self.peer_identity.clone(), psk }),
            timing: self.timing,
        }
    }
}

/// The one peer that a responder knows here.
struct OnePeer {
    address: IpAddr,
    identity: Identity,
    psk: Option<Secret>,
}

impl Peers for OnePeer {
    fn pre_shared_key(&self, address: IpAddr) -> Option<Secret> {
        self.psk.clone().filter(|_| address == self.address)
    }

    fn admit(&self, peer: &PeerInfo, _: Option<&PeerCertificate>) -> Option<PeerTag> {
        (peer.identity == self.identity).then_some(PeerTag(0))
    }
}

fn initiate(socket: &UdpSocket, setup: &Setup) -> Result<IkeSa, Failure> {
    let config = Arc::new(setup.initiator());
    let mode = MainMode::initiate(config, setup.peer, Instant::now(), &mut SystemRandom)?;
    go_on(socket, mode)
}

fn respond(socket: &UdpSocket, setup: &Setup) -> Result<IkeSa, Failure> {
    let config = Arc::new(setup.responder());
    let until = Instant::now() + PATIENCE;
    loop {
        let (from, message) = receive(socket, until)?.ok_or("nobody came")?;
        match MainMode::respond(Arc::clone(&config), from, &message, Instant::now(), &mut SystemRandom) {
            Ok(mode) => return go_on(socket, mode),
            Err(error) => println!("refused: {error}"),
        }
    }
}

fn go_on(socket: &UdpSocket, mut mode: MainMode) -> Result<IkeSa, Failure> {
    loop {
        if let Some(message) = mode.poll_transmit() {
            socket.send_to(&message, mode.peer())?;
        }
        let until = mode.poll_timeout().ok_or("the phase 1 is over")?;
        let Some((from, message)) = receive(socket, until)? else {
            mode.handle_timeout(Instant::now(), &mut SystemRandom)?;
            continue;
        };
        if from != mode.peer() {
            continue;
        }
        let unix_time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        match mode.handle(Instant::now(), unix_time, &message, &mut SystemRandom) {
            Ok(Progress::Established(sa)) => {
                if let Some(message) = mode.poll_transmit() {
                    socket.send_to(&message, mode.peer())?;
                }
                println!("established: {}, {}, with {}", sa.suite(), sa.peer().method, sa.peer().identity);
                println!(
                    "peer supports DPD: {}; INITIAL-CONTACT: {}",
                    sa.peer().supports_dpd,
                    sa.initial_contact()
                );
                return Ok(*sa);
            }
            Ok(Progress::Hint(hint)) => println!("hint: {hint}"),
            Ok(Progress::Continue) => {}
            Err(error) if mode.is_over() => return Err(error.into()),
            Err(error) => println!("refused: {error}"),
        }
    }
}

/// Asks the peer whether it is there, until it answers, and answers it if it asks.
fn question(socket: &UdpSocket, setup: &Setup, sa: &mut IkeSa) -> Result<(), Failure> {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let ask = sa.notify(&[Notice::RUThere(QUESTION)], &mut SystemRandom)?;
        socket.send_to(&ask, setup.peer)?;
        let again = Instant::now() + Duration::from_secs(1);
        while let Some((_, message)) = receive(socket, again)? {
            for notice in sa.open_informational(&message).unwrap_or_default() {
                println!("said: {notice:?}");
                match notice {
                    Notice::RUThereAck(QUESTION) => return Ok(()),
                    Notice::RUThere(sequence) => {
                        let answer = sa.notify(&[Notice::RUThereAck(sequence)], &mut SystemRandom)?;
                        socket.send_to(&answer, setup.peer)?;
                    }
                    _ => {}
                }
            }
        }
    }
    Err("the peer did not answer R-U-THERE".into())
}

/// A datagram, or `None` if none came until then.
fn receive(socket: &UdpSocket, until: Instant) -> Result<Option<(SocketAddr, Vec<u8>)>, Failure> {
    let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    socket.set_read_timeout(Some(left))?;
    let mut buffer = vec![0; 65_536];
    match socket.recv_from(&mut buffer) {
        Ok((len, from)) => {
            buffer.truncate(len);
            Ok(Some((from, buffer)))
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
