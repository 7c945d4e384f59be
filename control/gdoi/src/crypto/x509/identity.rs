//! Who a peer must be, as a configuration writes it: a subject such as `CN=gm2.example.net`, or a DNS name,
//! a mail address or an IP address that must stand in subjectAltName.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use thiserror::Error;
use x509_cert::attr::AttributeTypeAndValue;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, TeletexStringRef, Utf8StringRef};
use x509_cert::der::{Tag, Tagged};
use x509_cert::name::Name;

/// One identity that a certificate can have.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// Attributes of the subject.
    Subject(SubjectPattern),
    /// A dNSName, in lower case and without a dot at its end.
    Dns(String),
    /// An rfc822Name, its domain in lower case.
    Email(String),
    /// An iPAddress.
    Ip(IpAddr),
}

/// The text is none of the forms that an identity has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error(
    "\"{0}\" is no identity: write a subject (CN=gm2.example.net), a DNS name, a mail address or an IP address"
)]
pub struct IdentityError(String);

impl IdentityError {
    pub(super) fn of(text: &str) -> Self {
        Self(text.to_owned())
    }
}

/// Attributes that a subject must hold: all of those written, in any order; the subject may hold others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubjectPattern {
    written: String,
    attributes: Vec<Attribute>,
}

/// An attribute's type by its dotted number, and its value as it is compared.
type Attribute = (String, String);

impl Identity {
    /// The DNS name, in the form that is compared.
    #[must_use]
    pub fn dns(name: &str) -> Self {
        Self::Dns(name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase())
    }

    /// The mail address, in the form that is compared: only its domain ignores case.
    #[must_use]
    pub fn email(address: &str) -> Self {
        Self::Email(match address.rsplit_once('@') {
            Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
            None => address.to_owned(),
        })
    }
}

impl FromStr for Identity {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        let wrong = || IdentityError::of(text);
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        if text.contains('=') {
            let name = Name::from_str(&without_spaces(text)).map_err(|_| wrong())?;
            let attributes: Option<Vec<_>> = name.iter().map(attribute).collect();
            let attributes = attributes
                .filter(|all| !all.is_empty() && all.iter().all(|(_, value)| !value.is_empty()))
                .ok_or_else(wrong)?;
            return Ok(Self::Subject(SubjectPattern { written: text.to_owned(), attributes }));
        }
        if let Some((local, domain)) = text.rsplit_once('@') {
            return if !local.is_empty() && is_dns_name(domain) {
                Ok(Self::email(text))
            } else {
                Err(wrong())
            };
        }
        if is_dns_name(text) { Ok(Self::dns(text)) } else { Err(wrong()) }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Subject(pattern) => f.write_str(&pattern.written),
            Self::Dns(name) | Self::Email(name) => f.write_str(name),
            Self::Ip(address) => write!(f, "{address}"),
        }
    }
}

impl SubjectPattern {
    /// Whether `subject` holds every attribute of this pattern, each as often as it is written.
    pub(super) fn is_within(&self, subject: &Name) -> bool {
        let mut held: Vec<Attribute> = subject.iter().filter_map(attribute).collect();
        self.attributes.iter().all(|wanted| {
            let found = held.iter().position(|attribute| attribute == wanted);
            found.map(|index| held.swap_remove(index)).is_some()
        })
    }
}

/// `None` if the value is not a text. RFC 5280 section 7.1: letters compare without case, runs of spaces as
/// one, spaces at the ends not at all.
fn attribute(attribute: &AttributeTypeAndValue) -> Option<Attribute> {
    let value = &attribute.value;
    let text = match value.tag() {
        Tag::Utf8String => value.decode_as::<Utf8StringRef<'_>>().ok()?.as_str().to_owned(),
        Tag::PrintableString => value.decode_as::<PrintableStringRef<'_>>().ok()?.as_str().to_owned(),
        Tag::Ia5String => value.decode_as::<Ia5StringRef<'_>>().ok()?.as_str().to_owned(),
        Tag::TeletexString => value.decode_as::<TeletexStringRef<'_>>().ok()?.as_str().to_owned(),
        _ => return None,
    };
    let folded: Vec<String> = text.split_whitespace().map(str::to_lowercase).collect();
    Some((attribute.oid.to_string(), folded.join(" ")))
}

/// RFC 4514 allows no space behind a comma, but everyone writes one.
fn without_spaces(name: &str) -> String {
    let mut written = String::with_capacity(name.len());
    let (mut escaped, mut behind_comma) = (false, false);
    for letter in name.trim().chars() {
        if behind_comma && letter == ' ' {
            continue;
        }
        behind_comma = letter == ',' && !escaped;
        escaped = letter == '\\' && !escaped;
        written.push(letter);
    }
    written
}

/// Letters, digits, hyphens and underscores in labels of 1 to 63, 253 in all (RFC 1123 section 2.1).
fn is_dns_name(text: &str) -> bool {
    let name = text.strip_suffix('.').unwrap_or(text);
    name.len() <= 253
        && name.split('.').all(|label| {
            (1..=63).contains(&label.len())
                && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || octet == b'-' || octet == b'_')
        })
}
