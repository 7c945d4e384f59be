//! What `trace` and `capture` are asked: which packets, and how much of them. Shared by the client and the
//! daemons; does no I/O.

use crate::Spi;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Packets that have all of this.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Filter {
    /// Source address or prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src: Option<String>,
    /// Destination address or prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst: Option<String>,
    /// Source or destination address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<IpAddr>,
    /// The SPI that it came with, or of the SA that it is to be sealed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spi: Option<Spi>,
    /// Which way it goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub direction: Option<Direction>,
    /// It is dropped for this reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop: Option<String>,
    /// The link that it crosses, by its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
}

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the WAN to the LAN.
    In,
    /// From the LAN to the WAN.
    Out,
}

/// On which ports packets are captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// The cleartext side.
    Lan,
    /// The ciphertext side.
    Wan,
    /// Both.
    #[default]
    Both,
}

/// At which end of their way packets are captured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stage {
    /// As they arrive, before cryptography.
    Before,
    /// As they leave, after cryptography.
    After,
    /// Both.
    #[default]
    Both,
}

/// When a capture ends, and what of a frame it takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// It ends after so many frames.
    pub packets: u32,
    /// It ends after so many octets of them.
    pub octets: u64,
    /// It ends after so many seconds.
    pub seconds: u32,
    /// Octets of each frame that are taken.
    pub snaplen: u32,
}

impl Bounds {
    /// The most frames.
    pub const MAX_PACKETS: u32 = 10_000_000;
    /// The most octets: ten gigabytes.
    pub const MAX_OCTETS: u64 = 10_000_000_000;
    /// The most seconds: a day.
    pub const MAX_SECONDS: u32 = 86_400;
    /// The most of a frame.
    pub const MAX_SNAPLEN: u32 = 65_535;
}

impl Default for Bounds {
    fn default() -> Self {
        Self { packets: 10_000, octets: 64_000_000, seconds: 60, snaplen: Self::MAX_SNAPLEN }
    }
}

/// The most packets of a trace.
pub const MAX_TRACED: u32 = 10_000;
/// The most seconds of a trace.
pub const MAX_TRACE_SECONDS: u32 = 3600;
