//! What a machine lacks for a member or a key server, told from `/sys` and `/proc` as a list of checks, each with its
//! fix. Changes nothing, and needs no data plane: it runs before a daemon starts as well as within one. The root of
//! the file system is given, so that tests prepare their own machines.

mod cores;
mod files;
mod memory;
mod ports;
mod processor;
#[cfg(test)]
mod tests;
mod tree;

pub use files::Certificate;
pub use tree::Tree;

use getvpn_ctl::reply::Check;
use std::path::PathBuf;

/// What is to run on the machine.
#[derive(Clone, Debug, Default)]
pub struct Subject {
    /// CPUs of the workers; none at a key server.
    pub cores: Vec<u32>,
    /// Whether the workers are busy all the time, or sleep when nothing comes.
    pub spin: bool,
    /// The devices, as DPDK names them.
    pub devices: Vec<String>,
    /// Whether memory comes from hugepages.
    pub hugepages: bool,
    /// Whether it runs already, and has its memory.
    pub running: bool,
    /// Files that hold keys.
    pub secrets: Vec<PathBuf>,
    /// Its own certificates.
    pub certificates: Vec<Certificate>,
    /// Seconds since 1970.
    pub unix_time: u64,
}

/// The scripts that fixes name as `hugepages/...`, which is where they are in the source tree, and where Debian's packages
/// have them.
const SCRIPTS: &str = "hugepages/";
const PACKAGED_SCRIPTS: &str = "usr/share/getvpn/hugepages/";

/// Looks at the machine. Takes about a third of a second where there are workers: what else runs on their cores is seen
/// by watching.
#[must_use]
pub fn examine(tree: &Tree, subject: &Subject) -> Vec<Check> {
    let mut checks = Vec::new();
    if !subject.cores.is_empty() {
        checks.extend(memory::hugepages(tree, subject));
        checks.push(ports::iommu(tree, subject));
        checks.extend(ports::drivers(tree, subject));
        checks.extend(ports::numa(tree, subject));
        checks.extend(memory::memlock(tree, subject));
        checks.push(cores::isolated(tree, subject));
        checks.push(cores::shared(tree, subject));
    }
    checks.push(processor::features(tree));
    checks.push(processor::clock_source(tree));
    checks.push(processor::time_is_kept(tree));
    checks.extend(files::secrets(&subject.secrets));
    checks.extend(files::certificates(subject));
    if tree.exists(PACKAGED_SCRIPTS) {
        for fix in checks.iter_mut().filter_map(|check| check.fix.as_mut()) {
            *fix = fix.replace(SCRIPTS, &format!("/{PACKAGED_SCRIPTS}"));
        }
    }
    checks
}
