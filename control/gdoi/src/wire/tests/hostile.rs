//! Octets that are no message: nothing panics, and what is refused is refused for a reason.

use proptest::prelude::*;

use super::strategy::{compat, exchange, message};
use super::*;

fn decode(
    first: PayloadType,
    exchange: ExchangeType,
    octets: &[u8],
    compat: Compat,
) -> Result<usize, WireError> {
    let body = Body::decode(first, exchange, octets, compat)?;
    // The accessors of every payload get the same octets to choke on.
    for located in body.payloads() {
        let _ = (body.before(located), body.raw(located), body.content(located), body.after(located));
    }
    Ok(body.payloads().len())
}

proptest! {
    #[test]
    fn any_octets_are_read_or_refused(
        octets in proptest::collection::vec(any::<u8>(), 0..400),
        first in any::<u8>(),
        exchange in exchange(),
        compat in compat(),
    ) {
        let _ = split_datagram(&octets);
        let _ = decode(first.into(), exchange, &octets, compat);
        let _ = Payload::decode(first.into(), exchange, &octets, compat);
    }

    /// Small numbers make lengths and counts that nearly fit, so that readers get further.
    #[test]
    fn small_octets_are_read_or_refused(
        octets in proptest::collection::vec(0u8..24, 0..200),
        first in 0u8..24,
        exchange in exchange(),
        compat in compat(),
    ) {
        let _ = decode(first.into(), exchange, &octets, compat);
        let _ = Payload::decode(first.into(), exchange, &octets, compat);
    }

    #[test]
    fn a_message_with_wrong_octets_is_read_or_refused(
        (exchange, payloads) in message(),
        compat in compat(),
        wrong in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let chain = encode_chain(&payloads, PayloadType::None, compat).unwrap();
        let mut octets = chain.octets.to_vec();
        if !octets.is_empty() {
            for (at, octet) in wrong {
                let at = at.index(octets.len());
                octets[at] = octet;
            }
        }
        let _ = decode(chain.first, exchange, &octets, compat);
    }

    #[test]
    fn a_message_cut_short_is_refused((exchange, payloads) in message(), cut in any::<prop::sample::Index>()) {
        let chain = encode_chain(&payloads, PayloadType::None, Compat::Standard).unwrap();
        if !payloads.is_empty() {
            let cut = &chain.octets[..cut.index(chain.octets.len())];
            let error = decode(chain.first, exchange, cut, Compat::Standard).unwrap_err();
            prop_assert!(matches!(error.reason, Reason::Truncated { .. }), "{}", error);
            prop_assert!(error.offset <= cut.len());
        }
    }
}

#[test]
fn every_prefix_of_a_payload_s_content_is_read_or_refused() {
    let sa = hex("00000002 00000000 000f 0000
         10000041 11 01 0350 04 0a090001 01 0350 04 ef0a0101 114982b54a1a3172eb874c1d979812a4 00000000
         80020003 80030080 8004002d 80050002 80060001 80070400
         00000037 01 00 01 0000 04 0200090a 01 0000 04 010101ef 0c 50be54ca
         80040001 80050002 80010001 80020e10 80060000 800e0000 800f0000");
    let decode =
        |octets| Payload::decode(PayloadType::Sa, ExchangeType::GroupkeyPull, octets, Compat::Standard);
    assert!(decode(&sa).is_ok());
    for len in 0..sa.len() {
        assert!(decode(&sa[..len]).is_err(), "{len} octets");
    }
    let longer = [sa.as_slice(), &[0]].concat();
    assert_eq!(decode(&longer).unwrap_err().reason, Reason::Trailing(1));
}
