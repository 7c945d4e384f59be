//! GROUPKEY-PUSH, the rekey message, and its acknowledgement, for key servers and group members (RFC 6407
//! section 4, RFC 8263): whole datagrams. Which Rekey SA a datagram belongs to, and which number was the
//! last, the caller knows.

mod ack;
mod build;
mod error;
mod open;
mod seal;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use ack::{Ack, AckError, UnverifiedAck};
pub use build::{KekSigner, build};
pub use error::PushError;
pub use open::{Opened, open, peek};
