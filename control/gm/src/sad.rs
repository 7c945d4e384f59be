//! The security association database as the owner of the data plane keeps it: the manual SAs and those
//! of all key servers, since when, for how long, and what of them the data plane shall use. Control
//! thread; time is passed in; publishes nothing itself.

use crate::keys::Keys;
use crate::reserve::Fingerprint;
use getvpn_dataplane::{
    Enforce, Group, Installed, LocalRule, PolicyState, Prefix, Sa, Selector, SpiTest, WithoutSa,
};
use getvpn_gdoi::member::sad::SaState;
use hashbrown::HashSet;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where an SA's keys came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration.
    Manual,
    /// This key server.
    KeyServer(SocketAddr),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Manual => f.write_str("configuration"),
            Source::KeyServer(address) => address.fmt(f),
        }
    }
}

/// An SA with what the control thread knows of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The SA that workers use.
    pub sa: Arc<Sa>,
    /// Its keys once more.
    pub keys: Keys,
    /// Where it came from.
    pub source: Source,
    /// How it stands.
    pub state: SaState,
    /// Whether packets from the WAN may use it now.
    pub receives: bool,
    /// Whether packets to the WAN may use it now.
    pub sends: bool,
    /// Bits of the IV that name the sender.
    pub sid_bits: u8,
    /// When it was installed.
    pub installed: Instant,
    /// When its life ends.
    pub expires: Option<Instant>,
    /// Only of an SA that a key server gave.
    pub served: Option<Served>,
}

/// What is remembered of an SA that a key server gave, to know it again.
#[derive(Clone, Debug, PartialEq)]
pub struct Served {
    /// Its revision in the group's own SAD.
    pub revision: u64,
    /// What tells its keys from others.
    pub keys: Fingerprint,
    /// The sender IDs that its workers were given last, one each; fewer if there were not enough.
    pub ids: Vec<u32>,
    /// Whether the end of its sender IDs was told.
    pub exhausted: bool,
}

impl Entry {
    /// An SA of the configuration.
    #[must_use]
    pub fn manual(sa: Arc<Sa>, keys: Keys, sid_bits: u8, now: Instant, lifetime: Option<Duration>) -> Self {
        let Installed { sa, receives, sends } = Installed::from(sa);
        Self {
            sa,
            keys,
            source: Source::Manual,
            state: SaState::Active,
            receives,
            sends,
            sid_bits,
            installed: now,
            expires: lifetime.map(|life| now + life),
            served: None,
        }
    }

    /// How long it lives on.
    #[must_use]
    pub fn lifetime_left(&self, now: Instant) -> Option<Duration> {
        Some(self.expires?.saturating_duration_since(now))
    }
}

/// What a group protects, and whether that is known.
#[derive(Debug)]
struct Protected {
    group: Group,
    /// What its manual SAs are for.
    manual: Vec<Selector>,
    /// Its key server has not said yet what it protects.
    unknown: bool,
}

/// The database. SAs stand in it by age within a group, the newest last.
#[derive(Debug)]
pub struct Sad {
    local: Vec<LocalRule>,
    groups: Vec<Protected>,
    entries: Vec<Entry>,
    /// The SPIs of `entries`, to answer for a flood of unknown ones.
    spis: HashSet<u32>,
    /// Tells unknown SPIs that may become SAs from others.
    spi_test: SpiTest,
}

impl Sad {
    /// An empty one, for these rules and groups.
    #[must_use]
    pub fn new(local: Vec<LocalRule>, groups: Vec<Group>) -> Self {
        let groups = groups.into_iter().map(|group| Protected {
            manual: group.selectors.clone(),
            group,
            unknown: false,
        });
        let (entries, spis, spi_test) = (Vec::new(), HashSet::new(), SpiTest::default());
        Self { local, groups: groups.collect(), entries, spis, spi_test }
    }

    /// What tells unknown SPIs that may become SAs from others.
    #[must_use]
    pub fn spi_test(&self) -> &SpiTest {
        &self.spi_test
    }

    /// Replaces that test.
    pub fn set_spi_test(&mut self, test: SpiTest) {
        self.spi_test = test;
    }

    /// Other rules before the groups'.
    pub fn set_local(&mut self, local: Vec<LocalRule>) {
        self.local = local;
    }

    /// How a group treats its packets.
    pub fn set_treatment(&mut self, group: usize, without_sa: WithoutSa, enforce: Enforce) {
        if let Some(Protected { group, .. }) = self.groups.get_mut(group) {
            (group.without_sa, group.enforce) = (without_sa, enforce);
        }
    }

    /// What a group's manual SAs are for, where others took their place. What its key server protects stays.
    pub fn set_manual(&mut self, group: usize, selectors: Vec<Selector>) {
        let Some(Protected { group, manual, .. }) = self.groups.get_mut(group) else { return };
        let before = std::mem::replace(manual, selectors);
        group.selectors.retain(|selector| !before.contains(selector) && !manual.contains(selector));
        group.selectors.splice(0..0, manual.iter().copied());
    }

    /// Takes out the SAs that a group had from key servers, and whose life has ended.
    pub fn expire_served(&mut self, group: usize, now: Instant) -> bool {
        let over = |entry: &mut Entry| {
            entry.served.is_some() && entry.sa.group() == group && entry.expires.is_some_and(|at| at <= now)
        };
        let expired: Vec<Entry> = self.entries.extract_if(.., over).collect();
        for entry in &expired {
            self.spis.remove(&entry.sa.spi());
        }
        !expired.is_empty()
    }

    /// A group's key server has not said yet what it protects.
    pub fn set_unknown(&mut self, group: usize) {
        if let Some(group) = self.groups.get_mut(group) {
            group.unknown = true;
        }
    }

    /// A group's key server says what it protects, besides what the manual SAs are for.
    pub fn set_protected(&mut self, group: usize, selectors: &[Selector]) {
        let Some(Protected { group, manual, unknown }) = self.groups.get_mut(group) else { return };
        group.selectors.clone_from(manual);
        let known: HashSet<Selector> = manual.iter().copied().collect();
        group.selectors.extend(selectors.iter().filter(|selector| !known.contains(*selector)));
        *unknown = false;
    }

    /// Adds an SA as the newest.
    pub fn install(&mut self, entry: Entry) {
        self.spis.insert(entry.sa.spi());
        self.entries.push(entry);
    }

    /// Makes the SAs that a group has from key servers these, the oldest first; returns the ones before.
    pub fn replace_served(&mut self, group: usize, entries: Vec<Entry>) -> Vec<Entry> {
        let before = self.take_served(group);
        entries.into_iter().for_each(|entry| self.install(entry));
        before
    }

    /// Takes out the SAs that a group has from key servers.
    pub fn take_served(&mut self, group: usize) -> Vec<Entry> {
        let is_served = |entry: &mut Entry| entry.served.is_some() && entry.sa.group() == group;
        let taken: Vec<Entry> = self.entries.extract_if(.., is_served).collect();
        for entry in &taken {
            self.spis.remove(&entry.sa.spi());
        }
        taken
    }

    /// All SAs, the oldest of each source and group first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All SAs, to change how they stand.
    pub fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// The SA of an SPI.
    #[must_use]
    pub fn find(&self, spi: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.sa.spi() == spi)
    }

    /// Whether an SPI has an SA.
    #[must_use]
    pub fn contains(&self, spi: u32) -> bool {
        self.spis.contains(&spi)
    }

    /// Takes an SA out.
    pub fn remove(&mut self, spi: u32) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.sa.spi() == spi)?;
        self.spis.remove(&spi);
        Some(self.entries.remove(at))
    }

    /// Takes out all manual SAs whose life has ended. The lives of the others are their group's business.
    pub fn expire(&mut self, now: Instant) -> Vec<Entry> {
        let over = |entry: &mut Entry| entry.served.is_none() && entry.expires.is_some_and(|at| at <= now);
        let expired: Vec<Entry> = self.entries.extract_if(.., over).collect();
        for entry in &expired {
            self.spis.remove(&entry.sa.spi());
        }
        expired
    }

    /// When the next life of a manual SA ends.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.entries.iter().filter(|entry| entry.served.is_none()).filter_map(|entry| entry.expires).min()
    }

    /// The name of an SA's group.
    #[must_use]
    pub fn group_name(&self, sa: &Sa) -> &str {
        self.name_of(sa.group())
    }

    /// The name of the group at a place.
    #[must_use]
    pub fn name_of(&self, group: usize) -> &str {
        self.groups.get(group).map_or("", |known| &known.group.name)
    }

    /// How many SAs a group has.
    #[must_use]
    pub fn count(&self, group: usize) -> usize {
        self.entries.iter().filter(|entry| entry.sa.group() == group).count()
    }

    /// What a group protects.
    #[must_use]
    pub fn protected(&self, group: usize) -> &[Selector] {
        self.groups.get(group).map_or(&[], |known| &known.group.selectors)
    }

    /// What the data plane shall do now.
    #[must_use]
    pub fn policy_state(&self) -> PolicyState {
        let sas = self.entries.iter().map(|entry| Installed {
            sa: Arc::clone(&entry.sa),
            receives: entry.receives,
            sends: entry.sends,
        });
        let mut groups: Vec<Group> = self.groups.iter().map(|known| known.group.clone()).collect();
        groups.extend(self.until_policy_is_known());
        PolicyState { local: self.local.clone(), groups, sas: sas.collect(), spi_test: self.spi_test.clone() }
    }

    /// While a group that fails closed does not know what it protects, that may be anything: behind all
    /// that is known, nothing leaves in the clear.
    fn until_policy_is_known(&self) -> Option<Group> {
        let unknown = self.groups.iter().filter(|known| known.unknown).map(|known| &known.group);
        let closed = unknown
            .filter(|group| group.without_sa == WithoutSa::Drop && group.enforce != Enforce::ReceiveOnly);
        let strictest = closed.min_by_key(|group| group.enforce != Enforce::Both)?;
        let everything =
            |address: IpAddr| Prefix::truncated(address, 0).map(|all| Selector::between(all, all));
        let families = [Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()];
        Some(Group {
            name: strictest.name.clone(),
            without_sa: WithoutSa::Drop,
            enforce: strictest.enforce,
            selectors: families.into_iter().filter_map(everything).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use getvpn_dataplane::transform::Transform;
    use getvpn_dataplane::{Direction, Mode, ReplayPolicy, SaParams};
    use zeroize::Zeroizing;

    fn entry(spi: u32, installed: Instant, life: Option<u64>) -> Entry {
        let params = SaParams {
            spi,
            group: 0,
            transform: Transform::Aes128Gcm,
            key: Zeroizing::new(vec![1; 20]),
            integrity_key: Zeroizing::default(),
            mode: Mode::Tunnel,
            direction: Direction::In,
            replay: ReplayPolicy::None,
            sid: 0,
            sid_bits: 16,
            first_counter: 1,
            reserved: 1,
            selectors: Vec::new(),
        };
        let sa = Sa::new(&params, 1).unwrap();
        Entry::manual(sa, Keys::of(&params), 16, installed, life.map(Duration::from_secs))
    }

    fn sad() -> Sad {
        let group = Group {
            name: "finance".into(),
            without_sa: WithoutSa::Drop,
            enforce: Enforce::Both,
            selectors: Vec::new(),
        };
        Sad::new(Vec::new(), vec![group])
    }

    fn spis(state: &PolicyState) -> Vec<u32> {
        state.sas.iter().map(|installed| installed.sa.spi()).collect()
    }

    #[test]
    fn an_expired_sa_leaves_and_the_others_keep_their_order() {
        let start = Instant::now();
        let mut sad = sad();
        for (spi, life) in [(300, None), (301, Some(10)), (302, Some(5)), (303, Some(20))] {
            sad.install(entry(spi, start, life));
        }
        assert_eq!(sad.next_expiry(), Some(start + Duration::from_secs(5)));
        assert!(sad.expire(start + Duration::from_millis(4_999)).is_empty());
        let gone = sad.expire(start + Duration::from_secs(10));
        assert_eq!(gone.iter().map(|e| e.sa.spi()).collect::<Vec<_>>(), [301, 302]);
        assert_eq!(spis(&sad.policy_state()), [300, 303]);
        assert_eq!(sad.next_expiry(), Some(start + Duration::from_secs(20)));
        assert_eq!(sad.find(303).unwrap().lifetime_left(start), Some(Duration::from_secs(20)));
        assert_eq!(sad.find(300).unwrap().lifetime_left(start), None);
    }

    #[test]
    fn a_deleted_sa_leaves_and_its_group_stays_in_force() {
        let mut sad = sad();
        sad.install(entry(300, Instant::now(), None));
        assert_eq!((sad.count(0), sad.group_name(&sad.find(300).unwrap().sa)), (1, "finance"));
        assert!(sad.remove(299).is_none());
        assert_eq!(sad.remove(300).unwrap().sa.spi(), 300);
        assert!(sad.find(300).is_none());
        let state = sad.policy_state();
        assert_eq!((state.groups.len(), state.sas.len()), (1, 0));
    }

    fn group(name: &str, without_sa: WithoutSa, enforce: Enforce) -> Group {
        Group { name: name.into(), without_sa, enforce, selectors: Vec::new() }
    }

    #[test]
    fn until_a_group_that_fails_closed_knows_its_policy_nothing_leaves_in_the_clear() {
        let any = |address: &str| {
            let all = Prefix::new(address.parse().unwrap(), 0).unwrap();
            Selector::between(all, all)
        };
        let closed = group("closed", WithoutSa::Drop, Enforce::InboundOptional);
        let open = group("open", WithoutSa::Bypass, Enforce::Both);
        let early = group("early", WithoutSa::Drop, Enforce::ReceiveOnly);
        let mut sad = Sad::new(Vec::new(), vec![closed, open, early]);
        assert_eq!(sad.policy_state().groups.len(), 3);
        sad.set_unknown(1);
        sad.set_unknown(2);
        assert_eq!(sad.policy_state().groups.len(), 3, "these send in the clear");
        sad.set_unknown(0);
        let groups = sad.policy_state().groups;
        assert_eq!(
            (groups.len(), groups[3].without_sa, groups[3].enforce),
            (4, WithoutSa::Drop, Enforce::InboundOptional)
        );
        assert_eq!(groups[3].selectors, [any("0.0.0.0"), any("::")], "behind all that is known");
        let prefix = Prefix::new("10.0.0.0".parse().unwrap(), 8).unwrap();
        let selector = Selector::between(prefix, prefix);
        sad.set_protected(0, &[selector]);
        let groups = sad.policy_state().groups;
        assert_eq!((groups.len(), &groups[0].selectors[..]), (3, &[selector][..]));
    }
}
