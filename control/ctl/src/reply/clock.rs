//! The clock in the reply to `status`.

use serde::{Deserialize, Serialize};

/// The last time that somebody set the machine's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockStep {
    /// Seconds since then.
    pub ago_s: u64,
    /// By how many milliseconds; negative: back.
    pub by_ms: i64,
    /// How often, since the daemon's start.
    pub steps: u64,
}
