use super::*;
use crate::crypto::SeededRandom;
use crate::ike::main_mode::tests::{gm_config, ks_config, pair};

#[test]
fn an_exchange_has_its_own_chain_of_ivs_that_moves_only_when_it_is_told_to() {
    let (member, key_server) = pair(gm_config(), ks_config());
    let id = 0x0102_0304;
    let (mut sending, mut receiving) = (member.phase2_iv(id), key_server.phase2_iv(id));
    for length in [1, 16, 17, 100, 1000] {
        let body = vec![7; length];
        let message =
            member.seal(ExchangeType::GroupkeyPull, id, &mut sending, PayloadType::Hash, &body).unwrap();
        assert_eq!((message.len() - 28) % 16, 0);
        // Forged messages are opened on the way; the chain is where it was.
        let mut forged = message.clone();
        let last = forged.len() - 1;
        forged[last] ^= 1;
        let (_, moved) = key_server.open(&forged, &receiving).unwrap();
        assert_ne!(moved, receiving);
        let (opened, next) = key_server.open(&message, &receiving).unwrap();
        assert_eq!(opened.body[..length], body);
        assert!(opened.body[length..].iter().all(|octet| *octet == 0), "padding is zeros");
        assert_eq!((opened.exchange, opened.message_id), (ExchangeType::GroupkeyPull, id));
        assert_eq!(opened.first_payload, PayloadType::Hash);
        receiving = next;
        assert_eq!(sending, receiving);
    }
}

#[test]
fn what_is_not_whole_blocks_of_this_phase_1_is_refused() {
    let (member, key_server) = pair(gm_config(), ks_config());
    let mut iv = member.phase2_iv(1);
    let message = member.seal(ExchangeType::GroupkeyPull, 1, &mut iv, PayloadType::Hash, &[0; 40]).unwrap();
    let iv = key_server.phase2_iv(1);
    for len in 28..message.len() {
        let mut short = message[..len].to_vec();
        short[24..28].copy_from_slice(&u32::try_from(len).unwrap().to_be_bytes());
        let result = key_server.open(&short, &iv);
        assert_eq!(result.is_ok(), len > 28 && (len - 28) % 16 == 0, "{len} octets");
    }
    let mut clear = message.clone();
    clear[19] = 0;
    assert_eq!(key_server.open(&clear, &iv).unwrap_err(), IkeError::Unencrypted);
    let mut other = message;
    other[15] ^= 1;
    assert_eq!(key_server.open(&other, &iv).unwrap_err(), IkeError::Cookies);
}

#[test]
fn a_body_that_no_datagram_holds_is_refused() {
    let (member, _) = pair(gm_config(), ks_config());
    let mut iv = member.phase2_iv(1);
    assert!(member.seal(ExchangeType::GroupkeyPull, 1, &mut iv, PayloadType::Hash, &[0; 65_470]).is_ok());
    let before = iv;
    assert!(member.seal(ExchangeType::GroupkeyPull, 1, &mut iv, PayloadType::Hash, &[0; 70_000]).is_err());
    assert_eq!(iv, before);
}

#[test]
fn message_ids_are_new_and_remembered_for_a_while() {
    let (mut member, _) = pair(gm_config(), ks_config());
    let random = &mut SeededRandom::new(1);
    let first = member.new_message_id(random);
    assert_ne!(first, 0);
    assert_eq!(member.use_message_id(first), Err(IkeError::Replay(first)));
    for _ in 0..100_000 {
        member.new_message_id(random);
    }
    assert_eq!(member.used_ids.len(), REMEMBERED);
}
