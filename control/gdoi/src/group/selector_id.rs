//! Selectors on the wire: source and destination identity of an SA TEK payload (RFC 6407 section 5.5.1).
//!
//! An address, a subnet with a mask that is a prefix, and a range are understood. A range becomes the
//! prefixes that make it up exactly, each with each where source and destination are ranges. An identity of
//! no octets, or of three, is any address of the other's family.

use super::{CannotSend, EspSpi, MAX_SELECTORS, Selector, Unservable};
use crate::wire::{IdType, SelectorId};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use std::net::{Ipv4Addr, Ipv6Addr};

/// The selectors that an SA TEK payload's identities are.
pub(super) fn from_wire(
    protocol: u8,
    source: &SelectorId,
    destination: &SelectorId,
) -> Result<Vec<Selector>, Unservable> {
    let (sources, destinations) = match (prefixes(source)?, prefixes(destination)?) {
        (Some(sources), Some(destinations)) => (sources, destinations),
        (None, Some(destinations)) => (any_like(&destinations), destinations),
        (Some(sources), None) => {
            let destinations = any_like(&sources);
            (sources, destinations)
        }
        (None, None) => return Err(Unservable::Selector("neither source nor destination is named")),
    };
    let mixed = |src: &IpNet, dst: &IpNet| {
        matches!((src, dst), (IpNet::V4(_), IpNet::V6(_)) | (IpNet::V6(_), IpNet::V4(_)))
    };
    if sources.len() * destinations.len() > MAX_SELECTORS {
        return Err(Unservable::TooMany { what: "selectors", limit: MAX_SELECTORS });
    }
    let nonzero = |port| (port != 0).then_some(port);
    let mut selectors = Vec::with_capacity(sources.len() * destinations.len());
    for &src in &sources {
        for &dst in &destinations {
            if mixed(&src, &dst) {
                return Err(Unservable::Selector("source and destination are of different address families"));
            }
            selectors.push(Selector {
                src,
                dst,
                protocol: (protocol != 0).then_some(protocol),
                src_port: nonzero(source.port),
                dst_port: nonzero(destination.port),
            });
        }
    }
    Ok(selectors)
}

/// Protocol, source and destination identity of a selector.
pub(super) fn to_wire(spi: EspSpi, selector: &Selector) -> Result<(u8, SelectorId, SelectorId), CannotSend> {
    let id = |net: IpNet, port: Option<u16>| {
        let (id_type, data) = match net {
            IpNet::V4(net) if net.prefix_len() == 32 => (IdType::Ipv4Addr, net.addr().octets().to_vec()),
            IpNet::V4(net) => {
                (IdType::Ipv4AddrSubnet, [net.network().octets(), net.netmask().octets()].concat())
            }
            IpNet::V6(net) if net.prefix_len() == 128 => (IdType::Ipv6Addr, net.addr().octets().to_vec()),
            IpNet::V6(net) => {
                (IdType::Ipv6AddrSubnet, [net.network().octets(), net.netmask().octets()].concat())
            }
        };
        SelectorId { id_type, port: port.unwrap_or_default(), data }
    };
    match (selector.src, selector.dst) {
        (IpNet::V4(_), IpNet::V4(_)) | (IpNet::V6(_), IpNet::V6(_)) => Ok((
            selector.protocol.unwrap_or_default(),
            id(selector.src, selector.src_port),
            id(selector.dst, selector.dst_port),
        )),
        _ => Err(CannotSend::MixedFamilies(spi)),
    }
}

/// The prefixes of one identity; `None` for any address.
fn prefixes(id: &SelectorId) -> Result<Option<Vec<IpNet>>, Unservable> {
    const LENGTH: Unservable = Unservable::Selector("an identity's data is not as long as its type wants");
    if matches!(id.data.len(), 0 | 3) {
        return Ok(None);
    }
    let v4 = || <[u8; 4]>::try_from(id.data.as_slice()).map(Ipv4Addr::from).map_err(|_| LENGTH);
    let v6 = || <[u8; 16]>::try_from(id.data.as_slice()).map(Ipv6Addr::from).map_err(|_| LENGTH);
    let v4s = || pair::<4>(&id.data).map(|(a, b)| (Ipv4Addr::from(a), Ipv4Addr::from(b))).ok_or(LENGTH);
    let v6s = || pair::<16>(&id.data).map(|(a, b)| (Ipv6Addr::from(a), Ipv6Addr::from(b))).ok_or(LENGTH);
    let no_prefix = |_| Unservable::Selector("a mask is not a prefix");
    let backwards = Unservable::Selector("a range ends before it begins");
    Ok(Some(match id.id_type {
        IdType::Ipv4Addr => vec![IpNet::V4(Ipv4Net::from(v4()?))],
        IdType::Ipv6Addr => vec![IpNet::V6(Ipv6Net::from(v6()?))],
        IdType::Ipv4AddrSubnet => {
            let (address, mask) = v4s()?;
            vec![IpNet::V4(Ipv4Net::with_netmask(address, mask).map_err(no_prefix)?.trunc())]
        }
        IdType::Ipv6AddrSubnet => {
            let (address, mask) = v6s()?;
            vec![IpNet::V6(Ipv6Net::with_netmask(address, mask).map_err(no_prefix)?.trunc())]
        }
        IdType::Ipv4AddrRange => {
            let (first, last) = v4s()?;
            if first > last {
                return Err(backwards);
            }
            ipnet::Ipv4Subnets::new(first, last, 0).map(IpNet::V4).collect()
        }
        IdType::Ipv6AddrRange => {
            let (first, last) = v6s()?;
            if first > last {
                return Err(backwards);
            }
            ipnet::Ipv6Subnets::new(first, last, 0).map(IpNet::V6).collect()
        }
        _ => return Err(Unservable::Selector("an identity is not an address, a subnet or a range")),
    }))
}

fn pair<const N: usize>(data: &[u8]) -> Option<([u8; N], [u8; N])> {
    let (first, second) = data.split_first_chunk::<N>()?;
    Some((*first, second.try_into().ok()?))
}

/// Every address of the family that `nets` are of.
fn any_like(nets: &[IpNet]) -> Vec<IpNet> {
    vec![match nets.first() {
        Some(IpNet::V6(_)) => IpNet::V6(Ipv6Net::default()),
        _ => IpNet::V4(Ipv4Net::default()),
    }]
}
