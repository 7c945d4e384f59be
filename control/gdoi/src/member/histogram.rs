//! How long things took, in a fixed number of counters: percentiles to within an eighth, and exact counts
//! between the bounds that metrics show.

use std::fmt;
use std::time::Duration;

/// Steps within each doubling.
const STEPS: u32 = 8;
/// Doublings of a microsecond that are told apart: up to 2^40, twelve days.
const DOUBLINGS: u32 = 40;

/// The bounds that metrics show, each in it: a round trip in a LAN to the longest pause between registrations.
pub const BOUNDS: [Duration; 15] = {
    let ms = Duration::from_millis;
    let us = Duration::from_micros;
    [
        us(500),
        ms(1),
        us(2_500),
        ms(5),
        ms(10),
        ms(25),
        ms(50),
        ms(100),
        ms(250),
        ms(500),
        ms(1_000),
        ms(2_500),
        ms(5_000),
        ms(15_000),
        ms(60_000),
    ]
};

/// Counted durations.
#[derive(Clone, PartialEq, Eq)]
pub struct Histogram {
    counts: Vec<u64>,
    count: u64,
    max: Duration,
    sum: Duration,
    /// Up to each of [`BOUNDS`], and beyond the last.
    between: [u64; BOUNDS.len() + 1],
}

impl Default for Histogram {
    fn default() -> Self {
        Self {
            counts: vec![0; (STEPS * DOUBLINGS) as usize],
            count: 0,
            max: Duration::ZERO,
            sum: Duration::ZERO,
            between: [0; BOUNDS.len() + 1],
        }
    }
}

impl Histogram {
    /// Counts one.
    pub fn record(&mut self, took: Duration) {
        let place = place(took).min(self.counts.len() - 1);
        self.counts[place] += 1;
        self.count += 1;
        self.max = self.max.max(took);
        self.sum = self.sum.saturating_add(took);
        self.between[BOUNDS.partition_point(|bound| *bound < took)] += 1;
    }

    /// How many were counted.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    #[must_use]
    pub fn max(&self) -> Duration {
        self.max
    }

    /// All of them together.
    #[must_use]
    pub fn sum(&self) -> Duration {
        self.sum
    }

    /// How many were at most as long as each of [`BOUNDS`], and longer than the one before; those beyond the
    /// last have no bound.
    pub fn between(&self) -> impl Iterator<Item = (Option<Duration>, u64)> {
        BOUNDS.into_iter().map(Some).chain([None]).zip(self.between)
    }

    /// What `percent` of a hundred stayed at or below, rounded up by at most an eighth; `None` if there
    /// were none.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<Duration> {
        let wanted = (self.count * u64::from(percent.min(100))).div_ceil(100).max(1);
        let mut below = 0;
        let found = self.counts.iter().position(|count| {
            below += count;
            below >= wanted
        });
        found.map(|place| end(place).min(self.max))
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram")
            .field("count", &self.count)
            .field("p50", &self.percentile(50))
            .field("p99", &self.percentile(99))
            .field("max", &self.max)
            .finish()
    }
}

/// Microseconds below [`STEPS`] have a place each; above, each doubling has that many.
fn place(took: Duration) -> usize {
    let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    if us < u64::from(STEPS) {
        return usize::try_from(us).unwrap_or(0);
    }
    let doubling = us.ilog2() - STEPS.ilog2();
    let step = (us >> doubling) - u64::from(STEPS);
    usize::try_from(u64::from((doubling + 1) * STEPS) + step).unwrap_or(usize::MAX)
}

/// The longest duration of a place.
fn end(place: usize) -> Duration {
    let place = place as u64;
    let steps = u64::from(STEPS);
    if place < steps {
        return Duration::from_micros(place);
    }
    let (doubling, step) = (place / steps - 1, place % steps);
    Duration::from_micros(((steps + step + 1) << doubling) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn none_have_no_percentile() {
        assert_eq!(Histogram::default().percentile(50), None);
    }

    #[test]
    fn percentiles_of_a_thousand() {
        let mut histogram = Histogram::default();
        (1..=1000).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        let p50 = histogram.percentile(50).unwrap().as_secs_f64();
        let p99 = histogram.percentile(99).unwrap().as_secs_f64();
        assert!((0.5..0.5625).contains(&p50) && (0.99..=1.0).contains(&p99), "{p50} {p99}");
        assert_eq!((histogram.max(), histogram.count()), (Duration::from_secs(1), 1000));
        histogram.record(Duration::MAX);
        assert_eq!(histogram.max(), Duration::MAX);
    }

    #[test]
    fn each_is_counted_between_the_bounds_that_it_is_between() {
        let mut histogram = Histogram::default();
        for us in [0, 500, 501, 60_000_000, 60_000_001] {
            histogram.record(Duration::from_micros(us));
        }
        let found: Vec<_> = histogram.between().filter(|(_, n)| *n > 0).collect();
        let [first, second, last] = [BOUNDS[0], BOUNDS[1], BOUNDS[14]].map(Some);
        assert_eq!(found, [(first, 2), (second, 1), (last, 1), (None, 1)]);
        assert_eq!(histogram.sum(), Duration::from_micros(120_001_002));
        assert!(BOUNDS.is_sorted());
    }

    proptest! {
        #[test]
        fn a_place_ends_within_an_eighth_above(us in 0..1_u64 << 40) {
            let took = Duration::from_micros(us);
            let end = end(place(took));
            prop_assert!(end >= took && end.as_micros() <= took.as_micros() * 9 / 8 + 1);
        }
    }
}
