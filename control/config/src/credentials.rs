//! What a daemon proves its identity with, in files that a configuration names: read and decoded at a
//! daemon's start. Whether a certificate is valid by the clock is seen when it is used.

use crate::error::ConfigError;
use crate::reader::{Section, Value};
use crate::{files, protocol, psk};
use getvpn_gdoi::crypto::SigningKey;
use getvpn_gdoi::crypto::x509::{self, Certificate, TrustStore, parse_chain};
use getvpn_gdoi::ike::{CertificateCredentials, Credentials, CredentialsError, DistinguishedName, Identity};
use std::path::Path;
use std::sync::Arc;

/// The keys that belong to a certificate.
pub const CERTIFICATE_KEYS: [&str; 4] = ["certificate", "private_key", "trust_anchors", "crls"];

/// The longest file of certificates or of a private key, in octets.
const CERTIFICATE_LIMIT: usize = 1 << 20;
/// The longest CRL file, in octets.
const CRL_LIMIT: usize = 64 << 20;

/// Reads `psk_file`, or `certificate`, `private_key`, `trust_anchors` and `crls`.
///
/// # Errors
/// When there is neither or both, or a file is wrong.
pub fn read(section: &Section<'_>, base: &Path) -> Result<Credentials, ConfigError> {
    if let Some(key) = section.get("psk_file") {
        if let Some(other) = CERTIFICATE_KEYS.iter().find_map(|key| section.get(key)) {
            return Err(other.error("psk_file is given too; use a pre-shared key or a certificate, not both"));
        }
        return psk::read(&key, base).map(Credentials::Psk);
    }
    match certificate(section, base)? {
        Some(certificate) => Ok(Credentials::Certificate(certificate)),
        None => Err(section.missing("psk_file", "psk_file, or certificate, private_key and trust_anchors")),
    }
}

/// Reads `certificate` and what belongs to it; `None` when none of it is there.
///
/// # Errors
/// When something is missing, a file is wrong, others than its owner may use the private key, or it is
/// not the certificate's.
pub fn certificate(
    section: &Section<'_>,
    base: &Path,
) -> Result<Option<Arc<CertificateCredentials>>, ConfigError> {
    let Some(value) = section.get("certificate") else {
        return match CERTIFICATE_KEYS.iter().find_map(|key| section.get(key)) {
            Some(other) => Err(other.error("has no effect without certificate; add that or remove it")),
            None => Ok(None),
        };
    };
    let private_key = section.need("private_key", "the file of the certificate's private key")?;
    let anchors = section.need("trust_anchors", "the file, or an array of files, of the CAs to trust")?;

    let chain = files::read_limited(&value, base, CERTIFICATE_LIMIT)?;
    let chain = parse_chain(&chain).map_err(|e| wrong(&value, &e))?;
    let key = files::read_secret(&private_key, base, CERTIFICATE_LIMIT)?;
    let key = SigningKey::from_pem(&key).map_err(|e| wrong(&private_key, &e))?;
    let trust = trust(&anchors, section.get("crls").as_ref(), base)?;
    match CertificateCredentials::new(chain, key, Arc::new(trust)) {
        Ok(credentials) => Ok(Some(Arc::new(credentials))),
        Err(error @ CredentialsError::OtherKey(_)) => Err(wrong(&private_key, &error)),
        Err(error @ CredentialsError::Certificate(_)) => Err(wrong(&value, &error)),
    }
}

/// Reads `local_id`, which a certificate must hold if there is one. Without the key it is a certificate's
/// subject, and `None` with a pre-shared key.
///
/// # Errors
/// When it is no identity, or the certificate has another.
pub fn local_identity(
    section: &Section<'_>,
    certificate: Option<&CertificateCredentials>,
) -> Result<Option<Identity>, ConfigError> {
    let named = section.get("local_id").map(|value| Ok((protocol::identity(&value)?, value))).transpose()?;
    let Some(credentials) = certificate else { return Ok(named.map(|(identity, _)| identity)) };
    let own = credentials.chain().first().map(|der| Certificate::from_der(der));
    let Some(Ok(own)) = own else { return Err(section.error("its certificate cannot be read")) };
    match named {
        None => subject(&own).map(Some).ok_or_else(|| {
            section.missing("local_id", "one of the certificate's names: its subject is empty")
        }),
        Some((identity, _)) if holds(&own, &identity) => Ok(Some(identity)),
        Some((identity, value)) => {
            let mut names = vec![own.subject()];
            names.extend(own.alternative_names().iter().map(x509::Identity::to_string));
            let names = names.join(" or ");
            Err(value.error(format!("the certificate is not for {identity}; it is for {names}")))
        }
    }
}

fn subject(certificate: &Certificate) -> Option<Identity> {
    DistinguishedName::from_der(certificate.subject_der()).ok().map(Identity::DistinguishedName)
}

fn holds(certificate: &Certificate, identity: &Identity) -> bool {
    match identity {
        Identity::DistinguishedName(_) => subject(certificate).as_ref() == Some(identity),
        // Nothing in a certificate says it.
        Identity::KeyId(_) => false,
        _ => identity.to_string().parse().is_ok_and(|name| certificate.matches_identity(&name)),
    }
}

/// The trust anchors and CRLs of files; what is wrong is told at the file that it is in.
fn trust(anchors: &Value<'_>, crls: Option<&Value<'_>>, base: &Path) -> Result<TrustStore, ConfigError> {
    const NONE: [&[u8]; 0] = [];
    let mut anchor_files = Vec::new();
    for value in anchors.one_or_several() {
        let file = files::read_limited(&value, base, CERTIFICATE_LIMIT)?;
        TrustStore::new(&[&file], &NONE).map_err(|e| wrong(&value, &e))?;
        anchor_files.push(file);
    }
    if anchor_files.is_empty() {
        return Err(anchors.error("empty; name the file of at least one CA to trust"));
    }
    let mut crl_files = Vec::new();
    for value in crls.map(Value::one_or_several).unwrap_or_default() {
        let file = files::read_limited(&value, base, CRL_LIMIT)?;
        TrustStore::new(&anchor_files, &[&file]).map_err(|e| wrong(&value, &e))?;
        crl_files.push(file);
    }
    TrustStore::new(&anchor_files, &crl_files).map_err(|e| wrong(anchors, &e))
}

fn wrong(value: &Value<'_>, error: &dyn std::error::Error) -> ConfigError {
    value.error(format!("{}: {error}", value.string("a path").unwrap_or_default()))
}

#[cfg(test)]
mod tests;
