//! What happens in a run: one event after another, each at its virtual time.

use crate::data_plane::Packet;
use crate::dice::{Dice, stream};
use crate::key_server::{CrashPoint, Effect, KeyServer};
use crate::ledger::{Ledger, key_octets};
use crate::member::Member;
use crate::network::{Datagram, Network, Node};
use crate::queue::Queue;
use crate::report::Report;
use crate::scenario::{GROUP, MULTICAST, Options, PROBE, Scenario};
use getvpn_gdoi::crypto::{KeyKind, SeededRandom};
use getvpn_gdoi::group::{EspSpi, GroupId, KekSpi};
use getvpn_gdoi::member::MemberEvent;
use getvpn_gdoi::member::recovery::End;
use getvpn_ks::core::{Access, Limits, Now, PeerSettings, ServerTime, Settings, Uptime, Who};
use getvpn_ks::store::MemoryStore;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When the wall clock of every run begins, since 1970.
const UNIX: Duration = Duration::from_secs(1_800_000_000);

/// Timers of one node at the same moment, or a millisecond apart, beyond which it turns in circles.
const MOST_SPINS: u32 = 20_000;

/// An event.
#[derive(Debug)]
pub(crate) enum Event {
    Arrive(Datagram),
    Packet(usize, usize, Packet),
    KeyServerTimer,
    MemberTimer(usize),
    /// A signing key is ready, for the key server's run of this number.
    SigningKey(GroupId, KeyKind, u32),
    Traffic(usize),
    Probe(usize),
    Fault,
    Heal(u64),
    StartKeyServer,
    StartMember(usize),
    Readmit(usize),
    Audit,
    /// The end of all faults.
    Calm,
}

/// The key server's clocks.
#[derive(Debug)]
pub(crate) struct Clocks {
    /// What the wall clock is ahead of virtual time, in seconds.
    pub ahead: i64,
    pub boot: u8,
    pub booted: Instant,
}

/// What every member should have.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Required {
    pub teks: Vec<EspSpi>,
    /// One of these.
    pub keks: Vec<KekSpi>,
}

pub(crate) struct World {
    pub options: Options,
    pub scenario: Scenario,
    pub start: Instant,
    /// When the last fault may happen.
    pub end: Instant,
    pub now: Instant,
    pub queue: Queue<Event>,
    pub dice: Dice,
    pub network: Network,
    pub members: Vec<Member>,
    addresses: HashMap<SocketAddr, usize>,
    pub key_server: Option<KeyServer>,
    pub store: MemoryStore,
    pub settings: Settings,
    pub random: SeededRandom,
    pub clocks: Clocks,
    /// How often the key server has been started.
    pub run: u32,
    timer: Option<Instant>,
    spins: u32,
    /// It dies as soon as it is there.
    pub crash: Option<CrashPoint>,
    pub empties_store: bool,
    /// By how much its time is behind virtual time, in milliseconds.
    pub behind: i128,
    /// How much that has grown in all.
    pub lost: Duration,
    pub required: Required,
    pub bound: Duration,
    pub ledger: Ledger,
    pub report: Report,
}

impl World {
    pub(crate) fn new(options: Options) -> Self {
        let start = Instant::now();
        let mut dice = Dice::new(options.seed, 1);
        let scenario = Scenario::of(&options, &mut dice);
        let access = Access::new(&[PeerSettings {
            who: Who::Address("10.1.0.0/16".parse().expect("a prefix")),
            groups: vec![GROUP],
        }]);
        let settings = Settings { groups: vec![scenario.group.clone()], access, limits: Limits::default() };
        let workers = |dice: &mut Dice| dice.pick(&[1, 1, 2, 4]);
        let members: Vec<_> = (0..options.members)
            .map(|number| Member::new(number, options.seed, workers(&mut dice), start))
            .collect();
        Self {
            addresses: members.iter().enumerate().map(|(at, member)| (member.address, at)).collect(),
            end: start + options.duration(),
            now: start,
            queue: Queue::new(),
            network: Network::new(scenario.weather.clone(), Dice::new(options.seed, 2)),
            members,
            key_server: None,
            store: MemoryStore::default(),
            settings,
            random: stream(options.seed, 3),
            clocks: Clocks { ahead: 0, boot: 0, booted: start },
            run: 0,
            timer: None,
            spins: 0,
            crash: None,
            empties_store: false,
            behind: 0,
            lost: Duration::ZERO,
            required: Required::default(),
            bound: scenario.convergence_bound(options.members),
            ledger: Ledger::default(),
            report: Report::default(),
            dice,
            scenario,
            start,
            options,
        }
    }

    pub(crate) fn run(mut self) -> Result<Report, String> {
        self.begin();
        let calm = self.end + self.bound + self.longest_life();
        while let Some((at, event)) = self.queue.pop() {
            if at > calm {
                break;
            }
            self.now = at;
            self.handle(event).map_err(|what| format!("after {}: {what}", self.elapsed()))?;
        }
        self.check_the_end().map_err(|what| format!("at the end: {what}"))?;
        self.report.runs = 1;
        self.report.bound = self.bound;
        self.report.simulated = self.now.saturating_duration_since(self.start);
        self.report.members = u64::try_from(self.members.len()).unwrap_or(0);
        self.report.network(self.network.figures);
        self.report.ledger(self.ledger.figures);
        Ok(self.report)
    }

    fn begin(&mut self) {
        self.trace(|world| format!("{:?}, bound {:?}", world.scenario, world.bound));
        self.queue.push(self.now, Event::StartKeyServer);
        for number in 0..self.members.len() {
            let at = self.now + self.dice.between(Duration::ZERO, Duration::from_secs(60));
            self.queue.push(at, Event::StartMember(number));
            let at = self.now + self.dice.interval(self.scenario.traffic);
            self.queue.push(at, Event::Traffic(number));
        }
        self.queue.push(self.now, Event::Audit);
        self.queue.push(self.end, Event::Calm);
        let first = self.now + Duration::from_secs(300) + self.dice.interval(self.scenario.faults);
        self.queue.push(first, Event::Fault);
    }

    /// The time since the start, for people.
    pub(crate) fn elapsed(&self) -> String {
        let elapsed = self.now.saturating_duration_since(self.start);
        let seconds = elapsed.as_secs();
        let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
        format!("{days}d {hours:02}:{minutes:02}:{:02}.{:06}", seconds % 60, elapsed.subsec_micros())
    }

    pub(crate) fn trace(&self, text: impl FnOnce(&Self) -> String) {
        if self.options.trace {
            println!("{} {}", self.elapsed(), text(self));
        }
    }

    fn handle(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Arrive(datagram) => self.arrive(datagram),
            Event::Packet(from, to, packet) => self.packet(from, to, packet),
            Event::KeyServerTimer => self.key_server_timer(),
            Event::MemberTimer(number) => self.member_timer(number),
            Event::SigningKey(group, kind, run) => self.signing_key(group, kind, run),
            Event::Traffic(number) => self.traffic(number),
            Event::Probe(number) => self.probe(number),
            Event::Fault => self.fault(),
            Event::Heal(partition) => {
                self.heal(partition);
                Ok(())
            }
            Event::StartKeyServer => self.start_key_server(),
            Event::StartMember(number) => self.start_member(number),
            Event::Readmit(number) => self.readmit(number),
            Event::Audit => self.audit(),
            Event::Calm => {
                self.calm();
                Ok(())
            }
        }
    }

    // --- datagrams and packets ---------------------------------------------------------------

    fn send(&mut self, from: Node, to: Node, octets: &Arc<[u8]>) {
        for after in self.network.copies(from, to) {
            let datagram = Datagram { from, to, octets: Arc::clone(octets) };
            self.queue.push(self.now + after, Event::Arrive(datagram));
        }
    }

    fn arrive(&mut self, datagram: Datagram) -> Result<(), String> {
        let mut hasher = DefaultHasher::new();
        (self.report.digest, self.now.duration_since(self.start), &datagram.octets).hash(&mut hasher);
        self.report.digest = hasher.finish();
        let Datagram { from, to, octets } = datagram.clone();
        if let Some((after, again)) = self.network.arrived(datagram) {
            self.queue.push(self.now + after, Event::Arrive(again));
        }
        match to {
            Node::KeyServer => {
                let Node::Member(number) = from else { return Ok(()) };
                let (now, address) = (self.key_server_now(), self.members[number].address);
                let Some(key_server) = &mut self.key_server else { return Ok(()) };
                key_server.datagram(now, address, &octets, &mut self.random);
                self.settle_key_server()
            }
            Node::Member(number) => {
                let unix = self.unix().as_secs();
                let member = &mut self.members[number];
                let Some(control) = &mut member.control else { return Ok(()) };
                let from = crate::scenario::KEY_SERVER;
                control.handle_datagram(self.now, unix, from, &octets, &mut member.random);
                self.settle_member(number)
            }
        }
    }

    fn traffic(&mut self, number: usize) -> Result<(), String> {
        let next = self.now + self.dice.interval(self.scenario.traffic);
        self.queue.push(next, Event::Traffic(number));
        let packets = 1 + u64::try_from(self.dice.below(1000)).unwrap_or(0);
        let to: Vec<_> = (0..3).map(|_| self.dice.below(self.members.len())).collect();
        self.seal(number, packets, &to)
    }

    /// `from` seals packets; one of them goes to each of `to`.
    fn seal(&mut self, from: usize, packets: u64, to: &[usize]) -> Result<(), String> {
        let member = &mut self.members[from];
        let Some(control) = &member.control else { return Ok(()) };
        let sealed = member.data_plane.seal(control.sas(), packets, &mut self.ledger)?;
        for packet in sealed {
            for &to in to.iter().filter(|&&to| to != from) {
                for after in self.network.copies(Node::Member(from), Node::Member(to)) {
                    self.queue.push(self.now + after, Event::Packet(from, to, packet.clone()));
                }
            }
        }
        Ok(())
    }

    fn packet(&mut self, from: usize, to: usize, packet: Packet) -> Result<(), String> {
        let both = self.members[from].out_of_step.is_none() && self.members[to].out_of_step.is_none();
        let member = &mut self.members[to];
        let Some(control) = &mut member.control else { return Ok(()) };
        let known = control.sas().iter().find(|sa| sa.spi() == packet.spi && sa.receives());
        match known {
            Some(sa) if key_octets(&sa.keys) == packet.keys => self.report.count("packets opened", 1),
            Some(sa) => return Err(format!("members {from} and {to} have other keys of SA {}", sa.spi())),
            None => {
                self.report.count("packets with an unknown SPI", 1);
                self.report.count("of these, both members in step", u64::from(both));
                self.trace(|_| format!("member {to}: SPI {} of member {from} is unknown", packet.spi));
                let member = &mut self.members[to];
                if let Some(control) = &mut member.control {
                    control.unknown_spi(self.now, packet.spi);
                    control.handle_timeout(self.now, &mut member.random);
                }
                return self.settle_member(to);
            }
        }
        Ok(())
    }

    /// A member that is out of step gets packets of one that is not.
    fn probe(&mut self, number: usize) -> Result<(), String> {
        if self.members[number].out_of_step.is_none() || self.members[number].control.is_none() {
            self.members[number].probed = false;
            return Ok(());
        }
        let next = self.now + self.dice.between(PROBE / 2, PROBE * 3 / 2);
        self.queue.push(next, Event::Probe(number));
        let first = self.dice.below(self.members.len());
        let others = (0..self.members.len()).map(|at| (first + at) % self.members.len());
        let in_step = others.filter(|&other| other != number).find(|&other| {
            let member = &self.members[other];
            member.out_of_step.is_none()
                && member.removed.is_none()
                && member.control.is_some()
                && self.network.connects(Node::Member(other), Node::Member(number))
        });
        match in_step {
            Some(other) => self.seal(other, 1, &[number]),
            None => {
                self.members[number].alone = self.now;
                Ok(())
            }
        }
    }

    // --- the key server ----------------------------------------------------------------------

    /// Wall time since 1970 as the key server has it.
    fn unix(&self) -> Duration {
        let true_time = UNIX + self.now.duration_since(self.start);
        let by = Duration::from_secs(self.clocks.ahead.unsigned_abs());
        if self.clocks.ahead < 0 { true_time.saturating_sub(by) } else { true_time + by }
    }

    pub(crate) fn key_server_now(&self) -> Now {
        let Clocks { boot, booted, .. } = self.clocks;
        let uptime = Uptime { boot: [boot; 16], elapsed: self.now.duration_since(booted) };
        Now { instant: self.now, unix: self.unix(), uptime: Some(uptime) }
    }

    fn key_server_timer(&mut self) -> Result<(), String> {
        if self.timer != Some(self.now) {
            return Ok(());
        }
        self.timer = None;
        let now = self.key_server_now();
        let Some(key_server) = &mut self.key_server else { return Ok(()) };
        key_server.timeout(now, &mut self.random);
        self.settle_key_server()
    }

    fn signing_key(&mut self, group: GroupId, kind: KeyKind, run: u32) -> Result<(), String> {
        let now = self.key_server_now();
        if run == self.run
            && let Some(key_server) = &mut self.key_server
        {
            key_server.signing_key(now, group, kind, &mut self.random)?;
        }
        self.settle_key_server()
    }

    fn start_key_server(&mut self) -> Result<(), String> {
        if self.key_server.is_some() {
            return Ok(());
        }
        let anew = std::mem::take(&mut self.empties_store) || self.run == 0;
        if anew {
            self.store = MemoryStore::default();
        }
        let now = self.key_server_now();
        let (settings, store) = (self.settings.clone(), self.store.clone());
        let started = KeyServer::start(&self.scenario, settings, store, now, &mut self.random)?;
        let served = i128::try_from(started.authority().time(self.now).since(ServerTime::ZERO).as_millis());
        let passed = i128::try_from(self.now.duration_since(self.start).as_millis());
        let behind = passed.unwrap_or(0) - served.unwrap_or(0);
        if !anew && behind > self.behind {
            self.lost += Duration::from_millis(u64::try_from(behind - self.behind).unwrap_or(0));
        }
        self.behind = behind;
        self.run += 1;
        self.key_server = Some(started);
        self.trace(|world| {
            format!("key server: starts, its time is {behind} ms behind, {:?} lost", world.lost)
        });
        self.settle_key_server()?;
        for member in &mut self.members {
            member.undisturbed = member.undisturbed.max(self.now);
        }
        if anew {
            self.begins_anew();
        }
        Ok(())
    }

    /// A key server that begins anew knows nobody: members learn of its SAs from each other, or when what
    /// they have ends; and those that were removed are not.
    fn begins_anew(&mut self) {
        let until = self.now + self.longest_life();
        for member in &mut self.members {
            member.removed = None;
            if member.control.is_some() {
                member.undisturbed = until;
            }
        }
    }

    /// The longest that an SA may live.
    pub(crate) fn longest_life(&self) -> Duration {
        let teks = self.settings.groups.iter().flat_map(|group| &group.teks);
        teks.map(|tek| tek.lifetime).max().unwrap_or_default()
    }

    /// Lets the key server finish what it does, and carries out what it wants done.
    pub(crate) fn settle_key_server(&mut self) -> Result<(), String> {
        let now = self.key_server_now();
        let Some(key_server) = &mut self.key_server else { return Ok(()) };
        let died = key_server.settle(now, self.crash, &mut self.random)?;
        let effects: Vec<_> = std::iter::from_fn(|| key_server.poll_effect()).collect();
        self.note_lives();
        for effect in effects {
            self.carry_out(effect)?;
        }
        if died {
            self.crash = None;
            self.key_server_dies();
            return Ok(());
        }
        self.require()?;
        self.set_timer()
    }

    fn set_timer(&mut self) -> Result<(), String> {
        let due = self.key_server.as_ref().and_then(KeyServer::poll_timeout);
        let Some(due) = due else { return Ok(()) };
        // Its time has milliseconds.
        let at = due.max(self.now + Duration::from_millis(1));
        self.spins = if due <= self.now { self.spins + 1 } else { 0 };
        if self.spins > MOST_SPINS {
            return Err("the key server's timers turn in circles".to_owned());
        }
        if self.timer.is_none_or(|timer| timer > at || timer <= self.now) {
            self.timer = Some(at);
            self.queue.push(at, Event::KeyServerTimer);
        }
        Ok(())
    }

    fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Send(to, octets) => {
                if let Some(&number) = self.addresses.get(&to) {
                    self.send(Node::KeyServer, Node::Member(number), &octets);
                }
            }
            Effect::Pushed(push, to, octets) => {
                let rekey = &push.rekey;
                for (spi, keys) in &rekey.keys.teks {
                    self.ledger.keyed(*spi, &key_octets(keys))?;
                }
                self.ledger.pushed(rekey.kek, rekey.sequence, &octets)?;
                self.report.count("PUSHes", 1);
                self.trace(|_| {
                    let teks: Vec<_> = rekey.policy.teks.iter().map(|tek| (tek.spi, tek.lifetime)).collect();
                    let (sequence, deletions) = (rekey.sequence, &rekey.deletions);
                    format!("key server: PUSH {sequence} under {} to {to}: {teks:?} {deletions:?}", rekey.kek)
                });
                let to = if to == MULTICAST {
                    (0..self.members.len()).collect()
                } else {
                    self.addresses.get(&to).copied().into_iter().collect::<Vec<_>>()
                };
                to.into_iter().for_each(|to| self.send(Node::KeyServer, Node::Member(to), &octets));
            }
            Effect::Granted(keys, spis, ids) => {
                self.report.count("registrations keyed", 1);
                for (spi, keys) in &keys.teks {
                    self.ledger.keyed(*spi, &key_octets(keys))?;
                }
                if let Some(ids) = ids {
                    spis.into_iter().try_for_each(|spi| self.ledger.granted(spi, &ids))?;
                }
            }
            Effect::MakeSigningKey(group, kind) => {
                let at = self.now + self.dice.spread(Duration::from_micros(100), Duration::from_secs(1));
                self.queue.push(at, Event::SigningKey(group, kind, self.run));
            }
            Effect::Log(event) => self.trace(|_| format!("key server: {:?}", event.what)),
        }
        Ok(())
    }

    /// Writes down since when the key server's SAs live.
    fn note_lives(&mut self) {
        let Some(key_server) = &self.key_server else { return };
        let time = key_server.authority().time(self.now);
        for tek in key_server.authority().groups().flat_map(|group| group.teks()) {
            if self.ledger.life(tek.spi).is_none() {
                let made = self.now.checked_sub(time.since(tek.born)).unwrap_or(self.now);
                self.ledger.made(tek.spi, made, tek.lifetime, self.lost);
            }
        }
    }

    /// Finds out what members should have now.
    fn require(&mut self) -> Result<(), String> {
        let Some(key_server) = &self.key_server else { return Ok(()) };
        let Some(group) = key_server.authority().group(GROUP) else { return Ok(()) };
        let newest = group.teks().filter(|tek| !tek.replaced && !tek.receive_only).map(|tek| tek.spi);
        let teks: Vec<_> = newest.collect();
        let line = group.keks().last().map(|entry| entry.line);
        let keks = group.keks().iter().filter(|entry| Some(entry.line) == line).map(|entry| entry.kek.spi);
        let required = Required { teks, keks: keks.collect() };
        if required != self.required {
            let grown = required.teks.iter().any(|spi| !self.required.teks.contains(spi));
            self.required = required;
            self.report.count("changes of the SAs", 1);
            for number in 0..self.members.len() {
                if grown && self.members[number].out_of_step.is_some() {
                    self.members[number].out_of_step = Some(self.now);
                }
                self.compare(number);
            }
        }
        Ok(())
    }

    // --- members -----------------------------------------------------------------------------

    fn member_timer(&mut self, number: usize) -> Result<(), String> {
        let member = &mut self.members[number];
        if member.timer != Some(self.now) {
            return Ok(());
        }
        member.timer = None;
        let Some(control) = &mut member.control else { return Ok(()) };
        control.handle_timeout(self.now, &mut member.random);
        self.settle_member(number)
    }

    fn start_member(&mut self, number: usize) -> Result<(), String> {
        if self.members[number].control.is_some() {
            return Ok(());
        }
        self.trace(|_| format!("member {number}: starts"));
        let initial_contact = self.dice.chance(0.5);
        let member = &mut self.members[number];
        member.start(&self.scenario, initial_contact, self.now);
        member.undisturbed = self.now;
        if let Some(control) = &mut member.control {
            control.handle_timeout(self.now, &mut member.random);
        }
        self.settle_member(number)
    }

    /// Publishes a member's SAs, sends what it wants sent, and looks whether all is as it should be.
    pub(crate) fn settle_member(&mut self, number: usize) -> Result<(), String> {
        self.publish(number)?;
        let member = &mut self.members[number];
        let Some(control) = &mut member.control else { return Ok(()) };
        let sent: Vec<_> = std::iter::from_fn(|| control.poll_transmit()).collect();
        for transmit in sent {
            self.send(Node::Member(number), Node::KeyServer, &transmit.bytes.into());
        }
        self.check_member(number)?;
        self.compare(number);
        let member = &mut self.members[number];
        let Some(due) = member.control.as_ref().and_then(|control| control.poll_timeout()) else {
            return Ok(());
        };
        member.spins = if due <= self.now { member.spins + 1 } else { 0 };
        if member.spins > MOST_SPINS {
            return Err(format!("member {number}'s timers turn in circles"));
        }
        let at = due.max(self.now);
        if member.timer.is_none_or(|timer| timer > at || timer < self.now) {
            member.timer = Some(at);
            self.queue.push(at, Event::MemberTimer(number));
        }
        Ok(())
    }

    fn publish(&mut self, number: usize) -> Result<(), String> {
        loop {
            let member = &mut self.members[number];
            let Some(control) = &mut member.control else { return Ok(()) };
            let events: Vec<_> = std::iter::from_fn(|| control.poll_event()).collect();
            if events.is_empty() {
                return Ok(());
            }
            for event in &events {
                self.trace(|_| format!("member {number}: {event:?}"));
                match event {
                    MemberEvent::Registered { .. } => self.report.count("registrations completed", 1),
                    MemberEvent::RegistrationFailed { .. } => self.report.count("registrations failed", 1),
                    MemberEvent::Rekeyed { .. } => self.report.count("rekeys carried out", 1),
                    MemberEvent::SpiEnded(ended) if ended.end == End::Recovered => {
                        self.report.count("SPIs recovered by asking", 1);
                    }
                    _ => {}
                }
            }
            if !events.contains(&MemberEvent::SasChanged) {
                continue;
            }
            let member = &mut self.members[number];
            let Some(control) = &mut member.control else { return Ok(()) };
            if member.refuses_next
                && let Some(newest) = control.sas().iter().max_by_key(|sa| sa.installed)
                && newest.installed == self.now
            {
                let spi = newest.spi();
                member.refuses_next = false;
                control.refuse_sa(self.now, spi, "there is no memory", &mut member.random);
                continue;
            }
            let published = member.data_plane.publish(control.sas(), &mut self.ledger)?;
            for spi in published.exhausted {
                control.sender_ids_exhausted(self.now, spi, &mut member.random);
            }
            let removed = member.removed;
            for spi in published.installed {
                let made = self.ledger.life(spi).map(|life| life.made);
                if let (Some(removed), Some(made)) = (removed, made)
                    && made > removed
                {
                    return Err(format!("member {number} was removed and has got the newer SA {spi}"));
                }
            }
        }
    }
}
