//! The initiator's states: each is what it waits for, and what it knows by then.

use super::authentication::{Failure, prove, requests, verify};
use super::message::{Message, clear, decrypt_message, encrypted};
use super::offer::{Chosen, chosen, offer};
use super::{Context, Step, nonce};
use crate::crypto::DhPrivate;
use crate::ike::keys::{Exchanged, Keys};
use crate::ike::protection::Protection;
use crate::ike::vendor::{self, Announced};
use crate::ike::{
    CertificateCredentials, Credentials, IkeError, IkeSa, Informational, InitiatorConfig, Iv, Notice,
    PeerInfo, Role,
};
use crate::wire::Compat;
use crate::wire::{Cookie, CookiePair, Header, NotifyType, Payload, PayloadType, Sa, encode_chain};
use std::collections::VecDeque;
use std::sync::Arc;

/// What an initiator waits for.
pub(super) enum State {
    /// Message 2.
    Choice(AwaitChoice),
    /// Message 4.
    KeyExchange(Box<AwaitKeyExchange>),
    /// Message 6.
    Proof(Box<AwaitProof>),
}

/// Message 1 is out.
pub(super) struct AwaitChoice {
    cookie: Cookie,
    offered: Sa,
    /// The body of its SA payload.
    octets: Vec<u8>,
}

/// Message 3 is out.
pub(super) struct AwaitKeyExchange {
    cookies: CookiePair,
    chosen: Chosen,
    offer: Vec<u8>,
    private: DhPrivate,
    nonce: Vec<u8>,
    announced: Announced,
}

/// Message 5 is out.
pub(super) struct AwaitProof {
    chosen: Chosen,
    exchanged: Exchanged,
    keys: Keys,
    /// Of message 6: the last block of message 5.
    iv: Iv,
    announced: Announced,
}

/// The first state and the first message.
pub(super) fn begin(config: &InitiatorConfig, cookie: Cookie) -> Result<(State, Vec<u8>), IkeError> {
    let offered = offer(config);
    let sa = Payload::Sa(offered.clone());
    let chain = encode_chain(std::slice::from_ref(&sa), PayloadType::None, Compat::Standard)?;
    let octets = chain.octets.get(4..).unwrap_or_default().to_vec();
    let mut payloads = vec![sa];
    payloads.extend(vendor::payloads());
    let message = clear(CookiePair { initiator: cookie, responder: Cookie::ZERO }, &payloads)?;
    Ok((State::Choice(AwaitChoice { cookie, offered, octets }), message))
}

impl State {
    pub(super) fn handle(
        &self,
        config: &Arc<InitiatorConfig>,
        context: &mut Context<'_>,
        header: &Header,
        body: &[u8],
    ) -> Result<Step, Failure> {
        match self {
            Self::Choice(state) => Ok(state.handle(config, context, header, body)?),
            Self::KeyExchange(state) => Ok(state.handle(config, context, header, body)?),
            Self::Proof(state) => state.handle(config, context, header, body),
        }
    }

    /// The cookies as far as they are known.
    pub(super) fn cookies(&self) -> CookiePair {
        match self {
            Self::Choice(state) => CookiePair { initiator: state.cookie, responder: Cookie::ZERO },
            Self::KeyExchange(state) => state.cookies,
            Self::Proof(state) => state.exchanged.cookies,
        }
    }

    /// A protected notification that comes instead of message 6. It is from whoever we exchanged keys with,
    /// who is not authenticated yet.
    pub(super) fn protected_hint(&self, datagram: &[u8]) -> Option<NotifyType> {
        let Self::Proof(state) = self else { return None };
        let (_, notices) = Informational::open(datagram, &state.protection(state.iv)).ok()?;
        notices.iter().find_map(|notice| match notice {
            Notice::Other { notify, .. } => Some(*notify),
            _ => None,
        })
    }
}

impl AwaitChoice {
    fn handle(
        &self,
        config: &Arc<InitiatorConfig>,
        context: &mut Context<'_>,
        header: &Header,
        body: &[u8],
    ) -> Result<Step, IkeError> {
        let cookies = header.cookies();
        if cookies.responder == Cookie::ZERO {
            return Err(IkeError::Cookies);
        }
        let message = Message::clear(2, header, body)?;
        let Payload::Sa(reply) = &message.payload(PayloadType::Sa)?.payload else {
            return Err(IkeError::Missing { message: 2, payload: PayloadType::Sa });
        };
        let chosen = chosen(reply, &self.offered)?;
        let private = chosen.suite.group.generate(context.random);
        let nonce = nonce(context.random);
        let mut payloads =
            vec![Payload::KeyExchange(private.public().to_vec()), Payload::Nonce(nonce.clone())];
        payloads.extend(requests(certificate(config)));
        let next = AwaitKeyExchange {
            cookies,
            chosen,
            offer: self.octets.clone(),
            private,
            nonce,
            announced: Announced::by(&message.body),
        };
        Ok(Step::initiator(clear(cookies, &payloads)?, State::KeyExchange(Box::new(next))))
    }
}

impl AwaitKeyExchange {
    fn handle(
        &self,
        config: &Arc<InitiatorConfig>,
        context: &mut Context<'_>,
        header: &Header,
        body: &[u8],
    ) -> Result<Step, IkeError> {
        let message = Message::clear(4, header, body)?;
        let (responder_public, responder_nonce) = message.key_exchange()?;
        let shared = self.private.agree(&responder_public)?;
        let exchanged = Exchanged {
            cookies: self.cookies,
            initiator_public: self.private.public().to_vec(),
            responder_public,
            initiator_nonce: self.nonce.clone(),
            responder_nonce,
            offer: self.offer.clone(),
        };
        let psk = match &config.credentials {
            Credentials::Psk(key) => Some(key),
            Credentials::Certificate(_) => None,
        };
        let keys = Keys::derive(self.chosen.suite, self.chosen.method, &exchanged, &shared, psk)?;
        let hash = |identity: &[u8]| keys.hash_i(&exchanged, identity);
        let mut payloads = prove(&config.identity, certificate(config), hash, context.random)?;
        if config.initial_contact {
            payloads.push(Notice::InitialContact.to_payload(config.doi, self.cookies));
        }
        let mut iv = keys.iv;
        let reply = encrypted(self.cookies, &payloads, &keys, &mut iv)?;
        let announced = self.announced;
        let next = AwaitProof { chosen: self.chosen, exchanged, keys, iv, announced };
        Ok(Step::initiator(reply, State::Proof(Box::new(next))))
    }
}

impl AwaitProof {
    fn handle(
        &self,
        config: &Arc<InitiatorConfig>,
        context: &mut Context<'_>,
        header: &Header,
        body: &[u8],
    ) -> Result<Step, Failure> {
        let method = self.chosen.method;
        let (text, last_block) = decrypt_message(6, header, body, &self.keys, &self.iv)?;
        let message = Message::decrypted(6, header, &text, method)?;
        let trust = certificate(config).map(CertificateCredentials::trust);
        let hash = |identity: &[u8]| self.keys.hash_r(&self.exchanged, identity);
        let proven = verify(&message, method, trust, hash, context.unix_time)?;
        let by_address = trust.is_some().then(|| context.peer.ip().into());
        if let Some(expected) = config.peer_identity.clone().or(by_address)
            && !proven.is(&expected)
        {
            return Err(Failure::Final(IkeError::WrongPeer { found: proven.identity, expected }));
        }
        let lifetime = config.lifetime.min(self.chosen.lifetime.unwrap_or(config.lifetime));
        let sa = IkeSa {
            protection: self.protection(last_block),
            role: Role::Initiator,
            suite: self.chosen.suite,
            doi: config.doi,
            peer: Arc::new(PeerInfo {
                address: context.peer,
                method,
                subject: proven.certificate.as_ref().map(|certificate| certificate.subject()),
                identity: proven.identity,
                tag: None,
                is_getvpn: self.announced.is_getvpn,
                supports_dpd: self.announced.supports_dpd,
            }),
            initial_contact: proven.initial_contact,
            created: context.now,
            expires: context.now + lifetime,
            used_ids: VecDeque::new(),
        };
        Ok(Step::established(sa, None))
    }

    fn protection(&self, last_block: Iv) -> Protection {
        Protection {
            cookies: self.exchanged.cookies,
            prf: self.keys.prf.clone(),
            cipher: self.keys.cipher.clone(),
            last_block,
        }
    }
}

fn certificate(config: &InitiatorConfig) -> Option<&CertificateCredentials> {
    match &config.credentials {
        Credentials::Psk(_) => None,
        Credentials::Certificate(credentials) => Some(credentials),
    }
}
