//! What a certificate may be used for: keyUsage, which the path validation beneath does not look at, and
//! extended key usage as IKE's deployments fill it.

use super::CertificateError;
use super::certificate::decode;
use webpki::{Error, ExtendedKeyUsageValidator, KeyPurposeIdIter, RequiredEkuNotFoundContext};
use x509_cert::ext::pkix::{BasicConstraints, KeyUsage};

/// The purposes of which a certificate must have one, if it has the extension at all: RFC 4945 section
/// 5.1.3.12 names the first two, and the others are what certificates made for TLS and for older IPsec hold.
const PURPOSES: [&[usize]; 8] = [
    &[1, 3, 6, 1, 5, 5, 7, 3, 17], // id-kp-ipsecIKE
    &[2, 5, 29, 37, 0],            // anyExtendedKeyUsage
    &[1, 3, 6, 1, 5, 5, 7, 3, 1],  // id-kp-serverAuth
    &[1, 3, 6, 1, 5, 5, 7, 3, 2],  // id-kp-clientAuth
    &[1, 3, 6, 1, 5, 5, 7, 3, 5],  // id-kp-ipsecEndSystem
    &[1, 3, 6, 1, 5, 5, 7, 3, 6],  // id-kp-ipsecTunnel
    &[1, 3, 6, 1, 5, 5, 7, 3, 7],  // id-kp-ipsecUser
    &[1, 3, 6, 1, 5, 5, 8, 2, 2],  // iKEIntermediate
];

/// id-kp-ipsecIKE as DER holds it, for the error that names what is missing.
const IPSEC_IKE: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 3, 17];

/// Accepts any purpose that covers IKE.
pub(super) struct IkePurpose;

impl ExtendedKeyUsageValidator for IkePurpose {
    fn validate(&self, purposes: KeyPurposeIdIter<'_, '_>) -> Result<(), Error> {
        let mut present = Vec::new();
        for purpose in purposes {
            present.push(purpose?.to_decoded_oid());
        }
        if present.is_empty() || present.iter().any(|purpose| PURPOSES.contains(&purpose.as_slice())) {
            return Ok(());
        }
        Err(Error::RequiredEkuNotFoundContext(RequiredEkuNotFoundContext {
            required: webpki::KeyUsage::required_if_present(IPSEC_IKE),
            present,
        }))
    }
}

/// The peer's own certificate must be allowed to sign (RFC 4945 section 5.1.3.2 also lets nonRepudiation
/// stand for it).
pub(super) fn check_peer(der: &[u8]) -> Result<(), CertificateError> {
    require(der, "digitalSignature or nonRepudiation", |usage| {
        usage.digital_signature() || usage.non_repudiation()
    })
}

/// An issuer must be allowed to sign certificates.
pub(super) fn check_issuer(der: &[u8]) -> Result<(), CertificateError> {
    require(der, "keyCertSign", KeyUsage::key_cert_sign)
}

/// An issuer must be allowed to sign CRLs.
pub(super) fn check_crl_issuer(der: &[u8]) -> Result<(), CertificateError> {
    require(der, "cRLSign", KeyUsage::crl_sign)
}

/// An anchor is an issuer: it must say so.
pub(super) fn check_ca(der: &[u8]) -> Result<(), CertificateError> {
    let constraints = decode(der)?
        .tbs_certificate()
        .get_extension::<BasicConstraints>()
        .map_err(|_| CertificateError::Malformed("basicConstraints extension"))?;
    if constraints.is_some_and(|(_, constraints)| constraints.ca) {
        Ok(())
    } else {
        Err(CertificateError::NotCa)
    }
}

/// A certificate without keyUsage may be used for anything (RFC 5280 section 4.2.1.3).
fn require(
    der: &[u8],
    needed: &'static str,
    allowed: impl Fn(&KeyUsage) -> bool,
) -> Result<(), CertificateError> {
    let certificate = decode(der)?;
    let tbs = certificate.tbs_certificate();
    let usage =
        tbs.get_extension::<KeyUsage>().map_err(|_| CertificateError::Malformed("keyUsage extension"))?;
    if usage.is_none_or(|(_, usage)| allowed(&usage)) {
        Ok(())
    } else {
        Err(CertificateError::KeyUsage { subject: tbs.subject().to_string(), needed })
    }
}
