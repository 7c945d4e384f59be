//! `[parking]`: how many packets may wait for SAs that are being asked for. Control thread, at the start.

use super::Workers;
use getvpn_config::{ConfigError, Section};
use getvpn_dataplane::ParkingLimits;
use std::time::Duration;

/// Reads the limits, which are for each worker. What waits takes buffers from what arrives: by default at
/// most a quarter of them, and never more than half.
pub(super) fn read(root: &Section<'_>, workers: &Workers) -> Result<ParkingLimits, ConfigError> {
    let count = u32::try_from(workers.cores.len()).unwrap_or(u32::MAX);
    let mut limits = ParkingLimits::default();
    limits.packets = limits.packets.min(workers.buffers / 4 / count);
    let Some(section) = root.table("parking")? else { return Ok(limits) };
    section.only(&["packets", "octets", "age_ms"])?;
    if let Some(value) = section.get("packets") {
        limits.packets = value.integer(0..=65_536, "a number of packets")?;
        let all = u64::from(limits.packets) * u64::from(count);
        if all > u64::from(workers.buffers / 2) {
            return Err(value.error(format!(
                "{all} packets in all workers together, which is more than half of the {} buffers; lower it or \
                 raise [workers] buffers",
                workers.buffers
            )));
        }
    }
    if let Some(value) = section.get("octets") {
        limits.octets = value.integer(0..=1 << 30, "a number of octets")?;
    }
    if let Some(value) = section.get("age_ms") {
        limits.age = Duration::from_millis(value.integer(0..=60_000, "a time in milliseconds")?);
    }
    Ok(limits)
}
