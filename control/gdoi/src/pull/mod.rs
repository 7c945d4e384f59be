//! GROUPKEY-PULL, the registration, for group members and key servers (RFC 6407 section 3): four messages
//! over a phase 1, as bodies in the clear. Encryption, message IDs and retransmission are the caller's.
//!
//! Each state is a type that takes the next message by reference and makes the next state: a message that
//! does not verify leaves everything as it was, and a copy of an earlier one can be told by its octets and
//! answered from store, since a state makes the same answer to the same message.
//!
//! ```text
//! (1) PullClient::start     HASH(1), Ni, ID        -->  PullServer::request
//! (2) PullClient::policy    <--  HASH(2), Nr, SA        PullServer::offer
//! (3) PullAccept::confirm   HASH(3) [, GAP]        -->  PullOffer::confirmed
//! (4) PullAccept::keys      <--  HASH(4) [, SEQ], KD    PullConfirmed::keys
//!
//! HASH(1) = prf(SKEYID_a, M-ID | Ni | ID)
//! HASH(2) = prf(SKEYID_a, M-ID | Ni_b | Nr | SA)
//! HASH(3) = prf(SKEYID_a, M-ID | Ni_b | Nr_b [ | GAP ])
//! HASH(4) = prf(SKEYID_a, M-ID | Ni_b | Nr_b [ | SEQ ] | KD)
//! ```
//!
//! The HASH comes first and covers all that follows it, in whatever order. Payloads that the exchange has no
//! use for, such as a Vendor ID or what RFC 3547 had besides, are passed over.

mod client;
mod error;
mod message;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Offered, PullAccept, PullClient, Pulled};
pub use error::PullError;
pub use server::{PullConfirmed, PullOffer, PullServer};

/// Octets of the nonces that are sent.
const NONCE_LEN: usize = 32;
