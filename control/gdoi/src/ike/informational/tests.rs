use super::*;
use crate::crypto::SeededRandom;
use crate::ike::main_mode::tests::{gm_config, ks_config, pair};
use crate::wire::split_datagram;

fn all(cookies: CookiePair) -> Vec<Notice> {
    vec![
        Notice::InvalidSpi(EspSpi(0x1122_3344)),
        Notice::DeleteIkeSa(cookies),
        Notice::DeleteEsp(vec![EspSpi(0x100), EspSpi(0)]),
        Notice::DeleteKek(vec![KekSpi([7; 16])]),
        Notice::RUThere(17),
        Notice::RUThereAck(18),
        Notice::InitialContact,
        Notice::about_ike_sa(NotifyType::InvalidIdInformation, cookies),
        Notice::Other {
            notify: NotifyType::Unknown(40_000),
            protocol: 1,
            spi: Spi::default(),
            data: vec![1, 2, 3],
        },
    ]
}

#[test]
fn every_notice_is_read_as_it_was_said_by_either_side() {
    let (mut member, mut key_server) = pair(gm_config(), ks_config());
    let random = &mut SeededRandom::new(1);
    let notices = all(member.cookies());
    for notice in &notices {
        let message = member.notify(std::slice::from_ref(notice), random).unwrap();
        assert_eq!(key_server.open_informational(&message).unwrap(), std::slice::from_ref(notice));
    }
    let message = key_server.notify(&notices, random).unwrap();
    assert_eq!(member.open_informational(&message).unwrap(), notices);
}

/// RFC 6407 section 5.6.1's SPI, in a Notification as RFC 2408 section 3.14 pictures it: DOI 2, protocol 3, SPI
/// size 4, type 11.
#[test]
fn invalid_spi_has_these_octets() {
    let payload = Notice::InvalidSpi(EspSpi(0x0102_0304)).to_payload(Doi::Gdoi, CookiePair::default());
    let chain = encode_chain(&[payload], PayloadType::None, Compat::Standard).unwrap();
    assert_eq!(*chain.octets, [0, 0, 0, 16, 0, 0, 0, 2, 3, 4, 0, 11, 1, 2, 3, 4]);
}

/// RFC 3706 section 5.4's picture: DOI 1, protocol 1, SPI size 16, the cookies, the sequence number.
#[test]
fn r_u_there_has_these_octets() {
    let cookies = CookiePair::from([0xaa; 16]);
    let payload = Notice::RUThere(0x0506_0708).to_payload(Doi::Gdoi, cookies);
    let chain = encode_chain(&[payload], PayloadType::None, Compat::Standard).unwrap();
    let expected = [&[0, 0, 0, 32, 0, 0, 0, 1, 1, 16, 0x8d, 0x28][..], &[0xaa; 16], &[5, 6, 7, 8]].concat();
    assert_eq!(*chain.octets, expected);
}

#[test]
fn a_message_that_is_altered_anywhere_says_nothing() {
    let (mut member, mut key_server) = pair(gm_config(), ks_config());
    let random = &mut SeededRandom::new(1);
    let notice = Notice::InvalidSpi(EspSpi(0x1122_3344));
    let message = member.notify(std::slice::from_ref(&notice), random).unwrap();
    for octet in 0..message.len() {
        for bit in 0..8 {
            let mut altered = message.clone();
            altered[octet] ^= 1 << bit;
            let result = key_server.open_informational(&altered);
            // The minor version means nothing; and a copy that is accepted uses the message ID up.
            assert!(result.is_err() || octet == 17, "octet {octet}, bit {bit}: {result:?}");
            if result.is_ok() {
                key_server.used_ids.clear();
            }
        }
    }
    for len in 0..message.len() {
        assert!(key_server.open_informational(&message[..len]).is_err());
    }
    assert_eq!(key_server.open_informational(&message).unwrap(), [notice]);
}

#[test]
fn a_message_that_comes_again_is_a_replay() {
    let (mut member, mut key_server) = pair(gm_config(), ks_config());
    let random = &mut SeededRandom::new(1);
    let message = member.notify(&[Notice::RUThere(1)], random).unwrap();
    assert!(key_server.open_informational(&message).is_ok());
    let id = split_datagram(&message).unwrap().0.message_id;
    assert_eq!(key_server.open_informational(&message), Err(IkeError::Replay(id)));
    // Nor does it come back to its sender as if the other side had said it.
    assert_eq!(member.open_informational(&message), Err(IkeError::Replay(id)));
}

#[test]
fn a_message_of_another_phase_1_or_in_the_clear_says_nothing() {
    let (mut member, mut key_server) = pair(gm_config(), ks_config());
    let (mut other, _) = crate::ike::main_mode::tests::pair_of_seed(gm_config(), ks_config(), 2);
    let random = &mut SeededRandom::new(1);
    let message = other.notify(&[Notice::RUThere(1)], random).unwrap();
    assert_eq!(key_server.open_informational(&message), Err(IkeError::Cookies));
    let mut renamed = message;
    renamed[..16].copy_from_slice(&member.cookies().octets());
    assert_eq!(key_server.open_informational(&renamed), Err(IkeError::InformationalHash));
    let clear = unprotected_notify(member.cookies(), NotifyType::InvalidSpi).unwrap();
    assert_eq!(member.open_informational(&clear), Err(IkeError::Unencrypted));
}

#[test]
fn dpd_must_name_the_phase_1_that_it_comes_over() {
    let (member, _) = pair(gm_config(), ks_config());
    let Payload::Notify(mut notify) = Notice::RUThere(5).to_payload(Doi::Gdoi, member.cookies()) else {
        panic!()
    };
    assert_eq!(Notice::of_notify(&notify, member.cookies()), Notice::RUThere(5));
    notify.spi = CookiePair::from([1; 16]).into();
    assert!(matches!(Notice::of_notify(&notify, member.cookies()), Notice::Other { .. }));
}

#[test]
fn invalid_spi_is_read_in_every_way_that_peers_write_it() {
    let notify = |doi, protocol, spi: &[u8], data: &[u8]| Notify {
        doi,
        protocol,
        notify_type: NotifyType::InvalidSpi,
        spi: spi.into(),
        data: data.to_vec(),
    };
    let spi = [1, 2, 3, 4];
    let read = |notify: &Notify| Notice::of_notify(notify, CookiePair::default());
    let expected = Notice::InvalidSpi(EspSpi(0x0102_0304));
    for good in [
        notify(Doi::Gdoi, 3, &spi, &[]),
        notify(Doi::Gdoi, 1, &spi, &[]),
        notify(Doi::Ipsec, 3, &spi, &[]),
        notify(Doi::Gdoi, 3, &[], &spi),
        notify(Doi::Gdoi, 3, &spi, &spi),
    ] {
        assert_eq!(read(&good), expected);
    }
    for bad in [
        notify(Doi::Ipsec, 1, &spi, &[]),
        notify(Doi::Gdoi, 3, &[1, 2], &[]),
        notify(Doi::Gdoi, 0, &spi, &[]),
    ] {
        assert!(matches!(read(&bad), Notice::Other { .. }));
    }
}

#[test]
fn a_hint_in_the_clear_is_read_and_nothing_else_is() {
    let message = unprotected_notify(CookiePair::from([3; 16]), NotifyType::NoProposalChosen).unwrap();
    let (header, body) = split_datagram(&message).unwrap();
    assert_eq!(unprotected_hint(&header, body), Some(NotifyType::NoProposalChosen));
    for len in 0..body.len() {
        assert_eq!(unprotected_hint(&header, &body[..len]), None);
    }
    let encrypted = Header { flags: Flags::ENCRYPTED, ..header };
    assert_eq!(unprotected_hint(&encrypted, body), None);
}
