//! GROUPKEY-PULL: messages of any content under the right HASH, to either side in each of its states.

use getvpn_gdoi::crypto::SeededRandom;
use getvpn_gdoi::ike::Prf;
use getvpn_gdoi::pull::{PullAccept, PullClient, PullOffer, PullServer};
use getvpn_gdoi::wire::{Body, Compat, EncodedChain, ExchangeType, Payload, PayloadType};

use crate::exchange::{Chain, Session};
use crate::group::{GROUP, check_keys, check_policy, keys, policy};
use crate::{Input, handshake};

const MESSAGE_ID: u32 = 7;

fn session() -> Session {
    handshake::Handshake::get(getvpn_gdoi::ike::Role::Initiator, handshake::Auth::Psk).session.clone()
}

/// A member's registration. The first octet says whether message 2 is honest or the fuzzer's, in which
/// layout, and whether messages get the right HASH. Then come the messages.
pub fn to_member(mut input: Input<'_>) {
    let choice = input.octet();
    let compat = compat(choice);
    let session = session();
    let mut random = SeededRandom::new(4);
    let (client, first) =
        PullClient::start(session.prf.clone(), MESSAGE_ID, GROUP, compat, &mut random).unwrap();
    let ni = nonce(first.first, &first.octets, compat).unwrap();
    let second = if choice & 2 == 0 {
        fuzzed(&session, choice, &[&ni], input.piece())
    } else {
        honest_offer(&session.prf, &first, compat)
    };
    let Ok(offered) = client.policy(second.first, &second.octets) else { return };
    assert!(choice & 6 != 4, "a message without its HASH");
    check_policy(&offered.policy);
    to_accept(&session, &offered.accept, choice, &ni, &second, input.piece(), compat);
    let _ = offered.accept.confirm(Some(2)).unwrap();
}

fn to_accept(
    session: &Session,
    accept: &PullAccept,
    choice: u8,
    ni: &[u8],
    second: &Chain,
    piece: &[u8],
    compat: Compat,
) {
    let nr = nonce(second.first, &second.octets, compat).unwrap();
    let message = fuzzed(session, choice, &[ni, &nr], piece);
    let (own_policy, own_keys) = (policy(), keys());
    let held = own_policy.kek.as_ref().zip(own_keys.kek.as_ref().map(|(_, keys)| keys));
    let held = held.filter(|_| choice & 8 != 0);
    if let Ok(pulled) = accept.keys(held, message.first, &message.octets) {
        assert!(choice & 4 == 0, "a message without its HASH");
        // Keys are compared with the policy afterwards; here only their numbers are bounded.
        check_keys(&pulled.keys, &getvpn_gdoi::group::GroupPolicy::default());
    }
}

/// A key server's registration of a member, likewise: messages 1 and 3.
pub fn to_server(mut input: Input<'_>) {
    let choice = input.octet();
    let compat = compat(choice);
    let session = session();
    let first = if choice & 2 == 0 {
        fuzzed(&session, choice, &[], input.piece())
    } else {
        let mut random = SeededRandom::new(4);
        let (_, first) =
            PullClient::start(session.prf.clone(), MESSAGE_ID, GROUP, compat, &mut random).unwrap();
        Chain { first: first.first, octets: first.octets.to_vec() }
    };
    let request = PullServer::request(session.prf.clone(), MESSAGE_ID, first.first, &first.octets);
    let Ok((server, _)) = request else { return };
    assert!(choice & 6 != 4, "a message without its HASH");
    let ni = nonce(first.first, &first.octets, Compat::Standard).unwrap();
    let (offer, second) = server.offer(&policy(), compat, &mut SeededRandom::new(5)).unwrap();
    let nr = nonce(second.first, &second.octets, compat).unwrap();
    confirm(&offer, &fuzzed(&session, choice, &[&ni, &nr], input.piece()), choice);
    // The honest member's message still counts.
    let none = Chain { first: PayloadType::None, octets: Vec::new() };
    let third = session.authentic(MESSAGE_ID, &[&ni, &nr], none);
    assert!(offer.confirmed(third.first, &third.octets).is_ok());
}

fn confirm(offer: &PullOffer, third: &Chain, choice: u8) {
    if let Ok((confirmed, wanted)) = offer.confirmed(third.first, &third.octets) {
        assert!(choice & 4 == 0, "a message without its HASH");
        assert!(wanted.is_none_or(|count| count > 0));
        confirmed.keys(&policy(), &keys(), Some(1)).unwrap();
    }
}

const fn compat(choice: u8) -> Compat {
    if choice & 1 == 0 { Compat::Standard } else { Compat::Reference }
}

/// A message of the fuzzer's, with the right HASH or as it is.
fn fuzzed(session: &Session, choice: u8, nonces: &[&[u8]], piece: &[u8]) -> Chain {
    let chain = Chain::fuzzed(piece);
    if choice & 4 == 0 { session.authentic(MESSAGE_ID, nonces, chain) } else { chain }
}

fn honest_offer(prf: &Prf, first: &EncodedChain, compat: Compat) -> Chain {
    let (server, _) = PullServer::request(prf.clone(), MESSAGE_ID, first.first, &first.octets).unwrap();
    let (_, second) = server.offer(&policy(), compat, &mut SeededRandom::new(5)).unwrap();
    Chain { first: second.first, octets: second.octets.to_vec() }
}

/// What follows the HASH in an honest member's first message.
#[must_use]
pub fn request() -> Chain {
    let mut random = SeededRandom::new(4);
    let prf = session().prf;
    let (_, first) = PullClient::start(prf, MESSAGE_ID, GROUP, Compat::Standard, &mut random).unwrap();
    behind_hash(&first.octets)
}

/// The payloads behind the HASH that comes first.
#[must_use]
pub fn behind_hash(octets: &[u8]) -> Chain {
    let len = usize::from(u16::from_be_bytes([octets[2], octets[3]]));
    Chain { first: octets[0].into(), octets: octets[len..].to_vec() }
}

/// The nonce of a message.
pub(crate) fn nonce(first: PayloadType, octets: &[u8], compat: Compat) -> Option<Vec<u8>> {
    let body = Body::decode(first, ExchangeType::GroupkeyPull, octets, compat).ok()?;
    match &body.find(PayloadType::Nonce)?.payload {
        Payload::Nonce(nonce) => Some(nonce.clone()),
        _ => None,
    }
}
