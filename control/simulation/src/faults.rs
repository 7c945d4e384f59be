//! What goes wrong: drawn from the seed, kind and time.

use crate::key_server::CrashPoint;
use crate::network::Node;
use crate::world::{Event, World};
use std::collections::BTreeSet;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// Each kind, and how many of all faults are of it.
const KINDS: &[(u32, Kind)] = &[
    (20, Kind::RestartMember),
    (15, Kind::CutMembers),
    (10, Kind::CutKeyServer),
    (8, Kind::Crash(None)),
    (6, Kind::Crash(Some(CrashPoint::BeforeCommit))),
    (6, Kind::Crash(Some(CrashPoint::AfterCommit))),
    (6, Kind::Crash(Some(CrashPoint::WhileSending))),
    (1, Kind::EmptyStore),
    (1, Kind::RestartAll),
    (4, Kind::StepWallClock),
    (8, Kind::DeleteSa),
    (5, Kind::RefuseSa),
    (4, Kind::ExhaustSenderIds),
    (2, Kind::ForgetCounters),
    (4, Kind::Resync),
    (8, Kind::Rekey),
    (5, Kind::RekeyWithKek),
    (4, Kind::Remove),
    (6, Kind::Reload),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    RestartMember,
    CutMembers,
    CutKeyServer,
    Crash(Option<CrashPoint>),
    EmptyStore,
    RestartAll,
    StepWallClock,
    DeleteSa,
    RefuseSa,
    ExhaustSenderIds,
    ForgetCounters,
    Resync,
    Rekey,
    RekeyWithKek,
    Remove,
    Reload,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::RestartMember => "member restarts",
            Kind::CutMembers => "partition: some members",
            Kind::CutKeyServer => "partition: key server",
            Kind::Crash(None) => "key server dies at random",
            Kind::Crash(Some(CrashPoint::BeforeCommit)) => "key server dies before a commit",
            Kind::Crash(Some(CrashPoint::AfterCommit)) => "key server dies before sending",
            Kind::Crash(Some(CrashPoint::WhileSending)) => "key server dies while sending",
            Kind::EmptyStore => "key server loses its store",
            Kind::RestartAll => "all members restart",
            Kind::StepWallClock => "wall clock is set",
            Kind::DeleteSa => "operator deletes an SA",
            Kind::RefuseSa => "data plane refuses an SA",
            Kind::ExhaustSenderIds => "sender IDs are used up",
            Kind::ForgetCounters => "counters are forgotten",
            Kind::Resync => "operator wants a resync",
            Kind::Rekey => "operator wants a rekey",
            Kind::RekeyWithKek => "operator wants another KEK",
            Kind::Remove => "operator removes a member",
            Kind::Reload => "operator changes the policy",
        }
    }
}

impl World {
    /// Something goes wrong, and the next time something does is drawn.
    pub(crate) fn fault(&mut self) -> Result<(), String> {
        let next = self.now + self.dice.interval(self.scenario.faults);
        if next < self.end {
            self.queue.push(next, Event::Fault);
        } else {
            self.crash = None;
        }
        let all: u32 = KINDS.iter().map(|(weight, _)| weight).sum();
        let mut at = self.dice.below(usize::try_from(all).unwrap_or(1));
        let kind = KINDS.iter().find(|(weight, _)| {
            let weight = usize::try_from(*weight).unwrap_or(0);
            let found = at < weight;
            at = at.saturating_sub(weight);
            found
        });
        let Some(&(_, kind)) = kind else { return Ok(()) };
        self.report.fault(kind.name());
        self.trace(|_| format!("fault: {}", kind.name()));
        let number = self.dice.below(self.members.len());
        match kind {
            Kind::RestartMember => self.restart_member(number),
            Kind::RestartAll => (0..self.members.len()).for_each(|number| self.restart_member(number)),
            Kind::CutMembers => self.cut_members(),
            Kind::CutKeyServer => self.cut(BTreeSet::from([Node::KeyServer])),
            Kind::Crash(None) => self.key_server_dies(),
            Kind::Crash(point) => self.crash = point,
            Kind::EmptyStore => {
                self.empties_store = true;
                self.key_server_dies();
            }
            Kind::StepWallClock => self.step_wall_clock(),
            Kind::Rekey | Kind::RekeyWithKek => return self.rekey(kind == Kind::RekeyWithKek),
            Kind::Remove => return self.remove(number),
            Kind::Reload => return self.reload(),
            Kind::ForgetCounters => self.members[number].data_plane.forget(),
            // Nothing is the matter until the next SA comes.
            Kind::RefuseSa => self.members[number].refuses_next = true,
            Kind::DeleteSa | Kind::ExhaustSenderIds | Kind::Resync => return self.disturb(number, kind),
        }
        Ok(())
    }

    /// Something at a member that has nothing to do with the network.
    fn disturb(&mut self, number: usize, kind: Kind) -> Result<(), String> {
        let member = &mut self.members[number];
        member.undisturbed = member.undisturbed.max(self.now);
        let Some(control) = &mut member.control else { return Ok(()) };
        let spis: Vec<_> = control.sas().iter().map(getvpn_gdoi::member::sad::SaEntry::spi).collect();
        let spi = (!spis.is_empty()).then(|| spis[self.dice.below(spis.len())]);
        match (kind, spi) {
            (Kind::Resync, _) => control.resync(self.now, &mut member.random),
            (Kind::DeleteSa, Some(spi)) => {
                control.delete_sa(self.now, spi, &mut member.random);
            }
            (Kind::ExhaustSenderIds, Some(spi)) => {
                control.sender_ids_exhausted(self.now, spi, &mut member.random);
            }
            _ => {}
        }
        self.settle_member(number)
    }

    fn restart_member(&mut self, number: usize) {
        self.members[number].stop();
        self.moved(number);
        let away = self.dice.spread(SECOND / 10, HOUR * 2);
        self.queue.push(self.now + away, Event::StartMember(number));
    }

    fn cut_members(&mut self) {
        let share = self.dice.below(100);
        let mut side = BTreeSet::new();
        for number in 0..self.members.len() {
            if self.dice.below(100) < share {
                side.insert(Node::Member(number));
            }
        }
        if self.dice.chance(0.2) {
            side.insert(Node::KeyServer);
        }
        self.cut(side);
    }

    fn cut(&mut self, side: BTreeSet<Node>) {
        let partition = self.network.cut(&side);
        let span = self.dice.spread(SECOND, HOUR * 3);
        if let Some(partition) = partition {
            self.queue.push(self.now + span, Event::Heal(partition));
            self.all_moved();
        }
    }

    /// A partition is over.
    pub(crate) fn heal(&mut self, partition: u64) {
        self.trace(|_| format!("partition {partition} is over"));
        self.network.heal(partition);
        self.all_moved();
        // Who was cut off from whom does not matter: also a member that was not may have missed the
        // packets of others.
        for member in &mut self.members {
            member.undisturbed = member.undisturbed.max(self.now);
        }
    }

    /// The key server dies, and is to start again.
    pub(crate) fn key_server_dies(&mut self) {
        self.trace(|_| "key server: dies".to_owned());
        self.key_server = None;
        let away = self.dice.spread(SECOND / 20, HOUR);
        if self.dice.chance(0.3) {
            self.clocks.boot = self.clocks.boot.wrapping_add(1);
            self.clocks.booted = self.now;
            self.report.fault("key server's machine restarts");
            if self.dice.chance(0.5) {
                self.step_wall_clock();
            }
        }
        self.queue.push(self.now + away, Event::StartKeyServer);
    }

    /// From now on nothing goes wrong, but for what the network always does.
    pub(crate) fn calm(&mut self) {
        self.trace(|_| "the faults are over".to_owned());
        self.crash = None;
        self.network.heal_all();
        self.all_moved();
        self.queue.push(self.now, Event::StartKeyServer);
        for number in 0..self.members.len() {
            self.queue.push(self.now, Event::StartMember(number));
            self.queue.push(self.now, Event::Readmit(number));
            let member = &mut self.members[number];
            member.undisturbed = member.undisturbed.max(self.now);
        }
    }

    fn step_wall_clock(&mut self) {
        let by = i64::try_from(self.dice.below(2 * 86_400)).unwrap_or(0) - 86_400;
        self.clocks.ahead += by;
        self.trace(|_| format!("wall clock: {by} s"));
    }
}
