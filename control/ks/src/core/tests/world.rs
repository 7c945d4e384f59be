//! The world of the tests: one authority, a store, members, and a record of everything that was handed
//! out.

pub use super::settings::*;
use crate::core::record::{Key, Record};
use crate::core::*;
use crate::store::{Fault, FileStore, MemoryStore, Store};
use getvpn_gdoi::crypto::{KeyKind, Random, SeededRandom};
use getvpn_gdoi::group::*;
use getvpn_gdoi::server::PullId;
use getvpn_gdoi::wire::CookiePair;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A member that does what it is told.
#[derive(Default)]
pub struct FakeMember {
    pub registered: bool,
    /// Its Rekey SAs: the last SEQ of each.
    pub keks: HashMap<KekSpi, u32>,
    /// Its Data-Security SAs: when they end, when they may be sent with, and whether they may be at all.
    pub teks: HashMap<EspSpi, FakeSa>,
    pub sids: Vec<u32>,
    pub refused: Vec<Refusal>,
    /// The network loses multicast on its way there.
    pub without_multicast: bool,
    pub pushes: usize,
    /// Told to register again.
    pub told_to_register: bool,
    /// Datagrams to it are lost.
    pub deaf: bool,
    /// It acknowledges nothing.
    pub mute: bool,
}

pub struct FakeSa {
    pub ends: Instant,
    pub sends_from: Instant,
    pub sends: bool,
    pub cipher: Vec<u8>,
}

impl FakeMember {
    fn learn(&mut self, now: Instant, policy: &GroupPolicy, keys: &GroupKeys, first: bool) {
        for tek in &policy.teks {
            let cipher = &keys.teks.iter().find(|(spi, _)| *spi == tek.spi).expect("keyed").1.cipher;
            let delay = if first { Duration::ZERO } else { policy.gap.activation_delay };
            let sends = tek.direction == Direction::Symmetric;
            let sa = self.teks.entry(tek.spi).or_insert_with(|| FakeSa {
                ends: now,
                sends_from: now + delay,
                sends,
                cipher: cipher.to_vec(),
            });
            sa.ends = now + tek.lifetime;
        }
    }

    /// Whether it has something to send with.
    pub fn can_send(&self, now: Instant) -> bool {
        self.teks.values().any(|sa| sa.sends && sa.sends_from <= now && sa.ends > now)
    }

    pub fn live(&self, now: Instant) -> HashSet<EspSpi> {
        self.teks.iter().filter(|(_, sa)| sa.ends > now).map(|(spi, _)| *spi).collect()
    }
}

struct FileBeside {
    directory: tempfile::TempDir,
    store: Option<FileStore>,
}

pub struct World {
    pub authority: Authority,
    pub settings: Settings,
    pub store: MemoryStore,
    /// Beside it, for some tests, one in a file.
    file: Option<FileBeside>,
    pub random: SeededRandom,
    pub now: Instant,
    pub unix: Duration,
    pub boot: u8,
    pub up: Duration,
    /// How far the wall clock was put forward while the machine started anew. Nobody can tell that from time
    /// that has passed, so the server ends lives sooner than members do.
    pub gained: Duration,
    pub members: BTreeMap<u8, FakeMember>,
    pub events: Vec<What>,
    /// The group of the last one.
    pub last_group: String,
    pub sent: usize,
    /// Signing keys that were asked for and not made yet.
    pub keys_wanted: Vec<(GroupId, KeyKind)>,
    /// Whether they are made at once.
    pub make_keys: bool,
    pulls: HashMap<PullRef, (u8, GroupPolicy)>,
    next_pull: u32,
    // What was ever handed out.
    spis: HashMap<EspSpi, Vec<u8>>,
    sequences: HashMap<(KekSpi, u32), Arc<PushMessage>>,
    sids: HashSet<(EspSpi, u32)>,
}

pub fn peer(member: u8) -> Peer {
    let address = SocketAddr::from(([10, 0, 1, member], 848));
    let proof = Proof::PreShared { identity: address.ip().to_string() };
    Peer { address, local: "10.0.0.1:848".parse().unwrap(), proof, is_getvpn: true }
}

impl World {
    pub fn new(group: GroupSettings) -> Self {
        Self::seeded(group, 1)
    }

    pub fn seeded(group: GroupSettings, seed: u64) -> Self {
        let settings =
            Settings { access: access(&[group.id]), groups: vec![group], limits: Limits::default() };
        let mut random = SeededRandom::new(seed);
        let (now, unix, up) = (Instant::now(), seconds(1_700_000_000), seconds(1000));
        let first = Now { instant: now, unix, uptime: Some(Uptime { boot: [1; 16], elapsed: up }) };
        let authority = Authority::new(settings.clone(), Vec::new(), first, &mut random).unwrap();
        let mut world = Self {
            gained: Duration::ZERO,
            authority,
            settings,
            store: MemoryStore::default(),
            file: None,
            random,
            now,
            unix,
            boot: 1,
            up,
            members: BTreeMap::new(),
            events: Vec::new(),
            last_group: String::new(),
            sent: 0,
            keys_wanted: Vec::new(),
            make_keys: true,
            pulls: HashMap::new(),
            next_pull: 0,
            spis: HashMap::new(),
            sequences: HashMap::new(),
            sids: HashSet::new(),
        };
        world.settle();
        world
    }

    pub fn now(&self) -> Now {
        let uptime = Some(Uptime { boot: [self.boot; 16], elapsed: self.up });
        Now { instant: self.now, unix: self.unix, uptime }
    }

    pub fn group(&self) -> &Group {
        self.authority.group(GROUP).unwrap()
    }

    /// Commits and carries out, until there is nothing left.
    pub fn settle(&mut self) {
        loop {
            let batch = self.authority.take_batch(self.now());
            if batch.is_empty() {
                if !self.make_keys || self.keys_wanted.is_empty() {
                    break;
                }
                let (group, kind) = self.keys_wanted.remove(0);
                let key = FreshKey::generate(kind, &mut self.random).unwrap();
                let now = self.now();
                self.authority.signing_key(now, group, key, &mut self.random);
                continue;
            }
            self.commit(&batch.changes);
            for action in batch.actions {
                self.carry_out(action);
            }
        }
    }

    fn commit(&mut self, changes: &[Change]) {
        self.store.commit(changes).unwrap();
        if let Some(store) = self.file.as_mut().and_then(|beside| beside.store.as_mut()) {
            store.commit(changes).unwrap();
        }
    }

    /// From now on everything is also written to a file, and read from it after a restart.
    pub fn write_to_file(&mut self) {
        let directory = tempfile::tempdir().unwrap();
        fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let mut store = FileStore::open(directory.path()).unwrap();
        let all = self.store.load().unwrap().into_iter();
        let all: Vec<_> = all.map(|(key, record)| Change { key, record: Some(record) }).collect();
        store.commit(&all).unwrap();
        self.file = Some(FileBeside { directory, store: Some(store) });
    }

    fn carry_out(&mut self, action: Action) {
        match action {
            Action::Offer { pull, policy, .. } => {
                let (member, _) = self.pulls[&pull];
                self.pulls.insert(pull, (member, policy));
            }
            Action::Keys { pull, policy, keys, sequence } => self.keyed(pull, &policy, &keys, sequence),
            Action::Refuse { pull, why } => {
                let (member, _) = self.pulls.remove(&pull).unwrap();
                self.members.entry(member).or_default().refused.push(why);
            }
            Action::Send { to, push, .. } => {
                self.sent += 1;
                self.check_push(&push);
                let everybody = to == MULTICAST.parse().unwrap();
                let hears = |(&m, member): (&u8, &FakeMember)| {
                    let reached = (everybody && !member.without_multicast) || peer(m).address == to;
                    reached.then_some(m)
                };
                let hears: Vec<_> = self.members.iter().filter_map(hears).collect();
                hears.into_iter().for_each(|member| self.deliver(member, &push));
            }
            Action::Disconnect { .. } => {}
            Action::MakeSigningKey { group, kind } => self.keys_wanted.push((group, kind)),
            Action::Log(event) => {
                self.last_group = event.group.to_string();
                self.events.push(event.what);
            }
        }
    }

    fn keyed(&mut self, pull: PullRef, policy: &GroupPolicy, keys: &GroupKeys, sequence: u32) {
        let (member, offered) = self.pulls.remove(&pull).unwrap();
        assert_eq!(*policy, offered, "message 4 is about what message 2 offered");
        let spis = |policy: &GroupPolicy| policy.teks.iter().map(|tek| tek.spi).collect::<Vec<_>>();
        let keyed: Vec<_> = keys.teks.iter().map(|(spi, _)| *spi).collect();
        assert_eq!(keyed, spis(&offered), "message 4 keys what message 2 offered");
        self.check_keys(keys);
        let kek = offered.kek.as_ref().unwrap().spi;
        assert_eq!(keys.kek.as_ref().unwrap().0, kek);
        if let Some(ids) = &keys.sender_ids {
            for tek in offered.teks.iter().filter(|tek| tek.direction == Direction::Symmetric) {
                for &sid in &ids.values {
                    assert!(sid < 1 << ids.bits);
                    assert!(self.sids.insert((tek.spi, sid)), "SID {sid} twice under {}", tek.spi);
                }
            }
        }
        let record = self.members.entry(member).or_default();
        record.registered = true;
        record.told_to_register = false;
        record.keks = HashMap::from([(kek, sequence)]);
        record.sids = keys.sender_ids.as_ref().map_or(Vec::new(), |ids| ids.values.clone());
        let first = !record.can_send(self.now);
        record.learn(self.now, &offered, keys, first);
        self.check_lives(member);
    }

    /// No SPI, and no SEQ under a Rekey SA, stands for two things.
    fn check_keys(&mut self, keys: &GroupKeys) {
        for (spi, keys) in &keys.teks {
            assert!(spi.0 > 255);
            let known = self.spis.entry(*spi).or_insert_with(|| keys.cipher.to_vec());
            assert!(keys.cipher == known.as_slice(), "{spi} twice");
        }
    }

    fn check_push(&mut self, push: &Arc<PushMessage>) {
        let rekey = &push.rekey;
        self.check_keys(&rekey.keys);
        assert_eq!(rekey.kek, push.kek.spi);
        assert!(rekey.sequence > 0);
        let known = self.sequences.entry((rekey.kek, rekey.sequence)).or_insert_with(|| Arc::clone(push));
        assert!(known.rekey == *rekey, "SEQ {} twice under {}", rekey.sequence, rekey.kek);
    }

    fn deliver(&mut self, id: u8, push: &PushMessage) {
        let Some(member) = self.members.get_mut(&id) else { return };
        let rekey = &push.rekey;
        let Some(last) = member.keks.get_mut(&rekey.kek) else { return };
        if member.deaf || rekey.sequence <= *last {
            return;
        }
        *last = rekey.sequence;
        member.pushes += 1;
        for deletion in &rekey.deletions {
            match deletion {
                Deletion::Tek(spi) => drop(member.teks.remove(spi)),
                Deletion::AllTeks => member.teks.clear(),
                Deletion::Kek => {
                    member.keks.remove(&rekey.kek);
                    member.told_to_register = true;
                }
            }
        }
        member.learn(self.now, &rekey.policy, &rekey.keys, false);
        if let Some(kek) = &rekey.policy.kek {
            member.keks.entry(kek.spi).or_insert(0);
        }
        let mute = member.mute;
        self.check_lives(id);
        if !mute {
            let now = self.now();
            let (kek, sequence) = (rekey.kek, rekey.sequence);
            self.authority.acknowledged(now, peer(id).address, kek, sequence, &mut self.random);
        }
    }

    /// No member keeps an SA for longer than the key server does.
    fn check_lives(&self, member: u8) {
        let time = |instant| self.authority.time(instant);
        for (spi, sa) in &self.members[&member].teks {
            let Some(tek) = self.group().teks().find(|tek| tek.spi == *spi) else { continue };
            let end = tek.born.after(tek.lifetime + self.gained);
            assert!(time(sa.ends) <= end, "{spi} outlives itself");
            assert_eq!(tek.keys.cipher, sa.cipher.as_slice());
        }
    }

    /// Lets time go by, doing what is due when it is.
    pub fn pass(&mut self, duration: Duration) {
        self.settle();
        let end = self.now + duration;
        while let Some(due) = self.authority.poll_timeout().filter(|due| *due <= end) {
            self.advance(due.max(self.now));
            let now = self.now();
            self.authority.handle_timeout(now, &mut self.random);
            self.settle();
            // What happens within the same instant is done; the next is later.
            if self.authority.poll_timeout().is_some_and(|next| next <= self.now) {
                self.advance(self.now + Duration::from_millis(1));
            }
        }
        self.advance(end);
    }

    fn advance(&mut self, to: Instant) {
        let by = to.saturating_duration_since(self.now);
        self.now += by;
        self.unix += by;
        self.up += by;
    }

    pub fn request(&mut self, member: u8) -> PullRef {
        let phase1 = CookiePair::from([member; 16]);
        let pull = PullRef { shard: 0, pull: PullId { phase1, message_id: self.next_pull } };
        self.next_pull += 1;
        self.pulls.insert(pull, (member, GroupPolicy::default()));
        let now = self.now();
        self.authority.pull_requested(now, pull, peer(member), GROUP);
        self.settle();
        pull
    }

    pub fn confirm(&mut self, pull: PullRef, sids: Option<u16>) {
        let now = self.now();
        let from = self.pulls.get(&pull).map_or(peer(0).address, |(member, _)| peer(*member).address);
        self.authority.pull_confirmed(now, pull, from, sids, &mut self.random);
        self.settle();
    }

    pub fn register(&mut self, member: u8) {
        let pull = self.request(member);
        if self.pulls.contains_key(&pull) {
            self.confirm(pull, None);
        }
    }

    pub fn ask(&mut self, member: u8, spi: EspSpi) -> AskOutcome {
        let now = self.now();
        let outcome = self.authority.invalid_spi(now, &peer(member), spi, &mut self.random);
        self.settle();
        outcome
    }

    pub fn newest(&self) -> EspSpi {
        self.group().teks().filter(|tek| !tek.replaced).last().unwrap().spi
    }

    pub fn member_id(&self, member: u8) -> MemberId {
        let address = peer(member).address;
        self.group().members().at(address).unwrap()
    }

    pub fn known(&self, member: u8) -> &Member {
        self.group().members().get(self.member_id(member)).unwrap()
    }

    pub fn count(&self, count: Count) -> u64 {
        self.authority.counters().get(count)
    }

    /// The server dies: what it has not committed is lost, or committed but never sent. Time goes by, and
    /// another one starts from the store.
    pub fn crash(&mut self, commit: Fault, away: Duration) {
        let batch = self.authority.take_batch(self.now());
        if commit != Fault::Refused {
            self.commit(&batch.changes);
        }
        drop(batch.actions);
        self.advance(self.now + away);
        self.restart();
    }

    pub fn restart(&mut self) {
        self.pulls.clear();
        self.keys_wanted.clear();
        let mut stored = self.store.load().unwrap();
        if let Some(beside) = &mut self.file {
            // Only one can have it open.
            beside.store = None;
            let mut store = FileStore::open(beside.directory.path()).unwrap();
            let octets = |all: &[(Key, Record)]| -> Vec<_> {
                all.iter().map(|(key, record)| (*key, record.encode())).collect()
            };
            let from_file = store.load().unwrap();
            assert!(octets(&from_file) == octets(&stored), "both stores hold the same");
            (stored, beside.store) = (from_file, Some(store));
        }
        let now = self.now();
        self.authority = Authority::new(self.settings.clone(), stored, now, &mut self.random).unwrap();
        self.settle();
    }

    pub fn draw(&mut self, below: u32) -> u32 {
        let mut octets = [0; 4];
        self.random.fill(&mut octets);
        u32::from_le_bytes(octets) % below
    }
}
