//! The key server in a run: its starts and deaths, its clocks, and what becomes of what it says.

use crate::key_server::{Effect, KeyServer};
use crate::network::Node;
use crate::scenario::{GROUP, MULTICAST};
use crate::world::{Clocks, Event, MOST_SPINS, Required, UNIX, World};
use getvpn_gdoi::crypto::KeyKind;
use getvpn_gdoi::group::GroupId;
use getvpn_ks::core::{Now, ServerTime, Uptime};
use getvpn_ks::store::MemoryStore;
use std::time::Duration;

impl World {
    /// Wall time since 1970 as the key server has it.
    pub(crate) fn unix(&self) -> Duration {
        let true_time = UNIX + self.now.duration_since(self.start);
        let by = Duration::from_secs(self.clocks.ahead.unsigned_abs());
        if self.clocks.ahead < 0 { true_time.saturating_sub(by) } else { true_time + by }
    }

    pub(crate) fn key_server_now(&self) -> Now {
        let Clocks { boot, booted, .. } = self.clocks;
        let uptime = Uptime { boot: [boot; 16], elapsed: self.now.duration_since(booted) };
        Now { instant: self.now, unix: self.unix(), uptime: Some(uptime) }
    }

    pub(crate) fn key_server_timer(&mut self) -> Result<(), String> {
        if self.timer != Some(self.now) {
            return Ok(());
        }
        self.timer = None;
        let now = self.key_server_now();
        let Some(key_server) = &mut self.key_server else { return Ok(()) };
        key_server.timeout(now, &mut self.random);
        self.settle_key_server()
    }

    pub(crate) fn signing_key(&mut self, group: GroupId, kind: KeyKind, run: u32) -> Result<(), String> {
        let now = self.key_server_now();
        if run == self.run
            && let Some(key_server) = &mut self.key_server
        {
            key_server.signing_key(now, group, kind, &mut self.random)?;
        }
        self.settle_key_server()
    }

    pub(crate) fn start_key_server(&mut self) -> Result<(), String> {
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
        self.all_moved();
        (0..self.members.len()).for_each(|number| self.begin_probing(number));
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

    pub(crate) fn carry_out(&mut self, effect: Effect) -> Result<(), String> {
        match effect {
            Effect::Send(to, octets) => {
                if let Some(&number) = self.addresses.get(&to) {
                    self.send(Node::KeyServer, Node::Member(number), &octets);
                }
            }
            Effect::Pushed(push, to, octets) => {
                let rekey = &push.rekey;
                for (spi, keys) in &rekey.keys.teks {
                    self.ledger.keyed(*spi, keys)?;
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
                    self.ledger.keyed(*spi, keys)?;
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
}
