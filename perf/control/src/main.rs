//! `getvpn-perf-control`: measures the control plane on one core and prints one table; raw figures go to a
//! file. `perf/run` builds and starts it, `perf/README.md` explains it. Not part of the product.

mod sections;

use std::fs;
use std::path::PathBuf;
use std::thread;

use anyhow::{Context, Result};
use clap::Parser;
use getvpn_perf_figures::{Figures, processor, table, write_csv};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::sections::Rig;

#[derive(Parser)]
#[command(about = "Measures getvpn's control plane on one core, beside the bare public-key cryptography.")]
struct Arguments {
    /// One short run with few members: shows that it works; the figures mean little.
    #[arg(long)]
    quick: bool,
    /// How many runs the medians are taken over.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Where control.csv goes, and the stores that are measured.
    #[arg(long, default_value = "perf/out")]
    out: PathBuf,
    /// Where getvpn-ks is; without it the whole process is not measured.
    #[arg(long)]
    programs: Option<PathBuf>,
    /// The core to measure on; the last one unless given.
    #[arg(long)]
    core: Option<usize>,
    /// Only the sections whose names contain this: registration, rekey, memory, storm.
    #[arg(long)]
    only: Option<String>,
    /// How many members a group has.
    #[arg(long)]
    members: Option<usize>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let cores = thread::available_parallelism()?.get();
    let cpu = arguments.core.unwrap_or(cores - 1);
    let cpus = sched_getaffinity(None)?;
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).with_context(|| format!("core {cpu}"))?;
    let runs = if arguments.quick { 1 } else { arguments.runs };
    println!("core {cpu} of {}, medians of {runs} runs", processor());

    fs::create_dir_all(&arguments.out).with_context(|| arguments.out.display().to_string())?;
    let rig = Rig {
        quick: arguments.quick,
        members: arguments.members.unwrap_or(if arguments.quick { 100 } else { 8_000 }),
        out: arguments.out,
        programs: arguments.programs,
        cpus,
    };
    let mut sections = sections::all(&rig, arguments.only.as_deref())?;
    let mut figures = Figures::default();
    for run in 1..=runs {
        figures.run = run;
        for section in &mut sections {
            eprint!("\rrun {run} of {runs}: {:<14}", section.name());
            section.round(&rig, &mut figures).with_context(|| format!("section {}", section.name()))?;
        }
    }
    eprintln!("\r{:<34}", "");

    let rows: Vec<_> = sections.iter().flat_map(|section| section.rows(&figures)).collect();
    println!("{}", table(&rows));
    for (what, why) in &figures.gaps {
        println!("not measured: {what}: {why}");
    }
    let csv = rig.out.join("control.csv");
    write_csv(&figures, &csv)?;
    println!("raw figures: {}", csv.display());
    Ok(())
}
