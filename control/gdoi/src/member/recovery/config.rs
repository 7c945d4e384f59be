//! How eagerly a member asks.

use super::episode::Class;
use crate::member::budget::Rate;
use std::time::Duration;

/// The ladder of one group, and its limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecoveryConfig {
    /// INVALID-SPI for one SPI before the member registers. Default 3.
    pub tries: u32,
    /// Between the first and the second; each further interval is twice the one before. Default 200 ms.
    pub interval: Duration,
    /// How long an SPI that the key server does not know is left alone. Default 60 s.
    pub unknown_for: Duration,
    /// SPIs that are remembered so. Default 4,096.
    pub remembered: usize,
    /// SPIs of packets that are asked for at one time; of implausible ones an eighth. Default 256.
    pub episodes: usize,
    /// INVALID-SPI for one SPI. Default 6 at once, 2 a second.
    pub per_spi: Rate,
    /// INVALID-SPI for SPIs of packets, in the whole group. Default 32 at once, 20 a second.
    pub seen: Rate,
    /// INVALID-SPI for SPIs that the key server would not have drawn. Default 2 at once, 1 a second.
    pub implausible: Rate,
    /// INVALID-SPI for SPIs that the key server itself has named. Default 64 at once, 32 a second.
    pub told: Rate,
    /// Between two registrations that the ladder leads to, at first; doubled each time. Default 1 s.
    pub first_pause: Duration,
    /// The longest such pause. Default 60 s.
    pub last_pause: Duration,
}

impl Default for RecoveryConfig {
    fn default() -> Self {
        Self {
            tries: 3,
            interval: Duration::from_millis(200),
            unknown_for: Duration::from_secs(60),
            remembered: 4096,
            episodes: 256,
            per_spi: Rate { burst: 6, per_second: 2 },
            seen: Rate { burst: 32, per_second: 20 },
            implausible: Rate { burst: 2, per_second: 1 },
            told: Rate { burst: 64, per_second: 32 },
            first_pause: Duration::from_secs(1),
            last_pause: Duration::from_secs(60),
        }
    }
}

impl RecoveryConfig {
    /// How long an answer is waited for after `tries` earlier tries.
    pub(super) fn interval(&self, tries: u32) -> Duration {
        self.interval.saturating_mul(1 << tries.min(16)).min(self.last_pause)
    }

    pub(super) fn episodes_of(&self, class: Class) -> usize {
        match class {
            Class::Told | Class::Seen => self.episodes,
            Class::Implausible => self.episodes / 8,
        }
    }
}
