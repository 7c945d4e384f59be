//! Messages that are altered or cut short under way, at every place: nothing panics, and nothing is
//! established but where a flipped bit means nothing.

use super::*;

/// Runs main mode with every copy of one message altered.
fn altered(number: usize, alter: impl Fn(&mut Vec<u8>)) -> Outcome {
    let clean = &mut None;
    run(gm_config(), ks_config(), 21, move |sent, _, datagram| {
        if sent == number {
            *clean = Some(datagram.to_vec());
        }
        let mut message = datagram.to_vec();
        // Retransmissions have the same octets.
        if clean.as_deref() == Some(datagram) {
            alter(&mut message);
        }
        vec![(Duration::from_millis(1), message)]
    })
}

/// Places that RFC 2409's hashes do not cover and that mean nothing to us: the minor version; in the first two
/// messages our vendor IDs (20 octets each) with the field that announces them, and RESERVED2 of the
/// transform; in the second the situation, which peers fill as they like.
fn means_nothing(number: usize, octet: usize, len: usize) -> bool {
    const SA: usize = 28;
    let vendor_ids = len - 40;
    octet == 17
        || number < 2 && (octet == SA || octet >= vendor_ids)
        || number < 2 && (SA + 26..SA + 28).contains(&octet)
        || number == 1 && (SA + 8..SA + 12).contains(&octet)
}

#[test]
fn a_flipped_bit_anywhere_establishes_nothing() {
    let clean = run(gm_config(), ks_config(), 21, perfect);
    for (number, (_, message)) in clean.sent.iter().enumerate() {
        for octet in 0..message.len() {
            for bit in 0..8 {
                let mut outcome = altered(number, |message| message[octet] ^= 1 << bit);
                let place = format!("message {}, octet {octet}, bit {bit}", number + 1);
                if outcome.established() {
                    assert!(means_nothing(number, octet, message.len()), "{place}");
                    assert!(outcome.agreed(), "{place}");
                } else if number < 5 {
                    // Only the sixth message can leave the responder with a phase 1 and the member without.
                    assert!(outcome.key_server.is_none() && outcome.member.is_none(), "{place}");
                } else {
                    assert!(outcome.member.is_none(), "{place}");
                }
            }
        }
    }
}

#[test]
fn a_message_that_is_cut_short_anywhere_establishes_nothing() {
    let clean = run(gm_config(), ks_config(), 21, perfect);
    for (number, (_, message)) in clean.sent.iter().enumerate() {
        for len in 0..message.len() {
            for mend_length in [false, true] {
                let outcome = altered(number, |message| {
                    message.truncate(len);
                    if mend_length && len >= 28 {
                        message[24..28].copy_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
                    }
                });
                assert!(outcome.member.is_none(), "message {}, {len} octets", number + 1);
                assert!(!outcome.errors.is_empty());
            }
        }
    }
}

#[test]
fn octets_at_random_never_panic_in_any_state() {
    let random = &mut SeededRandom::new(77);
    let clean = run(gm_config(), ks_config(), 21, perfect).sent;
    for round in 0..2000u32 {
        let step = round as usize % clean.len();
        let outcome = run(gm_config(), ks_config(), 21, |sent, side, datagram| {
            let mut arrivals = perfect(sent, side, datagram);
            if sent == step {
                let mut garbage = clean[sent].1.clone();
                let mut noise = [0; 9];
                random.fill(&mut noise);
                for pair in noise[1..].chunks_exact(2) {
                    let at = 16 + usize::from(pair[0]) % (garbage.len() - 16);
                    garbage[at] = pair[1];
                }
                garbage.truncate(garbage.len() - usize::from(noise[0] % 8));
                let len = u32::try_from(garbage.len()).unwrap();
                garbage[24..28].copy_from_slice(&len.to_be_bytes());
                arrivals.insert(0, (Duration::ZERO, garbage));
            }
            arrivals
        });
        // An altered message 1 to 4 may be taken for the right one; then nothing is established.
        assert!(outcome.member.is_none() || outcome.key_server.is_some());
    }
}
