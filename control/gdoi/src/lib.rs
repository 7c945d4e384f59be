//! The protocol library: ISAKMP, IKEv1 phase 1 and GDOI, for group members and key servers. It does no
//! I/O, reads no clock and holds no global randomness: time and randomness are arguments.
//!
//! Where to begin: [`group`] is what it is all about, [`wire`] what stands in a datagram, [`crypto`] what
//! makes and checks it, [`ike`] is phase 1, which all else runs over.

pub mod crypto;
pub mod group;
pub mod ike;
pub mod member;
pub mod pull;
pub mod push;
pub mod server;
pub mod wire;

// The recordings' reader is an integration test's module, and names this crate from outside.
#[cfg(test)]
extern crate self as getvpn_gdoi;

#[cfg(test)]
#[path = "../tests/recording/mod.rs"]
mod recording;
