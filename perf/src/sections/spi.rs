//! The SPI table beside `dpdk-test-sad`, DPDK's own benchmark of its SA database, which runs on the same
//! core in the same round. Cold: with other memory read in between until the table has left the core's
//! caches.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use dpdk::BURST;
use getvpn_dataplane::spi_table::SpiTable;

use super::{Rig, Section};
use crate::core::{Slice, in_cycles, nanoseconds, timed};
use crate::tools;
use crate::workload::{Random, spi};
use getvpn_perf_figures::{Figures, Row, Verdict, shown};

pub const NAME: &str = "spi";

/// Numbers of SAs, with the budget in nanoseconds.
const SAS: [(usize, f64); 3] = [(10, 4.0), (1_000, 8.0), (100_000, 15.0)];

/// How much faster than `dpdk-test-sad`.
const RATIO: f64 = 2.0;

pub struct Spi {
    benches: BTreeMap<usize, Option<Box<Bench>>>,
}

struct Bench {
    table: SpiTable<Arc<usize>>,
    wanted: Vec<u32>,
    other_memory: Vec<u64>,
}

impl Spi {
    pub fn new() -> Spi {
        Spi { benches: SAS.iter().map(|&(sas, _)| (sas, Some(Box::new(Bench::new(sas))))).collect() }
    }
}

impl Section for Spi {
    fn name(&self) -> &'static str {
        NAME
    }

    fn round(&mut self, rig: &mut Rig, figures: &mut Figures) -> Result<()> {
        let slice = Slice(rig.slice.0 * 2);
        for (&sas, bench) in &mut self.benches {
            let (hot, cold) = rig.core.with(bench, move |bench| (bench.hot(slice), bench.cold(slice)))?;
            let case = sas.to_string();
            figures.add(NAME, &case, "hot", "ns", hot);
            figures.add(NAME, &case, "cold", "ns", cold);
            match test_sad(sas, rig.core.cpu()) {
                Ok(cycles) => figures.add(NAME, &case, "dpdk-test-sad", "ns", nanoseconds(cycles)),
                Err(error) => figures.gap("dpdk-test-sad", &error),
            }
        }
        Ok(())
    }

    fn rows(&self, figures: &Figures) -> Vec<Row> {
        let hot = SAS.iter().map(|&(sas, budget)| {
            let case = sas.to_string();
            let [ours, sad] = ["hot", "dpdk-test-sad"].map(|figure| figures.median(NAME, &case, figure));
            Row {
                what: format!("SPI lookup, {sas} SAs, hot"),
                ours: format!("{} ({})", shown(ours, 1, "ns"), shown(in_cycles(ours), 0, "cycles")),
                reference: format!(
                    "{} ({}) dpdk-test-sad",
                    shown(sad, 1, "ns"),
                    shown(in_cycles(sad), 0, "cycles")
                ),
                against: shown(sad / ours, 1, "times as fast"),
                budget: format!("at most {budget} ns, at least {RATIO} times as fast"),
                verdict: Verdict::at_most(ours, budget, " ns").and(Verdict::at_least(
                    sad / ours,
                    RATIO,
                    " times",
                )),
            }
        });
        let cold = SAS.iter().map(|&(sas, _)| {
            let [cold, hot] = ["cold", "hot"].map(|figure| figures.median(NAME, &sas.to_string(), figure));
            Row {
                what: format!("SPI lookup, {sas} SAs, cold"),
                ours: format!("{} ({})", shown(cold, 1, "ns"), shown(in_cycles(cold), 0, "cycles")),
                reference: format!("{} hot", shown(hot, 1, "ns")),
                against: shown(cold / hot, 1, "times as slow"),
                budget: String::new(),
                verdict: Verdict::None,
            }
        });
        hot.chain(cold).collect()
    }
}

impl Bench {
    const BURSTS: usize = 256;
    /// More than a core's own caches hold.
    const OTHER_MEMORY: usize = 8 << 20;

    fn new(sas: usize) -> Bench {
        let mut random = Random(sas as u64);
        Bench {
            table: SpiTable::build((0..sas).map(|n| (spi(n), Arc::new(n)))),
            wanted: (0..1 << 17).map(|_| spi(random.below(sas))).collect(),
            other_memory: vec![1; Self::OTHER_MEMORY / size_of::<u64>()],
        }
    }

    fn hot(&self, slice: Slice) -> f64 {
        let mut bursts = self.wanted.chunks_exact(BURST).cycle();
        slice.cost(Self::BURSTS * BURST, || {
            timed(|| bursts.by_ref().take(Self::BURSTS).for_each(|spis| look_up(&self.table, spis)))
        })
    }

    fn cold(&mut self, slice: Slice) -> f64 {
        let mut bursts = self.wanted.chunks_exact(BURST).cycle();
        slice.cost(BURST, || {
            self.other_memory.iter_mut().step_by(8).for_each(|word| *word = word.wrapping_add(1));
            let spis = bursts.next().unwrap_or_default();
            black_box(spis.iter().fold(0, |all, spi| all ^ spi));
            timed(|| look_up(&self.table, spis))
        })
    }
}

#[inline(never)]
fn look_up(table: &SpiTable<Arc<usize>>, spis: &[u32]) {
    let mut found = [None; BURST];
    table.get_burst(spis, &mut found);
    black_box(&found);
}

/// Cycles a lookup of DPDK's SA database, with rules that name an SPI only, as ours do.
fn test_sad(sas: usize, cpu: usize) -> Result<f64> {
    let (sas, cpu, burst) = (sas.to_string(), cpu.to_string(), BURST.to_string());
    let eal = ["--no-huge", "--no-pci", "--no-shconf", "--no-telemetry", "-m", "512", "-l", &cpu];
    let its = ["--", "-n", &sas, "-d", "100/0/0", "-b", &burst];
    let said = tools::output("dpdk-test-sad", &[&eal[..], &its[..]].concat())?;
    const LINE: &str = "Average lookup cycles ";
    let cycles = said.lines().find_map(|line| line.strip_prefix(LINE)?.split(',').next()?.parse().ok());
    let cycles: f64 = cycles.with_context(|| format!("no {LINE:?} in what dpdk-test-sad says:\n{said}"))?;
    ensure!(cycles > 0.0, "dpdk-test-sad says that a lookup takes no time");
    Ok(cycles)
}
