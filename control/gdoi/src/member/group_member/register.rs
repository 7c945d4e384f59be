//! Registering: phase 1 if there is none, then GROUPKEY-PULL.

use super::*;
use crate::group::{Direction, Refused, RefusedSpi, TekPolicy};
use crate::ike::IkeError;
use crate::member::registering::Brought;
use crate::member::sad::Outcome;
use crate::pull::{Offered, Pulled};

/// The GROUPKEY-PULL in progress.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) exchange: Registering,
    offered: Option<Accepted>,
}

/// What message 2 offered, as far as it is not in the SAD.
#[derive(Debug)]
struct Accepted {
    policy: GroupPolicy,
    /// The key server still has what it had at the last registration.
    continues: bool,
    wants_sender_ids: bool,
}

impl GroupMember {
    pub(super) fn begin_registration(&mut self, now: Instant, random: &mut dyn Random) {
        // Each round ends with a registration that has begun, or with one that waits.
        for _ in 0..=self.config.key_servers.len() {
            let Some((key_server, _)) = self.registrar.begin(now) else { return };
            if key_server != self.session.key_server {
                self.collect_outgoing();
                if let Some(session) = Session::new(key_server, &self.config, now) {
                    self.session = session;
                }
            }
            if self.session.is_established() {
                self.begin_pull(now, random);
            } else if let Err(error) = self.session.make(now, random) {
                self.registration_failed(error.into(), now, random);
            }
        }
    }

    pub(super) fn begin_pull(&mut self, now: Instant, random: &mut dyn Random) {
        let Some(sa) = self.session.sa() else { return };
        let (group, compat, wait) = (self.config.group, self.config.compat, self.config.retransmit);
        match Registering::begin(sa, group, compat, wait, now, random) {
            Ok((exchange, message)) => {
                self.pull = Some(Pull { exchange, offered: None });
                self.transmit(message);
            }
            Err(error) => self.registration_failed(error, now, random),
        }
    }

    pub(super) fn handle_pull(
        &mut self,
        message_id: u32,
        datagram: &[u8],
        now: Instant,
        random: &mut dyn Random,
    ) {
        let held = self.keks.held();
        let (Some(pull), Some(sa)) = (&mut self.pull, self.session.sa()) else {
            self.counters.stray += 1;
            return;
        };
        if pull.exchange.message_id() != message_id {
            self.counters.stray += 1;
            return;
        }
        match pull.exchange.handle(sa, datagram, held) {
            Brought::Offer(offered) => self.accept(*offered, now, random),
            Brought::Keys(pulled) => self.complete(*pulled, now),
            Brought::Nothing => self.counters.stray += 1,
        }
    }

    /// Message 2 (rule S1), and message 3.
    fn accept(&mut self, offered: Offered, now: Instant, random: &mut dyn Random) {
        self.session.heard(now);
        let key_server = self.session.key_server;
        let policy = offered.policy;
        for refused in self.sad.offer(&policy, &unusable(&offered.refused), now) {
            self.tell(MemberEvent::SaRefused(refused));
        }
        for refused in offered.refused {
            self.tell(MemberEvent::PartRefused(refused));
        }
        // A key server that has begun anew gives sender IDs from the start again, so those that it gave
        // before are somebody else's now. One that still has our Rekey SA, or an SA of ours to send with, has
        // not; one that has an SA of ours to receive with only is about to take it back.
        let kek_known = policy.kek.as_ref().is_some_and(|kek| self.keks.knows(kek.spi, key_server));
        let ours = |spi| self.sad.find(spi).is_some_and(|entry| entry.key_server == key_server);
        let sends = |tek: &TekPolicy| tek.direction != Direction::ReceiverOnly;
        let continues = kek_known || policy.teks.iter().any(|tek| sends(tek) && ours(tek.spi));
        let wants_sender_ids = self.config.sender_ids > 0
            && (!continues || self.sad.sender_ids(key_server).is_none() || self.sad.lacks_sender_ids());
        let wanted = wants_sender_ids.then_some(self.config.sender_ids);
        let wait = self.config.retransmit;
        let (Some(pull), Some(sa)) = (&mut self.pull, self.session.sa()) else { return };
        pull.offered = Some(Accepted { policy, continues, wants_sender_ids });
        match pull.exchange.confirm(sa, wanted, wait, now, random) {
            Ok(message) => self.transmit(message),
            Err(error) => self.registration_failed(error, now, random),
        }
    }

    /// Message 4 (rules S2 and S3).
    fn complete(&mut self, pulled: Pulled, now: Instant) {
        self.session.heard(now);
        let Some(accepted) = self.pull.take().and_then(|pull| pull.offered) else { return };
        let Some((began, reason)) = self.registrar.registering() else { return };
        let key_server = self.session.key_server;
        for refused in pulled.refused {
            self.tell(MemberEvent::PartRefused(refused));
        }
        if !accepted.continues {
            self.sad.forget_sender_ids(key_server);
        }
        let ids = pulled.keys.sender_ids.clone().filter(|_| accepted.wants_sender_ids);
        let sender_ids = ids.as_ref().map_or(0, |ids| ids.values.len());
        if ids.is_some() {
            self.sad.keep_senders(key_server, &accepted.policy);
        }
        if let Some(Err(error)) = ids.map(|ids| self.sad.set_sender_ids(key_server, ids, now)) {
            self.tell(MemberEvent::SenderIdsRefused(error));
        }
        let outcome = self.sad.download(&pulled.keys, key_server, now);
        if let Some(policy) = &accepted.policy.kek {
            self.take_kek(policy, &pulled.keys, Some(pulled.sequence.unwrap_or(0)), key_server);
        }
        if self.spi_key != accepted.policy.spi_key {
            self.spi_key = accepted.policy.spi_key;
            self.tell(MemberEvent::SpiKeyChanged);
        }
        self.counters.registrations += 1;
        self.registered = Some((now, reason));
        self.registrar.succeeded();
        self.tell(MemberEvent::Registered {
            key_server: self.session.address(),
            reason,
            took: now.saturating_duration_since(began),
            installed: outcome.installed.len(),
            refreshed: outcome.refreshed.len(),
            sender_ids,
        });
        self.recover(&outcome, now);
        self.recovery.registered(began, now);
        self.ask_for_what_is_missing(outcome, now);
    }

    pub(super) fn pull_timeout(&mut self, now: Instant, random: &mut dyn Random) {
        if self.registrar.is_overdue(now) {
            let why = self.no_answer();
            self.registration_failed(why, now, random);
            return;
        }
        let Some(pull) = &mut self.pull else { return };
        match pull.exchange.again(now, random) {
            Ok(None) => {}
            Ok(Some(message)) => {
                // Perhaps the key server has lost the phase 1.
                if !pull.exchange.is_answered() {
                    self.session.make_if_due(now, random);
                }
                self.transmit(message);
            }
            Err(error) => self.registration_failed(error, now, random),
        }
    }

    /// What is known of a registration that takes too long: of the phase 1 that is being made for it, or of
    /// the one that is being made because the key server seems to have lost the one that there is.
    fn no_answer(&mut self) -> RegistrationError {
        let over_phase1 = self.pull.is_some();
        match self.session.give_up_making() {
            None => RegistrationError::Timeout,
            Some(IkeError::NoAnswer { hint: None, .. }) if over_phase1 => RegistrationError::Timeout,
            Some(why) => why.into(),
        }
    }

    pub(super) fn registration_failed(
        &mut self,
        why: RegistrationError,
        now: Instant,
        random: &mut dyn Random,
    ) {
        let Some((_, reason)) = self.registrar.registering() else { return };
        self.pull = None;
        let _ = self.session.give_up_making();
        self.sad.withdraw_offer();
        self.counters.failed_registrations += 1;
        self.registrar.failed(now, random);
        let (key_server, next) = (self.session.address(), self.registrar.next());
        self.last_failure = Some((now, key_server, why.clone()));
        self.tell(MemberEvent::RegistrationFailed { key_server, reason, why, next });
    }

    /// Tells recovery which SPIs are there now, or can never be.
    pub(super) fn recover(&mut self, outcome: &Outcome, now: Instant) {
        for &spi in outcome.installed.iter().chain(&outcome.refreshed) {
            if let Some(Cause::Packets(_)) = self.recovery.installed(spi, now) {
                self.sad.others_send_with(spi, now);
            }
        }
        for refused in &outcome.refused {
            if !self.sad.contains(refused.spi) {
                let until = now + self.config.recovery.unknown_for;
                self.recovery.refused(refused.spi, until, now);
            }
            self.tell(MemberEvent::SaRefused(refused.clone()));
        }
    }

    /// Rule S3.
    pub(super) fn ask_for_what_is_missing(&mut self, outcome: Outcome, now: Instant) {
        for &spi in &outcome.unmatched {
            self.recovery.told(spi, Cause::KeysWithoutPolicy, now);
        }
        for &spi in &outcome.unkeyed {
            self.recovery.told(spi, Cause::PolicyWithoutKeys, now);
        }
        let Outcome { unmatched, unkeyed, .. } = outcome;
        if !unmatched.is_empty() || !unkeyed.is_empty() {
            self.tell(MemberEvent::Mismatch { unmatched, unkeyed });
        }
    }

    fn transmit(&mut self, bytes: Vec<u8>) {
        self.collect_outgoing();
        self.outgoing.push_back(Transmit { to: self.session.address(), bytes });
    }
}

/// The ESP SPIs among what is refused.
pub(super) fn unusable(refused: &[Refused]) -> Vec<EspSpi> {
    let esp = |refused: &Refused| match refused.spi {
        RefusedSpi::Esp(spi) => Some(spi),
        _ => None,
    };
    refused.iter().filter_map(esp).collect()
}
