//! One generation of a group's Rekey SA: its keys, its numbers, and what becomes of the members that
//! know it.

use super::settings::{GroupSettings, Transport};
use super::time::ServerTime;
use getvpn_gdoi::crypto::{KeyError, KeyKind, Random, Secret, SigningKey};
use getvpn_gdoi::group::{AckRequest, KekCipher, KekKeys, KekPolicy, KekSignature, KekSpi};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// SEQ numbers that are reserved on disk at once.
const SEQUENCE_BLOCK: u32 = 64;

/// A Rekey SA.
#[derive(Debug)]
pub struct Kek {
    /// The cookie pair of its PUSH messages.
    pub spi: KekSpi,
    /// Cipher.
    pub cipher: KekCipher,
    /// Signature.
    pub signature: KekSignature,
    /// Where its PUSH messages go, for as long as it lives.
    pub transport: Transport,
    /// What members get of it.
    pub keys: KekKeys,
    /// What only the key server has of it.
    pub signing: FreshKey,
}

impl Kek {
    /// What members are told of it.
    #[must_use]
    pub fn policy(
        &self,
        lifetime: Duration,
        source: SocketAddr,
        acknowledge: Option<AckRequest>,
    ) -> KekPolicy {
        let unspecified: IpAddr = match source {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let destination = match self.transport {
            Transport::Unicast => SocketAddr::new(unspecified, 0),
            Transport::Multicast(address) => address,
        };
        let Self { spi, cipher, signature, .. } = *self;
        KekPolicy { spi, cipher, signature, lifetime, source, destination, acknowledge }
    }
}

/// A signing key with its encoding for the store.
#[derive(Debug)]
pub struct FreshKey {
    /// The key.
    pub key: SigningKey,
    pkcs8: Secret,
}

impl FreshKey {
    /// Makes one. RSA takes up to a second.
    ///
    /// # Errors
    /// When there are no keys of this kind and size.
    pub fn generate(kind: KeyKind, random: &mut dyn Random) -> Result<Self, KeyError> {
        let key = SigningKey::generate(kind, random)?;
        let pkcs8 = key.to_pkcs8_der()?;
        Ok(Self { key, pkcs8 })
    }

    /// Reads one from the store.
    ///
    /// # Errors
    /// When it is none.
    pub fn restore(pkcs8: Secret) -> Result<Self, KeyError> {
        Ok(Self { key: SigningKey::from_pkcs8_der(&pkcs8)?, pkcs8 })
    }

    /// As it is stored.
    #[must_use]
    pub fn pkcs8(&self) -> &Secret {
        &self.pkcs8
    }
}

impl Kek {
    /// Draws the keys of a new one; the signing key comes from outside because it can take long to make.
    #[must_use]
    pub fn draw(settings: &GroupSettings, signing: FreshKey, random: &mut dyn Random) -> Self {
        let (mut spi, mut iv) = ([0; 16], [0; 16]);
        random.fill(&mut spi);
        random.fill(&mut iv);
        let cipher = Secret::random(settings.kek.cipher.key_len(), random);
        Self {
            spi: KekSpi(spi),
            cipher: settings.kek.cipher,
            signature: settings.kek.signature,
            transport: settings.rekey.transport,
            keys: KekKeys { iv, cipher, verifying: signing.key.verifying_key().clone() },
            signing,
        }
    }
}

/// What a PUSH under a Rekey SA tells the members that know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fate {
    /// The group's policy and its current Rekey SA, which is this one or one that replaced it.
    Open,
    /// To register again: what the group has now must not be sent under it.
    Closed,
}

/// A Rekey SA in its group.
#[derive(Debug)]
pub struct KekEntry {
    /// The Rekey SA.
    pub kek: Arc<Kek>,
    /// Which line it belongs to: a Rekey SA and those that replace it by rekey are of one line; where
    /// members must register again, another begins.
    pub line: u32,
    /// When it was made.
    pub born: ServerTime,
    /// When it is to be replaced and its members know that it ends, or have been told that it does.
    pub ends: ServerTime,
    /// What its members are told.
    pub fate: Fate,
    /// Its PUSH messages' numbers.
    pub sequence: Sequence,
}

/// The SEQ of one Rekey SA's PUSH messages, the first of which is 1 (RFC 6407 section 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    used: u32,
    reserved: u32,
}

impl Sequence {
    /// Goes on behind what a stored reservation says may have been used.
    #[must_use]
    pub fn restore(reserved: u32) -> Self {
        Self { used: reserved, reserved }
    }

    /// The last that was used: what a registration says.
    #[must_use]
    pub fn last(&self) -> u32 {
        self.used
    }

    /// The end of what is reserved; stored before a message with a number up to it leaves.
    #[must_use]
    pub fn reserved(&self) -> u32 {
        self.reserved
    }

    /// The next; `None` when there is none left, after four thousand million of them.
    pub fn take(&mut self) -> Option<u32> {
        self.used = self.used.checked_add(1)?;
        if self.used > self.reserved {
            self.reserved = self.used.saturating_add(SEQUENCE_BLOCK - 1);
        }
        Some(self.used)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_1_and_none_comes_twice_over_restarts() {
        let mut sequence = Sequence::default();
        assert_eq!(sequence.take(), Some(1));
        let mut last = 1;
        for step in 0..500 {
            if step % 7 == 0 {
                sequence = Sequence::restore(sequence.reserved());
            }
            let next = sequence.take().unwrap();
            assert!(next > last && next <= sequence.reserved());
            last = next;
        }
        assert_eq!(Sequence::restore(u32::MAX).take(), None);
    }
}
