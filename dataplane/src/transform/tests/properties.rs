//! What holds for every transform, every length and every order of packets. Tests only.

use proptest::collection::vec;
use proptest::prelude::*;

use super::super::{OpenJob, SealJob, Transform, open_burst, seal_burst};
use super::{cipher, open, packet, seal, text};

/// Whether `plaintext` octets are a whole number of what the transform encrypts.
fn fits(transform: Transform, plaintext: usize) -> bool {
    transform.block() == 4 || plaintext.is_multiple_of(transform.block())
}

fn transforms() -> impl Strategy<Value = Transform> {
    prop::sample::select(Transform::ALL)
}

/// Octets that do not repeat in step with a block.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| u8::try_from(i * 7 % 251).expect("below 251")).collect()
}

#[test]
fn what_was_sealed_opens_at_every_length_up_to_jumbo() {
    for &transform in Transform::ALL {
        let cipher = cipher(transform, 1);
        let mut done = 0;
        for len in (0..600).chain((600..=9000).step_by(13)).chain([9000]) {
            let plaintext = pattern(len);
            let mut esp = packet(transform, &plaintext);
            let sealed = seal(&cipher, &mut esp, len as u64 + 1);
            assert_eq!(sealed, fits(transform, len), "{transform} {len}");
            if sealed {
                assert!(open(&cipher, &mut esp), "{transform} {len}");
                assert_eq!(text(transform, &esp), plaintext, "{transform} {len}");
                assert_eq!(esp[..8], [0, 1, 0, 2, 0, 0, 0, 3], "the header stays");
                done += 1;
            }
        }
        assert!(done >= 70, "{transform}: only {done} lengths were sealed");
    }
}

#[test]
fn a_packet_that_cannot_be_sealed_is_left_alone_and_says_so() {
    for &transform in Transform::ALL {
        let cipher = cipher(transform, 1);
        for len in 0..=64 {
            let before = pattern(len);
            let mut esp = before.clone();
            let room = 8 + transform.iv_len() + transform.icv_len();
            if len >= room && fits(transform, len - room) {
                continue;
            }
            assert!(!seal(&cipher, &mut esp, 1), "{transform} {len}");
            assert_eq!(esp, before, "{transform} {len}");
        }
    }
}

#[test]
fn absurd_lengths_never_open_and_never_panic() {
    for &transform in Transform::ALL {
        let cipher = cipher(transform, 1);
        for len in 0..=64 {
            for octet in [0x00, 0x5a, 0xff] {
                assert!(!open(&cipher, &mut vec![octet; len]), "{transform} {len}");
            }
        }
    }
}

#[test]
fn any_flipped_bit_and_any_cut_is_found() {
    for &transform in Transform::ALL {
        let cipher = cipher(transform, 1);
        let mut esp = packet(transform, &pattern(48));
        assert!(seal(&cipher, &mut esp, 7));
        for bit in 0..esp.len() * 8 {
            let mut forged = esp.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!open(&cipher, &mut forged), "{transform}: bit {bit}");
        }
        for len in 0..esp.len() {
            assert!(!open(&cipher, &mut esp[..len].to_vec()), "{transform}: cut to {len}");
            assert!(!open(&cipher, &mut esp[esp.len() - len..].to_vec()), "{transform}: tail {len}");
        }
        assert!(open(&cipher, &mut esp));
    }
}

#[test]
fn every_octet_of_every_key_matters() {
    for &transform in Transform::ALL {
        let key = pattern(transform.key_len());
        let integrity_key = pattern(transform.integrity_key_len());
        let right = super::Cipher::new(transform, &key, &integrity_key).expect("keys");
        let mut esp = packet(transform, &pattern(64));
        assert!(seal(&right, &mut esp, 7));
        for i in 0..key.len() + integrity_key.len() {
            let (mut key, mut integrity_key) = (key.clone(), integrity_key.clone());
            match key.get_mut(i) {
                Some(octet) => *octet ^= 0x80,
                None => integrity_key[i - key.len()] ^= 0x80,
            }
            let wrong = super::Cipher::new(transform, &key, &integrity_key).expect("keys");
            let mut opened = esp.clone();
            // With CBC the ICV covers the ciphertext, so the wrong cipher key gives garbage only.
            assert!(
                !open(&wrong, &mut opened) || text(transform, &opened) != pattern(64),
                "{transform}: octet {i}"
            );
        }
    }
}

#[test]
fn a_packet_of_one_transform_never_opens_as_another() {
    for &sealer in Transform::ALL {
        let mut esp = packet(sealer, &pattern(64));
        assert!(seal(&cipher(sealer, 1), &mut esp, 7));
        for &opener in Transform::ALL {
            let same_hmac =
                opener.integrity_key_len() != 0 && opener.integrity_key_len() == sealer.integrity_key_len();
            if opener != sealer && !same_hmac {
                assert!(!open(&cipher(opener, 1), &mut esp.clone()), "{sealer} as {opener}");
            }
        }
    }
}

#[test]
fn the_counter_is_the_iv_of_counter_modes_and_never_shows_in_cbc() {
    for &transform in Transform::ALL {
        let cipher = cipher(transform, 1);
        let mut ivs = std::collections::HashSet::new();
        for iv in (0..200).chain(0x0001_0000_0000_0000..0x0001_0000_0000_0100) {
            let mut esp = packet(transform, &[0; 16]);
            assert!(seal(&cipher, &mut esp, iv));
            let sent = esp[8..8 + transform.iv_len()].to_vec();
            match transform.iv_len() {
                8 => assert_eq!(sent, iv.to_be_bytes()),
                16 => assert!(!sent.windows(4).any(|four| four == [0; 4]), "{sent:?}"),
                _ => continue,
            }
            assert!(ivs.insert(sent), "{transform}: IV used twice");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_was_sealed_opens_and_one_flipped_bit_spoils_it(
        transform in transforms(),
        seed in any::<u8>(),
        iv in any::<u64>(),
        plaintext in vec(any::<u8>(), 0..9000),
        at in any::<prop::sample::Index>(),
    ) {
        let cipher = cipher(transform, seed);
        let whole = plaintext.len() - plaintext.len() % transform.block();
        let plaintext = &plaintext[..whole];
        let mut esp = packet(transform, plaintext);
        prop_assert!(seal(&cipher, &mut esp, iv));

        let mut forged = esp.clone();
        let bit = at.index(forged.len() * 8);
        forged[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!open(&cipher, &mut forged));
        prop_assert!(!open(&super::cipher(transform, seed.wrapping_add(1)), &mut esp.clone()));

        prop_assert!(open(&cipher, &mut esp));
        prop_assert_eq!(text(transform, &esp), plaintext);
    }

    #[test]
    fn noise_of_any_length_never_opens(
        transform in transforms(),
        mut noise in vec(any::<u8>(), 0..300),
    ) {
        prop_assert!(!open(&cipher(transform, 1), &mut noise));
    }

    /// A burst of any mixture gives, packet by packet, what the packets give alone.
    #[test]
    fn a_burst_is_the_sum_of_its_packets(
        packets in vec((transforms(), 0_u8..2, vec(any::<u8>(), 0..200), any::<bool>()), 0..40),
    ) {
        // One cipher for each transform and key, as packets of an SA share theirs.
        let ciphers: Vec<_> = packets.iter().map(|(t, k, ..)| (*t, *k)).collect();
        let ciphers: std::collections::HashMap<_, _> =
            ciphers.into_iter().map(|(t, k)| ((t, k), cipher(t, k))).collect();

        let mut alone: Vec<Vec<u8>> = packets.iter().map(|(t, _, p, _)| packet(*t, p)).collect();
        let mut burst = alone.clone();
        let sealed_alone: Vec<bool> = alone.iter_mut().zip(&packets).enumerate()
            .map(|(i, (esp, (t, k, ..)))| seal(&ciphers[&(*t, *k)], esp, i as u64)).collect();
        let mut jobs: Vec<_> = burst.iter_mut().zip(&packets).enumerate()
            .map(|(i, (esp, (t, k, ..)))| SealJob::new(&ciphers[&(*t, *k)], esp, i as u64)).collect();
        seal_burst(&mut jobs);
        let sealed: Vec<bool> = jobs.iter().map(|job| job.sealed).collect();
        prop_assert_eq!(&sealed, &sealed_alone);
        prop_assert_eq!(&burst, &alone);

        for (esp, (.., forge)) in burst.iter_mut().zip(&packets) {
            esp[0] ^= u8::from(*forge);
        }
        let mut jobs: Vec<_> = burst.iter_mut().zip(&packets)
            .map(|(esp, (t, k, ..))| OpenJob::new(&ciphers[&(*t, *k)], esp)).collect();
        open_burst(&mut jobs);
        for ((job, sealed), (.., forge)) in jobs.iter().zip(sealed).zip(&packets) {
            prop_assert_eq!(job.authentic, sealed && !forge);
        }
    }
}
