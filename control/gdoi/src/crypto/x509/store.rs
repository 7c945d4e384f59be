//! The trust anchors and CRLs of a configuration, and the verification of a peer's chain against them.

use super::CertificateError;
use super::certificate::{Certificate, DER_SEQUENCE, blocks};
use super::usage::{self, IkePurpose};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{
    CertificateDer, CertificateRevocationListDer, SignatureVerificationAlgorithm, TrustAnchor, UnixTime,
};
use std::cell::RefCell;
use std::fmt;
use std::ops::Deref;
use std::time::Duration;
use webpki::ring as algorithms;
use webpki::{
    CertRevocationList, EndEntityCert, Error, ExpirationPolicy, OwnedCertRevocationList,
    RevocationCheckDepth, RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};
use x509_cert::crl::CertificateList;
use x509_cert::der::{Decode, Encode};

/// The most certificates that a chain may have: the peer's own and those of intermediate CAs.
pub const MAX_CHAIN_LEN: usize = 6;

/// What certificates and CRLs may be signed with. SHA-1 is not among them.
const ALGORITHMS: &[&dyn SignatureVerificationAlgorithm] = &[
    algorithms::ECDSA_P256_SHA256,
    algorithms::ECDSA_P256_SHA384,
    algorithms::ECDSA_P384_SHA256,
    algorithms::ECDSA_P384_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA256,
    algorithms::RSA_PKCS1_2048_8192_SHA384,
    algorithms::RSA_PKCS1_2048_8192_SHA512,
];

/// Trust anchors with the CRLs that go with them and with the CAs below them.
pub struct TrustStore {
    anchors: Vec<TrustAnchor<'static>>,
    certificates: Vec<Certificate>,
    /// The newest of each issuer first.
    crls: Vec<CertRevocationList<'static>>,
}

/// A certificate that leads to a trust anchor and was valid when it was verified. Only
/// [`TrustStore::verify`] makes one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate(Certificate);

impl TrustStore {
    /// Takes the contents of files: certificates of trust anchors, and CRLs, each PEM with any number of
    /// them or one in DER. Where a CRL of an issuer is given, what it issued is checked against it; for
    /// issuers without one nothing is known of revocation and nothing is refused.
    ///
    /// # Errors
    /// A file holds none, something is malformed, an anchor is no CA or may not sign certificates, or CRLs if
    /// there are some of its own, or a CRL is of a kind that is not accepted.
    pub fn new(anchors: &[impl AsRef<[u8]>], crls: &[impl AsRef<[u8]>]) -> Result<Self, CertificateError> {
        let mut store = Self { anchors: Vec::new(), certificates: Vec::new(), crls: Vec::new() };
        for file in anchors {
            for der in blocks(file.as_ref())? {
                store.add_anchor(der)?;
            }
        }
        let mut lists = Vec::new();
        for file in crls {
            for der in crl_blocks(file.as_ref())? {
                lists.push(store.read_crl(&der)?);
            }
        }
        lists.sort_by_key(|(this_update, _)| std::cmp::Reverse(*this_update));
        store.crls = lists.into_iter().map(|(_, list)| list.into()).collect();
        Ok(store)
    }

    /// The trust anchors: to name them in CERTREQ payloads, and to warn of their expiry.
    #[must_use]
    pub fn anchors(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Verifies a peer's chain: its own certificate first, then any that lead to a trust anchor, in any
    /// order, at `now` (seconds since 1970). Checks signatures, validity, basicConstraints, pathLen, name
    /// constraints, key usage, extended key usage, critical extensions and CRLs. It does not check who the
    /// peer is: see [`Certificate::matches_identity`].
    ///
    /// # Errors
    /// Why there is no path that holds; the closest one's reason.
    pub fn verify(&self, chain: &[impl AsRef<[u8]>], now: u64) -> Result<PeerCertificate, CertificateError> {
        let (own, others) = chain.split_first().ok_or(CertificateError::NoCertificate)?;
        if chain.len() > MAX_CHAIN_LEN {
            return Err(CertificateError::TooMany(chain.len()));
        }
        // Reading each one also bounds what its key can cost.
        let peer = Certificate::from_der(own.as_ref())?;
        let mut intermediates = Vec::with_capacity(others.len());
        for der in others {
            Certificate::from_der(der.as_ref())?;
            intermediates.push(CertificateDer::from(der.as_ref()));
        }
        let own = CertificateDer::from(own.as_ref());
        let leaf = EndEntityCert::try_from(&own).map_err(|error| refusal(&error, &peer, now))?;

        let crls: Vec<_> = self.crls.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&crls).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(ExpirationPolicy::Enforce)
                .build()
        });
        let reason = RefCell::new(None);
        let check_path = |path: &VerifiedPath<'_>| {
            self.check_path(path, now).map_err(|error| {
                reason.replace(Some(error));
                Error::UnknownIssuer
            })
        };
        leaf.verify_for_usage(
            ALGORITHMS,
            &self.anchors,
            &intermediates,
            UnixTime::since_unix_epoch(Duration::from_secs(now)),
            IkePurpose,
            revocation,
            Some(&check_path),
        )
        .map_err(|error| reason.take().unwrap_or_else(|| refusal(&error, &peer, now)))?;
        usage::check_peer(peer.der())?;
        Ok(PeerCertificate(peer))
    }

    /// What the path validation beneath leaves open: the issuers' keyUsage and the anchor's validity.
    fn check_path(&self, path: &VerifiedPath<'_>, now: u64) -> Result<(), CertificateError> {
        for issuer in path.intermediate_certificates() {
            usage::check_issuer(&issuer.der())?;
        }
        let anchor = path.anchor();
        let mut refused = Ok(());
        // An anchor may have been renewed under the same name and key: one of them must be valid.
        for (certificate, candidate) in self.certificates.iter().zip(&self.anchors) {
            if candidate.subject != anchor.subject
                || candidate.subject_public_key_info != anchor.subject_public_key_info
            {
                continue;
            }
            if certificate.not_before() > now {
                refused = Err(CertificateError::NotYetValid { not_before: certificate.not_before(), now });
            } else if certificate.not_after() < now {
                refused = Err(CertificateError::Expired { not_after: certificate.not_after(), now });
            } else {
                return Ok(());
            }
        }
        refused
    }

    fn add_anchor(&mut self, der: Vec<u8>) -> Result<(), CertificateError> {
        usage::check_ca(&der)?;
        usage::check_issuer(&der)?;
        let certificate = Certificate::from_der(&der)?;
        let der = CertificateDer::from(der);
        let anchor = webpki::anchor_from_trusted_cert(&der)
            .map_err(|_| CertificateError::Malformed("trust anchor's certificate"))?;
        self.anchors.push(anchor.to_owned());
        self.certificates.push(certificate);
        Ok(())
    }

    fn read_crl(&self, der: &[u8]) -> Result<(u64, OwnedCertRevocationList), CertificateError> {
        let list = CertificateList::<x509_cert::certificate::Rfc5280>::from_der(der)
            .map_err(|_| CertificateError::Malformed("CRL"))?;
        let issuer = &list.tbs_cert_list.issuer;
        let issuer_der = issuer.to_der().map_err(|_| CertificateError::Malformed("CRL"))?;
        for anchor in &self.certificates {
            if anchor.subject_der() == issuer_der {
                usage::check_crl_issuer(anchor.der())?;
            }
        }
        let this_update = list.tbs_cert_list.this_update.to_unix_duration().as_secs();
        let list = OwnedCertRevocationList::from_der(der)
            .map_err(|_| CertificateError::CrlKind(issuer.to_string()))?;
        Ok((this_update, list))
    }
}

impl Deref for PeerCertificate {
    type Target = Certificate;

    fn deref(&self) -> &Certificate {
        &self.0
    }
}

impl fmt::Debug for TrustStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let anchors: Vec<_> = self.certificates.iter().map(Certificate::subject).collect();
        f.debug_struct("TrustStore").field("anchors", &anchors).field("crls", &self.crls.len()).finish()
    }
}

/// All CRLs of a PEM or DER file.
fn crl_blocks(file: &[u8]) -> Result<Vec<Vec<u8>>, CertificateError> {
    if file.first() == Some(&DER_SEQUENCE) {
        return Ok(vec![file.to_vec()]);
    }
    let mut found = Vec::new();
    for block in CertificateRevocationListDer::pem_slice_iter(file) {
        let der = block.map_err(|_| CertificateError::Malformed("PEM block of a CRL"))?;
        found.push(der.to_vec());
    }
    if found.is_empty() { Err(CertificateError::NoCrl) } else { Ok(found) }
}

/// The reason of the path validation beneath, in our words.
fn refusal(error: &Error, peer: &Certificate, now: u64) -> CertificateError {
    match error {
        Error::CertExpired { not_after, .. } => {
            CertificateError::Expired { not_after: not_after.as_secs(), now }
        }
        Error::CertNotValidYet { not_before, .. } => {
            CertificateError::NotYetValid { not_before: not_before.as_secs(), now }
        }
        Error::CrlExpired { next_update, .. } => {
            CertificateError::CrlExpired { next_update: next_update.as_secs(), now }
        }
        Error::UnknownIssuer => {
            CertificateError::UnknownIssuer { subject: peer.subject(), issuer: peer.issuer() }
        }
        Error::CertRevoked => CertificateError::Revoked,
        Error::CaUsedAsEndEntity => CertificateError::CaAsPeer,
        Error::EndEntityUsedAsCa => CertificateError::NotCa,
        Error::PathLenConstraintViolated => CertificateError::PathLength,
        Error::IssuerNotCrlSigner => {
            CertificateError::KeyUsage { subject: "a CRL's issuer on the path".to_owned(), needed: "cRLSign" }
        }
        Error::RequiredEkuNotFoundContext(_) | Error::EmptyEkuExtension => CertificateError::ExtendedKeyUsage,
        Error::UnsupportedCriticalExtension => CertificateError::CriticalExtension,
        Error::NameConstraintViolation => CertificateError::NameConstraints,
        Error::InvalidSignatureForPublicKey | Error::InvalidCrlSignatureForPublicKey => {
            CertificateError::BadSignature
        }
        Error::UnsupportedSignatureAlgorithmContext(_)
        | Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)
        | Error::UnsupportedCrlSignatureAlgorithmContext(_)
        | Error::UnsupportedCrlSignatureAlgorithmForPublicKeyContext(_) => {
            CertificateError::SignatureAlgorithm
        }
        Error::BadDer | Error::BadDerTime | Error::TrailingData(_) | Error::MalformedExtensions => {
            CertificateError::Malformed("certificate")
        }
        other => CertificateError::Path(other.to_string()),
    }
}
