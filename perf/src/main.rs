//! `getvpn-perf`: measures the packet path on one core and prints one table; raw figures and a plot go to
//! files. `perf/run` builds and starts it, `perf/README.md` explains it. Not part of the product.

mod core;
mod member;
mod report;
mod sections;
mod tools;
mod workload;

use std::fs;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use clap::Parser;
use rustix::thread::sched_getaffinity;

use crate::core::{Core, Slice};
use crate::member::Buffers;
use crate::sections::Rig;
use getvpn_perf_figures::{Figures, table, write_csv};

#[derive(Parser)]
#[command(about = "Measures getvpn's packet path on one core, beside what it is compared with.")]
struct Arguments {
    /// One short run of everything: shows that it works; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// How many runs the medians are taken over.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Where figures.csv and stages.svg go.
    #[arg(long, default_value = "perf/out")]
    out: PathBuf,
    /// Where getvpn-gm is; without it the whole process is not measured.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// The core to measure on; the last one unless given.
    #[arg(long)]
    core: Option<usize>,
    /// Only the sections whose names contain this: pipeline, stages, spi, publish, flood, process.
    #[arg(long)]
    only: Option<String>,
    /// Of the pipelines only the cases whose names contain this, such as "inbound aes-128-gcm 64 1".
    #[arg(long)]
    case: Option<String>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cores = thread::available_parallelism()?.get();
    let cpus = sched_getaffinity(None)?;
    let cpu = arguments.core.unwrap_or(cores - 1);
    let core = Core::start(cpu, if cpu == 0 { cores - 1 } else { 0 })?;
    let (runs, slice_ms) = if arguments.quick { (1, 1) } else { (arguments.runs, 25) };
    let machine = report::machine(cpu, runs);
    println!("{machine}");

    let mut rig = Rig {
        core,
        buffers: Buffers::new()?,
        slice: Slice(dpdk::cycles_hz() / 1000 * slice_ms),
        quick: arguments.quick,
        programs: arguments.programs,
        cpus,
        case: arguments.case.unwrap_or_default(),
    };
    let mut sections = sections::all(&mut rig, arguments.only.as_deref())?;
    let mut figures = Figures::default();
    for run in 1..=runs {
        figures.run = run;
        for section in &mut sections {
            eprint!("\rrun {run} of {runs}: {:<10}", section.name());
            section.round(&mut rig, &mut figures).with_context(|| format!("section {}", section.name()))?;
        }
    }
    eprintln!("\r{:<30}", "");

    let rows: Vec<_> = sections.iter().flat_map(|section| section.rows(&figures)).collect();
    println!("{}", table(&rows));
    for (what, why) in &figures.gaps {
        println!("not measured: {what}: {why}");
    }
    fs::create_dir_all(&arguments.out).with_context(|| arguments.out.display().to_string())?;
    write_csv(&figures, &arguments.out.join("figures.csv"))?;
    report::draw(&figures, &arguments.out.join("stages.svg"), &format!("AES-128-GCM, {machine}"))?;
    println!("raw figures and plot: {}", arguments.out.display());
    Ok(())
}
