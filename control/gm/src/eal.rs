//! EAL's arguments: what the configuration and the command line give, and what follows from the rest
//! of the configuration. Control thread, before EAL starts; starts nothing itself.

use crate::config::{Config, Machine};
use crate::reserve::Fingerprint;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;

/// All arguments for EAL.
#[must_use]
pub fn arguments(config: &Config, more: &[String], machine: &Machine) -> Vec<String> {
    let mut all = config.eal_args.clone();
    all.extend_from_slice(more);
    let given = |all: &[String], option: &str| all.iter().any(|argument| argument.starts_with(option));
    if !given(&all, "--file-prefix") {
        all.push(format!("--file-prefix={}", file_prefix(config)));
    }
    // So that neither packets in hugepage files nor EAL's own files stay behind, however the process
    // ends. EAL takes --no-huge for the legacy memory layout, which does not go with --in-memory.
    if !["--in-memory", "--no-shconf", "--legacy-mem", "--proc-type"].iter().any(|o| given(&all, o)) {
        let option = if given(&all, "--no-huge") { "--no-shconf" } else { "--in-memory" };
        all.push(option.into());
    }
    // Without hugepages EAL takes 64 MB, too little for the buffers. What is not used costs nothing.
    if given(&all, "--no-huge") && !["-m", "--socket-mem"].iter().any(|o| given(&all, o)) {
        all.extend(["-m", NO_HUGE_MEGABYTES].map(str::to_owned));
    }
    all.push(format!("--lcores={}", lcores(&config.workers.cores, machine)));
    all.push("--main-lcore=0".into());
    all
}

/// EAL's memory without hugepages, where nothing else is said.
const NO_HUGE_MEGABYTES: &str = "512";

/// The argument that asks EAL for a device, if any does.
#[must_use]
pub fn argument_for<'a>(device: &str, arguments: &'a [String]) -> Option<&'a str> {
    let names_it =
        |argument: &&String| argument.trim_start_matches("--vdev=").split(',').next() == Some(device);
    arguments.iter().find(names_it).map(String::as_str)
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

/// The directory that EAL makes at its start under this member's own file prefix. Removed when this is
/// dropped, which must be after EAL is cleaned up, and when it is empty.
#[derive(Debug)]
pub struct RuntimeDirectory(PathBuf);

impl RuntimeDirectory {
    /// Of the member with this configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let variable = |name| std::env::var_os(name).map(PathBuf::from);
        // In the order in which EAL looks.
        let base = variable("RUNTIME_DIRECTORY").unwrap_or_else(|| {
            if rustix::process::getuid().is_root() {
                return "/var/run".into();
            }
            variable("XDG_RUNTIME_DIR").unwrap_or_else(|| "/tmp".into())
        });
        Self(base.join("dpdk").join(file_prefix(config)))
    }
}

impl Drop for RuntimeDirectory {
    fn drop(&mut self) {
        // The library itself takes this one away only when the process exits.
        let _ = fs::remove_file(self.0.join("dpdk_telemetry.v2"));
        // What is not there, or not empty, is not ours to remove.
        let _ = fs::remove_dir(&self.0);
    }
}

/// A name of its own for each member of a machine, the same at each start, so that several run side by
/// side.
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
    use crate::config::{Control, Workers};
    use getvpn_dataplane::{Idle, ParkingLimits};

    fn machine(cpus: &[u32]) -> Machine {
        Machine { cpus: cpus.to_vec() }
    }

    fn config(eal: &[&str]) -> Config {
        Config {
            eal_args: eal.iter().map(|&argument| argument.to_owned()).collect(),
            workers: Workers {
                cores: vec![1],
                idle: Idle::Spin,
                buffers: 1024,
                tx_wait_us: 0,
                link_wait: std::time::Duration::ZERO,
            },
            parking: ParkingLimits::OFF,
            links: Vec::new(),
            control: Control {
                socket: "/run/getvpn/site a.sock".into(),
                permissions: getvpn_ctl::Permissions::default(),
                state: "state".into(),
                listen: "0.0.0.0:848".parse().expect("an address"),
                multicast_interface: None,
                invalid_spi_per_s: 100,
            },
            metrics: None,
            local: Vec::new(),
            groups: Vec::new(),
            secrets: Vec::new(),
            warnings: Vec::new(),
        }
    }

    #[test]
    fn what_follows_from_the_configuration_is_added_and_what_is_given_stays() {
        let all = arguments(&config(&["--no-pci"]), &["-n4".into()], &machine(&[0, 1]));
        assert_eq!(all[..2], ["--no-pci", "-n4"]);
        assert!(all[2].starts_with("--file-prefix=getvpn-sitea-"), "{all:?}");
        assert_eq!(all[3..], ["--in-memory", "--lcores=0@(0),1@1", "--main-lcore=0"]);
        let all = arguments(&config(&["--no-huge", "--file-prefix=x"]), &[], &machine(&[0, 1]));
        assert_eq!(all[..5], ["--no-huge", "--file-prefix=x", "--no-shconf", "-m", "512"]);
        let all = arguments(&config(&["--no-huge", "-m", "64", "--no-shconf"]), &[], &machine(&[0, 1]));
        assert!(!all.iter().any(|argument| argument == "512"), "{all:?}");
        let all = arguments(&config(&["--file-prefix=x", "--legacy-mem"]), &[], &machine(&[0, 1]));
        assert_eq!(all[..3], ["--file-prefix=x", "--legacy-mem", "--lcores=0@(0),1@1"]);
    }

    #[test]
    fn the_argument_that_asks_for_a_device_is_found() {
        let all = ["--no-huge", "--vdev=net_pcap01,a=b", "--vdev=net_pcap0,a=b", "--vdev", "net_null0"];
        let all = all.map(str::to_owned);
        assert_eq!(argument_for("net_pcap0", &all), Some("--vdev=net_pcap0,a=b"));
        assert_eq!(argument_for("net_null0", &all), Some("net_null0"));
        assert_eq!(argument_for("net_null1", &all), None);
    }

    #[test]
    fn the_control_thread_keeps_off_the_workers_cores_where_there_are_others() {
        assert_eq!(lcores(&[1], &machine(&[0, 1, 2, 3])), "0@(0,2-3),1@1");
        assert_eq!(lcores(&[3, 1], &machine(&[0, 1, 2, 3])), "0@(0,2),1@3,2@1");
        assert_eq!(lcores(&[0, 1], &machine(&[0, 1])), "0@(0-1),1@0,2@1");
        assert_eq!(lcores(&[0], &machine(&[0])), "0@(0),1@0");
    }
}
