//! Why a message or a whole phase 1 is refused. The caller counts by [`Refusal`] and logs the text.

use super::{Identity, Method};
use crate::crypto::x509::CertificateError;
use crate::crypto::{CipherError, DhError, SignatureError};
use crate::wire::{ExchangeType, NotifyType, PayloadType, WireError};
use thiserror::Error;

/// What is wrong. Whether the phase 1 that it concerns is over is for [`MainMode::is_over`] to say.
///
/// [`MainMode::is_over`]: super::MainMode::is_over
#[derive(Clone, Debug, PartialEq, Error)]
pub enum IkeError {
    /// The octets are no ISAKMP message.
    #[error("malformed message: {0}")]
    Malformed(#[from] WireError),
    /// The header's cookies are not this phase 1's.
    #[error("the cookies belong to no phase 1 here")]
    Cookies,
    /// Another kind of exchange than is spoken here.
    #[error("{0} is not spoken here: a phase 1 is made in main mode")]
    Exchange(ExchangeType),
    /// A message with encryption, message ID or flags that this state does not expect.
    #[error("message {0} of main mode does not look like this: {1}")]
    Unexpected(u8, &'static str),
    /// A payload is missing.
    #[error("message {message} of main mode has no {payload} payload")]
    Missing {
        /// The number of the message.
        message: u8,
        /// What it needs.
        payload: PayloadType,
    },
    /// A payload stands there twice.
    #[error("message {message} of main mode has more than one {payload} payload")]
    Repeated {
        /// The number of the message.
        message: u8,
        /// What must stand there once.
        payload: PayloadType,
    },
    /// Neither GDOI nor, where it is accepted, IPsec.
    #[error("domain of interpretation {0} is not accepted")]
    Doi(u32),
    /// Nothing that was offered is accepted.
    #[error("no proposal chosen: {offered} offered, none of them configured")]
    NoProposalChosen {
        /// What was offered, in words.
        offered: String,
    },
    /// The peer has no pre-shared key here, and offered no method that needs none.
    #[error("no proposal chosen: the peer wants {0}, for which nothing is configured for its address")]
    NoCredentials(Method),
    /// The responder chose what was not offered.
    #[error("the responder chose what was not offered: {0}")]
    BadChoice(&'static str),
    /// The public value is not one of the group.
    #[error("key exchange: {0}")]
    KeyExchange(#[from] DhError),
    /// A message that does not decrypt, with a pre-shared key: the usual reason is that the keys differ.
    #[error("authentication failed: message {0} does not decrypt; the pre-shared keys differ?")]
    PreSharedKey(u8),
    /// A message that does not decrypt, with signatures.
    #[error("message {0} does not decrypt")]
    Undecryptable(u8),
    /// The HASH is wrong.
    #[error(
        "authentication failed: the peer's HASH is wrong; the pre-shared keys differ, or a message was altered"
    )]
    Hash,
    /// The ID payload names no peer.
    #[error("the peer's identity: {0}")]
    Identity(#[from] super::IdentityError),
    /// The peer is somebody else.
    #[error("authentication failed: the peer is {found}, not {expected}")]
    WrongPeer {
        /// Who it says it is.
        found: Identity,
        /// Who is configured.
        expected: Identity,
    },
    /// The peer proved who it is, and that is nobody who is configured.
    #[error("authentication failed: {0} is not configured as a peer")]
    NotAdmitted(Identity),
    /// No certificate came.
    #[error("authentication failed: {0} sent no certificate")]
    NoCertificate(Identity),
    /// Too many certificates came, or too long ones.
    #[error("the peer sent more certificates than are read: at most {0}")]
    TooManyCertificates(usize),
    /// The certificate does not hold.
    #[error("authentication failed: the certificate of {identity}: {why}")]
    Certificate {
        /// Who the peer says it is.
        identity: Identity,
        /// What is wrong with it.
        why: CertificateError,
    },
    /// The certificate is somebody else's.
    #[error("authentication failed: the certificate (of {subject}) does not name {identity}")]
    CertificateName {
        /// Who the peer says it is, or who is configured.
        identity: Identity,
        /// Whom the certificate is for.
        subject: String,
    },
    /// The certificate's key is not of the kind that the method needs.
    #[error("authentication failed: the certificate of {identity} has no key for {method}")]
    CertificateKey {
        /// Who the peer says it is.
        identity: Identity,
        /// What was negotiated.
        method: Method,
    },
    /// The signature is wrong.
    #[error("authentication failed: the signature of {identity}: {why}")]
    Signature {
        /// Who the peer says it is.
        identity: Identity,
        /// What is wrong with it.
        why: SignatureError,
    },
    /// The derived key is not one of the cipher's.
    #[error("{0}")]
    Cipher(#[from] CipherError),
    /// Our own key does not sign.
    #[error("cannot sign: {0}")]
    CannotSign(SignatureError),
    /// No answer.
    #[error("no answer after {tries} tries{}", .hint.map(|hint| format!("; the peer (or somebody in its name) said {hint}")).unwrap_or_default())]
    NoAnswer {
        /// How often the last message was sent.
        tries: u32,
        /// The last unauthenticated notification that came.
        hint: Option<NotifyType>,
    },
    /// The initiator began and did not go on.
    #[error("the peer did not go on after message {0}")]
    HalfOpen(u8),
    /// The phase 1 is over.
    #[error("this phase 1 is over")]
    Over,
    /// A message of an established phase 1 is not whole blocks, or none at all.
    #[error("an encrypted message of {0} octets")]
    Length(usize),
    /// The message is not encrypted as everything over an established phase 1 is.
    #[error("an unencrypted message over an established phase 1")]
    Unencrypted,
    /// HASH(1) of an Informational message is wrong.
    #[error("the HASH of an Informational message is wrong")]
    InformationalHash,
    /// An Informational message came again.
    #[error("message ID {0:#010x} was used before: a replay")]
    Replay(u32),
}

/// What is counted: each a name, for counters and metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Refusal {
    /// Not ISAKMP, or payloads missing, repeated or out of range.
    Malformed,
    /// Cookies that belong to nothing.
    UnknownCookies,
    /// An exchange that is not spoken here.
    UnsupportedExchange,
    /// A message out of its turn.
    Unexpected,
    /// No common proposal.
    NoProposal,
    /// A bad public value.
    KeyExchange,
    /// A wrong pre-shared key, most likely.
    PreSharedKey,
    /// A message that does not decrypt.
    Undecryptable,
    /// A wrong HASH.
    Hash,
    /// An identity that is not the expected one, or not configured.
    Identity,
    /// A certificate that does not hold, or is somebody else's.
    Certificate,
    /// A wrong signature.
    Signature,
    /// No answer, or none in time.
    Timeout,
    /// A replayed message.
    Replay,
    /// Our own fault.
    Internal,
}

impl Refusal {
    /// All of them, in the order of the counters.
    pub const ALL: [Self; 15] = [
        Self::Malformed,
        Self::UnknownCookies,
        Self::UnsupportedExchange,
        Self::Unexpected,
        Self::NoProposal,
        Self::KeyExchange,
        Self::PreSharedKey,
        Self::Undecryptable,
        Self::Hash,
        Self::Identity,
        Self::Certificate,
        Self::Signature,
        Self::Timeout,
        Self::Replay,
        Self::Internal,
    ];

    /// Its name in counters: lower case with hyphens.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownCookies => "unknown-cookies",
            Self::UnsupportedExchange => "unsupported-exchange",
            Self::Unexpected => "unexpected",
            Self::NoProposal => "no-proposal",
            Self::KeyExchange => "key-exchange",
            Self::PreSharedKey => "pre-shared-key",
            Self::Undecryptable => "undecryptable",
            Self::Hash => "hash",
            Self::Identity => "identity",
            Self::Certificate => "certificate",
            Self::Signature => "signature",
            Self::Timeout => "timeout",
            Self::Replay => "replay",
            Self::Internal => "internal",
        }
    }
}

impl IkeError {
    /// What to count it as.
    #[must_use]
    pub const fn refusal(&self) -> Refusal {
        match self {
            Self::Malformed(_)
            | Self::Missing { .. }
            | Self::Repeated { .. }
            | Self::TooManyCertificates(_)
            | Self::Length(_) => Refusal::Malformed,
            Self::Cookies => Refusal::UnknownCookies,
            Self::Exchange(_) => Refusal::UnsupportedExchange,
            Self::Unexpected(..) | Self::Over | Self::Unencrypted => Refusal::Unexpected,
            Self::Doi(_) | Self::NoProposalChosen { .. } | Self::NoCredentials(_) | Self::BadChoice(_) => {
                Refusal::NoProposal
            }
            Self::KeyExchange(_) => Refusal::KeyExchange,
            Self::PreSharedKey(_) => Refusal::PreSharedKey,
            Self::Undecryptable(_) => Refusal::Undecryptable,
            Self::Hash | Self::InformationalHash => Refusal::Hash,
            Self::Identity(_) | Self::WrongPeer { .. } | Self::NotAdmitted(_) => Refusal::Identity,
            Self::NoCertificate(_)
            | Self::Certificate { .. }
            | Self::CertificateName { .. }
            | Self::CertificateKey { .. } => Refusal::Certificate,
            Self::Signature { .. } => Refusal::Signature,
            Self::NoAnswer { .. } | Self::HalfOpen(_) => Refusal::Timeout,
            Self::Replay(_) => Refusal::Replay,
            Self::CannotSign(_) | Self::Cipher(_) => Refusal::Internal,
        }
    }

    /// What the peer may be told, unprotected, so that its operator has something to go by. The caller
    /// limits how often. `None` where an answer would only help a forger.
    #[must_use]
    pub const fn notify(&self) -> Option<NotifyType> {
        match self {
            Self::Doi(_) => Some(NotifyType::DoiNotSupported),
            Self::NoProposalChosen { .. } | Self::NoCredentials(_) => Some(NotifyType::NoProposalChosen),
            Self::Exchange(_) => Some(NotifyType::UnsupportedExchangeType),
            Self::PreSharedKey(_) | Self::Hash => Some(NotifyType::AuthenticationFailed),
            Self::Identity(_) | Self::WrongPeer { .. } | Self::NotAdmitted(_) => {
                Some(NotifyType::InvalidIdInformation)
            }
            Self::NoCertificate(_)
            | Self::Certificate { .. }
            | Self::CertificateName { .. }
            | Self::CertificateKey { .. } => Some(NotifyType::InvalidCertificate),
            Self::Signature { .. } => Some(NotifyType::InvalidSignature),
            Self::KeyExchange(_) => Some(NotifyType::InvalidKeyInformation),
            _ => None,
        }
    }
}
