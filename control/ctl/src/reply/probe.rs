//! What a trace and a capture are answered with: the replies to `trace`, `capture`, `probe read` and `probe
//! stop`.

use serde::{Deserialize, Serialize};

/// The reply to `trace` and `capture`: it has begun. It goes on while it is asked for with `probe read`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbeStarted {
    /// Its number.
    pub probe: u32,
    /// It ends by itself after this time.
    pub ends_in_s: u32,
    /// It ends when it has not been read for so long.
    pub read_within_ms: u32,
    /// The ports that frames are captured on.
    pub ports: Vec<ProbePort>,
}

/// A port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePort {
    /// The link's name.
    pub link: String,
    /// `lan` or `wan`.
    pub side: String,
    /// The device.
    pub device: String,
}

/// The reply to `probe read` and `probe stop`: what has come since it was read last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProbePage {
    /// Its number.
    pub probe: u32,
    /// The packets of a trace.
    pub packets: Vec<TracedPacket>,
    /// The frames of a capture.
    pub frames: Vec<CapturedFrame>,
    /// Whether there may be more.
    pub running: bool,
    /// Why it has ended.
    pub ended: Option<String>,
    /// Packets that matched so far.
    pub matched: u64,
    /// Those of them that the workers skipped, wholly or in part, to keep to their budget.
    pub skipped: u64,
    /// Packets of the filter's links and directions that the workers did not look at, to keep to their budget.
    pub not_looked_at: u64,
    /// Those of them that nobody read in time.
    pub lost: u64,
}

/// A packet with the steps of its way.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TracedPacket {
    /// When it was received.
    pub unix_us: u64,
    /// The worker.
    pub worker: u32,
    /// The link's name.
    pub link: String,
    /// `in` from the WAN to the LAN, `out` the other way.
    pub direction: String,
    /// What became of it: `encrypted`, `decrypted`, `bypassed`, `dropped`, `waiting`, `icmp`, or `own`: it is this
    /// machine's, and went to its exception port or came from there.
    pub outcome: String,
    /// Why it was dropped.
    pub drop: Option<String>,
    /// What was done with it, in order.
    pub steps: Vec<TraceStep>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TraceStep {
    /// `received`, `parsed`, `policy`, `sa`, `waited`, `replay`, `opened`, `inside`, `selectors`, `sealed`, `sent`,
    /// `dropped`.
    pub step: String,
    /// The decision, as a sentence.
    pub says: String,
}

/// A frame on a port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapturedFrame {
    /// When the burst was received that it was, or was made of.
    pub unix_ns: u64,
    /// The port, by its place in [`ProbeStarted::ports`].
    pub port: u32,
    /// Whether it left by that port; it came by it otherwise.
    pub sent: bool,
    /// Octets of the frame.
    pub length: u32,
    /// Those of them that were taken, as hexadecimal digits.
    pub octets: String,
    /// Why it was dropped, or what else became of it.
    pub comment: Option<String>,
}
