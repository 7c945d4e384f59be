//! Data-Security SAs on the wire: SA TEK payloads (RFC 6407 section 5.5). An SA with several selectors is
//! several payloads with one SPI, which the receiver puts together again.

use super::refused::{CannotSend, Refused, RefusedSpi, Unservable};
use super::{
    Direction, EspSpi, MAX_SELECTORS, MAX_TEKS, MAX_TOTAL_SELECTORS, Mode, TekPolicy, selector_id,
    transform_id,
};
use crate::wire::{self, Reader};
use crate::wire::{
    AddressPreservation, Compat, EncapsulationMode, GdoiProtocol, IpsecAttribute, LifeType, SaDirection, Sat,
    Tek,
};
use std::collections::btree_map::{BTreeMap, Entry};
use std::time::Duration;

/// What an SA lives without a lifetime (RFC 2407 section 4.5): eight hours.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(28_800);

type Attributes = wire::Attributes<IpsecAttribute>;

/// The payloads of one SA, one for each selector.
pub(super) fn to_wire(tek: &TekPolicy, compat: Compat) -> Result<Vec<Sat>, CannotSend> {
    let of = RefusedSpi::Esp(tek.spi);
    if tek.spi.0 <= LAST_RESERVED_SPI {
        return Err(CannotSend::ReservedSpi(tek.spi));
    }
    if tek.selectors.is_empty() {
        return Err(CannotSend::NoSelectors(tek.spi));
    }
    if tek.selectors.len() > MAX_SELECTORS {
        return Err(CannotSend::TooMany { what: "selectors", limit: MAX_SELECTORS });
    }
    let mode = match tek.mode {
        Mode::Tunnel => EncapsulationMode::Tunnel,
        Mode::Transport => EncapsulationMode::Transport,
    };
    let direction = match tek.direction {
        Direction::Symmetric => SaDirection::Symmetric,
        Direction::SenderOnly => SaDirection::SenderOnly,
        Direction::ReceiverOnly => SaDirection::ReceiverOnly,
    };
    let attributes = Attributes::new()
        .with(IpsecAttribute::LifeType, LifeType::Seconds)
        .with_u32(IpsecAttribute::LifeDuration, seconds(tek.lifetime, of)?)
        .with(IpsecAttribute::EncapsulationMode, mode);
    let (transform, mut attributes) = transform_id::to_wire(tek.transform, attributes, compat);
    if tek.mode == Mode::Tunnel {
        attributes =
            attributes.with(IpsecAttribute::AddressPreservation, AddressPreservation::SourceAndDestination);
    }
    let attributes = attributes.with(IpsecAttribute::SaDirection, direction);
    let payload = |selector| {
        let (protocol, source, destination) = selector_id::to_wire(tek.spi, selector)?;
        let attributes = attributes.clone();
        Ok(Sat::Esp(Tek { protocol, source, destination, transform, spi: tek.spi.0, attributes }))
    };
    tek.selectors.iter().map(payload).collect()
}

/// The largest SPI that no SA may have (RFC 4303 section 2.1).
pub(super) const LAST_RESERVED_SPI: u32 = 255;

/// A lifetime as the wire has it: whole seconds, rounded down, so that nothing outlives it.
pub(super) fn seconds(lifetime: Duration, of: RefusedSpi) -> Result<u32, CannotSend> {
    match u32::try_from(lifetime.as_secs()) {
        Ok(0) => Err(CannotSend::Expired(of)),
        Ok(seconds) => Ok(seconds),
        Err(_) => Err(CannotSend::Lifetime(of)),
    }
}

/// The SAs of all SA TEK payloads of one SA payload. An SPI of which one payload cannot be served is
/// refused as a whole: what its selectors protect must not depend on which of them were understood.
pub(super) fn from_wire<'a>(
    sats: impl Iterator<Item = &'a Sat>,
    refused: &mut Vec<Refused>,
) -> Vec<TekPolicy> {
    let mut teks: Vec<TekPolicy> = Vec::new();
    // Where an SPI's SA stands in `teks`; nowhere once it is refused.
    let mut places: BTreeMap<EspSpi, Option<usize>> = BTreeMap::new();
    let mut selectors = 0;
    for sat in sats {
        let tek = match sat {
            Sat::Esp(tek) => tek,
            other => {
                let protocol = other.protocol();
                let spi = RefusedSpi::Other(protocol, other_spi(other));
                refused.push(Refused { spi, why: Unservable::Protocol(protocol) });
                continue;
            }
        };
        let spi = EspSpi(tek.spi);
        let count = places.len();
        let mut place = match places.entry(spi) {
            Entry::Occupied(place) if place.get().is_none() => continue,
            Entry::Occupied(place) => place,
            Entry::Vacant(place) => place.insert_entry(None),
        };
        let taken = read(tek).and_then(|read| {
            selectors += read.selectors.len();
            if selectors > MAX_TOTAL_SELECTORS {
                return Err(Unservable::TooMany { what: "selectors in all", limit: MAX_TOTAL_SELECTORS });
            }
            match place.get().and_then(|place| teks.get_mut(place)) {
                Some(earlier) => merge(earlier, read).map(|()| *place.get()),
                None if count >= MAX_TEKS => Err(Unservable::TooMany { what: "SAs", limit: MAX_TEKS }),
                None => {
                    teks.push(read);
                    Ok(Some(teks.len() - 1))
                }
            }
        });
        match taken {
            Ok(at) => *place.get_mut() = at,
            Err(why) => {
                *place.get_mut() = None;
                refused.push(Refused { spi: RefusedSpi::Esp(spi), why });
            }
        }
    }
    teks.retain(|tek| places.get(&tek.spi).is_some_and(Option::is_some));
    teks
}

fn read(tek: &Tek<wire::EspTransform>) -> Result<TekPolicy, Unservable> {
    if tek.spi <= LAST_RESERVED_SPI {
        return Err(Unservable::ReservedSpi);
    }
    let transform = transform_id::from_wire(tek.transform, &tek.attributes)?;
    let mode = mode(&tek.attributes)?;
    let direction = match tek.attributes.value::<SaDirection>(IpsecAttribute::SaDirection) {
        // The reference implementation sends 0 for what is not set; not set is Symmetric.
        None | Some(SaDirection::Unknown(0) | SaDirection::Symmetric) => Direction::Symmetric,
        Some(SaDirection::SenderOnly) => Direction::SenderOnly,
        Some(SaDirection::ReceiverOnly) => Direction::ReceiverOnly,
        Some(other) => return Err(Unservable::Direction(other)),
    };
    other_attributes(&tek.attributes)?;
    let lifetime = lifetime(&tek.attributes)?;
    let selectors = selector_id::from_wire(tek.protocol, &tek.source, &tek.destination)?;
    Ok(TekPolicy { spi: EspSpi(tek.spi), transform, mode, direction, selectors, lifetime })
}

/// RFC 2407 leaves the mode to the host where it is absent: the group's usual one, tunnel mode.
fn mode(attributes: &Attributes) -> Result<Mode, Unservable> {
    match attributes.value::<EncapsulationMode>(IpsecAttribute::EncapsulationMode) {
        None | Some(EncapsulationMode::Tunnel) => {}
        // There is one IP header, and so nothing to preserve.
        Some(EncapsulationMode::Transport) => return Ok(Mode::Transport),
        Some(other) => return Err(Unservable::Mode(other)),
    }
    match attributes.value::<AddressPreservation>(IpsecAttribute::AddressPreservation) {
        // 0 as for the direction.
        None | Some(AddressPreservation::Unknown(0) | AddressPreservation::SourceAndDestination) => {
            Ok(Mode::Tunnel)
        }
        Some(other) => Err(Unservable::AddressPreservation(other)),
    }
}

/// SA Life Type says what the SA Life Duration behind it counts (RFC 2407 section 4.5).
fn lifetime(attributes: &Attributes) -> Result<Duration, Unservable> {
    let mut counts = None;
    let mut lifetime = None;
    for attribute in attributes.iter() {
        match attribute.class {
            IpsecAttribute::LifeType => counts = Some(attribute.value.number()),
            IpsecAttribute::LifeDuration => {
                let seconds = counts == Some(LifeType::Seconds.number().into());
                if !seconds || lifetime.is_some() {
                    return Err(Unservable::LifeType);
                }
                lifetime = Some(whole_seconds(attribute.value.number())?);
            }
            _ => {}
        }
    }
    Ok(lifetime.unwrap_or(DEFAULT_LIFETIME))
}

/// A lifetime from the wire.
pub(super) fn whole_seconds(number: u64) -> Result<Duration, Unservable> {
    match u32::try_from(number) {
        Ok(0) => Err(Unservable::NoLifetime),
        Ok(seconds) => Ok(Duration::from_secs(seconds.into())),
        Err(_) => Err(Unservable::LongLifetime),
    }
}

/// Attributes that would make it another SA than the one that is understood. Group Description is ignored
/// (RFC 6407 section 5.5.1), and so is ECN Tunnel, which tells how to treat a field and not whom to trust.
fn other_attributes(attributes: &Attributes) -> Result<(), Unservable> {
    for attribute in attributes.iter() {
        match attribute.class {
            IpsecAttribute::LifeType
            | IpsecAttribute::LifeDuration
            | IpsecAttribute::GroupDescription
            | IpsecAttribute::EncapsulationMode
            | IpsecAttribute::AuthAlgorithm
            | IpsecAttribute::KeyLength
            | IpsecAttribute::EcnTunnel
            | IpsecAttribute::AddressPreservation
            | IpsecAttribute::SaDirection => {}
            _ if attribute.value.number() == 0 => {}
            other => return Err(Unservable::Attribute { attribute: other, value: attribute.value.number() }),
        }
    }
    Ok(())
}

/// Adds the selectors of another payload of the same SPI. What both say but the selectors must agree.
fn merge(earlier: &mut TekPolicy, later: TekPolicy) -> Result<(), Unservable> {
    for (differs, what) in [
        (earlier.transform != later.transform, "transform"),
        (earlier.mode != later.mode, "mode"),
        (earlier.direction != later.direction, "direction"),
        (earlier.lifetime != later.lifetime, "lifetime"),
    ] {
        if differs {
            return Err(Unservable::Conflict(what));
        }
    }
    for selector in later.selectors {
        if !earlier.selectors.contains(&selector) {
            earlier.selectors.push(selector);
        }
    }
    if earlier.selectors.len() > MAX_SELECTORS {
        return Err(Unservable::TooMany { what: "selectors", limit: MAX_SELECTORS });
    }
    Ok(())
}

/// The SPI of an SA of another protocol, so that its keys are known to be refused too.
fn other_spi(sat: &Sat) -> Option<EspSpi> {
    match sat {
        Sat::Esp(tek) => Some(EspSpi(tek.spi)),
        Sat::Ah(tek) => Some(EspSpi(tek.spi)),
        Sat::Unknown(GdoiProtocol::Iec61850, content) => {
            // RFC 8052 section 2.2: the OID and its payload, each behind its length, then the SPI.
            let mut reader = Reader::new(content, "IEC 61850 SA TEK payload");
            let oid = reader.u8().ok()?;
            reader.take(oid.into()).ok()?;
            let payload = reader.u16().ok()?;
            reader.take(payload.into()).ok()?;
            reader.u32().ok().map(EspSpi)
        }
        Sat::Unknown(..) => None,
    }
}
