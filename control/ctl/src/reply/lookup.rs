//! What a member says of one packet and of one SPI: the replies to `policy` and `spi`.

use super::{AskedSpi, SaDetail, SelectorDetail, UnknownSpi};
use crate::Spi;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// The reply to `policy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyHit {
    /// The packet's source address.
    pub src: IpAddr,
    /// Its destination address.
    pub dst: IpAddr,
    /// Its protocol number.
    pub protocol: u8,
    /// Its source port.
    pub src_port: u16,
    /// Its destination port.
    pub dst_port: u16,
    /// The rule that it hits first; absent when there is none.
    pub rule: Option<PolicyRule>,
    /// What becomes of it on its way to the WAN: `encrypted`, `bypassed`, `dropped`.
    pub to_wan: String,
    /// What becomes of it when it comes from the WAN in the clear: `bypassed`, `dropped`.
    pub from_wan_in_the_clear: String,
    /// The SA that it is sealed with.
    pub spi: Option<Spi>,
    /// The same as a sentence, and what to look at where it is not carried.
    pub says: String,
}

/// A rule of the policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyRule {
    /// Its place, from 1: the `[[policy]]` tables first, then what the groups protect.
    pub number: u32,
    /// The group that it is of; absent for a `[[policy]]`.
    pub group: Option<String>,
    /// Which packets it is for.
    pub selector: SelectorDetail,
}

/// The reply to `spi`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SpiKnown {
    /// The SPI.
    pub spi: Spi,
    /// Its SA, if it has one.
    pub sa: Option<SaDetail>,
    /// The packets that came with it while no SA had it.
    pub unknown: Option<UnknownSpi>,
    /// Whether it bears a key server's mark: `marked`, `not-marked`, `cannot-tell` when no key server of this make
    /// has given its key.
    pub mark: String,
    /// How asking for it goes, or went last, by group.
    pub asked: Vec<AskedIn>,
    /// The same as a sentence, and what to look at.
    pub says: String,
}

/// How asking for an SPI in a group goes, or went last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskedIn {
    /// The group's name.
    pub group: String,
    /// How it goes.
    #[serde(flatten)]
    pub asked: AskedSpi,
}
