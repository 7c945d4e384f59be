use super::super::testing::{hex, vectors};
use super::*;
use proptest::prelude::*;

#[test]
fn cbc_is_that_of_rfc_3602_and_nist_sp_800_38a() {
    let cases = vectors(include_str!("../testdata/aes-cbc.txt"));
    assert_eq!(cases.len(), 4 + 3);
    for [key, iv, plain, sealed] in cases {
        let (aes, iv) = (AesCbc::new(&hex(key)).unwrap(), hex(iv).try_into().unwrap());
        let mut text = hex(plain);
        aes.encrypt(&iv, &mut text).unwrap();
        assert_eq!(text, hex(sealed));
        aes.decrypt(&iv, &mut text).unwrap();
        assert_eq!(text, hex(plain));
    }
}

#[test]
fn part_of_a_block_is_refused_and_left_alone() {
    let aes = AesCbc::new(&[7; 16]).unwrap();
    for len in [1, 15, 17, 31] {
        let mut text = vec![0x5a; len];
        assert_eq!(aes.encrypt(&[0; 16], &mut text), Err(CipherError::NotWholeBlocks(len)));
        assert_eq!(aes.decrypt(&[0; 16], &mut text), Err(CipherError::NotWholeBlocks(len)));
        assert_eq!(text, vec![0x5a; len]);
    }
    assert_eq!(aes.encrypt(&[0; 16], &mut []), Ok(()));
}

#[test]
fn a_key_has_16_24_or_32_octets() {
    for len in 0..=40 {
        let made = AesCbc::new(&vec![1; len]);
        match len {
            16 | 24 | 32 => assert!(made.is_ok()),
            _ => assert_eq!(made.unwrap_err(), CipherError::KeyLength(len)),
        }
    }
}

#[test]
fn debug_shows_no_key() {
    assert_eq!(format!("{:?}", AesCbc::new(&[0xab; 32]).unwrap()), "AesCbc(256 bits)");
}

proptest! {
    /// The chain of RFC 2409 appendix B: a message cut in two, the second part under the first's last block,
    /// is the message in one piece.
    #[test]
    fn the_last_block_carries_the_chain_on(
        key in proptest::collection::vec(any::<u8>(), 32),
        iv in any::<[u8; 16]>(),
        blocks in proptest::collection::vec(any::<[u8; 16]>(), 2..8),
        cut in 1usize..7,
    ) {
        let aes = AesCbc::new(&key).unwrap();
        let plain = blocks.concat();
        let cut = 16 * cut.min(blocks.len() - 1);
        let mut whole = plain.clone();
        aes.encrypt(&iv, &mut whole).unwrap();

        let (mut front, mut back) = (plain[..cut].to_vec(), plain[cut..].to_vec());
        aes.encrypt(&iv, &mut front).unwrap();
        let next = front[cut - 16..].try_into().unwrap();
        aes.encrypt(&next, &mut back).unwrap();
        prop_assert_eq!([front, back].concat(), whole.clone());

        aes.decrypt(&iv, &mut whole).unwrap();
        prop_assert_eq!(whole, plain);
    }
}
