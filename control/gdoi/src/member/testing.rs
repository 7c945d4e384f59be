//! What the member's tests are made of.

pub(crate) mod key_server;
pub(crate) mod world;

use crate::crypto::Secret;
use crate::group::{
    Direction, EspSpi, EspTransform, GroupAssociatedPolicy, GroupKeys, GroupPolicy, KekSpi, Mode, Rekey,
    Selector, SenderIds, TekKeys, TekPolicy,
};
use std::time::Duration;

pub(crate) const ATD: Duration = secs(15);
pub(crate) const DTD: Duration = secs(30);

pub(crate) const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A selector of its own for each `n`.
pub(crate) fn selector(n: u8) -> Selector {
    Selector {
        src: format!("10.{n}.0.0/16").parse().unwrap(),
        dst: "10.0.0.0/8".parse().unwrap(),
        protocol: None,
        src_port: None,
        dst_port: None,
    }
}

pub(crate) fn tek(spi: u32, life: u64) -> TekPolicy {
    TekPolicy {
        spi: EspSpi(spi),
        transform: EspTransform::Aes128Gcm,
        mode: Mode::Tunnel,
        direction: Direction::Symmetric,
        selectors: vec![selector(0)],
        lifetime: secs(life),
    }
}

/// The keys that an SPI has.
pub(crate) fn keys_of(spi: u32) -> TekKeys {
    TekKeys { cipher: Secret::new(spi.to_be_bytes().repeat(5)), integrity: Secret::default() }
}

pub(crate) fn policy(teks: &[TekPolicy]) -> GroupPolicy {
    let gap = GroupAssociatedPolicy { activation_delay: ATD, deactivation_delay: DTD };
    GroupPolicy { gap, teks: teks.to_vec(), ..GroupPolicy::default() }
}

/// A KD payload with the right keys for these SPIs.
pub(crate) fn keys(spis: &[u32]) -> GroupKeys {
    GroupKeys { teks: spis.iter().map(|&spi| (EspSpi(spi), keys_of(spi))).collect(), ..GroupKeys::default() }
}

pub(crate) fn rekey(teks: &[TekPolicy]) -> Rekey {
    let spis: Vec<u32> = teks.iter().map(|tek| tek.spi.0).collect();
    Rekey {
        kek: KekSpi([9; 16]),
        sequence: 1,
        deletions: Vec::new(),
        policy: policy(teks),
        keys: keys(&spis),
    }
}

pub(crate) fn sender_ids(values: &[u32]) -> SenderIds {
    SenderIds { bits: 16, values: values.to_vec() }
}
