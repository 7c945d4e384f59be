//! The core that is measured: an EAL worker thread pinned to it, on which sections run one after the
//! other, and how a cost is taken there. The main thread only waits, on another core where there is one.

use anyhow::{Context, Result, anyhow};
use dpdk::{Eal, LcoreId, cycles, cycles_hz};
use getvpn_perf_figures::median;

/// How many devices there are that swallow what is sent and never receive, `net_null0` and on: the sinks
/// of pipelines, stages, publications, and floods with marks and without.
pub const SINKS: usize = 13;

/// Megabytes of ordinary memory for mbufs. Hugepages are not needed; see the README.
const MEMORY_MB: &str = "512";

/// The measured core.
pub struct Core {
    eal: Eal,
    lcore: LcoreId,
    cpu: usize,
    control: usize,
}

impl Core {
    /// Starts EAL with its main thread on `control` and one worker on `cpu`.
    pub fn start(cpu: usize, control: usize) -> Result<Core> {
        let lcores = format!("0@{control},1@{cpu}");
        let fixed = ["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", MEMORY_MB, "--lcores"];
        let mut args: Vec<String> = fixed.iter().map(ToString::to_string).collect();
        args.push(lcores);
        args.extend((0..SINKS).map(|n| format!("--vdev=net_null{n},no-rx=1")));
        let eal = Eal::init(&args)?;
        let lcore = *eal.worker_lcores().first().context("EAL has no worker core")?;
        Ok(Core { eal, lcore, cpu, control })
    }

    /// The number of the processor.
    pub fn cpu(&self) -> usize {
        self.cpu
    }

    /// The processor of everything that is not measured.
    pub fn control(&self) -> usize {
        self.control
    }

    /// Starts `work` on the measured core; it is done when the answer is joined.
    pub fn launch<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<Running<T>> {
        Ok(Running(self.eal.launch(self.lcore, work)?))
    }

    /// Runs `work` with `state` on the measured core, and waits for it.
    pub fn with<S: Send + 'static, T: Send + 'static>(
        &self,
        state: &mut Option<Box<S>>,
        work: impl FnOnce(&mut S) -> T + Send + 'static,
    ) -> Result<T> {
        let mut taken = state.take().context("this section has failed before")?;
        let running = self.launch(move || {
            let answer = work(&mut taken);
            (taken, answer)
        })?;
        let (returned, answer) = running.join()?;
        *state = Some(returned);
        Ok(answer)
    }
}

/// Work on the measured core.
pub struct Running<T>(dpdk::JoinHandle<T>);

impl<T> Running<T> {
    /// Waits for its end.
    pub fn join(self) -> Result<T> {
        self.0.join().map_err(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no reason given");
            anyhow!("the measured code has panicked: {text}")
        })
    }
}

/// How long one measurement takes, in cycles.
#[derive(Clone, Copy, Debug)]
pub struct Slice(pub u64);

impl Slice {
    /// The median cost of one of `operations`, in nanoseconds: `batch` prepares, does that many of them
    /// between two readings of the clock, and returns the difference. The median of many short batches
    /// leaves out those that the machine interrupted.
    pub fn cost(self, operations: usize, mut batch: impl FnMut() -> u64) -> f64 {
        let [cost] = self.costs(operations, |_| batch());
        cost
    }

    /// The same of several, by their numbers: a batch of each in turn, so that what disturbs one disturbs all.
    pub fn costs<const N: usize>(self, operations: usize, mut batch: impl FnMut(usize) -> u64) -> [f64; N] {
        const LEAST: usize = 5;
        for which in 0..N {
            batch(which);
        }
        let end = cycles() + N as u64 * self.0;
        let mut costs = [const { Vec::new() }; N];
        while costs.iter().any(|costs| costs.len() < LEAST) || cycles() < end {
            for (which, costs) in costs.iter_mut().enumerate() {
                costs.push(batch(which) as f64);
            }
        }
        costs.map(|mut costs| nanoseconds(median(&mut costs)) / operations as f64)
    }
}

/// The cycles that `work` takes.
#[inline]
pub fn timed(work: impl FnOnce()) -> u64 {
    let start = cycles();
    work();
    cycles() - start
}

/// Cycles of the time-stamp counter in nanoseconds.
pub fn nanoseconds(cycles: f64) -> f64 {
    cycles * 1e9 / cycles_hz() as f64
}

/// Nanoseconds in cycles of the time-stamp counter.
pub fn in_cycles(nanoseconds: f64) -> f64 {
    nanoseconds * cycles_hz() as f64 / 1e9
}
