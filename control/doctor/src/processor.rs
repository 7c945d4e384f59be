//! What the processor can do, and the clocks.

use crate::Tree;
use getvpn_ctl::reply::Check;

pub(crate) fn features(tree: &Tree) -> Check {
    const NAME: &str = "ciphers";
    let info = tree.read("proc/cpuinfo").unwrap_or_default();
    let line = info.lines().find(|line| line.starts_with("flags") || line.starts_with("Features"));
    let flags: Vec<&str> =
        line.and_then(|line| line.split_once(':')).map_or("", |(_, flags)| flags).split(' ').collect();
    let has = |flag: &str| flags.contains(&flag);
    let missing =
        |pair: [&'static str; 2]| pair.into_iter().filter(|flag| !has(flag)).collect::<Vec<_>>().join(", ");
    let needed = if info.contains("\nFeatures") { ["aes", "pmull"] } else { ["aes", "pclmulqdq"] };
    let without = missing(needed);
    if !without.is_empty() {
        let fix = "in a virtual machine pass the host's processor through (`-cpu host`); use chacha20-poly1305 otherwise";
        return Check::red(NAME, format!("the processor lacks {without}: AES-GCM is many times slower"), fix);
    }
    if needed[1] == "pclmulqdq" && !has("avx2") {
        let fix = "in a virtual machine pass the host's processor through (`-cpu host`)";
        return Check::yellow(NAME, "aes and pclmulqdq, but no avx2", fix);
    }
    let wide =
        ["avx2", "vaes", "vpclmulqdq", "avx512f"].into_iter().filter(|flag| has(flag)).collect::<Vec<_>>();
    let all = needed.into_iter().chain(wide).collect::<Vec<_>>().join(", ");
    Check::green(NAME, format!("the processor has {all}"))
}

pub(crate) fn clock_source(tree: &Tree) -> Check {
    const NAME: &str = "clock source";
    const DIR: &str = "sys/devices/system/clocksource/clocksource0";
    let current = tree.read(&format!("{DIR}/current_clocksource")).unwrap_or_default();
    let available = tree.read(&format!("{DIR}/available_clocksource")).unwrap_or_default();
    match current.as_str() {
        good @ ("tsc" | "arch_sys_counter") => Check::green(NAME, good),
        "" => Check::yellow(NAME, "not known", format!("see /{DIR}")),
        other if available.split(' ').any(|source| source == "tsc") => Check::yellow(
            NAME,
            format!("{other}, although there is tsc"),
            format!("echo tsc | sudo tee /{DIR}/current_clocksource"),
        ),
        virtual_one @ ("kvm-clock" | "hyperv_clocksource_tsc_page" | "xen") => {
            Check::green(NAME, format!("{virtual_one}, a virtual machine's"))
        }
        other => Check::yellow(
            NAME,
            format!("{other}: the kernel does not trust the tsc, and reading the time is slow"),
            "`dmesg | grep -i tsc` says why; the BIOS or the firmware may need an update",
        ),
    }
}

/// Who keeps the time, if anybody does: certificates are valid by it.
pub(crate) fn time_is_kept(tree: &Tree) -> Check {
    const NAME: &str = "time";
    const KEEPERS: [&str; 6] = ["chronyd", "ntpd", "ntpsec", "openntpd", "ptp4l", "phc2sys"];
    if tree.exists("run/systemd/timesync/synchronized") {
        return Check::green(NAME, "systemd-timesyncd has synchronised it");
    }
    let processes = tree.names("proc").into_iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit()));
    let mut names = processes.filter_map(|process| tree.read(&format!("proc/{process}/comm")));
    match names.find(|name| KEEPERS.contains(&name.as_str())) {
        Some(keeper) => Check::green(NAME, format!("{keeper} keeps it")),
        None => Check::yellow(
            NAME,
            "nothing keeps the clock right, and certificates are valid by it",
            "sudo apt-get install chrony",
        ),
    }
}
