use super::kek;
use crate::crypto::HashAlgorithm;
use crate::group::testing::kek_keys;
use crate::group::{AckRequest, KekSignature, KekSpi};
use crate::push::{Ack, AckError};
use std::net::IpAddr;

const REQUESTS: [AckRequest; 2] = [AckRequest::KekSha256, AckRequest::KekSha512];

fn ack(member: &str) -> Ack {
    let (kek, _) = kek(KekSignature::EcdsaP256);
    Ack { kek: kek.spi, sequence: 5, member: member.parse::<IpAddr>().unwrap() }
}

#[test]
fn what_a_member_acknowledges_is_what_the_key_server_reads() {
    let (policy, keys) = kek(KekSignature::EcdsaP256);
    for request in REQUESTS {
        for member in ["192.0.2.7", "2001:db8::7"] {
            let ack = ack(member);
            let unverified = Ack::parse(&ack.build(&keys, request).unwrap()).unwrap();
            assert_eq!((unverified.kek(), unverified.claim()), (policy.spi, ack));
            assert_eq!(unverified.verify(policy.spi, &keys, request), Ok(ack));
        }
    }
}

/// RFC 8263 sections 3.1 to 3.4, octet by octet. The HASH was computed by Python's `hmac`:
/// `hmac(hmac(kek, b"GROUPKEY-PUSH ACK\0" + spi + (512).to_bytes(2), sha256), SEQ | ID, sha256)`.
#[test]
fn it_looks_like_the_rfc_draws_it() {
    let (_, mut keys) = kek(KekSignature::EcdsaP256);
    keys.cipher = crate::crypto::Secret::new((0..16).collect());
    let hex = |request| -> String {
        let datagram = ack("192.0.2.7").build(&keys, request).unwrap();
        datagram.iter().map(|octet| format!("{octet:02x}")).collect()
    };
    let spi: String = ack("::").kek.0.iter().map(|octet| format!("{octet:02x}")).collect();
    let rest = "05000008000000050000000c01000000c0000207";
    let message = |length: &str, hash_length: &str, hash: &str| {
        format!("{spi}08102300000000000000{length}1200{hash_length}{hash}{rest}")
    };
    let sha256 = "5be9e52ded4d6c01de23eff829fde70131f089fc733269247000f71bb73b95f2";
    assert_eq!(hex(AckRequest::KekSha256), message("0054", "0024", sha256));
    let sha512 = "6a6dfa18dfe749f8dc4cf5690fa6fdc6771934e114379045669d4af643c78dfb3920a24f8de6504074ef9babdb55cf8f53e0a9c9f98577dddf0c2b1f06bbbf27";
    assert_eq!(hex(AckRequest::KekSha512), message("0074", "0044", sha512));
}

/// The RFC can be read to want the length of the prf's output there.
#[test]
fn a_length_of_the_prf_s_output_is_accepted_and_no_other() {
    let (policy, keys) = kek(KekSignature::EcdsaP256);
    for (bits, accepted) in [(512u16, true), (256, true), (128, false), (1024, false)] {
        let mut datagram = ack("192.0.2.7").build(&keys, AckRequest::KekSha256).unwrap();
        let prf = HashAlgorithm::Sha256;
        let label: &[u8] = b"GROUPKEY-PUSH ACK\0";
        let key = prf.prf(&keys.cipher, &[label, &policy.spi.0, &bits.to_be_bytes()]);
        let hash = prf.prf(&key, &[&datagram[64..]]);
        datagram[32..64].copy_from_slice(&hash);
        let verified = Ack::parse(&datagram).unwrap().verify(policy.spi, &keys, AckRequest::KekSha256);
        assert_eq!(verified.is_ok(), accepted, "{bits}");
    }
}

#[test]
fn every_flipped_bit_and_every_truncation_is_refused() {
    let (policy, keys) = kek(KekSignature::EcdsaP256);
    let datagram = ack("192.0.2.7").build(&keys, AckRequest::KekSha256).unwrap();
    let read = |octets: &[u8]| Ack::parse(octets)?.verify(policy.spi, &keys, AckRequest::KekSha256);
    assert!(read(&datagram).is_ok());
    // The minor version, which nothing covers and which changes nothing.
    let minor = 17 * 8..17 * 8 + 4;
    for bit in (0..datagram.len() * 8).filter(|bit| !minor.contains(bit)) {
        let mut flipped = datagram.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&flipped).is_err(), "bit {bit}");
    }
    for len in 0..datagram.len() {
        assert!(read(&datagram[..len]).is_err());
    }
    let mut longer = [datagram.as_slice(), &[0]].concat();
    longer[27] += 1;
    assert_eq!(read(&longer), Err(AckError::Form));
}

#[test]
fn an_acknowledgement_under_other_keys_or_another_rekey_sa_is_refused() {
    let (policy, keys) = kek(KekSignature::EcdsaP256);
    let unverified = Ack::parse(&ack("192.0.2.7").build(&keys, AckRequest::KekSha256).unwrap()).unwrap();
    let other = kek_keys(&policy, 55);
    assert_eq!(unverified.verify(policy.spi, &other, AckRequest::KekSha256), Err(AckError::Hash));
    assert_eq!(unverified.verify(policy.spi, &keys, AckRequest::KekSha512), Err(AckError::Hash));
    let spi = KekSpi([1; 16]);
    assert_eq!(unverified.verify(spi, &keys, AckRequest::KekSha256), Err(AckError::OtherKek(policy.spi)));
}
