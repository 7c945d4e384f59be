//! Ports on the PCI bus: who drives them, behind which IOMMU, on which node.

use crate::tree::{cpu_list, listed};
use crate::{Subject, Tree};
use getvpn_ctl::reply::Check;

/// Ports on the PCI bus; others are DPDK's own and need nothing of the machine.
pub(crate) fn pci(subject: &Subject) -> impl Iterator<Item = &str> {
    subject.devices.iter().map(String::as_str).filter(|name| is_pci(name))
}

/// Whether a name is an address such as 0000:01:00.0.
fn is_pci(name: &str) -> bool {
    let parts: Vec<&str> = name.split([':', '.']).collect();
    let hex = |part: &&str| !part.is_empty() && part.chars().all(|c| c.is_ascii_hexdigit());
    (3..=4).contains(&parts.len()) && name.contains(':') && name.contains('.') && parts.iter().all(hex)
}

fn path(address: &str, what: &str) -> String {
    let domain = if address.matches(':').count() == 1 { "0000:" } else { "" };
    format!("sys/bus/pci/devices/{domain}{address}/{what}")
}

pub(crate) fn driver(tree: &Tree, address: &str) -> Option<String> {
    tree.link_name(&path(address, "driver"))
}

pub(crate) fn iommu(tree: &Tree, subject: &Subject) -> Check {
    const NAME: &str = "IOMMU";
    const FIX: &str = "turn on VT-d or AMD-Vi in the BIOS, add `intel_iommu=on iommu=pt` to GRUB_CMDLINE_LINUX in \
                       /etc/default/grub, `sudo update-grub`, reboot; in a virtual machine without one: `sudo \
                       hugepages/bind --noiommu PORTS`";
    let groups = tree.names("sys/kernel/iommu_groups").len();
    let unsafe_mode =
        tree.read("sys/module/vfio/parameters/enable_unsafe_noiommu_mode").as_deref() == Some("Y");
    let own = |driver: Option<String>| driver.is_some_and(|driver| driver.starts_with("mlx"));
    match groups {
        _ if pci(subject).next().is_none() => Check::green(NAME, "no port is on the PCI bus"),
        0 if pci(subject).all(|address| own(driver(tree, address))) => {
            Check::green(NAME, "off; the ports' own driver does without")
        }
        0 if unsafe_mode => {
            Check::yellow(NAME, "off; vfio-pci works without it, and without its protection", FIX)
        }
        0 => Check::red(NAME, "off: vfio-pci will not have the ports", FIX),
        _ => Check::green(NAME, format!("on, {groups} groups")),
    }
}

pub(crate) fn drivers(tree: &Tree, subject: &Subject) -> Vec<Check> {
    pci(subject).map(|address| driver_of(tree, address)).collect()
}

fn driver_of(tree: &Tree, address: &str) -> Check {
    let name = format!("driver of {address}");
    let bind = format!("sudo hugepages/bind {address}");
    if !tree.exists(&path(address, "")) {
        return Check::red(
            &name,
            "there is no such device",
            "`lspci -D | grep -i ether` shows those that there are",
        );
    }
    match driver(tree, address).as_deref() {
        Some(good @ "vfio-pci") => Check::green(&name, good),
        Some(own) if own.starts_with("mlx") => Check::green(&name, format!("{own}, which DPDK shares")),
        Some(other @ ("uio_pci_generic" | "igb_uio")) => {
            Check::yellow(&name, format!("{other}, which no IOMMU protects memory from"), bind)
        }
        Some(kernel) => Check::red(&name, format!("{kernel}: the kernel has it, and DPDK cannot"), bind),
        None => Check::red(&name, "none", bind),
    }
}

pub(crate) fn numa(tree: &Tree, subject: &Subject) -> Option<Check> {
    const NAME: &str = "NUMA node";
    const NODES: &str = "sys/devices/system/node";
    let is_node = |name: &String| name.strip_prefix("node").is_some_and(|n| n.parse::<u32>().is_ok());
    let nodes: Vec<String> = tree.names(NODES).into_iter().filter(is_node).collect();
    pci(subject).next()?;
    if nodes.len() < 2 {
        return Some(Check::green(NAME, "there is but one"));
    }
    for address in pci(subject) {
        let Some(node) = tree.number(&path(address, "numa_node")) else { continue };
        let local = cpu_list(&tree.read(&format!("{NODES}/node{node}/cpulist")).unwrap_or_default());
        let far: Vec<u32> = subject.cores.iter().copied().filter(|core| !local.contains(core)).collect();
        if !far.is_empty() {
            let found = format!("port {address} is on node {node}, and not the cores {}", listed(&far));
            let cpus = tree.read(&format!("{NODES}/node{node}/cpulist")).unwrap_or_default();
            return Some(Check::yellow(NAME, found, format!("choose [workers] cores of {cpus}")));
        }
        let sizes = tree.names(&format!("{NODES}/node{node}/hugepages"));
        let pages = |size: &String| tree.number(&format!("{NODES}/node{node}/hugepages/{size}/nr_hugepages"));
        if subject.hugepages && sizes.iter().filter_map(pages).sum::<u64>() == 0 {
            let found = format!("port {address} is on node {node}, and no hugepages are");
            return Some(Check::yellow(NAME, found, format!("sudo hugepages/setup --node {node} 2048")));
        }
    }
    Some(Check::green(NAME, "ports, cores and hugepages are on the same"))
}

#[cfg(test)]
mod tests {
    use super::is_pci;

    #[test]
    fn an_address_on_the_pci_bus_is_told_from_a_device_of_dpdk() {
        for address in ["0000:01:00.0", "01:00.1", "10000:af:1f.7"] {
            assert!(is_pci(address), "{address}");
        }
        for other in ["net_pcap0", "net_af_packet0,iface=eth0", "01:00", "a.b", "net_memif:0.0"] {
            assert!(!is_pci(other), "{other}");
        }
    }
}
