//! Why a message of a member changed nothing, what it counts as, and what the member may be told of it.

use crate::ike::{IkeError, Refusal};
use crate::pull::PullError;
use crate::wire::{NotifyType, WireError};
use std::net::IpAddr;

/// A message that changed nothing, and why.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(super) enum ServerError {
    #[error(transparent)]
    Ike(#[from] IkeError),
    #[error("registration: {0}")]
    Pull(#[from] PullError),
    #[error("{0} has too many half-open phase 1s already")]
    TooManyHalfOpen(IpAddr),
    #[error("there are too many half-open phase 1s already")]
    NoRoom,
}

impl From<WireError> for ServerError {
    fn from(error: WireError) -> Self {
        Self::Ike(error.into())
    }
}

impl ServerError {
    /// What it counts as; what is half-open too often has counters of its own.
    pub(super) fn refusal(&self) -> Option<Refusal> {
        match self {
            Self::Ike(error) => Some(error.refusal()),
            Self::Pull(PullError::Hash(_) | PullError::NoHash(_)) => Some(Refusal::Hash),
            Self::Pull(PullError::CannotSend(_)) => Some(Refusal::Internal),
            Self::Pull(_) => Some(Refusal::Malformed),
            Self::TooManyHalfOpen(_) | Self::NoRoom => None,
        }
    }

    pub(super) fn notify(&self) -> Option<NotifyType> {
        match self {
            Self::Ike(error) => error.notify(),
            Self::Pull(_) | Self::TooManyHalfOpen(_) | Self::NoRoom => None,
        }
    }
}
