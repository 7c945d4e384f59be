//! Why EAL did not start, in words that an operator can act on. Made on the control thread, before any
//! worker exists.

use std::fmt;

/// EAL could not start: the problem, what to do about it, and what DPDK said.
#[derive(Clone, Debug)]
pub struct EalError {
    problem: EalProblem,
    log: Vec<String>,
}

/// What kept EAL from starting, as far as its log tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EalProblem {
    /// No or not enough hugepages.
    Hugepages,
    /// Memory could not be reserved.
    Memory,
    /// An option is unknown or its value invalid.
    Arguments,
    /// The list of cores names one that does not exist or may not be used.
    Lcores,
    /// A device names a driver or bus that DPDK does not have, or is malformed.
    Device,
    /// Another process holds the runtime directory or the device.
    InUse,
    /// The process lacks a permission.
    Permission,
    /// EAL has been started, or tried, in this process before.
    SecondInit,
    /// None of the above.
    Other,
}

impl EalError {
    /// How many of DPDK's last lines an error shows.
    const LAST_LINES: usize = 8;

    pub(super) fn new(problem: EalProblem, log: Vec<String>) -> EalError {
        EalError { problem, log }
    }

    /// Finds the problem in what EAL said before it failed.
    pub(super) fn from_log(log: Vec<String>) -> EalError {
        // The usage text, which EAL prints on a bad option, names every subject there is.
        let log: Vec<String> = log
            .into_iter()
            .take_while(|line| !line.trim_start().starts_with("Usage:"))
            .filter(|line| !line.trim().is_empty())
            .collect();
        EalError { problem: EalProblem::recognise(&log), log }
    }

    /// What is wrong.
    #[must_use]
    pub fn problem(&self) -> EalProblem {
        self.problem
    }

    /// What DPDK said, the last lines only.
    #[must_use]
    pub fn log(&self) -> &[String] {
        &self.log[self.log.len().saturating_sub(Self::LAST_LINES)..]
    }
}

impl fmt::Display for EalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DPDK could not start: {}; {}", self.problem.meaning(), self.problem.advice())?;
        for line in self.log() {
            write!(f, "\n  DPDK: {line}")?;
        }
        Ok(())
    }
}

impl std::error::Error for EalError {}

impl EalProblem {
    /// Fragments of DPDK's messages and what they mean; the first that occurs decides, so the more
    /// telling ones stand first.
    const SIGNS: &[(&str, EalProblem)] = &[
        ("unrecognized option", EalProblem::Arguments),
        ("invalid option", EalProblem::Arguments),
        ("requires an argument", EalProblem::Arguments),
        ("doesn't allow an argument", EalProblem::Arguments),
        ("not compatible", EalProblem::Arguments),
        ("cannot be used together", EalProblem::Arguments),
        ("invalid core", EalProblem::Lcores),
        ("invalid lcore", EalProblem::Lcores),
        ("invalid coremask", EalProblem::Lcores),
        ("lcores parameter", EalProblem::Lcores),
        ("specified cores are part of", EalProblem::Lcores),
        ("Is another primary process running", EalProblem::InUse),
        ("Device or resource busy", EalProblem::InUse),
        ("already in use", EalProblem::InUse),
        ("Permission denied", EalProblem::Permission),
        ("Operation not permitted", EalProblem::Permission),
        ("ermission", EalProblem::Permission),
        ("annot get hugepage", EalProblem::Hugepages),
        ("o mounted hugetlbfs", EalProblem::Hugepages),
        ("ot enough memory available", EalProblem::Hugepages),
        ("failed to parse device", EalProblem::Device),
        ("unable to parse device", EalProblem::Device),
        ("Cannot probe device", EalProblem::Device),
        ("cannot find bus", EalProblem::Device),
        ("no driver", EalProblem::Device),
        // Said of any page size that is not reserved, so only of weight when there is nothing else.
        ("hugepage", EalProblem::Hugepages),
        ("Cannot init memory", EalProblem::Memory),
        ("Cannot allocate memory", EalProblem::Memory),
        ("annot mmap", EalProblem::Memory),
        ("Invalid", EalProblem::Arguments),
        ("invalid", EalProblem::Arguments),
    ];

    fn recognise(log: &[String]) -> EalProblem {
        Self::SIGNS
            .iter()
            .find(|(sign, _)| log.iter().any(|line| line.contains(sign)))
            .map_or(EalProblem::Other, |&(_, problem)| problem)
    }

    /// What is wrong, in one line.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            EalProblem::Hugepages => "it found no usable hugepages, or too few",
            EalProblem::Memory => "it could not reserve its memory",
            EalProblem::Arguments => "it does not accept these EAL arguments",
            EalProblem::Lcores => "the cores asked for do not exist or this process may not use them",
            EalProblem::Device => "a device in the EAL arguments is malformed, or has no driver",
            EalProblem::InUse => "another process holds the same runtime files or device",
            EalProblem::Permission => "this process lacks a permission",
            EalProblem::SecondInit => "it can be started only once in a process",
            EalProblem::Other => "see what it says",
        }
    }

    /// What an operator should do, in one line.
    #[must_use]
    pub fn advice(self) -> &'static str {
        match self {
            EalProblem::Hugepages => {
                "reserve some (scripts in hugepages/, or vm.nr_hugepages), or run without: --no-huge"
            }
            EalProblem::Memory => "free memory, or ask for less with -m MEGABYTES",
            EalProblem::Arguments => "check [eal] args and what follows `--` on the command line",
            EalProblem::Lcores => "check [workers] cores against `taskset -cp $$` and `lscpu`",
            EalProblem::Device => {
                "check the name after --vdev or -a: net_pcap0, net_af_packet0, a PCI address as lspci -D shows"
            }
            EalProblem::InUse => "stop it, or keep the two apart with a --file-prefix of their own",
            EalProblem::Permission => {
                "run as root, or see hugepages/ for running without: access to /dev/hugepages, /dev/vfio, CAP_NET_RAW"
            }
            EalProblem::SecondInit => "start a new process",
            EalProblem::Other => "the meaning of these lines is explained in DPDK's documentation",
        }
    }
}
