//! The groups that get their SAs from key servers: datagrams, timers and unknown SPIs go to the group that
//! they are for, and what its SAs are becomes what workers use. Control thread; no I/O of its own: time,
//! randomness and datagrams are passed in.

mod install;
mod replies;
mod settings;
mod tell;

#[cfg(test)]
mod tests;

pub use replies::{GroupFigures, Standing};

use crate::config::{Control, GroupConfig, Registration};
use crate::sad::{Entry, Sad};
use getvpn_dataplane::{Prefix, Selector, SpiKey, SpiTest};
use getvpn_gdoi::crypto::Random;
use getvpn_gdoi::group::EspSpi;
use getvpn_gdoi::member::budget::{Rate, SharedBudget};
use getvpn_gdoi::member::{GroupMember, MemberEvent, Transmit};
use getvpn_gdoi::wire::{ExchangeType, split_datagram};
use hashbrown::HashMap;
use install::{Made, Maker};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use tracing::{debug, info, warn};

/// Groups that an unknown SPI is asked for in, where no group's policy says whose it is.
const ASKED_GROUPS: usize = 8;
/// SAs of a group that were taken out before their end and are kept, so that they can go on if they come
/// back.
const DEPARTED: usize = 64;
/// How often senders are looked at for their end.
const SENDERS_EVERY: Duration = Duration::from_millis(10);
/// How often workers are told which SPIs are not worth waiting for.
const FRUITLESS_EVERY: Duration = Duration::from_millis(100);
/// Where there is no way to a key server, how often it is looked for.
const ROUTE_EVERY: Duration = Duration::from_secs(1);

/// All groups that have key servers.
pub struct KeyServers {
    groups: Vec<Group>,
    listen: SocketAddr,
    budget: SharedBudget,
    random: Box<dyn Random + Send>,
    senders_at: Instant,
    fruitless_at: Instant,
}

/// One of them.
struct Group {
    name: String,
    id: u32,
    registration: Registration,
    /// Whether no other group has a key server in common with it.
    alone: bool,
    maker: Maker,
    /// Absent until this machine knows by which address it reaches its key server.
    member: Option<GroupMember>,
    /// Without a member: when a way is looked for again.
    retry_at: Instant,
    no_route_told: bool,
    /// What it protects by its key server's policy.
    protected: Vec<Selector>,
    departed: HashMap<u32, Entry>,
    last_key_server: Option<SocketAddr>,
    last_failure: Option<(SocketAddr, String)>,
    /// Whether its Rekey SA may be another one.
    kek_changed: bool,
    /// Whether its SAs are still those of a member that a reload has ended.
    orphans: bool,
}

impl KeyServers {
    /// The groups of a configuration, none of them registered; they are in the same order in `sad`.
    #[must_use]
    pub fn new(
        groups: &[GroupConfig],
        workers: usize,
        control: &Control,
        sad: &mut Sad,
        now: Instant,
        random: Box<dyn Random + Send>,
    ) -> Self {
        let registering =
            || groups.iter().enumerate().filter_map(|(i, g)| Some((i, g, g.registration.as_ref()?)));
        let shares = |a: &Registration, b: &Registration| {
            a.key_servers.iter().any(|s| b.key_servers.iter().any(|other| other.address == s.address))
        };
        let mut all = Vec::new();
        for (index, group, registration) in registering() {
            let Some(id) = group.id else { continue };
            sad.set_unknown(index);
            all.push(Group {
                name: group.name.clone(),
                id,
                registration: registration.clone(),
                alone: registering().filter(|(_, _, other)| shares(registration, other)).count() == 1,
                maker: Maker { group: index, workers, replay: registration.replay, sid_bits: None },
                member: None,
                retry_at: now,
                no_route_told: false,
                protected: Vec::new(),
                departed: HashMap::new(),
                last_key_server: None,
                last_failure: None,
                kek_changed: false,
                orphans: false,
            });
        }
        let per_second = control.invalid_spi_per_s;
        let budget = SharedBudget::new(Rate { burst: per_second.saturating_mul(2), per_second }, now);
        let key_servers =
            Self { groups: all, listen: control.listen, budget, random, senders_at: now, fruitless_at: now };
        sad.set_spi_test(key_servers.spi_test(&SpiTest::default(), now));
        key_servers
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Takes a datagram that came to the GDOI port or to a multicast group. `unix_time` in seconds since
    /// 1970.
    pub fn handle_datagram(&mut self, now: Instant, unix_time: u64, from: SocketAddr, datagram: &[u8]) {
        let Ok((header, _)) = split_datagram(datagram) else { return };
        let cookies = header.cookies();
        let random = &mut *self.random;
        let mut members = self.groups.iter_mut().filter_map(|group| group.member.as_mut());
        if let Some(owner) = members.find(|member| member.owns(cookies)) {
            return owner.handle_datagram(now, unix_time, from, datagram, random);
        }
        // Nobody's: a Rekey SA that was missed, or noise. Who knows the sender takes note.
        let push = header.exchange == ExchangeType::GroupkeyPush;
        for group in self.groups.iter_mut().filter(|group| push && group.has_key_server(from.ip())) {
            if let Some(member) = &mut group.member {
                member.handle_datagram(now, unix_time, from, datagram, random);
            }
        }
    }

    /// Rule S8: packets came with an SPI that no SA has. It is asked for in the groups that protect such
    /// packets, or in any where there are none.
    pub fn unknown_spi(&mut self, now: Instant, spi: u32, packets: u32, [source, destination]: [IpAddr; 2]) {
        let is_for =
            |selector: &Selector| contains(&selector.src, source) && contains(&selector.dst, destination);
        let mut found = false;
        for group in self.groups.iter_mut().filter(|group| group.protected.iter().any(is_for)) {
            if let Some(member) = &mut group.member {
                member.unknown_spis(now, EspSpi(spi), packets);
                found = true;
            }
        }
        if !found {
            let members = self.groups.iter_mut().filter_map(|group| group.member.as_mut());
            members.take(ASKED_GROUPS).for_each(|member| member.unknown_spis(now, EspSpi(spi), packets));
        }
    }

    /// What tells SPIs that may become SAs from others: any may, where a key server has not given the key of
    /// its marks. Not worth waiting for is what one group has asked for in vain and no other is asking for.
    fn spi_test(&self, before: &SpiTest, now: Instant) -> SpiTest {
        let keys = || self.groups.iter().map(|group| group.member.as_ref().and_then(GroupMember::spi_key));
        let known = keys().flatten().map(|key| SpiKey::new(&key.octets()));
        let members = || self.groups.iter().filter_map(|group| group.member.as_ref());
        let fruitless = members()
            .flat_map(|member| member.unknown_to_key_server(now))
            .filter(|&spi| !members().any(|member| member.is_asking_for(spi)));
        before.renewed(known, keys().any(|key| key.is_none())).with_fruitless(fruitless.map(|spi| spi.0))
    }

    /// Does what is due. True when the data plane has to be told of changes in `sad`, all of them at once.
    pub fn tick(&mut self, now: Instant, sad: &mut Sad) -> bool {
        if now >= self.senders_at {
            self.senders_at = now + SENDERS_EVERY;
            self.look_at_senders(now, sad);
        }
        let random = &mut *self.random;
        let mut changed = false;
        for group in &mut self.groups {
            if group.member.is_none() && now >= group.retry_at {
                group.start(self.listen, &self.budget, now);
            }
            if let Some(member) = &mut group.member
                && member.poll_timeout().is_some_and(|at| at <= now)
            {
                member.handle_timeout(now, random);
            }
            // Their member would have ended them.
            changed |= group.orphans && sad.expire_served(group.maker.group, now);
            changed |= group.absorb(now, sad, random);
        }
        if changed || now >= self.fruitless_at {
            self.fruitless_at = now + FRUITLESS_EVERY;
            let test = self.spi_test(sad.spi_test(), now);
            changed |= test.fruitless() != sad.spi_test().fruitless();
            sad.set_spi_test(test);
        }
        changed
    }

    /// What is to be sent.
    pub fn poll_transmit(&mut self) -> Option<Transmit> {
        self.groups.iter_mut().filter_map(|group| group.member.as_mut()).find_map(GroupMember::poll_transmit)
    }

    /// The multicast groups that rekeys come to, if they may be others than when this was asked last.
    pub fn multicast_groups(&mut self) -> Option<Vec<SocketAddr>> {
        let mut changed = false;
        for group in &mut self.groups {
            changed |= std::mem::take(&mut group.kek_changed);
        }
        let members = || self.groups.iter().filter_map(|group| group.member.as_ref());
        changed.then(|| members().flat_map(GroupMember::multicast_groups).collect())
    }

    /// The operator deletes an SA here. False when no key server gave it. The data plane has to be told
    /// afterwards.
    pub fn delete_sa(&mut self, now: Instant, spi: u32, sad: &mut Sad) -> bool {
        let Some(index) = sad.find(spi).filter(|e| e.served.is_some()).map(|e| e.sa.group()) else {
            return false;
        };
        let random = &mut *self.random;
        let Some(group) = self.groups.iter_mut().find(|group| group.maker.group == index) else {
            return false;
        };
        let found = group.member.as_mut().is_some_and(|m| m.delete_sa(now, EspSpi(spi), random));
        group.absorb(now, sad, random);
        found
    }

    /// The operator wants a group to register again. Returns the key server that it turns to, or `None`
    /// when there is no such group.
    pub fn resync(&mut self, now: Instant, name: &str) -> Option<String> {
        let index = self.groups.iter().find(|group| group.name == name)?.maker.group;
        let random = &mut *self.random;
        for group in self.groups.iter_mut().filter(|group| group.name == name) {
            match &mut group.member {
                Some(member) => member.resync(now, random),
                None => group.retry_at = now,
            }
        }
        self.standing(index, now).map(|standing| standing.key_server)
    }

    /// A group registers in another way from now on. Its SAs stay in force until it has others, or their lives end.
    pub fn reconfigure(&mut self, index: usize, registration: Registration, now: Instant) {
        for group in self.groups.iter_mut().filter(|group| group.maker.group == index) {
            group.maker.replay = registration.replay;
            group.registration = registration.clone();
            group.member = None;
            group.retry_at = now;
            group.no_route_told = false;
            group.kek_changed = true;
            group.orphans = true;
        }
        let shares = |a: &Registration, b: &Registration| {
            a.key_servers.iter().any(|s| b.key_servers.iter().any(|other| other.address == s.address))
        };
        let all: Vec<Registration> = self.groups.iter().map(|group| group.registration.clone()).collect();
        for group in &mut self.groups {
            group.alone = all.iter().filter(|other| shares(&group.registration, other)).count() == 1;
        }
    }

    /// Leaves all groups: fetch what there is to send, and that is all.
    pub fn stop(&mut self, now: Instant) {
        let random = &mut *self.random;
        for member in self.groups.iter_mut().filter_map(|group| group.member.as_mut()) {
            member.stop(now, random);
        }
    }

    /// Sender IDs that are used up are told to the group, which registers for new ones. Where IVs only have
    /// to differ, there are always more.
    fn look_at_senders(&mut self, now: Instant, sad: &mut Sad) {
        let random = &mut *self.random;
        for entry in sad.entries_mut().iter_mut().filter(|entry| entry.sends) {
            let Some(served) = entry.served.as_mut().filter(|served| !served.exhausted) else { continue };
            let used_up = entry.sa.senders().take(served.ids.len()).any(|sender| sender.remaining() == 0);
            if !used_up {
                continue;
            }
            if !entry.sa.transform().is_counter_mode() {
                served.ids = install::random_ids(served.ids.len(), random);
                // They fit: they have as many bits as they are made for.
                let _ = install::renew(&entry.sa, &served.ids);
                continue;
            }
            served.exhausted = true;
            let group = entry.sa.group();
            for group in self.groups.iter_mut().filter(|g| g.maker.group == group) {
                let (spi, name) = (EspSpi(entry.sa.spi()), &group.name);
                info!(event = "iv_exhausted", %spi, group = %name,
                    "SA {spi} of group {name}: a sender ID has used all its IVs or sequence numbers; the group \
                     registers for another");
                if let Some(member) = &mut group.member {
                    member.sender_ids_exhausted(now, spi, random);
                }
            }
        }
    }
}

impl Group {
    /// Begins, if this machine has a way to the first key server that it has one to.
    fn start(&mut self, listen: SocketAddr, budget: &SharedBudget, now: Instant) {
        let name = &self.name;
        let ways = self.registration.key_servers.iter().map(|s| settings::own_address(listen, s.address));
        let found = ways.reduce(|first, next| first.or(next));
        match found {
            Some(Ok(address)) => {
                let workers = self.maker.workers;
                let config = settings::member_config(
                    &self.registration,
                    self.id,
                    workers,
                    address,
                    self.alone,
                    budget.clone(),
                );
                self.member = GroupMember::new(config, now);
                debug!(event = "registering", group = %name, %address, "group {name} registers from {address}");
            }
            Some(Err(why)) => {
                self.retry_at = now + ROUTE_EVERY;
                if !std::mem::replace(&mut self.no_route_told, true) {
                    warn!(event = "no_route", group = %name, %why,
                        "group {name}: there is no way to any of its key servers: {why}; it registers when there is");
                }
            }
            None => {}
        }
    }

    fn has_key_server(&self, address: IpAddr) -> bool {
        self.registration.key_servers.iter().any(|server| server.address.ip() == address)
    }

    /// Takes over what has happened. True when `sad` has changed.
    fn absorb(&mut self, now: Instant, sad: &mut Sad, random: &mut dyn Random) -> bool {
        let mut changed = false;
        // Each time round at least one SA is refused or loses its sender IDs.
        loop {
            let mut again = false;
            while let Some(event) = self.member.as_mut().and_then(GroupMember::poll_event) {
                again |= event == MemberEvent::SasChanged;
                changed |= event == MemberEvent::SpiKeyChanged;
                self.kek_changed |= matches!(
                    event,
                    MemberEvent::KekInstalled(_)
                        | MemberEvent::KekDeleted(_)
                        | MemberEvent::Registered { .. }
                );
                self.refresh(&event, now, sad);
                self.tell(event, now);
            }
            if !again {
                return changed;
            }
            self.reconcile(now, sad, random);
            changed = true;
        }
    }

    /// Lifetimes that a registration or a rekey has refreshed: the data plane does not care for them.
    fn refresh(&self, event: &MemberEvent, now: Instant, sad: &mut Sad) {
        if !matches!(event, MemberEvent::Registered { .. } | MemberEvent::Rekeyed { .. }) {
            return;
        }
        let Some(member) = &self.member else { return };
        let lives: HashMap<u32, _> =
            member.sas().iter().map(|sa| (sa.spi().0, (sa.expires, sa.state(now)))).collect();
        for entry in sad.entries_mut().iter_mut().filter(|entry| entry.sa.group() == self.maker.group) {
            if let Some(&(expires, state)) = lives.get(&entry.sa.spi()).filter(|_| entry.served.is_some()) {
                (entry.expires, entry.state) = (Some(expires), state);
            }
        }
    }

    /// Makes the group's part of `sad` like its SAs.
    fn reconcile(&mut self, now: Instant, sad: &mut Sad, random: &mut dyn Random) {
        let index = self.maker.group;
        let Some(member) = &mut self.member else { return };
        self.orphans = false;
        let mut before: HashMap<u32, Entry> =
            sad.take_served(index).into_iter().map(|entry| (entry.sa.spi(), entry)).collect();
        let mut after = Vec::with_capacity(member.sas().len());
        let (mut refused, mut exhausted) = (Vec::new(), Vec::new());
        for new in member.sas() {
            let spi = new.spi();
            if sad.contains(spi.0) {
                refused.push((spi, "its SPI is in use by another group or a manual SA".to_owned()));
                continue;
            }
            let old = before.remove(&spi.0).or_else(|| self.departed.remove(&spi.0));
            let key_server = self.registration.key_servers.get(new.key_server);
            let Some(key_server) = key_server.map(|server| server.address) else { continue };
            match self.maker.make(new, key_server, old, now, random) {
                Ok(Made { entry, is_new, needs_sender_ids }) => {
                    if is_new {
                        debug!(event = "sa_installed", group = %self.name, %spi,
                            "SA {spi} of group {} from {key_server} is installed", self.name);
                    }
                    if needs_sender_ids {
                        exhausted.push(spi);
                    }
                    after.push(entry);
                }
                Err(why) => refused.push((spi, why)),
            }
        }
        self.protected = protected(member);
        for (spi, why) in refused {
            member.refuse_sa(now, spi, &why, random);
        }
        for spi in exhausted {
            member.sender_ids_exhausted(now, spi, random);
        }
        sad.replace_served(index, after);
        if !self.protected.is_empty() {
            sad.set_protected(index, &self.protected);
        }
        self.keep_departed(before, now);
    }

    /// What was taken out before its end may come back, and then goes on where it was.
    fn keep_departed(&mut self, gone: HashMap<u32, Entry>, now: Instant) {
        self.departed.extend(gone);
        self.departed.retain(|_, entry| entry.expires.is_some_and(|at| at > now));
        while self.departed.len() > DEPARTED {
            let soonest = self.departed.iter().min_by_key(|(_, entry)| entry.expires).map(|(&spi, _)| spi);
            let Some(spi) = soonest else { return };
            self.departed.remove(&spi);
        }
    }
}

/// What the key server's policy protects, and what the SAs do that it gave before.
fn protected(member: &GroupMember) -> Vec<Selector> {
    let mut seen = hashbrown::HashSet::new();
    let sas = member.sas().iter().flat_map(|sa| &sa.policy.selectors);
    let all = member.protected().iter().chain(sas).filter_map(install::selector);
    all.filter(|&selector| seen.insert(selector)).collect()
}

/// Whether an address is in a prefix.
fn contains(prefix: &Prefix, address: IpAddr) -> bool {
    Prefix::truncated(address, prefix.length()).is_some_and(|cut| cut == *prefix)
}
