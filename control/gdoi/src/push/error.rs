//! Why a PUSH is refused, or cannot be made.

use crate::crypto::{CipherError, SignatureError};
use crate::group::{CannotSend, KekSpi};
use crate::wire::{PayloadType, WireError};
use thiserror::Error;

/// What is wrong with a PUSH, or with what was to be sent.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PushError {
    /// The header or, once decrypted, the payloads are none. A PUSH under another key looks like this.
    #[error("malformed PUSH: {0}")]
    Malformed(#[from] WireError),
    /// The header is not a PUSH's: exchange 33, encrypted and nothing else, message ID 0.
    #[error("the header is not a PUSH's")]
    Header,
    /// It is of another Rekey SA.
    #[error("the PUSH is of Rekey SA {0}")]
    OtherKek(KekSpi),
    /// It does not decrypt.
    #[error("the PUSH does not decrypt: {0}")]
    Cipher(#[from] CipherError),
    /// A payload is missing.
    #[error("the PUSH has no {0} payload")]
    Missing(PayloadType),
    /// A payload stands there twice.
    #[error("the PUSH has more than one {0} payload")]
    Repeated(PayloadType),
    /// Payloads follow the SIG, which it does not cover.
    #[error("payloads follow the SIG payload of the PUSH")]
    Unsigned,
    /// A payload that has no business in a PUSH.
    #[error("a {0} payload does not belong in a PUSH")]
    Payload(PayloadType),
    /// It deletes more than is read.
    #[error("the PUSH deletes more than {0} SAs")]
    TooManyDeletions(usize),
    /// Not a number after the last one: a replay, or a message that came late.
    #[error("PUSH {received} comes after {last}: a replay, or late")]
    Replay {
        /// Its number.
        received: u32,
        /// The greatest number before.
        last: u32,
    },
    /// The signature is not the key server's.
    #[error("the signature of the PUSH: {0}")]
    Signature(#[from] SignatureError),
    /// What was to be sent cannot be.
    #[error("cannot send: {0}")]
    CannotSend(#[from] CannotSend),
    /// Sender IDs were to be sent, which are never one member's alone in a PUSH (RFC 6407 section 5.6.4).
    #[error("cannot send: a PUSH must not carry sender IDs")]
    SenderIds,
}
