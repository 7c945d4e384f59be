//! What operators do at the key server: rekeys, changes of the policy, members that go and come back.

use crate::scenario::{GROUP, MULTICAST, tek};
use crate::world::{Event, World};
use getvpn_ks::core::{CommandError, GroupSettings, RekeyWhat, Transport};
use std::time::Duration;

impl World {
    /// A rekey on demand.
    pub(crate) fn rekey(&mut self, with_kek: bool) -> Result<(), String> {
        let now = self.key_server_now();
        let Some(key_server) = &mut self.key_server else { return Ok(()) };
        let what = if with_kek { RekeyWhat::TeksAndKek } else { RekeyWhat::Teks };
        match key_server.authority_mut().rekey(now, GROUP, what, &mut self.random) {
            Ok(()) | Err(CommandError::TooManyGenerations(_)) => self.settle_key_server(),
            Err(error) => Err(format!("a rekey is refused: {error}")),
        }
    }

    /// A member is removed, and comes back later.
    pub(crate) fn remove(&mut self, number: usize) -> Result<(), String> {
        let now = self.key_server_now();
        let address = self.members[number].address;
        let Some(key_server) = &mut self.key_server else { return Ok(()) };
        let known = key_server.authority().group(GROUP).and_then(|group| group.members().at(address));
        let Some(id) = known else { return Ok(()) };
        key_server
            .authority_mut()
            .remove_member(now, GROUP, id, &mut self.random)
            .map_err(|error| format!("a removal is refused: {error}"))?;
        // If the key server dies before this is committed, it has not happened.
        let dies = self.crash == Some(crate::key_server::CrashPoint::BeforeCommit);
        self.settle_key_server()?;
        if !dies {
            self.members[number].removed = Some(self.now);
            self.moved(number);
            let away = self.dice.spread(Duration::from_secs(60), Duration::from_secs(12 * 3600));
            self.queue.push(self.now + away, Event::Readmit(number));
        }
        Ok(())
    }

    /// A member that was removed may come back.
    pub(crate) fn readmit(&mut self, number: usize) -> Result<(), String> {
        if self.members[number].removed.is_none() {
            return Ok(());
        }
        let name = self.members[number].address.ip().to_string();
        let Some(key_server) = &mut self.key_server else {
            self.queue.push(self.now + Duration::from_secs(60), Event::Readmit(number));
            return Ok(());
        };
        key_server
            .authority_mut()
            .readmit_member(GROUP, &name)
            .map_err(|error| format!("member {number} cannot be readmitted: {error}"))?;
        self.trace(|_| format!("member {number}: readmitted"));
        let dies = self.crash == Some(crate::key_server::CrashPoint::BeforeCommit);
        self.settle_key_server()?;
        if dies {
            self.queue.push(self.now + Duration::from_secs(60), Event::Readmit(number));
            return Ok(());
        }
        let member = &mut self.members[number];
        member.removed = None;
        member.undisturbed = self.now;
        self.moved(number);
        self.begin_probing(number);
        Ok(())
    }

    /// The configuration changes, and is read again now or when the key server starts.
    pub(crate) fn reload(&mut self) -> Result<(), String> {
        let mut group = self.settings.groups[0].clone();
        self.change(&mut group);
        self.trace(|_| format!("configuration: {group:?}"));
        self.scenario.group = group.clone();
        self.bound = self.bound.max(self.scenario.convergence_bound(self.members.len()));
        self.settings.groups = vec![group];
        let now = self.key_server_now();
        let Some(key_server) = &mut self.key_server else { return Ok(()) };
        key_server.reload(now, self.settings.clone(), &mut self.random);
        self.settle_key_server()
    }

    fn change(&mut self, group: &mut GroupSettings) {
        let short = self.options.days <= 4.0;
        match self.dice.below(6) {
            0 => {
                let delay = Duration::from_secs(self.dice.pick(&[2, 10, 20, 30]));
                group.gap.activation_delay = delay;
                group.gap.deactivation_delay = delay * 2;
            }
            1 if group.teks.len() < 3 => {
                let number = self.dice.below(4);
                let number = u8::try_from(number).unwrap_or(0) + 4;
                let more = tek(number, short, &mut self.dice);
                if group.teks.iter().all(|tek| tek.shape.selectors != more.shape.selectors) {
                    group.teks.push(more);
                }
            }
            1 | 2 if group.teks.len() > 1 => {
                group.teks.remove(self.dice.below(group.teks.len()));
            }
            3 if self.members.len() <= 24 => group.sid_bits = self.dice.pick(&[8, 12, 16]),
            4 => {
                group.rekey.transport = match group.rekey.transport {
                    Transport::Unicast => Transport::Multicast(MULTICAST),
                    Transport::Multicast(_) => Transport::Unicast,
                };
            }
            _ => {
                let at = self.dice.below(group.teks.len());
                let hours = if short { [1, 2, 4] } else { [2, 6, 12] };
                group.teks[at].lifetime = Duration::from_secs(3600 * self.dice.pick(&hours));
            }
        }
    }
}
