//! What happens in a run: one event after another, each at its virtual time.

use crate::data_plane::Packet;
use crate::dice::{Dice, stream};
use crate::in_step::InStep;
use crate::key_server::{CrashPoint, KeyServer};
use crate::ledger::{Ledger, are_octets_of};
use crate::member::Member;
use crate::network::{Datagram, Network, Node};
use crate::queue::Queue;
use crate::report::Report;
use crate::scenario::{GROUP, Options, PROBE, Scenario};
use getvpn_gdoi::crypto::{KeyKind, SeededRandom};
use getvpn_gdoi::group::{EspSpi, GroupId, KekSpi};
use getvpn_ks::core::{Access, Limits, PeerSettings, Settings, Who};
use getvpn_ks::store::MemoryStore;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// When the wall clock of every run begins, since 1970.
pub(crate) const UNIX: Duration = Duration::from_secs(1_800_000_000);

/// Timers of one node at the same moment, or a millisecond apart, beyond which it turns in circles.
pub(crate) const MOST_SPINS: u32 = 20_000;

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
    pub addresses: HashMap<SocketAddr, usize>,
    pub key_server: Option<KeyServer>,
    pub store: MemoryStore,
    pub settings: Settings,
    pub random: SeededRandom,
    pub clocks: Clocks,
    /// How often the key server has been started.
    pub run: u32,
    pub timer: Option<Instant>,
    pub spins: u32,
    /// It dies as soon as it is there.
    pub crash: Option<CrashPoint>,
    pub empties_store: bool,
    /// By how much its time is behind virtual time, in milliseconds.
    pub behind: i128,
    /// How much that has grown in all.
    pub lost: Duration,
    pub required: Required,
    pub bound: Duration,
    pub in_step: InStep,
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
            network: Network::new(scenario.weather.clone(), options.members, Dice::new(options.seed, 2)),
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
            in_step: InStep::default(),
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
        while let Some((at, event)) = self.queue.pop() {
            // What the policy says by now: the operator may have changed it.
            if at > self.end + self.bound + self.longest_life() {
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

    pub(crate) fn send(&mut self, from: Node, to: Node, octets: &Arc<[u8]>) {
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
            Some(sa) if are_octets_of(&packet.keys, &sa.keys) => self.report.count("packets opened", 1),
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

    /// Packets are to come for a member that is out of step. Not for one that was removed: nobody waits for
    /// that one, and what all others send now and then is enough for it to try what it must not get.
    pub(crate) fn begin_probing(&mut self, number: usize) {
        let member = &mut self.members[number];
        if member.out_of_step.is_some() && member.removed.is_none() && !member.probed {
            member.probed = true;
            member.alone = self.start;
            let at = self.now + self.dice.between(PROBE / 2, PROBE * 3 / 2);
            self.queue.push(at, Event::Probe(number));
        }
    }

    /// A member that is out of step gets packets of one that is not.
    fn probe(&mut self, number: usize) -> Result<(), String> {
        let member = &mut self.members[number];
        if member.out_of_step.is_none() || member.control.is_none() || member.removed.is_some() {
            member.probed = false;
            return Ok(());
        }
        let next = self.now + self.dice.between(PROBE / 2, PROBE * 3 / 2);
        self.queue.push(next, Event::Probe(number));
        let first = self.dice.below(self.members.len());
        match self.in_step.from(self.network.place(Node::Member(number)), first) {
            Some(other) => self.seal(other, 1, &[number]),
            None => {
                self.members[number].alone = self.now;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests;
