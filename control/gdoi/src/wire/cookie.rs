//! Cookies and SPIs: what names an SA on the wire.

use std::fmt;

/// One side's cookie (RFC 2408 section 2.5.3).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cookie(pub [u8; 8]);

impl Cookie {
    /// No cookie: what an initiator sends for the responder's, which it does not know yet.
    pub const ZERO: Self = Self([0; 8]);
}

/// Initiator and responder cookie: what names an ISAKMP SA, and the 16-octet SPI of a KEK (RFC 6407
/// section 5.3).
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CookiePair {
    /// The initiator's, the first eight octets.
    pub initiator: Cookie,
    /// The responder's, the last eight octets.
    pub responder: Cookie,
}

impl CookiePair {
    /// The sixteen octets, as in a SAK or a notification.
    #[must_use]
    pub fn octets(self) -> [u8; 16] {
        let mut octets = [0; 16];
        let (initiator, responder) = octets.split_at_mut(8);
        initiator.copy_from_slice(&self.initiator.0);
        responder.copy_from_slice(&self.responder.0);
        octets
    }
}

impl From<[u8; 16]> for CookiePair {
    fn from(octets: [u8; 16]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = octets;
        Self { initiator: Cookie([a, b, c, d, e, f, g, h]), responder: Cookie([i, j, k, l, m, n, o, p]) }
    }
}

/// A Security Parameter Index of any length that the wire allows, which is up to 255 octets.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spi(Vec<u8>);

impl Spi {
    /// The octets.
    #[must_use]
    pub fn octets(&self) -> &[u8] {
        &self.0
    }

    /// An ESP or AH SPI, if it has four octets.
    #[must_use]
    pub fn as_u32(&self) -> Option<u32> {
        self.0.as_slice().try_into().ok().map(u32::from_be_bytes)
    }

    /// A cookie pair, if it has sixteen octets.
    #[must_use]
    pub fn as_cookies(&self) -> Option<CookiePair> {
        <[u8; 16]>::try_from(self.0.as_slice()).ok().map(CookiePair::from)
    }
}

impl From<&[u8]> for Spi {
    fn from(octets: &[u8]) -> Self {
        Self(octets.to_vec())
    }
}

impl From<u32> for Spi {
    fn from(spi: u32) -> Self {
        Self(spi.to_be_bytes().to_vec())
    }
}

impl From<CookiePair> for Spi {
    fn from(cookies: CookiePair) -> Self {
        Self(cookies.octets().to_vec())
    }
}

fn hex(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
}

impl fmt::Display for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Display for CookiePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.initiator, self.responder)
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Debug for Cookie {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cookie({self})")
    }
}

impl fmt::Debug for CookiePair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CookiePair({self})")
    }
}

impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Spi({self})")
    }
}
