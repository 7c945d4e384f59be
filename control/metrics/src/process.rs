//! What the kernel says of this process, under the names that every Prometheus client library uses. Reads
//! /proc; for the endpoint's thread.

use crate::page::{Family, Kind};
use std::fs;
use std::sync::LazyLock;

/// Processor time, memory, files and start of this process; without what cannot be read.
#[must_use]
pub fn process() -> Vec<Family> {
    let mut all = Vec::new();
    let mut add = |name: &str, kind, help: &str, value: Option<f64>| {
        if let Some(value) = value {
            let mut family = Family::new(name, kind, help);
            family.number(&[], value);
            all.push(family);
        }
    };
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks = |field| Some(stat_field(&stat, field)? / rustix::param::clock_ticks_per_second() as f64);
    add(
        "process_cpu_seconds",
        Kind::Counter,
        "processor time of the process, in its own code and in the kernel",
        ticks(UTIME).zip(ticks(STIME)).map(|(user, system)| user + system),
    );
    let page = rustix::param::page_size() as f64;
    add(
        "process_resident_memory_bytes",
        Kind::Gauge,
        "memory of the process that is in RAM; hugepages are not in it",
        stat_field(&stat, RSS).map(|pages| pages * page),
    );
    add(
        "process_virtual_memory_bytes",
        Kind::Gauge,
        "address space of the process",
        stat_field(&stat, VSIZE),
    );
    add("process_threads", Kind::Gauge, "threads of the process", stat_field(&stat, THREADS));
    let files = fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as f64);
    add("process_open_fds", Kind::Gauge, "open file descriptors", files);
    add("process_max_fds", Kind::Gauge, "how many file descriptors may be open", most_files());
    // The kernel says when by its own clock; a clock that is stepped does not move it.
    let started = ticks(START).zip(*BOOTED).map(|(since_boot, boot)| boot + since_boot);
    add(
        "process_start_time_seconds",
        Kind::Gauge,
        "when the process was started, in seconds since 1970",
        started,
    );
    all
}

/// When the machine was booted, in seconds since 1970.
static BOOTED: LazyLock<Option<f64>> = LazyLock::new(|| {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
});

// The fields of /proc/PID/stat that stand behind the name, by their number in proc(5).
const UTIME: usize = 14;
const STIME: usize = 15;
const THREADS: usize = 20;
const START: usize = 22;
const VSIZE: usize = 23;
const RSS: usize = 24;

/// A field by its number in proc(5), from 4 on. The name before it may hold anything but ends with the last `)`.
fn stat_field(stat: &str, number: usize) -> Option<f64> {
    let (_, behind) = stat.rsplit_once(')')?;
    behind.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn most_files() -> Option<f64> {
    let limits = fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::Page;

    #[test]
    fn fields_are_found_behind_any_name() {
        let stat = "7 (a) b) S 1 7 7 0 -1 4 5 6 7 8 110 25 0 0 20 0 3 0 900 4096 12 18446744073709551615";
        let fields = [UTIME, STIME, THREADS, START, VSIZE, RSS].map(|field| stat_field(stat, field));
        assert_eq!(fields, [110.0, 25.0, 3.0, 900.0, 4096.0, 12.0].map(Some));
        assert_eq!(stat_field("", RSS), None);
    }

    #[test]
    fn this_process_has_all_of_them() {
        let mut page = Page::new("");
        process().into_iter().for_each(|family| page.push(family));
        assert_eq!(page.names().count(), 7);
        assert!(page.into_text().contains("process_start_time_seconds 1"));
    }
}
