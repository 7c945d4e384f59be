//! What must hold: looked at after everything that a member does, every minute, and at the end, when there
//! have been no faults for long.

use crate::key_server::{KeyServer, MAX_HALF_OPEN};
use crate::network::Node;
use crate::scenario::LONGEST_DELAY;
use crate::world::{Event, World};
use std::time::Duration;

/// A member counts an SA's life from the message that brings it, which may be late. By the time that it
/// takes off for that, a rekey is early; what is left is a slow network, and that a registration may take
/// 20 s from the second message, which states the lives, to the fourth.
pub(crate) const LATE: Duration = Duration::from_secs(20).saturating_add(LONGEST_DELAY);

/// SPIs that a member may remember as unknown, and ask for at one time.
const MOST_REMEMBERED: usize = 4096;
const MOST_ASKED: usize = 512;

impl World {
    /// Whether nothing but loss is between a member and the key server.
    pub(crate) fn is_reachable(&self, number: usize) -> bool {
        let member = &self.members[number];
        self.key_server.is_some()
            && member.control.is_some()
            && member.removed.is_none()
            && self.network.connects(Node::KeyServer, Node::Member(number))
    }

    /// What must hold of a member at any time.
    pub(crate) fn check_member(&mut self, number: usize) -> Result<(), String> {
        let member = &self.members[number];
        let Some(control) = &member.control else { return Ok(()) };
        for sa in control.sas() {
            let Some(life) = self.ledger.life(sa.spi()) else { continue };
            let latest = life.ends + self.lost.saturating_sub(life.lost) + LATE;
            if sa.expires > latest {
                let beyond = sa.expires.duration_since(latest) + LATE;
                return Err(format!("member {number} keeps SA {} for {beyond:?} beyond its end", sa.spi()));
            }
        }
        let sends = control.sas().iter().any(|sa| sa.sends);
        let calm = self.now.saturating_duration_since(member.undisturbed) > self.bound;
        if member.sends && !sends && calm && self.is_reachable(number) {
            // The copies of a rekey, then INVALID-SPI and a registration may all be lost.
            if self.scenario.weather.loss == 0.0 {
                return Err(format!("member {number} has nothing to send with, and nothing is the matter"));
            }
            self.trace(|_| format!("member {number}: has nothing to send with"));
            self.report.count("members without an SA by loss alone", 1);
        }
        self.members[number].sends = sends;
        Ok(())
    }

    /// Finds out whether a member has what the key server has.
    pub(crate) fn compare(&mut self, number: usize) {
        self.note_step(number);
        self.moved(number);
    }

    fn note_step(&mut self, number: usize) {
        let member = &self.members[number];
        let Some(control) = &member.control else { return };
        let has_teks = self.required.teks.iter().all(|spi| control.sas().iter().any(|sa| sa.spi() == *spi));
        let kek = control.kek().map(|kek| kek.spi);
        let in_step = has_teks && kek.is_some_and(|spi| self.required.keks.contains(&spi));
        match (in_step, member.out_of_step) {
            (true, Some(since)) => {
                let from = since.max(member.undisturbed);
                if self.is_reachable(number) && member.undisturbed <= self.now {
                    let took = self.now.duration_since(from);
                    if member.alone > from {
                        self.report.unnoticed.add(took);
                    } else if since > member.undisturbed {
                        self.report.after_change.add(took);
                    } else {
                        self.report.after_disturbance.add(took);
                    }
                    self.trace(|_| format!("member {number}: in step after {took:?}"));
                }
                self.members[number].out_of_step = None;
            }
            (false, None) => {
                self.members[number].out_of_step = Some(self.now);
                self.begin_probing(number);
            }
            // It may have been switched off in between.
            (false, Some(_)) => self.begin_probing(number),
            (true, None) => {}
        }
    }

    /// What must hold every minute.
    pub(crate) fn audit(&mut self) -> Result<(), String> {
        self.queue.push(self.now + Duration::from_secs(60), Event::Audit);
        for (number, member) in self.members.iter().enumerate() {
            let Some(since) = member.out_of_step.filter(|_| self.is_reachable(number)) else { continue };
            let from = since.max(member.undisturbed);
            let late = |from| self.now.saturating_duration_since(from);
            if late(from.max(member.alone)) > self.bound || late(from) > self.bound + self.longest_life() {
                return Err(format!("member {number} has been out of step for {:?}", late(from)));
            }
        }
        self.check_sizes()?;
        // Once in an hour or so.
        if self.dice.chance(1.0 / 60.0) {
            self.ledger.tidy(self.now, self.lost);
            self.check_memory()?;
            self.check_index()?;
        }
        Ok(())
    }

    fn check_sizes(&self) -> Result<(), String> {
        let members = self.members.len();
        if self.queue.len() > 10_000 + 200 * members {
            return Err(format!("{} events are to come", self.queue.len()));
        }
        let Some(key_server) = &self.key_server else { return Ok(()) };
        let (half_open, established) = key_server.phase1s();
        if half_open > MAX_HALF_OPEN || established > 4 * members {
            return Err(format!("the key server has {half_open} and {established} phase 1s"));
        }
        Ok(())
    }

    fn check_memory(&self) -> Result<(), String> {
        for (number, member) in self.members.iter().enumerate() {
            let Some(control) = &member.control else { continue };
            let status = control.status(self.now);
            if status.remembered > MOST_REMEMBERED || status.asking.len() > MOST_ASKED {
                return Err(format!("member {number} holds too much: {status:?}"));
            }
            if control.sas().len() > 64 {
                return Err(format!("member {number} holds {} SAs", control.sas().len()));
            }
        }
        Ok(())
    }

    /// No fault for long: all are in step, and each opens what any other seals.
    pub(crate) fn check_the_end(&self) -> Result<(), String> {
        if self.key_server.as_ref().map(KeyServer::authority).is_none() {
            return Err("the key server does not run".to_owned());
        }
        let there = || {
            let all = self.members.iter().enumerate();
            all.filter(|(_, member)| member.removed.is_none() && member.control.is_some())
        };
        if there().count() != self.members.len() {
            return Err("not all members run".to_owned());
        }
        for (number, member) in there() {
            // A rekey may be under way at this moment.
            let late = member.out_of_step.map(|since| self.now.saturating_duration_since(since));
            if let Some(late) = late.filter(|late| *late > self.bound) {
                return Err(format!("member {number} has been out of step for {late:?}"));
            }
            let Some(control) = &member.control else { continue };
            let sender = control.sas().iter().rev().find(|sa| sa.sends);
            let Some(sender) = sender else {
                return Err(format!("member {number} has nothing to send with"));
            };
            for (other, receiver) in there().filter(|(_, other)| other.out_of_step.is_none()) {
                let opens = receiver.control.as_ref().is_some_and(|control| {
                    let mut sas = control.sas().iter();
                    sas.any(|sa| sa.spi() == sender.spi() && sa.keys == sender.keys && sa.receives())
                });
                if !opens && member.out_of_step.is_none() {
                    let spi = sender.spi();
                    return Err(format!("member {other} cannot open SA {spi} of member {number}"));
                }
            }
        }
        Ok(())
    }
}
