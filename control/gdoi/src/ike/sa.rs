//! An established phase 1 (ISAKMP SA): what it protects, who it is with, how long it lives.

use super::keys::Iv;
use super::protection::{Opened, Protection};
use super::{IkeError, Informational, Notice, PeerInfo, Prf, Suite};
use crate::crypto::Random;
use crate::wire::{CookiePair, Doi, ExchangeType, PayloadType};
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

/// How many message IDs are remembered: enough for what can still be under way. An older message that is
/// replayed is stopped by its contents: DPD has its own numbers, a Delete has deleted, and an INVALID-SPI is
/// rate-limited and changes nothing.
const REMEMBERED: usize = 32;

/// Which side of main mode we were.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We began.
    Initiator,
    /// The peer began.
    Responder,
}

/// An established phase 1.
pub struct IkeSa {
    pub(super) protection: Protection,
    pub(super) role: Role,
    pub(super) suite: Suite,
    pub(super) doi: Doi,
    pub(super) peer: Arc<PeerInfo>,
    pub(super) initial_contact: bool,
    pub(super) created: Instant,
    pub(super) expires: Instant,
    /// Of exchanges that both sides know of, the newest last.
    pub(super) used_ids: VecDeque<u32>,
}

impl IkeSa {
    /// The cookies, which name it.
    #[must_use]
    pub fn cookies(&self) -> CookiePair {
        self.protection.cookies
    }

    /// Which side we are.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// What protects it.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// The DOI that its SA was offered under.
    #[must_use]
    pub fn doi(&self) -> Doi {
        self.doi
    }

    /// Who it is with.
    #[must_use]
    pub fn peer(&self) -> &PeerInfo {
        &self.peer
    }

    /// The same, to be kept beside it.
    #[must_use]
    pub fn shared_peer(&self) -> Arc<PeerInfo> {
        Arc::clone(&self.peer)
    }

    /// Makes the HASH payloads of what runs over it.
    #[must_use]
    pub fn prf(&self) -> &Prf {
        &self.protection.prf
    }

    /// Whether the peer said that it has no other phase 1 with us (INITIAL-CONTACT): earlier ones are dead.
    #[must_use]
    pub fn initial_contact(&self) -> bool {
        self.initial_contact
    }

    /// When it was established.
    #[must_use]
    pub fn created(&self) -> Instant {
        self.created
    }

    /// When it ends.
    #[must_use]
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// The IV of the first message of the exchange with this message ID.
    #[must_use]
    pub fn phase2_iv(&self, message_id: u32) -> Iv {
        self.protection.phase2_iv(message_id)
    }

    /// A message ID for a new exchange: random, not zero, not used lately. It counts as used from now on.
    pub fn new_message_id(&mut self, random: &mut dyn Random) -> u32 {
        let mut octets = [0; 4];
        loop {
            random.fill(&mut octets);
            let id = u32::from_be_bytes(octets);
            if id != 0 && self.use_message_id(id).is_ok() {
                return id;
            }
        }
    }

    /// Notes that an authenticated exchange has this message ID.
    ///
    /// # Errors
    /// It was used lately: a replay.
    pub fn use_message_id(&mut self, message_id: u32) -> Result<(), IkeError> {
        if self.used_ids.contains(&message_id) {
            return Err(IkeError::Replay(message_id));
        }
        if self.used_ids.len() == REMEMBERED {
            self.used_ids.pop_front();
        }
        self.used_ids.push_back(message_id);
        Ok(())
    }

    /// Encrypts a body whose first payload is `first_payload`, and moves `iv` on to the next message of the
    /// exchange.
    ///
    /// # Errors
    /// The body is too long for a datagram.
    pub fn seal(
        &self,
        exchange: ExchangeType,
        message_id: u32,
        iv: &mut Iv,
        first_payload: PayloadType,
        body: &[u8],
    ) -> Result<Vec<u8>, IkeError> {
        self.protection.seal(exchange, message_id, iv, first_payload, body)
    }

    /// Decrypts a message. The second value is the IV of the exchange's next message: it is kept only once
    /// the message's HASH has verified, so that a forged message moves nothing.
    ///
    /// # Errors
    /// The message is malformed, of another phase 1, or not encrypted.
    pub fn open(&self, datagram: &[u8], iv: &Iv) -> Result<(Opened, Iv), IkeError> {
        self.protection.open(datagram, iv)
    }

    /// A protected Informational message that says all of `notices`.
    ///
    /// # Errors
    /// They are too long for a datagram.
    pub fn notify(&mut self, notices: &[Notice], random: &mut dyn Random) -> Result<Vec<u8>, IkeError> {
        let message_id = self.new_message_id(random);
        Informational::build(notices, self.doi, &self.protection, message_id)
    }

    /// What a protected Informational message says. Only its HASH is taken for proof, and its message ID
    /// must be new.
    ///
    /// # Errors
    /// It is malformed, not protected by this phase 1, or a replay. Nothing has changed then.
    pub fn open_informational(&mut self, datagram: &[u8]) -> Result<Vec<Notice>, IkeError> {
        let (message_id, notices) = Informational::open(datagram, &self.protection)?;
        self.use_message_id(message_id)?;
        Ok(notices)
    }
}

impl fmt::Debug for IkeSa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IkeSa")
            .field("cookies", &self.cookies())
            .field("role", &self.role)
            .field("suite", &self.suite.to_string())
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
