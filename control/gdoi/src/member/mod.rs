//! The member's side of a group: registers, follows rekeys, and when it has fallen out of step asks for
//! what it lacks. No I/O and no clock; whoever drives it passes time, randomness and datagrams in.
//!
//! [`sad`] holds the group's SAs (rules S1, S2, S6 and S7), [`recovery`] decides when an SPI is asked for
//! (S3, S5 and S8), [`registration`] which key server is registered with, and when.

pub mod budget;
pub mod histogram;
pub mod recovery;
pub mod registration;
pub mod sad;

#[cfg(test)]
mod testing;
