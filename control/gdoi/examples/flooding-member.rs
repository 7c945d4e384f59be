//! A member that has registered and then abuses it: it sends INVALID-SPI far faster than any rate limit of ours
//! would let it, and gives away SPIs that bear the key server's mark. For the abuse table. Prints a line of JSON for
//! each thing that happens; blocking.
//!
//! `flooding-member to=ADDRESS:PORT local=ADDRESS:PORT psk=TEXT group=N identity=ID [marked=N]
//! [spis=0x…,0x…|random rate=N seconds=N]`
//!
//! `marked=N` prints so many SPIs that bear the mark. `spis=` are asked for in turn, `rate` a second (0: as fast as
//! it goes) for so many seconds; every rekey that comes meanwhile is counted and not acknowledged.

use getvpn_gdoi::crypto::{Random, Secret, SystemRandom};
use getvpn_gdoi::group::{EspSpi, GroupId, SpiKey};
use getvpn_gdoi::ike::{
    Credentials, DEFAULT_LIFETIME, IkeSa, InitiatorConfig, MainMode, Notice, Progress, Timing,
};
use getvpn_gdoi::pull::PullClient;
use getvpn_gdoi::push;
use getvpn_gdoi::wire::{Compat, Doi, EncodedChain, ExchangeType};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::error::Error;
use std::io::Write;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

type Failure = Box<dyn Error>;

/// How often a message of the registration is sent.
const TRIES: usize = 20;

fn main() -> Result<(), Failure> {
    let options: HashMap<String, String> = std::env::args()
        .skip(1)
        .map(|argument| argument.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())))
        .collect::<Option<_>>()
        .ok_or("arguments are written NAME=VALUE")?;
    let get = |name: &str| options.get(name).ok_or_else(|| format!("{name}= is missing"));
    let number = |name: &str| -> Result<u64, Failure> {
        Ok(options
            .get(name)
            .map_or(Ok(0), |text| text.parse().map_err(|why| format!("{name}={text}: {why}")))?)
    };
    let to: SocketAddr = get("to")?.parse()?;
    let socket = UdpSocket::bind(get("local")?.parse::<SocketAddr>()?)?;
    socket.connect(to)?;
    socket.set_read_timeout(Some(Duration::from_millis(250)))?;
    let config = InitiatorConfig {
        suites: vec!["aes256-sha256-ecp256".parse()?],
        lifetime: DEFAULT_LIFETIME,
        doi: Doi::Gdoi,
        identity: get("identity")?.parse()?,
        credentials: Credentials::Psk(Secret::from(get("psk")?.as_bytes())),
        peer_identity: None,
        initial_contact: true,
        timing: Timing::default(),
    };
    let mut sa = phase1(&socket, to, config)?;
    let (key, own) = register(&socket, &mut sa, GroupId(get("group")?.parse()?))?;
    let wanted = usize::try_from(number("marked")?)?;
    let marked =
        key.iter().flat_map(|key| (1..=u16::MAX).filter_map(|n| key.spi(n))).filter(|spi| !own.contains(spi));
    let marked: Value = marked.take(wanted).map(|spi| Value::from(spi.0)).collect();
    let own: Value = own.iter().map(|spi| Value::from(spi.0)).collect();
    say(&json!({ "event": "registered", "spis": own, "marked": marked }));

    if let Some(spis) = options.get("spis") {
        let spis = match spis.as_str() {
            "random" => Vec::new(),
            some => some.split(',').map(read_spi).collect::<Result<_, _>>()?,
        };
        flood(&socket, &mut sa, &spis, number("rate")?, Duration::from_secs(number("seconds")?))?;
    }
    Ok(())
}

fn read_spi(text: &str) -> Result<EspSpi, Failure> {
    let digits = text.strip_prefix("0x").ok_or_else(|| format!("`{text}` is no SPI such as 0x00010001"))?;
    Ok(EspSpi(u32::from_str_radix(digits, 16)?))
}

fn phase1(socket: &UdpSocket, to: SocketAddr, config: InitiatorConfig) -> Result<IkeSa, Failure> {
    let mut mode = MainMode::initiate(Arc::new(config), to, Instant::now(), &mut SystemRandom)?;
    loop {
        let message = mode.poll_transmit().ok_or("phase 1 has nothing more to say")?;
        let unix_time = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let reply = exchange(socket, &message)?;
        match mode.handle(Instant::now(), unix_time, &reply, &mut SystemRandom)? {
            Progress::Established(sa) => return Ok(*sa),
            Progress::Continue => {}
            Progress::Hint(notify) => return Err(format!("the key server says {notify}").into()),
        }
    }
}

/// The key of the group's marks, and its SPIs.
fn register(
    socket: &UdpSocket,
    sa: &mut IkeSa,
    group: GroupId,
) -> Result<(Option<SpiKey>, Vec<EspSpi>), Failure> {
    let id = sa.new_message_id(&mut SystemRandom);
    let (client, body) = PullClient::start(sa.prf().clone(), id, group, Compat::Standard, &mut SystemRandom)?;
    let mut iv = sa.phase2_iv(id);
    let mut pull = |body: EncodedChain| -> Result<_, Failure> {
        let message = sa.seal(ExchangeType::GroupkeyPull, id, &mut iv, body.first, &body.octets)?;
        let (opened, next) = sa.open(&exchange(socket, &message)?, &iv)?;
        iv = next;
        Ok(opened)
    };
    let opened = pull(body)?;
    let offered = client.policy(opened.first_payload, &opened.body)?;
    let opened = pull(offered.accept.confirm(Some(1))?)?;
    let pulled = offered.accept.keys(None, opened.first_payload, &opened.body)?;
    Ok((offered.policy.spi_key, pulled.keys.teks.iter().map(|(spi, _)| *spi).collect()))
}

fn exchange(socket: &UdpSocket, message: &[u8]) -> Result<Vec<u8>, Failure> {
    let mut buffer = vec![0; 65_535];
    for _ in 0..TRIES {
        socket.send(message)?;
        if let Ok(len) = socket.recv(&mut buffer) {
            buffer.truncate(len);
            return Ok(buffer);
        }
    }
    Err("no answer".into())
}

/// INVALID-SPI for these SPIs in turn, or for random ones when there are none.
fn flood(
    socket: &UdpSocket,
    sa: &mut IkeSa,
    spis: &[EspSpi],
    rate: u64,
    time: Duration,
) -> Result<(), Failure> {
    socket.set_nonblocking(true)?;
    let (began, mut sent, mut unsent, mut rekeys) = (Instant::now(), 0_u64, 0_u64, 0_u64);
    let mut buffer = vec![0; 65_535];
    let mut turns = spis.iter().cycle();
    while began.elapsed() < time {
        let due = u64::try_from(began.elapsed().as_micros())? * rate / 1_000_000;
        if rate > 0 && sent + unsent >= due {
            std::thread::sleep(Duration::from_millis(1));
        }
        for _ in 0..if rate > 0 { due.saturating_sub(sent + unsent) } else { 32 } {
            let spi = turns.next().copied().unwrap_or_else(|| {
                let mut octets = [0; 4];
                SystemRandom.fill(&mut octets);
                EspSpi(u32::from_be_bytes(octets) | 0x100)
            });
            // A socket that is full for the moment loses some, as a network does.
            match socket.send(&sa.notify(&[Notice::InvalidSpi(spi)], &mut SystemRandom)?) {
                Ok(_) => sent += 1,
                Err(_) => unsent += 1,
            }
        }
        while let Ok(len) = socket.recv(&mut buffer) {
            rekeys += u64::from(buffer.get(..len).and_then(push::peek).is_some());
        }
    }
    say(&json!({ "event": "done", "sent": sent, "unsent": unsent, "rekeys": rekeys }));
    Ok(())
}

fn say(line: &Value) {
    println!("{line}");
    // Whoever reads this through a pipe wants it now.
    let _ = std::io::stdout().flush();
}
