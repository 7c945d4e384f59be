//! What a certificate says, read but not verified: subject, alternative names, key, validity.

use super::{CertificateError, Identity};
use crate::crypto::{RsaMinimum, VerifyingKey};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::net::IpAddr;
use x509_cert::der::{Decode, Encode};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::name::Name;

/// The longest certificate that is looked at, in octets.
pub const MAX_CERTIFICATE_LEN: usize = 16 * 1024;

const SECONDS_PER_DAY: u64 = 86_400;

/// A certificate that was read. Nothing about it is verified: only
/// [`TrustStore::verify`](super::TrustStore::verify) does that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    der: Vec<u8>,
    subject: Name,
    subject_der: Vec<u8>,
    issuer: Name,
    serial: Vec<u8>,
    not_before: u64,
    not_after: u64,
    names: Vec<Identity>,
    public_key: VerifyingKey,
}

impl Certificate {
    /// Reads one certificate in DER.
    ///
    /// # Errors
    /// It is malformed or too long, or its key is not accepted.
    pub fn from_der(der: &[u8]) -> Result<Self, CertificateError> {
        let parsed = decode(der)?;
        let tbs = parsed.tbs_certificate();
        let malformed = |_| CertificateError::Malformed("certificate");
        let spki = tbs.subject_public_key_info().to_der().map_err(malformed)?;
        let public_key = VerifyingKey::from_spki_der(&spki, RsaMinimum::Bits2048)
            .map_err(|error| CertificateError::Key { subject: tbs.subject().to_string(), error })?;
        let names = match tbs.get_extension::<SubjectAltName>().map_err(malformed)? {
            Some((_, names)) => names.0.iter().filter_map(identity).collect(),
            None => Vec::new(),
        };
        Ok(Self {
            der: der.to_vec(),
            subject_der: tbs.subject().to_der().map_err(malformed)?,
            subject: tbs.subject().clone(),
            issuer: tbs.issuer().clone(),
            serial: tbs.serial_number().as_bytes().to_vec(),
            not_before: tbs.validity().not_before.to_unix_duration().as_secs(),
            not_after: tbs.validity().not_after.to_unix_duration().as_secs(),
            names,
            public_key,
        })
    }

    /// The certificate itself, in DER: what a CERT payload holds.
    #[must_use]
    pub fn der(&self) -> &[u8] {
        &self.der
    }

    /// The subject, in DER: what an ID payload of type ID_DER_ASN1_DN holds.
    #[must_use]
    pub fn subject_der(&self) -> &[u8] {
        &self.subject_der
    }

    /// The subject as RFC 4514 writes names: the most specific part first.
    #[must_use]
    pub fn subject(&self) -> String {
        self.subject.to_string()
    }

    /// The issuer, written likewise.
    #[must_use]
    pub fn issuer(&self) -> String {
        self.issuer.to_string()
    }

    /// The serial number, big-endian.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }

    /// The first second of the validity, since 1970.
    #[must_use]
    pub fn not_before(&self) -> u64 {
        self.not_before
    }

    /// The last second of the validity, since 1970.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.not_after
    }

    /// Whole days from `now` (seconds since 1970) to the end of the validity; negative once it is over.
    #[must_use]
    pub fn days_until_expiry(&self, now: u64) -> i64 {
        let days = |seconds: u64| i64::try_from(seconds / SECONDS_PER_DAY).unwrap_or(i64::MAX);
        match self.not_after.checked_sub(now) {
            Some(left) => days(left),
            None => -days(now - self.not_after) - 1,
        }
    }

    /// The names in subjectAltName of the kinds that IKE knows.
    #[must_use]
    pub fn alternative_names(&self) -> &[Identity] {
        &self.names
    }

    /// The public key.
    #[must_use]
    pub fn public_key(&self) -> &VerifyingKey {
        &self.public_key
    }

    /// Whether the certificate has this identity: the subject holds every attribute of a subject that the
    /// configuration writes, or a subjectAltName equals the name. Wildcards match nothing.
    #[must_use]
    pub fn matches_identity(&self, identity: &Identity) -> bool {
        match identity {
            Identity::Subject(wanted) => wanted.is_within(&self.subject),
            name => self.names.contains(name),
        }
    }

    /// Whether `name`, the content of an ID_DER_ASN1_DN payload, is this certificate's subject (RFC 4945
    /// section 3.1.6: octet for octet).
    #[must_use]
    pub fn matches_subject_der(&self, name: &[u8]) -> bool {
        self.subject_der == name
    }
}

/// Reads a PEM file of certificates, in the file's order, or one certificate in DER. Returns each one's DER.
/// The first must be the holder's own, the others lead to a trust anchor.
///
/// # Errors
/// There is none, or too many of them.
pub fn parse_chain(file: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    let chain = blocks(file)?;
    if chain.len() > super::MAX_CHAIN_LEN {
        return Err(CertificateError::TooMany(chain.len()));
    }
    Ok(chain)
}

/// All certificates of a PEM or DER file.
pub(super) fn blocks(file: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    if file.first() == Some(&DER_SEQUENCE) {
        decode(file)?;
        return Ok(vec![file.to_vec()]);
    }
    let mut found = Vec::new();
    for block in CertificateDer::pem_slice_iter(file) {
        let der = block.map_err(|_| CertificateError::Malformed("PEM block of a certificate"))?;
        decode(&der)?;
        found.push(der.to_vec());
    }
    if found.is_empty() { Err(CertificateError::NoCertificate) } else { Ok(found) }
}

/// The tag that every certificate and CRL in DER begins with, and no PEM file.
pub(super) const DER_SEQUENCE: u8 = 0x30;

pub(super) fn decode(der: &[u8]) -> Result<x509_cert::Certificate, CertificateError> {
    if der.len() > MAX_CERTIFICATE_LEN {
        return Err(CertificateError::TooLong(der.len()));
    }
    x509_cert::Certificate::from_der(der).map_err(|_| CertificateError::Malformed("certificate"))
}

fn identity(name: &GeneralName) -> Option<Identity> {
    match name {
        GeneralName::DnsName(name) => Some(Identity::dns(name.as_str())),
        GeneralName::Rfc822Name(name) => Some(Identity::email(name.as_str())),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let v4 = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            let address = v4.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from));
            address.ok().map(Identity::Ip)
        }
        _ => None,
    }
}
