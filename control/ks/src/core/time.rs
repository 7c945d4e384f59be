//! The key server's own time, in which every lifetime is kept. It goes on over restarts and never
//! backwards, whatever happens to the wall clock. Authority thread; reads no clock itself.
//!
//! While the server runs, its time follows the monotonic clock. Every commit saves it, with what the
//! other clocks said at that moment. After a restart the machine's uptime says how long the server was
//! away, if the machine has not been started anew since; otherwise the wall clock does, and one that
//! was put back says "no time at all". So what is left of a life after a restart is at most what was
//! left when the store was last written.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// A moment in the server's time: milliseconds since its store was created.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ServerTime(u64);

impl ServerTime {
    /// The first moment.
    pub const ZERO: Self = Self(0);
    /// A moment that never comes.
    pub const NEVER: Self = Self(u64::MAX);

    /// So much later.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(millis(duration)))
    }

    /// So much earlier.
    #[must_use]
    pub fn before(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(millis(duration)))
    }

    /// How long after `earlier` this is; zero when it is not later.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What the owner's clocks say at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The monotonic clock, which everything is timed by.
    pub instant: Instant,
    /// The wall clock, since 1970: shown to people, and the last resort after a restart.
    pub unix: Duration,
    /// How long the machine has been up, and which start of it that counts from, where that is known.
    pub uptime: Option<Uptime>,
}

/// The machine's uptime, sleep included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uptime {
    /// Different for every start of the machine.
    pub boot: [u8; 16],
    /// Since that start.
    pub elapsed: Duration,
}

/// What is saved of the clocks with every commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The server's time.
    pub time: ServerTime,
    /// The wall clock at that moment.
    pub unix: Duration,
    /// The machine's uptime at that moment.
    pub uptime: Option<Uptime>,
}

/// The server's time as it goes on from where the store left it.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    at_start: ServerTime,
}

impl Clock {
    /// Goes on from what was saved, or begins.
    #[must_use]
    pub fn start(saved: Option<&Checkpoint>, now: Now) -> Self {
        let at_start = saved.map_or(ServerTime::ZERO, |saved| saved.time.after(time_away(saved, now)));
        Self { started: now.instant, at_start }
    }

    /// The server's time at `now`.
    #[must_use]
    pub fn at(&self, now: Instant) -> ServerTime {
        self.at_start.after(now.saturating_duration_since(self.started))
    }

    /// When the server's time will be `time`; `None` when that is never.
    #[must_use]
    pub fn instant(&self, time: ServerTime) -> Option<Instant> {
        (time != ServerTime::NEVER).then(|| self.started.checked_add(time.since(self.at_start)))?
    }

    /// What to save at `now`.
    #[must_use]
    pub fn checkpoint(&self, now: Now) -> Checkpoint {
        Checkpoint { time: self.at(now.instant), unix: now.unix, uptime: now.uptime }
    }
}

fn time_away(saved: &Checkpoint, now: Now) -> Duration {
    match (saved.uptime, now.uptime) {
        (Some(then), Some(now)) if then.boot == now.boot => now.elapsed.saturating_sub(then.elapsed),
        _ => now.unix.saturating_sub(saved.unix),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn now(unix: u64, boot: u8, up: u64) -> Now {
        Now {
            instant: Instant::now(),
            unix: Duration::from_secs(unix),
            uptime: Some(Uptime { boot: [boot; 16], elapsed: Duration::from_secs(up) }),
        }
    }

    fn restarted(before: Now, after: Now) -> Duration {
        let first = Clock::start(None, before);
        let saved = first.checkpoint(before);
        Clock::start(Some(&saved), after).at(after.instant).since(saved.time)
    }

    #[test]
    fn within_one_start_of_the_machine_the_wall_clock_does_not_matter() {
        for unix in [0, 500_000, 1_000_000, 9_000_000] {
            let away = restarted(now(1_000_000, 1, 50), now(unix, 1, 80));
            assert_eq!(away, Duration::from_secs(30));
        }
    }

    #[test]
    fn a_wall_clock_that_was_put_back_takes_nothing_off_a_life_and_adds_nothing() {
        assert_eq!(restarted(now(1_000_000, 1, 50), now(900_000, 2, 5)), Duration::ZERO);
        assert_eq!(restarted(now(1_000_000, 1, 50), now(1_003_600, 2, 5)), HOUR);
    }

    #[test]
    fn while_it_runs_time_is_monotonic_and_found_again_as_an_instant() {
        let start = now(5, 1, 1);
        let clock = Clock::start(None, start);
        let later = start.instant + HOUR;
        assert_eq!(clock.at(later), ServerTime::ZERO.after(HOUR));
        assert_eq!(clock.instant(clock.at(later)), Some(later));
        assert_eq!(clock.instant(ServerTime::NEVER), None);
        assert_eq!(clock.at(start.instant), ServerTime::ZERO);
    }
}
