mod acknowledged;

use super::*;
use crate::crypto::{HashAlgorithm, KeyKind, Secret, SeededRandom, SigningKey};
use crate::group::testing::{any_kek, any_policy, kek, kek_keys, keys_for, signing_key, tek};
use crate::group::{
    CannotSend, Deletion, EspSpi, EspTransform, GroupKeys, GroupPolicy, KekKeys, KekPolicy, KekSignature,
    KekSpi, RefusedSpi, Rekey, SenderIds, Unservable,
};
use crate::wire::{Compat, PayloadType};
use proptest::prelude::*;

const SIGNATURES: [KekSignature; 6] = [
    KekSignature::Rsa(HashAlgorithm::Sha1),
    KekSignature::Rsa(HashAlgorithm::Sha256),
    KekSignature::Rsa(HashAlgorithm::Sha384),
    KekSignature::Rsa(HashAlgorithm::Sha512),
    KekSignature::EcdsaP256,
    KekSignature::EcdsaP384,
];

fn send(kek: &(KekPolicy, KekKeys), rekey: &Rekey, compat: Compat) -> Result<Vec<u8>, PushError> {
    let signing = signing_key(kek.0.signature);
    let signer = KekSigner { policy: &kek.0, keys: &kek.1, signing };
    build(signer, rekey, compat, &mut SeededRandom::new(4))
}

fn receive(kek: &(KekPolicy, KekKeys), last: u32, datagram: &[u8]) -> Result<Opened, PushError> {
    open(&kek.0, &kek.1, last, datagram, Compat::Standard)
}

fn rekey(kek: &(KekPolicy, KekKeys)) -> Rekey {
    let policy = GroupPolicy {
        kek: Some(kek.0.clone()),
        teks: vec![tek(256, EspTransform::Aes128Gcm)],
        ..Default::default()
    };
    let keys = GroupKeys { kek: Some((kek.0.spi, kek.1.clone())), ..keys_for(&policy, 3) };
    Rekey { kek: kek.0.spi, sequence: 5, deletions: vec![Deletion::Tek(EspSpi(300))], policy, keys }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn what_the_key_server_pushes_is_what_the_member_reads(
        current in any_kek(),
        policy in any_policy(),
        deletions in proptest::collection::vec(
            prop_oneof![
                (256..=u32::MAX).prop_map(|spi| Deletion::Tek(EspSpi(spi))),
                Just(Deletion::AllTeks),
                Just(Deletion::Kek),
            ],
            0..6,
        ),
        sequence in 1..=u32::MAX,
        reference in any::<bool>(),
    ) {
        let compat = if reference { Compat::Reference } else { Compat::Standard };
        let keys = keys_for(&policy, 8);
        let rekey = Rekey { kek: current.spi, sequence, deletions, policy, keys };
        let current = (current.clone(), kek_keys(&current, 6));
        let datagram = send(&current, &rekey, compat).unwrap();
        prop_assert_eq!(peek(&datagram), Some(current.0.spi));
        let opened = open(&current.0, &current.1, sequence - 1, &datagram, compat).unwrap();
        prop_assert_eq!(opened, Opened { rekey, refused: vec![] });
    }

    #[test]
    fn octets_of_any_kind_are_refused(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
        let kek = kek(KekSignature::EcdsaP256);
        prop_assert!(receive(&kek, 0, &octets).is_err());
        prop_assert_eq!(peek(&octets), None);
        prop_assert!(Ack::parse(&octets).is_err());
    }
}

#[test]
fn every_flipped_bit_is_refused() {
    for signature in [KekSignature::EcdsaP256, KekSignature::Rsa(HashAlgorithm::Sha256)] {
        let kek = kek(signature);
        let datagram = send(&kek, &rekey(&kek), Compat::Standard).unwrap();
        assert!(receive(&kek, 4, &datagram).is_ok());
        for bit in 0..datagram.len() * 8 {
            let mut flipped = datagram.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(receive(&kek, 4, &flipped).is_err(), "{signature:?}, bit {bit}");
        }
    }
}

#[test]
fn every_truncation_and_every_octet_too_many_is_refused() {
    let kek = kek(KekSignature::EcdsaP256);
    let datagram = send(&kek, &rekey(&kek), Compat::Standard).unwrap();
    for len in 0..datagram.len() {
        // With the length as it was, and with the length that it has.
        assert!(receive(&kek, 4, &datagram[..len]).is_err());
        if len >= 28 {
            let mut shorter = datagram[..len].to_vec();
            shorter[24..28].copy_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
            assert!(receive(&kek, 4, &shorter).is_err(), "{len}");
        }
    }
    for more in 1..=32 {
        let mut longer = [datagram.as_slice(), &vec![0; more]].concat();
        assert!(receive(&kek, 4, &longer).is_err());
        let len = u32::try_from(longer.len()).unwrap();
        longer[24..28].copy_from_slice(&len.to_be_bytes());
        // A whole block more is padding; padding is not signed and is not looked at.
        assert_eq!(receive(&kek, 4, &longer).is_ok(), more % 16 == 0, "{more}");
    }
}

#[test]
fn a_number_that_is_not_greater_is_refused_before_the_signature_is_looked_at() {
    let kek = kek(KekSignature::EcdsaP256);
    let mut datagram = send(&kek, &rekey(&kek), Compat::Standard).unwrap();
    for last in [5, 6, u32::MAX] {
        assert_eq!(receive(&kek, last, &datagram), Err(PushError::Replay { received: 5, last }));
    }
    // The last block but one is all signature: its number still counts first.
    let at = datagram.len() - 20;
    datagram[at] ^= 1;
    assert_eq!(receive(&kek, 5, &datagram), Err(PushError::Replay { received: 5, last: 5 }));
    assert!(matches!(receive(&kek, 4, &datagram), Err(PushError::Signature(_))));
}

/// A member holds all that encrypts a PUSH; only the key server can sign one.
#[test]
fn a_push_that_a_member_forged_is_refused() {
    for signature in SIGNATURES {
        let kek = kek(signature);
        let kind = match signature {
            KekSignature::Rsa(_) => KeyKind::Rsa { bits: 2048 },
            KekSignature::EcdsaP256 => KeyKind::EcdsaP256,
            KekSignature::EcdsaP384 => KeyKind::EcdsaP384,
        };
        let own = SigningKey::generate(kind, &mut SeededRandom::new(99)).unwrap();
        let signer = KekSigner { policy: &kek.0, keys: &kek.1, signing: &own };
        let forged = build(signer, &rekey(&kek), Compat::Standard, &mut SeededRandom::new(4)).unwrap();
        assert!(matches!(receive(&kek, 4, &forged), Err(PushError::Signature(_))));
        assert!(receive(&kek, 4, &send(&kek, &rekey(&kek), Compat::Standard).unwrap()).is_ok());
        // A signature of another kind than was agreed is not even made.
        let other = SIGNATURES
            .iter()
            .find(|other| std::mem::discriminant(*other) != std::mem::discriminant(&signature));
        let signer = KekSigner { signing: signing_key(*other.unwrap()), ..signer };
        assert!(matches!(
            build(signer, &rekey(&kek), Compat::Standard, &mut SeededRandom::new(4)),
            Err(PushError::Signature(_))
        ));
    }
}

#[test]
fn a_push_under_another_rekey_sa_is_refused() {
    let kek = kek(KekSignature::EcdsaP256);
    let datagram = send(&kek, &rekey(&kek), Compat::Standard).unwrap();
    let mut other = kek.clone();
    other.0.spi = KekSpi([3; 16]);
    assert_eq!(receive(&other, 4, &datagram), Err(PushError::OtherKek(kek.0.spi)));
    let other_keys = (kek.0.clone(), kek_keys(&kek.0, 77));
    assert!(receive(&other_keys, 4, &datagram).is_err());
    assert_eq!(send(&other, &rekey(&kek), Compat::Standard), Err(PushError::OtherKek(kek.0.spi)));
}

#[test]
fn only_a_push_is_taken_for_one() {
    let kek = kek(KekSignature::EcdsaP256);
    let datagram = send(&kek, &rekey(&kek), Compat::Standard).unwrap();
    // Exchange, flags and message ID, each another.
    for (at, value) in [(18, 32), (19, 0), (19, 3), (20, 1), (23, 1)] {
        let mut other = datagram.clone();
        other[at] = value;
        assert_eq!((peek(&other), receive(&kek, 4, &other)), (None, Err(PushError::Header)));
    }
    assert_eq!(peek(&datagram[..27]), None);
}

/// RFC 6407 section 5.9: without SAs to send there is no SA and no KD.
#[test]
fn a_push_that_only_deletes_has_neither_sa_nor_kd() {
    let kek = kek(KekSignature::EcdsaP384);
    let rekey = Rekey {
        deletions: vec![Deletion::AllTeks, Deletion::Kek],
        policy: GroupPolicy::default(),
        keys: GroupKeys::default(),
        ..rekey(&kek)
    };
    let datagram = send(&kek, &rekey, Compat::Standard).unwrap();
    // HDR, SEQ, two Deletes of 12 + 4 and 12 + 16 octets, SIG of 4 + 96, padding.
    assert_eq!(datagram.len(), 28 + (8 + 16 + 28 + 100usize).next_multiple_of(16));
    assert_eq!(receive(&kek, 4, &datagram).unwrap().rekey, rekey);
}

/// Rollover: a new Rekey SA with its keys, under the old one.
#[test]
fn a_new_rekey_sa_comes_with_policy_and_keys_or_not_at_all() {
    let old = kek(KekSignature::EcdsaP256);
    let new = KekPolicy {
        spi: KekSpi([7; 16]),
        signature: KekSignature::Rsa(HashAlgorithm::Sha384),
        ..old.0.clone()
    };
    let new_keys = kek_keys(&new, 12);
    let mut rekey = rekey(&old);
    rekey.policy.kek = Some(new.clone());
    rekey.keys.kek = Some((new.spi, new_keys));
    for compat in [Compat::Standard, Compat::Reference] {
        let datagram = send(&old, &rekey, compat).unwrap();
        assert_eq!(open(&old.0, &old.1, 4, &datagram, compat).unwrap().rekey, rekey);
    }
    rekey.keys.kek = None;
    let opened = receive(&old, 4, &send(&old, &rekey, Compat::Standard).unwrap()).unwrap();
    assert_eq!(opened.rekey.policy.kek, None);
    assert_eq!(opened.rekey.policy.teks, rekey.policy.teks);
    assert_eq!((opened.refused[0].spi, opened.refused.len()), (RefusedSpi::Kek(new.spi), 1));
    // The same SA with another lifetime needs no keys.
    rekey.policy.kek = Some(old.0.clone());
    let opened = receive(&old, 4, &send(&old, &rekey, Compat::Standard).unwrap()).unwrap();
    assert_eq!((opened.rekey.policy.kek, opened.refused), (Some(old.0.clone()), vec![]));
}

#[test]
fn sender_ids_are_neither_pushed_nor_taken_from_a_push() {
    let kek = kek(KekSignature::EcdsaP256);
    let mut rekey = rekey(&kek);
    rekey.keys.sender_ids = Some(SenderIds { bits: 8, values: vec![1] });
    assert_eq!(send(&kek, &rekey, Compat::Standard), Err(PushError::SenderIds));
    let chain = testing::Chain::of(&rekey);
    let opened = receive(&kek, 4, &chain.seal(&kek)).unwrap();
    assert_eq!(opened.rekey.keys.sender_ids, None);
    assert_eq!(opened.refused[0].why, Unservable::SharedSenderIds);
}

#[test]
fn a_chain_of_another_form_is_refused_though_it_is_signed() {
    let kek = kek(KekSignature::EcdsaP256);
    let rekey = rekey(&kek);
    let form = |change: &dyn Fn(&mut testing::Chain)| {
        let mut chain = testing::Chain::of(&rekey);
        change(&mut chain);
        receive(&kek, 4, &chain.seal(&kek)).map(drop)
    };
    assert_eq!(form(&|_| {}), Ok(()));
    // SEQ, D, SA, KD in another order.
    assert_eq!(form(&|chain| chain.0.reverse()), Ok(()));
    assert_eq!(form(&|chain| drop(chain.0.remove(0))), Err(PushError::Missing(PayloadType::Sequence)));
    for (at, payload_type) in
        [(0, PayloadType::Sequence), (2, PayloadType::Sa), (3, PayloadType::KeyDownload)]
    {
        let twice = |chain: &mut testing::Chain| chain.0.push(chain.0[at].clone());
        assert_eq!(form(&twice), Err(PushError::Repeated(payload_type)));
    }
    use crate::wire::{Delete, Doi, Payload, Spi};
    assert_eq!(form(&|chain| chain.0.push(Payload::VendorId(vec![1]))), Ok(()));
    let hash = Payload::Hash(vec![1; 20]);
    assert_eq!(form(&|chain| chain.0.push(hash.clone())), Err(PushError::Payload(PayloadType::Hash)));
    let signature = Payload::Signature(vec![1; 64]);
    assert_eq!(
        form(&|chain| chain.0.push(signature.clone())),
        Err(PushError::Payload(PayloadType::Signature))
    );
    let many = Delete { doi: Doi::Gdoi, protocol: 1, spis: vec![Spi::from(300); 2048] };
    assert_eq!(
        form(&|chain| chain.0.push(Payload::Delete(many.clone()))),
        Err(PushError::TooManyDeletions(2048))
    );
}

#[test]
fn what_follows_the_signature_is_refused() {
    let kek = kek(KekSignature::EcdsaP256);
    let chain = testing::Chain::of(&rekey(&kek));
    let after = crate::wire::Payload::VendorId(vec![1; 8]);
    assert_eq!(receive(&kek, 4, &chain.seal_before(&kek, &after)), Err(PushError::Unsigned));
    assert_eq!(receive(&kek, 4, &chain.unsigned(&kek)), Err(PushError::Missing(PayloadType::Signature)));
}

#[test]
fn deletions_of_other_protocols_are_named_and_not_carried_out() {
    use crate::wire::{Delete, Doi, Payload, Spi};
    let kek = kek(KekSignature::EcdsaP256);
    let mut chain = testing::Chain::of(&rekey(&kek));
    let delete = |doi, protocol, spi: Spi| Payload::Delete(Delete { doi, protocol, spis: vec![spi] });
    chain.0[1] = delete(Doi::Gdoi, 2, 300.into());
    chain.0.push(delete(Doi::Ipsec, 3, 300.into()));
    chain.0.push(delete(Doi::Gdoi, 1, [1; 8].as_slice().into()));
    chain.0.push(delete(Doi::Gdoi, 0, [9; 16].as_slice().into()));
    let opened = receive(&kek, 4, &chain.seal(&kek)).unwrap();
    assert_eq!(opened.rekey.deletions, [Deletion::Kek]);
    assert_eq!(opened.refused.len(), 3);
}

#[test]
fn what_cannot_be_sent_is_not() {
    let kek = kek(KekSignature::EcdsaP256);
    let mut rekey = rekey(&kek);
    rekey.deletions = vec![Deletion::AllTeks; 2049];
    let why = CannotSend::TooMany { what: "deletions", limit: 2048 };
    assert_eq!(send(&kek, &rekey, Compat::Standard), Err(PushError::CannotSend(why)));
    rekey.deletions.clear();
    rekey.keys.teks[0].1.cipher = Secret::default();
    assert!(matches!(
        send(&kek, &rekey, Compat::Standard),
        Err(PushError::CannotSend(CannotSend::Key { .. }))
    ));
}

/// One PUSH for all members, and again for those that did not acknowledge.
#[test]
fn the_same_rekey_makes_the_same_datagram() {
    for signature in SIGNATURES {
        let kek = kek(signature);
        let signer = KekSigner { policy: &kek.0, keys: &kek.1, signing: signing_key(signature) };
        let datagram =
            |seed| build(signer, &rekey(&kek), Compat::Standard, &mut SeededRandom::new(seed)).unwrap();
        assert_eq!(datagram(1), datagram(2));
    }
}
