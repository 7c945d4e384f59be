//! The responder's states: each is what it waits for, and what it knows by then. Nothing costly is computed
//! before message 3, which only somebody can send who got message 2.

use super::authentication::{Failure, prove, requests, verify};
use super::message::{Message, clear, decrypt_message, encrypted};
use super::offer::{Chosen, choose};
use super::{Context, Step, nonce};
use crate::crypto::Secret;
use crate::ike::keys::{Exchanged, Keys};
use crate::ike::protection::Protection;
use crate::ike::vendor::{self, Announced};
use crate::ike::{CertificateCredentials, IkeError, IkeSa, Method, PeerInfo, ResponderConfig, Role};
use crate::wire::{Cookie, CookiePair, Doi, Header, Payload, PayloadType};
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

/// What a responder waits for.
pub(super) enum State {
    /// Message 3.
    KeyExchange(AwaitKeyExchange),
    /// Message 5.
    Proof(Box<AwaitProof>),
}

/// Message 2 is out.
pub(super) struct AwaitKeyExchange {
    cookies: CookiePair,
    chosen: Chosen,
    doi: Doi,
    /// The body of the initiator's SA payload.
    offer: Vec<u8>,
    psk: Option<Secret>,
    announced: Announced,
}

/// Message 4 is out.
pub(super) struct AwaitProof {
    chosen: Chosen,
    doi: Doi,
    exchanged: Exchanged,
    keys: Keys,
    announced: Announced,
}

/// The first state and the second message, for an initiator's first one.
pub(super) fn begin(
    config: &ResponderConfig,
    from: IpAddr,
    cookie: Cookie,
    header: &Header,
    body: &[u8],
) -> Result<(State, Vec<u8>), IkeError> {
    let message = Message::clear(1, header, body)?;
    let located = message.payload(PayloadType::Sa)?;
    let Payload::Sa(offered) = &located.payload else {
        return Err(IkeError::Missing { message: 1, payload: PayloadType::Sa });
    };
    let psk = config.peers.pre_shared_key(from);
    let by_certificate = config.certificate.as_ref().map(|credentials| credentials.method());
    let methods: Vec<_> =
        by_certificate.into_iter().chain(psk.as_ref().map(|_| Method::PreSharedKey)).collect();
    let (reply, chosen) = choose(offered, &config.suites, config.accept_ipsec_doi, &methods)?;
    let cookies = CookiePair { initiator: header.initiator_cookie, responder: cookie };
    let doi = reply.doi;
    let mut payloads = vec![Payload::Sa(reply)];
    payloads.extend(vendor::payloads());
    let state = AwaitKeyExchange {
        cookies,
        chosen,
        doi,
        offer: message.body.content(located).to_vec(),
        psk: psk.filter(|_| chosen.method == Method::PreSharedKey),
        announced: Announced::by(&message.body),
    };
    Ok((State::KeyExchange(state), clear(cookies, &payloads)?))
}

impl State {
    pub(super) fn handle(
        &self,
        config: &Arc<ResponderConfig>,
        context: &mut Context<'_>,
        header: &Header,
        body: &[u8],
    ) -> Result<Step, Failure> {
        match self {
            Self::KeyExchange(state) => Ok(state.handle(config, context, header, body)?),
            Self::Proof(state) => state.handle(config, context, header, body),
        }
    }

    /// The number of the last message that came.
    pub(super) fn last_message(&self) -> u8 {
        match self {
            Self::KeyExchange(_) => 1,
            Self::Proof(_) => 3,
        }
    }
}

impl AwaitKeyExchange {
    fn handle(
        &self,
        config: &Arc<ResponderConfig>,
        context: &mut Context<'_>,
        header: &Header,
        body: &[u8],
    ) -> Result<Step, IkeError> {
        let message = Message::clear(3, header, body)?;
        let (initiator_public, initiator_nonce) = message.key_exchange()?;
        let private = self.chosen.suite.group.generate(context.random);
        let shared = private.agree(&initiator_public)?;
        let exchanged = Exchanged {
            cookies: self.cookies,
            initiator_public,
            responder_public: private.public().to_vec(),
            initiator_nonce,
            responder_nonce: nonce(context.random),
            offer: self.offer.clone(),
        };
        let keys =
            Keys::derive(self.chosen.suite, self.chosen.method, &exchanged, &shared, self.psk.as_ref())?;
        let mut payloads = vec![
            Payload::KeyExchange(exchanged.responder_public.clone()),
            Payload::Nonce(exchanged.responder_nonce.clone()),
        ];
        payloads.extend(requests(certificate(config, self.chosen.method)));
        let reply = clear(self.cookies, &payloads)?;
        let (chosen, doi, announced) = (self.chosen, self.doi, self.announced);
        let next = AwaitProof { chosen, doi, exchanged, keys, announced };
        Ok(Step::responder(reply, State::Proof(Box::new(next))))
    }
}

impl AwaitProof {
    fn handle(
        &self,
        config: &Arc<ResponderConfig>,
        context: &mut Context<'_>,
        header: &Header,
        body: &[u8],
    ) -> Result<Step, Failure> {
        let method = self.chosen.method;
        let (text, mut iv) = decrypt_message(5, header, body, &self.keys, &self.keys.iv)?;
        let message = Message::decrypted(5, header, &text, method)?;
        let certificate = certificate(config, method);
        let trust = certificate.map(CertificateCredentials::trust);
        let hash = |identity: &[u8]| self.keys.hash_i(&self.exchanged, identity);
        let proven = verify(&message, method, trust, hash, context.unix_time)?;
        let mut peer = PeerInfo {
            address: context.peer,
            method,
            subject: proven.certificate.as_ref().map(|certificate| certificate.subject()),
            identity: proven.identity,
            tag: None,
            is_getvpn: self.announced.is_getvpn,
            supports_dpd: self.announced.supports_dpd,
        };
        peer.tag = config.peers.admit(&peer, proven.certificate.as_ref());
        if peer.tag.is_none() {
            return Err(Failure::Final(IkeError::NotAdmitted(peer.identity)));
        }
        let hash = |identity: &[u8]| self.keys.hash_r(&self.exchanged, identity);
        let payloads = prove(&config.identity, certificate, hash, context.random).map_err(Failure::Final)?;
        let reply = encrypted(self.exchanged.cookies, &payloads, &self.keys, &mut iv)?;
        let lifetime = config.lifetime.min(self.chosen.lifetime.unwrap_or(config.lifetime));
        let sa = IkeSa {
            protection: Protection {
                cookies: self.exchanged.cookies,
                prf: self.keys.prf.clone(),
                cipher: self.keys.cipher.clone(),
                last_block: iv,
            },
            role: Role::Responder,
            suite: self.chosen.suite,
            doi: self.doi,
            peer: Arc::new(peer),
            initial_contact: proven.initial_contact,
            created: context.now,
            expires: context.now + lifetime,
            used_ids: VecDeque::new(),
        };
        Ok(Step::established(sa, Some(reply)))
    }
}

fn certificate(config: &ResponderConfig, method: Method) -> Option<&CertificateCredentials> {
    config.certificate.as_deref().filter(|_| method != Method::PreSharedKey)
}
