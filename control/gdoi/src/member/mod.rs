//! The member's side of a group: registers, follows rekeys, and when it has fallen out of step asks for
//! what it lacks. No I/O and no clock; whoever drives it passes time, randomness and datagrams in.
//!
//! [`GroupMember`] is all of it. [`sad`] holds the group's SAs (rules S1, S2, S6 and S7), [`recovery`]
//! decides when an SPI is asked for (S3, S5 and S8), [`registration`] which key server is registered with,
//! and when.

pub mod budget;
mod config;
mod event;
mod group_member;
pub mod histogram;
mod kek;
pub mod recovery;
mod registering;
pub mod registration;
pub mod sad;
mod session;

#[cfg(test)]
mod testing;

pub use config::{KeyServerConfig, MemberConfig};
pub use event::{
    KekStatus, MemberCounters, MemberEvent, MemberState, MemberStatus, Phase1Loss, RegistrationError,
    Transmit,
};
pub use group_member::GroupMember;
