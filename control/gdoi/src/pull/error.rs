//! Why a message of GROUPKEY-PULL is refused.

use crate::group::CannotSend;
use crate::wire::{NotifyType, PayloadType, WireError};
use thiserror::Error;

/// What is wrong with a message, or with what was to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PullError {
    /// The octets are no payloads.
    #[error("malformed message: {0}")]
    Malformed(#[from] WireError),
    /// The HASH does not stand first, where it covers everything.
    #[error("message {0} of GROUPKEY-PULL does not begin with its HASH")]
    NoHash(u8),
    /// The HASH is wrong: an altered message, or one of another exchange.
    #[error("the HASH of message {0} of GROUPKEY-PULL is wrong")]
    Hash(u8),
    /// A payload is missing.
    #[error("message {0} of GROUPKEY-PULL has no {1} payload")]
    Missing(u8, PayloadType),
    /// A payload stands there twice.
    #[error("message {0} of GROUPKEY-PULL has more than one {1} payload")]
    Repeated(u8, PayloadType),
    /// The ID payload names no group: it is not an ID_KEY_ID of four octets.
    #[error("the ID payload names no group: an ID_KEY_ID of four octets is needed")]
    Group,
    /// What was to be sent cannot be.
    #[error("cannot send: {0}")]
    CannotSend(#[from] CannotSend),
}

impl PullError {
    /// The notification that tells the peer of it, over the phase 1 that protects the exchange. `None`
    /// where nothing says that the message was the peer's.
    #[must_use]
    pub fn notify(&self) -> Option<NotifyType> {
        match self {
            Self::Malformed(error) => Some(error.notify()),
            Self::NoHash(_) | Self::Hash(_) => Some(NotifyType::InvalidHashInformation),
            Self::Missing(..) | Self::Repeated(..) => Some(NotifyType::PayloadMalformed),
            Self::Group => Some(NotifyType::InvalidIdInformation),
            Self::CannotSend(_) => None,
        }
    }
}
