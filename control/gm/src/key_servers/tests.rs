//! Groups against a key server in the same process, in virtual time: what the SAs that it gives become.

mod key_server;

use super::*;
use crate::config::{Control, KeyServer as Configured, Limits, Recovery};
use crate::sad::Source;
use getvpn_dataplane::{Enforce, Plausibility, PolicyState, ReplayPolicy, WithoutSa};
use getvpn_gdoi::crypto::{Secret, SeededRandom};
use getvpn_gdoi::group::EspTransform::{Aes128CbcHmacSha256, Aes128Gcm};
use getvpn_gdoi::ike::Credentials;
use getvpn_gdoi::member::sad::SaState;
use getvpn_gdoi::wire::Compat;
use key_server::{KeyServer, PSK, UNIX, tek};
use std::sync::Arc;

const WORKERS: usize = 2;

fn group(name: &str, id: u32, without_sa: WithoutSa, key_server: SocketAddr) -> GroupConfig {
    let registration = Registration {
        key_servers: vec![Configured { address: key_server, identity: None }],
        identity: None,
        credentials: Credentials::Psk(Secret::from(PSK)),
        suites: vec!["aes256-sha256-ecp256".parse().unwrap()],
        phase1_lifetime: Duration::from_secs(86_400),
        dpd_interval: None,
        compat: Compat::Standard,
        recovery: Recovery::default(),
        limits: Limits::default(),
        replay: ReplayPolicy::Sender { window: 64, max_senders: 16 },
        files: crate::reserve::Fingerprint::of(b""),
    };
    GroupConfig {
        name: name.into(),
        id: Some(id),
        without_sa,
        enforce: Enforce::Both,
        registration: Some(registration),
        sas: Vec::new(),
    }
}

struct Bench {
    key_server: KeyServer,
    members: KeyServers,
    sad: Sad,
    now: Instant,
    publishes: usize,
}

impl Bench {
    /// Groups 1, 2, ... that fail closed, with these SAs each, registered.
    fn new(teks: Vec<Vec<getvpn_gdoi::group::TekPolicy>>) -> Self {
        let mut bench = Self::unregistered(teks, WithoutSa::Drop);
        bench.run(Duration::ZERO);
        bench
    }

    fn unregistered(teks: Vec<Vec<getvpn_gdoi::group::TekPolicy>>, without_sa: WithoutSa) -> Self {
        let mut key_server = KeyServer::new("127.0.0.1:848");
        let names = ["finance", "production", "research"];
        let mut groups = Vec::new();
        for ((id, teks), name) in (1..).zip(teks).zip(names) {
            key_server.add_group(id, teks);
            groups.push(group(name, id, without_sa, key_server.address));
        }
        let mut sad = crate::manual::sad(Vec::new(), &groups);
        let now = Instant::now();
        let random = Box::new(SeededRandom::new(1));
        let control = Control {
            socket: "gm.sock".into(),
            permissions: getvpn_ctl::Permissions::default(),
            state: "gm.state".into(),
            listen: "127.0.0.2:848".parse().unwrap(),
            multicast_interface: None,
            invalid_spi_per_s: 100,
        };
        let members = KeyServers::new(&groups, WORKERS, &control, &mut sad, now, random);
        Self { key_server, members, sad, now, publishes: 0 }
    }

    /// Time passes; every message arrives at once.
    fn run(&mut self, time: Duration) {
        self.now += time;
        let from = "127.0.0.2:848".parse().unwrap();
        for _ in 0..50 {
            self.publishes += usize::from(self.members.tick(self.now, &mut self.sad));
            let sent: Vec<Transmit> = std::iter::from_fn(|| self.members.poll_transmit()).collect();
            if sent.is_empty() {
                return;
            }
            for transmit in sent {
                for answer in self.key_server.handle(self.now, from, &transmit.bytes) {
                    self.members.handle_datagram(self.now, UNIX, self.key_server.address, &answer);
                }
            }
        }
        panic!("they never come to rest");
    }

    fn rekey(&mut self, id: u32) {
        let push = self.key_server.push(id);
        self.members.handle_datagram(self.now, UNIX, self.key_server.address, &push);
        self.run(Duration::ZERO);
    }

    fn policy(&self) -> PolicyState {
        self.sad.policy_state()
    }

    /// SPI, whether it receives, whether it sends.
    fn in_force(&self) -> Vec<(u32, bool, bool)> {
        self.policy().sas.iter().map(|i| (i.sa.spi(), i.receives, i.sends)).collect()
    }

    fn sids(&self, spi: u32) -> Vec<u32> {
        self.sad.find(spi).unwrap().sa.senders().map(|sender| sender.sid()).collect()
    }

    fn unknown_spi(&mut self, spi: u32, source: &str, destination: &str) {
        let addresses = [source, destination].map(|address| address.parse().unwrap());
        self.members.unknown_spi(self.now, spi, 1, addresses);
        self.run(Duration::ZERO);
    }
}

#[test]
fn a_registration_of_many_sas_is_one_publish_and_each_worker_has_its_sender_id() {
    let teks = (1..=100).map(|n: u8| tek(0xfff + u32::from(n), Aes128Gcm, n, 3600)).collect();
    let mut bench = Bench::unregistered(vec![teks], WithoutSa::Drop);
    assert_eq!(bench.policy().groups.len(), 2, "nothing leaves in the clear before policy is known");
    bench.run(Duration::ZERO);
    assert_eq!((bench.in_force().len(), bench.publishes), (100, 1));
    assert!(bench.in_force().iter().all(|&(_, receives, sends)| receives && sends));
    assert_eq!(bench.sids(0x1000), [1, 2]);
    assert_eq!(bench.policy().groups.len(), 1);
    assert_eq!(bench.sad.protected(0).len(), 100);
    let entry = bench.sad.find(0x1000).unwrap();
    assert_eq!((entry.source, entry.state), (Source::KeyServer(bench.key_server.address), SaState::Active));
    assert_eq!(entry.sa.replay_policy(), ReplayPolicy::Sender { window: 64, max_senders: 16 });
}

#[test]
fn a_rekey_of_many_sas_is_one_publish_and_old_and_new_both_receive() {
    let generation = |first: u32| -> Vec<_> {
        (0..50).map(|n: u8| tek(first + u32::from(n), Aes128Gcm, 1 + n, 3600)).collect()
    };
    let mut bench = Bench::new(vec![generation(0x1000)]);
    let old: Vec<_> = bench.policy().sas;
    bench.publishes = 0;
    bench.key_server.groups.get_mut(&1).unwrap().policy.teks.extend(generation(0x2000));
    bench.rekey(1);
    assert_eq!(bench.publishes, 1);
    let state = bench.policy();
    assert_eq!(state.sas.len(), 100);
    assert!(state.sas.iter().all(|installed| installed.receives));
    for (before, after) in old.iter().zip(&state.sas) {
        assert!(Arc::ptr_eq(&before.sa, &after.sa) && after.sends, "the old ones go on");
    }
    assert!(state.sas[50..].iter().all(|installed| !installed.sends), "before the activation delay");
    bench.run(Duration::from_secs(15));
    assert_eq!(bench.publishes, 2);
    let sending: Vec<bool> = bench.in_force().iter().map(|&(_, _, sends)| sends).collect();
    assert_eq!((&sending[..50], &sending[50..]), (&[false; 50][..], &[true; 50][..]));
    assert!(bench.in_force().iter().all(|&(_, receives, _)| receives));
    bench.run(Duration::from_secs(30));
    assert_eq!((bench.in_force().len(), bench.publishes), (50, 3), "the old ones are gone");
}

#[test]
fn a_rekey_that_repeats_what_is_here_is_no_publish_and_refreshes_lifetimes() {
    let mut bench = Bench::new(vec![vec![tek(0x1000, Aes128Gcm, 1, 3600)]]);
    bench.publishes = 0;
    bench.now += Duration::from_secs(100);
    bench.key_server.groups.get_mut(&1).unwrap().policy.teks[0].lifetime = Duration::from_secs(60);
    bench.rekey(1);
    assert_eq!(bench.publishes, 0);
    assert_eq!(bench.sad.find(0x1000).unwrap().lifetime_left(bench.now), Some(Duration::from_secs(60)));
}

#[test]
fn sync_08_a_deleted_sa_comes_back_when_packets_come_and_goes_on_with_its_counters() {
    let mut bench = Bench::new(vec![vec![tek(0x1000, Aes128Gcm, 1, 3600)]]);
    let sa = Arc::clone(&bench.sad.find(0x1000).unwrap().sa);
    assert_eq!(sa.senders().next().unwrap().take(5).count(), 5);
    assert!(bench.members.delete_sa(bench.now, 0x1000, &mut bench.sad));
    assert_eq!(bench.in_force(), []);
    assert_eq!(bench.sad.protected(0).len(), 1, "its group protects what it is for");
    bench.now += Duration::from_secs(1);
    bench.unknown_spi(0x1000, "10.1.0.1", "10.1.0.2");
    assert_eq!(bench.key_server.asked, [0x1000]);
    assert_eq!(bench.in_force(), [(0x1000, true, true)]);
    let back = &bench.sad.find(0x1000).unwrap().sa;
    assert!(Arc::ptr_eq(&sa, back), "with its replay windows");
    assert_eq!(back.senders().next().unwrap().next_counter(), 6);
    let sync = bench.members.sync(bench.now);
    assert_eq!((sync.groups[0].recovery.recovered, &*sync.groups[0].asked[0].outcome), (1, "recovered"));
}

#[test]
fn used_up_sender_ids_are_exchanged_by_a_new_registration() {
    let mut bench = Bench::new(vec![vec![tek(0x1000, Aes128Gcm, 1, 3600)]]);
    let sa = Arc::clone(&bench.sad.find(0x1000).unwrap().sa);
    let mut senders = sa.senders();
    let (first, second) = (senders.next().unwrap(), senders.next().unwrap());
    second.take(3);
    first.take(usize::MAX);
    assert_eq!(first.remaining(), 0);
    bench.run(Duration::from_millis(10));
    assert_eq!(bench.sids(0x1000), [3, 2], "who has numbers left goes on with his own");
    assert_eq!((first.next_counter(), second.next_counter()), (1, 4));
    assert_eq!(bench.in_force(), [(0x1000, true, true)]);
    assert!(Arc::ptr_eq(&sa, &bench.sad.find(0x1000).unwrap().sa));
    bench.publishes = 0;
    bench.run(Duration::from_millis(10));
    assert_eq!(bench.publishes, 0, "that was all");
}

#[test]
fn without_a_counter_mode_sender_ids_are_random_and_there_is_no_window() {
    let mut bench = Bench::new(vec![vec![tek(0x1000, Aes128CbcHmacSha256, 1, 3600)]]);
    let sids = bench.sids(0x1000);
    assert!(sids[0] != sids[1] && sids.iter().all(|&sid| sid > 0xffff), "{sids:?}");
    let sa = Arc::clone(&bench.sad.find(0x1000).unwrap().sa);
    assert_eq!(sa.replay_policy(), ReplayPolicy::None);
    sa.senders().next().unwrap().take(usize::MAX);
    bench.run(Duration::from_millis(10));
    assert!(sa.senders().all(|sender| sender.remaining() > 0));
    assert_ne!(bench.sids(0x1000)[0], sids[0]);
}

#[test]
fn an_unknown_spi_is_asked_for_in_the_group_that_protects_such_packets() {
    let mut bench =
        Bench::new(vec![vec![tek(0x1000, Aes128Gcm, 1, 3600)], vec![tek(0x2000, Aes128Gcm, 2, 3600)]]);
    assert_eq!(bench.in_force().len(), 2);
    let asked = |bench: &Bench, group: usize| bench.members.sync(bench.now).groups[group].asking.len();
    bench.unknown_spi(0x3000, "10.2.0.1", "10.2.0.2");
    assert_eq!((asked(&bench, 0), asked(&bench, 1)), (0, 1));
    assert!(bench.members.asked(bench.now)[&0x3000].contains("production"));
    bench.unknown_spi(0x4000, "192.0.2.1", "192.0.2.2");
    assert_eq!((asked(&bench, 0), asked(&bench, 1)), (1, 2), "nobody's packets may be anybody's");
    // A rekey of one group is no concern of the other.
    bench.rekey(1);
    let counted =
        |bench: &Bench, group: usize, what: &str| bench.members.sync(bench.now).groups[group].counters[what];
    assert_eq!((counted(&bench, 0, "rekeys"), counted(&bench, 1, "rekeys_of_unknown_kek")), (1, 0));
}

#[test]
fn packets_do_not_wait_for_what_was_asked_for_in_vain() {
    let mut bench = Bench::new(vec![vec![tek(0x1000, Aes128Gcm, 1, 3600)]]);
    let fruitless = |bench: &Bench| bench.policy().spi_test.fruitless().to_vec();
    let published = bench.publishes;
    bench.unknown_spi(0x3000, "10.1.0.1", "10.1.0.2");
    assert_eq!((fruitless(&bench), bench.publishes), (vec![], published));
    for _ in 0..30 {
        bench.run(Duration::from_millis(100));
    }
    assert_eq!(bench.members.sync(bench.now).groups[0].asked[0].outcome, "unknown");
    assert_eq!(fruitless(&bench), [0x3000]);
    assert!(bench.publishes > published, "workers know it");
    // It is forgotten after a while, and waited for again.
    let published = bench.publishes;
    bench.run(Recovery::default().unknown_for);
    assert_eq!((fruitless(&bench), bench.publishes), (vec![], published + 1));
}

#[test]
fn an_spi_that_another_group_uses_is_refused() {
    let bench = Bench::new(vec![
        vec![tek(0x1000, Aes128Gcm, 1, 3600)],
        vec![tek(0x1000, Aes128Gcm, 2, 3600), tek(0x2000, Aes128Gcm, 3, 3600)],
    ]);
    let spis: Vec<u32> = bench.in_force().iter().map(|&(spi, ..)| spi).collect();
    assert_eq!(spis, [0x1000, 0x2000]);
    assert_eq!(bench.sad.find(0x1000).unwrap().sa.group(), 0);
    assert_eq!(bench.sad.protected(1).len(), 2, "what is refused does not go out in the clear");
}

#[test]
fn sync_07_when_all_sas_have_expired_the_group_still_protects_what_they_were_for() {
    let mut bench = Bench::new(vec![vec![tek(0x1000, Aes128Gcm, 1, 60)]]);
    bench.key_server.groups.get_mut(&1).unwrap().policy.teks.clear();
    bench.run(Duration::from_secs(60));
    assert_eq!(bench.in_force(), []);
    let groups = bench.policy().groups;
    assert_eq!((groups.len(), groups[0].selectors.len()), (1, 1));
}

#[test]
fn a_group_that_fails_open_lets_everything_through_until_policy_is_known() {
    let bench = Bench::unregistered(vec![vec![tek(0x1000, Aes128Gcm, 1, 60)]], WithoutSa::Bypass);
    let groups = bench.policy().groups;
    assert_eq!((groups.len(), groups[0].selectors.len()), (1, 0));
}

#[test]
fn a_stop_tells_the_key_server() {
    let mut bench = Bench::new(vec![vec![tek(0x1000, Aes128Gcm, 1, 60)]]);
    bench.members.stop(bench.now);
    assert!(bench.members.poll_transmit().is_some());
    assert!(bench.members.poll_transmit().is_none());
}

#[test]
fn the_mark_of_an_spi_is_the_same_at_the_key_server_and_in_the_data_plane() {
    let key = getvpn_gdoi::group::SpiKey::draw(&mut SeededRandom::new(1));
    let worker = SpiKey::new(&key.octets());
    for number in 0..=u16::MAX {
        assert_eq!(worker.spi(number), key.spi(number).map(|spi| spi.0));
    }
}

#[test]
fn workers_tell_spis_by_the_marks_once_every_group_has_the_key_of_its_own() {
    let mut bench = Bench::unregistered(
        vec![vec![tek(0x1000, Aes128Gcm, 1, 3600)], vec![tek(0x2000, Aes128Gcm, 2, 3600)]],
        WithoutSa::Drop,
    );
    let keys = [1, 2].map(|n| getvpn_gdoi::group::SpiKey::draw(&mut SeededRandom::new(n)));
    let of = |bench: &Bench, spi: u32| bench.policy().spi_test.of(spi);
    let marked = |key: &getvpn_gdoi::group::SpiKey| key.spi(77).unwrap().0;
    assert_eq!(of(&bench, marked(&keys[0])), Plausibility::Unverifiable);
    bench.key_server.groups.get_mut(&1).unwrap().policy.spi_key = Some(keys[0].clone());
    bench.run(Duration::ZERO);
    assert_eq!(of(&bench, marked(&keys[0])), Plausibility::Plausible);
    assert_eq!(of(&bench, 0x1234_5678), Plausibility::Unverifiable, "the second group has no key");
    bench.key_server.groups.get_mut(&2).unwrap().policy.spi_key = Some(keys[1].clone());
    bench.members.resync(bench.now, "production");
    bench.run(Duration::ZERO);
    assert_eq!(keys.each_ref().map(|key| of(&bench, marked(key))), [Plausibility::Plausible; 2]);
    assert_eq!(of(&bench, 0x1234_5678), Plausibility::Implausible);
}
