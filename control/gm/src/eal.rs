//! EAL's arguments: what the configuration and the command line give, and what follows from the rest
//! of the configuration. Control thread, before EAL starts; starts nothing itself.

use crate::config::{Config, Machine};
use crate::reserve::Fingerprint;
use std::collections::BTreeSet;
use std::fmt::Write;

/// All arguments for EAL.
#[must_use]
pub fn arguments(config: &Config, more: &[String], machine: &Machine) -> Vec<String> {
    let mut all = config.eal_args.clone();
    all.extend_from_slice(more);
    if !all.iter().any(|argument| argument.starts_with("--file-prefix")) {
        all.push(format!("--file-prefix={}", file_prefix(config)));
    }
    all.push(format!("--lcores={}", lcores(&config.workers.cores, machine)));
    all.push("--main-lcore=0".into());
    all
}

/// lcore 0 is the control thread's, which may run on all CPUs that no worker has, or on all when the
/// workers have all; lcore n is the worker n - 1, pinned to its CPU.
fn lcores(cores: &[u32], machine: &Machine) -> String {
    let workers: BTreeSet<u32> = cores.iter().copied().collect();
    let mut rest = machine.clone();
    rest.cpus.retain(|cpu| !workers.contains(cpu));
    let control = if rest.cpus.is_empty() { machine } else { &rest };
    let mut lcores = format!("0@({})", control.cpu_list());
    for (n, core) in cores.iter().enumerate() {
        // Writing to a string does not fail.
        let _ = write!(lcores, ",{}@{core}", n + 1);
    }
    lcores
}

/// A name of its own for each member of a machine, the same at each start, so that several run side by
/// side and what a crash leaves in the runtime directory is cleaned up by the next start.
fn file_prefix(config: &Config) -> String {
    let socket = &config.control.socket;
    let stem = socket.file_stem().map(|stem| stem.to_string_lossy()).unwrap_or_default();
    let plain: String = stem.chars().filter(|c| c.is_ascii_alphanumeric()).take(16).collect();
    let unique = Fingerprint::of(socket.as_os_str().as_encoded_bytes());
    format!("getvpn-{plain}-{}", unique.short())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(cpus: &[u32]) -> Machine {
        Machine { cpus: cpus.to_vec() }
    }

    #[test]
    fn the_control_thread_keeps_off_the_workers_cores_where_there_are_others() {
        assert_eq!(lcores(&[1], &machine(&[0, 1, 2, 3])), "0@(0,2-3),1@1");
        assert_eq!(lcores(&[3, 1], &machine(&[0, 1, 2, 3])), "0@(0,2),1@3,2@1");
        assert_eq!(lcores(&[0, 1], &machine(&[0, 1])), "0@(0-1),1@0,2@1");
        assert_eq!(lcores(&[0], &machine(&[0])), "0@(0),1@0");
    }
}
