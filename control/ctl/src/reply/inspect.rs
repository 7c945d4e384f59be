//! What `drops` and `runtime` reply with.

use crate::Spi;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The reply to `drops`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Drops {
    /// `gm` or `ks`.
    pub role: String,
    /// What `more` and `per_s` are counted from: `last-call` of this command, or the daemon's `start`.
    pub since: String,
    /// Seconds since then.
    pub since_s: f64,
    /// Seconds that `recent_per_s` is over; absent where that is not kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_s: Option<f64>,
    /// The reasons, the one that happened most first.
    pub drops: Vec<DropDetail>,
}

/// What was dropped or refused for one reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DropDetail {
    /// The reason's name.
    pub reason: String,
    /// How many there were since the daemon's start.
    pub count: u64,
    /// How many of them since the last call.
    pub more: u64,
    /// The same a second.
    pub per_s: f64,
    /// How many a second just now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recent_per_s: Option<f64>,
    /// What happened.
    pub meaning: String,
    /// What to do about it.
    pub advice: String,
    /// The last one, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<Offender>,
}

/// What was dropped or refused last. What does not apply, or cannot be told, is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offender {
    /// Milliseconds since then. Of packets that follow each other within a millisecond the first is shown.
    pub ago_ms: u64,
    /// The link that it came over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// The port of the link that it came from: `LAN` or `WAN`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// `inbound`, from the WAN, or `outbound`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direction: Option<String>,
    /// The worker that dropped it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub worker: Option<u32>,
    /// Octets of the frame when it was dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub octets: Option<u64>,
    /// Source address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src: Option<IpAddr>,
    /// Destination address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst: Option<IpAddr>,
    /// Upper-layer protocol number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<u8>,
    /// Source port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
    /// Destination port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst_port: Option<u16>,
    /// The SPI of ESP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spi: Option<Spi>,
    /// The sequence number of ESP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequence: Option<u32>,
    /// Source address on the link, of what is no whole IP packet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_mac: Option<String>,
    /// Destination address on the link, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst_mac: Option<String>,
    /// `EtherType`, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ethertype: Option<String>,
    /// At a key server: where the message came from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub peer: Option<SocketAddr>,
}

/// The reply to `runtime`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Runtime {
    /// Cycles of the time-stamp counter in a second.
    pub hz: u64,
    /// Each worker.
    pub workers: Vec<WorkerRuntime>,
}

/// Where a worker's time goes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct WorkerRuntime {
    /// The worker, from 0.
    pub worker: u32,
    /// The core that it runs on.
    pub core: u32,
    /// The last ten seconds, or as many as there were.
    pub recent: Work,
    /// Since the start.
    pub total: Work,
}

/// What a worker did in some time. Figures a packet or a burst are absent where there was none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// That time, in seconds.
    pub seconds: f64,
    /// The share of it, of 1, that went into turns which found something to do.
    pub load: f64,
    /// Cycles of those turns.
    pub busy_cycles: u64,
    /// Cycles of all others, with what the worker slept.
    pub idle_cycles: u64,
    /// Turns that found something to do.
    pub busy_turns: u64,
    /// Turns that did not.
    pub idle_turns: u64,
    /// Turns of more than a millisecond: something else had the core, or a port took nothing.
    pub stalls: u64,
    /// Milliseconds of those turns.
    pub stalled_ms: f64,
    /// Packets received.
    pub packets: u64,
    /// Bursts that they came in.
    pub bursts: u64,
    /// Packets in a burst.
    pub burst_size: Option<f64>,
    /// Busy cycles for each packet.
    pub cycles_per_packet: Option<f64>,
    /// The stages, of the turns that were timed.
    pub stages: Vec<StageWork>,
}

/// What a stage took, in the turns that were timed: one in 250 microseconds at the most.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct StageWork {
    /// `inbound` or `outbound`.
    pub direction: String,
    /// Its name.
    pub stage: String,
    /// What is done there.
    pub meaning: String,
    /// Packets.
    pub packets: u64,
    /// Bursts that they came in.
    pub bursts: u64,
    /// Cycles.
    pub cycles: u64,
    /// Packets in a burst.
    pub burst_size: Option<f64>,
    /// Cycles for each packet.
    pub cycles_per_packet: Option<f64>,
}
