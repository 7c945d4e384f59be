//! How a group stands, for the control socket.

use super::*;
use crate::group::{KekSpi, Selector};
use crate::member::event::{KekStatus, MemberState, MemberStatus};
use crate::wire::CookiePair;

impl GroupMember {
    /// How the group stands.
    #[must_use]
    pub fn status(&self, now: Instant) -> MemberStatus {
        let asking = self.recovery.asking().collect();
        let ladder_pauses = self.recovery.backs_off_until(now).filter(|_| self.recovery.is_asking());
        MemberStatus {
            state: self.state(),
            key_server: self.session.address(),
            phase1: self.session.is_established(),
            registered: self.registered,
            last_failure: self.last_failure.clone(),
            backs_off_until: self.registrar.backs_off_until().or(ladder_pauses),
            kek: self.keks.status(),
            asking,
            asked: self.asked.iter().copied().collect(),
            remembered: self.recovery.remembered(),
            pending: self.sad.pending().len(),
            recovery: self.recovery.statistics().clone(),
            counters: self.counters,
        }
    }

    /// The Rekey SA that PUSH messages come under now; the part of [`status`](Self::status) that is cheap.
    #[must_use]
    pub fn kek(&self) -> Option<KekStatus> {
        self.keks.status()
    }

    /// SPIs that the key server does not know, and is not asked for for a while.
    pub fn unknown_to_key_server(&self, now: Instant) -> impl Iterator<Item = EspSpi> {
        self.recovery.unknown(now)
    }

    /// Whether an SPI is being asked for.
    #[must_use]
    pub fn is_asking_for(&self, spi: EspSpi) -> bool {
        self.recovery.is_asking_for(spi)
    }

    /// The SAs, the oldest first.
    #[must_use]
    pub fn sas(&self) -> &[SaEntry] {
        self.sad.entries()
    }

    /// By what this group's SPIs are told from random ones, if its key server has said so.
    #[must_use]
    pub fn spi_key(&self) -> Option<&SpiKey> {
        self.spi_key.as_ref()
    }

    /// Multicast addresses and ports that rekeys come to: the owner joins them. Changes with
    /// [`MemberEvent::KekInstalled`].
    #[must_use]
    pub fn multicast_groups(&self) -> Vec<SocketAddr> {
        self.keks.multicast_groups()
    }

    /// What the key server's last policy is for, also as far as this member refused it. Changes with
    /// [`MemberEvent::SasChanged`].
    #[must_use]
    pub fn protected(&self) -> &[Selector] {
        self.sad.protected()
    }

    /// Whether a datagram that names these cookies is this group's: of a phase 1, made or in the making, or
    /// of a Rekey SA. Where several groups share a port, the others need not see it.
    #[must_use]
    pub fn owns(&self, cookies: CookiePair) -> bool {
        self.session.is_of_making(cookies)
            || self.session.is_of_made(cookies)
            || self.keks.has(KekSpi(cookies.octets()))
    }

    /// How the group stands, in one word.
    #[must_use]
    pub fn state(&self) -> MemberState {
        if self.stopped {
            MemberState::Stopped
        } else if self.registrar.all_have_failed() {
            MemberState::BackingOff
        } else if self.registered.is_none() {
            MemberState::Registering
        } else if self.registrar.registering().is_some() {
            MemberState::ReRegistering
        } else if self.recovery.is_asking() {
            MemberState::Asking
        } else {
            MemberState::InStep
        }
    }
}

impl fmt::Debug for GroupMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GroupMember")
            .field("group", &self.config.group)
            .field("sas", &self.sad.entries().len())
            .field("recovery", &self.recovery.is_asking())
            .finish_non_exhaustive()
    }
}
