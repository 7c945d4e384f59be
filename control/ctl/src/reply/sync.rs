//! How a member stands with its key servers: the replies to `sync` and `resync`.

use crate::Spi;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The reply to `sync`: the groups that have key servers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sync {
    /// In the order of the configuration.
    pub groups: Vec<GroupSync>,
    /// What waits for SAs that are being asked for.
    #[serde(default)]
    pub parking: Parking,
}

/// Packets with an unknown SPI that wait for its SA, in all workers together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parking {
    /// How many wait now.
    pub packets: u64,
    /// Their octets.
    pub octets: u64,
    /// The most that have waited, of each worker when it was most.
    pub most_packets: u64,
    /// The most octets that have waited, likewise.
    pub most_octets: u64,
    /// How many may wait; 0: none.
    pub max_packets: u64,
    /// How many octets may wait.
    pub max_octets: u64,
    /// How long they may wait.
    pub max_age_ms: u64,
}

/// One group's synchronisation with its key server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupSync {
    /// Its name in the configuration.
    pub name: String,
    /// Its number on the wire.
    pub id: u32,
    /// `registering`, `in-step`, `asking`, `re-registering`, `backing-off`, or `no-route` when this machine
    /// has no way to the key server yet.
    pub state: String,
    /// The key server that it is, or wants to be, registered with.
    pub key_server: String,
    /// Whether a phase 1 with it is established.
    pub phase1: bool,
    /// The last registration that was completed.
    pub registered: Option<LastRegistration>,
    /// The last registration that failed.
    pub failed: Option<LastRegistration>,
    /// Milliseconds until it tries again, if it pauses.
    pub retry_in_ms: Option<u64>,
    /// The Rekey SA.
    pub kek: Option<Kek>,
    /// SPIs that it asks for.
    pub asking: Vec<AskedSpi>,
    /// The last SPIs that it asked for, the newest last.
    pub asked: Vec<AskedSpi>,
    /// Policies that came without keys.
    pub pending: u64,
    /// SPIs that are not asked for at present because the key server does not know them.
    pub remembered: u64,
    /// How asking went since the start.
    pub recovery: Recovery,
    /// What else was counted since the start: registrations, rekeys, messages that were refused.
    pub counters: BTreeMap<String, u64>,
}

/// A registration that is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastRegistration {
    /// Seconds since it ended.
    pub ago_s: u64,
    /// Why it was made, or why it failed.
    pub why: String,
}

/// A Rekey SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kek {
    /// Its SPI, 32 hexadecimal digits.
    pub spi: String,
    /// The number of the last rekey under it.
    pub sequence: u32,
    /// Seconds until it ends.
    pub lifetime_left_s: u64,
}

/// An SPI that the key server is, or was, asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AskedSpi {
    /// The SPI.
    pub spi: Spi,
    /// Why: `packets`, `keys-without-policy`, `policy-without-keys` or `room-appeared`.
    pub why: String,
    /// INVALID-SPI notifications sent.
    pub tries: u32,
    /// Milliseconds that it has been missing, or that it was missing until this ended.
    pub missing_ms: f64,
    /// Seconds since it was first missed.
    #[serde(default)]
    pub ago_s: u64,
    /// `asking`, `registering`, or how it ended: `recovered`, `unknown`, `refused`, `abandoned`.
    pub outcome: String,
}

/// How asking for missing SAs went.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Recovery {
    /// SPIs that came.
    pub recovered: u64,
    /// SPIs that the key server did not know.
    pub unknown: u64,
    /// SPIs that came and that this member cannot use.
    pub refused: u64,
    /// SPIs that no packet came with any more while no key server could be reached.
    pub abandoned: u64,
    /// INVALID-SPI notifications sent.
    pub invalid_spi_sent: u64,
    /// Registrations that asking in vain has led to.
    pub registrations: u64,
    /// From the first packet to the SA, in milliseconds: half of the recoveries took no longer.
    pub p50_ms: Option<f64>,
    /// 99 of 100 took no longer.
    pub p99_ms: Option<f64>,
    /// The longest one.
    pub max_ms: Option<f64>,
    /// Reports of an unknown SPI that led to nothing, by reason.
    pub suppressed: Suppressed,
}

/// Why a report of an unknown SPI led to nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suppressed {
    /// It was being asked for already.
    pub already_asked: u64,
    /// The key server had not known it a short while before.
    pub remembered: u64,
    /// Too many were asked for.
    pub no_budget: u64,
}

/// The reply to `resync`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resync {
    /// The group that registers again.
    pub group: String,
    /// The key server that it turns to first.
    pub key_server: String,
}
