//! What the figures are from, and the plot as SVG. Off the measured core.

mod plot;

use getvpn_perf_figures::processor;

pub use plot::draw;

/// Where and when the figures are from.
pub fn machine(cpu: usize, rounds: usize) -> String {
    let ghz = dpdk::cycles_hz() as f64 / 1e9;
    format!("core {cpu} of {}, TSC {ghz:.2} GHz, medians of {rounds} runs", processor())
}
