//! What a member accepts of the SAs that its key server offers, and why it refuses one.

use crate::group::{EspSpi, EspTransform, MAX_TEKS, TekKeys, TekPolicy};
use std::time::Duration;
use thiserror::Error;

/// How much a key server may make a member hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SadLimits {
    /// SAs of the group at one time; a rollover needs room for old and new. Default 4,096.
    pub sas: usize,
    /// SAs of one policy. Default 1,024, which is as many as a message may have.
    pub policy_sas: usize,
    /// Selectors of one SA. Default 256.
    pub selectors_per_sa: usize,
    /// Selectors of all SAs together. Default 16,384.
    pub selectors: usize,
    /// The longest life that an SA may have left. Default 30 days.
    pub lifetime: Duration,
    /// Sender IDs of one registration. Default 1,024.
    pub sender_ids: usize,
    /// SAs that were refused and are asked for again when there is room. Default 1,024.
    pub refused: usize,
    /// When an SA that the data plane could not create is asked for again. Default 10 s.
    pub retry_refused: Duration,
    /// What the data plane can do. Default all.
    pub transforms: Vec<EspTransform>,
}

impl Default for SadLimits {
    fn default() -> Self {
        Self {
            sas: 4096,
            policy_sas: MAX_TEKS,
            selectors_per_sa: 256,
            selectors: 16_384,
            lifetime: Duration::from_secs(30 * 86_400),
            sender_ids: 1024,
            refused: 1024,
            retry_refused: Duration::from_secs(10),
            transforms: EspTransform::ALL.to_vec(),
        }
    }
}

/// Why an SA is not, or no longer, in the SAD though the key server offers it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Refusal {
    /// RFC 4303 section 2.1.
    #[error("its SPI is reserved")]
    ReservedSpi,
    /// Not among [`SadLimits::transforms`].
    #[error("this member cannot do {0}")]
    Transform(EspTransform),
    /// It would protect nothing.
    #[error("it has no selector")]
    NoSelector,
    /// More than [`SadLimits::selectors_per_sa`].
    #[error("it has {has} selectors, more than {limit}")]
    TooManySelectors {
        /// What it has.
        has: usize,
        /// What it may have.
        limit: usize,
    },
    /// It comes behind [`SadLimits::policy_sas`] others.
    #[error("the policy has more than {0} SAs")]
    TooManySas(usize),
    /// No time left.
    #[error("its life is over")]
    LifeOver,
    /// More than [`SadLimits::lifetime`].
    #[error("it would live for {} s, more than {} s", .has.as_secs(), .limit.as_secs())]
    LivesTooLong {
        /// What it has.
        has: Duration,
        /// What it may have.
        limit: Duration,
    },
    /// The keys do not fit the transform.
    #[error("{transform} needs keys of {} and {} octets, it came with {cipher} and {integrity}",
        .transform.key_len(), .transform.integrity_key_len())]
    KeyLength {
        /// Its transform.
        transform: EspTransform,
        /// Octets of the cipher's key.
        cipher: usize,
        /// Octets of the integrity key.
        integrity: usize,
    },
    /// The SPI is in use with other keys: a hostile key server, or two that do not know of each other.
    #[error("its SPI is in use with other keys")]
    KeysDiffer,
    /// The SPI is in use with another policy.
    #[error("its SPI is in use with another policy")]
    PolicyDiffers,
    /// [`SadLimits::sas`] is reached.
    #[error("there is no room: the member holds {0} SAs")]
    NoRoom(usize),
    /// [`SadLimits::selectors`] is reached.
    #[error("there is no room: the member's SAs have {0} selectors")]
    NoRoomForSelectors(usize),
    /// What the data plane said.
    #[error("the data plane could not create it: {0}")]
    DataPlane(String),
}

impl Refusal {
    /// Whether it may go better another time without the key server changing anything.
    #[must_use]
    pub fn is_want_of_room(&self) -> bool {
        matches!(self, Self::NoRoom(_) | Self::NoRoomForSelectors(_) | Self::DataPlane(_))
    }
}

/// An SA that was refused.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("SA {spi} is refused: {why}")]
pub struct RefusedSa {
    /// Its SPI.
    pub spi: EspSpi,
    /// The reason.
    pub why: Refusal,
}

impl SadLimits {
    /// Rule S1: whether this member can serve the policy of an SA that comes at this place, from 0 on, in the
    /// policy of the group.
    pub(super) fn check_policy(&self, place: usize, policy: &TekPolicy) -> Result<(), Refusal> {
        if place >= self.policy_sas {
            return Err(Refusal::TooManySas(self.policy_sas));
        }
        if policy.spi.0 < 256 {
            return Err(Refusal::ReservedSpi);
        }
        if !self.transforms.contains(&policy.transform) {
            return Err(Refusal::Transform(policy.transform));
        }
        let has = policy.selectors.len();
        if has == 0 {
            return Err(Refusal::NoSelector);
        }
        if has > self.selectors_per_sa {
            return Err(Refusal::TooManySelectors { has, limit: self.selectors_per_sa });
        }
        self.check_lifetime(policy.lifetime)
    }

    /// Whether an SA may live on for this long.
    pub(super) fn check_lifetime(&self, has: Duration) -> Result<(), Refusal> {
        if has.is_zero() {
            return Err(Refusal::LifeOver);
        }
        if has > self.lifetime {
            return Err(Refusal::LivesTooLong { has, limit: self.lifetime });
        }
        Ok(())
    }
}

/// Whether the keys have the lengths that the transform needs.
pub(super) fn check_keys(transform: EspTransform, keys: &TekKeys) -> Result<(), Refusal> {
    let (cipher, integrity) = (keys.cipher.len(), keys.integrity.len());
    if (cipher, integrity) == (transform.key_len(), transform.integrity_key_len()) {
        Ok(())
    } else {
        Err(Refusal::KeyLength { transform, cipher, integrity })
    }
}
