//! The parts of the benchmark. Each measures everything once in every run.

mod memory;
mod registration;
mod rekey;
mod storm;

use std::path::PathBuf;

use anyhow::Result;
use getvpn_perf_figures::{Figures, Row};
use rustix::thread::CpuSet;

/// What the sections share.
pub struct Rig {
    /// Whether one short run must do.
    pub quick: bool,
    /// How many members a group has.
    pub members: usize,
    /// Where stores may lie that are measured.
    pub out: PathBuf,
    /// Where the programs of the project are.
    pub programs: Option<PathBuf>,
    /// Where other programs may run: this one is pinned.
    pub cpus: CpuSet,
}

/// One part of the benchmark.
pub trait Section {
    /// Its name in the raw figures.
    fn name(&self) -> &'static str;

    /// Measures everything once.
    fn round(&mut self, rig: &Rig, figures: &mut Figures) -> Result<()>;

    /// Its lines of the table.
    fn rows(&self, figures: &Figures) -> Vec<Row>;
}

/// All parts whose name contains `only`, in the order of the table.
pub fn all(rig: &Rig, only: Option<&str>) -> Result<Vec<Box<dyn Section>>> {
    type Make = fn(&Rig) -> Result<Box<dyn Section>>;
    let makers: [(&str, Make); 4] = [
        (registration::NAME, |rig| Ok(Box::new(registration::Registration::new(rig)?))),
        (rekey::NAME, |rig| Ok(Box::new(rekey::Rekey::new(rig)?))),
        (memory::NAME, |_| Ok(Box::new(memory::Memory::default()))),
        (storm::NAME, |_| Ok(Box::new(storm::Storm::default()))),
    ];
    let wanted = makers.iter().filter(|(name, _)| only.is_none_or(|only| name.contains(only)));
    wanted.map(|(_, make)| make(rig)).collect()
}
