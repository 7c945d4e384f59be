//! Which packets a probe is for. Made by the control thread; matched by workers.

use std::net::IpAddr;
use std::ops::BitAnd;

use crate::packet::{Headers, Version};
use crate::selector::Prefix;
use crate::verdict::DropReason;

/// Which way a packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heading {
    /// WAN to LAN.
    In,
    /// LAN to WAN.
    Out,
}

/// Packets that have all of this.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProbeFilter {
    /// Source address.
    pub src: Option<Prefix>,
    /// Destination address.
    pub dst: Option<Prefix>,
    /// Source or destination address.
    pub host: Option<IpAddr>,
    /// The SPI that it came with, or of the SA that it is to be sealed with.
    pub spi: Option<u32>,
    /// Which way it goes.
    pub heading: Option<Heading>,
    /// It is dropped for this reason.
    pub drop: Option<DropReason>,
    /// Number of the link.
    pub link: Option<u16>,
}

/// Where packets have to be looked at for a filter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stand {
    /// Where they arrive.
    Arrivals,
    /// Before they are opened in place, since it is known only then whether they are looked for.
    Openings,
    /// Only where they are dropped.
    Drops,
}

/// The same as workers match it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compiled {
    v4: Ends<u32>,
    v6: Ends<u128>,
    pub(super) has_addresses: bool,
    pub(super) spi: Option<u32>,
    pub(super) drop: Option<DropReason>,
    pub(super) stand: Stand,
    heading: Option<Heading>,
    link: Option<u16>,
}

impl Compiled {
    pub(super) const NOTHING: Compiled = Compiled {
        v4: Ends::ANY4,
        v6: Ends::ANY6,
        has_addresses: false,
        spi: None,
        drop: None,
        stand: Stand::Arrivals,
        heading: None,
        link: None,
    };

    pub(super) fn new(filter: &ProbeFilter) -> Self {
        let mut compiled = Compiled {
            has_addresses: filter.src.is_some() || filter.dst.is_some() || filter.host.is_some(),
            spi: filter.spi,
            drop: filter.drop,
            stand: match filter.drop {
                None => Stand::Arrivals,
                Some(reason) if is_after_opening(reason) => Stand::Openings,
                Some(_) => Stand::Drops,
            },
            heading: filter.heading,
            link: filter.link,
            ..Self::NOTHING
        };
        if let Some(src) = filter.src {
            compiled.narrow(&src, |ends| &mut ends.src, |ends| &mut ends.src);
        }
        if let Some(dst) = filter.dst {
            compiled.narrow(&dst, |ends| &mut ends.dst, |ends| &mut ends.dst);
        }
        if let Some(host) =
            filter.host.and_then(|host| Prefix::new(host, if host.is_ipv4() { 32 } else { 128 }))
        {
            compiled.narrow(&host, |ends| &mut ends.host, |ends| &mut ends.host);
        }
        compiled
    }

    /// The family that the prefix is not of can match no more.
    fn narrow(
        &mut self,
        prefix: &Prefix,
        v4: fn(&mut Ends<u32>) -> &mut Masked<u32>,
        v6: fn(&mut Ends<u128>) -> &mut Masked<u128>,
    ) {
        let gone = u32::from(prefix.length());
        match prefix.address() {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - gone).unwrap_or(0);
                *v4(&mut self.v4) = Masked { value: address.to_bits(), mask };
                self.v6.possible = false;
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - gone).unwrap_or(0);
                *v6(&mut self.v6) = Masked { value: address.to_bits(), mask };
                self.v4.possible = false;
            }
        }
    }

    /// Whether it is for this link and way at all.
    #[inline]
    pub(super) fn is_for(&self, link: u16, heading: Heading) -> bool {
        self.link.is_none_or(|wanted| wanted == link)
            && self.heading.is_none_or(|wanted| wanted == heading)
            && (self.stand != Stand::Openings || heading == Heading::In)
    }

    /// Whether the addresses are those that are looked for.
    #[inline]
    pub(super) fn has_ends(&self, headers: &Headers, octets: &[u8]) -> bool {
        if !self.has_addresses {
            return true;
        }
        match headers.version {
            Version::V4 => self.v4.matches(headers.addresses4(octets)),
            Version::V6 => self.v6.matches(headers.addresses6(octets)),
        }
    }

    /// Whether what is no IP packet may match.
    #[inline]
    pub(super) fn takes_other_than_ip(&self) -> bool {
        !self.has_addresses && self.spi.is_none()
    }
}

/// Whether a packet has been opened in place by the time that it is dropped for this.
fn is_after_opening(reason: DropReason) -> bool {
    matches!(
        reason,
        DropReason::Authentication
            | DropReason::EspTrailer
            | DropReason::InnerPacket
            | DropReason::Selectors
            | DropReason::Ecn
            | DropReason::Dummy
            | DropReason::ReplayStale
            | DropReason::ReplayDuplicate
            | DropReason::ReplaySenders
    )
}

#[derive(Clone, Copy, Debug)]
struct Ends<A> {
    src: Masked<A>,
    dst: Masked<A>,
    host: Masked<A>,
    possible: bool,
}

impl Ends<u32> {
    const ANY4: Self = {
        let any = Masked { value: 0, mask: 0 };
        Ends { src: any, dst: any, host: any, possible: true }
    };
}

impl Ends<u128> {
    const ANY6: Self = {
        let any = Masked { value: 0, mask: 0 };
        Ends { src: any, dst: any, host: any, possible: true }
    };
}

impl<A: Copy + PartialEq + BitAnd<Output = A>> Ends<A> {
    #[inline]
    fn matches(&self, (src, dst): (A, A)) -> bool {
        self.possible && self.src.has(src) && self.dst.has(dst) && (self.host.has(src) || self.host.has(dst))
    }
}

#[derive(Clone, Copy, Debug)]
struct Masked<A> {
    value: A,
    mask: A,
}

impl<A: Copy + PartialEq + BitAnd<Output = A>> Masked<A> {
    #[inline]
    fn has(&self, address: A) -> bool {
        address & self.mask == self.value
    }
}
