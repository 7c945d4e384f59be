//! What this machine has, as far as a configuration must fit it. Control thread, at the start.

use std::fmt::Write;
use std::io;

/// The machine that a configuration is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The CPUs that this process may run on, ascending.
    pub cpus: Vec<u32>,
}

impl Machine {
    /// This one.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn this() -> io::Result<Self> {
        let allowed = rustix::thread::sched_getaffinity(None)?;
        let cpus = (0..rustix::thread::CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu));
        Ok(Self { cpus: cpus.filter_map(|cpu| u32::try_from(cpu).ok()).collect() })
    }

    /// The CPUs as a list of ranges, `0-3,8`, as people and EAL write it.
    #[must_use]
    pub fn cpu_list(&self) -> String {
        let mut list = String::new();
        for run in self.cpus.chunk_by(|a, b| a + 1 == *b) {
            let comma = if list.is_empty() { "" } else { "," };
            // Writing to a string does not fail.
            let _ = match run {
                [one] => write!(list, "{comma}{one}"),
                [first, .., last] => write!(list, "{comma}{first}-{last}"),
                [] => Ok(()),
            };
        }
        list
    }
}

#[cfg(test)]
mod tests {
    use super::Machine;

    #[test]
    fn cpus_are_listed_as_ranges() {
        for (cpus, list) in
            [(vec![0], "0"), (vec![0, 1, 2, 3], "0-3"), (vec![0, 2, 3, 8], "0,2-3,8"), (vec![], "")]
        {
            assert_eq!(Machine { cpus }.cpu_list(), list);
        }
    }

    #[test]
    fn this_machine_has_a_cpu() {
        assert!(!Machine::this().expect("an affinity").cpus.is_empty());
    }
}
