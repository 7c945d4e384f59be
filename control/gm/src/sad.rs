//! The security association database as the control thread keeps it: which SAs there are, since when,
//! for how long, and what of them the data plane shall use. Time is passed in; publishes nothing itself.

use getvpn_dataplane::{Group, Installed, LocalRule, PolicyState, Sa};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Where an SA's keys came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The configuration.
    Manual,
}

impl Source {
    /// For people.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Source::Manual => "configuration",
        }
    }
}

/// Which way the data plane may use an SA at present. An SA that may not be used any more is in the
/// database no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As far as its direction allows.
    Active,
}

impl State {
    /// For replies.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            State::Active => "active",
        }
    }
}

/// An SA with what the control thread knows of it.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The SA that workers use.
    pub sa: Arc<Sa>,
    /// Where it came from.
    pub source: Source,
    /// How it may be used.
    pub state: State,
    /// The sender ID of worker 0.
    pub sid: u32,
    /// Bits of the IV that name the sender.
    pub sid_bits: u8,
    /// When it was installed.
    pub installed: Instant,
    /// When its life ends.
    pub expires: Option<Instant>,
}

impl Entry {
    /// How long it lives on.
    #[must_use]
    pub fn lifetime_left(&self, now: Instant) -> Option<Duration> {
        Some(self.expires?.saturating_duration_since(now))
    }
}

/// The database. SAs stand in it by age, the newest last.
#[derive(Debug)]
pub struct Sad {
    local: Vec<LocalRule>,
    groups: Vec<Group>,
    entries: Vec<Entry>,
}

impl Sad {
    /// An empty one, for these rules and groups.
    #[must_use]
    pub fn new(local: Vec<LocalRule>, groups: Vec<Group>) -> Self {
        Self { local, groups, entries: Vec::new() }
    }

    /// Adds an SA as the newest.
    pub fn install(&mut self, entry: Entry) {
        self.entries.push(entry);
    }

    /// All SAs, the oldest first.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The SA of an SPI.
    #[must_use]
    pub fn find(&self, spi: u32) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.sa.spi() == spi)
    }

    /// Takes an SA out.
    pub fn remove(&mut self, spi: u32) -> Option<Entry> {
        let at = self.entries.iter().position(|entry| entry.sa.spi() == spi)?;
        Some(self.entries.remove(at))
    }

    /// Takes out all SAs whose life has ended.
    pub fn expire(&mut self, now: Instant) -> Vec<Entry> {
        self.entries.extract_if(.., |entry| entry.expires.is_some_and(|at| at <= now)).collect()
    }

    /// When the next life ends.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Instant> {
        self.entries.iter().filter_map(|entry| entry.expires).min()
    }

    /// The name of an SA's group.
    #[must_use]
    pub fn group_name(&self, sa: &Sa) -> &str {
        self.groups.get(sa.group()).map_or("", |group| &group.name)
    }

    /// How many SAs a group has.
    #[must_use]
    pub fn count(&self, group: usize) -> usize {
        self.entries.iter().filter(|entry| entry.sa.group() == group).count()
    }

    /// What the data plane shall do now.
    #[must_use]
    pub fn policy_state(&self) -> PolicyState {
        let sas = self.entries.iter().map(|entry| match entry.state {
            State::Active => Installed::from(Arc::clone(&entry.sa)),
        });
        PolicyState { local: self.local.clone(), groups: self.groups.clone(), sas: sas.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use getvpn_dataplane::transform::Transform;
    use getvpn_dataplane::{Direction, Enforce, Mode, ReplayPolicy, SaParams, WithoutSa};
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
        Entry {
            sa: Sa::new(&params, 1).unwrap(),
            source: Source::Manual,
            state: State::Active,
            sid: 0,
            sid_bits: 16,
            installed,
            expires: life.map(|s| installed + Duration::from_secs(s)),
        }
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
}
