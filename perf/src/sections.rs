//! The parts of the benchmark. Each measures a little in every round, so that whatever disturbs the
//! machine falls on all of them alike.

mod flood;
mod pipeline;
mod probe;
mod process;
mod publish;
mod spi;
mod stages;

use std::path::PathBuf;

use anyhow::Result;
use rustix::thread::CpuSet;

use crate::core::{Core, Slice};
use crate::member::Buffers;
use getvpn_perf_figures::{Figures, Row};

pub use stages::{Bar, Stages};

/// What the sections share.
pub struct Rig {
    pub core: Core,
    pub buffers: Buffers,
    /// Time for one measurement in one run.
    pub slice: Slice,
    /// Whether one short run must do.
    pub quick: bool,
    /// Where the programs of the project are.
    pub programs: Option<PathBuf>,
    /// Where other programs may run: EAL has pinned the threads of this one.
    pub cpus: CpuSet,
    /// What the names of the pipelines' cases must contain.
    pub case: String,
}

/// One part of the benchmark.
pub trait Section {
    /// Its name in the raw figures.
    fn name(&self) -> &'static str;

    /// Measures everything once.
    fn round(&mut self, rig: &mut Rig, figures: &mut Figures) -> Result<()>;

    /// Its lines of the table.
    fn rows(&self, figures: &Figures) -> Vec<Row>;
}

/// All parts whose name contains `only`, in the order of the table.
pub fn all(rig: &mut Rig, only: Option<&str>) -> Result<Vec<Box<dyn Section>>> {
    type Make = fn(&mut Rig) -> Result<Box<dyn Section>>;
    let makers: [(&str, Make); 7] = [
        (pipeline::NAME, |rig| Ok(Box::new(pipeline::Pipelines::new(rig)?))),
        (probe::NAME, |rig| Ok(Box::new(probe::Probes::new(rig)?))),
        (stages::NAME, |rig| Ok(Box::new(Stages::new(rig)?))),
        (spi::NAME, |_| Ok(Box::new(spi::Spi::new()))),
        (publish::NAME, |rig| Ok(Box::new(publish::Publish::new(rig)?))),
        (flood::NAME, |rig| Ok(Box::new(flood::Flood::new(rig)?))),
        (process::NAME, |rig| Ok(Box::new(process::Process::new(rig)?))),
    ];
    let wanted = makers.iter().filter(|(name, _)| only.is_none_or(|only| name.contains(only)));
    wanted.map(|(_, make)| make(rig)).collect()
}
