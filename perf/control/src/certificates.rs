//! A certification authority for benchmarks: P-256 throughout, a path of one certificate.

use std::fs;
use std::path::Path;

use anyhow::Result;
use getvpn_gdoi::crypto::SigningKey;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};

/// The authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: String,
}

/// A certificate in DER with its key.
pub struct Issued {
    pub der: Vec<u8>,
    pub key: SigningKey,
    pem: (String, String),
}

impl Authority {
    pub fn new() -> Result<Authority> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "getvpn benchmark CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key)?.pem();
        Ok(Authority { issuer: Issuer::new(params, key), certificate })
    }

    /// The authority's own certificate, in PEM.
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// A certificate for a host.
    pub fn issue(&self, name: &str) -> Result<Issued> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let mut params = CertificateParams::new([name.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let certificate = params.signed_by(&key, &self.issuer)?;
        Ok(Issued {
            der: certificate.der().to_vec(),
            key: SigningKey::from_pkcs8_der(key.serialized_der())?,
            pem: (certificate.pem(), key.serialize_pem()),
        })
    }
}

impl Issued {
    /// Writes certificate and key as a daemon reads them.
    pub fn write(&self, certificate: &Path, key: &Path) -> Result<()> {
        fs::write(certificate, &self.pem.0)?;
        Ok(crate::site::write_secret(key, &self.pem.1)?)
    }
}
