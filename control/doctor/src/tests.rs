//! Machines as files: a good one, and one for each thing that can be wrong with it.

use super::*;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use tempfile::TempDir;

/// Two nodes with two cores each; two ports on the second one.
struct Machine(TempDir);

const PORTS: [&str; 2] = ["0000:81:00.0", "0000:81:00.1"];
const STAT: &str = "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0";

impl Machine {
    fn good() -> Self {
        let machine = Self(tempfile::tempdir().expect("a directory"));
        for (path, text) in [
            ("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "1024"),
            ("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "1000"),
            ("sys/devices/system/node/node0/cpulist", "0-1"),
            ("sys/devices/system/node/node0/hugepages/hugepages-2048kB/nr_hugepages", "0"),
            ("sys/devices/system/node/node1/cpulist", "2-3"),
            ("sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "1024"),
            ("sys/devices/system/cpu/isolated", "2-3"),
            ("sys/devices/system/cpu/online", "0-3"),
            ("sys/kernel/iommu_groups/7/type", "DMA"),
            ("sys/devices/system/clocksource/clocksource0/current_clocksource", "tsc"),
            ("sys/devices/system/clocksource/clocksource0/available_clocksource", "tsc hpet acpi_pm"),
            ("run/systemd/timesync/synchronized", ""),
            ("proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu aes pclmulqdq avx2 vaes vpclmulqdq avx512f\n"),
        ] {
            machine.write(path, text);
        }
        for port in PORTS {
            machine.write(&format!("sys/bus/pci/devices/{port}/numa_node"), "1");
            machine.drive(port, "vfio-pci");
        }
        machine
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.path().join(path);
        fs::create_dir_all(path.parent().expect("a parent")).expect("made");
        fs::write(path, format!("{text}\n")).expect("written");
    }

    fn drive(&self, port: &str, driver: &str) {
        let link = self.0.path().join(format!("sys/bus/pci/devices/{port}/driver"));
        let _ = fs::remove_file(&link);
        symlink(Path::new("../../drivers").join(driver), link).expect("linked");
    }

    fn remove(&self, path: &str) {
        let path = self.0.path().join(path);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.expect("removed");
    }

    /// What is not green, with its state.
    fn wrong(&self, subject: &Subject) -> Vec<(String, String, String)> {
        let checks = examine(&Tree::under(self.0.path()), subject);
        let wrong = checks.into_iter().filter(|check| check.state != "green");
        wrong.map(|c| (c.state, c.name, format!("{} -> {}", c.says, c.fix.unwrap_or_default()))).collect()
    }
}

fn subject() -> Subject {
    Subject {
        cores: vec![2, 3],
        spin: true,
        devices: PORTS.map(str::to_owned).into(),
        hugepages: true,
        ..Subject::default()
    }
}

#[track_caller]
fn only(wrong: &[(String, String, String)], state: &str, name: &str, words: &[&str]) {
    let [(is, what, says)] = wrong else { panic!("not one thing: {wrong:#?}") };
    assert_eq!((is.as_str(), what.as_str()), (state, name), "{says}");
    for word in words {
        assert!(says.contains(word), "{word}: {says}");
    }
}

#[test]
fn a_good_machine_is_green_and_every_check_was_made() {
    let machine = Machine::good();
    assert_eq!(machine.wrong(&subject()), []);
    let names: Vec<_> =
        examine(&Tree::under(machine.0.path()), &subject()).into_iter().map(|check| check.name).collect();
    for name in [
        "hugepages",
        "IOMMU",
        "driver of 0000:81:00.1",
        "NUMA node",
        "isolated cores",
        "shared cores",
        "ciphers",
        "clock source",
        "time",
    ] {
        assert!(names.iter().any(|n| n == name), "{name}: {names:?}");
    }
}

#[test]
fn no_hugepages_taken_hugepages_and_hugepages_on_the_other_node() {
    let machine = Machine::good();
    machine.write("sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages", "0");
    only(&machine.wrong(&subject()), "red", "hugepages", &["all are taken: 1024 of 2048kB"]);
    assert_eq!(machine.wrong(&Subject { running: true, ..subject() }), [], "by this very member");
    machine.write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0");
    only(&machine.wrong(&subject()), "red", "hugepages", &["there are none", "sudo hugepages/setup 2048"]);
    let without = Subject { hugepages: false, ..subject() };
    only(&machine.wrong(&without), "yellow", "hugepages", &["--no-huge"]);
    let machine = Machine::good();
    machine.write("sys/devices/system/node/node1/hugepages/hugepages-2048kB/nr_hugepages", "0");
    only(
        &machine.wrong(&subject()),
        "yellow",
        "NUMA node",
        &["no hugepages", "sudo hugepages/setup --node 1 2048"],
    );
}

#[test]
fn scripts_are_named_where_the_packages_have_them() {
    let machine = Machine::good();
    machine.write("usr/share/getvpn/hugepages/setup", "");
    machine.write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "0");
    let fix = "sudo /usr/share/getvpn/hugepages/setup 2048, or";
    only(&machine.wrong(&subject()), "red", "hugepages", &["there are none", fix]);
}

#[test]
fn a_port_with_the_wrong_driver_without_one_and_one_that_is_not_there() {
    let machine = Machine::good();
    machine.drive(PORTS[1], "ixgbe");
    let name = format!("driver of {}", PORTS[1]);
    only(&machine.wrong(&subject()), "red", &name, &["ixgbe", "sudo hugepages/bind 0000:81:00.1"]);
    machine.remove("sys/bus/pci/devices/0000:81:00.1/driver");
    only(&machine.wrong(&subject()), "red", &name, &["none"]);
    machine.remove("sys/bus/pci/devices/0000:81:00.1");
    only(&machine.wrong(&subject()), "red", &name, &["no such device", "lspci"]);
    let machine = Machine::good();
    machine.drive(PORTS[0], "uio_pci_generic");
    only(&machine.wrong(&subject()), "yellow", "driver of 0000:81:00.0", &["uio_pci_generic"]);
}

#[test]
fn an_iommu_that_is_off_stops_vfio_and_no_other_driver() {
    let machine = Machine::good();
    machine.remove("sys/kernel/iommu_groups/7");
    only(&machine.wrong(&subject()), "red", "IOMMU", &["off", "iommu=pt"]);
    machine.write("sys/module/vfio/parameters/enable_unsafe_noiommu_mode", "Y");
    only(&machine.wrong(&subject()), "yellow", "IOMMU", &["without its protection"]);
    for port in PORTS {
        machine.drive(port, "mlx5_core");
    }
    assert_eq!(machine.wrong(&subject()), []);
    let virtual_only = Subject { devices: vec!["net_pcap0".into()], ..subject() };
    machine.remove("sys/module/vfio/parameters/enable_unsafe_noiommu_mode");
    assert_eq!(machine.wrong(&virtual_only), []);
}

#[test]
fn cores_on_another_node_than_the_port_and_cores_that_the_scheduler_uses() {
    let machine = Machine::good();
    let far = Subject { cores: vec![1, 2], ..subject() };
    machine.write("sys/devices/system/cpu/isolated", "1-3");
    only(&machine.wrong(&far), "yellow", "NUMA node", &["not the cores 1", "cores of 2-3"]);
    machine.write("sys/devices/system/cpu/isolated", "3");
    only(&machine.wrong(&subject()), "yellow", "isolated cores", &["sudo hugepages/isolate 2, then reboot"]);
}

#[test]
fn another_process_that_is_busy_on_a_workers_core_is_named() {
    let machine = Machine::good();
    let stat =
        |ticks: u64, core: u32| format!("77 (stress) R 1 1 1 0 -1 0 0 0 0 0 {ticks} 0 {STAT} 0 0 {core} 0");
    machine.write("proc/77/task/77/stat", &stat(1000, 2));
    assert_eq!(machine.wrong(&subject()), [], "it does nothing");
    let grow = |core| {
        let path = machine.0.path().join("proc/77/task/77/stat");
        // Ticks that go up while it is looked at.
        let stop = std::sync::atomic::AtomicBool::new(false);
        let written = stat(9_000, core);
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for n in 0..200_000_u64 {
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                    let text = written.replacen("9000", &(1000 + n).to_string(), 1);
                    let other = path.with_extension("new");
                    fs::write(&other, text).and_then(|()| fs::rename(other, &path)).expect("written");
                }
            });
            let wrong = machine.wrong(&subject());
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            writer.join().expect("it ends");
            wrong
        })
    };
    only(&grow(3), "red", "shared cores", &["stress (process 77)", "core 3", "taskset -a -p -c 0,1 77"]);
    assert_eq!(grow(0), [], "another core");
}

#[test]
fn a_processor_and_clocks_that_are_not_what_they_should_be() {
    let machine = Machine::good();
    machine.write("proc/cpuinfo", "flags\t: fpu avx2");
    only(&machine.wrong(&subject()), "red", "ciphers", &["lacks aes, pclmulqdq", "-cpu host"]);
    machine.write("proc/cpuinfo", "flags\t: fpu aes pclmulqdq");
    only(&machine.wrong(&subject()), "yellow", "ciphers", &["no avx2"]);
    let machine = Machine::good();
    machine.write("sys/devices/system/clocksource/clocksource0/current_clocksource", "hpet");
    only(&machine.wrong(&subject()), "yellow", "clock source", &["although there is tsc", "echo tsc"]);
    let machine = Machine::good();
    machine.remove("run/systemd/timesync/synchronized");
    only(&machine.wrong(&subject()), "yellow", "time", &["chrony"]);
    machine.write("proc/9/comm", "chronyd");
    assert_eq!(machine.wrong(&subject()), []);
}

#[test]
fn files_with_keys_and_certificates() {
    let machine = Machine::good();
    let file = machine.0.path().join("gm.psk");
    fs::write(&file, "key").expect("written");
    let set = |mode| fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("set");
    let with = Subject { secrets: vec![file.clone()], ..Subject::default() };
    set(0o640);
    only(&machine.wrong(&with), "red", "files with keys", &["mode 0640", "chmod 600", "gm.psk"]);
    set(0o600);
    assert_eq!(machine.wrong(&with), []);
    fs::remove_file(&file).expect("removed");
    only(&machine.wrong(&with), "red", "files with keys", &["No such file"]);

    let at = |day: u64| {
        let certificate =
            Certificate { of: "finance".into(), not_before: 100 * 86_400, not_after: 200 * 86_400 };
        machine.wrong(&Subject {
            certificates: vec![certificate],
            unix_time: day * 86_400,
            ..Subject::default()
        })
    };
    only(&at(203), "red", "certificate of finance", &["expired 3 days ago"]);
    only(&at(199), "yellow", "certificate of finance", &["expires in 1 day"]);
    only(&at(90), "red", "certificate of finance", &["not valid for 10 days yet", "timedatectl"]);
    assert_eq!(at(150), []);
}
