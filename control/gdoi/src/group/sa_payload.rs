//! A group's policy as the SA payload of GROUPKEY-PULL and GROUPKEY-PUSH (RFC 6407 section 5.2).

use super::refused::{CannotSend, Refused, RefusedSpi, Unservable};
use super::{
    GroupAssociatedPolicy, GroupPolicy, KekSpi, MAX_TEKS, MAX_TOTAL_SELECTORS, SpiKey, kek_payload,
    tek_payload,
};
use crate::crypto::Secret;
use crate::wire::{Attributes, Compat, Gap, GapAttribute, GdoiSa, SaAttribute};
use std::time::Duration;

/// The SA payload of a policy: SAK, GAP and SATs, in the RFC's order. Lifetimes are whole seconds, rounded
/// down.
///
/// # Errors
/// The policy cannot be said on the wire, or is more than a member takes. The caller leaves out what has
/// less than a second left.
pub fn to_sa_payload(policy: &GroupPolicy, compat: Compat) -> Result<GdoiSa, CannotSend> {
    let selectors = policy.teks.iter().map(|tek| tek.selectors.len()).sum::<usize>();
    for (count, what, limit) in
        [(policy.teks.len(), "SAs", MAX_TEKS), (selectors, "selectors in all", MAX_TOTAL_SELECTORS)]
    {
        if count > limit {
            return Err(CannotSend::TooMany { what, limit });
        }
    }
    let mut attributes = Vec::with_capacity(2 + selectors);
    if let Some(kek) = &policy.kek {
        attributes.push(SaAttribute::Sak(kek_payload::to_wire(kek)?));
    }
    let gap = Attributes::new();
    let gap = delay(gap, GapAttribute::ActivationTimeDelay, policy.gap.activation_delay, "ATD")?;
    let gap = delay(gap, GapAttribute::DeactivationTimeDelay, policy.gap.deactivation_delay, "DTD")?;
    let gap = match &policy.spi_key {
        Some(key) => gap.with_octets(GapAttribute::SpiKey, key.octets().as_slice()),
        None => gap,
    };
    if !gap.0.is_empty() {
        attributes.push(SaAttribute::Gap(Gap { attributes: gap }));
    }
    for tek in &policy.teks {
        attributes.extend(tek_payload::to_wire(tek, compat)?.into_iter().map(SaAttribute::Sat));
    }
    Ok(GdoiSa { situation: 0, attributes })
}

/// The policy that an SA payload describes, and what of it cannot be served. The rest holds.
///
/// At most [`MAX_TEKS`] SAs and [`MAX_TOTAL_SELECTORS`] selectors are taken, the first ones.
#[must_use]
pub fn from_sa_payload(sa: &GdoiSa) -> (GroupPolicy, Vec<Refused>) {
    let mut refused = Vec::new();
    let kek = sa.sak().and_then(|sak| {
        let refuse = |why| refused.push(Refused { spi: RefusedSpi::Kek(KekSpi(sak.spi.octets())), why });
        kek_payload::from_wire(sak).map_err(refuse).ok()
    });
    let (gap, spi_key) = sa.gap().map(|gap| from_gap(gap, &mut refused)).unwrap_or_default();
    let teks = tek_payload::from_wire(sa.sats(), &mut refused);
    (GroupPolicy { kek, gap, spi_key, teks }, refused)
}

fn delay(
    attributes: Attributes<GapAttribute, Secret>,
    class: GapAttribute,
    delay: Duration,
    what: &'static str,
) -> Result<Attributes<GapAttribute, Secret>, CannotSend> {
    // Rounded up: a sender that starts too early finds receivers that have not heard yet.
    let seconds = delay.as_secs().saturating_add(u64::from(delay.subsec_nanos() != 0));
    match u16::try_from(seconds).map_err(|_| CannotSend::Delay(what))? {
        0 => Ok(attributes),
        seconds => Ok(attributes.with(class, seconds)),
    }
}

fn from_gap(gap: &Gap, refused: &mut Vec<Refused>) -> (GroupAssociatedPolicy, Option<SpiKey>) {
    let mut policy = GroupAssociatedPolicy::default();
    let spi_key = gap.attributes.octets(GapAttribute::SpiKey).and_then(SpiKey::new);
    for attribute in gap.attributes.iter() {
        let seconds = attribute.value.number().min(u32::MAX.into());
        match attribute.class {
            GapAttribute::SpiKey if spi_key.is_some() => {}
            GapAttribute::ActivationTimeDelay => policy.activation_delay = Duration::from_secs(seconds),
            GapAttribute::DeactivationTimeDelay => policy.deactivation_delay = Duration::from_secs(seconds),
            // The RFC would have the whole exchange aborted. Nothing that is served depends on it.
            other => refused.push(Refused { spi: RefusedSpi::Group, why: Unservable::Gap(other) }),
        }
    }
    (policy, spi_key)
}
