//! Who a peer is: what an ID payload says, and what a configuration expects it to say (RFC 2407 section
//! 4.6.2).

use crate::wire::IdType;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;
use thiserror::Error;
use x509_cert::der::{Decode, Encode};
use x509_cert::name::Name;

/// The longest identity that is accepted from a peer, in octets.
pub const MAX_IDENTITY_LEN: usize = 1024;

/// An identity of phase 1. In text: an address, a domain name, `user@domain`, a distinguished name as
/// `CN=gm1,O=Example`, or `key-id:` and hex.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// ID_IPV4_ADDR and ID_IPV6_ADDR.
    Address(IpAddr),
    /// ID_FQDN. Case does not matter when two are compared.
    Fqdn(DomainName),
    /// ID_USER_FQDN: `user@domain`.
    UserFqdn(DomainName),
    /// ID_DER_ASN1_DN: a certificate's subject.
    DistinguishedName(DistinguishedName),
    /// ID_KEY_ID: octets that only the two peers know a meaning of.
    KeyId(Vec<u8>),
}

/// A domain name, or a user at one: printable ASCII, without spaces. Equal whatever its case.
#[derive(Clone, Debug)]
pub struct DomainName(String);

/// A distinguished name. Two are equal when their attributes are, whatever string types and case their
/// values have and whichever end they are written from: RFC 4514 and most tools disagree about that.
#[derive(Clone, Debug)]
pub struct DistinguishedName {
    name: Name,
    /// For each relative name its attributes, in order: object identifier and value in lower case.
    canonical: Vec<Vec<(String, Vec<u8>)>>,
}

/// Why something is no identity that can be used here.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum IdentityError {
    /// A kind that names no single peer, or that nobody uses.
    #[error("an identity of type {0} cannot name a peer")]
    Type(IdType),
    /// An address of the wrong length.
    #[error("an address with {0} octets")]
    AddressLength(usize),
    /// Empty, or more than [`MAX_IDENTITY_LEN`].
    #[error("an identity with {0} octets")]
    Length(usize),
    /// A name with octets that no name has.
    #[error("a name that is not printable ASCII without spaces")]
    Name,
    /// Not the DER of a name, or not its text.
    #[error("not a distinguished name")]
    DistinguishedName,
    /// Text behind `key-id:` that is not hex.
    #[error("what follows `key-id:` is not hex")]
    KeyId,
}

impl Identity {
    /// What an ID payload of this type and data says.
    ///
    /// # Errors
    /// The type names no single peer, or the data is not what the type says.
    pub fn from_wire(id_type: IdType, data: &[u8]) -> Result<Self, IdentityError> {
        if data.is_empty() || data.len() > MAX_IDENTITY_LEN {
            return Err(IdentityError::Length(data.len()));
        }
        match id_type {
            IdType::Ipv4Addr => {
                let octets: [u8; 4] =
                    data.try_into().map_err(|_| IdentityError::AddressLength(data.len()))?;
                Ok(Self::Address(octets.into()))
            }
            IdType::Ipv6Addr => {
                let octets: [u8; 16] =
                    data.try_into().map_err(|_| IdentityError::AddressLength(data.len()))?;
                Ok(Self::Address(octets.into()))
            }
            IdType::Fqdn => DomainName::new(data).map(Self::Fqdn),
            IdType::UserFqdn => DomainName::new(data).map(Self::UserFqdn),
            IdType::DerAsn1Dn => DistinguishedName::from_der(data).map(Self::DistinguishedName),
            IdType::KeyId => Ok(Self::KeyId(data.to_vec())),
            other => Err(IdentityError::Type(other)),
        }
    }

    /// Type and data of the ID payload that says this.
    #[must_use]
    pub fn to_wire(&self) -> (IdType, Vec<u8>) {
        match self {
            Self::Address(IpAddr::V4(address)) => (IdType::Ipv4Addr, address.octets().to_vec()),
            Self::Address(IpAddr::V6(address)) => (IdType::Ipv6Addr, address.octets().to_vec()),
            Self::Fqdn(name) => (IdType::Fqdn, name.0.clone().into_bytes()),
            Self::UserFqdn(name) => (IdType::UserFqdn, name.0.clone().into_bytes()),
            Self::DistinguishedName(name) => (IdType::DerAsn1Dn, name.to_der()),
            Self::KeyId(octets) => (IdType::KeyId, octets.clone()),
        }
    }
}

impl From<IpAddr> for Identity {
    fn from(address: IpAddr) -> Self {
        Self::Address(address)
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Ok(Self::Address(address.into()));
        }
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self::Address(address.into()));
        }
        if let Some(hex) = text.strip_prefix("key-id:") {
            return from_hex(hex).map(Self::KeyId).ok_or(IdentityError::KeyId);
        }
        if text.contains('=') {
            return text.parse().map(Self::DistinguishedName);
        }
        let name = DomainName::new(text.as_bytes())?;
        Ok(if text.contains('@') { Self::UserFqdn(name) } else { Self::Fqdn(name) })
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Fqdn(name) | Self::UserFqdn(name) => f.write_str(&name.0),
            Self::DistinguishedName(name) => name.fmt(f),
            Self::KeyId(octets) => {
                f.write_str("key-id:")?;
                octets.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
            }
        }
    }
}

impl DomainName {
    fn new(octets: &[u8]) -> Result<Self, IdentityError> {
        if octets.is_empty() || octets.len() > MAX_IDENTITY_LEN {
            return Err(IdentityError::Length(octets.len()));
        }
        if !octets.iter().all(u8::is_ascii_graphic) {
            return Err(IdentityError::Name);
        }
        Ok(Self(octets.iter().copied().map(char::from).collect()))
    }

    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PartialEq for DomainName {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(&other.0)
    }
}

impl Eq for DomainName {}

impl Hash for DomainName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_ascii_lowercase().hash(state);
    }
}

impl DistinguishedName {
    /// The name that this DER is of.
    ///
    /// # Errors
    /// It is of none, of an empty one, or too long.
    pub fn from_der(der: &[u8]) -> Result<Self, IdentityError> {
        if der.len() > MAX_IDENTITY_LEN {
            return Err(IdentityError::Length(der.len()));
        }
        Name::from_der(der).ok().and_then(Self::new).ok_or(IdentityError::DistinguishedName)
    }

    /// Its DER.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        // A name that was read from DER or text has lengths that DER can say.
        self.name.to_der().unwrap_or_default()
    }

    fn new(name: Name) -> Option<Self> {
        if name.is_empty() {
            return None;
        }
        let canonical: Vec<Vec<_>> = name
            .iter_rdn()
            .map(|relative| {
                let attribute = |attribute: &x509_cert::attr::AttributeTypeAndValue| {
                    (attribute.oid.to_string(), attribute.value.value().to_ascii_lowercase())
                };
                let mut attributes: Vec<_> = relative.iter().map(attribute).collect();
                attributes.sort();
                attributes
            })
            .collect();
        let reversed = canonical.iter().rev().cloned().collect();
        Some(Self { name, canonical: canonical.min(reversed) })
    }
}

impl FromStr for DistinguishedName {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let name = Name::from_str(&without_spaces_behind_commas(text)).ok();
        name.and_then(Self::new).ok_or(IdentityError::DistinguishedName)
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.name.fmt(f)
    }
}

impl PartialEq for DistinguishedName {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

impl Eq for DistinguishedName {}

impl Hash for DistinguishedName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.canonical.hash(state);
    }
}

/// `CN=a, O=b` is what people write; RFC 4514 has no space there.
fn without_spaces_behind_commas(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut escaped, mut behind_comma) = (false, true);
    for character in text.chars() {
        if behind_comma && character == ' ' {
            continue;
        }
        behind_comma = character == ',' && !escaped;
        escaped = character == '\\' && !escaped;
        out.push(character);
    }
    out
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || !text.len().is_multiple_of(2) || text.len() > 2 * MAX_IDENTITY_LEN {
        return None;
    }
    let digit = |octet: u8| char::from(octet).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    text.as_bytes().chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}

#[cfg(test)]
mod tests;
