//! A filter as it is asked for, in the data plane's terms. Every wrong word is named.

use getvpn_ctl::probe::{Direction, Filter};
use getvpn_ctl::{Fault, FaultCode};
use getvpn_dataplane::probe::{Heading, ProbeFilter};
use getvpn_dataplane::{DropReason, LinkConfig, Prefix};
use std::net::IpAddr;

/// Reads it.
///
/// # Errors
/// What of it cannot be meant.
pub(super) fn read(filter: &Filter, links: &[LinkConfig]) -> Result<ProbeFilter, Fault> {
    let src = filter.src.as_deref().map(|text| prefix("src", text)).transpose()?;
    let dst = filter.dst.as_deref().map(|text| prefix("dst", text)).transpose()?;
    let ends = [src.map(|p| p.address()), dst.map(|p| p.address()), filter.host];
    let mut families = ends.iter().flatten().map(IpAddr::is_ipv4);
    if let Some(first) = families.next()
        && families.any(|other| other != first)
    {
        return Err(wrong("src, dst and host are of IPv4 and of IPv6: no packet has both".into()));
    }
    Ok(ProbeFilter {
        src,
        dst,
        host: filter.host,
        spi: filter.spi.map(|spi| spi.0),
        heading: filter.direction.map(|direction| match direction {
            Direction::In => Heading::In,
            Direction::Out => Heading::Out,
        }),
        drop: filter.drop.as_deref().map(reason).transpose()?,
        link: filter.link.as_deref().map(|name| link(name, links)).transpose()?,
    })
}

fn wrong(text: String) -> Fault {
    Fault::new(FaultCode::InvalidArgument, text)
}

fn prefix(name: &str, text: &str) -> Result<Prefix, Fault> {
    let bad = |why: &str| wrong(format!("{name} {text:?}: {why}"));
    let (address, length) = match text.split_once('/') {
        Some((address, length)) => (address, Some(length)),
        None => (text, None),
    };
    let address: IpAddr =
        address.parse().map_err(|_| bad("expected an address, or a prefix such as 10.0.0.0/8"))?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let length = match length {
        None => most,
        Some(length) => length
            .parse()
            .ok()
            .filter(|length| *length <= most)
            .ok_or_else(|| bad(&format!("a prefix of this family has a length of 0 to {most}")))?,
    };
    // An address within the network is as good as its first one: what is meant is clear.
    Prefix::truncated(address, length).ok_or_else(|| bad("expected a prefix"))
}

fn reason(name: &str) -> Result<DropReason, Fault> {
    DropReason::ALL.iter().copied().find(|reason| reason.name() == name).ok_or_else(|| {
        let names: Vec<_> = DropReason::ALL.iter().map(|reason| reason.name()).collect();
        wrong(format!("drop {name:?}: there is no such reason; there are: {}", names.join(", ")))
    })
}

fn link(name: &str, links: &[LinkConfig]) -> Result<u16, Fault> {
    let place = links.iter().position(|link| link.name == name);
    place.and_then(|place| u16::try_from(place).ok()).ok_or_else(|| {
        let names: Vec<_> = links.iter().map(|link| link.name.as_str()).collect();
        wrong(format!("link {name:?}: there is no such link; there are: {}", names.join(", ")))
    })
}
