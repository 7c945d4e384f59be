//! Messages five and six: who each side is, and the proof of it (RFC 2409 sections 5.1 and 5.4, RFC 4754).

use super::message::{Message, undecryptable};
use crate::crypto::x509::{self, Certificate, MAX_CHAIN_LEN, PeerCertificate, TrustStore};
use crate::crypto::{Random, Secret};
use crate::ike::{CertificateCredentials, Identity, IkeError, Method};
use crate::wire::{
    self, CertEncoding, CertificateRequest, Compat, Identification, NotifyType, Payload, PayloadType,
    encode_chain,
};

/// The most authorities that a message asks for certificates of.
const MAX_REQUESTS: usize = 8;

/// What is wrong with a proof.
pub(super) enum Failure {
    /// The message may have been altered under way: another one may still be right.
    Unproven(IkeError),
    /// The peer itself said so, and will say nothing else: phase 1 has failed.
    Final(IkeError),
}

impl From<IkeError> for Failure {
    fn from(error: IkeError) -> Self {
        Self::Unproven(error)
    }
}

/// What a proof proves.
pub(super) struct Proven {
    pub(super) identity: Identity,
    pub(super) certificate: Option<PeerCertificate>,
    pub(super) initial_contact: bool,
}

impl Proven {
    /// Whether this is the peer that a configuration names: by the identity that it gave, or by one that its
    /// certificate has.
    pub(super) fn is(&self, expected: &Identity) -> bool {
        let by_certificate = |certificate: &PeerCertificate| {
            expected
                .to_string()
                .parse::<x509::Identity>()
                .is_ok_and(|name| certificate.matches_identity(&name))
        };
        self.identity == *expected || self.certificate.as_ref().is_some_and(by_certificate)
    }
}

/// The payloads that ask for certificates, if signatures authenticate: one for each trust anchor.
pub(super) fn requests(credentials: Option<&CertificateCredentials>) -> Vec<Payload> {
    let Some(credentials) = credentials else { return Vec::new() };
    let anchors = credentials.trust().anchors().iter().take(MAX_REQUESTS);
    anchors
        .map(|anchor| {
            Payload::CertificateRequest(CertificateRequest {
                encoding: CertEncoding::X509Signature,
                authority: anchor.subject_der().to_vec(),
            })
        })
        .collect()
}

/// The payloads that prove who we are. `hash` makes HASH_I or HASH_R of the body of our ID payload;
/// `certificate` is what we sign with, or `None` with a pre-shared key.
pub(super) fn prove(
    identity: &Identity,
    certificate: Option<&CertificateCredentials>,
    hash: impl FnOnce(&[u8]) -> Secret,
    random: &mut dyn Random,
) -> Result<Vec<Payload>, IkeError> {
    let (id_type, data) = identity.to_wire();
    let identification = Payload::Identification(Identification::new(id_type, data));
    let id = encode_chain(std::slice::from_ref(&identification), PayloadType::None, Compat::Standard)?;
    // The hash covers the payload without its generic header of four octets.
    let hash = hash(id.octets.get(4..).unwrap_or_default());
    let mut payloads = vec![identification];
    match certificate.and_then(|credentials| Some((credentials, credentials.method().scheme()?))) {
        None => payloads.push(Payload::Hash(hash.to_vec())),
        Some((credentials, scheme)) => {
            payloads.extend(credentials.chain().iter().map(|der| {
                Payload::Certificate(wire::Certificate {
                    encoding: CertEncoding::X509Signature,
                    data: der.clone(),
                })
            }));
            let signature = credentials.key().sign(scheme, &hash, random).map_err(IkeError::CannotSign)?;
            payloads.push(Payload::Signature(signature));
        }
    }
    Ok(payloads)
}

/// Who the peer is, if `message` proves it. `hash` makes HASH_I or HASH_R of the body of its ID payload;
/// `trust` is there if signatures authenticate. `unix_time` is in seconds since 1970.
///
/// The proof is checked before the certificate's path: only what the holder of its key said is final. A
/// message without the payloads of a proof is taken for one that was decrypted with wrong keys.
pub(super) fn verify(
    message: &Message<'_>,
    method: Method,
    trust: Option<&TrustStore>,
    hash: impl FnOnce(&[u8]) -> Secret,
    unix_time: u64,
) -> Result<Proven, Failure> {
    proof(message, method, trust, hash, unix_time).map_err(|failure| match failure {
        Failure::Unproven(IkeError::Missing { message, .. }) => {
            Failure::Unproven(undecryptable(message, method))
        }
        other => other,
    })
}

fn proof(
    message: &Message<'_>,
    method: Method,
    trust: Option<&TrustStore>,
    hash: impl FnOnce(&[u8]) -> Secret,
    unix_time: u64,
) -> Result<Proven, Failure> {
    let located = message.payload(PayloadType::Identification)?;
    let Payload::Identification(id) = &located.payload else { return Err(IkeError::Hash.into()) };
    let identity = Identity::from_wire(id.id_type, &id.data).map_err(IkeError::from)?;
    let hash = hash(message.body.content(located));
    let certificate = match (method.scheme(), trust) {
        (Some(scheme), Some(trust)) => {
            let chain = chain(message)?;
            let own = *chain.first().ok_or_else(|| IkeError::NoCertificate(identity.clone()))?;
            let refused = |why| IkeError::Certificate { identity: identity.clone(), why };
            let key = Certificate::from_der(own).map_err(refused)?.public_key().clone();
            if Method::of_key(key.kind()) != method {
                return Err(IkeError::CertificateKey { identity, method }.into());
            }
            let signature = message.body.content(message.payload(PayloadType::Signature)?);
            key.verify(scheme, &hash, signature)
                .map_err(|why| IkeError::Signature { identity: identity.clone(), why })?;
            let certificate = trust.verify(&chain, unix_time).map_err(|why| Failure::Final(refused(why)))?;
            if !names(&certificate, &identity, &id.data) {
                let subject = certificate.subject();
                return Err(Failure::Final(IkeError::CertificateName { identity, subject }));
            }
            Some(certificate)
        }
        _ => {
            let theirs = message.payload(PayloadType::Hash)?;
            if hash != *message.body.content(theirs) {
                return Err(IkeError::Hash.into());
            }
            None
        }
    };
    let initial_contact = message.body.payloads().iter().any(|located| {
        matches!(&located.payload, Payload::Notify(notify) if notify.notify_type == NotifyType::InitialContact)
    });
    Ok(Proven { identity, certificate, initial_contact })
}

/// The peer's certificates, its own first. Other things in CERT payloads are ignored.
fn chain<'a>(message: &'a Message<'_>) -> Result<Vec<&'a [u8]>, IkeError> {
    let certificates = message.body.payloads().iter().filter_map(|located| match &located.payload {
        Payload::Certificate(found) if found.encoding == CertEncoding::X509Signature => {
            Some(found.data.as_slice())
        }
        _ => None,
    });
    let chain: Vec<_> = certificates.collect();
    if chain.len() > MAX_CHAIN_LEN {
        return Err(IkeError::TooManyCertificates(MAX_CHAIN_LEN));
    }
    Ok(chain)
}

/// Whether the certificate proves the identity in an ID payload (RFC 4945 section 3.1): the subject octet
/// for octet, or a subjectAltName.
fn names(certificate: &Certificate, identity: &Identity, data: &[u8]) -> bool {
    let name = match identity {
        Identity::DistinguishedName(_) => return certificate.matches_subject_der(data),
        Identity::Address(address) => x509::Identity::Ip(*address),
        Identity::Fqdn(name) => x509::Identity::dns(name.as_str()),
        Identity::UserFqdn(name) => x509::Identity::email(name.as_str()),
        // Nothing in a certificate is a key ID.
        Identity::KeyId(_) => return false,
    };
    certificate.matches_identity(&name)
}
