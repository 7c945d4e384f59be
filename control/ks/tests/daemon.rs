//! The real daemon with members made of the protocol library, over loopback: registration, rekeys,
//! `kill -9`, reload, and what the control socket says.

#![allow(clippy::unwrap_used, reason = "tests")]

use getvpn_ctl::{Command, client, reply};
use getvpn_gdoi::crypto::Random;
use getvpn_gdoi::crypto::{Secret, SystemRandom};
use getvpn_gdoi::group::{
    AckRequest, EspSpi, GroupId, GroupKeys, KekKeys, KekPolicy, KekSpi, Rekey, TekKeys,
};
use getvpn_gdoi::ike::{Credentials, Identity, IkeSa, InitiatorConfig, MainMode, Notice, Progress, Timing};
use getvpn_gdoi::pull::PullClient;
use getvpn_gdoi::push::{self, Ack};
use getvpn_gdoi::wire::{Compat, Doi, EncodedChain, ExchangeType};
use serde::de::DeserializeOwned;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

const PSK: &str = "between the two of us";
const PATIENCE: Duration = Duration::from_secs(20);

struct Daemon {
    process: Child,
    directory: PathBuf,
    address: SocketAddr,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn configuration(address: SocketAddr, transform: &str) -> String {
    format!(
        r#"
[server]
listen = ["{address}"]
local_id = "ks1.example.net"
store = "store"
phase1 = ["aes128-sha256-ecp256"]
[control]
socket = "ks.sock"
[[peer]]
address = "127.0.0.0/8"
psk_file = "psk"
groups = ["finance"]
[[group]]
name = "finance"
id = 1234
activation_delay_s = 1
deactivation_delay_s = 2
kek = {{ cipher = "aes-128-cbc", lifetime_s = 600, signature = "ecdsa-p256" }}
rekey = {{ transport = "unicast", retransmits = 2, interval_s = 1, acknowledge = true }}
[[group.tek]]
transform = "{transform}"
lifetime_s = 3600
selectors = [{{ src = "10.0.0.0/8", dst = "10.0.0.0/8" }}]
"#
    )
}

impl Daemon {
    fn start(directory: &Path) -> Self {
        let psk = directory.join("psk");
        fs::write(&psk, PSK).unwrap();
        fs::set_permissions(&psk, fs::Permissions::from_mode(0o600)).unwrap();
        // A port that was free a moment ago, and the same over a restart.
        let address = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        fs::write(directory.join("ks.toml"), configuration(address, "aes-128-gcm")).unwrap();
        let process = Self::spawn(directory);
        let daemon = Self { process, directory: directory.to_owned(), address };
        daemon.wait();
        daemon
    }

    fn spawn(directory: &Path) -> Child {
        std::process::Command::new(env!("CARGO_BIN_EXE_getvpn-ks"))
            .arg("--config")
            .arg(directory.join("ks.toml"))
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }

    fn wait(&self) {
        let began = Instant::now();
        while self.groups().is_none_or(|list| list.groups[0].state != "serving") {
            assert!(began.elapsed() < PATIENCE, "the key server does not serve");
            sleep(Duration::from_millis(5));
        }
    }

    fn kill_and_restart(&mut self) -> Duration {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        let began = Instant::now();
        self.process = Self::spawn(&self.directory);
        self.wait();
        began.elapsed()
    }

    fn try_ask<T: DeserializeOwned>(&self, command: &Command) -> Option<T> {
        let answer = client::ask(&self.directory.join("ks.sock"), command, Duration::from_secs(5)).ok()?;
        Some(serde_json::from_str(&answer).unwrap())
    }

    fn groups(&self) -> Option<reply::GroupList> {
        self.try_ask(&Command::GroupList {})
    }

    fn ask<T: DeserializeOwned>(&self, command: &Command) -> T {
        self.try_ask(command).unwrap()
    }

    fn members(&self) -> Vec<reply::MemberDetail> {
        self.ask::<reply::MemberList>(&Command::MemberList { group: "finance".into() }).members
    }

    fn rekey(&self, kek: bool) {
        self.ask::<reply::Rekeyed>(&Command::Rekey { group: "finance".into(), kek });
    }
}

struct Member {
    socket: UdpSocket,
    sa: IkeSa,
    kek: (KekPolicy, KekKeys),
    last: u32,
    teks: Vec<EspSpi>,
    sids: Vec<u32>,
}

/// `None` when the key server has been silent for too long.
fn exchange(socket: &UdpSocket, message: &[u8], tries: u32) -> Option<Vec<u8>> {
    let mut buffer = [0; 65_535];
    for _ in 0..tries {
        // Refused while nobody listens.
        let _ = socket.send(message);
        if let Ok(len) = socket.recv(&mut buffer) {
            return Some(buffer[..len].to_vec());
        }
    }
    None
}

impl Member {
    fn connect(server: SocketAddr, host: u16, tries: u32) -> Option<(UdpSocket, IkeSa)> {
        let [net, host] = host.to_be_bytes();
        let ip = Ipv4Addr::new(127, 1, net, host);
        let socket = UdpSocket::bind((ip, 0)).unwrap();
        socket.connect(server).unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        let config = InitiatorConfig {
            suites: vec!["aes128-sha256-ecp256".parse().unwrap()],
            lifetime: Duration::from_secs(3600),
            doi: Doi::Gdoi,
            identity: Identity::Address(ip.into()),
            credentials: Credentials::Psk(Secret::from(PSK.as_bytes())),
            peer_identity: None,
            initial_contact: false,
            timing: Timing::default(),
        };
        let now = Instant::now();
        let mut mode = MainMode::initiate(Arc::new(config), server, now, &mut SystemRandom).unwrap();
        loop {
            let reply = exchange(&socket, &mode.poll_transmit()?, tries)?;
            match mode.handle(now, 1_800_000_000, &reply, &mut SystemRandom) {
                Ok(Progress::Established(sa)) => return Some((socket, *sa)),
                Ok(Progress::Continue) => {}
                // A key server that has begun anew does not know this phase 1.
                Ok(Progress::Hint(_)) if tries == 1 => return None,
                other => panic!("{:?}", other.map(|_| ())),
            }
        }
    }

    fn register(server: SocketAddr, host: u16) -> Self {
        Self::try_register(server, host, 20).expect("no answer").0
    }

    /// The member, and the keys that it got.
    fn try_register(server: SocketAddr, host: u16, tries: u32) -> Option<(Self, GroupKeys)> {
        let (socket, mut sa) = Self::connect(server, host, tries)?;
        let id = sa.new_message_id(&mut SystemRandom);
        let prf = sa.prf().clone();
        let (client, body) =
            PullClient::start(prf, id, GroupId(1234), Compat::Standard, &mut SystemRandom).unwrap();
        let mut iv = sa.phase2_iv(id);
        let mut pull = |body: EncodedChain| {
            let message = sa.seal(ExchangeType::GroupkeyPull, id, &mut iv, body.first, &body.octets).unwrap();
            loop {
                // A rekey may come in between.
                let reply = exchange(&socket, &message, tries)?;
                if let Ok((opened, next)) = sa.open(&reply, &iv) {
                    iv = next;
                    return Some(opened);
                }
            }
        };
        let opened = pull(body)?;
        let offered = client.policy(opened.first_payload, &opened.body).unwrap();
        let opened = pull(offered.accept.confirm(Some(2)).unwrap())?;
        let pulled = offered.accept.keys(None, opened.first_payload, &opened.body).unwrap();
        let kek = (offered.policy.kek.unwrap(), pulled.keys.kek.clone().unwrap().1);
        let teks = pulled.keys.teks.iter().map(|(spi, _)| *spi).collect();
        let sids = pulled.keys.sender_ids.clone().unwrap().values;
        Some((Self { socket, sa, kek, last: pulled.sequence.unwrap(), teks, sids }, pulled.keys))
    }

    /// The next rekey that it can open, acknowledged.
    fn rekeyed(&mut self) -> Rekey {
        let began = Instant::now();
        loop {
            assert!(began.elapsed() < PATIENCE, "no rekey");
            if let Some(rekey) = self.next_rekey() {
                return rekey;
            }
        }
    }

    /// What the next datagram brings, if it is a rekey that it can open.
    fn next_rekey(&mut self) -> Option<Rekey> {
        let mut buffer = [0; 65_535];
        let len = self.socket.recv(&mut buffer).ok()?;
        let opened = push::open(&self.kek.0, &self.kek.1, self.last, &buffer[..len], Compat::Standard);
        let rekey = opened.ok()?.rekey;
        self.last = rekey.sequence;
        let member = self.socket.local_addr().unwrap().ip();
        let ack = Ack { kek: rekey.kek, sequence: rekey.sequence, member };
        // Refused while nobody listens.
        let _ = self.socket.send(&ack.build(&self.kek.1, AckRequest::KekSha256).unwrap());
        self.teks.extend(rekey.keys.teks.iter().map(|(spi, _)| *spi));
        if let Some(policy) = rekey.policy.kek.clone().filter(|policy| policy.spi != self.kek.0.spi) {
            self.kek = (policy, rekey.keys.kek.clone().unwrap().1);
            self.last = 0;
        }
        Some(rekey)
    }
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        sleep(Duration::from_millis(10));
    }
}

#[test]
fn members_register_are_rekeyed_and_carry_on_over_kill_9() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path());
    let mut first = Member::register(daemon.address, 1);
    let mut second = Member::register(daemon.address, 2);
    assert_eq!((&first.sids[..], &second.sids[..]), (&[0, 1][..], &[2, 3][..]));
    assert_eq!(daemon.members().len(), 2);

    daemon.rekey(true);
    for member in [&mut first, &mut second] {
        assert!(member.rekeyed().policy.teks.len() == 2);
    }
    wait_for("both acknowledged", || daemon.members().iter().all(|m| m.last_acknowledged.is_some()));
    assert!(daemon.members().iter().all(|member| member.state == "in-step"));

    let newest = *first.teks.last().unwrap();
    let asking = first.sa.notify(&[Notice::InvalidSpi(newest)], &mut SystemRandom).unwrap();
    first.socket.send(&asking).unwrap();
    let answer = first.rekeyed();
    assert!(answer.policy.teks.iter().any(|tek| tek.spi == newest));

    let mut handed_out: Vec<u32> = [first.sids.clone(), second.sids.clone()].concat();
    for round in 0..5 {
        let took = daemon.kill_and_restart();
        assert!(took < Duration::from_secs(5), "{took:?}");
        let rekey = first.rekeyed();
        second.rekeyed();
        assert!(rekey.policy.teks.iter().any(|tek| first.teks.contains(&tek.spi)));
        let other = Member::register(daemon.address, 10 + round);
        assert!(other.sids.iter().all(|sid| !handed_out.contains(sid)), "{:?}", other.sids);
        handed_out.extend(&other.sids);
    }
    assert_eq!(daemon.members().len(), 7);
    assert_eq!(daemon.members()[0].registrations, 1, "it carried on without registering");
}

#[test]
fn a_reload_is_shown_first_and_then_done_and_a_removed_member_stays_out() {
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path());
    let mut member = Member::register(daemon.address, 1);
    let removed = Member::register(daemon.address, 2);
    fs::write(directory.path().join("ks.toml"), configuration(daemon.address, "aes-256-gcm")).unwrap();
    let shown: reply::Reloaded = daemon.ask(&Command::Reload { dry_run: true });
    assert_eq!(shown.changes.len(), 2, "{:?}", shown.changes);
    let done: reply::Reloaded = daemon.ask(&Command::Reload { dry_run: false });
    assert_eq!(done.changes, shown.changes);
    assert!(member.rekeyed().policy.teks.iter().any(|tek| tek.transform.name() == "aes-256-gcm"));
    assert!(daemon.ask::<reply::Reloaded>(&Command::Reload { dry_run: true }).changes.is_empty());

    let id = daemon.members().iter().find(|m| m.name == "127.1.0.2").unwrap().id;
    let changed: reply::MemberChanged = daemon.ask(&Command::MemberRemove { group: "finance".into(), id });
    assert!(changed.removed && changed.name == "127.1.0.2");
    let known = member.teks.clone();
    assert!(member.rekeyed().policy.teks.iter().any(|tek| !known.contains(&tek.spi)));
    drop(removed);
    assert_eq!(daemon.groups().unwrap().groups[0].removed, ["127.1.0.2"]);
    let counters: reply::Counters = daemon.ask(&Command::Counters { per: false });
    assert_eq!(counters.key_server["registrations"], 2);

    let pid = rustix::process::Pid::from_child(&daemon.process);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(daemon.process.wait().unwrap().code(), Some(0));
}

/// What the key server has handed out, and to whom it must not hand it out again.
#[derive(Default)]
struct HandedOut {
    sids: HashSet<u32>,
    teks: HashMap<EspSpi, TekKeys>,
    /// A PUSH by its Rekey SA and number: the policy and keys in it.
    pushes: HashMap<(KekSpi, u32), GroupKeys>,
}

impl HandedOut {
    fn registration(&mut self, member: &Member, keys: &GroupKeys) {
        for &sid in &member.sids {
            assert!(self.sids.insert(sid), "sender ID {sid} was handed out twice");
        }
        self.keys(keys);
    }

    fn push(&mut self, rekey: &Rekey) {
        let known = self.pushes.entry((rekey.kek, rekey.sequence)).or_insert_with(|| rekey.keys.clone());
        assert!(*known == rekey.keys, "SEQ {} was used for two different rekeys", rekey.sequence);
        self.keys(&rekey.keys);
    }

    fn keys(&mut self, keys: &GroupKeys) {
        for (spi, keys) in &keys.teks {
            let known = self.teks.entry(*spi).or_insert_with(|| keys.clone());
            assert!(known == keys, "{spi} was handed out with two different keys");
        }
    }
}

/// `GETVPN_KILLS` says at how many random instants; the load is registrations and rekeys without a pause.
#[test]
fn kill_9_at_any_instant_under_load_hands_nothing_out_twice_and_members_carry_on() {
    let kills: u32 = std::env::var("GETVPN_KILLS").map_or(25, |kills| kills.parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let mut daemon = Daemon::start(directory.path());
    let address = daemon.address;
    let handed_out = Mutex::new(HandedOut::default());
    let (done, next_host) = (AtomicBool::new(false), AtomicU16::new(1000));
    let mut faithful = Member::register(address, 1);
    faithful.socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let socket = directory.path().join("ks.sock");

    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let host = next_host.fetch_add(1, Ordering::Relaxed);
                    if let Some((member, keys)) = Member::try_register(address, host, 1) {
                        handed_out.lock().unwrap().registration(&member, &keys);
                    }
                }
            });
        }
        scope.spawn(|| {
            let command = Command::Rekey { group: "finance".into(), kek: false };
            while !done.load(Ordering::Relaxed) {
                let _ = client::ask(&socket, &command, Duration::from_secs(1));
                sleep(Duration::from_millis(2));
            }
        });
        let follower = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if let Some(rekey) = faithful.next_rekey() {
                    handed_out.lock().unwrap().push(&rekey);
                }
            }
        });
        for _ in 0..kills {
            let mut octets = [0; 2];
            SystemRandom.fill(&mut octets);
            sleep(Duration::from_micros(u64::from(u16::from_be_bytes(octets)) * 2));
            daemon.kill_and_restart();
        }
        sleep(Duration::from_millis(300));
        done.store(true, Ordering::Relaxed);
        follower.join().unwrap();
    });
    let handed_out = handed_out.into_inner().unwrap();
    let (sids, pushes) = (handed_out.sids.len(), handed_out.pushes.len());
    assert!(
        sids > kills as usize / 2 && pushes > kills as usize / 10,
        "no load: {sids} sender IDs, {pushes} PUSHes"
    );
    println!(
        "{kills} kills: {sids} sender IDs, {} SPIs, {pushes} PUSHes, none of them twice",
        handed_out.teks.len()
    );
    let record = daemon.members().into_iter().find(|member| member.name == "127.1.0.1").unwrap();
    assert_eq!(record.registrations, 1, "it carried on without registering again");
}
