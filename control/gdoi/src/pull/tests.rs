mod captured;

use super::*;
use crate::crypto::{HashAlgorithm, Secret, SeededRandom};
use crate::group::testing::{any_policy, any_sender_ids, kek, keys_for, tek};
use crate::group::{EspTransform, GroupId, GroupKeys, GroupPolicy, KekSignature};
use crate::ike::Prf;
use crate::wire::{Compat, EncodedChain, IdType, Identification, Payload, PayloadType, encode_chain};
use proptest::prelude::*;

const MESSAGE_ID: u32 = 0x1234_5678;
const GROUP: GroupId = GroupId(1234);

fn prf() -> Prf {
    Prf::new(HashAlgorithm::Sha256, Secret::new(vec![7; 32]))
}

/// What a member ends up with.
struct Registration {
    offered: Offered,
    requested: Option<u16>,
    pulled: Pulled,
}

/// A whole exchange.
fn register(
    compat: Compat,
    policy: &GroupPolicy,
    keys: &GroupKeys,
    wanted: Option<u16>,
    sequence: Option<u32>,
) -> Registration {
    let random = &mut SeededRandom::new(1);
    let (client, one) = PullClient::start(prf(), MESSAGE_ID, GROUP, compat, random).unwrap();
    let (server, named) = PullServer::request(prf(), MESSAGE_ID, one.first, &one.octets).unwrap();
    assert_eq!(named.id(compat), GROUP);
    let (offer, two) = server.offer(policy, compat, random).unwrap();
    let offered = client.policy(two.first, &two.octets).unwrap();
    let three = offered.accept.confirm(wanted).unwrap();
    let (confirmed, requested) = offer.confirmed(three.first, &three.octets).unwrap();
    let four = confirmed.keys(policy, keys, sequence).unwrap();
    let pulled = offered.accept.keys(None, four.first, &four.octets).unwrap();
    Registration { offered, requested, pulled }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_the_key_server_offers_is_what_the_member_gets(
        policy in any_policy(),
        sender_ids in proptest::option::of(any_sender_ids()),
        wanted in proptest::option::of(1..=u16::MAX),
        sequence in any::<u32>(),
        reference in any::<bool>(),
    ) {
        let compat = if reference { Compat::Reference } else { Compat::Standard };
        let keys = GroupKeys { sender_ids, ..keys_for(&policy, 9) };
        let sequence = policy.kek.is_some().then_some(sequence);
        let registration = register(compat, &policy, &keys, wanted, sequence);
        prop_assert_eq!(registration.offered.policy, policy);
        prop_assert_eq!(registration.offered.refused, vec![]);
        prop_assert_eq!(registration.requested, wanted);
        prop_assert_eq!(registration.pulled, Pulled { sequence, keys, refused: vec![] });
    }
}

fn policy() -> GroupPolicy {
    let (kek, _) = kek(KekSignature::EcdsaP256);
    GroupPolicy { kek: Some(kek), teks: vec![tek(256, EspTransform::Aes128Gcm)], ..Default::default() }
}

/// The four messages of one exchange, with the states that read them.
struct Steps {
    client: PullClient,
    offer: PullOffer,
    accept: PullAccept,
    messages: [EncodedChain; 4],
}

fn steps() -> Steps {
    let random = &mut SeededRandom::new(2);
    let policy = policy();
    let (client, one) = PullClient::start(prf(), MESSAGE_ID, GROUP, Compat::Standard, random).unwrap();
    let (server, _) = PullServer::request(prf(), MESSAGE_ID, one.first, &one.octets).unwrap();
    let (offer, two) = server.offer(&policy, Compat::Standard, random).unwrap();
    let accept = client.policy(two.first, &two.octets).unwrap().accept;
    let three = accept.confirm(Some(4)).unwrap();
    let (confirmed, _) = offer.confirmed(three.first, &three.octets).unwrap();
    let four = confirmed.keys(&policy, &keys_for(&policy, 3), Some(5)).unwrap();
    Steps { client, offer, accept, messages: [one, two, three, four] }
}

/// What the state that awaits message `number` says to a body.
fn read(steps: &Steps, number: usize, first: PayloadType, octets: &[u8]) -> Result<(), PullError> {
    match number {
        1 => PullServer::request(prf(), MESSAGE_ID, first, octets).map(drop),
        2 => steps.client.policy(first, octets).map(drop),
        3 => steps.offer.confirmed(first, octets).map(drop),
        _ => steps.accept.keys(None, first, octets).map(drop),
    }
}

#[test]
fn every_flipped_bit_of_every_message_is_refused() {
    let steps = steps();
    for (message, number) in steps.messages.iter().zip(1..) {
        assert_eq!(read(&steps, number, message.first, &message.octets), Ok(()));
        // HASH(n) covers what follows the HASH payload, and so not the type of the payload behind it. It is the
        // encryption that protects that, in messages 3 and 4, which may begin with a GAP or SEQ or not.
        let uncovered = if number >= 3 { 8 } else { 0 };
        for bit in uncovered..message.octets.len() * 8 {
            let mut octets = message.octets.to_vec();
            octets[bit / 8] ^= 1 << (bit % 8);
            assert!(read(&steps, number, message.first, &octets).is_err(), "message {number}, bit {bit}");
        }
    }
}

#[test]
fn every_truncation_of_every_message_is_refused_and_padding_is_not_looked_at() {
    let steps = steps();
    for (message, number) in steps.messages.iter().zip(1..) {
        for len in 0..message.octets.len() {
            assert!(read(&steps, number, message.first, &message.octets[..len]).is_err());
        }
        let padded = [message.octets.as_slice(), &[0, 1, 2, 3, 4, 5, 6]].concat();
        assert_eq!(read(&steps, number, message.first, &padded), Ok(()));
    }
}

#[test]
fn a_message_of_another_phase_1_or_exchange_or_place_is_refused() {
    let steps = steps();
    let [one, two, three, four] = &steps.messages;
    let other = Prf::new(HashAlgorithm::Sha256, Secret::new(vec![8; 32]));
    let wrong_key = PullServer::request(other, MESSAGE_ID, one.first, &one.octets);
    assert_eq!(wrong_key.unwrap_err(), PullError::Hash(1));
    let wrong_id = PullServer::request(prf(), MESSAGE_ID + 1, one.first, &one.octets);
    assert_eq!(wrong_id.unwrap_err(), PullError::Hash(1));
    for (number, wrong) in [(2, one), (2, four), (3, one), (3, two), (4, one), (4, two)] {
        assert_eq!(
            read(&steps, number, wrong.first, &wrong.octets),
            Err(PullError::Hash(number.try_into().unwrap()))
        );
    }
    // HASH(3) and HASH(4) cover the same and differ only in what follows.
    let missing = PullError::Missing(4, PayloadType::KeyDownload);
    assert_eq!(read(&steps, 4, three.first, &three.octets), Err(missing));
    // Replays of another run of the same exchange: the nonces differ.
    let (client, _) =
        PullClient::start(prf(), MESSAGE_ID, GROUP, Compat::Standard, &mut SeededRandom::new(3)).unwrap();
    assert_eq!(client.policy(two.first, &two.octets).unwrap_err(), PullError::Hash(2));
    let (server, _) = PullServer::request(prf(), MESSAGE_ID, one.first, &one.octets).unwrap();
    let (offer, _) = server.offer(&policy(), Compat::Standard, &mut SeededRandom::new(4)).unwrap();
    assert_eq!(offer.confirmed(three.first, &three.octets).unwrap_err(), PullError::Hash(3));
}

/// So that a retransmitted request gets the reply that is stored.
#[test]
fn the_same_message_in_the_same_state_makes_the_same_answer() {
    let steps = steps();
    let [_, two, three, four] = &steps.messages;
    let accept = steps.client.policy(two.first, &two.octets).unwrap().accept;
    assert_eq!(accept.confirm(Some(4)).unwrap().octets, three.octets);
    let (confirmed, _) = steps.offer.confirmed(three.first, &three.octets).unwrap();
    let again = confirmed.keys(&policy(), &keys_for(&policy(), 3), Some(5)).unwrap();
    assert_eq!(again.octets, four.octets);
}

/// A message 1 with a HASH that is right, whatever stands behind it.
fn request(payloads: &[Payload]) -> Result<(), PullError> {
    let exchange = message::Exchange { prf: prf(), message_id: MESSAGE_ID };
    let one = exchange.write(&[], payloads, Compat::Standard).unwrap();
    PullServer::request(prf(), MESSAGE_ID, one.first, &one.octets).map(drop)
}

#[test]
fn payloads_may_come_in_any_order_and_with_others_between_them_but_not_twice() {
    let nonce = || Payload::Nonce(vec![1; 20]);
    let id = || Payload::Identification(GROUP.to_identification(Compat::Standard));
    let vendor = || Payload::VendorId(vec![1; 16]);
    assert_eq!(request(&[id(), vendor(), nonce()]), Ok(()));
    assert_eq!(request(&[nonce()]), Err(PullError::Missing(1, PayloadType::Identification)));
    assert_eq!(request(&[id()]), Err(PullError::Missing(1, PayloadType::Nonce)));
    assert_eq!(request(&[id(), nonce(), nonce()]), Err(PullError::Repeated(1, PayloadType::Nonce)));
    assert_eq!(request(&[id(), nonce(), id()]), Err(PullError::Repeated(1, PayloadType::Identification)));
    for data in [vec![1; 3], vec![1; 5], vec![]] {
        let id = Payload::Identification(Identification::new(IdType::KeyId, data));
        assert_eq!(request(&[id, nonce()]), Err(PullError::Group));
    }
    let fqdn = Payload::Identification(Identification::new(IdType::Fqdn, [1, 2, 3, 4]));
    assert_eq!(request(&[nonce(), fqdn]), Err(PullError::Group));
}

#[test]
fn nonces_have_8_to_256_octets() {
    let id = || Payload::Identification(GROUP.to_identification(Compat::Standard));
    for len in [8, 20, 256] {
        assert_eq!(request(&[Payload::Nonce(vec![1; len]), id()]), Ok(()));
    }
    for len in [7usize, 257] {
        // The codec writes no such nonce, but an unknown payload can be made to look like one.
        let nonce = Payload::Unknown(PayloadType::Nonce, vec![1; len]);
        assert!(matches!(request(&[nonce, id()]), Err(PullError::Malformed(_))), "{len}");
    }
}

#[test]
fn a_body_that_does_not_begin_with_its_hash_is_refused() {
    let id = Payload::Identification(GROUP.to_identification(Compat::Standard));
    let chain =
        encode_chain(&[Payload::Nonce(vec![1; 20]), id], PayloadType::None, Compat::Standard).unwrap();
    let refused = PullServer::request(prf(), MESSAGE_ID, chain.first, &chain.octets);
    assert_eq!(refused.unwrap_err(), PullError::NoHash(1));
    let refused = PullServer::request(prf(), MESSAGE_ID, PayloadType::None, &[]);
    assert_eq!(refused.unwrap_err(), PullError::NoHash(1));
}

/// The reference implementation asks for none and wants one.
#[test]
fn a_request_for_no_sender_id_asks_for_one_and_silence_for_none() {
    let keys = keys_for(&policy(), 3);
    assert_eq!(register(Compat::Reference, &policy(), &keys, Some(0), Some(1)).requested, Some(1));
    assert_eq!(register(Compat::Standard, &policy(), &keys, None, Some(1)).requested, None);
}

#[test]
fn keys_that_are_not_the_offered_ones_are_not_sent() {
    let steps = steps();
    let three = &steps.messages[2];
    let (confirmed, _) = steps.offer.confirmed(three.first, &three.octets).unwrap();
    let mut keys = keys_for(&policy(), 3);
    keys.teks[0].1.cipher = Secret::new(vec![1; 16]);
    assert!(matches!(confirmed.keys(&policy(), &keys, None), Err(PullError::CannotSend(_))));
}

/// Rule S3 begins here: both come through, to be compared.
#[test]
fn keys_for_another_spi_than_the_policy_s_reach_the_member() {
    let changed = GroupPolicy { teks: vec![tek(300, EspTransform::Aes128Gcm)], ..policy() };
    let registration = register(Compat::Standard, &policy(), &keys_for(&changed, 3), None, Some(0));
    assert_eq!(registration.offered.policy.teks[0].spi.0, 256);
    assert_eq!(registration.pulled.keys.teks[0].0.0, 300);
    assert_eq!(registration.pulled.refused, []);
}
