//! Manual SAs: from the configuration into the SAD, each behind what was sealed with its key before.
//! Control thread, at the start.

use crate::config::{GroupConfig, ManualSa};
use crate::keys::Keys;
use crate::reserve::{Fingerprint, Reservations};
use crate::sad::{Entry, Sad};
use getvpn_dataplane::{Group, LocalRule, Sa, SaError, SaParams, Selector};
use std::sync::Arc;
use std::time::Instant;

/// An empty SAD for the groups of a configuration. A group protects what its SAs are for, also when
/// they are gone.
#[must_use]
pub fn sad(local: Vec<LocalRule>, groups: &[GroupConfig]) -> Sad {
    let groups = groups.iter().map(|group| {
        let mut selectors: Vec<Selector> = Vec::new();
        for selector in group.sas.iter().flat_map(|sa| &sa.params.selectors) {
            if !selectors.contains(selector) {
                selectors.push(*selector);
            }
        }
        let (without_sa, enforce) = (group.without_sa, group.enforce);
        Group { name: group.name.clone(), without_sa, enforce, selectors }
    });
    Sad::new(local, groups.collect())
}

/// Whether any SA seals, so that reservations are needed.
#[must_use]
pub fn any_seals(groups: &[GroupConfig]) -> bool {
    groups.iter().flat_map(|group| &group.sas).any(|sa| sa.params.direction.sends())
}

/// Makes the SAs and puts them into the SAD. They seal once the first plan of `reservations` is
/// durable.
///
/// # Errors
/// When an SA cannot be made, which a checked configuration does not ask for.
pub fn install(
    groups: Vec<GroupConfig>,
    workers: usize,
    sad: &mut Sad,
    reservations: Option<&mut Reservations>,
    now: Instant,
) -> Result<(), SaError> {
    put(groups.into_iter().flat_map(|group| group.sas).collect(), workers, sad, reservations, now)
}

/// The same with some SAs.
///
/// # Errors
/// When an SA cannot be made.
pub fn put(
    sas: Vec<ManualSa>,
    workers: usize,
    sad: &mut Sad,
    mut reservations: Option<&mut Reservations>,
    now: Instant,
) -> Result<(), SaError> {
    for ManualSa { mut params, lifetime } in sas {
        let sid_bits = params.sid_bits;
        let sa = match reservations.as_deref_mut().filter(|_| params.direction.sends()) {
            Some(reservations) => sealing(&mut params, workers, reservations)?,
            None => Sa::new(&params, workers)?,
        };
        sad.install(Entry::manual(sa, Keys::of(&params), sid_bits, now, lifetime));
    }
    Ok(())
}

fn sealing(
    params: &mut SaParams,
    workers: usize,
    reservations: &mut Reservations,
) -> Result<Arc<Sa>, SaError> {
    // Without a cipher there is no IV, but sequence numbers must go on too.
    let secret = if params.key.is_empty() { &params.integrity_key } else { &params.key };
    let key = Fingerprint::of(secret);
    params.first_counter = reservations.first(&key, (params.sid..).take(workers));
    params.reserved = params.first_counter;
    let sa = Sa::new(params, workers)?;
    reservations.follow(&sa, &key, params.sid);
    Ok(sa)
}
