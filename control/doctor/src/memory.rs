//! Hugepages, and how much memory may be locked.

use crate::{Subject, Tree, ports};
use getvpn_ctl::reply::Check;
use rustix::process::{Resource, getrlimit, getuid};

const SETUP: &str = "sudo hugepages/setup 2048, or `--no-huge` in [eal] args for a test";

pub(crate) fn hugepages(tree: &Tree, subject: &Subject) -> Option<Check> {
    const NAME: &str = "hugepages";
    if !subject.hugepages {
        let fix = "remove --no-huge from [eal] args, and do `sudo hugepages/setup 2048`";
        return Some(Check::yellow(NAME, "runs without (--no-huge): good for tests only", fix));
    }
    const DIR: &str = "sys/kernel/mm/hugepages";
    let (mut total, mut free, mut told) = (0, 0, Vec::new());
    for size in tree.names(DIR) {
        let count = |what| tree.number(&format!("{DIR}/{size}/{what}")).unwrap_or(0);
        let (pages, left) = (count("nr_hugepages"), count("free_hugepages"));
        if pages > 0 {
            told.push(format!("{pages} of {}, {left} free", size.trim_start_matches("hugepages-")));
        }
        total += pages;
        free += left;
    }
    let told = told.join("; ");
    Some(match (total, free) {
        (0, _) => Check::red(NAME, "there are none", SETUP),
        (_, 0) if !subject.running => {
            let fix = "end what has them (`grep -l huge /proc/*/maps`), or `sudo hugepages/setup` with more";
            Check::red(NAME, format!("all are taken: {told}"), fix)
        }
        _ => Check::green(NAME, told),
    })
}

/// vfio-pci locks the memory that devices write to; root may lock what it wants.
pub(crate) fn memlock(tree: &Tree, subject: &Subject) -> Option<Check> {
    const NAME: &str = "locked memory";
    let uses_vfio =
        ports::pci(subject).any(|address| ports::driver(tree, address).as_deref() == Some("vfio-pci"));
    if !uses_vfio {
        return None;
    }
    let limit = getrlimit(Resource::Memlock).current;
    Some(match limit {
        _ if getuid().is_root() => Check::green(NAME, "root may lock what it wants"),
        None => Check::green(NAME, "not limited"),
        Some(octets) => {
            let found = format!("at most {} MB, which vfio-pci counts all buffers against", octets >> 20);
            Check::red(NAME, found, "`ulimit -l unlimited`, or LimitMEMLOCK=infinity in the unit")
        }
    })
}
