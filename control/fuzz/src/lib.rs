//! What the fuzz targets of the control plane share: how a fuzzer's octets are cut up, and the honest peers
//! that bring a state machine to the state in question.

mod certificate;
mod exchange;
pub mod group;
pub mod handshake;
mod input;
pub mod member;
pub mod phase1;
pub mod registration;
pub mod rekey;
pub mod server;

pub use certificate::{TRUSTED_CA, signed_certificate};
pub use exchange::{Chain, Iv, SUITE, Session};
pub use input::{Input, reads_again};
