//! The members in a run: their starts, their timers, and what they make of what happens to them.

use crate::network::Node;
use crate::world::{Event, MOST_SPINS, World};
use getvpn_gdoi::member::MemberEvent;
use getvpn_gdoi::member::recovery::End;

impl World {
    pub(crate) fn member_timer(&mut self, number: usize) -> Result<(), String> {
        let member = &mut self.members[number];
        if member.timer != Some(self.now) {
            return Ok(());
        }
        member.timer = None;
        let Some(control) = &mut member.control else { return Ok(()) };
        control.handle_timeout(self.now, &mut member.random);
        self.settle_member(number)
    }

    pub(crate) fn start_member(&mut self, number: usize) -> Result<(), String> {
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
                // This is when it goes wrong, which may be hours after the fault was drawn. A PUSH that
                // brings the SA may delete all others with it: then nothing is left to send with until
                // the member has asked for the SA again.
                member.undisturbed = member.undisturbed.max(self.now);
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
