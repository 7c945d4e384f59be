use super::*;
use crate::group::{Direction, EspTransform, TekKeys};
use crate::member::testing::*;
use std::time::Duration;

mod delays;
mod random;
mod rules;
mod sending;

/// A SAD with sender IDs, and the time it starts at.
fn new() -> (Sad, Instant) {
    with(SadLimits::default())
}

fn with(limits: SadLimits) -> (Sad, Instant) {
    let now = Instant::now();
    let mut sad = Sad::new(limits);
    sad.set_sender_ids(0, sender_ids(&[1, 2]), now).unwrap();
    (sad, now)
}

/// Registers: what `teks` say is keyed.
fn register(sad: &mut Sad, teks: &[TekPolicy], now: Instant) -> Outcome {
    let spis: Vec<u32> = teks.iter().map(|tek| tek.spi.0).collect();
    sad.offer(&policy(teks), &[], now);
    sad.download(&keys(&spis), 0, now)
}

fn spis(sad: &Sad) -> Vec<u32> {
    sad.entries().iter().map(|entry| entry.spi().0).collect()
}

fn senders(sad: &Sad) -> Vec<u32> {
    sad.entries().iter().filter(|entry| entry.sends).map(|entry| entry.spi().0).collect()
}

fn whys(refused: &[RefusedSa]) -> Vec<(u32, Refusal)> {
    refused.iter().map(|refused| (refused.spi.0, refused.why.clone())).collect()
}
