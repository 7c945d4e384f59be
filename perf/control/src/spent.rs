//! Time that a piece of work takes: on the processor, and by the wall clock. Processor time leaves out what
//! other programs do on the same core, and waiting for the disk.

use std::ops::AddAssign;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// What has been spent.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    /// Of the calling thread, system calls included.
    pub cpu: Duration,
    /// From beginning to end.
    pub wall: Duration,
}

impl Spent {
    /// Microseconds on the processor for one of `n`.
    #[must_use]
    pub fn cpu_us(self, n: usize) -> f64 {
        self.cpu.as_secs_f64() * 1e6 / n as f64
    }

    /// Microseconds by the wall clock for one of `n`.
    #[must_use]
    pub fn wall_us(self, n: usize) -> f64 {
        self.wall.as_secs_f64() * 1e6 / n as f64
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Spent) {
        self.cpu += other.cpu;
        self.wall += other.wall;
    }
}

/// Does `work` and adds what it took.
pub fn timed<T>(spent: &mut Spent, work: impl FnOnce() -> T) -> T {
    let (cpu, wall) = (thread_time(), Instant::now());
    let done = work();
    *spent += Spent { wall: wall.elapsed(), cpu: thread_time().saturating_sub(cpu) };
    done
}

/// Processor time of the calling thread since its beginning.
#[must_use]
pub fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
