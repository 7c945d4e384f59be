//! What the daemons reply with, command by command. Written by a daemon's control thread, read by
//! `getvpnctl` and by whoever parses `getvpnctl --json`. Fields are added, never renamed.

mod clock;
mod doctor;
mod exported;
mod inspect;
mod key_server;
mod key_server_sync;
mod lookup;
mod operate;
mod probe;
mod sync;

pub use clock::ClockStep;
pub use doctor::{Check, Doctor};
pub use exported::{ExportedSa, ExportedSas};
pub use inspect::{DropDetail, Drops, Offender, Runtime, StageWork, Work, WorkerRuntime};
pub use key_server::{
    AcknowledgedRekey, GroupDetail, GroupList, LastAsked, MemberChanged, MemberDetail, MemberList, Rekeyed,
    Reloaded, SidRun,
};
pub use key_server_sync::{AskCounts, AskLimits, AskedBy, KeyServerSync, MemberSync, ServedGroup, SyncReply};
pub use lookup::{AskedIn, PolicyHit, PolicyRule, SpiKnown};
pub use operate::{CountersReset, LogLevel};
pub use probe::{CapturedFrame, ProbePage, ProbePort, ProbeStarted, TraceStep, TracedPacket};
pub use sync::{AskedSpi, GroupSync, Kek, LastRegistration, Parking, Recovery, Resync, Suppressed, Sync};

use crate::Spi;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The reply to `status`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// `gm` or `ks`.
    pub role: String,
    /// The daemon's version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since its start, in seconds.
    pub uptime_s: u64,
    /// Poll-mode workers; none at a key server.
    #[serde(default)]
    pub workers: u32,
    /// The links of a member.
    #[serde(default)]
    pub links: Vec<LinkStatus>,
    /// The groups.
    pub groups: Vec<GroupStatus>,
    /// The last time that somebody set the machine's clock, if anybody has since the member's start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clock_step: Option<ClockStep>,
}

/// A pair of ports wired through.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// The link's name in the configuration.
    pub name: String,
    /// The device of the cleartext side.
    pub lan: String,
    /// The device of the ciphertext side.
    pub wan: String,
    /// The largest IP packet, in octets.
    pub mtu: u16,
    /// Whether the LAN port has a carrier.
    pub lan_up: bool,
    /// Whether the WAN port has a carrier.
    pub wan_up: bool,
}

/// A group as seen by this daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupStatus {
    /// Its name in the configuration.
    pub name: String,
    /// Its number on the wire.
    pub id: Option<u32>,
    /// `manual`: SAs from the configuration. `no-sa`: its manual SAs have expired or been deleted. With key
    /// servers what [`GroupSync::state`] says; at a key server what `group list` says.
    pub state: String,
    /// The key server that the group is, or wants to be, registered with.
    pub key_server: Option<String>,
    /// The Rekey SA of the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kek: Option<Kek>,
    /// Why the last registration failed, unless one has succeeded since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<LastRegistration>,
    /// SAs in force.
    pub sas: u64,
}

/// The reply to `counters`; all since the daemon's start, or since they were reset.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// The sum over all workers and links.
    #[serde(flatten)]
    pub total: Totals,
    /// Since when they have been reset, in seconds; absent when they never were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reset_s: Option<u64>,
    /// What the drop reasons that have happened mean.
    #[serde(default)]
    pub reasons: BTreeMap<String, Reason>,
    /// What the devices lost before a worker saw it, or after. None of it is in the other counters.
    #[serde(default)]
    pub ports: Vec<PortCounters>,
    /// What a key server counts, by name. Its `rx` and `tx` are datagrams, its `drops` those that changed
    /// nothing.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub key_server: BTreeMap<String, u64>,
    /// Each worker on each link, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per: Option<Vec<PerWorker>>,
}

/// A set of counters. At every moment `rx = decrypted + encrypted + bypassed + to_exception + parked +
/// drops`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Frames received.
    pub rx: u64,
    /// Octets received.
    #[serde(default)]
    pub rx_octets: u64,
    /// Frames sent.
    pub tx: u64,
    /// Octets sent.
    #[serde(default)]
    pub tx_octets: u64,
    /// Received frames that were opened and sent to the LAN.
    pub decrypted: u64,
    /// Received frames that were sealed and sent to the WAN.
    pub encrypted: u64,
    /// Received frames that crossed unchanged.
    pub bypassed: u64,
    /// Frames received from the WAN for this machine itself.
    #[serde(default)]
    pub to_exception: u64,
    /// Frames held at this moment: fragments that wait for others, packets that wait for an SA.
    pub parked: u64,
    /// Frames that waited for their SA and went on when it came.
    #[serde(default)]
    pub released: u64,
    /// Frames sent beyond the first of a packet that had to be fragmented.
    #[serde(default)]
    pub fragments: u64,
    /// ICMP errors sent.
    #[serde(default)]
    pub icmp: u64,
    /// Frames of this machine itself sent to the WAN.
    #[serde(default)]
    pub from_exception: u64,
    /// Unknown SPIs told to the control thread.
    #[serde(default)]
    pub punts: u64,
    /// Packets with an unknown SPI that was told already, or for which there was no room.
    #[serde(default)]
    pub punts_suppressed: u64,
    /// Packets with an unknown SPI that no key server has given out.
    #[serde(default)]
    pub implausible: u64,
    /// Unknown SPIs not told because the control thread was behind.
    #[serde(default)]
    pub punts_lost: u64,
    /// Dropped frames by reason, every reason named.
    pub drops: BTreeMap<String, u64>,
}

/// What a device says that it lost.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortCounters {
    /// The link that the port belongs to.
    pub link: String,
    /// `LAN` or `WAN`.
    pub side: String,
    /// The device.
    pub device: String,
    /// Frames that came while its receive queues were full: the workers are too slow.
    pub rx_missed: u64,
    /// Frames received in error.
    pub rx_errors: u64,
    /// Times that no buffer was left to receive into.
    pub rx_no_buffer: u64,
    /// Frames that it could not send.
    pub tx_errors: u64,
    /// Frames that it received.
    #[serde(default)]
    pub rx: u64,
    /// Their octets, as the device counts them.
    #[serde(default)]
    pub rx_octets: u64,
    /// Frames that it sent.
    #[serde(default)]
    pub tx: u64,
    /// Their octets.
    #[serde(default)]
    pub tx_octets: u64,
}

/// The texts of a drop reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reason {
    /// What happened.
    pub meaning: String,
    /// What to look at.
    pub advice: String,
}

/// The counters of one worker on one link.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PerWorker {
    /// The link's name.
    pub link: String,
    /// The worker, from 0.
    pub worker: u32,
    /// Its counters.
    #[serde(flatten)]
    pub counters: Totals,
}

/// The reply to `sa list`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaList {
    /// All SAs, the oldest first.
    pub sas: Vec<SaSummary>,
}

/// What is told of every SA.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaSummary {
    /// Its SPI.
    pub spi: Spi,
    /// The name of its group.
    pub group: String,
    /// The name of its transform.
    pub transform: String,
    /// `in`, `out` or `both`.
    pub direction: String,
    /// `active`; `waiting`: receives, and sends after the activation delay; `receive-only`: there are no
    /// sender IDs for it, or that is its policy; `retiring`: replaced, receives for a while.
    pub state: String,
    /// Where its keys came from: `configuration`, or a key server's address.
    #[serde(default)]
    pub source: String,
    /// Seconds until it is removed; absent when its life is not limited.
    pub lifetime_left_s: Option<u64>,
    /// Packets opened and sealed.
    pub packets: u64,
    /// Octets of those packets, without what ESP adds.
    pub bytes: u64,
    /// Packets that this SA refused.
    pub errors: u64,
}

/// The reply to `sa show`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaDetail {
    /// What `sa list` says.
    #[serde(flatten)]
    pub summary: SaSummary,
    /// Seconds since it was installed.
    pub age_s: u64,
    /// `tunnel` or `transport`.
    pub mode: String,
    /// Its protection against replay.
    pub replay: ReplayDetail,
    /// Bits of the IV that name the sender.
    pub sid_bits: u8,
    /// The senders of this member, one for each worker; none when the SA only opens.
    pub senders: Vec<SenderDetail>,
    /// Traffic that it carries.
    pub selectors: Vec<SelectorDetail>,
    /// Packets opened.
    pub inbound: Traffic,
    /// Packets sealed.
    pub outbound: Traffic,
}

/// A direction's share of an SA's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets that passed.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
    /// Packets refused.
    pub errors: u64,
}

/// An SA's protection against replay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayDetail {
    /// `none`, `counter` or `sender`.
    pub mode: String,
    /// The size of a window, in packets.
    pub window: Option<u32>,
    /// How many senders can have a window.
    pub senders: Option<u32>,
}

/// One of this member's senders under an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SenderDetail {
    /// Its sender ID.
    pub sid: u32,
    /// The worker that seals with it.
    pub worker: u32,
    /// The counter of the next packet.
    pub next: u64,
    /// The counter that it must not reach: before more are reserved on disk, or at all with the sender IDs of
    /// a key server.
    pub reserved: u64,
}

/// A traffic selector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelectorDetail {
    /// Source prefix.
    pub src: String,
    /// Destination prefix.
    pub dst: String,
    /// IP protocol number; absent means any.
    pub protocol: Option<u8>,
    /// Source port or range `a-b`; absent means any.
    pub src_port: Option<String>,
    /// Destination port or range `a-b`; absent means any.
    pub dst_port: Option<String>,
}

/// The reply to `sa delete`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SaDeleted {
    /// The SA that was deleted.
    pub deleted: Spi,
    /// Its group.
    pub group: String,
}

/// The reply to `unknown-spi`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownSpis {
    /// The SPIs, the one seen last first.
    pub spis: Vec<UnknownSpi>,
    /// How many the table holds at most.
    pub capacity: u64,
    /// How many were forgotten for want of room.
    pub evicted: u64,
    /// SPIs not told by a worker because the control thread was behind.
    pub lost: u64,
}

/// An SPI that packets came with and that no SA has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnknownSpi {
    /// The SPI.
    pub spi: Spi,
    /// The link it came over.
    pub link: String,
    /// Packets, as far as the workers have told.
    pub count: u64,
    /// Milliseconds since the first of them.
    pub first_seen_ms: u64,
    /// Milliseconds since the last of them.
    pub last_seen_ms: u64,
    /// Some of their source addresses.
    pub senders: Vec<IpAddr>,
    /// Whether there were more.
    pub more_senders: bool,
    /// The destination address of the last of them.
    pub destination: IpAddr,
    /// How asking a key server for it stands or ended, if that was done lately.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub asked: Option<String>,
}
